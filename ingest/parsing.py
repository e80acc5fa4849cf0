"""Turn the bytes of a record into a `Story`, or into a `DeadLetter` with the reason. It is pure and never raises.

Every format arrives as JSON: a row of CSV or Parquet is an object of its cells. So all formats give the same stories,
and any dead letter can be replayed. This code runs for every record, so it uses orjson and plain dicts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from hashlib import sha256
from typing import Any, TypeVar

import orjson

from foreshock.ingest.dates import is_in_range, read_date
from foreshock.ingest.errors import BadRecord
from foreshock.ingest.languages import code_of
from foreshock.ingest.markup import plain_text
from foreshock.ingest.paths import as_object, value_at
from foreshock.ingest.story import DeadLetter, Story
from foreshock.ingest.tickers import read_tickers

LIMIT = 1 << 20
"""Largest record that is read, in bytes."""
AHEAD = 3600 * 1_000_000
"""How far a story may be dated after its record came, or after its file first joined (microseconds)."""
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

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_BROKEN = re.compile("[\0\ud800-\udfff]")
_SEPARATOR = re.compile(r"[|;]")
_NO_SCORES: dict[str, tuple[int, int, int]] = {}
_NO_NAMES: tuple[str, ...] = ()
_SUBTAG = re.compile(r"[-_]")


_Value = TypeVar("_Value")
KEPT_IF_UNUSABLE = ("source", "url", "topics", "tickers", "symbols", "language", "id")
"""Optional fields. A value that cannot be used is kept in `extra` and costs nothing else."""


@dataclass(frozen=True, slots=True)
class ParseRules:
    """The resolved `settings.ParseSettings`: what parsing depends on besides the record."""

    zone: tzinfo | None = None
    """Zone of dates without one. With None, such a record is a dead letter."""
    zones: Mapping[str, tzinfo] = field(default_factory=dict)
    """Zones by source, which override `zone`."""
    encoding: str | None = None
    """Of a file's text, if it is not UTF-8."""
    date_only: bool = False
    """A time of exactly 00:00:00 says only the day."""
    date_format: str | None = None
    """A form of dates that only the user knows (`date_formats`)."""
    accept_scores: bool = True
    accept_counts_at: bool = True
    feed: str = ""
    """Whose ids these are (`Story.feed`)."""
    source_bytes: int = 200
    """Longest name of a source."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Field -> column or path (`paths`), as in `--map`."""


def parse(
    raw: bytes,
    partition: str,
    offset: int,
    rules: ParseRules,
    latest: int | None = None,
    fallback_time: int | None = None,
) -> Story | DeadLetter:
    """Return the story in `raw` (a JSON object, UTF-8), or a dead letter with the reason. Never raises.

    `latest`: the largest event time allowed, in microseconds (None: any). `fallback_time`: the event time of a record
    without a date, in microseconds: the timestamp of the broker (below 0: none). It is None for a file, whose records
    need a date. Only records of files may carry `counts_at`, if the rules accept it: a producer must not choose when
    its stories count.
    """
    try:
        if len(raw) > LIMIT:
            raise BadRecord("too_large", f"The record has {len(raw):,} bytes, more than {LIMIT:,}.")
        return _story(_object(raw), partition, offset, rules, latest, fallback_time)
    except BadRecord as error:
        return DeadLetter(partition, offset, error.reason, error.detail, raw[:LIMIT], len(raw))


def field_of(record: Mapping[str, Any], name: str, rules: ParseRules) -> Any:
    """Return the value of the field `name` in a decoded record, under the rules' mapping; None if it has none."""
    return value_at(record, rules.mapping.get(name, name))[0]


def decode(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises `BadRecord`: not_utf8, bad_json, not_an_object."""
    return _object(raw)


def renamed(raw: bytes, rules: ParseRules) -> bytes:
    """Return the record with the rules' mapping applied. Without a mapping it gives the same story as `raw` with it.

    Bytes that are not a record are returned unchanged.
    """
    try:
        return orjson.dumps(_renamed(_object(raw), rules.mapping))
    except (BadRecord, orjson.JSONEncodeError):
        return raw


def quantise(negative: float, neutral: float, positive: float) -> tuple[int, int, int]:
    """Return three shares as integers of 1/10,000 that sum to 10,000, by largest remainder (ties: the first).

    >>> quantise(1 / 3, 1 / 3, 1 / 3)
    (3334, 3333, 3333)
    """
    total = negative + neutral + positive
    exact = [10_000 * share / total for share in (negative, neutral, positive)]
    units = [math.floor(share) for share in exact]
    by_remainder = sorted(range(3), key=lambda i: (units[i] - exact[i], i))
    for i in by_remainder[: 10_000 - sum(units)]:
        units[i] += 1
    return units[0], units[1], units[2]


def _object(raw: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        record = _mended(_second_look(raw, error))
    if type(record) is not dict:
        kind = {list: "an array", str: "a string", type(None): "null", bool: "true or false"}.get(
            type(record), "a number"
        )
        raise BadRecord("not_an_object", f"The record is {kind}; a story is a JSON object.")
    mended: dict[str, Any] = _mended(record) if b"\\u0000" in raw else record
    return mended


def _second_look(raw: bytes, error: ValueError) -> Any:
    """Parse what orjson rejects: a byte order mark or lone surrogates. Report bytes that are not UTF-8."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        raise BadRecord("not_utf8", f"Byte {broken.start} (0x{raw[broken.start]:02x}) is not UTF-8.") from None
    if text and (_SURROGATE.search(raw) or raw.startswith(b"\xef\xbb\xbf")):
        try:
            return json.loads(text, parse_constant=_no_constant, parse_int=_integer)
        except (ValueError, RecursionError):
            pass
    raise BadRecord("bad_json", f"Not JSON: {error}.") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int | float:
    value = int(digits) if len(digits) < 20 else float(digits)
    return value if isinstance(value, float) or -(2**63) <= value < 2**63 else float(value)


def _mended(value: Any, depth: int = 0) -> Any:
    if depth > 200:
        raise BadRecord("bad_json", "The JSON is nested too deeply.")
    if isinstance(value, str):
        return _BROKEN.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_mended(key, depth): _mended(item, depth + 1) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _story(
    record: dict[str, Any], partition: str, offset: int, rules: ParseRules, latest: int | None, fallback: int | None
) -> Story:
    if rules.mapping:
        record = _renamed(record, rules.mapping)
    take = record.pop  # what remains at the end is `extra`
    title = _text(take("title", None), "title")
    headline = _text(take("headline", None), "headline")
    text = _text(take("text", None), "text")
    body = _text(take("body", None), "body")
    if not title:
        title, headline = headline, ""
        if not title:
            title, text = text, ""
            if not title:
                raise BadRecord("no_text", "None of title, headline and text has anything in it.")
    if text and not body:
        body, text = text, ""
    if headline:
        record["headline"] = headline
    if text:
        record["text"] = text

    source = _publisher(record, rules.source_bytes)
    url = _usable(record, "url", _address, "")
    zone = rules.zones.get(source, rules.zone) if rules.zones else rules.zone
    published_at, date_only = _event_time(
        take("published_at", None),
        zone,
        latest,
        fallback,
        midnight_is_day=rules.date_only,
        date_format=rules.date_format,
    )
    if record.get("date_only") is True:
        date_only = take("date_only")
    counts_at = None
    if fallback is None and rules.accept_counts_at and (given := take("counts_at", None)) not in (None, ""):
        counts_at, _ = _event_time(given, zone, latest, None, microseconds=True)
        if counts_at < published_at:
            raise BadRecord("bad_field", "counts_at lies before published_at: no story counts before it appeared.")
    # Only exports name another feed: who writes a feed must not choose whose ids it bears.
    feed = rules.feed if counts_at is None else _name(take("feed", None), "feed") or rules.feed

    topics = _usable(record, "topics", _names, _NO_NAMES)
    tickers = _usable(record, "tickers", _tickers, _NO_NAMES)
    if symbols := _usable(record, "symbols", _tickers, _NO_NAMES):
        tickers = tuple(dict.fromkeys(tickers + symbols))
    language = _usable(record, "language", _language, "en")
    status = ""
    if (given := take("status", None)) is not None:
        if isinstance(given, str) and given.strip().lower() == "withdrawn":
            status = "withdrawn"
        elif given != "":
            record["status"] = given
    scores, severity = _scores(record) if rules.accept_scores else (None, None)
    towards = _usable(record, "topic_scores", _topic_scores, _NO_SCORES) if scores is not None else _NO_SCORES
    identity = _usable(record, "id", _name, "")
    if not identity:
        identity = _hash(f"{source}\0{url}\0{published_at}\0{title}\0{body}")
    return Story(
        partition, offset, identity, published_at, title, body, source, url, topics, tickers, language, status,
        _hash(f"{title}\0{body}\0{status}"), date_only, counts_at, scores, severity,
        _extra(record) if record else {}, feed, towards,
    )  # fmt: skip


def _usable(record: dict[str, Any], name: str, read: Callable[[Any, str], _Value], empty: _Value) -> _Value:
    """Take an optional field out of the record. One that cannot be used stays in it, and therefore in `extra`."""
    value = record.pop(name, None)
    if value is None:
        return empty
    try:
        return read(value, name)
    except BadRecord:
        record[name] = value
        return empty


def _hash(text: str) -> str:
    # NUL separates the parts. They cannot contain it.
    return sha256(text.encode()).hexdigest()[:32]


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if type(value) is not str:
        raise BadRecord("text_not_a_string", f"{name} is a {type(value).__name__}, not a string.")
    return plain_text(value.strip())


def _name(value: Any, name: str, limit: int = NAME_LIMIT) -> str:
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


def _publisher(record: dict[str, Any], limit: int) -> str:
    """Take the source. An object stays in the record; a name that is too long makes it a dead letter (`[limits]`)."""
    given = record.pop("source", None)
    name = as_object(given)  # in a CSV an object is text: {'id': None, 'name': 'Quay Times'}
    if name is None or type(name) in (str, int, float):
        return _name(name, "source", limit)
    record["source"] = given
    return ""


def _address(value: Any, name: str) -> str:
    return _name(value, name, LIMIT)


def _language(value: Any, name: str) -> str:
    return code_of(_SUBTAG.split(_name(value, name), 1)[0].lower()) or "en"


def _names(value: Any, name: str) -> tuple[str, ...]:
    if not value and value != 0:
        return ()
    value = as_object(value)
    if type(value) is not list:
        value = _SEPARATOR.split(value) if type(value) is str else [value]
    if len(value) > NAMES_LIMIT:
        raise BadRecord("bad_field", f"{name} has {len(value):,} entries, more than {NAMES_LIMIT:,}.")
    return tuple(dict.fromkeys(filter(None, [_name(item, name) for item in value])))


def _tickers(value: Any, name: str) -> tuple[str, ...]:
    """Return tickers in the one way of `tickers`. Their notation may hold several in one text."""
    if not value and value != 0:
        return ()
    value = as_object(value)
    for item in value if type(value) is list else [value]:
        if item is not None:
            _name(item, name, LIMIT)  # text or a number, and nothing else
    return _names([ticker for ticker, _ in read_tickers(value)], name)


def _event_time(
    value: Any,
    zone: tzinfo | None,
    latest: int | None,
    fallback: int | None,
    *,
    microseconds: bool = False,
    midnight_is_day: bool = False,
    date_format: str | None = None,
) -> tuple[int, bool]:
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


def _scores(record: dict[str, Any]) -> tuple[tuple[int, int, int] | None, int | None]:
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
            raise BadRecord("bad_scores", f"Scores {str(cells)[:80]} are not numbers.") from None
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


def _of_object(given: dict[str, Any]) -> list[Any]:
    return [given.get("negative"), given.get("neutral"), given.get("positive")]


def _quantised(shares: list[Any]) -> tuple[int, int, int]:
    if not all((type(share) is float or type(share) is int) and 0 <= share <= 1 for share in shares):
        raise BadRecord("bad_scores", f"Scores {str(shares)[:80]} are not three numbers in 0..1.")
    if abs(sum(shares) - 1) > 0.001:
        raise BadRecord("bad_scores", f"Scores {str(shares)[:80]} do not sum to 1 within 0.001.")
    return quantise(*shares)


def _topic_scores(value: Any, name: str) -> dict[str, tuple[int, int, int]]:
    """Return the scores towards companies by topic, as exports have them: an object of objects like `scores`."""
    value = as_object(value)
    if type(value) is not dict or len(value) > NAMES_LIMIT or not all(type(one) is dict for one in value.values()):
        raise BadRecord("bad_field", f"{name} is not an object of scores by topic.")
    return {_name(topic, name): _quantised(_of_object(one)) for topic, one in value.items()}


def _extra(record: dict[str, Any]) -> dict[str, Any]:
    extra = {key: value for key, value in record.items() if value is not None}
    if any(type(value) is dict or type(value) is list for value in extra.values()):
        try:
            orjson.dumps(extra)
        except orjson.JSONEncodeError:
            raise BadRecord("bad_json", "The JSON is nested too deeply.") from None
    return extra


def _renamed(record: dict[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Return the record with its fields renamed. A field that had such a name before is kept, nested, in `extra`."""
    found = {name: value_at(record, column) for name, column in mapping.items()}
    rest = {key: value for key, value in record.items() if key not in {key for _, key in found.values()}}
    displaced = {name: rest.pop(name) for name in mapping if name in rest}
    rest.update({name: value for name, (value, _) in found.items() if value is not None})
    if displaced:
        rest["_unmapped"] = displaced
    return rest
