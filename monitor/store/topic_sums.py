"""The sums of each topic's buckets over a stretch of time, moved on by a bucket without reading the stretch again.

    sums = topic_sums(connection, now - DAY, now)
    sums = topic_sums(connection, later - DAY, later, before=sums)      # reads what came, and what left

Invariant: the sums are those of all buckets of the stretch, whether or not they were moved on. Decided buckets never
change, except where a fill puts others in their place; then the sums are read anew. All are whole numbers, so nothing
is lost by adding and subtracting. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, text

from foreshock.monitor.store import schema
from foreshock.monitor.store.fills import DONE
from foreshock.monitor.units import DAY

LONGEST_MOVE = DAY // 8
"""Sums are moved on by at most this. By more, reading them anew is as fast."""


class Sums(NamedTuple):
    """The sums of one topic. `negative` and `positive` are in 1/10,000."""

    stories: int
    events: int
    negative: int
    positive: int
    today: int
    """Stories since the last midnight UTC."""
    usual_events: int
    """Events that came while the topic had a baseline, and their polarity and the expected one."""
    usual_polarity: int
    usual: int


NOTHING = Sums(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TopicSums:
    """The sums of all topics in [since, until)."""

    since: int
    until: int
    fills: int
    """How many fills had put buckets in force."""
    of: Mapping[str, Sums]
    """By topic. One that is missing has no story."""


def topic_sums(connection: Connection, since: int, until: int, before: TopicSums | None = None) -> TopicSums:
    """Return the sums of the buckets that start in [since, until). `before`: those of an earlier stretch, if any."""
    f = schema.fills.c
    fills = connection.execute(select(func.count()).where(f.state == DONE)).scalar_one()
    midnight = until - until % DAY
    if before is None or before.fills != fills or not _near(before, since, until):
        rows = connection.execute(_ALL, {"since": since, "until": until, "midnight": midnight})
        return TopicSums(since, until, fills, {row[0]: Sums(*map(int, row[1:])) for row in rows})
    of = dict(before.of)
    if midnight > before.until - before.until % DAY:
        of = {topic: sums._replace(today=0) for topic, sums in of.items()}
    for first, last, sign in ((before.since, since, -1), (before.until, until, 1)):
        for row in connection.execute(_ROWS, {"first": first, "last": last}) if last > first else ():
            of[row.topic] = _plus(of.get(row.topic, NOTHING), row, sign, sign > 0 and row.start >= midnight)
    return TopicSums(since, until, fills, of)


def _near(before: TopicSums, since: int, until: int) -> bool:
    """Return whether few buckets came and left. Then none that leaves lies after the last midnight."""
    moved = since - before.since, until - before.until
    return all(0 <= by <= LONGEST_MOVE for by in moved) and until - since >= DAY


def _plus(sums: Sums, row: Any, sign: int, is_today: bool) -> Sums:
    """Return the sums with a bucket added, or taken away if `sign` is -1."""
    known = 0 if row.baseline is None else sign
    return Sums(
        sums.stories + sign * row.stories,
        sums.events + sign * row.events,
        sums.negative + sign * row.negative,
        sums.positive + sign * row.positive,
        sums.today + (row.stories if is_today else 0),
        sums.usual_events + known * row.events,
        sums.usual_polarity + known * (row.positive - row.negative),
        sums.usual + known * row.events * (row.baseline or 0),
    )


# CROSS JOIN fixes SQLite's join order, so it reads one range of the primary key for each topic. With the index on
# `start`, it would look up each row separately.
_ALL = text(
    "SELECT b.topic, sum(b.stories), sum(b.events), sum(b.negative), sum(b.positive), "
    "sum(CASE WHEN b.start >= :midnight THEN b.stories ELSE 0 END), "
    "sum(CASE WHEN b.baseline IS NULL THEN 0 ELSE b.events END), "
    "sum(CASE WHEN b.baseline IS NULL THEN 0 ELSE b.positive - b.negative END), "
    "coalesce(sum(CAST(b.baseline AS BIGINT) * b.events), 0) "
    "FROM topics t CROSS JOIN buckets b WHERE b.topic = t.topic AND b.start >= :since AND b.start < :until "
    "GROUP BY b.topic"
)
_ROWS = text(
    "SELECT topic, start, stories, events, negative, positive, baseline FROM buckets "
    "WHERE start >= :first AND start < :last"
)
