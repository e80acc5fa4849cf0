"""Poll an RSS or Atom feed: one conditional request, with one deadline over all of it.

    answer = fetch("https://example.com/rss", Validators(), FeedRules("example"))

Nothing that a server does may cost more than this deadline, or more memory than a large feed takes. Addresses are
checked after the name is resolved, and again at each redirect (`connection`). What the server wants to see again (ETag,
Last-Modified) is sent back only if it is harmless. The parser runs in a process of its own (`feed_parser`).
"""

from __future__ import annotations

import base64
import contextlib
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from foreshock.ingest import feed_parser
from foreshock.ingest.errors import AddressRefused, FeedUnavailable
from foreshock.ingest.rss import FeedRules, Item, in_order, request_of

if TYPE_CHECKING:
    import httpcore
    import httpx

    from foreshock.ingest.connection import CheckedBackend, Resolver

LARGEST = 10 << 20
"""Largest answer, before and after decompression, in bytes. News feeds are far smaller."""
HEADERS = 256 << 10
"""The most bytes before a body: status, headers and interim answers (1xx)."""
SECONDS = 30.0
"""The longest time for a whole answer, from resolving the name to the last trailer, over all redirects."""
PARSE_SECONDS = 15.0
"""How much longer a poll may take until its items are parsed."""
SILENCE = 10.0
"""The longest time without a byte or a connection, in seconds."""
MOST_REDIRECTS = 5

_GZIP = b"\x1f\x8b"
_REDIRECTS = {301, 302, 303, 307, 308}
_SENT_AGAIN = re.compile(r"[\x20-\x7e]{1,512}")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server wants to see in the next request, so that it need not send an unchanged feed again.

    A value that is not printable ASCII, or is too long, becomes empty: it could not be sent.
    """

    etag: str = ""
    last_modified: str = ""

    def __post_init__(self) -> None:
        for name in ("etag", "last_modified"):
            if not _SENT_AGAIN.fullmatch(getattr(self, name)):
                object.__setattr__(self, name, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """The items of a feed, oldest first, and what to send in the next request."""

    items: tuple[Item, ...]
    validators: Validators
    fetched_at: int
    """Microseconds since 1970, UTC."""
    left_out: int = 0
    """How many older items were not taken, because the feed has more than `rss.MOST_ITEMS`."""
    moved_to: str | None = None
    """The new URL, if the server says that the feed has moved permanently."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    data: bytes
    headers: dict[str, str]
    url: httpx.URL
    permanent: bool


def fetch(
    url: str,
    validators: Validators,
    rules: FeedRules,
    *,
    allow_private: bool = False,
    proxy: str = "",
    headers: Mapping[str, str] | None = None,
    resolver: Resolver | None = None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    stopped: Callable[[], bool] = lambda: False,
) -> Answer | None:
    """Fetch the feed; return None if it has not changed.

    `allow_private`: ask addresses of the own network, too. `proxy`: the URL of an HTTP proxy, which then connects.
    `headers`: sent besides the usual ones, or instead of those of the same name; a redirect to another server does not
    get them, except `User-Agent`.

    Raises:
        FeedUnavailable: there is no answer, the answer is not a feed, or it breaks a limit.
    """
    import httpcore
    import httpx

    from foreshock.ingest.connection import CheckedBackend, TooMuch, resolve

    begun = time.monotonic()
    backend = CheckedBackend(
        SECONDS,
        allow_private=allow_private or bool(proxy),
        resolver=resolver or resolve,
        silence=SILENCE,
        remedy="If it is meant, set allow_private = true for this feed.",
    )
    try:
        fetched = _fetched(
            httpx.URL(url), validators, backend, httpx.URL(proxy) if proxy else None, stopped, headers or {}
        )
    except AddressRefused as error:
        raise FeedUnavailable(str(error)) from None
    except TooMuch:
        raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB, or has too many headers") from None
    except httpcore.TimeoutException:
        if backend.out_of_time:
            raise FeedUnavailable(f"did not arrive completely within {SECONDS:g} s") from None
        raise FeedUnavailable(f"no answer within {SILENCE:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
        raise FeedUnavailable(f"cannot be fetched: {_words(error, backend)}") from None
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FeedUnavailable(f"cannot be fetched: the URL is not one ({type(error).__name__})") from None
    if fetched is None:
        return None
    fetched_at = clock()
    shown = str(fetched.url.copy_with(userinfo=b""))
    request = request_of(
        fetched.headers.get("content-type", "")[:200], shown, rules, private=backend.private or bool(proxy)
    )
    records = feed_parser.parse(fetched.data, request, deadline=begun + SECONDS + PARSE_SECONDS)
    taken = in_order(records, rules, fetched_at)
    return Answer(
        taken,
        Validators(fetched.headers.get("etag", ""), fetched.headers.get("last-modified", "")),
        fetched_at,
        left_out=len(records) - len(taken),
        moved_to=shown if fetched.permanent else None,
    )


def _fetched(
    url: httpx.URL,
    validators: Validators,
    backend: CheckedBackend,
    proxy: httpx.URL | None,
    stopped: Callable[[], bool],
    given: Mapping[str, str],
) -> _Fetched | None:
    from foreshock.ingest.connection import headers_of, requested

    permanent, redirects = True, 0
    login = _login(url)
    while True:
        sent = {
            "User-Agent": "Foreshock (news monitor; RSS reader)",
            "Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5",
            "Accept-Encoding": "gzip",
            "If-None-Match": validators.etag,
            "If-Modified-Since": validators.last_modified,
            "Authorization": login,
        }
        own = {name.lower() for name in given}
        sent = {name: value for name, value in sent.items() if name.lower() not in own} | dict(given)
        backend.allowance = HEADERS
        with requested("GET", url, {name: v for name, v in sent.items() if v}, backend, proxy=proxy) as response:
            headers = headers_of(response)
            if response.status == 304:
                return None
            if response.status == 200:
                backend.allowance = LARGEST + HEADERS
                return _Fetched(_bounded(response, headers, stopped), headers, url, permanent and redirects > 0)
            if response.status not in _REDIRECTS or "location" not in headers:
                raise _refusal(response.status, headers)
            to = _redirected(url, headers["location"])
            permanent = permanent and response.status in {301, 308}
        redirects += 1
        if redirects > MOST_REDIRECTS:
            raise FeedUnavailable("redirects in a circle")
        # A login is for the server that it was given for, and for no other.
        same = (to.scheme, to.host, to.port) == (url.scheme, url.host, url.port)
        login = _login(to) or (login if same else "")
        given = given if same else {name: value for name, value in given.items() if name.lower() == "user-agent"}
        url = to


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    import httpx

    try:
        to = url.join(location[:4_000])
    except (httpx.InvalidURL, ValueError):
        raise FeedUnavailable("redirects to something that is no URL") from None
    if to.scheme not in {"http", "https"} or not to.host:
        raise FeedUnavailable("redirects to something that is neither http nor https")
    return to


def _login(url: httpx.URL) -> str:
    if not url.userinfo:
        return ""
    return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode()


def _bounded(response: httpcore.Response, headers: dict[str, str], stopped: Callable[[], bool]) -> bytes:
    """Return the bytes of the answer. They are decompressed here because libraries set no limit."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise FeedUnavailable("came with a content encoding that the request did not offer")
    out = bytearray()
    try:
        for chunk in _unpacked(response.iter_stream(), packed=encoding not in {"", "identity"}):
            out += chunk
            if len(out) > LARGEST:
                raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB")
            if stopped():
                raise FeedUnavailable("was not read to its end: Foreshock is stopping")
    except zlib.error:
        raise FeedUnavailable("is damaged: its compression cannot be read") from None
    return bytes(out)


def _unpacked(chunks: Iterator[bytes], *, packed: bool) -> Iterator[bytes]:
    """Yield the bytes of an answer, decompressed if it is `packed`: zlib, or one or more members of gzip.

    Bytes behind them that begin no member are ignored, as other clients do.
    """
    if not packed:
        yield from chunks
        return
    decoder, behind = zlib.decompressobj(47), b""  # gzip or zlib, by its header
    for chunk in chunks:
        rest = behind + chunk
        while rest:
            if decoder.eof:
                if not rest.startswith(_GZIP):
                    break
                decoder = zlib.decompressobj(31)
            yield decoder.decompress(rest, LARGEST + 1)
            if decoder.unconsumed_tail:
                raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB")
            rest = decoder.unused_data
        behind = rest[: len(_GZIP)]
    if not decoder.eof:
        raise FeedUnavailable("is truncated")


def _refusal(status: int, headers: dict[str, str]) -> FeedUnavailable:
    given = headers.get("retry-after", "").strip()[:100]
    seconds = 0.0
    if given.isascii() and given.isdigit():
        seconds = float(given[:9])
    elif given:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
    # The server's own words are not shown: they may come from a machine of the own network.
    known = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    return FeedUnavailable(
        f"the server answered {status} {known}".strip(), retry_after=max(0.0, seconds), gone=status == 410
    )


def _words(error: Any, backend: CheckedBackend) -> str:
    """Return what went wrong, without the server's words where it has a private address."""
    import httpcore

    if isinstance(error, httpcore.RemoteProtocolError) and backend.private:
        return "the answer is not HTTP"
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return text[:200] or type(error).__name__
