"""A web server that answers as an attacker would: byte by byte, without end, or with what is dear to read."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Attack = Callable[[socket.socket], None]
"""Answers one request, on a connection of which the request has been read."""

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\n"


class HostileServer:
    """Gives every request to `attack`, in a thread of its own. Errors of the connection end the answer."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/feed"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()
        for connection in list(self._open):
            connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.add(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (more := connection.recv(65_536)):
                    return
                request += more
            self.requests.append(request)
            self.attack(connection)
        self._open.discard(connection)


@contextlib.contextmanager
def hostile(attack: Attack) -> Iterator[HostileServer]:
    """Serve an attack while the context lasts."""
    server = HostileServer(attack)
    try:
        yield server
    finally:
        server.close()


def slowly(data: bytes, pause: float = 0.05, before: bytes = b"") -> Attack:
    """Send `before`, then `data` again and again, a piece at a time, so that no single wait is long."""

    def attack(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(data)
            time.sleep(pause)

    return attack


def whole(body: bytes, headers: bytes = b"") -> Attack:
    """Send a whole answer at once."""

    def attack(connection: socket.socket) -> None:
        connection.sendall(OK + headers + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)

    return attack


SLOW = {
    "slow headers": slowly(b"X", before=OK + b"X-Padding: "),
    "endless headers": slowly(b"X-More: x\r\n", before=OK),
    "endless 1xx": slowly(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "fast endless 1xx": slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000, pause=0.0),
    "slow body": slowly(b" ", before=OK + b"Content-Length: 1000000\r\n\r\n<rss>"),
    "slow chunks": slowly(b"1\r\n \r\n", before=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    "slow trailers": slowly(b"X-Trailer: x\r\n", before=OK + b"Transfer-Encoding: chunked\r\n\r\n6\r\n<rss/>\r\n0\r\n"),
    "nothing at all": lambda connection: time.sleep(3_600),
}
"""Answers that never end. A limit on each wait does not end them, because something always comes."""


def _item(inside: bytes) -> bytes:
    return (
        b'<?xml version="1.0"?><rss version="2.0"><channel><title>Z</title>'
        b"<item><title>One</title><guid>urn:1</guid>" + inside + b"</item></channel></rss>"
    )


def many_attributes(count: int = 80_000) -> bytes:
    """A feed whose item has one element with `count` attributes."""
    return _item(b"<category " + b" ".join(b'a%d="x"' % n for n in range(count)) + b"/>")


def soup_of_attributes(count: int = 80_000) -> bytes:
    """The same in a feed that is no XML, so that a lenient parser reads it."""
    return (
        b"<rss version=2.0><channel><title>Z & Y</title><item " + b" ".join(b"a%d=x" % n for n in range(count)) + b">"
    )


def deep(depth: int = 100_000) -> bytes:
    """A feed whose item is nested `depth` elements deep."""
    return _item(b"<a>" * depth + b"x" + b"</a>" * depth)


DEAR = {
    "80,000 attributes": many_attributes(),
    "80,000 attributes in tag soup": soup_of_attributes(),
    "nesting of 100,000": deep(),
    "nesting of 100,000, never closed": _item(b"")[: -len(b"</item></channel></rss>")] + b"<div>" * 100_000,
    "names of 100,000 spaces": _item(b"".join(b'<a xmlns:p%d="urn:%d"/>' % (n, n) for n in range(60_000))),
    "a title of open brackets": _item(b"<description>" + b"&lt;!" * 200_000 + b"</description>"),
}
"""Bodies that are small to send and dear to parse."""
