"""The threshold that calibrates itself: the level at which an alarm would have rung as often as the budget allows.

*Shadows* of an alarm machine run at a ladder of levels; how often each rang is counted, nobody is told. The one idea:
the tail of these counts is fitted once a day, with the slope that any likelihood ratio has as the prior, and the level
is read off at which the machine rings at the budgeted rate. Machine and score may be anything: spike, volume, silence.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray

STEP = 0.5
LEVELS: FloatArray = np.arange(0.0, 20.0 + STEP / 2, STEP)
K = len(LEVELS)
HISTORY, LATELY = 60, 10
"""Days of shadow alarms that are counted; and of those by which a feed that became louder is noticed."""

SPAN = 7.0
"""Width of the tail that is fitted: what is further out may be changes, not chance, as long as they are rare."""
REACH = round(SPAN / STEP)
COUNT, MULTIPLE = 40.0, 3.0
"""The tail begins where at least so many alarms are above it, or so many times the budget. What is beyond its width and
comes more often than that multiple is no change but a habit of the feed, and part of the tail."""
FEWEST = 10.0
"""Alarms of which a tail, or a habit, can be made: a single crisis would be one by itself."""
SLOPE_WEIGHT = 10.0
"""Alarms that the prior weighs. Its slope is 1: a likelihood ratio exceeds a level l by chance with e^-l."""
SETTLED, SEEN = 1000.0, 100.0
"""Topic-days of shadows after which they alone are believed; and before which they are hardly known."""
FLOOR = 3.2
"""The threshold is never below log(looks / rate) - this: chance then has 25 times fewer looks than were reckoned."""
SLOPES: FloatArray = np.exp(np.linspace(math.log(0.15), math.log(4.0), 120))


class ShadowCounts:
    """Shadow alarms of one kind at each level, day by day, and of how many topic-hours they are."""

    ARRAYS = ("alarms", "now", "exposure", "exposure_now")

    def __init__(self) -> None:
        self.alarms: IntArray = np.zeros((HISTORY, K), np.int64)
        self.now: IntArray = np.zeros(K, np.int64)
        self.exposure: IntArray = np.zeros(HISTORY, np.int64)
        self.exposure_now: IntArray = np.zeros(1, np.int64)

    def close_day(self, days: int) -> None:
        """Puts the open day's counts away as those of running day `days`."""
        self.alarms[days % HISTORY], self.exposure[days % HISTORY] = self.now, self.exposure_now[0]
        self.now[:] = 0
        self.exposure_now[:] = 0

    @property
    def topic_days(self) -> float:
        """Of the shadows that are remembered."""
        return float(self.exposure.sum()) / 24

    def threshold(self, days: int, rate: float, looks: float = 1.0, *, spare: bool = True) -> tuple[float, float]:
        """The level at which a topic rings `rate` times a day, and the tail's slope; `days`: running days closed.

        `looks`: chances that a topic has in a day, as far as is known beforehand. `spare`: see `read_off`.

        The highest of: the level read off the last 60 days, one standard error paid; that of the last ten where they
        alone say surely that the feed became louder; a floor, which gives way as shadows are counted; and, where
        nothing is spared, what was the loudest so far, until enough were counted.
        """
        if rate <= 0:
            return math.inf, 1.0
        lately = np.arange(max(days - LATELY, 0), days) % HISTORY
        whole, short = self.topic_days, float(self.exposure[lately].sum()) / 24
        trust = min(whole / SETTLED, 1.0)
        level, slope = max(math.log(looks / rate) - FLOOR * trust, 1.0), 1.0
        alarms = self.alarms.sum(axis=0)
        if whole > 0:
            found, slope, _ = read_off(alarms, whole, rate, errors=1.0, spare=spare)
            level = max(level, found)
        if not spare and trust < 1 and days < HISTORY:
            level = max(level, record(alarms, whole))
        if short > 0:
            found, _, tail = read_off(self.alarms[lately].sum(axis=0), short, rate, errors=-1.5, spare=spare)
            if tail >= 10:
                level = max(level, found)
        return level, slope


def record(counts: IntArray, days: float) -> float:
    """A level above all of `counts`; infinite while they are of too few topic-days, and fewer than `FEWEST`.

    Of peaks that come by chance, the n-th is the highest so far once in n times, whatever their tail is like.
    """
    if days < SEEN and counts.max() < FEWEST:
        return math.inf
    reached = np.flatnonzero(counts)
    return float(LEVELS[reached[-1]]) + STEP if len(reached) else -math.inf


def read_off(
    counts: IntArray, days: float, rate: float, errors: float, *, spare: bool = True
) -> tuple[float, float, float]:
    """The level at which `counts` (alarms at each of LEVELS in `days` topic-days) come to `rate` a topic-day.

    Maximum a posteriori of an exponential tail, truncated `SPAN` above where it begins; at the ladder's end, where what
    lies further out is too frequent to be left out, or nothing is (`spare`: what is rare may be spared, as a change).
    `errors`: standard errors of the tail's count that are paid. Also the slope, and the number of alarms in the tail.
    Fewer than `FEWEST` say nothing: -inf.
    """
    above = np.maximum.accumulate(counts[::-1])[::-1].astype(np.float64)
    far = above[REACH:]
    within = above[: K - REACH] - np.where(far <= max(MULTIPLE * rate * days, FEWEST), far * spare, 0.0)
    if within[0] < FEWEST:
        return -math.inf, 1.0, 0.0
    target = min(max(MULTIPLE * rate * days, COUNT), 0.6 * within[0])
    first = int(np.flatnonzero(within >= target)[-1])
    alarms = float(within[first])
    last = first + REACH if alarms < above[first] else K - 1
    width = float(LEVELS[last] - LEVELS[first])
    tail = above[first : last + 1] - (above[first] - alarms)
    area = float((tail[:-1] + tail[1:]).sum()) * STEP / 2
    log = np.log(SLOPES)
    likelihood = alarms * log - SLOPES * area - alarms * np.log(-np.expm1(-SLOPES * width))
    prior = SLOPE_WEIGHT * (log - SLOPES)
    slope = float(SLOPES[(likelihood + prior).argmax()])
    total = max(alarms / -math.expm1(-slope * width), 1.0)
    found = max(total * (1 + errors / math.sqrt(total)), 0.05 * total) / days
    return float(LEVELS[first]) + math.log(found / rate) / slope, slope, alarms
