"""How surely a topic's negative share has changed, over windows from an hour to eight weeks.

Each window is compared with the eight weeks before it. The one idea: the variance of that difference is not assumed
but measured, as c (1/n + 1/m) + t: what events' noise (c, which also holds their clustering) and the baseline's own
wandering at this scale (t) came to over all topics' recent past, times a dispersion of the topic's own. A
log-likelihood ratio with that variance, mixed over effect sizes and windows, says how sure a change is.

Hours are closed *running* hours; their sums are integers of 1/10,000 event, kept as running totals that may wrap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.monitor.baseline import UNIT, BoolArray, FloatArray, IntArray, TopicArrays

SCALES: IntArray = np.array([1, 3, 6, 12, 24, 48, 72, 168, 336, 672, 1344])
"""Lengths of the windows in hours."""
S = len(SCALES)
DAY_SCALE = int(np.searchsorted(SCALES, 24))
BASELINE = 1344
"""Hours before a window that it is compared with."""
RING = int(SCALES[-1]) + BASELINE + 1
EFFECTS = (0.1, 0.2, 0.4)
"""Rises of the share that are looked for. Scores are soft, so that a rise shows at `SOFTNESS` of its size."""
SOFTNESS = 0.84
CROWDING = 0.1
"""The n-th event of an hour says less than the first: n events weigh n / (1 + 0.1 (n - 1)), never more than ten."""
FEWEST, FEWEST_BEFORE = 4.0, 5.0
"""Events of a window and of its baseline below which it says nothing."""
SAMPLES = 42
"""Days of residuals from which the variance is estimated, one look a day at an hour that moves."""
NONE = -30.0
"""Log-likelihood ratio of a window that says nothing."""


class Sums(NamedTuple):
    """Over (window, topic), in events: the window's events and negative sum, and its baseline's."""

    events: FloatArray
    negative: FloatArray
    before: FloatArray
    negative_before: FloatArray


class Shares(TopicArrays):
    """Running totals of events and negative sums of each topic's hours, and what all topics say of their noise."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((RING,), (2,), np.int32, 0),
        "past_dated": ((24,), (2,), np.int32, 0),
        "open_dated": ((), (2,), np.int64, 0),
        "residual": ((SAMPLES, S), (2,), np.float32, np.nan),
        "dispersion": ((), (), np.float64, 1.0),
    }
    PLAIN = ("hour_number", "noise")

    past: npt.NDArray[np.int32]
    """(hour, topic, sum): events and negative up to the end of hour k - 1 in row k mod RING."""
    past_dated: npt.NDArray[np.int32]
    """(hour, topic, sum): of hour k, in row k mod 24, what is known only to the day."""
    open_dated: IntArray
    residual: npt.NDArray[np.float32]
    """(day, window, topic): deviation from the baseline over sqrt(b (1 - b)), and 1/n + 1/m; nan for none."""
    dispersion: FloatArray
    """Variance of a topic's residuals over the pool's."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.hour_number: IntArray = np.zeros(RING, np.int64)
        self.noise: FloatArray = np.full((S, 2), np.nan)  # c and t of each window; nan until known

    def dump(self, n: int) -> dict[str, npt.NDArray[np.generic]]:
        """As of any arrays; running totals are written as their steps, which compress."""
        arrays = super().dump(n)
        arrays["past"] = np.diff(self.past[:, :n], axis=0, prepend=np.int32(0))
        return arrays

    def load(self, n: int, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """The inverse of `dump`."""
        super().load(n, arrays)
        self.past[:, :n] = np.cumsum(arrays["past"], axis=0, dtype=np.int32)

    def close_hour(self, k: int, hour: int, values: IntArray, effect: FloatArray) -> None:
        """Adds running hour `k` (`hour` since 1970): (topics, 3) sums, less the effect of the hour on the share."""
        n = len(values)
        whole = crowd(values[:, :2], effect)
        dated = whole - crowd(values[:, :2] - self.open_dated[:n], effect)
        self.past[(k + 1) % RING, :n] = self.past[k % RING, :n] + whole.astype(np.int32)
        self.past_dated[k % 24, :n] = dated
        self.open_dated[:n] = 0
        self.hour_number[k % RING] = hour

    def sums(self, topics: IntArray | slice, k: int, values: IntArray | None = None, effect: FloatArray = 0) -> Sums:  # type: ignore[assignment]
        """Sums of windows that end with hour `k - 1`; or, given (topics, 3) sums of the open hour, now."""
        ends = k - SCALES + (values is not None)
        ends = np.maximum(ends, 0)
        starts = np.maximum(ends - BASELINE, 0)
        now, since, first = (self.past[(at % RING)[:, None], topics] for at in (np.array([k]), ends, starts))
        window, before = (now - since).astype(np.int64), (since - first).astype(np.int64)
        if values is not None:
            window += crowd(values[:, :2], effect)
        for s in range(DAY_SCALE):  # events that are known to the day only enter no window shorter than a day
            for hour in range(int(ends[s]), k):
                window[s] -= self.past_dated[hour % 24][topics]
        if values is not None and self.open_dated[topics].any():
            open_dated = crowd(values[:, :2], effect) - crowd(values[:, :2] - self.open_dated[topics], effect)
            window[:DAY_SCALE] -= open_dated
        w, b = window / UNIT, before / UNIT
        return Sums(w[..., 0], w[..., 1], b[..., 0], b[..., 1])

    def look_back(self, sums: Sums, k: int, share: float, weight: float) -> None:
        """Keeps the residuals of all windows, of the topics that have enough of both, as the day's sample."""
        n = sums.events.shape[1]
        b = expected(sums, share, weight)
        good = (sums.events >= FEWEST) & (sums.before >= 2 * FEWEST_BEFORE)
        events = np.where(good, sums.events, 1.0)
        row = self.residual[k // 24 % SAMPLES]
        row[...] = np.nan
        row[:, :n, 0] = np.where(good, (sums.negative / events - b) / np.sqrt(b * (1 - b)), np.nan)
        row[:, :n, 1] = np.where(good, 1 / events + 1 / (sums.before + weight), np.nan)

    def estimate(self, n: int, k: int) -> None:
        """The noise of each window and each topic's dispersion, from the samples of the last `SAMPLES` days."""
        residual = self.residual[:, :, :n].astype(np.float64)
        for s in range(S):
            r, x = residual[:, s, :, 0].ravel(), residual[:, s, :, 1].ravel()
            known = ~np.isnan(r)
            if known.sum() >= 60:
                self.noise[s] = fit_noise(r[known], x[known])
        # A scale with too few samples takes its neighbour's: shorter ones that of a longer, and the other way round.
        filled = np.flatnonzero(~np.isnan(self.noise[:, 0]))
        if not len(filled):
            return
        for s in range(S):
            if np.isnan(self.noise[s, 0]) and s < filled[0]:
                self.noise[s] = self.noise[filled[0]]
        # Events are no less noisy in a longer window; there the estimate is of few independent looks.
        if not np.isnan(self.noise[DAY_SCALE, 0]):
            longer = self.noise[DAY_SCALE:, 0]
            longer[:] = np.maximum(longer, longer[0])
        # The last week is left out, so that a topic in a crisis does not widen its own measure.
        age = (k // 24 - np.arange(SAMPLES)) % SAMPLES
        self.dispersion[:n] = dispersion(residual[age >= 7, DAY_SCALE], self.noise[DAY_SCALE])

    def ratios(self, topics: IntArray | slice, sums: Sums, share: float, weight: float) -> FloatArray:
        """(direction, topic, window): log-likelihood ratio of a rise, and of a fall, of the share, over no change."""
        b = expected(sums, share, weight)
        c, t = np.nan_to_num(self.noise[:, 0], nan=1.0), np.nan_to_num(self.noise[:, 1])
        events = np.maximum(sums.events, 1.0)
        variance = c[:, None] * (1 / events + 1 / (sums.before + weight)) + t[:, None]
        effective = 1 / (variance * self.dispersion[topics])
        seen = np.clip(sums.negative / events, 0.0, 1.0)
        good = (sums.events >= FEWEST) & (sums.before >= FEWEST_BEFORE) & ~np.isnan(self.noise[:, :1])
        out = np.empty((2, *b.shape))
        for direction, (p, q) in enumerate(((b, seen), (1 - b, 1 - seen))):
            mixed = None
            for effect in EFFECTS:
                then = np.minimum(p + SOFTNESS * effect, p + 0.8 * (1 - p))
                ratio = effective * (q * np.log(then / p) + (1 - q) * np.log((1 - then) / (1 - p)))
                mixed = ratio if mixed is None else np.logaddexp(mixed, ratio)
            assert mixed is not None
            out[direction] = np.where(good, mixed - math.log(len(EFFECTS)), NONE)
        return np.ascontiguousarray(out.swapaxes(1, 2))


def mixtures(ratios: FloatArray) -> FloatArray:
    """(..., window): log of the mean over all windows, those longer than each left out as if they said nothing."""
    out: FloatArray = np.logaddexp.accumulate(ratios, axis=-1) - math.log(S)
    return out


def crowd(values: IntArray, effect: FloatArray | float) -> IntArray:
    """(topics, 2) events and negative of an hour, as they weigh: crowded, and without what the hour itself explains."""
    events = values[:, 0] / UNIT
    weight = 1 / (1 + CROWDING * np.maximum(events - 1, 0))
    kept = np.rint(np.column_stack([values[:, 0] * weight, (values[:, 1] - values[:, 0] * effect) * weight]))
    return kept.astype(np.int64)


def expected(sums: Sums, share: float, weight: float) -> FloatArray:
    """(window, topic): the baseline's share, shrunk to all topics' (empirical Bayes)."""
    b: FloatArray = np.clip((sums.negative_before + weight * share) / (sums.before + weight), 0.02, 0.98)
    return b


def fit_noise(r: FloatArray, x: FloatArray) -> tuple[float, float]:
    """c, t >= 0 so that residuals `r` have variance c x + t.

    The spread is robust (16 % and 84 % points) in groups of like x: a crisis in a tenth of them moves it little.
    """
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, min(8, max(2, len(order) // 60)))
    xs = np.array([x[g].mean() for g in groups])
    low, high = np.array([np.quantile(r[g], [0.16, 0.84]) for g in groups]).T
    ys = np.maximum(((high - low) / 1.989) ** 2, 1e-6)
    w = np.array([len(g) for g in groups]) / ys**2
    sw, sx, sy = w.sum(), (w * xs).sum(), (w * ys).sum()
    sxx, sxy = (w * xs * xs).sum(), (w * xs * ys).sum()
    spread = sw * sxx - sx * sx
    c, t = 0.0, float(sy / sw)
    if spread > 1e-12 * sw * sxx:
        c = float((sw * sxy - sx * sy) / spread)
        t = float((sy - c * sx) / sw)
        if t < 0:
            c, t = float(sxy / sxx), 0.0
        elif c < 0:
            c, t = 0.0, float(sy / sw)
    return max(c, 0.3), t


def dispersion(residual: FloatArray, noise: FloatArray) -> FloatArray:
    """Each topic's variance over the pool's, from (day, topic, 2) residuals, shrunk by how many days it has."""
    r, x = residual[..., 0], residual[..., 1]
    out = np.ones(r.shape[1])
    days = (~np.isnan(r)).sum(axis=0)
    enough: BoolArray = days >= 8
    if enough.sum() < 5:
        return out
    z = np.abs(r[:, enough]) / np.sqrt(noise[0] * x[:, enough] + noise[1])
    logs = 2 * np.log(np.maximum(np.nanmedian(z, axis=0) / 0.6745, 0.05))
    error = 5.44 / days[enough]  # variance of the log of a squared median of that many normals
    weight = 1 / (error + 0.05)
    mean = np.average(logs, weights=weight)
    own = max(float(np.average((logs - mean) ** 2 - error, weights=weight)), 0.0)
    out[enough] = np.exp(np.clip(own / (own + error) * (logs - mean), -2.5, 2.5))
    return out
