"""What a detector reports about a topic: its level now, and the numbers that explain it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How unusual a topic is for a detector."""

    CALM = 0
    """Usual: an open alert may end."""
    HOLD = 1
    """Neither usual nor unusual: an open alert stays open."""
    NEAR = 2
    """Unusual, but not enough to fire, or with too little evidence."""
    MET = 3
    """Unusual enough to fire."""


class Finding(NamedTuple):
    """One detector's result for one topic at one moment. Times are in microseconds."""

    topic: int
    direction: str
    level: Level
    score: float
    observed: float
    baseline: float
    started_at: int
    window_start: int
    statistic: float | None = None
    """What the threshold applies to. None: the detector does not say."""
    threshold: float | None = None


class Standing(NamedTuple):
    """How a topic stands for a detector, whether or not it is unusual: what `alerts why` shows."""

    topic: int
    kind: str
    direction: str
    score: float
    """The statistic."""
    threshold: float
    """What the statistic must reach for an alert to fire."""
    observed: float
    usual: float
    """In the window that speaks most surely, in the unit of `measure`."""
    measure: str
    """What `observed` and `usual` count: `negative events`, `negative share`, `events` or `missing events`."""
    hours: float
    """Length of that window."""
    judged: bool
    """False while the topic is learning: nothing fires, whatever the score."""
