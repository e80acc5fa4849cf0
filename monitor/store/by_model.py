"""Read decided buckets as if one model had scored all of them: for what compares now with the past.

Rows of `buckets` hold what was known at their time, by the model of that time. A switch has counted the last weeks
before it once more (`rescored_buckets`), and older rows are scaled (`chaining.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, func, select

from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.chaining import Chain, Overlap, chain
from foreshock.monitor.store import fills, schema
from foreshock.monitor.store.decided import decided_buckets, first_bucket
from foreshock.monitor.store.rescoring import rescored_rows
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.units import HOUR, UNIT

CHUNK = 6 * HOUR
"""How much is read at once."""


@dataclass(frozen=True, slots=True)
class _Change:
    switch: Switch
    chain: Chain


class ByModel:
    """The decided buckets on the scale of the last of some switches.

    `switches`: in order, each with its bucket. `known`: with the rows that were in force after this fill
    (`fills.as_known`); None: with those that are now.
    """

    def __init__(self, connection: Connection, switches: Sequence[Switch], known: int | None = None) -> None:
        self._known = known
        self._changes = [_Change(switch, _chain_of(connection, switch, known)) for switch in switches]

    def buckets(self, connection: Connection, since: int | None, until: int) -> Iterator[Bucket]:
        """Yield the decided buckets that start at or after `since` (None: all) and before `until`, in order of time."""
        begin = first_bucket(connection) if since is None else since
        while begin is not None and begin < until:
            end = min(until, begin - begin % CHUNK + CHUNK)
            yield from self._some(connection, begin, end)
            begin = end

    def _some(self, connection: Connection, since: int, until: int) -> Iterator[Bucket]:
        coming = [c for c in self._changes if (c.switch.in_force_from or 0) > since]
        counted = [rescored_rows(connection, c.switch, since, until) if until > c.switch.since else {} for c in coming]
        for bucket in decided_buckets(connection, since, until, known=self._known):
            topics = bucket.topics
            for change, rows in zip(coming, counted, strict=True):
                if (change.switch.in_force_from or 0) > bucket.start:
                    topics = tuple(_as_after(row, bucket.start, change.chain, rows) for row in topics)
            yield Bucket(bucket.start, topics)


def _as_after(row: TopicBucket, start: int, chain: Chain, rows: dict[tuple[str, int], TopicBucket]) -> TopicBucket:
    """Return a row as the model after a switch makes it: as it was counted again, or scaled."""
    again = rows.get((row.topic, start))
    if again is None or (again.events, again.stories) != (row.events, row.stories):
        return chain.scaled(row)
    return replace(again, sources=row.sources)


def _chain_of(connection: Connection, switch: Switch, known: int | None) -> Chain:
    """Return the factors of a switch, from the whole days before it for which both models' rows are there."""
    names = ("topic", "start", "events", "negative", "positive")
    now = known is None or known >= fills.last_done(connection)
    b = (schema.buckets if now else fills.as_known(names, known or 0)).c
    r = schema.rescored_buckets.c
    sums = [func.sum(column) for column in (b.events, b.negative, b.positive, r.negative, r.positive)]
    both = and_(r.topic == b.topic, r.start == b.start, r.events == b.events)
    query = select(b.topic, *sums).select_from(b.topic.table.join(schema.rescored_buckets, both))
    query = query.where(r.switch == switch.number, r.start >= switch.since, r.start < switch.day).group_by(b.topic)
    return chain(
        {
            topic: Overlap(int(events) * UNIT, (int(bad), int(good)), (int(after_bad), int(after_good)))
            for topic, events, bad, good, after_bad, after_good in connection.execute(query)
        }
    )
