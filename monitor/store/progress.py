"""Write what workers store: sources that join and leave, ticks, and batches.

The rule is compare and set (docs/design.md#compare-and-set): each write to a partition's row has `WHERE version =` the
version that the worker read. If no row matches, another process has written since. Either another worker took over the
partition, or this process is a zombie. The transaction rolls back with `Overtaken`, and nothing of the batch is in the
store. So exactly one transaction writes each offset.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Update, bindparam, func, insert, select, update

from foreshock.ingest.meant import did_you_mean
from foreshock.monitor import watermark
from foreshock.monitor.errors import NoSuchSource, Overtaken
from foreshock.monitor.store import bulk, schema, switches
from foreshock.monitor.watermark import Progress, TimeRules


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition's row: the offset at which its worker continues, and its progress in event time."""

    name: str
    kind: str
    """`file`, `deadletters`, `rss` or `kafka`."""
    next_offset: int = 0
    version: int = 0
    progress: Progress = field(default_factory=Progress)
    last_hash: str | None = None
    """The hash of the last record that was read. It shows whether a file was changed before that record."""
    latest: int | None = None
    """The largest event time that its records may have (microseconds): one hour after the clock when it first
    joined."""
    sorted: bool = False
    """Whether the file is read in the order of event time (`--sort`)."""
    heard_at: int | None = None
    """When its worker last wrote, by the clock (microseconds): the source answered then."""
    aside_since: int | None = None
    """Since when the monitor has set it aside, by the clock, because it does not answer. None: it has not."""

    def read_on(self, next_offset: int, last_hash: str | None, progress: Progress) -> Partition:
        """Return the partition after one more record. (`replace` takes four times as long, and each record is one.)"""
        return Partition(
            *(self.name, self.kind, next_offset, self.version, progress, last_hash),
            *(self.latest, self.sorted, self.heard_at, self.aside_since),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction of a worker writes: the rows, and the progress of each partition after them."""

    stories: Sequence[dict[str, Any]]
    story_topics: Sequence[dict[str, Any]]
    dead_letters: Sequence[dict[str, Any]]
    partitions: Sequence[Partition]
    """Their progress after the batch, each with the version from before it."""
    story_signs: Sequence[dict[str, Any]] = ()
    switch: int = 0
    """The last switch of the model that was known when its stories were scored (`store.switches`)."""
    story_names: Sequence[dict[str, Any]] = ()


def load(connection: Connection) -> dict[str, Partition]:
    """Return all partitions, by name."""
    return {row.partition: _from_row(row) for row in connection.execute(_ALL)}


_ALL = select(schema.partitions).order_by(schema.partitions.c.partition)
_LAST = select(func.max(schema.stories.c.counts_at))
"""Each batch and each closing run these statements. They are built once, because building one takes longer than running
it."""


def feed_time(connection: Connection, rules: TimeRules, now: int | None = None) -> int | None:
    """Return the feed time (microseconds) of this transaction's snapshot, or None before the first watermark.

    `now`: the clock (microseconds), if the feed is read live.
    """
    last = connection.execute(_LAST).scalar()
    time = watermark.feed_time([p.progress for p in load(connection).values()], last, rules, now=now)
    if now is None or time is None:
        return time
    return watermark.later(time, connection.execute(select(schema.feed.c.decided_until)).scalar())


def join(
    connection: Connection, joining: Iterable[Partition], rules: TimeRules, now: int | None = None
) -> list[Partition]:
    """Make these partitions members, all in this transaction. Return them with their new progress.

    `now`: see `feed_time`.

    The members version is raised first (docs/design.md#3-joining-and-leaving). It orders this join against a monitor
    that is closing buckets. If the monitor commits first, the feed time read here is past what it closed. Otherwise the
    monitor's compare-and-set fails, and it reads again.
    """
    connection.execute(update(schema.feed).values(members_version=schema.feed.c.members_version + 1))
    time = feed_time(connection, rules, now)
    known = load(connection)
    return [
        _write(
            connection,
            replace(
                _heard(known.get(p.name, p), now), progress=watermark.join(known.get(p.name, p).progress, time, rules)
            ),
        )
        for p in joining
    ]


def leave(connection: Connection, leaving: Iterable[Partition]) -> list[Partition]:
    """End the membership of these partitions, so event time no longer waits for them. Return their new progress."""
    return [_write(connection, replace(p, progress=watermark.leave(p.progress), aside_since=None)) for p in leaving]


def remove(connection: Connection, name: str) -> bool:
    """Make a source leave at an operator's request. Return whether it was a member.

    Raises:
        NoSuchSource: the store does not know it, or it is a replay of dead letters. Those are in the store, so the
            replay can be finished; otherwise the rest of them would never be replayed.
    """
    known = load(connection)
    found = known.get(name)
    if found is None:
        raise NoSuchSource(
            f"The store does not know the source {name!r}.{did_you_mean(name, known)} To list sources, run: "
            "foreshock sources list"
        )
    if found.kind == "deadletters":
        raise NoSuchSource(
            f"{name} is a replay of dead letters, which the store still holds. "
            "To finish it, run: foreshock deadletters replay"
        )
    if found.progress.member:
        leave(connection, [found])
    return found.progress.member


def due_ticks(connection: Connection, own: Iterable[Partition], clock: int, rules: TimeRules) -> list[Partition]:
    """Return those of `own` whose tick is due, with their progress after it.

    The worker has read each of them to its source's end. A tick is due when a partition becomes idle, and when its
    value lets another bucket close. Values come from this transaction's rows (see `watermark.tick_value`).
    """
    rows = {name: p.progress for name, p in load(connection).items()}
    due = []
    for partition in own:
        rows[partition.name] = before = partition.progress
        after = watermark.tick(before, watermark.tick_value(partition.name, rows, clock, rules))
        moves = watermark.end_of_closed(before.watermark, rules) != watermark.end_of_closed(after.watermark, rules)
        if not before.idle or moves:
            due.append(replace(partition, progress=after))
            rows[partition.name] = after
    return due


def tick(connection: Connection, own: Iterable[Partition], clock: int, rules: TimeRules) -> list[Partition]:
    """Write the ticks that are due. Return their partitions with their new progress.

    Raises:
        Overtaken: another process has changed a partition since this worker read it.
    """
    return [_write(connection, _heard(partition, clock)) for partition in due_ticks(connection, own, clock, rules)]


def heard(connection: Connection, own: Iterable[Partition], clock: int) -> list[Partition]:
    """Note that these sources answer: they are at their end, and have nothing new. Return them with the time noted.

    Nothing else changes, so the version stays.

    Raises:
        Overtaken: another process has changed a partition since this worker read it.
    """
    noted = [replace(p, heard_at=clock, aside_since=None) for p in own]
    for partition in noted:
        _update(connection, partition, {"heard_at": clock, "aside_since": None})
    return noted


def due_asides(connection: Connection, silent: Container[str], clock: int, rules: TimeRules) -> list[Partition]:
    """Return the silent sources of which the monitor has something to say, with their progress after it.

    `silent`: the names of the sources that have not answered for `rules.silent_after` (see `watermark.aside_value`).
    """
    known = load(connection)
    rows = {name: p.progress for name, p in known.items()}
    due = []
    for name, partition in known.items():
        value = watermark.aside_value(name, rows, silent, clock, rules)
        if value is not None:
            rows[name] = after = watermark.tick(partition.progress, value)
            due.append(replace(partition, progress=after, aside_since=partition.aside_since or clock))
    return due


def set_aside(connection: Connection, silent: Container[str], clock: int, rules: TimeRules) -> list[Partition]:
    """Set silent sources aside: write what the monitor says of them. Return their partitions with their new progress.

    A worker that wakes up finds that its source has moved on, reads its place again, and goes on there.
    """
    return [_write(connection, partition) for partition in due_asides(connection, silent, clock, rules)]


def commit(connection: Connection, batch: Batch, clock: int | None = None) -> list[Partition]:
    """Write a batch. Return its partitions with their new versions. `clock`: of a process that reads live.

    Raises:
        Overtaken: another process has changed a partition since the batch was read, or recorded a switch of the model.
    """
    switches.refuse_other_batch(connection, batch.switch)
    counted = _counted(batch)
    after = [_write(connection, _heard(p, clock), counted.get(p.name, {})) for p in batch.partitions]
    for table, rows in (
        (schema.stories, batch.stories),
        (schema.story_topics, batch.story_topics),
        (schema.story_signs, batch.story_signs),
        (schema.story_names, batch.story_names),
        (schema.dead_letters, batch.dead_letters),
    ):
        bulk.insert(connection, table, rows)
    return after


def _counted(batch: Batch) -> dict[str, Counter[str]]:
    """Return what the batch adds to the counts of its partitions. Pages read these numbers instead of all stories."""
    counted: dict[str, Counter[str]] = {}
    for row in batch.stories:
        numbers = counted.setdefault(row["partition"], Counter())
        numbers["stories"] += 1
        numbers["late"] += row["late"]
        numbers["stale"] += row["stale"]
    for row in batch.dead_letters:
        counted.setdefault(row["partition"], Counter())["dead_letters"] += 1
    return counted


def record_gap(connection: Connection, partition_name: str, first_offset: int, next_offset: int, now: int) -> None:
    """Record that Kafka deleted the records in [first_offset, next_offset) before they could be read.

    Call this in the transaction that moves the partition's `next_offset` past them. `now`: microseconds since 1970.
    """
    connection.execute(
        insert(schema.gaps).values(
            partition=partition_name, first_offset=first_offset, next_offset=next_offset, found_at=now
        )
    )


def skip(connection: Connection, partition: Partition, next_offset: int, now: int) -> Partition:
    """Move a partition past deleted records to `next_offset`, and record the gap. Return its new progress.

    Raises:
        Overtaken: another process has changed the partition since this worker read it.
    """
    record_gap(connection, partition.name, partition.next_offset, next_offset, now)
    return _write(connection, replace(partition, next_offset=next_offset))


def _heard(partition: Partition, clock: int | None) -> Partition:
    """Return the partition as one whose source answers. Without a clock (a replay) nobody asks when."""
    return replace(partition, heard_at=partition.heard_at if clock is None else clock, aside_since=None)


def _write(
    connection: Connection, partition: Partition, counted: Mapping[str, int] = MappingProxyType({})
) -> Partition:
    """Compare and set one row. `partition.version` is the version that was read (0: there is no row yet).

    `counted`: what is added to its counts.
    """
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
        "heard_at": partition.heard_at,
        "aside_since": partition.aside_since,
    }
    added = {f"counted_{what}": number for what, number in counted.items()}
    if partition.version == 0:
        connection.execute(insert(schema.partitions).values(partition=partition.name, **values, **added))
    else:
        _update(connection, partition, values, added)
    return replace(partition, version=partition.version + 1)


def _update(
    connection: Connection,
    partition: Partition,
    values: Mapping[str, Any],
    added: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Compare and set the row of a partition. `values`: of columns. `added`: what is added to columns."""
    given = {f"new_{name}": value for name, value in (*values.items(), *added.items())}
    given |= {"of_partition": partition.name, "version_read": partition.version}
    if connection.execute(_updating(tuple(values), tuple(added)), given).rowcount != 1:
        raise Overtaken(
            f"The progress of {partition.name} is no longer at version {partition.version}: another process "
            "has changed it."
        )


@cache
def _updating(columns: tuple[str, ...], added: tuple[str, ...]) -> Update:
    """Return the statement of `_update`, built once: building it takes longer than running it."""
    c = schema.partitions.c
    new = {name: bindparam(f"new_{name}", type_=c[name].type) for name in (*columns, *added)}
    mine = (c.partition == bindparam("of_partition")) & (c.version == bindparam("version_read"))
    more = {name: c[name] + new[name] for name in added}
    return update(schema.partitions).where(mine).values({name: new[name] for name in columns} | more)


def _from_row(row: Any) -> Partition:
    largest = tuple((time, identity) for time, identity in json.loads(row.largest))
    progress = Progress(row.watermark, largest, row.member, row.idle)
    return Partition(
        row.partition,
        row.kind,
        row.next_offset,
        row.version,
        progress,
        row.last_hash,
        row.latest,
        row.sorted,
        row.heard_at,
        row.aside_since,
    )
