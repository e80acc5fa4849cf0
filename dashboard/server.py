"""The server's process: Streamlit without any request to other machines. `serve` starts it.

    python -m foreshock.dashboard.server          # settings from the environment; ends when its stdin closes

This file changes three things in Streamlit:

* It adds a Content-Security-Policy. Markup that got past the escaping could load nothing from elsewhere, and no other
  page can frame these pages.
* It gives the page its server's address. Without it the page tries each part of its own address, which costs a second
  and an error in the browser's console.
* It removes the look-up of this machine's public address at a web service. Streamlit does that when a page of unknown
  origin connects.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from foreshock.dashboard.settings import ServeSettings, served

HERE = Path(__file__).parent
PAGES = ("Topic", "Alerts", "Stories", "Health")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_ROOT = b"<script>window.__streamlit={BACKEND_BASE_URL:location.origin+'/'}</script></head>"


class Guarded:
    """ASGI middleware that adds `HEADERS` to every answer, and the server's address to the pages' HTML."""

    def __init__(self, app: Any) -> None:
        import streamlit

        self.app = app
        index = Path(streamlit.__file__).parent / "static" / "index.html"
        self.index = index.read_bytes().replace(b"</head>", _ROOT, 1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD") and scope["path"].strip("/") in ("", *PAGES):
            length = str(len(self.index)).encode()
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-cache"), *HEADERS]
            await send(
                {"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-length", length)]}
            )
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.index})
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        await self.app(scope, receive, with_headers)


def config(settings: ServeSettings) -> dict[str, Any]:
    """Return Streamlit's options for these settings. Colours and fonts are in .streamlit/config.toml."""
    options: dict[str, Any] = {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
    }
    if not settings.exposed:
        # DNS rebinding: a foreign page whose name resolves to 127.0.0.1 must not reach a local dashboard.
        options["server.allowedHosts"] = ["localhost", "127.0.0.1", "::1"]
    return options


def main() -> None:
    from starlette.middleware import Middleware
    from streamlit import net_util
    from streamlit.starlette import App

    # Imported before the first reader connects, who would otherwise wait for it.
    from foreshock.dashboard import alerts, charts, health, markup, now, stories, topic  # noqa: F401

    markup.compile_all()
    net_util.get_external_ip = lambda: None
    threading.Thread(target=_end_with_parent, daemon=True).start()
    App(HERE / "app.py", middleware=[Middleware(Guarded)]).run(config=config(served()))


def _end_with_parent() -> None:
    """End this process when stdin closes. The kernel closes it when the parent ends, also after a crash."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
