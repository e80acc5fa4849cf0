"""Connect to exactly the address that was checked, with one deadline for the whole attempt.

If a check resolves a name and a library then resolves it again, the second answer may differ (DNS rebinding). So the
check is part of connecting: the name is resolved once, its addresses are checked, and the socket connects to one of
them. TLS and the Host header still use the name.
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
"""Returns the addresses of a name, in the order in which to try them. Raises OSError."""


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, and ends the whole attempt after `seconds`.

    A socket's own timeout restarts with each byte, so a receiver that sends bytes slowly could block the sender. Here
    each wait lasts at most until the attempt's deadline.
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
        """Connect to the first allowed address of `host` that answers.

        Raises:
            AddressRefused: all addresses are refused.
            httpcore.ConnectError, httpcore.ConnectTimeout: none answers.
        """
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
        # The system's resolver has no deadline and may take half a minute, so it runs in its own thread.
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
    """A stream on which each wait ends at the attempt's deadline."""

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
