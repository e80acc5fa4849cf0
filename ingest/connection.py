"""Connect to exactly the address that was checked, with one deadline for the whole attempt. Webhooks and polls use it.

If a check resolves a name and a library then resolves it again, the second answer may differ (DNS rebinding). So the
check is part of connecting: the name is resolved once, its addresses are checked, and the socket connects to one of
them. TLS and the Host header still use the name.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from foreshock.ingest.addresses import literal_refusal, refusal
from foreshock.ingest.errors import AddressRefused

_PIECE = 4096
"""Bytes of one write. The library bounds each wait, so a long write to a slow reader could pass the deadline."""

Resolver = Callable[[str, int], list[str]]
"""Returns the addresses of a name, in the order in which to try them. Raises OSError."""


def resolve(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class TooMuch(httpcore.ReadError):
    """The other side sent more than it may."""


class CheckedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, and ends the whole attempt after `seconds`.

    A socket's own timeout restarts with each byte, so a server that sends bytes slowly could block its reader. Here
    each wait lasts at most until the attempt's deadline, whatever the wait is for: the name, the connection, TLS, the
    status, headers, interim answers (1xx), the body or trailers.

    Parameters:
        allow_private: connect to addresses that are not of the public internet, too.
        silence: the longest wait for one byte, in seconds.
        remedy: what to do if an address is refused.
    """

    def __init__(
        self,
        seconds: float,
        *,
        allow_private: bool,
        resolver: Resolver = resolve,
        silence: float = float("inf"),
        remedy: str = "If it is meant, set allow_private = true for this webhook.",
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._allow_private = allow_private
        self._resolver = resolver
        self._silence = silence
        self._remedy = remedy
        self.private = False
        """Whether a connection led to an address that is not of the public internet."""
        self.allowance = float("inf")
        """How many bytes may still come. The caller sets it; a connection that brings more breaks with `TooMuch`."""

    @property
    def out_of_time(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._deadline

    def refuse_literal(self, host: str) -> None:
        """Raise `AddressRefused` if the host is written as an address that is refused."""
        if not self._allow_private and (kind := literal_refusal(host)):
            raise AddressRefused(f"{host} is {kind}, and nothing is sent there. {self._remedy}")

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first allowed address of `host` that answers.

        Each address gets an equal share of the time that is left, so that a silent one does not take it all.

        Raises:
            AddressRefused: all addresses are refused.
            httpcore.ConnectError, httpcore.ConnectTimeout: none answers.
        """
        addresses = self._resolved(host, port)
        allowed = [a for a in addresses if self._allow_private or refusal(a) is None]
        if not allowed:
            raise AddressRefused(
                f"{host} is {addresses[0]}, {refusal(addresses[0])}, and nothing is sent there. {self._remedy}"
            )
        failure: Exception | None = None
        for tried, address in enumerate(allowed):
            try:
                wait = self.left(len(allowed) - tried)
                stream = httpcore.SyncBackend().connect_tcp(address, port, wait, local_address, socket_options)
                self.private = self.private or refusal(address) is not None
                return _TimedStream(stream, self)
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
            found = answer.get(timeout=self.left())
        except queue.Empty:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from None
        if isinstance(found, Exception) or not found:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved")
        return found

    def left(self, waits: int = 1) -> float:
        """Return the seconds that the first of so many waits may last, if they share what is left of the time.

        Raises `httpcore.ReadTimeout` after the deadline.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("out of time")
        return min(left / waits, self._silence)

    def came(self, size: int) -> None:
        """Count bytes that came. Raises `TooMuch`."""
        self.allowance -= size
        if self.allowance < 0:
            raise TooMuch("more bytes than it may send")


class _TimedStream(httpcore.NetworkStream):
    """A stream on which each wait ends at the attempt's deadline, and that counts what comes."""

    def __init__(self, stream: httpcore.NetworkStream, backend: CheckedBackend) -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, self._backend.left())
        self._backend.came(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._backend.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, self._backend.left()), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextmanager
def requested(
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str],
    backend: CheckedBackend,
    *,
    content: bytes = b"",
    proxy: httpx.URL | None = None,
) -> Iterator[httpcore.Response]:
    """Send one request on a connection of its own, and yield the answer, whose body has not been read.

    No redirect is followed, no cookie kept, no proxy of the environment used, and nothing decompressed. `proxy` is one
    that the operator named: it may have any address, if the backend allows that, and decides what it connects to.

    Raises what httpcore raises, and `AddressRefused`.
    """
    backend.refuse_literal(url.host)
    address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    sent = {"Host": url.netloc.decode("ascii"), **headers, "Connection": "close"}
    with (
        _pool(backend, proxy) as pool,
        pool.stream(method, address, headers=list(sent.items()), content=content) as response,
    ):
        yield response


def reach(host: str, port: int, backend: CheckedBackend, *, tls: bool) -> None:
    """Connect to a host, with TLS and its certificate checked if `tls`, and close the connection. Nothing is sent.

    Raises what httpcore raises, and `AddressRefused`.
    """
    backend.refuse_literal(host)
    stream = backend.connect_tcp(host, port, backend.left())
    try:
        if tls:
            stream = stream.start_tls(_trusted(), host, backend.left())
    finally:
        stream.close()


def headers_of(response: httpcore.Response) -> dict[str, str]:
    """Return the headers of an answer by their names in lower case."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _pool(backend: CheckedBackend, proxy: httpx.URL | None) -> httpcore.ConnectionPool:
    if proxy is None:
        return httpcore.ConnectionPool(ssl_context=_trusted(), network_backend=backend)
    auth = (proxy.username, proxy.password) if proxy.userinfo else None
    address = httpcore.URL(scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target=b"/")
    return httpcore.HTTPProxy(address, proxy_auth=auth, ssl_context=_trusted(), network_backend=backend)


@cache
def _trusted() -> SSLContext:
    """Return a TLS context with certifi's roots, or those that SSL_CERT_FILE or SSL_CERT_DIR name."""
    return httpx.create_ssl_context()
