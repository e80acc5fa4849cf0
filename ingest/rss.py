"""Turn the items of an RSS or Atom feed into wire records. `rss_poll` fetches the bytes.

    items(data, content_type, url, rules, now)[0].record
    # b'{"id":"...","title":"...",...}', as a producer would write it

An item becomes the JSON object of a story at once. From then on it is a record like any other: the same rules parse it,
and a dead letter can be replayed. Feeds are not trusted: what is dear to parse is refused (`feed_limits`), entities are
not expanded, and HTML becomes plain text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import orjson

from foreshock.ingest.dates import read_date
from foreshock.ingest.errors import BadRecord, FeedUnavailable
from foreshock.ingest.feed_limits import refuse_what_is_dear
from foreshock.ingest.fields import NAME_LIMIT
from foreshock.ingest.markup import as_utf8, plain
from foreshock.ingest.nested import without_nested
from foreshock.ingest.parsing import ParseRules

MOST_ITEMS = 2_000
"""How many items of an answer are taken: the newest by date."""
MOST_PARSED = 20_000
"""How many items of an answer are looked at."""
TITLE_LIMIT = 2_000
BODY_LIMIT = 100_000
"""Characters of a body. With `TITLE_LIMIT` it keeps a record under 1 MiB, so that every dead letter can be replayed."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]")


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


def items(data: bytes, content_type: str, url: str, rules: FeedRules, fetched_at: int) -> tuple[Item, ...]:
    """Return the items in the bytes of a feed, oldest first. Items without a date sort by the time of the request.

    This parses in the caller's process. A poll parses in another one (`feed_parser`).

    Raises:
        FeedUnavailable: the bytes are not an RSS or Atom feed, or break a limit.
    """
    return in_order(records_of(data, **request_of(content_type, url, rules)), rules, fetched_at)


def request_of(content_type: str, url: str, rules: FeedRules, *, private: bool = False) -> dict[str, Any]:
    """Return the arguments of `records_of` besides the bytes, as values for JSON.

    The process that parses knows nothing else of the rules.
    """
    return {
        "content_type": content_type,
        "url": url,
        "name": rules.name,
        "source": rules.source,
        "language": rules.language,
        "topics": list(rules.topics),
        "date_format": rules.parsing.date_format,
        "source_bytes": rules.parsing.source_bytes,
        "private": private,
    }


def records_of(
    data: bytes,
    *,
    content_type: str,
    url: str,
    name: str,
    source: str,
    language: str,
    topics: Sequence[str],
    date_format: str | None,
    source_bytes: int,
    private: bool,
) -> list[dict[str, Any]]:
    """Return the items in the bytes of a feed as wire records, in the order of the feed, each id once with one text.

    `name` to `topics`: see `FeedRules`. `date_format`, `source_bytes`: see `ParseRules`. `private`: a private address
    answered, so errors quote nothing of it.

    Raises:
        FeedUnavailable: the bytes are not an RSS or Atom feed, or break a limit.
    """
    import feedparser

    text = as_utf8(data, content_type)
    refuse_what_is_dear(text)
    try:
        # Pass a file object: feedparser would open text that looks like a path or a URL.
        feed = feedparser.parse(
            io.BytesIO(without_nested(text)),
            response_headers={"content-type": "application/xml; charset=utf-8", "content-location": url},
            resolve_relative_uris=False,
            sanitize_html=False,
        )
    except MemoryError:
        raise
    except Exception as error:  # feedparser does not document what it may raise
        raise FeedUnavailable(f"cannot be read: {type(error).__name__}") from None
    if not feed.get("version"):
        raise FeedUnavailable(f"is not an RSS or Atom feed{'' if private else _beginning(content_type, text)}")
    parsing = ParseRules(date_format=date_format, source_bytes=source_bytes)
    rules = FeedRules(name, source, language, tuple(topics), parsing)
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for entry in feed.entries[:MOST_PARSED]:
        record = _record(entry, feed.feed, url, rules)
        # An id may stand for several versions of an item, each with a text of its own.
        found.setdefault((record["id"], record.get("title"), record.get("body")), record)
    return list(found.values())


def in_order(records: Sequence[dict[str, Any]], rules: FeedRules, fetched_at: int) -> tuple[Item, ...]:
    """Return the newest `MOST_ITEMS` records as items, oldest first.

    Those without a date sort by the time of the request.
    """
    found = [
        (_sort_time(record, rules, fetched_at), Item(str(record["id"]), orjson.dumps(record))) for record in records
    ]
    # Feeds list the newest item first. So among items of one time, the last in the feed is the oldest.
    found.reverse()
    return tuple(item for _, item in sorted(found, key=lambda pair: pair[0])[-MOST_ITEMS:])


def _beginning(content_type: str, text: bytes) -> str:
    kind = "".join(c for c in content_type.partition(";")[0].strip() if c.isprintable())[:60] or "no content type"
    return f" ({kind}, begins with {text[:40].decode(errors='replace')!r})"


def _record(entry: Any, feed: Any, url: str, rules: FeedRules) -> dict[str, object]:
    title = _text(entry.get("title_detail"), TITLE_LIMIT)
    bodies = [*(entry.get("content") or [])[:1], entry.get("summary_detail")]
    body = next(filter(None, (_text(detail, BODY_LIMIT) for detail in bodies)), "")
    link = str(entry.get("link") or "").strip()
    if urlsplit(link[:4_000]).scheme.lower() not in {"http", "https"}:
        link = ""
    published, unread = _published(entry, rules.parsing.date_format)
    source = rules.source or plain(str(_mapping(entry.get("source")).get("title") or "")[:TITLE_LIMIT])
    source = source or _text(feed.get("title_detail"), TITLE_LIMIT) or urlsplit(url).hostname or rules.name
    record: dict[str, object] = {
        "id": _identity(entry, link, f"{title}\0{published or unread}\0{body}", rules.name),
        "title": title or body,
        "body": body if title else "",
        "url": link,
        "published_at": published,
        "published_unread": unread,
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


def _published(entry: Any, date_format: str | None) -> tuple[str, str]:
    """Return the date as the feed wrote it, so that a missing zone stays visible; and one that cannot be read.

    An item whose dates cannot be read is like one without a date: a feed's mistake costs the date, and not the story.
    What feedparser read is not used: it takes other days for days that do not exist.
    """
    unread = ""
    for name in ("published", "updated", "created"):
        # Test with `in`: feedparser's `get` returns another date if this one is missing.
        if name not in entry or not (raw := str(entry[name]).strip()):
            continue
        try:
            read_date(raw, UTC, date_format=date_format)
        except BadRecord:
            unread = unread or raw[:200]
            continue
        return raw[:200], ""
    return "", unread


def _sort_time(record: dict[str, object], rules: FeedRules, fetched_at: int) -> int:
    zones = rules.parsing.zones
    try:
        zone = zones.get(str(record["source"]), rules.parsing.zone)
        return read_date(record.get("published_at"), zone, date_format=rules.parsing.date_format)[0]
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
