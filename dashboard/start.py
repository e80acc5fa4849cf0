"""The first and the last step of a sign-in, around Streamlit's: they lead a person to the page that was asked for.

    auth/start?page=Alerts?alert=ID  ->  auth/login  ->  the provider  ->  oauth2callback  ->  Alerts?alert=ID

Streamlit alone leads everyone to the first page. A link in a message would then end there. A cookie keeps the page
during the sign-in. Only a page of this dashboard can be asked for: no link leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

START = "auth/start"
COOKIE = "foreshock_page"
MINUTES = 10
"""How long a person may take to sign in and still be led to the page."""
LONGEST = 1_500
"""The longest address of a page, in bytes: a browser keeps 4 kB for a cookie."""

Header = tuple[bytes, bytes]


class Start:
    """Leads to the sign-in and back. `prefix`: the path of `external_url`. `pages`: the paths of the pages."""

    def __init__(self, prefix: str, pages: Collection[str]) -> None:
        self.prefix = prefix
        self.pages = pages

    def headers(self, scope: Any) -> list[Header]:
        """Return the headers that lead a browser to the sign-in, and let it remember the page."""
        from streamlit.user_info import generate_login_redirect_url

        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("page", [""])[0]
        page = self._page(asked)
        location = generate_login_redirect_url("default").encode()
        return [(b"location", location), self._cookie(quote(page, safe=""), 60 * MINUTES)]

    def led_on(self, scope: Any, headers: Sequence[Header]) -> list[Header]:
        """Return the headers that end a sign-in, with the page that was asked for in place of the first page."""
        page = self._page(unquote(_cookie_of(scope)))
        to = f"{self.prefix}/{page}".encode()
        kept = [(n, to) if n.lower() == b"location" else (n, v) for n, v in headers]
        return [*kept, self._cookie("", 0)]

    def _page(self, asked: str) -> str:
        """Return the address of a page, below the prefix, in printable ASCII. Anything else is the first page."""
        try:
            parts = urlsplit(asked)
        except ValueError:
            return ""
        if parts.scheme or parts.netloc or parts.path not in self.pages or len(asked) > LONGEST:
            return ""
        query = quote(parts.query, safe="=&%+-_.~:,")
        return f"{parts.path}?{query}" if query else parts.path

    def _cookie(self, value: str, seconds: int) -> Header:
        path = f"{self.prefix}/"
        return b"set-cookie", f"{COOKIE}={value}; Path={path}; HttpOnly; SameSite=lax; Max-Age={seconds}".encode()


def _cookie_of(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name.lower() == b"cookie":
            try:
                cookies = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            if COOKIE in cookies:
                return cookies[COOKIE].value
    return ""
