"""One row per topic and bucket: the input of the detectors, and what `foreshock series` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class SourceSums(NamedTuple):
    """What one source contributes to a topic's bucket. Scores are in 1/10,000 event."""

    source: str
    events: int
    negative: int
    positive: int
    day_events: int
    day_negative: int


@dataclass(frozen=True, slots=True)
class TopicBucket:
    """The sums of one topic's stories in one bucket. Scores are summed over independent events, in 1/10,000 event."""

    topic: str
    stories: int
    """Scored stories, including near-copies: the reach."""
    events: int
    """Independent events that first reached this topic in this bucket."""
    negative: int
    neutral: int
    positive: int
    sources: tuple[str, ...]
    """Distinct sources of the events, in bytewise order. An event that several sources bring in this bucket belongs to
    the one with the fewest stories in it."""
    day_events: int = 0
    """The part of `events` whose time is known only to the day. They enter no window shorter than a day."""
    day_negative: int = 0
    """The part of `negative` that these events contribute."""
    by_source: tuple[SourceSums, ...] = ()
    """The sums of each of `sources`; empty if there is only one."""


class CriticalStory(NamedTuple):
    """A story that is critical for a topic, and counts as such."""

    counts_at: int
    """In microseconds."""
    topic: str
    partition: str
    offset: int
    word: str
    negative: int
    """Probability of negative towards the topic, and what was needed (1/10,000)."""
    needed: int


class NameCounts(NamedTuple):
    """What the events of a bucket say of a name that no topic has."""

    key: str
    """What the name is known by (`topics.names.key_of`)."""
    written: str
    """As it is written most often."""
    sums: TopicBucket


@dataclass(frozen=True, slots=True)
class Bucket:
    """A decided bucket that has stories: its start (microseconds, UTC) and its topics in bytewise order."""

    start: int
    topics: tuple[TopicBucket, ...]
    critical: tuple[CriticalStory, ...] = ()
    """Its critical stories: by when they count, then in canonical order, then by topic."""
    names: tuple[NameCounts, ...] = ()
    """Names that no topic has, in bytewise order of their keys. They are known only as the bucket is counted."""
