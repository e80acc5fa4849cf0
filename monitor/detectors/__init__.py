"""What a detector is: it looks at what was seen of some topics and says how unusual each is; nothing else.

A detector decides nothing about alerts: `foreshock.monitor.alerts` turns its findings into pending, firing and
resolved. What it remembers stands in arrays over topics (`TopicArrays`), which a snapshot holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.baseline import EVENTS, History, Pool
from foreshock.monitor.recent import Recent
from foreshock.monitor.units import HOUR, UNIT

if TYPE_CHECKING:
    from foreshock.monitor.detectors.alarms import Alarms
    from foreshock.monitor.detectors.shares import Shares
    from foreshock.monitor.detectors.surge_alarms import SurgeAlarms
    from foreshock.monitor.detectors.surges import Surges
    from foreshock.monitor.detectors.volume import Volume


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """When what is unusual becomes an alert: a budget of false alarms, and how much history is asked for."""

    bucket: int = 300_000_000
    """Microseconds; divides the hour."""
    stall_after: int = 3 * HOUR
    """Microseconds without any story after which time stands still."""

    learning_hours: int = 14 * 24
    """Running hours from a topic's first story: two weekends, without which a weekend cannot be usual."""
    learning_events: int = 20
    """Events in the baseline: with fewer, its own share is known no better than to 10 points."""

    false_alarms: float = 1 / 7
    """Alarms a day that chance may raise: of the whole desk, or of each topic."""
    per_topic: bool = False
    bad_news: float = 0.7
    """Share of the budget: surges of bad news, and drift for the worse."""
    surges: float = 0.5
    """Part of the share of bad news that surges have; drift has the rest."""
    better: float = 0.1
    """Share of the budget: drift for the better."""
    volume: float = 0.1
    silence: float = 0.1
    weights: tuple[tuple[str, float], ...] = ()
    """Of topics that weigh more or less than 1: such a topic has so many times the budget of another."""

    silence_near: float = 0.7
    """Of the gap that is required, from which on a silence is pending."""
    silence_hours: int = 6
    """Running hours at least, so that a very busy topic does not alert on a slow lunch."""

    def __post_init__(self) -> None:
        if self.bucket <= 0 or HOUR % self.bucket:
            raise ValueError(f"a bucket must divide the hour: {self.bucket} microseconds does not")


class Seen(NamedTuple):
    """All that a detector may look at. `share` and `polarity`: what is usual now, over topics."""

    history: History
    recent: Recent
    pool: Pool
    rules: DetectionRules
    share: FloatArray
    polarity: FloatArray
    effect: FloatArray
    """What of `share` is the hour's."""
    events: FloatArray
    """Events expected in the open hour."""
    weights: FloatArray
    """How many times another topic's budget each has."""
    shares: Shares
    volume: Volume
    alarms: Alarms
    shape: float
    """How busy the feed usually is in the open hour, over the mean of all hours."""
    surges: Surges
    surge_alarms: SurgeAlarms

    def learned(self, topics: IntArray | slice) -> npt.NDArray[np.bool_]:
        """Which of the topics have enough history to be judged."""
        return self.ripe(topics, self.rules.learning_hours)

    def ripe(self, topics: IntArray | slice, hours: int) -> npt.NDArray[np.bool_]:
        """Which of the topics are known for so many running hours, and by enough events."""
        h = self.history
        old = h.hours - h.first_hour[topics] >= hours
        known: npt.NDArray[np.bool_] = old & (h.base[topics, EVENTS] >= self.rules.learning_events * UNIT)
        return known
