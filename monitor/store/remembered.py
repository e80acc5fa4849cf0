"""What earlier buckets left for later ones: ids, events by their keys, topics already counted. Looked up in bulk, for
the stories at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select, tuple_

from foreshock.monitor import novelty
from foreshock.monitor.buckets import ALL
from foreshock.monitor.counting import LOOK_BACK, Event, Known, Member, Memory, Position
from foreshock.monitor.store import bulk, schema

_CHUNK = 900
"""Parameters of one look-up: SQLite takes 999 in its oldest builds."""


def load(connection: Connection, members: Sequence[Member]) -> Memory:
    """The memory that ruling on these members needs; they are of undecided buckets, in any order."""
    memory = Memory()
    if not members:
        return memory
    _load_events_by_key(connection, memory, members)
    _load_ids(connection, memory, {m.id for m in members})
    return memory


def save(connection: Connection, memory: Memory) -> None:
    """Write back what ruling changed."""
    changed = {identity: known for identity, known in memory.ids.items() if known.dirty}
    for chunk in _chunks(sorted(changed)):
        connection.execute(delete(schema.story_ids).where(schema.story_ids.c.id.in_(chunk)))
    ids = [
        (identity, content, known.last_bucket, *known.first)
        for identity, known in changed.items()
        for content in known.contents
    ]
    bulk.insert_tuples(connection, schema.story_ids, ("id", "content", "last_bucket", "partition", "offset"), ids)
    keys = [(key, event.rank[0], *event.position) for event in memory.new_events for key in set(event.keys)]
    bulk.insert_tuples(connection, schema.event_keys, ("key", "bucket", "partition", "offset"), keys)


def forget_events(connection: Connection, day: int) -> None:
    """Drop the keys of events that are too old for every story from this day (its first bucket) on."""
    connection.execute(delete(schema.event_keys).where(schema.event_keys.c.bucket < day - LOOK_BACK))


def _load_events_by_key(connection: Connection, memory: Memory, members: Sequence[Member]) -> None:
    wanted = sorted({key for m in members if m.scores is not None and not m.stale for key in m.keys})
    oldest = min(m.bucket for m in members) - LOOK_BACK
    table = schema.event_keys
    query = select(table).where(table.c.key.in_(bindparam("keys", expanding=True)), table.c.bucket >= oldest)
    found: dict[Position, list[int]] = {}
    for chunk in _chunks(wanted):
        for row in connection.execute(query, {"keys": chunk}):
            found.setdefault((row.partition, row.offset), []).append(row.key)
    for event in _events(connection, list(found)).values():
        memory.add_event(event)


def _load_ids(connection: Connection, memory: Memory, ids: Iterable[str]) -> None:
    table = schema.story_ids
    for chunk in _chunks(sorted(ids)):
        for row in connection.execute(select(table).where(table.c.id.in_(chunk))):
            known = memory.ids.setdefault(
                row.id, Known((row.partition, row.offset), row.last_bucket, set(), set(), None)
            )
            known.contents.add(row.content)
            known.last_bucket = max(known.last_bucket, row.last_bucket)
    if not memory.ids:
        return
    by_first = {known.first: known for known in memory.ids.values()}
    firsts = sorted(by_first)
    d = schema.decisions.c
    event_of: dict[Position, Position] = {}
    for chunk in _chunks(firsts, 2):
        for row in connection.execute(
            select(d.partition, d.offset, d.event_partition, d.event_offset, d.weighs).where(_at(d, chunk))
        ):
            if row.weighs:
                event_of[row.partition, row.offset] = (
                    row.event_partition or row.partition,
                    row.offset if row.event_partition is None else row.event_offset,
                )
    loaded = {event.position: event for events in memory.keys.values() for event in events}
    missing = sorted(set(event_of.values()) - set(loaded))
    loaded.update(_events(connection, missing))
    for first, position in event_of.items():
        by_first[first].event = loaded[position]
    # A story's topics: its first record's, and those that duplicates added (only what weighed hangs on an event).
    for first, topic in _topics(
        connection,
        firsts,
        d.story_partition,
        d.story_offset,
        and_(d.ending == "duplicate", d.event_partition.is_not(None)),
    ):
        by_first[first].topics.add(topic)


def _events(connection: Connection, positions: Sequence[Position]) -> dict[Position, Event]:
    s, d = schema.stories.c, schema.decisions.c
    events: dict[Position, Event] = {}
    here = and_(s.partition == d.partition, s.offset == d.offset)
    for chunk in _chunks(sorted(positions), 2):
        query = select(d.partition, d.offset, d.bucket, s.published_at, s.id, s.content, s.signature).join_from(
            schema.decisions, schema.stories, here
        )
        for row in connection.execute(query.where(_at(d, chunk))):
            rank = (row.bucket, row.published_at, row.id, row.content, row.partition, row.offset)
            position, keys = (row.partition, row.offset), novelty.keys([row.signature])[0]
            events[position] = Event(position, rank, row.signature, keys, {ALL})
    for position, topic in _topics(
        connection, sorted(events), d.event_partition, d.event_offset, d.event_partition.is_not(None)
    ):
        events[position].topics.add(topic)
    return events


def _topics(
    connection: Connection, positions: Sequence[Position], partition: Any, offset: Any, condition: Any
) -> Iterator[tuple[Position, str]]:
    """Topics of the records at these positions, and of the decided records that hang on them by the two given
    columns."""
    t, d = schema.story_topics.c, schema.decisions.c
    here = and_(t.partition == d.partition, t.offset == d.offset)
    for chunk in _chunks(positions, 2):
        for row in connection.execute(select(t.partition, t.offset, t.topic).where(_at(t, chunk))):
            yield (row.partition, row.offset), row.topic
        hanging = select(partition.label("p"), offset.label("o"), t.topic).join_from(
            schema.decisions, schema.story_topics, here
        )
        for row in connection.execute(hanging.where(tuple_(partition, offset).in_(chunk), condition)):
            yield (row.p, row.o), row.topic


def _at(columns: Any, positions: Sequence[Position]) -> Any:
    return tuple_(columns.partition, columns.offset).in_(positions)


def _chunks(items: Sequence[Any], width: int = 1) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK // width)):
        yield chunk
