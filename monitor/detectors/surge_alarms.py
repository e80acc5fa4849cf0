"""The alarm machines of surges: one a topic whose alarms are delivered, and its shadows, whose alarms only count.

A machine that has fired is silent until a quiet day has passed: the bad news of 24 hours are again few, or a small
part of what they were. From then on it looks only at what came since, so that a second wave fires again and a crisis
that keeps burning does not. All topics share one threshold, and the budget is that of the whole desk: a quiet topic
rings as rarely as it can, and leaves to the busy ones what it does not spend.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors.calibration import FEWEST, HISTORY, LATELY, LEVELS, K, ShadowCounts
from foreshock.monitor.detectors.crises_apart import TOP, read_off
from foreshock.monitor.detectors.surge import AGES, WINDOWS, W

QUIET = 24
"""Running hours that tell whether bad news have ended."""
FEW, TIMES, PART = 1.0, 2.0, 1 / 8
"""Bad news have ended when a day's negative mass is at most `FEW` events more than `TIMES` the usual, or `PART` of the
largest day's."""
NONE = -30.0
NEVER = -(10**6)
LOUDER, FADING = 1.0, 30.0
"""What each alarm adds to its topic's threshold, and the days in which that fades to 1/e."""
PRIOR = 0.05
"""Alarms at level 0 that an event raises while nothing is known yet; a score s then comes so many times e^-s. Made
feeds of companies have 0.005 to 0.06; where everyday bursts have one mood, more, until the shadows say so."""
FLOOR, TRUSTED = 4.0, 28.0
"""How far below that the threshold may fall, once so many days of shadows say so."""
ERRORS = 0.0
"""Standard errors by which the threshold is raised. With one, surges spent three quarters of their budget."""
SLOPE = (20.0, 0.65)
"""Weight in alarms, and slope, of what is known of the tail beforehand. In made feeds of companies the mean tail falls
with 0.6 to 1.2; after the slope of a likelihood ratio, 1, surges spent 1.5 of their budget."""
CRISES = 1 / 100
"""Surges, a topic and day, that are taken for crises at most. More are a habit of the feed. A topic that has more by
habit soon has a threshold of its own."""
REACHED = TOP - 1.0
"""The highest threshold: a desk on which crises are a habit still hears of the greatest."""
EVENTS_AT_FIRST = 50.0
"""Events a day of a desk before any were counted."""


class SurgeAlarms(TopicArrays):
    """Shadows and delivered machines, over topics."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "peak": ((), (W,), np.float32, NONE),
        "armed": ((), (K,), np.bool_, True),
        "since": ((), (K,), np.int32, NEVER),
        "mass": ((), (K,), np.float32, 0),
        "firing": ((), (), np.bool_, False),
        "changed": ((), (), np.int64, NEVER),
        "largest": ((), (), np.float64, 0),
        "offset": ((), (), np.float64, 0),
    }
    PLAIN = ("threshold", "slope", "looks", *(f"counts_{name}" for name in ShadowCounts.ARRAYS))
    peak: npt.NDArray[np.float32]
    """(topic, window): the open hour's largest mixture over windows up to each."""
    armed: BoolArray
    since: npt.NDArray[np.int32]
    mass: npt.NDArray[np.float32]
    """(topic, level) of the shadows: whether armed, the running hour of the last firing or arming, and the negative
    mass of the day in which it fired."""
    firing: BoolArray
    changed: IntArray
    largest: FloatArray
    """The delivered machine: whether it fires, since which running hour it does or does not, and the largest negative
    mass of a day meanwhile."""
    offset: FloatArray

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.threshold: FloatArray = np.full(1, np.inf)
        self.slope: FloatArray = np.ones(1)
        self.looks: FloatArray = np.zeros(2)  # events that were looked at, and days in which
        self.counts = ShadowCounts()
        for name in ShadowCounts.ARRAYS:
            setattr(self, f"counts_{name}", getattr(self.counts, name))

    def see(self, topics: IntArray, mixed: FloatArray) -> None:
        """Keep (window, topic) mixtures of topics with bad news for the shadows."""
        self.peak[topics] = np.maximum(self.peak.take(topics, axis=0), mixed.T)

    def allowed(self, topics: IntArray, k: int) -> IntArray:
        """Return the index of each topic's longest window that holds nothing that was delivered before."""
        found: IntArray = AGES[np.minimum(np.maximum(k - self.changed[topics] + QUIET, 0), WINDOWS[-1])]
        return found

    def thresholds(self, topics: IntArray, weights: FloatArray) -> FloatArray:
        """Return each topic's own threshold. `weights`: how many times another topic's budget each has."""
        found: FloatArray = self.threshold[0] + self.offset[topics] - np.log(weights) / self.slope[0]
        return found

    def fire(self, topic: int, k: int) -> None:
        """Note that the topic's alarm is delivered in running hour `k`."""
        self.firing[topic], self.changed[topic], self.largest[topic] = True, k, 0.0
        self.offset[topic] += LOUDER

    def close_hour(self, k: int, mass: FloatArray, usual: FloatArray) -> list[int]:
        """End running hour `k`, after which a day's negative mass is `mass`, and is usually `usual`, of each topic.

        Returns the topics whose bad news have ended.
        """
        n = len(mass)
        few = FEW + TIMES * usual
        rows = (self.peak[:n, W - 1] >= LEVELS[0]).nonzero()[0]
        if len(rows):
            age = np.minimum(np.maximum(k - self.since[rows] + QUIET, 0), WINDOWS[-1])
            score = self.peak[rows[:, None], AGES[age]]
            fires = self.armed[rows] & (score >= LEVELS)
            self.counts.now += fires.sum(axis=0)
            place, level = np.nonzero(fires)
            topic = rows[place]
            self.armed[topic, level], self.since[topic, level] = False, k
            self.mass[topic, level] = mass[topic]
            self.peak[rows] = NONE
        waiting = np.flatnonzero(~self.armed[:n].all(axis=1))
        if len(waiting):
            self.mass[waiting] = np.maximum(self.mass[waiting], mass[waiting, None])
            enough = np.maximum(few[waiting, None], PART * self.mass[waiting])
            over = ~self.armed[waiting] & (k - self.since[waiting] >= QUIET) & (mass[waiting, None] <= enough)
            place, level = np.nonzero(over)
            topic = waiting[place]
            self.armed[topic, level], self.since[topic, level], self.mass[topic, level] = True, k, 0
        self.counts.exposure_now += 1
        fired = self.firing[:n].nonzero()[0]
        self.largest[fired] = np.maximum(self.largest[fired], mass[fired])
        quiet = mass[fired] <= np.maximum(few[fired], PART * self.largest[fired])
        ended = fired[quiet & (k - self.changed[fired] >= QUIET)]
        self.firing[ended], self.changed[ended] = False, k
        return [int(topic) for topic in ended]

    def close_day(self, days: int) -> None:
        """End running day `days`."""
        self.counts.close_day(days)
        self.looks *= 1 - 1 / HISTORY
        self.looks[1] += 1
        self.offset *= math.exp(-1 / FADING)

    def calibrate(self, days: int, rate: float, topics: int) -> None:
        """Set the threshold so that all `topics` together ring `rate` times a day; `days`: running days closed."""
        if rate <= 0:
            self.threshold[0] = math.inf
            return
        lately = np.arange(max(days - LATELY, 0), days) % HISTORY
        whole, short = float(self.counts.exposure.sum()) / 24, float(self.counts.exposure[lately].sum()) / 24
        events = (float(self.looks[0]) + EVENTS_AT_FIRST) / (float(self.looks[1]) + 1)
        level, slope = math.log(PRIOR * events / rate) - FLOOR * min(whole / TRUSTED, 1.0), 1.0
        # The last days may have as many crises as all 60: a day on which many topics surge together is no habit.
        crises = max(FEWEST, CRISES * topics * whole)
        if whole > 0:
            alarms = self.counts.alarms.sum(axis=0)
            found, slope, tail = read_off(alarms, whole, rate, errors=ERRORS, crises=crises, prior=SLOPE)
            # Too few alarms to see how their number falls with the level: as if there were just enough, of slope 1.
            level = max(level, found if tail else math.log(FEWEST / whole / rate))
        if short > 0:
            alarms = self.counts.alarms[lately].sum(axis=0)
            found, _, tail = read_off(alarms, short, rate, errors=-1.5, crises=crises, prior=SLOPE)
            if tail >= 10:
                level = max(level, found)
        self.threshold[0], self.slope[0] = min(max(level, 1.0), REACHED), slope
