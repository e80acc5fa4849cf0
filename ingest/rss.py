"""Read RSS and Atom feeds: make one conditional request, and turn the items of the answer into wire records.

    answer = fetch(client(), "https://example.com/rss", Validators())
    answer.items[0].record          # b'{"id":"...","title":"...",...}', as a producer would write it

An item becomes the JSON object of a story at once. From then on it is a record like any other: the same rules parse it,
and a dead letter can be replayed. Feeds are not trusted: the size is bounded before reading, entities are not expanded,
and HTML becomes plain text.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
import zlib
from calendar import timegm
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from foreshock.ingest.dates import read_date
from foreshock.ingest.errors import BadRecord, FeedUnavailable
from foreshock.ingest.markup import as_utf8, plain
from foreshock.ingest.parsing import NAME_LIMIT, ParseRules

if TYPE_CHECKING:
    import httpx

LARGEST = 10 << 20
"""Largest answer after decompression, in bytes. News feeds are far smaller."""
MOST_TAGS = 300_000
"""The most angle brackets in an answer, with escaped ones. They determine the cost of parsing. A thousand full articles
have fewer."""
MOST_ITEMS = 2_000
TITLE_LIMIT = 2_000
BODY_LIMIT = 100_000
"""Characters of a body. With `TITLE_LIMIT` it keeps a record under 1 MiB, so that every dead letter can be replayed."""
SECONDS = 30.0
"""The longest time for a whole answer, in seconds. It stops a server that sends a byte now and then."""
SILENCE = 10.0
"""The longest time without a byte or a connection, in seconds."""

_BRACKET = re.compile(rb"<|&(?:lt|#0*60|#[xX]0*3[cC])\b")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")
_ZONE_AT_END = re.compile(r"(?:\b(?:GMT|UTC|UT|Z|[ECMP][SD]T)|[+-][0-9]{2}:?[0-9]{2}|[0-9]Z)\s*$")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server wants to see in the next request, so that it need not send an unchanged feed again."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class FeedRules:
    """The settings of a feed, and how its dates are read."""

    name: str
    """Prefix of item ids that are not URIs, so that the item "17" of two feeds is two stories."""
    source: str = ""
    """Source of all items. Empty: the item's own source, else the title of the feed."""
    language: str = ""
    """Language of all items. Empty: the language of the feed."""
    topics: tuple[str, ...] = ()
    parsing: ParseRules = field(default_factory=ParseRules)


@dataclass(frozen=True, slots=True)
class Item:
    """An item as a wire record. `id` is its guid, else its link, else a hash."""

    id: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The items of a feed, oldest first, and what to send in the next request."""

    items: tuple[Item, ...]
    validators: Validators
    fetched_at: int
    """Microseconds since 1970, UTC."""
    moved_to: str | None = None
    """The new URL, if the server says that the feed has moved permanently."""


def client() -> httpx.Client:
    """Return a client for one feed. It keeps the connection between two polls."""
    import httpx

    return httpx.Client(
        timeout=httpx.Timeout(SILENCE),
        follow_redirects=True,
        max_redirects=5,
        headers={
            "User-Agent": "Foreshock (news monitor; RSS reader)",
            "Accept": "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5",
            "Accept-Encoding": "gzip",
        },
    )


def fetch(
    client: httpx.Client,
    url: str,
    validators: Validators,
    rules: FeedRules,
    *,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    stopped: Callable[[], bool] = lambda: False,
) -> Answer | None:
    """Fetch the feed; return None if it has not changed.

    Raises:
        FeedUnavailable: there is no answer, the answer is not a feed, or it breaks a limit.
    """
    import httpx

    headers = {"If-None-Match": validators.etag, "If-Modified-Since": validators.last_modified}
    try:
        with client.stream("GET", url, headers={name: value for name, value in headers.items() if value}) as response:
            if response.status_code == 304:
                return None
            if response.status_code != 200:
                raise _refusal(response)
            data = _bounded(response, stopped)
            permanent = bool(response.history) and all(past.status_code in {301, 308} for past in response.history)
            fetched_at = clock()
            return Answer(
                items(data, response.headers.get("content-type", ""), str(response.url), rules, fetched_at),
                Validators(response.headers.get("etag", ""), response.headers.get("last-modified", "")),
                fetched_at,
                str(response.url) if permanent else None,
            )
    except httpx.TimeoutException:
        raise FeedUnavailable(f"no answer within {SILENCE:g} s") from None
    except httpx.TooManyRedirects:
        raise FeedUnavailable("redirects in a circle") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise FeedUnavailable(f"cannot be fetched: {error or type(error).__name__}") from None


def items(data: bytes, content_type: str, url: str, rules: FeedRules, fetched_at: int) -> tuple[Item, ...]:
    """Return the items in the bytes of a feed, oldest first. Items without a date sort by the time of the request.

    Raises:
        FeedUnavailable: the bytes are not an RSS or Atom feed, or they declare entities.
    """
    import feedparser

    text = as_utf8(data, content_type)
    # News feeds do not need entities, and nested ones can expand without limit.
    if b"<!entity" in text.lower():
        raise FeedUnavailable("declares XML entities, which Foreshock does not expand")
    if sum(1 for _ in _BRACKET.finditer(text)) > MOST_TAGS:
        raise FeedUnavailable(f"has more than {MOST_TAGS:,} tags")
    try:
        # Pass a file object: feedparser would open text that looks like a path or a URL.
        feed = feedparser.parse(
            io.BytesIO(text),
            response_headers={"content-type": "application/xml; charset=utf-8", "content-location": url},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as error:  # feedparser does not document what it may raise
        raise FeedUnavailable(f"cannot be read: {type(error).__name__}: {error}") from None
    if not feed.get("version"):
        kind = content_type.partition(";")[0].strip() or "no content type"
        raise FeedUnavailable(
            f"is not an RSS or Atom feed ({kind}, begins with {text[:40].decode(errors='replace')!r})"
        )
    found: dict[str, tuple[int, Item]] = {}
    for entry in feed.entries[:MOST_ITEMS]:
        record = _record(entry, feed.feed, url, rules)
        when = _sort_time(record, rules, fetched_at)
        found.setdefault(str(record["id"]), (when, Item(str(record["id"]), orjson.dumps(record))))
    # Feeds list the newest item first. So among items of one time, the last in the feed is the oldest.
    oldest_first = list(reversed(found.values()))
    return tuple(item for _, item in sorted(oldest_first, key=lambda pair: pair[0]))


def _record(entry: Any, feed: Any, url: str, rules: FeedRules) -> dict[str, object]:
    title = _text(entry.get("title_detail"), TITLE_LIMIT)
    body = _text((entry.get("content") or [entry.get("summary_detail")])[0], BODY_LIMIT)
    link = str(entry.get("link") or "").strip()
    if urlsplit(link[:4_000]).scheme.lower() not in {"http", "https"}:
        link = ""
    published = _published(entry)
    source = rules.source or plain(str(_mapping(entry.get("source")).get("title") or "")[:TITLE_LIMIT])
    source = source or _text(feed.get("title_detail"), TITLE_LIMIT) or urlsplit(url).hostname or rules.name
    record: dict[str, object] = {
        "id": _identity(entry, link, f"{title}\0{published}\0{body}", rules.name),
        "title": title or body,
        "body": body if title else "",
        "url": link,
        "published_at": published,
        "source": source.encode()[: rules.parsing.source_bytes].decode(errors="ignore"),
        "language": rules.language or _language(feed.get("language")),
        "topics": list(rules.topics),
    }
    return {name: value for name, value in record.items() if value}


def _identity(entry: Any, link: str, content: str, feed: str) -> str:
    for given in (entry.get("id"), link):
        identity = str(given or "").strip()
        if not identity:
            continue
        if not _SCHEME.match(identity):  # such as "17": unique only within its feed
            identity = f"{feed}#{identity}"
        if identity.isprintable() and len(identity.encode()) <= NAME_LIMIT:
            return identity
        return sha256(identity.encode("utf-8", "replace")).hexdigest()[:32]
    return sha256(f"{feed}\0{content}".encode("utf-8", "replace")).hexdigest()[:32]


def _published(entry: Any) -> str:
    """Return the date as the feed wrote it, so that a missing zone stays visible.

    If only feedparser can read the date and it has a zone, return what feedparser read.
    """
    for name in ("published", "updated", "created"):
        # Test with `in`: feedparser's `get` returns another date if this one is missing.
        if name not in entry or not (raw := str(entry[name]).strip()):
            continue
        try:
            read_date(raw, UTC)
        except BadRecord as error:
            read = entry.get(f"{name}_parsed")
            if error.reason == "bad_date" and read and _ZONE_AT_END.search(raw):
                return datetime.fromtimestamp(timegm(read), UTC).isoformat()
        return raw[:200]
    return ""


def _sort_time(record: dict[str, object], rules: FeedRules, fetched_at: int) -> int:
    zones = rules.parsing.zones
    try:
        return read_date(record.get("published_at"), zones.get(str(record["source"]), rules.parsing.zone))[0]
    except BadRecord:
        return fetched_at


def _text(detail: Any, limit: int) -> str:
    """Return the plain text of a title, summary or content from feedparser, by the type that the feed declares."""
    detail = _mapping(detail)
    value = str(detail.get("value") or "")
    if detail.get("type") == "text/plain":
        return " ".join(value[:limit].split())
    return plain(value[: 2 * limit])[:limit]


def _mapping(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


def _language(value: Any) -> str:
    language = str(value or "").strip()
    return language if re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*", language) else ""


def _bounded(response: httpx.Response, stopped: Callable[[], bool]) -> bytes:
    """Return the bytes of the answer. They are decompressed here because httpx sets no limit."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise FeedUnavailable(f"came with content encoding {encoding[:20]!r}, which the request did not offer")
    out = bytearray()
    try:
        for chunk in _unpacked(response.iter_raw(), packed=encoding not in {"", "identity"}):
            out += chunk
            if len(out) > LARGEST:
                raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB")
            if stopped():
                raise FeedUnavailable("was not read to its end: Foreshock is stopping")
    except zlib.error as error:
        raise FeedUnavailable(f"is damaged: {error}") from None
    return bytes(out)


def _unpacked(chunks: Iterator[bytes], *, packed: bool) -> Iterator[bytes]:
    started = time.monotonic()
    decoder = zlib.decompressobj(47) if packed else None  # gzip or zlib, by its header
    for chunk in chunks:
        if time.monotonic() - started > SECONDS:
            raise FeedUnavailable(f"did not arrive completely within {SECONDS:g} s")
        if decoder is None:
            yield chunk
            continue
        yield decoder.decompress(chunk, LARGEST + 1)
        if decoder.unconsumed_tail:
            raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB")
    if decoder is not None and not decoder.eof:
        raise FeedUnavailable("is truncated")


def _refusal(response: httpx.Response) -> FeedUnavailable:
    given = response.headers.get("retry-after", "").strip()
    seconds = 0.0
    if given.isascii() and given.isdigit():
        seconds = float(given[:9])
    elif given:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
    return FeedUnavailable(
        f"the server answered {response.status_code} {response.reason_phrase}".strip(),
        retry_after=max(0.0, seconds),
        gone=response.status_code == 410,
    )
