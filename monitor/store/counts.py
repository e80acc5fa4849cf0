"""How far the store has come, and how its records ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Integer, cast, func, select

from foreshock.monitor.store import progress, schema

if TYPE_CHECKING:
    pass


ENDINGS = {"scored": "scored", "duplicate": "duplicates", "revision": "revisions", "unscored": "unscored"}


def decided_until(connection: Connection) -> int | None:
    time = connection.execute(select(schema.feed.c.decided_until)).scalar()
    return None if time is None else int(time)


def ends(connection: Connection, partitions: Sequence[str]) -> dict[str, int]:
    """How every record of these sources ended, and what came of it; `stories` is the sum of the five ends. `alerts`:
    those that fired in the whole store, as an alert belongs to no source."""
    s, d, x = schema.stories.c, schema.decisions.c, schema.dead_letters.c
    counts = dict.fromkeys(("stories", "scored", "duplicates", "revisions", "unscored", "dead_letters"), 0)
    for ending, count in connection.execute(
        select(d.ending, func.count()).where(d.partition.in_(partitions)).group_by(d.ending)
    ):
        counts[ENDINGS[ending]] = count
    counts["dead_letters"] = connection.execute(select(func.count()).where(x.partition.in_(partitions))).scalar_one()
    counts["stories"] = sum(counts.values())
    for flag in ("late", "stale"):
        counts[flag] = connection.execute(
            select(func.count()).where(s.partition.in_(partitions), s[flag].is_(True))
        ).scalar_one()
    counts["buckets"] = connection.execute(
        select(func.count(func.distinct(d.bucket))).where(d.partition.in_(partitions))
    ).scalar_one()
    counts["alerts"] = connection.execute(
        select(func.count()).where(schema.alerts.c.fired_at.is_not(None))
    ).scalar_one()
    return counts


def late_shares(connection: Connection, partitions: Sequence[str]) -> list[tuple[str, int, int]]:
    """Of each source: name, stories, late ones among them."""
    s = schema.stories.c
    late = func.sum(cast(s.late, Integer))
    query = select(s.partition, func.count(), late).where(s.partition.in_(partitions)).group_by(s.partition)
    return [(name, count, int(late or 0)) for name, count, late in connection.execute(query.order_by(s.partition))]


def waiting(connection: Connection, partitions: Sequence[str]) -> int:
    """Stories of these sources that no decided bucket holds yet."""
    s, d = schema.stories.c, schema.decisions.c
    stored = connection.execute(select(func.count()).where(s.partition.in_(partitions))).scalar_one()
    decided = connection.execute(select(func.count()).where(d.partition.in_(partitions))).scalar_one()
    return int(stored - decided)


def members(connection: Connection) -> list[str]:
    return [p.name for p in progress.load(connection).values() if p.progress.member]


def gaps(connection: Connection) -> dict[str, int]:
    """Records that were gone from Kafka before they were read, by partition."""
    g = schema.gaps.c
    query = select(g.partition, func.sum(g.next_offset - g.first_offset)).group_by(g.partition).order_by(g.partition)
    return {partition: int(records) for partition, records in connection.execute(query)}
