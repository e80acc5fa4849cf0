"""Match the columns of a file with the fields of a story: check `--map`, or suggest one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foreshock.ingest.dates import date_form
from foreshock.ingest.fields import TEXT_FIELDS
from foreshock.ingest.meant import nearest
from foreshock.ingest.paths import as_object, roots

_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?")
NO_HEADER = "The first row looks like data, not like a header. Put a line of column names before it"
"""What to say of such a file."""
# Field -> other names for it, the most likely first, compared in lower case without punctuation.
_KNOWN_AS = {
    "title": (
        "title", "headline", "headlines", "text", "newsheadline", "newstitle", "articletitle", "headlinetext",
        "articleheadline", "storyheadline", "headlinetitle", "titletext", "posttitle", "news", "newstext", "tweet",
        "subject", "sentence", "tweettext", "content", "message",
    ),
    "published_at": (
        "publishedat", "published", "publishedutc", "publisheddatetime", "timepublished", "publishtime",
        "publishedtime", "datepublished", "datetimepub", "datetime", "timestamp", "date", "publisheddate",
        "publishdate", "publishdatetime", "publicationdate", "publicationtime", "pubdate", "pubtime", "releasedate",
        "releasetime", "createdat", "createdutc", "created", "createddate", "creationdate", "time", "newsdatetime",
        "newsdate", "newstime", "postdate", "postedat", "articledate", "articledatetime", "seendate", "dateadded",
        "filedat", "filingdate", "acceptancedatetime", "day",
    ),
    "id": ("id", "guid", "newsid", "articleid", "storyid", "tweetid", "idstr", "uuid"),
    "body": (
        "body", "summary", "description", "article", "fulltext", "articletext", "articlebody", "content", "story",
        "snippet", "abstract",
    ),
    "source": ("source", "publisher", "provider", "sourcename", "newssource", "outlet", "feed", "site"),
    "url": ("url", "link", "articleurl", "href", "newsurl", "webpage"),
    "topics": ("topics", "topic", "tags", "categories", "category", "keywords"),
    "tickers": (
        "tickers", "ticker", "symbols", "symbol", "stock", "stocks", "stocksymbol", "stocksymbols", "stockticker",
        "tickersymbol", "relatedtickers", "ric", "rics",
    ),
    "language": ("language", "lang", "locale"),
}  # fmt: skip

# Field -> where its value may stand in an object, the most likely first.
_INSIDE = {
    "source": ("name", "title", "domain", "id"),
    "tickers": ("symbol", "ticker", "code", "name"),
    "symbols": ("symbol", "ticker", "code", "name"),
    "topics": ("topic", "name", "label", "title", "keyword"),
}


def missing_fields(columns: Iterable[str], mapping: Mapping[str, str]) -> list[str]:
    """Return in words what a file with these columns lacks to be a feed; empty if it lacks nothing."""
    own = set(columns)
    missing = [f"{column} (for {field})" for field, column in mapping.items() if not _has(own, column)]
    if not any(_has(own, mapping.get(field, field)) for field in TEXT_FIELDS):
        missing.append("title, headline or text")
    if not _has(own, mapping.get("published_at", "published_at")):
        missing.append("published_at")
    return missing


def looks_like_data(columns: Sequence[str]) -> bool:
    """Whether the first row of a table is a record and not a header: a date, a number, an address or a sentence."""
    return any(
        date_form(name)[0] not in {"unreadable", "missing"}
        or _NUMBER.fullmatch(name)
        or name.startswith(("http://", "https://"))
        or (len(name) > 40 and name.count(" ") > 4)
        for name in columns
    )


def suggest_map(columns: Iterable[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return `mapping` extended by a guess from well-known column names. Fields with their own names are left out.

    A column that the file does not have is taken to be a misspelt one, if one is like it that no other field has.
    """
    left = list(columns)
    suggestion = {field: named for field, named in mapping.items() if _has(set(left), named)}
    for field, named in mapping.items():
        if field not in suggestion:
            free = [column for column in left if column not in suggestion.values() and _fits(column)]
            if (meant := nearest(named, free)) is not None:
                suggestion[field] = meant
    own_text = any(field in left and field not in suggestion for field in TEXT_FIELDS) or any(
        field in suggestion for field in TEXT_FIELDS
    )
    taken = set(suggestion.values()) | {column for column in left if column in _KNOWN_AS or column in TEXT_FIELDS}
    for field, names in _KNOWN_AS.items():
        if field in suggestion or field in left or (field == "title" and own_text):
            continue
        by_name = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in left if column not in taken}
        column = next((by_name[name] for name in names if name in by_name), None)
        if column is not None and _fits(column):
            suggestion[field] = column
            taken.add(column)
    return suggestion


def suggest_paths(sample: Iterable[Mapping[str, Any]], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return `mapping` with paths into the objects that the sample's records hold in fields of plain values."""
    suggestion = dict(mapping)
    records = list(sample)
    for field, names in _INSIDE.items():
        column = suggestion.get(field, field)
        values = [as_object(record[column]) for record in records if record.get(column) not in (None, "", [])]
        inside = next(filter(None, (_inside(value, names, many=field != "source") for value in values)), None)
        if inside is not None:
            plain = any(_inside(value, names, many=field != "source") is None for value in values)
            suggestion[field] = f"{column}{inside}" + (f"|{column}" if plain else "")
    return suggestion


def _inside(value: Any, names: tuple[str, ...], *, many: bool) -> str | None:
    """Return the path from an object, or with `many` from a list of objects, to its name; None if there is none."""
    entry = next((entry for entry in value if isinstance(entry, dict)), None) if isinstance(value, list) else value
    if not isinstance(entry, dict) or isinstance(value, list) != many:
        return None
    name = next((name for name in names if isinstance(entry.get(name), str | int)), None)
    return None if name is None else f"{'[]' if many else ''}.{name}"


def _fits(column: str) -> bool:
    """Whether `--map` can name the column: its signs separate columns."""
    return "," not in column and "=" not in column


def _has(columns: set[str], column: str) -> bool:
    # A path leads into a column of objects (Parquet).
    return column in columns or all(not names or columns.intersection(names) for names in roots(column))
