"""How surely a topic's negative share has changed, over windows from one bucket to eight weeks.

Each window is compared with the eight weeks before it. The one idea: the variance of that difference is not assumed
but measured, as c (1/n + 1/m) + t: what events' noise (c) and the baseline's own wandering at this scale (t) came to
over all topics' recent past, times a dispersion of the topic's own. So is how much the events of an hour have in
common: they share their cause. A log-likelihood ratio with that variance, mixed over effect sizes and windows, says
how sure a change is.

Hours are closed *running* hours. Their sums are integers of 1/10,000 event, kept as running totals:
hour by hour for the last week, day by day for the rest.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors.noise import SAMPLES, dispersion, fit_noise, line
from foreshock.monitor.detectors.windows import (
    BASELINE,
    DAY_SCALE,
    FIRST_WEEK,
    HOUR_SCALE,
    LARGEST,
    LONG,
    NOTHING,
    SCALES,
    WEEK_SCALE,
    S,
    rows,
)
from foreshock.monitor.units import UNIT

HOURS_KEPT = 170
DAYS_KEPT = (int(SCALES[-1]) + BASELINE) // 24 + 2
BEFORE_LONG = 14 * 24
"""Hours of baseline that a window of more than three days needs before it."""
EFFECTS = (0.1, 0.2, 0.4)
"""Rises of the share that are looked for. Scores are soft, so that a rise shows at `SOFTNESS` of its size."""
SOFTNESS = 0.84
CORRELATION_AT_FIRST, KNOWN_AT = 0.02, 200.0
"""Intraclass correlation of the events of an hour before any was measured, and of how many hours it weighs as much."""
CROWDS = (1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5)
"""Hours of like numbers of events are compared: of one, two, up to four, ..."""
LEAST_SPREAD = 1e-4
"""Mean square below which scores hardly differ, and say nothing of events."""
FEWEST_HOURS = 30
"""Hours of like numbers of events of which a variance can be said."""
LEAST_CORRELATION, MOST_CORRELATION = 0.005, 0.5
"""An hour is never worth more than 200 events, and two events are always more than one."""
FEWEST, FEWEST_BEFORE = 4.0, 5.0
"""Events of a window and of its baseline below which it says nothing."""
AT_FIRST = (1.0, 0.02)
"""c and t of the short windows before any were measured: labels' noise, and a wandering of 6 points or so."""
LEAST, MOST = 0.02, 0.98
"""Usual shares beyond these are taken to be at them."""


class Sums(NamedTuple):
    """Over (window, topic), in events: the window's events and negative sum, its baseline's, and what it may say."""

    events: FloatArray
    negative: FloatArray
    before: FloatArray
    negative_before: FloatArray
    old_enough: BoolArray
    """Windows of more than three days speak when two weeks of baseline lie before them."""


class Shares(TopicArrays):
    """Running totals of events and negative sums of each topic, and what all topics say of their noise."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((HOURS_KEPT,), (2,), np.int64, 0),
        "past_days": ((DAYS_KEPT,), (2,), np.int64, 0),
        "past_dated": ((24,), (2,), np.int64, 0),
        "opened": ((), (2,), np.int64, 0),
        "opened_dated": ((), (2,), np.int64, 0),
        "residual": ((SAMPLES, S), (2,), np.float16, np.nan),
        "dispersion": ((), (), np.float64, 1.0),
    }
    PLAIN = ("hour_number", "day_hour", "noise", "mood", "correlation")

    past: IntArray
    """(hour, topic, sum): events and negative up to the end of hour k - 1 in row k mod HOURS_KEPT."""
    past_days: IntArray
    """(day, topic, sum): the same up to the end of hour 24 d - 1 in row d mod DAYS_KEPT."""
    past_dated: IntArray
    """(hour, topic, sum): of hour k, in row k mod 24, what is known only to the day."""
    opened: IntArray
    opened_dated: IntArray
    """(topic, sum): the open hour as its events weigh, and what of it is known only to the day."""
    residual: npt.NDArray[np.float16]
    """(day, window, topic): deviation from the baseline over sqrt(b (1 - b)), and 1/n + 1/m; nan for none."""
    dispersion: FloatArray
    """Variance of a topic's residuals over the pool's."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.hour_number: IntArray = np.zeros(HOURS_KEPT, np.int64)  # hours since 1970 of running hour k
        self.day_hour: IntArray = np.zeros(DAYS_KEPT, np.int64)  # and of running hour 24 d
        self.noise: FloatArray = np.full((S, 2), np.nan)  # c and t of each window; long ones: nan until known
        self.noise[:LONG] = AT_FIRST
        # (day, events of an hour): how many such hours all topics had, and the sums of their 1/n + 1/m and of their
        # squared deviations from the rest of their day over b (1 - b).
        self.mood: FloatArray = np.zeros((SAMPLES, len(CROWDS) + 1, 3))
        self.correlation: FloatArray = np.full(1, CORRELATION_AT_FIRST)

    def add(self, topics: IntArray, values: IntArray, dated: IntArray, weight: FloatArray | None) -> IntArray:
        """Add a bucket's (topics, 2) events and negative to the open hour, as they weigh; a swarm weighs little.

        Returns the part that has a time of day.
        """
        heavy = np.ones((len(topics), 1)) if weight is None else weight[:, None]
        whole, part = (np.rint(sums * heavy).astype(np.int64) for sums in (values, dated))
        self.opened[topics] += whole
        self.opened_dated[topics] += part
        timed: IntArray = whole - part
        return timed

    def close_hour(
        self, k: int, hour: int, values: IntArray, effect: FloatArray, counted: BoolArray, dated: IntArray | int = 0
    ) -> None:
        """Adds running hour `k` (`hour` since 1970): (topics, 3) sums, less the effect of the hour on the share.

        `counted`: topics past their first week. What came before weighs nothing, in windows and in baselines.
        `dated`: (topics, 2) the part of events and negative that is known only to the day.
        """
        n = len(values)
        whole = self.crowd(values[:, :2], effect)
        known = whole - self.crowd(values[:, :2] - dated, effect)
        whole[~counted], known[~counted] = 0, 0
        self.past[(k + 1) % HOURS_KEPT, :n] = self.past[k % HOURS_KEPT, :n] + whole
        self.past_dated[k % 24, :n] = known
        self.opened[:n], self.opened_dated[:n] = 0, 0
        self.hour_number[k % HOURS_KEPT] = hour
        if k % 24 == 0:
            self.day_hour[k // 24 % DAYS_KEPT] = hour
        if (k + 1) % 24 == 0:
            self.past_days[(k + 1) // 24 % DAYS_KEPT, :n] = self.past[(k + 1) % HOURS_KEPT, :n]

    def crowd(self, values: IntArray, effect: FloatArray | float) -> IntArray:
        """(topics, 2) events and negative of an hour, as they weigh: without what the hour itself explains, and
        crowded: n events of intraclass correlation rho are worth n / (1 + rho (n - 1)) (Kish 1965)."""
        events = values[:, 0] / UNIT
        weight = 1 / (1 + self.correlation[0] * np.maximum(events - 1, 0))
        kept = np.column_stack([values[:, 0] * weight, (values[:, 1] - values[:, 0] * effect) * weight])
        weighed: IntArray = np.rint(kept).astype(np.int64)
        return weighed

    def sums(self, topics: IntArray | slice, k: int, age: IntArray) -> Sums:
        """Sums of windows that end with hour `k - 1`. `age`: running hours since each topic's first story."""
        whole, before = self._closed(topics, k, k)
        whole[0] = 0
        return self._split(whole, before, age)

    def sums_now(self, topics: IntArray, k: int, age: IntArray, opened: IntArray, bucket: IntArray) -> Sums:
        """Sums of windows that end now, in the open hour `k`.

        `opened`: (topics, 2, 2) what the open hour has come to, whole and known to the day, crowded already; `bucket`:
        (topics, 2) the bucket that was just decided.
        """
        whole, before = self._closed(topics, k, k + 1)
        whole += opened[:, 0]
        whole[:DAY_SCALE] -= opened[:, 1]
        whole[0] = bucket
        return self._split(whole, before, age)

    def start_of(self, scale: int, k: int) -> int:
        """First running hour of the window of a scale that ends with hour `k - 1`."""
        first = max(k - max(int(SCALES[scale]), 1), 0)
        return -(-first // 24) * 24 if scale > WEEK_SCALE else first

    def hour_of(self, k: int, now: int) -> int:
        """Hour since 1970 of running hour `k`, where `now` is the open one; of its day, if it is long past."""
        if now - k < HOURS_KEPT:
            return int(self.hour_number[k % HOURS_KEPT])
        return int(self.day_hour[k // 24 % DAYS_KEPT])

    def _closed(self, topics: IntArray | slice, k: int, end: int) -> tuple[IntArray, IntArray]:
        """(window, topic, sum) of the closed hours of windows that end with hour `end - 1`, and of their baselines."""
        starts = [min(self.start_of(s, end), k) for s in range(S)]
        hourly = [at for s, at in enumerate(starts) if s <= WEEK_SCALE]
        daily = [at // 24 for s, at in enumerate(starts) if s > WEEK_SCALE]
        firsts = [-(-max(at - BASELINE, 0) // 24) % DAYS_KEPT for at in starts]
        short = rows(self.past, [at % HOURS_KEPT for at in hourly], topics)
        since = np.concatenate([short, rows(self.past_days, [at % DAYS_KEPT for at in daily], topics)])
        first = rows(self.past_days, firsts, topics)
        window, before = rows(self.past, [k % HOURS_KEPT], topics) - since, since - first
        for s in range(DAY_SCALE):  # events that are known to the day only enter no window shorter than a day
            for hour in range(starts[s], k):
                window[s] -= self.past_dated[hour % 24][topics]
        return window, before

    def _split(self, whole: IntArray, before: IntArray, age: IntArray) -> Sums:
        w, b = whole / UNIT, before / UNIT
        need = np.where(np.arange(S) < LONG, 0, FIRST_WEEK + BEFORE_LONG + SCALES)
        return Sums(w[..., 0], w[..., 1], b[..., 0], b[..., 1], age >= need[:, None])

    def sample(self, sums: Sums, k: int, share: float, weight: float) -> None:
        """Keeps the residuals of all windows, of the topics that have enough of both, as the day's sample."""
        n = sums.events.shape[1]
        b = expected(sums, share, weight)
        good = (sums.events >= FEWEST) & (sums.before >= 2 * FEWEST_BEFORE) & sums.old_enough
        events = np.where(good, sums.events, 1.0)
        row = self.residual[k // 24 % SAMPLES]
        row[...] = np.nan
        row[:, :n, 0] = np.where(good, (sums.negative / events - b) / np.sqrt(b * (1 - b)), np.nan)
        row[:, :n, 1] = np.where(good, 1 / events + 1 / (sums.before + weight), np.nan)

    def compare_hour(self, sums: Sums, k: int, pooled: BoolArray) -> None:
        """Adds up how far the hour before `k` was from the rest of its day, for each topic with events in both.

        Against its day, not the baseline: that days differ says nothing of how much the events of an hour share.
        `pooled`: the topics that speak for others; what all stories come to says nothing of how alike a topic's are.
        """
        day = k // 24 % SAMPLES
        if k % 24 == 0:
            self.mood[day] = 0
        rho, worth, before = float(self.correlation[0]), sums.events[HOUR_SCALE], sums.before[DAY_SCALE]
        rest = sums.events[DAY_SCALE] - worth
        at = np.flatnonzero(pooled & (worth > 0) & (rest >= FEWEST) & (before >= 2 * FEWEST_BEFORE))
        worth, rest, bad = worth[at], rest[at], sums.negative[HOUR_SCALE, at]
        b = np.clip(sums.negative_before[DAY_SCALE, at] / before[at], LEAST, MOST)
        deviation = (bad / worth - (sums.negative[DAY_SCALE, at] - bad) / rest) ** 2 / (b * (1 - b))
        one = np.clip((1 / worth - rho) / (1 - rho), 1e-3, 1.0)  # over n, of which is known what they are worth
        crowd = np.searchsorted(CROWDS, 1 / one)
        for place, what in enumerate((np.ones(len(at)), one + 1 / rest, deviation)):
            self.mood[day, :, place] += np.bincount(crowd, what, len(CROWDS) + 1)

    def estimate(self, n: int, k: int) -> None:
        """The noise of each window and each topic's dispersion, from the samples of the last `SAMPLES` days."""
        self.correlation[0] = correlation(self.mood.sum(axis=0))
        fits = {s: found for s in range(HOUR_SCALE, S) if (found := fit_noise(self.residual[:, s, :n])) is not None}
        if not fits:
            return
        for s, found in fits.items():
            self.noise[s] = found
        # A window too short to have been sampled takes the noise of the shortest that was.
        self.noise[: min(fits)] = self.noise[min(fits)]
        # Events are no less noisy in another window than in a day's: long ones were looked at too few times to say so,
        # and in short ones the shares of four or five events are too coarse for quantiles.
        if DAY_SCALE in fits:
            self.noise[:, 0] = np.maximum(self.noise[:, 0], self.noise[DAY_SCALE, 0])
        self.dispersion[:n] = dispersion(self.residual[:, DAY_SCALE, :n], self.noise[DAY_SCALE], k)

    def effective(self, topics: IntArray | slice, sums: Sums, weight: float) -> FloatArray:
        """(window, topic): of how many independent events the window's share is worth; 0 where it says nothing."""
        c, t = np.nan_to_num(self.noise[:, 0], nan=1.0), np.nan_to_num(self.noise[:, 1])
        events, own = np.maximum(sums.events, 1.0), self.dispersion[topics]
        # A topic may wander less than others; its events are no less noisy than theirs.
        noise = c[:, None] * (1 / events + 1 / (sums.before + weight))
        variance = np.maximum(own, 1.0) * noise + own * t[:, None]
        good = (sums.events >= FEWEST) & (sums.before >= FEWEST_BEFORE) & sums.old_enough & ~np.isnan(self.noise[:, :1])
        found: FloatArray = np.where(good, 1 / variance, 0.0)
        return found


def some(sums: Sums, places: IntArray) -> Sums:
    """The sums of some of the topics."""
    e, n, b, m, old = sums
    return Sums(e[:, places], n[:, places], b[:, places], m[:, places], old[:, places])


def expected(sums: Sums, share: float, weight: float) -> FloatArray:
    """(window, topic): the baseline's share, shrunk to all topics' (empirical Bayes)."""
    b: FloatArray = np.clip((sums.negative_before + weight * share) / (sums.before + weight), LEAST, MOST)
    return b


def seen_share(sums: Sums, usual: FloatArray) -> FloatArray:
    """(window, topic): the share as observed. Where what is `usual` is at an edge, what lies beyond is at it too."""
    low, high = np.where(usual > LEAST, 0.0, LEAST), np.where(usual < MOST, 1.0, MOST)
    found: FloatArray = np.clip(sums.negative / np.maximum(sums.events, 1.0), low, high)
    return found


def ratios(effective: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """(window, topic): likelihood ratio of a rise of the share `p`, seen as `q`, over no change.

    Mixed over `EFFECTS`. A fall is a rise of the other share: give 1 - p and 1 - q.
    """
    says = effective > 0
    n, p, q = effective[says], p[says], q[says]
    bad, good, rest = n * q, n * (1 - q), 1 - p
    mixed = np.zeros_like(p)
    for effect in EFFECTS:
        rise = np.minimum(SOFTNESS * effect, 0.8 * rest)
        mixed += np.exp(np.minimum(bad * np.log1p(rise / p) + good * np.log1p(-rise / rest), LARGEST))
    found = np.full(says.shape, NOTHING)
    found[says] = mixed / len(EFFECTS)
    return found


def correlation(mood: FloatArray) -> float:
    """Intraclass correlation of an hour's events, drawn to what is usual. `mood`: as `Shares.mood`, of all days.

    The share of n events of correlation rho has variance s (rho + (1 - rho) / n): of c / n + t it is t / (c + t).
    """
    enough = (mood[:, 0] >= FEWEST_HOURS) & (mood[:, 2] > LEAST_SPREAD * mood[:, 0])
    hours, sizes, squares = mood[enough].T
    crowds = float(mood[1:, 0].sum())
    if len(hours) < 2:
        return CORRELATION_AT_FIRST
    y = squares / hours
    c, t = line(sizes / hours, y, hours / y**2)
    rho = (crowds * t / (c + t) + KNOWN_AT * CORRELATION_AT_FIRST) / (crowds + KNOWN_AT)
    return min(max(rho, LEAST_CORRELATION), MOST_CORRELATION)
