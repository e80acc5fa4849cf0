"""Load and save what ruling on stories needs of earlier buckets: ids, events by their keys, topics already counted.

It is looked up in bulk for the stories of one closing, so memory does not grow with the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, and_, bindparam, delete, select

from foreshock.monitor import novelty
from foreshock.monitor.counting import LOOK_BACK, CountedStory, Event, Known, Position, SeenIds
from foreshock.monitor.store import bulk, lookup, schema
from foreshock.monitor.units import ALL

_CHUNK = 900
"""The most parameters of one statement. SQLite's oldest builds accept 999."""

# Each closing runs these statements. They are built once, because building one takes as long as running it.
_s, _d, _t, _k = (table.c for table in (schema.stories, schema.decisions, schema.story_topics, schema.event_keys))
_OF_KEYS = select(_k.partition, _k.offset).where(_k.bucket >= bindparam("oldest"))
_IDS = select(schema.story_ids)
_WEIGHING = select(_d.partition, _d.offset, _d.event_partition, _d.event_offset).where(_d.weighs)
_EVENTS = select(
    *(_d.partition, _d.offset, _d.bucket, _s.published_at, _s.id, _s.content, _s.signature, _s.negative, _s.positive)
).join_from(schema.decisions, schema.stories, and_(_s.partition == _d.partition, _s.offset == _d.offset))
_WITH_TOPICS = and_(_t.partition == _d.partition, _t.offset == _d.offset)
_OWN = select(_t.partition, _t.offset, _t.topic)
_HANGING = (
    select(_d.event_partition.label("p"), _d.event_offset.label("o"), _t.topic)
    .join_from(schema.decisions, schema.story_topics, _WITH_TOPICS)
    .where(_d.event_partition.is_not(None))
)
"""The topics of records that repeat an event."""
_ADDED = (
    select(_d.story_partition.label("p"), _d.story_offset.label("o"), _t.topic)
    .join_from(schema.decisions, schema.story_topics, _WITH_TOPICS)
    .where(_d.ending == "duplicate", _d.event_partition.is_not(None))
)
"""The topics of duplicates. Only those that count have an event."""
_CRITICAL = _OWN.where(_t.critical.is_not(None))
_CRITICAL_LATER = (
    select(_d.story_partition, _d.story_offset, _t.topic)
    .join_from(schema.decisions, schema.story_topics, _WITH_TOPICS)
    .where(_t.critical.is_not(None))
)


def load(connection: Connection, members: Sequence[CountedStory]) -> SeenIds:
    """Load the memory that ruling on these members needs. They are of undecided buckets, in any order."""
    memory = SeenIds()
    if not members:
        return memory
    _load_events_by_key(connection, memory, members)
    _load_ids(connection, memory, {m.key for m in members})
    _load_critical(connection, memory, {m.key for m in members if m.critical})
    return memory


def save(connection: Connection, memory: SeenIds) -> None:
    """Write back the ids that ruling changed, and the keys of new events."""
    changed = {identity: known for identity, known in memory.ids.items() if known.dirty}
    again = sorted(memory.stored.intersection(changed))
    for start in range(0, len(again), _CHUNK):
        some = again[start : start + _CHUNK]
        connection.execute(delete(schema.story_ids).where(schema.story_ids.c.id.in_(some)))
    ids = [
        (identity, content, known.last_bucket, *known.first)
        for identity, known in sorted(changed.items(), key=lambda item: item[0])
        for content in known.contents
    ]
    bulk.insert_tuples(connection, schema.story_ids, ("id", "content", "last_bucket", "partition", "offset"), ids)
    keys = [
        (key, bucket, partition, offset)
        for event in memory.new_events
        for bucket, (partition, offset) in [(event.rank[0], event.position)]
        for key in set(event.keys)
    ]
    # In the order of the index: the cost of a row is mostly whether its page is in memory.
    order = np.argsort(np.fromiter((row[0] for row in keys), np.int64, len(keys))).tolist()
    keys = [keys[place] for place in order]
    bulk.insert_tuples(connection, schema.event_keys, ("key", "bucket", "partition", "offset"), keys)


def forget_events(connection: Connection, day: int) -> None:
    """Delete the keys of events that are too old to match a story at or after `day` (the start of its first bucket)."""
    connection.execute(delete(schema.event_keys).where(schema.event_keys.c.bucket < day - LOOK_BACK))


def _load_events_by_key(connection: Connection, memory: SeenIds, members: Sequence[CountedStory]) -> None:
    keys = [m.keys for m in members if m.scores is not None and not m.stale]
    wanted, times = np.unique(np.array(keys, np.int64), return_counts=True)
    oldest = min(m.bucket for m in members) - LOOK_BACK
    # One row of each event is enough: its signature gives all its keys.
    rows = lookup.by_number(connection, _OF_KEYS, _k.key, wanted.tolist(), {"oldest": oldest})
    found = {(row.partition, row.offset) for row in rows}
    events = list(_events(connection, found).values())
    memory.shared = frozenset(wanted[times > 1].tolist()).union(*(event.keys for event in events))
    for event in events:
        memory.add_event(event)


def _load_ids(connection: Connection, memory: SeenIds, ids: Iterable[str]) -> None:
    for row in lookup.by_text(connection, _IDS, schema.story_ids.c.id, sorted(ids)):
        known = memory.ids.setdefault(row.id, Known((row.partition, row.offset), row.last_bucket, set(), set(), None))
        known.contents.add(row.content)
        memory.stored.add(row.id)
        known.last_bucket = max(known.last_bucket, row.last_bucket)
    if not memory.ids:
        return
    by_first = {known.first: known for known in memory.ids.values()}
    firsts = sorted(by_first)
    event_of: dict[Position, Position] = {}
    for row in lookup.by_position(connection, _WEIGHING, _d.partition, _d.offset, firsts):
        event_of[row.partition, row.offset] = (
            row.event_partition or row.partition,
            row.offset if row.event_partition is None else row.event_offset,
        )
    loaded = {event.position: event for events in memory.keys.values() for event in events}
    loaded.update(_events(connection, set(event_of.values()) - set(loaded)))
    for first, position in event_of.items():
        by_first[first].event = loaded[position]
    # A story's topics: its first record's, and those that duplicates added.
    for first, topic in _topics(connection, firsts, _ADDED, _d.story_partition, _d.story_offset):
        by_first[first].topics.add(topic)


def _load_critical(connection: Connection, memory: SeenIds, ids: Iterable[str]) -> None:
    """Load for which topics any version of these stories was critical."""
    known = {memory.ids[identity].first: memory.ids[identity] for identity in ids if identity in memory.ids}
    firsts = sorted(known)
    if not firsts:
        return
    for row in lookup.by_position(connection, _CRITICAL, _t.partition, _t.offset, firsts):
        known[row.partition, row.offset].critical.add(row.topic)
    for row in lookup.by_position(connection, _CRITICAL_LATER, _d.story_partition, _d.story_offset, firsts):
        known[row.story_partition, row.story_offset].critical.add(row.topic)


def _events(connection: Connection, positions: Iterable[Position]) -> dict[Position, Event]:
    wanted = sorted(positions)
    rows = list(lookup.by_position(connection, _EVENTS, _d.partition, _d.offset, wanted))
    events: dict[Position, Event] = {}
    for row, keys in zip(rows, novelty.keys([row.signature for row in rows]), strict=True):
        rank = (row.bucket, row.published_at, row.id, row.content, row.partition, row.offset)
        position = row.partition, row.offset
        events[position] = Event(position, rank, row.signature, keys, row.positive - row.negative, {ALL})
    for position, topic in _topics(connection, wanted, _HANGING, _d.event_partition, _d.event_offset):
        events[position].topics.add(topic)
    return events


def _topics(
    connection: Connection, positions: Sequence[Position], referring: Select[Any], partition: Any, offset: Any
) -> Iterator[tuple[Position, str]]:
    """Yield the topics of the records at these positions, and of the decided records that refer to them.

    `referring`: reads the topics of the latter. `partition`, `offset`: its columns of `decisions` that refer to a
    position.
    """
    for row in lookup.by_position(connection, _OWN, _t.partition, _t.offset, positions):
        yield (row.partition, row.offset), row.topic
    for row in lookup.by_position(connection, referring, partition, offset, positions):
        yield (row.p, row.o), row.topic
