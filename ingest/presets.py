"""Mappings for the records of well-known news services: `--as newsapi`.

A service's fields are few and documented, so a mapping by name is safer than one that each user writes. A `|` at the
end of a column means that records, or whole files, may lack it. `source` is the publisher where the service names one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from foreshock.ingest.errors import BadMapping


@dataclass(frozen=True, slots=True)
class Preset:
    """The mapping of one service's records."""

    service: str
    """The service's name as people write it."""
    marks: tuple[frozenset[str], ...]
    """Sets of fields. Records that have all fields of one set are the service's."""
    mapping: Mapping[str, str]
    """Field -> column, as in `--map`."""
    zone: str | None = None
    """Zone of its dates, where they have none."""


def _marks(*sets: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(names.split()) for names in sets)


PRESETS: dict[str, Preset] = {
    "newsapi": Preset(
        "NewsAPI",
        _marks("publishedAt urlToImage title", "publishedAt source author description content"),
        {
            "title": "title", "published_at": "publishedAt", "source": "source.name|source.id|source|", "url": "url|",
            "body": "description|content|",
        },
    ),
    "finnhub": Preset(
        "Finnhub",
        _marks("datetime headline related", "datetime headline category summary"),
        {
            "title": "headline", "published_at": "datetime", "id": "id|", "body": "summary|", "source": "source|",
            "url": "url|", "tickers": "related|",
        },
    ),
    "alpaca": Preset(
        "Alpaca",
        _marks("headline created_at symbols", "headline created_at updated_at"),
        {
            "title": "headline", "published_at": "created_at", "id": "id|", "body": "summary|content|",
            "source": "source|", "url": "url|", "tickers": "symbols|",
        },
    ),
    "polygon": Preset(
        "Polygon",
        _marks("published_utc title", "article_url publisher"),
        {
            "title": "title", "published_at": "published_utc", "id": "id|", "body": "description|",
            "source": "publisher.name|publisher|", "url": "article_url|", "tickers": "tickers|",
        },
    ),
    "alphavantage": Preset(
        "Alpha Vantage",
        _marks("time_published title"),
        {
            "title": "title", "published_at": "time_published", "body": "summary|", "source": "source|", "url": "url|",
            "topics": "topics[].topic|", "tickers": "ticker_sentiment[].ticker|",
        },
        zone="UTC",
    ),
    "stocktwits": Preset(
        "StockTwits",
        _marks("body created_at user symbols", "body created_at user entities", "body created_at user"),
        {
            "title": "body", "published_at": "created_at", "id": "id|", "source": "user.username|",
            "tickers": "symbols[].symbol|",
        },
    ),
    "gdelt": Preset(
        "GDELT",
        _marks("seendate title", "seendate url"),
        {
            "title": "title", "published_at": "seendate", "source": "domain|", "url": "url|",
            "language": "language|",
        },
    ),
    "eventregistry": Preset(
        "Event Registry",
        _marks("uri dateTime title", "uri dateTimePub title", "uri lang dataType title"),
        {
            "title": "title", "published_at": "dateTimePub|dateTime", "id": "uri|", "body": "body|",
            "source": "source.title|source.uri|source|", "url": "url|", "language": "lang|",
        },
    ),
    "edgar": Preset(
        "EDGAR",
        _marks(
            "accessionNo filedAt", "accessionNumber filingDate", "accessionNumber acceptanceDateTime",
            "adsh file_date", "_source _id", "accession_number filing_date", "accession_no filed_at",
        ),
        {
            "title": (
                "companyName|company_name|entityName|company|name|display_names[0]|_source.display_names[0]|"
                "+formType|form_type|form|_source.form|_source.root_form|"
                "+description|primaryDocDescription|file_description|_source.file_description|"
            ),
            "published_at": (
                "filedAt|acceptanceDateTime|filed_at|acceptance_datetime|file_date|filingDate|filing_date|"
                "_source.file_date"
            ),
            "id": "accessionNo|accessionNumber|accession_no|accession_number|adsh|_source.adsh|_id|",
            "url": "linkToFilingDetails|linkToHtml|link|url|",
            "tickers": "ticker|tickers|",
        },
    ),
}  # fmt: skip
"""Name in `--as` -> preset."""


_ALSO = {"massive": "polygon", "newsapiai": "eventregistry", "newsapi.ai": "eventregistry", "sec": "edgar"}
"""Other names of them."""


def preset(name: str) -> Preset:
    """Return the preset of this name, however it is written. Raises `BadMapping` with the known names."""
    key = name.lower().replace(" ", "").replace("-", "").replace("_", "")
    key = _ALSO.get(key, key)
    if key not in PRESETS:
        near = get_close_matches(key, PRESETS, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadMapping(f"--as {name}: no such preset.{hint} Known are {', '.join(PRESETS)}.")
    return PRESETS[key]


def recognised(fields: Iterable[str]) -> str | None:
    """Return the name of the preset whose records have these fields; None if there is none."""
    own = set(fields)
    return next((name for name, one in PRESETS.items() if any(marks <= own for marks in one.marks)), None)
