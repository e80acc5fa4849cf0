"""What a detector finds: how a topic stands now, and how it stood before."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Level(IntEnum):
    """How a topic stands with a detector."""

    CALM = 0
    """Usual again: what was open may end."""
    HOLD = 1
    """Neither: what was open stays."""
    NEAR = 2
    """Unusual, but not enough, or on too little evidence."""
    MET = 3


class Finding(NamedTuple):
    """What a detector says of one topic at one moment. Times in microseconds."""

    topic: int
    direction: str
    level: Level
    score: float
    observed: float
    baseline: float
    started_at: int
    window_start: int
