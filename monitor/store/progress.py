"""Workers' side of the store: joining, leaving, and the one transaction that carries a batch.

The rule is compare and set: every write to a partition's row is `WHERE version =` the one it began with. If no row is
hit, somebody else wrote since (another worker took the partition over, or this process is a zombie): the transaction
rolls back with `Overtaken`, and nothing of the batch is in the store. So each offset is written by exactly one
transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from foreshock.monitor import watermark
from foreshock.monitor.errors import NoSuchSource, Overtaken
from foreshock.monitor.store import bulk, schema
from foreshock.monitor.watermark import Progress, TimeRules


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition's row: where its worker goes on, and its progress in event time."""

    name: str
    kind: str
    """`file`, `deadletters`, `rss` or `kafka`."""
    next_offset: int = 0
    version: int = 0
    progress: Progress = field(default_factory=Progress)
    last_hash: str | None = None
    """Of the last record read: a file that changed underneath is told by it."""
    latest: int | None = None
    """The largest event time that its records may have (microseconds): an hour after the clock at which it first
    joined."""
    sorted: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction of a worker writes: the rows, and where each partition stands after them."""

    stories: Sequence[dict[str, Any]]
    story_topics: Sequence[dict[str, Any]]
    dead_letters: Sequence[dict[str, Any]]
    partitions: Sequence[Partition]
    """As they stand after the batch, each with the version that it had before."""


def load(connection: Connection) -> dict[str, Partition]:
    """All partitions, by name."""
    return {
        row.partition: _from_row(row)
        for row in connection.execute(select(schema.partitions).order_by(schema.partitions.c.partition))
    }


def feed_time(connection: Connection, rules: TimeRules, now: int | None = None) -> int | None:
    """Feed time (microseconds) in this transaction's snapshot; None while no time has come. `now`: the clock of who
    reads live."""
    last = connection.execute(select(func.max(schema.stories.c.counts_at))).scalar()
    time = watermark.feed_time([p.progress for p in load(connection).values()], last, rules, now=now)
    if now is None or time is None:
        return time
    return watermark.later(time, connection.execute(select(schema.feed.c.decided_until)).scalar())


def join(
    connection: Connection, joining: Iterable[Partition], rules: TimeRules, now: int | None = None
) -> list[Partition]:
    """Make these partitions members, all in this transaction; returns them as they are now. `now`: see `feed_time`.

    The feed's members version is raised first: it orders this join against a monitor that is closing buckets. Either
    the monitor's transaction comes first, and the feed time read here is past what it closed; or its compare-and-set
    misses, and it reads again.
    """
    connection.execute(update(schema.feed).values(members_version=schema.feed.c.members_version + 1))
    time = feed_time(connection, rules, now)
    known = load(connection)
    return [
        _write(
            connection,
            replace(known.get(p.name, p), progress=watermark.join(known.get(p.name, p).progress, time, rules)),
        )
        for p in joining
    ]


def leave(connection: Connection, leaving: Iterable[Partition]) -> list[Partition]:
    return [_write(connection, replace(p, progress=watermark.leave(p.progress))) for p in leaving]


def let_go(connection: Connection, name: str) -> bool:
    """A source leaves at somebody's wish, not its reader's; whether it was a member. Raises NoSuchSource.

    Dead letters that are fed again cannot: they are in the store, and what is left of them would be fed by nobody.
    """
    found = load(connection).get(name)
    if found is None:
        raise NoSuchSource(f"The store knows no source {name!r}. Those that it knows: foreshock sources list.")
    if found.kind == "deadletters":
        raise NoSuchSource(f"{name} is in the store, not lost. Finish it with: foreshock deadletters replay.")
    if found.progress.member:
        leave(connection, [found])
    return found.progress.member


def due_ticks(connection: Connection, own: Iterable[Partition], clock: int, rules: TimeRules) -> list[Partition]:
    """Those of `own` whose tick is due, as they would stand after it.

    Each is at its source's end, as its own loop found. A tick is due when a partition becomes idle, and when its value
    lets a further bucket close; values are taken from this transaction's rows (see `watermark.tick_value`).
    """
    rows = {name: p.progress for name, p in load(connection).items()}
    due = []
    for partition in own:
        rows[partition.name] = before = partition.progress
        after = watermark.tick(before, watermark.tick_value(partition.name, rows, clock, rules))
        if not before.idle or _end(before.watermark, rules) != _end(after.watermark, rules):
            due.append(replace(partition, progress=after))
            rows[partition.name] = after
    return due


def tick(connection: Connection, own: Iterable[Partition], clock: int, rules: TimeRules) -> list[Partition]:
    """Write the ticks that are due; returns their partitions as they stand after it.

    Raises:
        Overtaken: a partition's version is no longer the one that its loop knows.
    """
    return [_write(connection, partition) for partition in due_ticks(connection, own, clock, rules)]


def commit(connection: Connection, batch: Batch) -> list[Partition]:
    """Write a batch; returns its partitions as they stand after it.

    Raises:
        Overtaken: a partition's version is no longer the one the batch was made from.
    """
    after = [_write(connection, partition) for partition in batch.partitions]
    for table, rows in (
        (schema.stories, batch.stories),
        (schema.story_topics, batch.story_topics),
        (schema.dead_letters, batch.dead_letters),
    ):
        bulk.insert(connection, table, rows)
    return after


def record_gap(connection: Connection, partition_name: str, first_offset: int, next_offset: int, now: int) -> None:
    """Note that the records from `first_offset` up to before `next_offset` were gone before they could be read.

    Belongs into the transaction that moves the partition's `next_offset` past them; `now`: microseconds since 1970.
    """
    connection.execute(
        insert(schema.gaps).values(
            partition=partition_name, first_offset=first_offset, next_offset=next_offset, found_at=now
        )
    )


def skip(connection: Connection, partition: Partition, next_offset: int, now: int) -> Partition:
    """Step over records that are gone: the partition goes on at `next_offset`, and the gap is noted; returns it as it
    stands then.

    Raises:
        Overtaken: the partition's version is no longer the one that its loop knows.
    """
    record_gap(connection, partition.name, partition.next_offset, next_offset, now)
    return _write(connection, replace(partition, next_offset=next_offset))


def _end(time: int | None, rules: TimeRules) -> int | None:
    """The end of the last bucket that a watermark has passed."""
    return None if time is None else rules.start_of(time)


def _write(connection: Connection, partition: Partition) -> Partition:
    """Compare and set one row: `partition.version` is the version it was made from (0: there is none yet)."""
    p = partition.progress
    values = {
        "kind": partition.kind,
        "next_offset": partition.next_offset,
        "version": partition.version + 1,
        "member": p.member,
        "idle": p.idle,
        "watermark": p.watermark,
        "largest": json.dumps([list(pair) for pair in p.largest], ensure_ascii=False),
        "last_hash": partition.last_hash,
        "latest": partition.latest,
        "sorted": partition.sorted,
    }
    table = schema.partitions
    if partition.version == 0:
        connection.execute(insert(table).values(partition=partition.name, **values))
    else:
        mine = (table.c.partition == partition.name) & (table.c.version == partition.version)
        if connection.execute(update(table).where(mine).values(values)).rowcount != 1:
            raise Overtaken(
                f"The progress of {partition.name} is no longer at version {partition.version}: another process "
                "went on with it."
            )
    return replace(partition, version=partition.version + 1)


def _from_row(row: Any) -> Partition:
    largest = tuple((time, identity) for time, identity in json.loads(row.largest))
    progress = Progress(row.watermark, largest, row.member, row.idle)
    return Partition(
        row.partition, row.kind, row.next_offset, row.version, progress, row.last_hash, row.latest, row.sorted
    )
