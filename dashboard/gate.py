"""Decide which requests reach Streamlit, and send every answer with headers that protect its reader.

Streamlit's own check of names covers the WebSocket alone, and its server answers more than these pages need: uploads
(kept in memory, also without an uploader on any page), figures about the process, components. So this middleware
stands before it and admits a request only if all of these hold:

* `Host` is one of `ServeSettings.hosts`, whatever address the server binds to. A foreign page whose name resolves to
  this machine (DNS rebinding) sends its own name.
* The path is one that the pages use.
* The method is GET or HEAD.
* A WebSocket's `Origin` is the page's own: that of `Host`, or of `external_url` if a proxy rewrites `Host`.

If `external_url` has a path, everything lies below it. A proxy may pass that path on or remove it: both are admitted.
With `[sign_in]`, the paths of the sign-in are open too ([start.py](start.py)).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from foreshock.dashboard.preload import NEEDED, hints, scripts
from foreshock.dashboard.settings import ServeSettings
from foreshock.dashboard.start import START, Header, Start

PAGES = ("", "now", "Topic", "Alerts", "Stories", "Health")
"""The paths that get the pages' HTML."""
ASSETS = ("static", "media")
"""Folders of what the pages load: Streamlit's scripts and fonts, and the CSV behind a download link."""
SIGN_IN = ("auth/login", "auth/logout", "oauth2callback")
"""Streamlit's paths of the sign-in. They are closed without `[sign_in]`."""
ENDPOINTS = ("_stcore/health", "_stcore/host-config", "favicon.png")
STREAM = "_stcore/stream"
"""The WebSocket of the pages."""
READERS = 200
"""How many WebSockets may be open at once: each has a session, with memory and threads of its own."""

FOCUS = Path(__file__).parent / "focus.js"

HEADERS = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'{sockets}; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""`blob:` is for the script of here.py: Streamlit loads a component's script from the page's own memory."""
_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(:\d{1,5})?", re.IGNORECASE)
_ROOT = (
    "<script>window.__streamlit={{BACKEND_BASE_URL:location.origin+'{prefix}/'}};"
    "if(!location.pathname.startsWith('{prefix}/'))location.replace('{prefix}'+location.pathname+location.search)"
    "</script></head>"
)
"""Names the server's address to the page, and leads a reader who left the path out to the page below it."""
_UNKNOWN_NAME = (
    "This dashboard does not answer to this name. If the name is yours, add it to [dashboard] allowed_hosts, or set "
    "[dashboard] external_url (docs/dashboard.md).\n"
)


class Gate:
    """ASGI middleware that admits what the pages need, and refuses the rest before Streamlit sees it."""

    def __init__(self, app: Any, settings: ServeSettings) -> None:
        import streamlit

        self.app = app
        self.hosts = frozenset(settings.hosts)
        external = urlsplit(settings.external_url or "")
        self.external = external.netloc.lower()
        self.prefix = settings.prefix
        self.secure = external.scheme == "https"
        self.start = Start(settings.prefix, PAGES) if settings.sign_in.on else None
        self.open = 0
        static = Path(streamlit.__file__).parent / "static"
        root = _ROOT.format(prefix=settings.prefix).encode()
        # Streamlit names its files relative to the page. Where the path of `external_url` lacks its last slash, or is
        # left out, a browser would look for them elsewhere.
        named = (static / "index.html").read_bytes().replace(b'"./', f'"{settings.prefix}/'.encode())
        focus = b"<script>" + FOCUS.read_bytes() + b"</script>"
        index = named.replace(b"</head>", focus + root, 1)
        self.pages = {
            page: index.replace(
                b"</head>", hints(named, scripts(static / "static" / "js", stems), settings.prefix) + b"</head>", 1
            )
            for page, stems in NEEDED.items()
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:  # the server's own start and end
            await self.app(scope, receive, send)

    async def _request(self, scope: Any, receive: Any, send: Any) -> None:
        host = _one(scope, b"host")
        path = self._below(scope["path"]).removeprefix("/")
        page = path.rstrip("/")
        known = (*PAGES, *ENDPOINTS, *(() if self.start is None else (*SIGN_IN, START)))
        if not self._admits(host):
            await self._answer(scope, send, 403, _UNKNOWN_NAME)
        elif page not in known and path.partition("/")[0] not in ASSETS:
            await self._answer(scope, send, 404, "Not found.\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await self._answer(scope, send, 405, "The dashboard only answers GET and HEAD.\n")
        elif page in PAGES and (path != page or scope["path"] == self.prefix):  # links are relative to the folder
            query = b"?" + scope["query_string"] if scope.get("query_string") else b""
            to = f"{self.prefix}/{page}".encode() + query
            await self._answer(scope, send, 308, "", more=((b"location", to),))
        elif self.start is not None and path == START:
            await self._answer(scope, send, 302, "", more=self._cookies(self.start.headers(scope)))
        elif page in PAGES:
            content = self.pages["" if page == "now" else page]
            await self._answer(scope, send, 200, content, b"text/html; charset=utf-8")
        else:
            keep_caching = path.startswith("static/")

            async def with_headers(message: Any) -> None:
                if message["type"] == "http.response.start":
                    ours = self._headers(host, cached=keep_caching)
                    names = {name for name, _ in ours}
                    theirs = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in names]
                    if self.start is not None and path == "oauth2callback":
                        theirs = self.start.led_on(scope, theirs)
                    message = {**message, "headers": [*self._cookies(theirs), *ours]}
                await send(message)

            await self.app(self._placed(scope), receive, with_headers)

    async def _socket(self, scope: Any, receive: Any, send: Any) -> None:
        host, origin = _one(scope, b"host"), _one(scope, b"origin", missing="")
        known = self._admits(host) and self._is_own(origin, host)
        if not known or self._below(scope["path"]).strip("/") != STREAM or self.open >= READERS:
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the server answers 403
            return
        self.open += 1
        try:
            await self.app(self._placed(scope), receive, send)
        finally:
            self.open -= 1

    def _below(self, path: str) -> str:
        """Return a path without that of `external_url`."""
        return path.removeprefix(self.prefix) if path.startswith(f"{self.prefix}/") or path == self.prefix else path

    def _placed(self, scope: Any) -> Any:
        """Return a request below the path of `external_url`, where Streamlit expects it, also if a proxy removed it."""
        path = self.prefix + self._below(scope["path"])
        return scope if path == scope["path"] else {**scope, "path": path, "raw_path": quote(path).encode()}

    def _cookies(self, headers: Sequence[Header]) -> list[Header]:
        """Return headers in which no cookie is sent over plain HTTP, if the dashboard is reached by HTTPS."""
        return [(n, v + b"; Secure") if self.secure and n.lower() == b"set-cookie" else (n, v) for n, v in headers]

    def _admits(self, host: str | None) -> bool:
        return host is not None and name_of(host) in self.hosts

    def _is_own(self, origin: str | None, host: str | None) -> bool:
        """Return whether a WebSocket's origin is this dashboard. Browsers always send one; other programs may not."""
        if origin == "":
            return True
        try:
            parts = urlsplit(origin or "")
        except ValueError:
            return False
        place = parts.netloc.lower()
        return parts.scheme in ("http", "https") and bool(place) and place in ((host or "").lower(), self.external)

    def _headers(self, host: str | None, *, cached: bool = False) -> list[tuple[bytes, bytes]]:
        # Not every browser counts a WebSocket to its own server as 'self'. Both names were checked or set.
        places = {place for place in (host, self.external) if place and _HOST.fullmatch(place)}
        sockets = "".join(f" ws://{place} wss://{place}" for place in sorted(places)) if self._admits(host) else ""
        policy = (b"content-security-policy", _POLICY.format(sockets=sockets).encode())
        # A shared cache or the disk must not keep what the desk reads. Streamlit's own files have names by content.
        return [*HEADERS, policy, *(() if cached else ((b"cache-control", b"no-store"),))]

    async def _answer(
        self,
        scope: Any,
        send: Any,
        status: int,
        body: str | bytes,
        kind: bytes = b"text/plain; charset=utf-8",
        more: Sequence[Header] = (),
    ) -> None:
        content = body.encode() if isinstance(body, str) else body
        headers = [*self._headers(_one(scope, b"host")), (b"content-type", kind), *more]
        headers += [(b"content-length", str(len(content)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        if scope["method"] not in ("GET", "HEAD"):  # do not read the body of a request that was refused
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


def name_of(host: str) -> str | None:
    """Return the name or address in a `Host` header, in the form of `ServeSettings.hosts`; None if it is malformed.

    >>> name_of("Desk.Example.:8501"), name_of("[0::1]:80"), name_of("desk.example@evil.example")
    ('desk.example', '::1', None)
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name = found[1].strip("[]").lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name if not found[1].startswith("[") else None


def _one(scope: Any, name: bytes, missing: str | None = None) -> str | None:
    """Return the only value of a header, `missing` without one, and None if there are several."""
    values = [value for key, value in scope["headers"] if key.lower() == name]
    if not values:
        return missing
    return values[0].decode("latin-1") if len(values) == 1 else None
