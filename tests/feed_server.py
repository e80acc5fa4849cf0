"""A web server of feeds whose answers a test writes. The fixture `server` starts one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MICRO = 1_000_000
NOW = 1_770_030_000  # 2026-02-02T11:00:00Z
Answer = tuple[int, dict[str, str], bytes]


def rss_of(*entries: str, title: str = "Zeta News") -> bytes:
    channel = f"<channel><title>{title}</title>{''.join(entries)}</channel>"
    return f'<?xml version="1.0"?><rss version="2.0">{channel}</rss>'.encode()


def entry(number: int, at: float | None = NOW, title: str = "") -> str:
    date = "" if at is None else f"<pubDate>{format_datetime(datetime.fromtimestamp(at, UTC))}</pubDate>"
    title = title or f"Story {number} of many in the feed today"
    return f"<item><title>{title}</title><guid>https://zeta.example/{number}</guid>{date}</item>"


class Server:
    """A web server whose answers a test writes: `answer` is called with the path and the request's headers."""

    def __init__(self) -> None:
        self.answer: Callable[[str, Any], Answer] = lambda path, headers: (404, {}, b"")
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(dict(self.headers))
                status, headers, body = outer.answer(self.path, self.headers)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def sends(self, body: bytes, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda path, asked: (status, named, body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
