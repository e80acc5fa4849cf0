"""Silence: a topic that stopped, against its own rate.

What is counted is not hours but events that should have come: nights and weekends weigh as little as they usually
bring, a holiday on which the whole feed is quiet likewise (`History.close_hour`). Were events independent, a gap of g
expected events had the chance e^-g, so a gap is its own log-likelihood; where they come in bursts it is divided by
their size. How long a gap must be for the budget is calibrated as for all kinds: each gap is its own shadow alarm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import FloatArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, GAP_DAYS, History
from foreshock.monitor.detectors import Seen
from foreshock.monitor.detectors.calibration import LEVELS, Counts, K
from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.units import UNIT

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert

SILENCE = "silence"


class Silence(TopicArrays):
    """How far each topic's gap has come, the gaps that there were, and how long one must be."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "passed": ((), (), np.int16, 0),
        "bursts": ((), (), np.float64, 1.0),
        "retired": ((), (), np.bool_, 0),
    }
    PLAIN = ("threshold", "slope", *Counts.ARRAYS)
    passed: npt.NDArray[np.int16]
    """Levels that the gap has passed: each is a shadow alarm."""
    bursts: FloatArray
    """How many events come at once (`fano`)."""
    retired: npt.NDArray[np.bool_]
    """The settings no longer have the topic: that no news of it come is no silence, until some do."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.counts = Counts()
        self.threshold: FloatArray = np.full(1, np.inf)
        self.slope: FloatArray = np.ones(1)
        for name in Counts.ARRAYS:
            setattr(self, name, getattr(self.counts, name))

    def look(self, seen: Seen, ripe: npt.NDArray[np.bool_]) -> list[Finding]:
        """Findings of topics that miss news, each whole hour; that a story came is for the caller to say (`came`).

        `ripe`: topics whose gaps count as shadow alarms.
        """
        h, rules, n = seen.history, seen.rules, len(seen.history.names)
        gap, everyone = h.gap[:n] / UNIT, np.arange(n)
        watched = h.steady[:n] & ~self.retired[:n]
        steady = watched & (h.hours - h.last_hour[:n] >= rules.silence_hours)
        late = np.flatnonzero(steady)
        steady[late] = gap[late] > np.maximum(h.gap_ring[:, late].max(axis=0), h.gap_now[late]) / UNIT
        score = np.where(steady, gap / self.bursts[:n], 0.0)
        levels = np.minimum(np.searchsorted(LEVELS, score, side="right"), K).astype(np.int16)
        for topic in np.flatnonzero((levels > np.maximum(self.passed[:n], 1)) & ripe).tolist():
            self.counts.now[self.passed[topic] : levels[topic]] += 1
        self.passed[:n] = np.maximum(self.passed[:n], levels)
        self.counts.exposure_now += int((ripe & watched).sum())
        needed = self.threshold[0] - np.log(seen.weights[:n]) / self.slope[0]
        near = seen.learned(everyone) & (score >= rules.silence_near * needed) & (score > 0)
        found = []
        for topic in np.flatnonzero(near).tolist():
            last = int(h.last_story[topic])
            level = Level.MET if score[topic] >= needed[topic] else Level.NEAR
            found.append(Finding(topic, "worse", level, float(score[topic]), 0.0, float(gap[topic]), last, last))
        return found

    def came(self, topic: int, alert: Alert) -> Finding:
        """The finding that a watched topic has a story again."""
        return Finding(topic, "worse", Level.CALM, 0.0, 0.0, alert.baseline, alert.started_at, alert.window_start)

    def estimate(self, h: History) -> None:
        """How events of each topic come at once, from closed days."""
        self.bursts[: len(h.names)] = fano(h)

    def calibrate(self, h: History, rate: float) -> None:
        """Sets how long a gap must be so that a topic rings `rate` times a day."""
        n = len(h.names)
        each = h.base[:n, EVENTS][h.steady[:n]] / UNIT / 28 / self.bursts[:n][h.steady[:n]]
        looks = max(float(each.mean()), 1.0) if len(each) else 1.0
        self.threshold[0], self.slope[0] = self.counts.threshold(h.days, rate, looks)


def fano(h: History) -> FloatArray:
    """How many events of each topic come at once, by the variance of its days over their mean (Fano's index), at
    least 1.

    Over 28 running days, weekdays and weekends each about their own mean. Independent events give 1; where three
    sources report each thing, 3 of their events say no more than one, and a gap must be three times as long.
    """
    n, rows = len(h.names), h.last_days(GAP_DAYS)
    events, weekend = h.day_ring[rows, :n, EVENTS] / UNIT, (h.day_number[rows] + 3) % 7 >= 5
    squares, freedom = np.zeros(n), np.zeros(n)
    for days in (events[weekend], events[~weekend]):
        if len(days) > 1:
            mean = days.mean(axis=0)
            there = mean > 0
            squares[there] += (((days - mean) ** 2).sum(axis=0)[there]) / mean[there]
            freedom[there] += len(days) - 1
    found: FloatArray = np.maximum(squares / np.maximum(freedom, 1), 1.0)
    return found
