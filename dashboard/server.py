"""The server's process: Streamlit without any request to other machines. `serve` starts it.

    python -m foreshock.dashboard.server          # settings from the environment; ends when its stdin closes

This file and [gate.py](gate.py) change four things in Streamlit:

* The gate admits only what the pages need, under the dashboard's own names, and adds a Content-Security-Policy. Markup
  that got past the escaping could load nothing from elsewhere, and no other page can frame these pages.
* The gate gives the page its server's address. Without it the page tries each part of its own address, which costs a
  second and an error in the browser's console.
* The look-up of this machine's public address at a web service is removed. Streamlit does that when a page of unknown
  origin connects.
* Packets leave at once. Otherwise each answer's second packet waits 40 ms until the browser acknowledges the first.
"""

from __future__ import annotations

import gc
import hmac
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from foreshock.dashboard.gate import Gate
from foreshock.dashboard.settings import ServeSettings, served
from foreshock.ingest.redaction import remember_value
from foreshock.monitor.errors import StoreError
from foreshock.observability.log import hide_secrets_of_libraries

HERE = Path(__file__).parent
AHEAD_SECONDS = 5
"""How long the server waits for what it reads ahead, before it answers: a slow database must not keep it from that."""


def config(settings: ServeSettings) -> dict[str, Any]:
    """Return Streamlit's options for these settings. Colours and fonts are in .streamlit/config.toml."""
    options: dict[str, Any] = {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        # The gate checks all of these first; should it miss something, Streamlit still holds them.
        "server.allowedHosts": list(settings.hosts),
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.enableStaticServing": False,
        "server.maxUploadSize": 1,  # MB
        "server.maxWidgetStateSize": 1,  # MB that a page may send at once
    }
    if settings.external_url is not None:
        options["server.corsAllowedOrigins"] = [_origin(settings.external_url)]
    if settings.prefix:
        options["server.baseUrlPath"] = settings.prefix
    return options


def secrets(settings: ServeSettings) -> dict[str, Any]:
    """Return what Streamlit needs for the sign-in.

    Its key for cookies is derived from the client's secret: a sign-in then outlives a restart, and holds at all
    dashboards of one address. Whoever changes the client's secret ends every sign-in.
    """
    if not settings.sign_in.on or settings.external_url is None:
        return {}
    wanted, url = settings.sign_in, settings.external_url.rstrip("/")
    key = hmac.new(settings.sign_in_secret.encode(), f"foreshock dashboard cookies {url}".encode(), "sha256")
    return {
        "auth": {
            "redirect_uri": f"{url}/oauth2callback",
            "cookie_secret": key.hexdigest(),
            "client_id": wanted.client_id,
            "client_secret": settings.sign_in_secret,
            "server_metadata_url": wanted.metadata_url,
            "client_kwargs": {"scope": wanted.scope},
        }
    }


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def main() -> None:
    from starlette.middleware import Middleware
    from streamlit import net_util
    from streamlit.starlette import App

    # Imported before the first reader connects, who would otherwise wait for it.
    from foreshock.dashboard import alerts, charts, health, market, markup, now, stories, topic  # noqa: F401

    hide_secrets_of_libraries()
    markup.compile_all()
    net_util.get_external_ip = lambda: None
    _send_at_once()
    # Streamlit collects garbage after each run of a page. It would look through all modules each time, for 0.1 s.
    gc.freeze()
    ahead = threading.Thread(target=_read_ahead, daemon=True)
    ahead.start()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = served()
    if settings.exchange is not None:
        market.load(settings.exchange)
    remember_value(settings.sign_in_secret)
    ahead.join(AHEAD_SECONDS)
    app = App(HERE / "app.py", secrets=secrets(settings), middleware=[Middleware(Gate, settings=settings)])
    app.run(config=config(settings))


def _send_at_once() -> None:
    """Set TCP_NODELAY on the socket that Streamlit makes. Connections inherit it.

    asyncio sets it by itself, but only on sockets that name TCP as their protocol, which Streamlit's does not.
    """
    import uvicorn

    run = uvicorn.Server.run

    def at_once(server: uvicorn.Server, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        run(server, sockets)

    uvicorn.Server.run = at_once  # type: ignore[method-assign, assignment]


def _read_ahead() -> None:
    """Read what all viewers share: the settings, and a day of every topic. The first reader would wait for it.

    The settings of thousands of topics stay in memory. The garbage collector then need not look through them either.
    """
    from foreshock.dashboard import frame, now

    try:
        with frame.reader().look() as look:
            if look.standing.decided_until is not None:
                now.topics(look, look.standing.decided_until)
    except StoreError:
        return  # the pages say what is wrong, and look again
    gc.collect()
    gc.freeze()


def _end_with_parent() -> None:
    """End this process when stdin closes. The kernel closes it when the parent ends, also after a crash."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
