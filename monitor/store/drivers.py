"""Answer who drives a topic: how much each source moves its mood, and what stories say of other companies in them.

Mood is polarity, the mean of positive minus negative over independent events. A source moves it by its own events'
distance from the usual mood, over the number of all events. So what the sources move adds up to the whole change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, Connection, and_, case, cast, func, null, select

from foreshock.monitor.store import schema
from foreshock.monitor.units import DAY, UNIT

USUAL_DAYS = 28
"""The usual mood is that of this many days before the stretch."""
LEAST_EVENTS = 10
"""The fewest events in `USUAL_DAYS` that give a usual mood."""


@dataclass(frozen=True, slots=True)
class SourceShare:
    """One source in a stretch of a topic: independent `events`, how many of them are `negative`, and their mood."""

    source: str
    events: int
    negative: float
    mood: float
    moves: float
    """By how much the source moves the topic's mood, from -2 to 2."""


@dataclass(frozen=True, slots=True)
class Drivers:
    """The sources of a stretch, those that move the mood most first; and the mood against the usual.

    `usual` is None if there were too few events before; the sources then move the mood from 0.
    """

    mood: float
    usual: float | None
    sources: tuple[SourceShare, ...]


@dataclass(frozen=True, slots=True)
class OtherCompany:
    """A company that is named together with a topic, in `events` independent ones: the mean mood towards each."""

    topic: str
    events: int
    towards_other: float
    towards_this: float


def drivers(connection: Connection, topic: str, start: int, end: int) -> Drivers | None:
    """Return who drives a topic in [start, end) (microseconds); None if it has no event there."""
    before = _sums(connection, topic, start - USUAL_DAYS * DAY, start)
    return shares(by_source(_rows(connection, topic, start, end)), *before)


def shares(sums: dict[str, tuple[int, int, int]], events_before: int = 0, mass_before: int = 0) -> Drivers | None:
    """Return the drivers of events, negative and positive mass by source, against the events and polarity mass before.

    Invariant: what the sources move adds up to `mood` minus `usual`, or to `mood` without a usual one.
    """
    events = sum(n for n, _, _ in sums.values())
    if not events:
        return None
    usual = mass_before / events_before / UNIT if events_before >= LEAST_EVENTS else None
    found = [
        SourceShare(
            source,
            n,
            negative / UNIT,
            (positive - negative) / n / UNIT,
            ((positive - negative) / UNIT - (usual or 0.0) * n) / events,
        )
        for source, (n, negative, positive) in sums.items()
        if n
    ]
    mood = sum(positive - negative for _, negative, positive in sums.values()) / events / UNIT
    return Drivers(mood, usual, tuple(sorted(found, key=lambda s: (-abs(s.moves), s.source.encode()))))


def by_source(rows: Iterable[Any]) -> dict[str, tuple[int, int, int]]:
    """Sum events, negative and positive mass by source over rows of `buckets`.

    A row without `by_source` has one source, or was written before sources had sums of their own. Then its sums are
    shared equally, and events go to the first sources.
    """
    sums: dict[str, list[int]] = {}

    def add(source: str, events: int, negative: int, positive: int) -> None:
        total = sums.setdefault(source, [0, 0, 0])
        total[0] += events
        total[1] += negative
        total[2] += positive

    for row in rows:
        if row.by_source:
            for source, events, negative, positive, *_ in orjson.loads(row.by_source):
                add(source, events, negative, positive)
            continue
        names = orjson.loads(row.sources)
        for place, source in enumerate(names):
            add(source, *(_part(whole, place, len(names)) for whole in (row.events, row.negative, row.positive)))
    return {source: (n, negative, positive) for source, (n, negative, positive) in sums.items()}


def other_companies(connection: Connection, topic: str, start: int, end: int, *, limit: int = 10) -> list[OtherCompany]:
    """Return the companies that stories of a topic also name, the most frequent first. Times are microseconds.

    Only events that were scored towards the other company are counted. Each story is looked at: ask for the newest
    part of a long time (`evidence.newest_part`).
    """
    s, d = schema.stories.c, schema.decisions.c
    mine, other = schema.story_topics.alias("mine"), schema.story_topics.alias("other")
    m, o = mine.c, other.c
    mood = case((m.negative.is_not(None), m.positive - m.negative), else_=s.positive - s.negative)
    count = func.count()
    query = (
        select(o.topic, count, func.sum(o.positive - o.negative), func.sum(mood))
        .select_from(mine)
        .join(other, and_(o.partition == m.partition, o.offset == m.offset, o.topic != m.topic))
        .join(schema.decisions, and_(d.partition == m.partition, d.offset == m.offset))
        .join(schema.stories, and_(s.partition == m.partition, s.offset == m.offset))
        .where(m.topic == topic, m.counts_at >= start, m.counts_at < end, o.negative.is_not(None))
        .where(d.weighs, d.event_partition.is_(None))
        .group_by(o.topic)
        .order_by(count.desc(), o.topic)
        .limit(limit)
    )
    return [
        OtherCompany(name, n, int(theirs) / n / UNIT, int(ours) / n / UNIT)
        for name, n, theirs, ours in connection.execute(query)
    ]


def _part(whole: int, place: int, of: int) -> int:
    return whole * (place + 1) // of - whole * place // of


def _rows(connection: Connection, topic: str, start: int, end: int) -> Iterator[Any]:
    """Yield the rows of a topic. The many with one source are summed by the database: its name as JSON has no comma."""
    b = schema.buckets.c
    here = b.topic == topic, b.start >= start, b.start < end
    alone = and_(b.by_source.is_(None), ~b.sources.like("%,%"))
    sums = (cast(func.sum(of_it), BigInteger).label(of_it.name) for of_it in (b.events, b.negative, b.positive))
    summed = select(*sums, b.sources, null().label("by_source")).where(*here, alone).group_by(b.sources)
    yield from connection.execute(summed)
    query = select(b.events, b.negative, b.positive, b.sources, b.by_source)
    yield from connection.execute(query.where(*here, ~alone))


def _sums(connection: Connection, topic: str, start: int, end: int) -> tuple[int, int]:
    b = schema.buckets.c
    query = select(func.coalesce(func.sum(b.events), 0), func.coalesce(func.sum(b.positive - b.negative), 0))
    events, mass = connection.execute(query.where(b.topic == topic, b.start >= start, b.start < end)).one()
    return int(events), int(mass)
