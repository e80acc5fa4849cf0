"""The threshold that calibrates itself: the level at which an alarm would have fired as often as the budget allows.

*Shadows* of an alarm machine run at a ladder of levels. Their alarms are counted and not reported. The one idea: a tail
is fitted to these counts once a day, and its prior is the slope that any likelihood ratio has. The threshold is the
level at which the fitted rate equals the budget. The machine and its score can be of any kind: share, volume, silence.
See docs/detection.md#3-the-threshold-that-calibrates-itself.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray

STEP = 0.5
"""Distance of two levels."""
LEVELS: FloatArray = np.arange(0.0, 20.0 + STEP / 2, STEP)
"""The levels at which shadows run."""
K = len(LEVELS)
"""Number of levels."""
HISTORY = 60
"""Days of shadow alarms that are counted."""
LATELY = 10
"""Last days that are also evaluated alone, to notice that the feed became louder."""

SPAN = 7.0
"""Width of the fitted tail. Alarms further out are left out as changes, as long as they are rare."""
COUNT = 40.0
"""The tail begins at the level that has this many alarms above it."""
MULTIPLE = 3.0
"""Or at the level that has this many times the budget above it, if that is more. If more than this many times the
budget lie beyond the tail, they are a habit of the feed, not changes, and belong to the tail."""
FEWEST = 10.0
"""Alarms that make a tail or a habit. With fewer, a single crisis could make one."""
SLOPE_WEIGHT = 10.0
"""Weight of the prior slope, in alarms. The slope is 1: a likelihood ratio exceeds the level l by chance with e^-l."""
SETTLED = 1000.0
"""Topic-days of shadows from which on the lower bound no longer falls."""
SEEN = 100.0
"""Topic-days of shadows that a record needs, unless `FEWEST` shadows fired."""
FLOOR = 3.2
"""The threshold is never below log(looks / rate) minus this, as if chance had 25 times fewer looks than assumed."""
SLOPES: FloatArray = np.exp(np.linspace(math.log(0.15), math.log(4.0), 120))


class ShadowCounts:
    """The shadow alarms of one kind, by day and level, and the topic-hours in which they were counted."""

    ARRAYS = ("alarms", "now", "exposure", "exposure_now")

    def __init__(self) -> None:
        self.alarms: IntArray = np.zeros((HISTORY, K), np.int64)
        self.now: IntArray = np.zeros(K, np.int64)
        self.exposure: IntArray = np.zeros(HISTORY, np.int64)
        self.exposure_now: IntArray = np.zeros(1, np.int64)

    def close_day(self, days: int) -> None:
        """Close the open day: store its counts as those of the running day `days`."""
        self.alarms[days % HISTORY], self.exposure[days % HISTORY] = self.now, self.exposure_now[0]
        self.now[:] = 0
        self.exposure_now[:] = 0

    def threshold(
        self,
        days: int,
        rate: float,
        looks: float = 1.0,
        *,
        leave_out_rare: bool = True,
        errors: float = 1.0,
        looked: FloatArray | None = None,
    ) -> tuple[float, float]:
        """Return the level at which a topic fires `rate` times a day, and the slope of the tail.

        `days`: closed running days. `looks`: chances that a topic has in a day, as known beforehand. `leave_out_rare`,
        `errors`: see `read_off`; `errors` are those of the last 60 days. `looked`: for each row of `exposure`, how many
        windows looked on that day, as a part of those that look now. Each window fires as often, so such a day counts
        as that part of one.

        The level is the highest of four:

        * the level of the last 60 days, plus `errors` standard errors;
        * the level of the last 10 days, minus 1.5 standard errors: it is higher only if the feed surely became louder;
        * the lower bound, which falls while shadows are counted;
        * if nothing is left out: the loudest level so far, until enough shadows were counted.
        """
        if rate <= 0:
            return math.inf, 1.0
        lately = np.arange(max(days - LATELY, 0), days) % HISTORY
        exposure = self.exposure / 24 if looked is None else self.exposure * looked / 24
        whole, short = float(exposure.sum()), float(exposure[lately].sum())
        trust = min(whole / SETTLED, 1.0)
        level, slope = max(math.log(looks / rate) - FLOOR * trust, 1.0), 1.0
        alarms = self.alarms.sum(axis=0)
        if whole > 0:
            found, slope, _ = read_off(alarms, whole, rate, errors=errors, leave_out_rare=leave_out_rare)
            level = max(level, found)
        if not leave_out_rare and trust < 1 and days < HISTORY:
            level = max(level, record(alarms, whole))
        if short > 0:
            found, _, tail = read_off(
                self.alarms[lately].sum(axis=0), short, rate, errors=-1.5, leave_out_rare=leave_out_rare
            )
            if tail >= 10:
                level = max(level, found)
        return level, slope


def record(counts: IntArray, days: float) -> float:
    """Return a level above all `counts`. It is infinite before `SEEN` topic-days or `FEWEST` alarms.

    Among peaks that come by chance, the n-th is the highest so far once in n times, whatever their tail.
    """
    if days < SEEN and counts.max() < FEWEST:
        return math.inf
    reached = np.flatnonzero(counts)
    return float(LEVELS[reached[-1]]) + STEP if len(reached) else -math.inf


def read_off(
    counts: IntArray,
    days: float,
    rate: float,
    errors: float,
    *,
    leave_out_rare: bool = True,
) -> tuple[float, float, float]:
    """Return the level at which alarms come `rate` times a topic-day, the slope of the tail, and its number of alarms.

    `counts`: alarms at each of `LEVELS` in `days` topic-days. `errors`: standard errors of the tail's count that are
    added to it. `leave_out_rare`: whether rare alarms beyond the tail are left out, as changes.

    The fit is the maximum a posteriori of an exponential tail. If alarms are left out, the tail is truncated `SPAN`
    above its beginning; otherwise it ends with the ladder. Fewer than `FEWEST` alarms give the level -inf.
    """
    above = np.maximum.accumulate(counts[::-1])[::-1].astype(np.float64)
    reach = round(SPAN / STEP)
    far = above[reach:]
    within = above[: K - reach] - np.where(far <= max(MULTIPLE * rate * days, FEWEST), far * leave_out_rare, 0.0)
    if within[0] < FEWEST:
        return -math.inf, 1.0, 0.0
    target = min(max(MULTIPLE * rate * days, COUNT), 0.6 * within[0])
    first = int(np.flatnonzero(within >= target)[-1])
    alarms = float(within[first])
    last = first + reach if alarms < above[first] else K - 1
    width = float(LEVELS[last] - LEVELS[first])
    tail = above[first : last + 1] - (above[first] - alarms)
    area = float((tail[:-1] + tail[1:]).sum()) * STEP / 2
    log = np.log(SLOPES)
    likelihood = alarms * log - SLOPES * area - alarms * np.log(-np.expm1(-SLOPES * width))
    slope = float(SLOPES[(likelihood + SLOPE_WEIGHT * (log - SLOPES)).argmax()])
    total = max(alarms / -math.expm1(-slope * width), 1.0)
    found = max(total * (1 + errors / math.sqrt(total)), 0.05 * total) / days
    return float(LEVELS[first]) + math.log(found / rate) / slope, slope, alarms
