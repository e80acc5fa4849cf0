"""Read single fields of a decoded record: texts, names, dates, scores. Each raises `BadRecord` for a value it rejects.

All of them are pure. `parsing` says which field may be absent, and what then takes its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import tzinfo
from typing import Any, TypeVar

import orjson

from foreshock.ingest.dates import is_in_range, read_date
from foreshock.ingest.errors import BadRecord
from foreshock.ingest.languages import code_of
from foreshock.ingest.markup import plain_text
from foreshock.ingest.paths import as_object
from foreshock.ingest.tickers import read_tickers

LIMIT = 1 << 20
"""Largest record that is read, in bytes."""
NAME_LIMIT = 1000
"""Longest id, topic or ticker, in bytes. Databases index them; PostgreSQL rejects keys over 2.7 kB."""
NAMES_LIMIT = 1000
"""The most topics or tickers of one story."""
TEXT_FIELDS = ("title", "headline", "text")
FIELDS = (
    *TEXT_FIELDS, "published_at", "id", "body", "source", "url", "topics", "tickers", "symbols", "language", "status",
    "date_only", "counts_at", "feed", "scores", "negative", "neutral", "positive", "topic_scores",
)  # fmt: skip
"""Every field with a meaning on the wire."""

KEPT_IF_UNUSABLE = ("source", "url", "topics", "tickers", "symbols", "language", "id")
"""Optional fields. A value that cannot be used is kept in `extra` and costs nothing else."""

_SEPARATOR = re.compile(r"[|;]")
NO_SCORES: dict[str, tuple[int, int, int]] = {}
NO_NAMES: tuple[str, ...] = ()
_SUBTAG = re.compile(r"[-_]")
_Value = TypeVar("_Value")


def quantise(negative: float, neutral: float, positive: float) -> tuple[int, int, int]:
    """Return three shares as integers of 1/10,000 that sum to 10,000, by largest remainder (ties: the first).

    >>> quantise(1 / 3, 1 / 3, 1 / 3)
    (3334, 3333, 3333)
    """
    total = negative + neutral + positive
    exact = [10_000 * share / total for share in (negative, neutral, positive)]
    units = [math.floor(share) for share in exact]
    if sum(units) == 10_000:
        return units[0], units[1], units[2]
    by_remainder = sorted(range(3), key=lambda i: (units[i] - exact[i], i))
    for i in by_remainder[: 10_000 - sum(units)]:
        units[i] += 1
    return units[0], units[1], units[2]


def usable(record: dict[str, Any], name: str, read: Callable[[Any, str], _Value], empty: _Value) -> _Value:
    """Take an optional field out of the record. One that cannot be used stays in it, and therefore in `extra`."""
    value = record.pop(name, None)
    if value is None:
        return empty
    try:
        return read(value, name)
    except BadRecord:
        record[name] = value
        return empty


def text_of(value: Any, name: str) -> str:
    """Return a text without markup and without spaces around it; empty if there is none."""
    if value is None:
        return ""
    if type(value) is not str:
        raise BadRecord("text_not_a_string", f"{name} is a {type(value).__name__}, not a string.")
    return plain_text(value.strip())


def name_of(value: Any, name: str, limit: int = NAME_LIMIT) -> str:
    """Return a name of at most `limit` bytes. Numbers become text."""
    if value is None:
        return ""
    if type(value) is not str:
        if type(value) not in (int, float):
            raise BadRecord("bad_field", f"{name} is a {type(value).__name__}: expected a string.")
        value = str(value)
    value = value.strip()
    if 4 * len(value) > limit and len(value.encode()) > limit:
        raise BadRecord("bad_field", f"{name} is longer than {limit:,} bytes.")
    return value  # type: ignore[no-any-return]


def publisher_of(record: dict[str, Any], limit: int) -> str:
    """Take the source. An object stays in the record; a name that is too long makes it a dead letter (`[limits]`)."""
    given = record.pop("source", None)
    name = as_object(given)  # in a CSV an object is text: {'id': None, 'name': 'Quay Times'}
    if name is None or type(name) in (str, int, float):
        return name_of(name, "source", limit)
    record["source"] = given
    return ""


def address_of(value: Any, name: str) -> str:
    """Return a URL as it stands."""
    return name_of(value, name, LIMIT)


def language_of(value: Any, name: str) -> str:
    """Return the ISO 639-1 code of a language in lower case; an empty value stays empty."""
    return code_of(_SUBTAG.split(name_of(value, name), 1)[0].lower())


def names_of(value: Any, name: str) -> tuple[str, ...]:
    """Return distinct names in their order, from a list or from a text that separates them by | or ;."""
    if not value and value != 0:
        return ()
    value = as_object(value)
    if type(value) is not list:
        value = _SEPARATOR.split(value) if type(value) is str else [value]
    if len(value) > NAMES_LIMIT:
        raise BadRecord("bad_field", f"{name} has {len(value):,} entries, more than {NAMES_LIMIT:,}.")
    return tuple(dict.fromkeys(filter(None, [name_of(item, name) for item in value])))


def tickers_of(value: Any, name: str) -> tuple[str, ...]:
    """Return tickers in the one way of `tickers`. Their notation may hold several in one text."""
    if not value and value != 0:
        return ()
    value = as_object(value)
    for item in value if type(value) is list else [value]:
        if item is not None:
            name_of(item, name, LIMIT)  # text or a number, and nothing else
    return names_of([ticker for ticker, _ in read_tickers(value)], name)


def event_time_of(
    value: Any,
    zone: tzinfo | None,
    latest: int | None,
    fallback: int | None,
    *,
    microseconds: bool = False,
    midnight_is_day: bool = False,
    date_format: str | None = None,
) -> tuple[int, bool]:
    """Return the event time (microseconds since 1970), and whether the date is known only to the day.

    `latest`: the largest time allowed, None for any. `fallback`: the time of a record without a date, None if it needs
    one. `microseconds`, `midnight_is_day`, `date_format`: see `dates.read_date`.
    """
    if value is None or value == "":
        if fallback is None or fallback < 0:  # Kafka writes -1 for no timestamp
            raise BadRecord("no_date", "The record has no published_at.")
        if not is_in_range(fallback):
            raise BadRecord("date_out_of_range", "No published_at; the timestamp lies outside the years 1970 to 2100.")
        return fallback, False
    when, date_only = read_date(
        value, zone, microseconds=microseconds, midnight_is_day=midnight_is_day, date_format=date_format
    )
    if latest is not None and when > latest:
        what = "the end of that day, at which it would count, has not come" if date_only else "more than an hour ahead"
        raise BadRecord("date_in_future", f"{str(value)[:60]!r}: {what}.")
    return when, date_only


def scores_of(record: dict[str, Any]) -> tuple[tuple[int, int, int] | None, int | None]:
    """Take `scores`, or the columns that `foreshock score` writes, out of the record. Columns may hold text.

    Returns them, and the `severity` in `scores` in hundredths; None where there is none, or no number from 0 to 3.
    """
    severity = None
    given = record.pop("scores", None)
    if given is None or given == "":
        if "negative" not in record or "neutral" not in record or "positive" not in record:
            return None, None
        cells = [record.pop("negative"), record.pop("neutral"), record.pop("positive")]
        if all(cell is None or cell == "" for cell in cells):
            return None, None
        try:
            shares = [float(cell) if type(cell) is str else cell for cell in cells]
        except ValueError:
            raise BadRecord("bad_scores", f"Scores {_shown(cells)} are not numbers.") from None
    else:
        if type(given) is str and given.lstrip().startswith("{"):  # a CSV cell
            try:
                given = orjson.loads(given)
            except orjson.JSONDecodeError:
                raise BadRecord("bad_scores", "scores is not a JSON object.") from None
        if type(given) is not dict:
            raise BadRecord("bad_scores", "scores is not an object of negative, neutral and positive.")
        shares = _of_object(given)
        grade = given.get("severity")
        if (type(grade) is float or type(grade) is int) and 0 <= grade <= 3:
            severity = round(grade * 100)
    return _quantised(shares), severity


def topic_scores_of(value: Any, name: str) -> dict[str, tuple[int, int, int]]:
    """Return the scores towards companies by topic, as exports have them: an object of objects like `scores`."""
    value = as_object(value)
    if type(value) is not dict or len(value) > NAMES_LIMIT or not all(type(one) is dict for one in value.values()):
        raise BadRecord("bad_field", f"{name} is not an object of scores by topic.")
    return {name_of(topic, name): _quantised(_of_object(one)) for topic, one in value.items()}


def _of_object(given: dict[str, Any]) -> list[Any]:
    return [given.get("negative"), given.get("neutral"), given.get("positive")]


def _quantised(shares: list[Any]) -> tuple[int, int, int]:
    if not all((type(share) is float or type(share) is int) and 0 <= share <= 1 for share in shares):
        raise BadRecord("bad_scores", f"Scores {_shown(shares)} are not three numbers in 0..1.")
    if abs(sum(shares) - 1) > 0.001:
        raise BadRecord("bad_scores", f"Scores {_shown(shares)} do not sum to 1 within 0.001.")
    return quantise(*shares)


def _shown(cells: list[Any]) -> str:
    # A list may be nested more deeply than Python prints.
    return str(["..." if type(cell) in (list, dict) else cell for cell in cells])[:80]
