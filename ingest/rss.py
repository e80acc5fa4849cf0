"""RSS and Atom feeds: one conditional request, and the items of its answer as records on the wire.

    answer = fetch(client(), "https://example.com/rss", Validators())
    answer.items[0].record          # b'{"id":"...","title":"...",...}', as a producer would have written it

The one idea: an item becomes the JSON object of a story at once, and from there on is a record like any other: it is
parsed by the same rules, and can be fed again if it died. Nothing of a feed is trusted: what comes is bounded before it
is read, entities are not expanded, and HTML becomes plain text.
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
"""Bytes of an answer after decompression; no news feed comes near."""
MOST_TAGS = 300_000
"""Angle brackets in an answer, escaped ones too: what parsing costs. A thousand full articles have fewer."""
MOST_ITEMS = 2_000
TITLE_LIMIT = 2_000
BODY_LIMIT = 100_000
"""Characters. The whole of a record then stays under ingest's 1 MiB, so every dead letter can be fed again."""
SECONDS = 30.0
"""For one answer as a whole: a server that sends a byte now and then does not hold a poll."""
SILENCE = 10.0
"""Seconds without a byte, or without a connection."""

_BRACKET = re.compile(rb"<|&(?:lt|#0*60|#[xX]0*3[cC])\b")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")
_ZONE_AT_END = re.compile(r"(?:\b(?:GMT|UTC|UT|Z|[ECMP][SD]T)|[+-][0-9]{2}:?[0-9]{2}|[0-9]Z)\s*$")


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said to ask for next time: then it need not send again what did not change."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class FeedRules:
    """What the settings say of a feed, and how its dates are read."""

    name: str
    """Stands before an item's id that is no URI, so that two feeds' "17" are two stories."""
    source: str = ""
    """Of all items; empty: the item's own source, else the feed's title."""
    language: str = ""
    """Of all items; empty: the feed's."""
    topics: tuple[str, ...] = ()
    parsing: ParseRules = field(default_factory=ParseRules)


@dataclass(frozen=True, slots=True)
class Item:
    """An item as a record on the wire. `id` is its identity: its guid, else its link, else a hash."""

    id: str
    record: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A feed's items, oldest first, and what to ask next time."""

    items: tuple[Item, ...]
    validators: Validators
    fetched_at: int
    """Microseconds since 1970, UTC."""
    moved_to: str | None = None
    """Where the feed now lies, if the server says that it moved for good."""


def client() -> httpx.Client:
    """For one feed: it keeps the connection between two polls."""
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
    """Ask for the feed; None if it is as it was.

    Raises:
        FeedUnavailable: no answer, an answer that is no feed, or one that is refused.
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
    """The items of a feed's bytes, oldest first; those without a date stand where they were fetched.

    Raises:
        FeedUnavailable: the bytes are no RSS or Atom feed, or declare entities.
    """
    import feedparser

    text = as_utf8(data, content_type)
    # Refused rather than bounded: no news feed needs them, and nested they are a bomb.
    if b"<!entity" in text.lower():
        raise FeedUnavailable("declares XML entities, which are not expanded here")
    if sum(1 for _ in _BRACKET.finditer(text)) > MOST_TAGS:
        raise FeedUnavailable(f"has more than {MOST_TAGS:,} tags")
    try:
        # A file object: of text feedparser would take one that looks like a path or a URL for the place of the feed.
        feed = feedparser.parse(
            io.BytesIO(text),
            response_headers={"content-type": "application/xml; charset=utf-8", "content-location": url},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except Exception as error:  # a parser of whatever comes: its own errors are not listed
        raise FeedUnavailable(f"cannot be read: {type(error).__name__}: {error}") from None
    if not feed.get("version"):
        kind = content_type.partition(";")[0].strip() or "no content type"
        raise FeedUnavailable(f"is no RSS or Atom feed ({kind}, begins with {text[:40].decode(errors='replace')!r})")
    found: dict[str, tuple[int, Item]] = {}
    for entry in feed.entries[:MOST_ITEMS]:
        record = _record(entry, feed.feed, url, rules)
        when = _sort_time(record, rules, fetched_at)
        found.setdefault(str(record["id"]), (when, Item(str(record["id"]), orjson.dumps(record))))
    # Feeds are written newest first: of one time the last in the feed was there first.
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
        "source": source.encode()[: NAME_LIMIT // 2].decode(errors="ignore"),
        "language": rules.language or _language(feed.get("language")),
        "topics": list(rules.topics),
    }
    return {name: value for name, value in record.items() if value}


def _identity(entry: Any, link: str, content: str, feed: str) -> str:
    for given in (entry.get("id"), link):
        identity = str(given or "").strip()
        if not identity:
            continue
        if not _SCHEME.match(identity):  # "17": unique within its feed only
            identity = f"{feed}#{identity}"
        if identity.isprintable() and len(identity.encode()) <= NAME_LIMIT:
            return identity
        return sha256(identity.encode("utf-8", "replace")).hexdigest()[:32]
    return sha256(f"{feed}\0{content}".encode("utf-8", "replace")).hexdigest()[:32]


def _published(entry: Any) -> str:
    """The date as the feed wrote it, so that one without a zone is seen to have none. Where only feedparser can read
    it, and a zone stands in it, as feedparser read it."""
    for name in ("published", "updated", "created"):
        # `in`: feedparser's own `get` gives another date where this one is missing.
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
    """Of a title, summary or content as feedparser gives it, with the type that the feed says it has."""
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
    """The answer's bytes, unpacked here: httpx would unpack a bomb as far as it goes."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise FeedUnavailable(f"came packed as {encoding[:20]!r}, which was not asked for")
    out = bytearray()
    try:
        for chunk in _unpacked(response.iter_raw(), packed=encoding not in {"", "identity"}):
            out += chunk
            if len(out) > LARGEST:
                raise FeedUnavailable(f"is larger than {LARGEST >> 20} MiB")
            if stopped():
                raise FeedUnavailable("was not read to its end: stopping")
    except zlib.error as error:
        raise FeedUnavailable(f"is damaged: {error}") from None
    return bytes(out)


def _unpacked(chunks: Iterator[bytes], *, packed: bool) -> Iterator[bytes]:
    started = time.monotonic()
    decoder = zlib.decompressobj(47) if packed else None  # gzip or zlib, whichever its head says
    for chunk in chunks:
        if time.monotonic() - started > SECONDS:
            raise FeedUnavailable(f"did not come whole within {SECONDS:g} s")
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
