"""Read what counting decided buckets with another model's scores needs, and write the rows that it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from foreshock.monitor.buckets import TopicBucket
from foreshock.monitor.counting import Position
from foreshock.monitor.recounting import Before, Ruled
from foreshock.monitor.store import bulk, decided, fills, lookup, recounting, schema, settings_versions
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.units import OTHER
from foreshock.monitor.watermark import TimeRules

STORIES_AT_A_TIME = 256
"""Stories whose buckets one step counts. A step of so many short texts takes about a second of a core."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a model needs of a stored story."""

    title: str
    body: str
    tickers: tuple[str, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Part:
    """The stories of the next buckets of a switch."""

    ruled: Mapping[int, Sequence[Ruled]]
    texts: Mapping[Position, Text]
    """Those of them that a model scored. The others carry scores of the feed."""
    before: Before
    until: int
    """Up to where all is counted after this part (microseconds)."""


def next_part(connection: Connection, switch: Switch, end: int, rules: TimeRules) -> Part:
    """Return the next decided buckets before `end`, with all stories that count in them."""
    s, since = schema.stories.c, switch.counted_until
    if since is None:
        since = first_to_count(connection, switch, end, rules)
    query = select(s.counts_at).where(s.counts_at < end, s.counts_at >= since).order_by(s.counts_at)
    times = connection.execute(query.limit(STORIES_AT_A_TIME)).scalars().all()
    starts, until = recounting.whole_buckets(times, end, rules, most=STORIES_AT_A_TIME)
    if not starts:
        return Part({}, {}, Before({}, {}), until)
    ruled = recounting.ruled_in(connection, starts, rules, None)
    return Part(ruled, _texts(connection, ruled), recounting.before(connection, ruled, starts[0], None), until)


def first_to_count(connection: Connection, switch: Switch, end: int, rules: TimeRules) -> int:
    """Return the first bucket that a switch counts again whose stories are all stored, at most `end`."""
    whole = fills.whole_since(connection, rules)
    return min(rules.start_of(max(switch.since, end if whole is None else whole)), end)


def _texts(connection: Connection, ruled: Mapping[int, Sequence[Ruled]]) -> dict[Position, Text]:
    """Return the texts of stories that a model scored."""
    s = schema.stories.c
    known = settings_versions.models(connection)
    positions = sorted(one.member.position for some in ruled.values() for one in some)
    query = select(s.partition, s.offset, s.title, s.body, s.tickers, s.language, s.model)
    return {
        (row.partition, row.offset): Text(row.title, row.body, tuple(json.loads(row.tickers)), row.language)
        for row in lookup.by_position(connection, query, s.partition, s.offset, positions)
        if row.model in known
    }


def write(connection: Connection, switch: Switch, rows: Sequence[tuple[int, Sequence[TopicBucket]]]) -> None:
    """Write rows of a switch: those of topics that have a row in the decided bucket."""
    b = schema.buckets.c
    query = select(b.topic, b.start, b.settings)
    starts = [start for start, _ in rows]
    there = {(row.topic, row.start): row.settings for row in lookup.by_number(connection, query, b.start, starts)}
    values = [
        {"switch": switch.number, **decided.sums_of(start, row), "baseline": None, "settings": number}
        for start, topics in rows
        for row in topics
        if row.topic != OTHER and (number := there.get((row.topic, start))) is not None
    ]
    bulk.insert(connection, schema.rescored_buckets, values)


def rescored_rows(connection: Connection, switch: Switch, since: int, until: int) -> dict[tuple[str, int], TopicBucket]:
    """Return the rows of a switch in [`since`, `until`), by topic and the start of their bucket."""
    r = schema.rescored_buckets
    query = select(r).where(r.c.switch == switch.number, r.c.start >= since, r.c.start < until)
    return {(row.topic, row.start): decided.topic_bucket(row) for row in connection.execute(query)}
