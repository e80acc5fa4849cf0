"""One row per topic and bucket: what the detectors see, and what `series` shows."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "_all"
"""The market-wide series, made of all stories; no topic may bear this name."""


@dataclass(frozen=True, slots=True)
class TopicBucket:
    """What one topic's stories of one bucket come to. Sums are over independent events, in 1/10,000 of an event."""

    topic: str
    stories: int
    """Scored stories, near-copies included: the reach."""
    events: int
    """Independent events first seen in this topic in this bucket."""
    negative: int
    neutral: int
    positive: int
    sources: tuple[str, ...]
    """Distinct sources of the events, sorted bytewise."""
    day_events: int = 0
    """Of the events, those known only to the day: they enter no window shorter than a day."""
    day_negative: int = 0
    """Their part of `negative`."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A decided bucket that has stories: its start (microseconds, UTC) and its topics in bytewise order."""

    start: int
    topics: tuple[TopicBucket, ...]
