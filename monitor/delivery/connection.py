"""A connection to the very address that was checked, within one span of time for all of an attempt.

A check that resolves a name, followed by a library that resolves it again, can be fooled by a name that answers
differently the second time (DNS rebinding). So the check sits inside the connecting: one resolution, its addresses
checked, and the socket goes to one of those. TLS and the Host header keep the name.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from foreshock.monitor.delivery.addresses import refusal
from foreshock.monitor.errors import AddressRefused

Resolver = Callable[[str, int], list[str]]
"""The addresses of a name, in the order to try them; raises OSError."""


def resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, and has no more than `seconds` for all that one attempt does.

    A socket's own timeout starts again with each byte, so a receiver that sends one now and then would hold the
    sender; here each wait gets what is left of the whole.
    """

    def __init__(self, seconds: float, *, allow_private: bool, resolver: Resolver = resolve) -> None:
        self._deadline = time.monotonic() + seconds
        self._allow_private = allow_private
        self._resolver = resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises AddressRefused when all addresses of `host` are refused, httpcore's errors when none answers."""
        addresses = self._resolved(host, port)
        allowed = [a for a in addresses if self._allow_private or refusal(a) is None]
        if not allowed:
            raise AddressRefused(
                f"{host} is {addresses[0]}, {refusal(addresses[0])}, and nothing is sent there. If it is meant, set "
                "allow_private = true for this webhook."
            )
        failure: Exception | None = None
        for address in allowed:
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, self._left(), local_address, socket_options)
                return _TimedStream(stream, self._left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure

    def _resolved(self, host: str, port: int) -> list[str]:
        # The system's resolver takes no deadline, and may wait for half a minute: it is left behind.
        answer: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                answer.put(error)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            found = answer.get(timeout=self._left())
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from None
        if isinstance(found, Exception) or not found:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved")
        return found

    def _left(self, timeout: float | None = None) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("out of time")
        return left


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every wait ends with the attempt."""

    def __init__(self, stream: httpcore.NetworkStream, left: Callable[[], float]) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, self._left()), self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
