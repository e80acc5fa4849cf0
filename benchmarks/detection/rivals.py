"""Rules and detectors that people use instead. Each runs over a ladder of thresholds at once.

    fired = page_hinkley(stories)        # Firings: for each threshold, which row fired in which hour

All read (hour, row) arrays. A row is one topic of one feed, and does not depend on other rows. Only changes for the
worse fire. `oracle` is not a rival but a bound: a CUSUM that knows each topic's usual share and the size of the change.

PageHinkley, ADWIN and KSWIN are river's (Montiel et al. 2021): ADWIN is river's own code. The other two are
written again for many rows at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.detection.feeds import UNIT, Feed

Floats = npt.NDArray[np.float64]
OTHERS, SOFTNESS = 0.06, 0.84
"""Negative probability of a story that is not negative, and what a negative one has more (feeds.py)."""
COOL = 24
"""Hours after an alarm in which a rule with a memory of its own does not ring again."""


class Stories(NamedTuple):
    """What a rule sees, over (hour, row)."""

    count: Floats  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    """Stories: it does not know which of them are copies."""
    negative: Floats
    """Sum of their negative probabilities."""
    events: Floats
    """For the oracle: independent events, and their negative sum."""
    events_negative: Floats
    share: Floats
    """(row,): for the oracle: the usual share of negative events."""


class Firings(NamedTuple):
    """Alarms, each at its threshold's place in `levels`; levels go from the most to the least talkative."""

    levels: Sequence[float]
    level: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]


def stories(feeds: Sequence[Feed]) -> Stories:
    """Feeds of one length, side by side."""
    events = np.concatenate([f.events for f in feeds], axis=1).astype(float)
    negative = np.concatenate([f.negative for f in feeds], axis=1) / UNIT
    copies = np.concatenate([f.copies for f in feeds], axis=1)
    return Stories(events + copies, negative + 0.9 * copies, events, negative, np.concatenate([f.share for f in feeds]))


def mean_and_sigmas(s: Stories) -> Firings:
    """The share of the last 24 hours (of four stories or more) above the mean of the seven days before by k sigma."""
    window, before = 24, 168
    total = np.cumsum(np.pad(s.count, ((1, 0), (0, 0))), axis=0)
    bad = np.cumsum(np.pad(s.negative, ((1, 0), (0, 0))), axis=0)
    hours = len(s.count)
    x = np.full(s.count.shape, np.nan)
    n = total[window:] - total[:-window]
    with np.errstate(invalid="ignore", divide="ignore"):
        x[window - 1 :] = np.where(n >= 4, (bad[window:] - bad[:-window]) / n, np.nan)
    known = ~np.isnan(x)
    sums = [np.cumsum(np.pad(np.where(known, v, 0.0), ((1, 0), (0, 0))), axis=0) for v in (known, x, x * x)]
    score = np.full(x.shape, np.nan)
    at = np.arange(before + window, hours)
    k, m, q = (c[at + 1 - window] - c[at + 1 - window - before] for c in sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = m / k
        sd = np.sqrt(np.maximum(q / k - mean**2, 1e-4))
        score[at] = np.where(k >= before / 2, (x[at] - mean) / sd, np.nan)
    return _machine(np.nan_to_num(score, nan=-9.0), np.round(np.arange(1.0, 12.1, 0.25), 2))


def ewma(s: Stories, weight: float = 0.05) -> Firings:
    """Roberts' (1959) chart: an exponentially weighted mean of hourly shares, in sds about a slow one's."""
    x, there = _shares(s)
    rows = x.shape[1]
    slow, variance, quick, seen = np.full(rows, 0.3), np.full(rows, 0.1), np.full(rows, 0.3), np.zeros(rows)
    score = np.full(x.shape, -9.0)
    for hour in range(len(x)):
        now = there[hour]
        v = x[hour]
        seen += now
        step = np.where(now, np.maximum(0.004, 1 / np.maximum(seen, 1)), 0.0)
        quick += np.where(now, weight, 0.0) * (v - quick)
        ok = now & (seen > 50)
        score[hour] = np.where(ok, (quick - slow) / np.sqrt(variance * weight / (2 - weight)), score[hour - 1])
        variance += step * ((v - slow) ** 2 - variance)
        slow += step * (v - slow)
    return _machine(score, np.round(np.arange(1.5, 10.1, 0.25), 2))


def page_hinkley(s: Stories, delta: float = 0.005, alpha: float = 1 - 0.0001) -> Firings:
    """river's PageHinkley(mode="up") on hourly shares, over thresholds."""
    levels: Floats = np.round(np.exp(np.linspace(math.log(1), math.log(60), 40)), 2).astype(np.float64)
    x, there = _shares(s)
    shape = (x.shape[1], len(levels))
    n, mean, total, least = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.full(shape, np.inf)
    found = _Found(levels)
    for hour in range(len(x)):
        now = there[hour][:, None]
        v = x[hour][:, None]
        n += now
        mean += np.where(now, (v - mean) / np.maximum(n, 1), 0.0)
        total = np.where(now, alpha * total + v - mean - delta, total)
        least = np.where(now, np.minimum(least, total), least)
        fires = now & (n >= 30) & (total - np.where(np.isinf(least), 0, least) > levels)
        found.add(fires, hour)
        for array, start in ((n, 0), (mean, 0), (total, 0), (least, np.inf)):
            array[fires] = start
    return found.firings()


def adwin(s: Stories) -> Firings:
    """river's ADWIN (Bifet and Gavalda 2007) on hourly shares, over its confidence; changes to a larger mean."""
    from river.drift import ADWIN

    levels = [10.0**-power for power in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12)]
    x, there = _shares(s)
    found = _Found(levels)
    fires = np.zeros((x.shape[1], len(levels)), bool)
    hits = [(level, row, hour) for level, delta in enumerate(levels) for row, hour in _adwin(ADWIN, delta, x, there)]
    for level, row, hour in sorted(hits, key=lambda hit: hit[2]):
        fires[:] = False
        fires[row, level] = True
        found.add(fires, hour)
    return found.firings()


def _adwin(kind: type, delta: float, x: Floats, there: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    hits = []
    for row in range(x.shape[1]):
        detector = kind(delta=delta, clock=8)
        for hour in np.flatnonzero(there[:, row]).tolist():
            before = detector.estimation
            detector.update(float(x[hour, row]))
            if detector.drift_detected and detector.estimation > before:
                hits.append((row, hour))
    return hits


def kswin(s: Stories, window: int = 100, recent: int = 30, seed: int = 0) -> Firings:
    """river's KSWIN (Raab et al. 2020) on hourly shares, over the distance that its p-value asks for; changes to a
    larger mean. The old sample is drawn alike for all rows."""
    levels = np.arange(10, 29) / recent
    rng = np.random.default_rng(seed)
    x, there = _shares(s)
    rows = x.shape[1]
    last = np.zeros((rows, window))  # the last values of each row, whatever was forgotten
    length = np.zeros((rows, len(levels)), np.int64)
    found = _Found(levels)
    fires = np.zeros((rows, len(levels)), bool)
    for hour in range(len(x)):
        now = np.flatnonzero(there[hour])
        if not len(now):
            continue
        last[now, :-1] = last[now, 1:]
        last[now, -1] = x[hour, now]
        length[now] += 1
        full = now[(length[now] >= window).any(axis=1)]
        if not len(full):
            continue
        old = np.sort(last[full][:, rng.permutation(window - recent)[:recent]], axis=1)
        new = np.sort(last[full, window - recent :], axis=1)
        both = np.concatenate([old, new], axis=1)
        below = [(sample[:, None, :] <= both[:, :, None]).mean(axis=2) for sample in (old, new)]
        distance = np.abs(below[0] - below[1]).max(axis=1)
        worse = new.mean(axis=1) > old.mean(axis=1)
        changed = (length[full] >= window) & (distance[:, None] >= levels - 1e-9)
        fires[:] = False
        fires[full] = changed & worse[:, None]
        found.add(fires, hour)
        forget = length[full]
        forget[changed] = 0
        length[full] = forget
    return found.firings()


def oracle(s: Stories, *points: float) -> Firings:
    """Run a CUSUM of the log-likelihood ratio of a rise by `points` over each topic's known usual share.

    With several `points`, there is one CUSUM for each and the highest counts, as if the size were unknown.
    """
    p = OTHERS + SOFTNESS * s.share
    q = np.minimum(p + SOFTNESS * np.array(points)[:, None, None], 0.97)
    gain = s.events_negative * np.log(q / p) + (s.events - s.events_negative) * np.log((1 - q) / (1 - p))
    # Where a share wanders and events are many, the ratio of the oracle grows far beyond what chance explains.
    levels = np.round(np.concatenate([np.arange(1.0, 30.1, 0.25), np.geomspace(31, 4000, 70)]), 2)
    total = np.zeros((len(points), gain.shape[2], len(levels)))
    found = _Found(levels)
    for hour in range(gain.shape[1]):
        total = np.maximum(total + gain[:, hour, :, None], 0.0)
        fires = np.asarray((total >= levels).any(axis=0))
        found.add(fires, hour)
        total[:, fires] = 0.0
    return found.firings()


def learned(s: Stories, hours: int, weight: float = 20.0) -> Stories:
    """Return the oracle's input with usual shares that were learned from the first `hours` and not known.

    Each share is shrunk towards that of all topics with the weight of `weight` events."""
    n, negative = s.events[:hours].sum(axis=0), s.events_negative[:hours].sum(axis=0)
    soft = (negative + weight * negative.sum() / n.sum()) / (n + weight)
    return s._replace(share=np.clip((soft - OTHERS) / SOFTNESS, 0.01, 0.97))


RIVALS = {
    "mean + k sigma, 7 days": mean_and_sigmas,
    "EWMA": ewma,
    "PageHinkley": page_hinkley,
    "ADWIN": adwin,
    "KSWIN": kswin,
}


def _shares(s: Stories) -> tuple[Floats, npt.NDArray[np.bool_]]:
    there = s.count > 0
    return np.where(there, s.negative / np.maximum(s.count, 1), 0.0), there


class _Found:
    """Alarms as they come."""

    def __init__(self, levels: Sequence[float] | Floats) -> None:
        self._levels = [float(level) for level in levels]
        self._hits: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]] = []

    def add(self, fires: npt.NDArray[np.bool_], hour: int) -> None:
        """`fires`: (row, level)."""
        if fires.any():
            row, level = np.nonzero(fires)
            self._hits.append((row, level, hour))

    def firings(self) -> Firings:
        rows = [row for row, _, _ in self._hits] or [np.empty(0, np.int64)]
        levels = [level for _, level, _ in self._hits] or [np.empty(0, np.int64)]
        hours = [np.full(len(row), hour) for row, _, hour in self._hits] or [np.empty(0, np.int64)]
        return Firings(self._levels, np.concatenate(levels), np.concatenate(rows), np.concatenate(hours))


def _machine(score: Floats, levels: Floats) -> Firings:
    """Fire when a score crosses a level upwards. It may fire again `COOL` hours later, once the score was below."""
    armed = np.ones((score.shape[1], len(levels)), bool)
    last = np.full(armed.shape, -COOL)
    found = _Found(levels)
    for hour in range(len(score)):
        over = score[hour][:, None] >= levels
        armed |= ~over & (hour - last >= COOL)
        fires = armed & over
        found.add(fires, hour)
        armed &= ~fires
        last[fires] = hour
    return found.firings()
