"""Match the columns of a file with the fields of a story: check `--map`, or suggest one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from foreshock.ingest.parsing import TEXT_FIELDS

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


def missing_fields(columns: Iterable[str], mapping: Mapping[str, str]) -> list[str]:
    """Return in words what a file with these columns lacks to be a feed; empty if it lacks nothing."""
    own = set(columns)
    missing = [f"{column} (for {field})" for field, column in mapping.items() if not _has(own, column)]
    if not any(_has(own, mapping.get(field, field)) for field in TEXT_FIELDS):
        missing.append("title, headline or text")
    if not _has(own, mapping.get("published_at", "published_at")):
        missing.append("published_at")
    return missing


def suggest_map(columns: Iterable[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return `mapping` extended by a guess from well-known column names. Fields with their own names are left out."""
    left = list(columns)
    suggestion = {field: column for field, column in mapping.items() if _has(set(left), column)}
    own_text = any(field in left and field not in suggestion for field in TEXT_FIELDS) or any(
        field in suggestion for field in TEXT_FIELDS
    )
    taken = set(suggestion.values()) | {column for column in left if column in _KNOWN_AS or column in TEXT_FIELDS}
    for field, names in _KNOWN_AS.items():
        if field in suggestion or field in left or (field == "title" and own_text):
            continue
        by_name = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in left if column not in taken}
        column = next((by_name[name] for name in names if name in by_name), None)
        if column is not None and "," not in column and "=" not in column:
            suggestion[field] = column
            taken.add(column)
    return suggestion


def _has(columns: set[str], column: str) -> bool:
    # A dotted path leads into a column of objects (Parquet).
    return column in columns or column.split(".", maxsplit=1)[0] in columns
