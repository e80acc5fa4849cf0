"""Turn the bytes of a record into a `Story`, or into a `DeadLetter` with the reason. It is pure and never raises.

Every format arrives as JSON: a row of CSV or Parquet is an object of its cells. So all formats give the same stories,
and any dead letter can be replayed. This code runs for every record, so it uses orjson and plain dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from hashlib import sha256
from typing import Any

import orjson

from foreshock.ingest import fields
from foreshock.ingest.errors import BadRecord
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.json_records import decode
from foreshock.ingest.paths import value_at
from foreshock.ingest.scripts import language_of
from foreshock.ingest.story import DeadLetter, Story

AHEAD = 3600 * 1_000_000
"""How far a story may be dated after its record came, or after its file first joined (microseconds)."""


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
    guess_language: bool = False
    """Whether a record that does not say its language has the one of its script (`scripts`), not English."""
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
        return _story(decode(raw), partition, offset, rules, latest, fallback_time)
    except BadRecord as error:
        return DeadLetter(partition, offset, error.reason, error.detail, raw[:LIMIT], len(raw))


def field_of(record: Mapping[str, Any], name: str, rules: ParseRules) -> Any:
    """Return the value of the field `name` in a decoded record, under the rules' mapping; None if it has none."""
    return value_at(record, rules.mapping.get(name, name))[0]


def renamed(raw: bytes, rules: ParseRules) -> bytes:
    """Return the record with the rules' mapping applied. Without a mapping it gives the same story as `raw` with it.

    Bytes that are not a record are returned unchanged.
    """
    try:
        return orjson.dumps(_renamed(decode(raw), rules.mapping))
    except (BadRecord, orjson.JSONEncodeError):
        return raw


def _story(
    record: dict[str, Any], partition: str, offset: int, rules: ParseRules, latest: int | None, fallback: int | None
) -> Story:
    if rules.mapping:
        record = _renamed(record, rules.mapping)
    take = record.pop  # what remains at the end is `extra`
    title = fields.text_of(take("title", None), "title")
    headline = fields.text_of(take("headline", None), "headline")
    text = fields.text_of(take("text", None), "text")
    body = fields.text_of(take("body", None), "body")
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

    source = fields.publisher_of(record, rules.source_bytes)
    url = fields.usable(record, "url", fields.address_of, "")
    zone = rules.zones.get(source, rules.zone) if rules.zones else rules.zone
    published_at, date_only = fields.event_time_of(
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
        counts_at, _ = fields.event_time_of(given, zone, latest, None, microseconds=True)
        if counts_at < published_at:
            raise BadRecord("bad_field", "counts_at lies before published_at: no story counts before it appeared.")
    # Only exports name another feed: who writes a feed must not choose whose ids it bears.
    feed = rules.feed if counts_at is None else fields.name_of(take("feed", None), "feed") or rules.feed

    topics = fields.usable(record, "topics", fields.names_of, fields.NO_NAMES)
    tickers = fields.usable(record, "tickers", fields.tickers_of, fields.NO_NAMES)
    if symbols := fields.usable(record, "symbols", fields.tickers_of, fields.NO_NAMES):
        tickers = tuple(dict.fromkeys(tickers + symbols))
    language = fields.usable(record, "language", fields.language_of, "")
    if not language:
        language = language_of(f"{title}\n{body}") if rules.guess_language else "en"
    status = ""
    if (given := take("status", None)) is not None:
        if isinstance(given, str) and given.strip().lower() == "withdrawn":
            status = "withdrawn"
        elif given != "":
            record["status"] = given
    scores, severity = fields.scores_of(record) if rules.accept_scores else (None, None)
    towards = (
        fields.usable(record, "topic_scores", fields.topic_scores_of, fields.NO_SCORES)
        if scores is not None
        else fields.NO_SCORES
    )
    identity = fields.usable(record, "id", fields.name_of, "")
    if not identity:
        identity = _hash(f"{source}\0{url}\0{published_at}\0{title}\0{body}")
    return Story(
        partition, offset, identity, published_at, title, body, source, url, topics, tickers, language, status,
        content_of(title, body, status), date_only, counts_at, scores, severity,
        _extra(record) if record else {}, feed, towards,
    )  # fmt: skip


def content_of(title: str, body: str, status: str) -> str:
    """Return what tells one version of a story from another. Never change it: it is stored."""
    return _hash(f"{title}\0{body}\0{status}")


def _hash(text: str) -> str:
    # NUL separates the parts. They cannot contain it.
    return sha256(text.encode()).hexdigest()[:32]


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
    taken = {key for _, key in found.values()}
    rest = {key: value for key, value in record.items() if key not in taken}
    displaced = {name: rest.pop(name) for name in mapping if name in rest}
    rest.update({name: value for name, (value, _) in found.items() if value is not None})
    if displaced:
        rest["_unmapped"] = displaced
    return rest
