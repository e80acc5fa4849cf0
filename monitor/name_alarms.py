"""The threshold of new names: that of surges, but for what is known of names before their own alarms say it.

Most names come once, and everyday bursts of one mood look like the beginning of a crisis. So a desk begins with what
theory alone gives, and not with made feeds' numbers; the tail is fitted to however few shadows have fired; no more of
them are left out as crises than three times the budget, as for drift; and no level is believed above which more alarms
lay in the last 60 days than were granted, whatever the fitted tail says.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock.monitor.arrays import IntArray
from foreshock.monitor.detectors.calibration import COUNT, HISTORY, LATELY, LEVELS, MULTIPLE, STEP
from foreshock.monitor.detectors.surge_alarms import EVENTS_AT_FIRST, FLOOR, SLOPE, TRUSTED, SurgeAlarms

SPAN = 6.0
"""Width of the fitted tail."""


class NameAlarms(SurgeAlarms):
    """Shadows and delivered machines, over places of names."""

    def calibrate(self, days: int, rate: float, topics: int = 0) -> None:
        """Set the threshold so that all names together fire `rate` times a day; `days`: running days closed.

        It is the highest of four: what the tail of the shadows of 60 days says; the level above which no more of them
        lay than were granted (`held`); what those of the last 10 days surely say; and the bound of theory, by which
        each event reaches a score s with a probability of e^-s at most, and which falls as days of shadows come in.
        """
        if rate <= 0:
            self.threshold[0] = math.inf
            return
        lately = np.arange(max(days - LATELY, 0), days) % HISTORY
        whole, short = float(self.counts.exposure.sum()) / 24, float(self.counts.exposure[lately].sum()) / 24
        events = (float(self.looks[0]) + EVENTS_AT_FIRST) / (float(self.looks[1]) + 1)
        alarms = self.counts.alarms.sum(axis=0)
        level, slope = read_off(alarms, whole, rate)
        level = max(level, held(alarms, whole, rate))
        recent, _ = read_off(self.counts.alarms[lately].sum(axis=0), short, rate, errors=-1.5)
        bound = math.log(events / rate) - FLOOR * min(whole / TRUSTED, 1.0)
        self.threshold[0], self.slope[0] = max(level, recent, bound, 1.0), slope


def read_off(counts: IntArray, days: float, rate: float, *, errors: float = 0.0) -> tuple[float, float]:
    """Return the level at which alarms come `rate` times a day, and the slope of their tail.

    `counts`: alarms at each of `LEVELS` in `days`. `errors`: standard errors of the tail's count that are added to it.
    The tail begins at the level that still has `COUNT` alarms above it, or at the lowest. Its slope is the maximum a
    posteriori of an exponential: the prior of surges, and all alarms of the tail but the rare ones far beyond it.
    """
    weight, usual = SLOPE
    above = np.maximum.accumulate(counts[::-1])[::-1].astype(np.float64)
    if days <= 0 or above[0] == 0:
        return -math.inf, usual
    first = int(np.flatnonzero(above >= min(COUNT, above[0]))[-1])
    end = min(first + round(SPAN / STEP), len(LEVELS) - 1)
    if 0 < above[end] <= MULTIPLE * rate * days:
        above = np.maximum(above - above[end], 0.0)
    alarms, area = float(above[first]), float(above[first:].sum() - above[first] / 2) * STEP
    if alarms <= 0:
        return -math.inf, usual
    slope = (weight + alarms) / (weight / usual + area)
    total = max(alarms + errors * math.sqrt(alarms), 0.05 * alarms)
    return float(LEVELS[first]) + math.log(max(total / days / rate, 1e-9)) / slope, slope


def held(counts: IntArray, days: float, rate: float) -> float:
    """Return the level above which no more than `rate * days` of the alarms in `days` lay; -inf without alarms.

    `counts`: alarms at each of `LEVELS`. The next alarm is the k-th largest of the last n or larger k times in n,
    whatever the tail, if chance goes on as it went. Where less than one alarm was granted, the level is as far above
    the largest as a tail of the prior slope needs. At 0.1 a week that is always so: 60 days grant 0.86.
    """
    granted = rate * days
    above = np.maximum.accumulate(counts[::-1])[::-1]
    reached = np.flatnonzero(above >= max(math.floor(granted), 1))
    if granted <= 0 or not len(reached):
        return -math.inf
    return float(LEVELS[reached[-1]]) + STEP + max(-math.log(granted), 0.0) / SLOPE[1]
