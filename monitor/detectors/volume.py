"""How sure it is that a topic has more events than usual, over windows from one hour to three days.

The usual number is the topic's own rate at this hour and kind of day, shrunk towards its daily rate in the shape of all
topics' days. It is multiplied by how busy the rest of the feed is: a busy day of all markets is not news about one
company. As for shares, the noise is measured, not assumed: a window with mu expected events has the variance
c mu + t mu^2. See docs/detection.md#5-volume-and-silence.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, History, hour_class
from foreshock.monitor.detectors.noise import SAMPLES, dispersion, fit_noise
from foreshock.monitor.detectors.windows import DAY_SCALE, HOUR_SCALE, LARGEST, LONG, NOTHING, SCALES, rows
from foreshock.monitor.units import UNIT

V = LONG
"""Number of windows: those of `SCALES` up to three days. The bucket's window is not used, because news often bear the
time of the full hour and then come all at once."""
KEPT = 74
"""Rows of running totals: more than the 73 that the longest window needs."""
TIMES = (2.0, 4.0, 8.0)
"""Multiples of the usual number that are looked for."""
FEWEST = 5.0
"""Events that a window needs."""
LEAST_EXPECTED = 1.0
"""Smallest expected number of a window. A profile below it is known too badly."""
AT_FIRST = (2.0, 0.1)
"""c and t before any were measured: events come in pairs, and days differ by a third."""
PLENTY = 2.0
"""Further events of an hour count by their logarithm beyond this number times (1 + expected events)."""
CROWD = 4.0
"""Scale of this logarithm, in events. One report that ten sources bring is not ten times as much news."""
CLASS_PRIOR = 8.0
"""Weight, in hours, of the topic's daily rate in the shape of all topics' days, in an hour class's rate."""
BUSY_PRIOR = 12.0
"""Weight of the usual number, in events, in how busy the last day of the rest of the feed was."""
LEAST_BUSY = 1.0
"""A quiet day of the feed makes no topic loud. Otherwise, all topics would be loud after each holiday."""
MOST_BUSY = 4.0
"""A busy day multiplies the usual number by at most this."""


class Volume(TopicArrays):
    """Running totals of each topic's events and expected events, and the noise of the windows."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((KEPT,), (2,), np.int64, 0),
        "residual": ((SAMPLES, V), (2,), np.float16, np.nan),
        "dispersion": ((), (), np.float64, 1.0),
    }
    TOTALS = ("past",)
    PLAIN = ("noise",)
    past: IntArray
    """(hour, topic, sum): events with a time of day (as `crowded` counts them) and expected events, up to the end of
    hour k - 1."""
    residual: npt.NDArray[np.float16]
    """(day, window, topic, 2): (events - expected) / expected, and 1 / expected; nan where there is none."""
    dispersion: FloatArray
    """Variance of a topic's residuals over that of all topics."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.noise: FloatArray = np.tile(AT_FIRST, (V, 1))

    def usual(self, h: History) -> FloatArray:
        """Return the expected events of each topic in the open hour."""
        n, kind, k = len(h.names), hour_class(h.hour), h.hours
        base = h.base[:n, EVENTS] / UNIT
        hours = max(int(h.class_hours.sum()), 1)
        known = np.minimum(np.maximum(k - 24 - h.first_hour[:n], 1), hours)
        like = h.profile[kind, :n, EVENTS] / UNIT
        pooled = h.pooled()
        class_hours = int(h.class_hours[kind])
        shape = 1.0
        if class_hours and (total := float(base[pooled].sum())) > 0:
            shape = min(float(like[pooled].sum()) / class_hours / (total / hours), 10.0)
        rate = (like + CLASS_PRIOR * shape * base / known) / (class_hours * known / hours + CLASS_PRIOR)
        # Only the rest of the feed counts: a topic's own events must not raise the number that is expected of it.
        own = h.last_day() / UNIT
        seen, expected = (own[pooled].sum(axis=0) - own).T
        busy = (np.maximum(seen, 0) + BUSY_PRIOR) / (np.maximum(expected, 0) + BUSY_PRIOR)
        found: FloatArray = rate * np.where(pooled, np.minimum(np.maximum(busy, LEAST_BUSY), MOST_BUSY), 1.0)
        return found

    def close_hour(self, k: int, events: IntArray, usual: FloatArray) -> None:
        """Add the running hour `k`: `events` with a time of day (in 1/10,000), and the expected number `usual`."""
        n = len(events)
        weighed = np.rint(crowded(events / UNIT, usual) * UNIT).astype(np.int64)
        self.past[(k + 1) % KEPT, :n, 0] = self.past[k % KEPT, :n, 0] + weighed
        self.past[(k + 1) % KEPT, :n, 1] = self.past[k % KEPT, :n, 1] + np.rint(usual * UNIT).astype(np.int64)

    def sums(self, topics: IntArray | slice, k: int) -> tuple[FloatArray, FloatArray]:
        """Return events and expected events, (window, topic), of the windows that end with hour `k - 1`."""
        found = self._closed(topics, k, k) / UNIT
        found[0] = 0
        return found[..., 0], np.maximum(found[..., 1], LEAST_EXPECTED)

    def sums_now(self, topics: IntArray, k: int, opened: IntArray, usual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return events and expected events, (window, topic), of the windows that end now.

        `opened`: events of the open hour so far (in 1/10,000). The whole hour's `usual` is already expected of it.
        """
        found = self._closed(topics, k, k + 1) / UNIT
        events, expected = found[..., 0] + crowded(opened / UNIT, usual), found[..., 1] + usual
        events[0] = 0
        return events, np.maximum(expected, LEAST_EXPECTED)

    def closed_now(self, topics: IntArray, k: int, usual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what is known of the windows that end now for the whole open hour `k`, (window, topic).

        These are the events of the closed hours, and all expected events. `usual`: those of the open hour.
        """
        found = self._closed(topics, k, k + 1) / UNIT
        return found[..., 0], np.maximum(found[..., 1] + usual, LEAST_EXPECTED)

    def _closed(self, topics: IntArray | slice, k: int, end: int) -> IntArray:
        starts = np.minimum(np.maximum(end - np.maximum(SCALES[:V], 1), 0), k) % KEPT
        found: IntArray = rows(self.past, [k % KEPT], topics) - rows(self.past, starts.tolist(), topics)
        return found

    def sample(self, events: FloatArray, expected: FloatArray, k: int, known: npt.NDArray[np.bool_]) -> None:
        """Store the residuals of all windows as the day's sample, for topics with a well-`known` profile."""
        n = events.shape[1]
        good = (expected > LEAST_EXPECTED) & known
        row = self.residual[k // 24 % SAMPLES]
        row[...] = np.nan
        row[:, :n, 0] = np.where(good, np.minimum(events / expected - 1, 1000), np.nan)
        row[:, :n, 1] = np.where(good, 1 / expected, np.nan)

    def estimate(self, n: int, k: int) -> None:
        """Estimate the noise of each window and the dispersion of each topic, from the samples of the last days."""
        fits = {
            s: found
            for s in range(HOUR_SCALE, V)
            if (found := fit_noise(self.residual[:, s, :n], tails=True)) is not None
        }
        if not fits:
            return
        for s, (c, t) in fits.items():
            self.noise[s] = max(c, 1.0), t
        self.noise[: min(fits)] = self.noise[min(fits)]
        if DAY_SCALE in fits:
            self.dispersion[:n] = dispersion(self.residual[:, DAY_SCALE, :n], self.noise[DAY_SCALE], k)

    def effective(self, topics: IntArray | slice, events: FloatArray, expected: FloatArray) -> FloatArray:
        """Return how many independent events one event is worth, (window, topic): at most 1, and 0 in a window with too
        few events."""
        c, t = self.noise[:, :1], self.noise[:, 1:]
        variance = (c + t * expected) * self.dispersion[topics]
        found: FloatArray = np.where(events >= FEWEST, 1 / np.maximum(variance, 1.0), 0.0)
        return found


def crowded(events: FloatArray, usual: FloatArray) -> FloatArray:
    """Return the weight of an hour's events, given the expected number `usual`: by their logarithm beyond `PLENTY`."""
    plenty = PLENTY * (1 + usual)
    found: FloatArray = np.minimum(events, plenty) + CROWD * np.log1p(np.maximum(events - plenty, 0) / CROWD)
    return found


def ratios(effective: FloatArray, events: FloatArray, expected: FloatArray) -> FloatArray:
    """Return the Poisson likelihood ratio of more events than expected, (window, topic), averaged over `TIMES`."""
    says = effective > 0
    n, k, mu = effective[says], events[says], expected[says]
    mixed = np.zeros_like(mu)
    for times in TIMES:
        mixed += np.exp(np.minimum(n * (k * math.log(times) - mu * (times - 1)), LARGEST))
    found = np.full(says.shape, NOTHING)
    found[says] = mixed / len(TIMES)
    return found
