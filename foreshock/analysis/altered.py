"""Buckets as they would have been with more stories of a topic, or with fewer.

    with_stories(bucket, "banks", 3, (9_000, 300))   # three more bad ones, each from a source of its own
    without_events(bucket, "banks", events)          # some that came left out

Nothing is stored. A topic's row follows from what its sources contribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from foreshock.monitor.buckets import Bucket, SourceSums, TopicBucket
from foreshock.monitor.units import ALL, UNIT


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a topic, as it is left out of its bucket."""

    bucket: int
    mood: tuple[int, int]
    sources: tuple[str, ...]
    date_only: bool
    first: dict[str, Any]


def with_stories(bucket: Bucket, topic: str, count: int, mood: tuple[int, int]) -> Bucket:
    """Return the bucket with so many more events of a topic, each from a source of its own."""
    added = tuple(SourceSums(f"added source {n}", 1, *mood, 0, 0) for n in range(count))
    rows = {row.topic: row for row in bucket.topics}
    for name in dict.fromkeys((topic, ALL)):
        before = rows.get(name) or TopicBucket(name, 0, 0, 0, 0, 0, ())
        parts = before.by_source or _alone(before)
        rows[name] = _row(name, before.stories + count, (*parts, *added))
    return Bucket(bucket.start, tuple(rows[name] for name in sorted(rows)))


def _alone(row: TopicBucket) -> tuple[SourceSums, ...]:
    """Return what a topic's only source contributes."""
    if not row.sources:
        return ()
    return (SourceSums(row.sources[0], row.events, row.negative, row.positive, row.day_events, row.day_negative),)


def _row(topic: str, stories: int, parts: Sequence[SourceSums]) -> TopicBucket:
    """Return a topic's row of what its sources contribute."""
    kept = sorted(part for part in parts if part.events > 0)
    events, negative = sum(part.events for part in kept), sum(part.negative for part in kept)
    positive = sum(part.positive for part in kept)
    return TopicBucket(
        topic,
        max(stories, events),
        events,
        negative,
        events * UNIT - negative - positive,
        positive,
        tuple(part.source for part in kept),
        sum(part.day_events for part in kept),
        sum(part.day_negative for part in kept),
        tuple(kept) if len(kept) > 1 else (),
    )


def without_events(bucket: Bucket, topic: str, gone: Sequence[Event]) -> Bucket:
    """Return the bucket without some events of a topic."""
    mine = [event for event in gone if event.bucket == bucket.start]
    if not mine:
        return bucket
    rows = []
    for row in bucket.topics:
        if row.topic != topic:
            rows.append(row)
            continue
        parts = {part.source: part for part in (row.by_source or _alone(row))}
        for event in mine:
            owner = next((source for source in event.sources if source in parts and parts[source].events), None)
            if owner is None:
                continue
            part, (negative, positive) = parts[owner], event.mood
            parts[owner] = _less(part, negative, positive, date_only=event.date_only)
        left = _row(topic, row.stories - len(mine), list(parts.values()))
        if left.events:
            rows.append(left)
    return replace(bucket, topics=tuple(rows))


def _less(part: SourceSums, negative: int, positive: int, *, date_only: bool) -> SourceSums:
    """Return what a source contributes without one event of this mood."""
    events = part.events - 1
    dated = int(date_only and part.day_events > 0)
    left = min(max(part.negative - negative, 0), events * UNIT)
    return SourceSums(
        part.source,
        events,
        left,
        min(max(part.positive - positive, 0), events * UNIT - left),
        part.day_events - dated,
        min(max(part.day_negative - dated * negative, 0), left),
    )
