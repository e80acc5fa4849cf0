"""How sure it is that a topic's negative share has changed, over windows from a day to eight weeks.

Each window is compared with the eight weeks before it. The one idea: the variance of this difference is not assumed but
measured, as c (1/n + 1/m) + t. Here c is the noise of events and t the wandering of the baseline, both estimated from
the recent past of all topics and scaled by the topic's own dispersion. The correlation of the events of an hour, which
share their cause, is measured, too. A likelihood ratio with this variance, averaged over effect sizes and windows, says
how sure a change is. See docs/detection.md#1-what-is-compared and docs/detection.md#2-how-sure-a-difference-is.

Hours are closed *running* hours. Their sums are integers of 1/10,000 event. They are kept as running totals: by hour
for the last week, and by day before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors.noise import SAMPLES, dispersion, fit_noise, line
from foreshock.monitor.detectors.windows import (
    BASELINE,
    DAY_SCALE,
    LARGEST,
    LONG,
    NEEDED,
    NOTHING,
    SCALES,
    WEEK_SCALE,
    S,
    rows,
)
from foreshock.monitor.units import UNIT

WINDOWS = S - DAY_SCALE
"""Windows that speak of shares: those of a day and more, in this order in all arrays over windows here. Surges speak of
what is shorter."""
WEEKS = LONG - DAY_SCALE
"""The first of them that is longer than three days."""
HOURS_KEPT = 170
"""Rows of hourly totals: more than the 169 that a window of a week needs."""
DAYS_KEPT = (int(SCALES[-1]) + BASELINE) // 24 + 2
"""Rows of daily totals: enough for the longest window and its baseline."""
EFFECTS = (0.1, 0.2, 0.4)
"""Rises of the share that are looked for."""
SOFTNESS = 0.84
"""The part of a rise that shows in the scores, because they are probabilities and not labels."""
CORRELATION_AT_FIRST = 0.02
"""Intraclass correlation of the events of an hour before any was measured."""
KNOWN_AT = 200.0
"""Weight of this prior, in hours of two or more events."""
CROWDS = (1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5)
"""Bounds of the groups in which hours are compared, by their number of events: one, two, three to four, ..."""
LEAST_SPREAD = 1e-4
"""Smallest mean square of a group. Below it, scores hardly differ, and the group is not used."""
FEWEST_HOURS = 30
"""Hours that a group needs."""
LEAST_CORRELATION = 0.005
"""Smallest correlation: an hour is worth at most 200 events."""
MOST_CORRELATION = 0.5
"""Largest correlation: two events are always worth more than one."""
_ALL = range(DAY_SCALE, S)
FEWEST = 4.0
"""Events that a window needs."""
FEWEST_BEFORE = 5.0
"""Events that its baseline needs."""
AT_FIRST = (1.0, 0.02)
"""c and t of the windows up to three days before any were measured: the noise of labels, and a wandering of about 6
points."""
LEAST = 0.02
"""Smallest usual share."""
MOST = 0.98
"""Largest usual share."""


class Sums(NamedTuple):
    """The sums of the `WINDOWS` and of their baselines, (window, topic), in events."""

    events: FloatArray
    negative: FloatArray
    before: FloatArray
    negative_before: FloatArray
    old_enough: BoolArray
    """Whether the window may be used. One of more than three days needs two weeks of baseline before it."""


class Shares(TopicArrays):
    """Running totals of each topic's events and negative sums, and the noise of the windows."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((HOURS_KEPT,), (2,), np.int64, 0),
        "past_days": ((DAYS_KEPT,), (2,), np.int64, 0),
        "opened": ((), (2,), np.int64, 0),
        "opened_dated": ((), (2,), np.int64, 0),
        "residual": ((SAMPLES, WINDOWS), (2,), np.float16, np.nan),
        "dispersion": ((), (), np.float64, 1.0),
    }
    TOTALS = ("past", "past_days")
    PLAIN = ("hour_number", "day_hour", "noise", "hour_deviations", "correlation")

    past: IntArray
    """(hour, topic, sum): events and negative up to the end of hour k - 1 in row k mod HOURS_KEPT."""
    past_days: IntArray
    """(day, topic, sum): the same up to the end of hour 24 d - 1 in row d mod DAYS_KEPT."""
    opened: IntArray
    opened_dated: IntArray
    """(topic, sum): the open hour as its events weigh, and what of it is known only to the day."""
    residual: npt.NDArray[np.float16]
    """(day, window, topic, 2): the deviation from the baseline over sqrt(b (1 - b)), and 1/n + 1/m; nan where there is
    none."""
    dispersion: FloatArray
    """Variance of a topic's residuals over that of all topics."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.hour_number: IntArray = np.zeros(HOURS_KEPT, np.int64)  # hours since 1970 of running hour k
        self.day_hour: IntArray = np.zeros(DAYS_KEPT, np.int64)  # hours since 1970 of running hour 24 d
        self.noise: FloatArray = np.full((WINDOWS, 2), np.nan)  # c and t of each window; nan until a long one is known
        self.noise[:WEEKS] = AT_FIRST
        # (day, group of CROWDS, sum) over all topics: the number of hours, the sum of 1/n + 1/m, and the sum of squared
        # deviations from the rest of the day over b (1 - b).
        self.hour_deviations: FloatArray = np.zeros((SAMPLES, len(CROWDS) + 1, 3))
        self.correlation: FloatArray = np.full(1, CORRELATION_AT_FIRST)
        # (topic, sum): the part of the hour just closed whose time is known only to the day, for `compare_hour`.
        self._dated: IntArray = np.zeros((0, 2), np.int64)

    def add(self, topics: IntArray, values: IntArray, dated: IntArray, weight: FloatArray | None) -> None:
        """Add a bucket's (topics, 2) events and negative to the open hour, as they weigh; a swarm weighs little."""
        heavy = 1.0 if weight is None else weight[:, :2]
        self.opened[topics] += np.rint(values * heavy).astype(np.int64)
        if np.count_nonzero(dated):
            self.opened_dated[topics] += np.rint(dated * heavy).astype(np.int64)

    def close_hour(
        self, k: int, hour: int, values: IntArray, effect: FloatArray, counted: BoolArray, dated: IntArray | int = 0
    ) -> None:
        """Add the running hour `k`, without the effect of the hour on the share.

        `hour`: the same in hours since 1970. `values`: (topics, 3) sums. `counted`: topics past their first week.
        Events of the first week enter neither windows nor baselines. `dated`: (topics, 2) the part of events and
        negative whose time is known only to the day.
        """
        n = len(values)
        whole = self.crowd(values[:, :2], effect)
        whole[~counted] = 0
        self._dated = np.zeros_like(whole)
        if np.count_nonzero(dated):
            self._dated[counted] = (whole - self.crowd(values[:, :2] - dated, effect))[counted]
        self.past[(k + 1) % HOURS_KEPT, :n] = self.past[k % HOURS_KEPT, :n] + whole
        self.opened[:n], self.opened_dated[:n] = 0, 0
        self.hour_number[k % HOURS_KEPT] = hour
        if k % 24 == 0:
            self.day_hour[k // 24 % DAYS_KEPT] = hour
        if (k + 1) % 24 == 0:
            self.past_days[(k + 1) // 24 % DAYS_KEPT, :n] = self.past[(k + 1) % HOURS_KEPT, :n]

    def crowd(self, values: IntArray, effect: FloatArray | float) -> IntArray:
        """Return the weighted events and negative of an hour, (topics, 2).

        The `effect` of the hour is subtracted. n events of intraclass correlation rho are worth n / (1 + rho (n - 1))
        (Kish 1965).
        """
        whole, negative = values[:, 0], values[:, 1]
        weight = 1 / (1 + self.correlation[0] * np.maximum(whole / UNIT - 1, 0))
        kept = np.empty((len(values), 2))
        kept[:, 0], kept[:, 1] = whole * weight, (negative - whole * effect) * weight
        weighed: IntArray = np.rint(kept, out=kept).astype(np.int64)
        return weighed

    def sums(self, topics: IntArray | slice, k: int, age: IntArray) -> Sums:
        """Return the sums of the windows that end with hour `k - 1`.

        `age`: running hours since each topic's first story.
        """
        return self.closed(topics, k, k, age)[1]

    def sums_now(self, topics: IntArray, k: int, age: IntArray, opened: IntArray) -> Sums:
        """Return the sums of the windows that end now, in the open hour `k`.

        `opened`: (topics, 2) the weighted sums of the open hour so far.
        """
        whole, before = self._closed(topics, k, k + 1)
        return _split(whole + opened, before, age)

    def start_of(self, scale: int, k: int) -> int:
        """Return the first running hour of the window of a scale of `SCALES` that ends with hour `k - 1`."""
        first = max(k - int(SCALES[scale]), 0)
        return -(-first // 24) * 24 if scale > WEEK_SCALE else first

    def hour_of(self, k: int, now: int) -> int:
        """Return running hour `k` in hours since 1970, or the first hour of its day if `k` is more than a week past.

        `now`: the open hour.
        """
        if now - k < HOURS_KEPT:
            return int(self.hour_number[k % HOURS_KEPT])
        return int(self.day_hour[k // 24 % DAYS_KEPT])

    def closed(self, topics: IntArray | slice, k: int, end: int, age: IntArray) -> tuple[IntArray, Sums]:
        """Return what the closed hours, those before `k`, bring to the windows before hour `end`.

        As (window, topic, sum) in 1/10,000, and as `Sums`.
        """
        whole, before = self._closed(topics, k, end)
        return whole, _split(whole, before, age)

    def _closed(
        self, topics: IntArray | slice, k: int, end: int, scales: Sequence[int] = _ALL
    ) -> tuple[IntArray, IntArray]:
        """Return the sums of the windows that end with hour `end - 1`, and of their baselines, (window, topic, sum).

        Only closed hours, those before `k`, are in them. `scales`: of the windows that are wanted, ascending.
        """
        starts = [min(self.start_of(s, end), k) for s in scales]
        hourly = [at % HOURS_KEPT for at, s in zip(starts, scales, strict=True) if s <= WEEK_SCALE]
        daily = [at // 24 % DAYS_KEPT for at in starts[len(hourly) :]]
        firsts = [-(-max(at - BASELINE, 0) // 24) % DAYS_KEPT for at in starts]
        since = rows(self.past, hourly, topics)
        if daily:
            since = np.concatenate([since, rows(self.past_days, daily, topics)])
        first = rows(self.past_days, firsts, topics)
        return rows(self.past, [k % HOURS_KEPT], topics) - since, since - first

    def sample(self, sums: Sums, k: int, share: float, weight: float) -> None:
        """Store the residuals of all windows as the day's sample, for topics with enough events in both sums."""
        n = sums.events.shape[1]
        b = expected(sums, share, weight)
        good = (sums.events >= FEWEST) & (sums.before >= 2 * FEWEST_BEFORE) & sums.old_enough
        events = np.where(good, sums.events, 1.0)
        row = self.residual[k // 24 % SAMPLES]
        row[...] = np.nan
        row[:, :n, 0] = np.where(good, (sums.negative / events - b) / np.sqrt(b * (1 - b)), np.nan)
        row[:, :n, 1] = np.where(good, 1 / events + 1 / (sums.before + weight), np.nan)

    def compare_hour(self, k: int, pooled: BoolArray) -> None:
        """Add up how far the hour before `k`, which was just closed, was from the rest of its day, over the topics with
        events in both.

        The hour is compared with its day and not with the baseline, so that differences between days do not look like a
        correlation within hours. Events whose time is known only to the day are not of the hour. `pooled`: the topics
        to use, which are all except `_all`.
        """
        day, n = k // 24 % SAMPLES, len(pooled)
        if k % 24 == 0:
            self.hour_deviations[day] = 0
        came = self.past[k % HOURS_KEPT, :n] - self.past[(k - 1) % HOURS_KEPT, :n] - self._dated
        there = np.flatnonzero(pooled & (came[:, 0] > 0))
        if not len(there):
            return
        (whole,), (past,) = self._closed(there, k, k, [DAY_SCALE])
        (worth, bad), (events, negative), (before, bad_before) = came[there].T / UNIT, whole.T / UNIT, past.T / UNIT
        rho, rest = float(self.correlation[0]), events - worth
        at = np.flatnonzero((rest >= FEWEST) & (before >= 2 * FEWEST_BEFORE))
        worth, rest, bad = worth[at], rest[at], bad[at]
        b = np.minimum(np.maximum(bad_before[at] / before[at], LEAST), MOST)
        deviation = (bad / worth - (negative[at] - bad) / rest) ** 2 / (b * (1 - b))
        one = np.minimum(
            np.maximum((1 / worth - rho) / (1 - rho), 1e-3), 1.0
        )  # 1 / n, from what the n events of the hour are worth
        crowd = np.searchsorted(CROWDS, 1 / one)
        for place, what in enumerate((np.ones(len(at)), one + 1 / rest, deviation)):
            self.hour_deviations[day, :, place] += np.bincount(crowd, what, len(CROWDS) + 1)

    def estimate(self, n: int, k: int) -> None:
        """Estimate the correlation, the noise of windows and the dispersion of topics, from the last `SAMPLES` days."""
        self.correlation[0] = correlation(self.hour_deviations.sum(axis=0))
        fits = {w: found for w in range(WINDOWS) if (found := fit_noise(self.residual[:, w, :n])) is not None}
        if not fits:
            return
        for w, found in fits.items():
            self.noise[w] = found
        # A window that is too short for samples takes the noise of the shortest window with samples.
        self.noise[: min(fits)] = self.noise[min(fits)]
        # No window gets a smaller c than the window of a day: long windows have too few looks for a reliable c.
        if 0 in fits:
            self.noise[:, 0] = np.maximum(self.noise[:, 0], self.noise[0, 0])
        self.dispersion[:n] = dispersion(self.residual[:, 0, :n], self.noise[0], k)

    def effective(self, topics: IntArray | slice, sums: Sums, weight: float) -> FloatArray:
        """Return how many independent events each window is worth, (window, topic); 0 if it may not be used."""
        c, t = np.nan_to_num(self.noise[:, 0], nan=1.0), np.nan_to_num(self.noise[:, 1])
        events, own = np.maximum(sums.events, 1.0), self.dispersion[topics]
        # A topic may wander less than others, but its events are not less noisy. So its dispersion never lowers c.
        noise = c[:, None] * (1 / events + 1 / (sums.before + weight))
        variance = np.maximum(own, 1.0) * noise + own * t[:, None]
        good = (sums.events >= FEWEST) & (sums.before >= FEWEST_BEFORE) & sums.old_enough & ~np.isnan(self.noise[:, :1])
        found: FloatArray = np.where(good, 1 / variance, 0.0)
        return found

    def load(self, n: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Restore the first `n` topics from what `dump` returned, in this version of Foreshock or in the last one."""
        if len(arrays["noise"]) == S:  # it held the windows shorter than a day, too, which said nothing
            arrays = {
                **arrays,
                "noise": arrays["noise"][DAY_SCALE:],
                "residual": arrays["residual"][:, DAY_SCALE:],
            }
        super().load(n, arrays)


def _split(whole: IntArray, before: IntArray, age: IntArray) -> Sums:
    w, b = whole / UNIT, before / UNIT
    return Sums(w[..., 0], w[..., 1], b[..., 0], b[..., 1], age >= NEEDED[DAY_SCALE:])


def expected(sums: Sums, share: float, weight: float) -> FloatArray:
    """Return the baseline's share, shrunk towards that of all topics (empirical Bayes), (window, topic)."""
    b: FloatArray = (sums.negative_before + weight * share) / (sums.before + weight)
    return np.minimum(np.maximum(b, LEAST, out=b), MOST, out=b)


def seen_share(sums: Sums, usual: FloatArray) -> FloatArray:
    """Return the observed share, (window, topic). Where the `usual` share is at a limit (`LEAST`, `MOST`), the observed
    share is limited there, too."""
    low, high = limits(usual)
    found: FloatArray = np.minimum(np.maximum(sums.negative / np.maximum(sums.events, 1.0), low), high)
    return found


def limits(usual: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the largest observed share, given the `usual` one."""
    return np.where(usual > LEAST, 0.0, LEAST), np.where(usual < MOST, 1.0, MOST)


def logarithms(p: FloatArray, effect: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Return what a negative event and another one say for a rise of the share `p` by `effect`, over no change."""
    rest = 1 - p
    rise = np.minimum(SOFTNESS * effect, 0.8 * rest)
    return np.log1p(rise / p), np.log1p(-rise / rest)


def ratios(effective: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """Return the likelihood ratio of a rise of the usual share `p`, observed as `q`, over no change, (window, topic).

    It is averaged over `EFFECTS`. For a fall, pass 1 - p and 1 - q.
    """
    says = effective > 0
    n, p, q = effective[says], p[says], q[says]
    bad, good = n * q, n * (1 - q)
    mixed = np.zeros_like(p)
    for effect in EFFECTS:
        of_bad, of_good = logarithms(p, effect)
        mixed += np.exp(np.minimum(bad * of_bad + good * of_good, LARGEST))
    found = np.full(says.shape, NOTHING)
    found[says] = mixed / len(EFFECTS)
    return found


def correlation(hour_deviations: FloatArray) -> float:
    """Estimate the intraclass correlation of the events of an hour, shrunk towards `CORRELATION_AT_FIRST`.

    `hour_deviations`: `Shares.hour_deviations`, summed over the days. The share of n events of correlation rho has the
    variance s (rho + (1 - rho) / n) for a constant s. With a fitted line c / n + t, rho is t / (c + t).
    """
    enough = (hour_deviations[:, 0] >= FEWEST_HOURS) & (hour_deviations[:, 2] > LEAST_SPREAD * hour_deviations[:, 0])
    hours, sizes, squares = hour_deviations[enough].T
    crowds = float(hour_deviations[1:, 0].sum())
    if len(hours) < 2:
        return CORRELATION_AT_FIRST
    y = squares / hours
    c, t = line(sizes / hours, y, hours / y**2)
    rho = (crowds * t / (c + t) + KNOWN_AT * CORRELATION_AT_FIRST) / (crowds + KNOWN_AT)
    return min(max(rho, LEAST_CORRELATION), MOST_CORRELATION)
