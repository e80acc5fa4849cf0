"""A reverse proxy of the test's own, which serves another server below a path. WebSockets pass through.

    with ReverseProxy(upstream_port, "/desk") as proxy: proxy.port

It handles one request a connection, and asks the server to close it, except for a WebSocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading


class ReverseProxy:
    """Forwards what lies below `prefix`. `removes`: take the prefix and the public name away, as some proxies do."""

    def __init__(self, upstream: int, prefix: str, *, removes: bool = False) -> None:
        self.upstream, self.prefix, self.removes = upstream, prefix, removes
        self.loop = asyncio.new_event_loop()
        self.port = 0

    def __enter__(self) -> ReverseProxy:
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        starting = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self.loop)
        self.port = starting.result(10).sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, version = first.split(" ")
            if not (target + "/").startswith((f"{self.prefix}/", f"{self.prefix}?")):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            socket = any(line.lower() == "upgrade: websocket" for line in lines)
            if not socket:
                lines = [line for line in lines if not line.lower().startswith("connection:")] + ["Connection: close"]
            if self.removes:
                target = target.removeprefix(self.prefix)
                target = target if target.startswith("/") else f"/{target}"
                lines = [line for line in lines if not line.lower().startswith("host:")]
                lines.append(f"Host: 127.0.0.1:{self.upstream}")
            back, forth = await asyncio.open_connection("127.0.0.1", self.upstream)
            forth.write("\r\n".join([f"{method} {target} {version}", *lines, "", ""]).encode("latin-1"))
            await asyncio.gather(_pipe(reader, forth), _pipe(back, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError, RuntimeError):
        writer.close()
