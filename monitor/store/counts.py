"""Count what a store holds: how far it is decided, and how its records ended."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Integer, cast, func, select

from foreshock.monitor.store import progress, schema

ENDINGS = {"scored": "scored", "duplicate": "duplicates", "revision": "revisions", "unscored": "unscored"}
"""The name in counts of each value of `decisions.ending`."""


def decided_until(connection: Connection) -> int | None:
    """Return the end of the last decided bucket (microseconds), or None if none is decided."""
    time = connection.execute(select(schema.feed.c.decided_until)).scalar()
    return None if time is None else int(time)


def decided_and_members(connection: Connection) -> tuple[int | None, int]:
    """Return "decided until" and the version of the members, which a step of the monitor must find unchanged."""
    until, members = connection.execute(_DECIDED_AND_MEMBERS).one()
    return until, members


_DECIDED_AND_MEMBERS = select(schema.feed.c.decided_until, schema.feed.c.members_version)
"""Each closing runs this statement. It is built once, because building it takes longer than running it."""


def ends(connection: Connection, partitions: Sequence[str]) -> dict[str, int]:
    """Count how the records of these sources ended.

    `records` is the sum of the five endings, and `stories` those without the dead letters, as in `check`.
    `alerts` counts those that fired in the whole store, because an alert does not belong to a source.
    """
    s, d, x = schema.stories.c, schema.decisions.c, schema.dead_letters.c
    counts = dict.fromkeys(("records", "stories", "scored", "duplicates", "revisions", "unscored", "dead_letters"), 0)
    for ending, count in connection.execute(
        select(d.ending, func.count()).where(d.partition.in_(partitions)).group_by(d.ending)
    ):
        counts[ENDINGS[ending]] = count
    counts["dead_letters"] = connection.execute(select(func.count()).where(x.partition.in_(partitions))).scalar_one()
    counts["records"] = sum(counts.values())
    counts["stories"] = counts["records"] - counts["dead_letters"]
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
    """Return, for each source, its name, its stories, and how many of them were late."""
    s = schema.stories.c
    late = func.sum(cast(s.late, Integer))
    query = select(s.partition, func.count(), late).where(s.partition.in_(partitions)).group_by(s.partition)
    return [(name, count, int(late or 0)) for name, count, late in connection.execute(query.order_by(s.partition))]


def waiting(connection: Connection, partitions: Sequence[str]) -> int:
    """Count the stories of these sources whose buckets are not decided yet."""
    s, d = schema.stories.c, schema.decisions.c
    stored = connection.execute(select(func.count()).where(s.partition.in_(partitions))).scalar_one()
    decided = connection.execute(select(func.count()).where(d.partition.in_(partitions))).scalar_one()
    return int(stored - decided)


def members(connection: Connection) -> list[str]:
    """Return the names of the sources that joined and have not left."""
    return [p.name for p in progress.load(connection).values() if p.progress.member]


def gaps(connection: Connection) -> dict[str, int]:
    """Count, by partition, the records that Kafka deleted before they were read."""
    g = schema.gaps.c
    query = select(g.partition, func.sum(g.next_offset - g.first_offset)).group_by(g.partition).order_by(g.partition)
    return {partition: int(records) for partition, records in connection.execute(query)}
