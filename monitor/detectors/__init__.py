"""What a detector is: it looks at what was seen of some topics and says how unusual each is; nothing else.

    findings = detector.look(seen, topics, at, watched)

A detector decides nothing about alerts: `foreshock.monitor.alerts` turns findings into pending, firing and resolved.
It keeps no state: what it needs stands in the arrays of `Seen`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from foreshock.monitor.baseline import EVENTS, HOUR, UNIT, FloatArray, History, IntArray, Pool
from foreshock.monitor.recent import Recent

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """When what is unusual becomes an alert. Chosen by reasoning on chance alone, fitted to no feed.

    Take a desk of 30 topics: to hear of chance less than about once in a month, a topic may raise a false alarm every
    30 months. Each threshold is where its statistic, were it as normal as the model says, would do so far less often;
    the rest is margin for news, whose tails are heavier than any model's.
    """

    bucket: int = 300_000_000
    """Microseconds; divides the hour."""
    stall_after: int = 3 * HOUR
    """Microseconds without any story after which time stands still."""

    learning_hours: int = 14 * 24
    """Running hours from a topic's first story: two weekends, without which a weekend cannot be usual."""
    learning_events: int = 20
    """Events in the baseline: with fewer, its own share is known no better than to 10 points."""

    spike_fires: float = 4.0
    """Robust sds. Both windows give about 10 independent looks a topic-day; at 4 normal sds (3.2e-5) chance speaks
    once in 3,100 topic-days, to a desk of 30 topics once in 105 days."""
    spike_near: float = 3.2
    spike_calm: float = 2.0
    """Below it for `spike_calm_hours` an alert is over: half the threshold, so that noise does not ring twice."""
    spike_calm_hours: int = 6
    spike_rise: float = 0.15
    """Rise of the share that a person would call one, however surely a smaller one is measured."""
    spike_events: int = 5
    spike_sources: int = 2

    drift_delta: float = 0.5
    """Daily sds: half of the shift looked for (one daily sd), the classical choice of a CUSUM's slack."""
    drift_fires: float = 7.5
    """Daily sds. By Siegmund's formula a CUSUM with slack 0.5 crosses 7.5 by chance once in 11,600 days."""
    drift_near: float = 5.0
    drift_days: int = 10
    """Days with events, at least, before drift is judged."""

    silence_floor: float = 12.0
    """Expected events. Were events independent, a gap this long has a chance of e^-12 at each event."""
    silence_factor: float = 2.0
    """Times the topic's own largest gap of 28 days: where events come in bursts, that is what independence misses."""
    silence_near: float = 0.7
    """Of what is required."""
    silence_hours: int = 6
    """Running hours at least, so that a very busy topic does not alert on a slow lunch."""

    def __post_init__(self) -> None:
        if self.bucket <= 0 or HOUR % self.bucket:
            raise ValueError(f"a bucket must divide the hour: {self.bucket} microseconds does not")


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


class Seen(NamedTuple):
    """All that a detector may look at. `share` and `polarity`: what is usual now, over topics."""

    history: History
    recent: Recent
    pool: Pool
    rules: DetectionRules
    share: FloatArray
    polarity: FloatArray

    def learned(self, topics: IntArray | slice) -> npt.NDArray[np.bool_]:
        """Which of the topics have enough history to be judged."""
        h = self.history
        old = h.hours - h.first_hour[topics] >= self.rules.learning_hours
        known: npt.NDArray[np.bool_] = old & (h.base[topics, EVENTS] >= self.rules.learning_events * UNIT)
        return known


class Detector(Protocol):
    """One kind of change. `watched`: the open alerts of this kind, of which it must speak whatever their level."""

    kind: str

    def look(self, seen: Seen, topics: IntArray, at: int, watched: Mapping[int, Sequence[Alert]]) -> list[Finding]:
        """Findings for those of `topics` that are near or over the threshold, or watched; `at` is a bucket's end."""
        ...
