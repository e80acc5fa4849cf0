"""The threshold that calibrates itself: how often would this alarm have rung at each level?

An alarm machine fires when its score reaches its level, and is armed again when the window that raised it no longer
shows the change. From then on it looks only at what came since. The one idea: beside the machine whose alarms are
told, *shadows* of it run on every topic at a ladder of levels. Their alarms are counted; nobody is told. Once a day the
tail of these counts is fitted, and the level is read off at which the machine rings as often as the budget allows.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.baseline import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors.shares import DAY_SCALE, NONE, SCALES, S

STEP = 0.2
LEVELS: FloatArray = np.round(np.arange(0.0, 14.0 + STEP / 2, STEP), 2)
K = len(LEVELS)
DROP, COOL = 1.0, 24
"""An alarm is over when its score is this far below its level, and this many hours have passed."""
HISTORY, LATELY = 60, 10
"""Days of shadow alarms that are counted; and of those by which a feed that became louder is noticed."""
NEVER = -(10**6)

SPAN = 7.0
"""Width of the tail that is fitted: what is further out are changes, not chance."""
COUNT, MULTIPLE = 40.0, 3.0
"""The tail begins where at least so many alarms are above it, or so many times the budget."""
SLOPE_WEIGHT = 10.0
"""Alarms that the prior weighs. Its slope is 1: a likelihood ratio exceeds a level l by chance with e^-l."""
SETTLED = 1000.0
"""Topic-days of shadows after which they alone are believed."""
FLOOR = 3.2
"""The threshold is never below log(1 / budget) - this: then chance would have to look 25 times less than daily."""
LOUDER = 1.0
"""What each alarm adds to its topic's own threshold; it decays at the rate that the budget gives the topic."""

AGES: IntArray = np.searchsorted(SCALES, np.arange(SCALES[-1] + 1), side="right") - 1
"""Index of the longest window that fits in so many hours; -1 (the last place, which is empty) for none."""
SLOPES: FloatArray = np.exp(np.linspace(math.log(0.15), math.log(4.0), 120))


class Alarms(TopicArrays):
    """Shadows and told machines of all topics; axis 0 is the direction, a rise (0) or a fall (1) of the share."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "peak": ((2,), (S + 1,), np.float64, NONE),
        "since": ((2,), (K,), np.int32, NEVER),
        "armed": ((2,), (K,), np.bool_, True),
        "raised": ((2,), (K,), np.int8, 0),
        "told_since": ((2,), (), np.int32, NEVER),
        "told_armed": ((2,), (), np.bool_, True),
        "told_by": ((2,), (), np.int8, 0),
        "offset": ((2,), (), np.float64, 0.0),
    }
    PLAIN = ("counts", "counts_now", "exposure", "exposure_now", "threshold")
    peak: FloatArray
    """(direction, topic, window): the open hour's largest mixture over windows up to each."""
    since: npt.NDArray[np.int32]
    armed: BoolArray
    raised: npt.NDArray[np.int8]
    """(direction, topic, level): running hour of the last firing or arming; whether armed; the window that fired."""
    told_since: npt.NDArray[np.int32]
    told_armed: BoolArray
    told_by: npt.NDArray[np.int8]
    offset: FloatArray

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.counts: IntArray = np.zeros((HISTORY, 2, K), np.int64)
        self.counts_now: IntArray = np.zeros((2, K), np.int64)
        self.exposure: IntArray = np.zeros(HISTORY, np.int64)  # topic-hours
        self.exposure_now: IntArray = np.zeros(1, np.int64)
        self.threshold: FloatArray = np.full(2, np.inf)

    def see(self, topics: IntArray, mixed: FloatArray) -> None:
        """Keeps (direction, topic, window) mixtures of topics with news for the shadows."""
        self.peak[:, topics, :S] = np.maximum(self.peak[:, topics, :S], mixed)

    def standing(self, topics: IntArray, mixed: FloatArray, k: int) -> FloatArray:
        """(direction, topic): the mixtures that the told machines see, which look only at what came since."""
        age = np.clip(k + 1 - self.told_since[:, topics], 0, SCALES[-1])
        place = AGES[age]
        found = np.take_along_axis(mixed, np.maximum(place, 0)[..., None], axis=-1)[..., 0]
        out: FloatArray = np.where(place < 0, NONE, found)
        return out

    def tell(self, direction: int, topic: int, window: int, k: int) -> None:
        """The told machine of a topic fired, by windows up to `window`, in running hour `k`."""
        self.told_armed[direction, topic], self.told_since[direction, topic] = False, k
        self.told_by[direction, topic] = window
        self.offset[direction, topic] += LOUDER

    def close_hour(self, k: int, mixed: FloatArray, ripe: BoolArray) -> list[tuple[int, int]]:
        """Ends running hour `k`; `mixed` as it stands now. Only `ripe` topics count. Which told machines are over."""
        n = len(ripe)
        padded = np.concatenate([mixed, np.full((2, n, 1), NONE)], axis=-1)
        for direction in (0, 1):
            # Shadows fire on what the hour's news came to at its highest.
            rows = np.flatnonzero(self.peak[direction, :n, S - 1] >= LEVELS[0])
            if len(rows):
                age = np.clip(k + 1 - self.since[direction, rows], 0, SCALES[-1])
                peak = self.peak[direction, rows]
                score = np.take_along_axis(peak, AGES[age] % (S + 1), axis=1)
                fires = self.armed[direction, rows] & (score >= LEVELS)
                self.counts_now[direction] += fires[ripe[rows]].sum(axis=0)
                place, level = np.nonzero(fires)
                topic = rows[place]
                self.armed[direction, topic, level], self.since[direction, topic, level] = False, k
                self.raised[direction, topic, level] = (peak[place, :S] < LEVELS[level][:, None]).sum(axis=1)
            topic, level = np.nonzero(~self.armed[direction, :n])
            window = np.maximum(self.raised[direction, topic, level], DAY_SCALE)
            over = padded[direction, topic, window] < LEVELS[level] - DROP
            over &= k - self.since[direction, topic, level] >= COOL
            topic, level = topic[over], level[over]
            self.armed[direction, topic, level], self.since[direction, topic, level] = True, k
        self.peak[:, :n] = NONE
        self.exposure_now += int(ripe.sum())
        ended = []
        for direction, topic in zip(*np.nonzero(~self.told_armed[:, :n]), strict=True):
            window = max(int(self.told_by[direction, topic]), DAY_SCALE)
            below = mixed[direction, topic, window] < self.threshold[direction] - DROP
            if below and k - self.told_since[direction, topic] >= COOL:
                self.told_armed[direction, topic], self.told_since[direction, topic] = True, k
                ended.append((int(direction), int(topic)))
        return ended

    def close_day(self, days: int) -> None:
        """Puts the day's counts away as those of running day `days`."""
        self.counts[days % HISTORY], self.exposure[days % HISTORY] = self.counts_now, int(self.exposure_now[0])
        self.counts_now[:] = 0
        self.exposure_now[:] = 0

    def calibrate(self, days: int, rates: tuple[float, float]) -> None:
        """Sets both thresholds so that a topic rings `rates` times a day; call once a day, after `close_day`."""
        lately = np.arange(max(days - LATELY, 0), days) % HISTORY
        whole, short = self.exposure.sum() / 24, self.exposure[lately].sum() / 24
        self.offset[:] = np.maximum(self.offset - LOUDER * np.array(rates)[:, None], 0.0)
        for direction, rate in enumerate(rates):
            if rate <= 0:
                self.threshold[direction] = np.inf
                continue
            trust = min(max(whole / SETTLED, 0.0), 1.0)
            level = max(math.log(1 / rate) - FLOOR * trust, 1.0)
            if whole > 0:
                level = max(level, read_off(self.counts[:, direction].sum(axis=0), whole, rate, errors=1.0)[0])
            if short > 0:
                found, alarms = read_off(self.counts[lately, direction].sum(axis=0), short, rate, errors=-1.5)
                if alarms >= 10:
                    level = max(level, found)
            self.threshold[direction] = level


def read_off(counts: IntArray, days: float, rate: float, errors: float) -> tuple[float, float]:
    """The level at which `counts` (alarms at each of LEVELS in `days` topic-days) come to `rate` a topic-day.

    Maximum a posteriori of an exponential tail truncated `SPAN` above where it begins. `errors`: standard errors of
    the tail's count that are paid. Also the number of alarms in the tail.
    """
    above = np.maximum.accumulate(counts[::-1])[::-1].astype(np.float64)
    target = min(max(MULTIPLE * rate * days, COUNT), 0.6 * above[0])
    first = max(int(np.searchsorted(-above, -target, side="right")) - 1, 0)
    last = min(first + round(SPAN / STEP), K - 1)
    width = float(LEVELS[last] - LEVELS[first])
    alarms = float(above[first] - above[last])
    if width <= 0 or alarms <= 0:
        return float(LEVELS[first]), 0.0
    tail = above[first : last + 1] - above[last]
    area = float((tail[:-1] + tail[1:]).sum()) * STEP / 2
    log = np.log(SLOPES)
    likelihood = alarms * log - SLOPES * area - alarms * np.log(-np.expm1(-SLOPES * width))
    prior = SLOPE_WEIGHT * (log - SLOPES)
    slope = float(SLOPES[(likelihood + prior).argmax()])
    total = max(alarms / -math.expm1(-slope * width), 1.0)
    found = max(total * (1 + errors / math.sqrt(total)), 0.05 * total) / days
    return float(LEVELS[first]) + math.log(found / rate) / slope, alarms
