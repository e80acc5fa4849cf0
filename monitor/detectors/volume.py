"""How surely a topic has more events than usual, over windows from one hour to three days.

What is usual is the topic's own profile of the hour and the weekday, drawn to its daily rate and the shape of all
topics' days, times how busy the rest of the feed is: a busy day of all markets is no news of one company. As with
shares, the noise of a window of mu expected events is measured, not assumed: variance c mu + t mu^2.
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
"""Windows of up to three days: those of `SCALES` before `LONG`. The bucket's says nothing here: news are often stamped
with the full hour, all at once."""
KEPT = 74
TIMES = (2.0, 4.0, 8.0)
"""How many times the usual number is looked for."""
FEWEST = 5.0
LEAST_EXPECTED = 1.0
"""A window in which less is expected is taken as if so much were: below it a profile is known too badly."""
AT_FIRST = (2.0, 0.1)
"""c and t before any were measured: events come in twos, and days differ by a third."""
PLENTY, CROWD = 2.0, 4.0
"""Beyond this many events, and as many times what is usual, the events of an hour crowd: e-fold by e-fold of the second
they add as much as one by one before. One report that ten sources bring is not ten times as much news."""
CLASS_PRIOR = 8.0
"""Hours by which an hour class's rate is drawn to the topic's daily rate in the shape of all topics' days."""
BUSY_PRIOR = 12.0
"""Events by which the last day of the rest of the feed is drawn to its usual."""
LEAST_BUSY, MOST_BUSY = 1.0, 4.0
"""A quiet day of the feed makes no topic loud: else, after each holiday, all of them are."""


class Volume(TopicArrays):
    """Running totals of events and of expected events of each topic, and what all topics say of their noise."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((KEPT,), (2,), np.int64, 0),
        "residual": ((SAMPLES, V), (2,), np.float16, np.nan),
        "dispersion": ((), (), np.float64, 1.0),
    }
    PLAIN = ("noise",)
    past: IntArray
    """(hour, topic, sum): events that have a time of day, crowded, and expected ones, up to the end of hour k - 1."""
    residual: npt.NDArray[np.float16]
    """(day, window, topic): (events - expected) / expected, and 1 / expected; nan for none."""
    dispersion: FloatArray

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.noise: FloatArray = np.tile(AT_FIRST, (V, 1))

    def usual(self, h: History) -> FloatArray:
        """Events expected of each topic in the open hour."""
        n, kind, k = len(h.names), hour_class(h.hour), h.hours
        base = h.base[:n, EVENTS] / UNIT
        hours = max(int(h.class_hours.sum()), 1)
        known = np.clip(k - 24 - h.first_hour[:n], 1, hours)
        like = h.profile[kind, :n, EVENTS] / UNIT
        pooled = h.pooled()
        class_hours = int(h.class_hours[kind])
        shape = 1.0
        if class_hours and (total := float(base[pooled].sum())) > 0:
            shape = min(float(like[pooled].sum()) / class_hours / (total / hours), 10.0)
        rate = (like + CLASS_PRIOR * shape * base / known) / (class_hours * known / hours + CLASS_PRIOR)
        # The rest of the feed, in its own terms: what is expected of a topic may not grow with what the topic brings.
        own = h.last_day() / UNIT
        seen, expected = (own[pooled].sum(axis=0) - own).T
        busy = (np.maximum(seen, 0) + BUSY_PRIOR) / (np.maximum(expected, 0) + BUSY_PRIOR)
        found: FloatArray = rate * np.where(pooled, np.clip(busy, LEAST_BUSY, MOST_BUSY), 1.0)
        return found

    def close_hour(self, k: int, events: IntArray, usual: FloatArray) -> None:
        """Adds running hour `k`: events with a time of day, in units, and the events that were expected."""
        n = len(events)
        weighed = np.rint(crowded(events / UNIT, usual) * UNIT).astype(np.int64)
        self.past[(k + 1) % KEPT, :n, 0] = self.past[k % KEPT, :n, 0] + weighed
        self.past[(k + 1) % KEPT, :n, 1] = self.past[k % KEPT, :n, 1] + np.rint(usual * UNIT).astype(np.int64)

    def sums(self, topics: IntArray | slice, k: int) -> tuple[FloatArray, FloatArray]:
        """(window, topic) events and expected events of windows that end with hour `k - 1`."""
        found = self._closed(topics, k, k) / UNIT
        found[0] = 0
        return found[..., 0], np.maximum(found[..., 1], LEAST_EXPECTED)

    def sums_now(self, topics: IntArray, k: int, opened: IntArray, usual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same of windows that end now; of the open hour all that is usual is expected already.

        `opened`: events of the open hour, in units.
        """
        found = self._closed(topics, k, k + 1) / UNIT
        events, expected = found[..., 0] + crowded(opened / UNIT, usual), found[..., 1] + usual
        events[0] = 0
        return events, np.maximum(expected, LEAST_EXPECTED)

    def _closed(self, topics: IntArray | slice, k: int, end: int) -> IntArray:
        starts = np.minimum(np.maximum(end - np.maximum(SCALES[:V], 1), 0), k) % KEPT
        found: IntArray = rows(self.past, [k % KEPT], topics) - rows(self.past, starts.tolist(), topics)
        return found

    def sample(self, events: FloatArray, expected: FloatArray, k: int, known: npt.NDArray[np.bool_]) -> None:
        """Keeps the residuals of all windows, of topics that are `known` well enough, as the day's sample."""
        n = events.shape[1]
        good = (expected > LEAST_EXPECTED) & known
        row = self.residual[k // 24 % SAMPLES]
        row[...] = np.nan
        row[:, :n, 0] = np.where(good, np.minimum(events / expected - 1, 1000), np.nan)
        row[:, :n, 1] = np.where(good, 1 / expected, np.nan)

    def estimate(self, n: int, k: int) -> None:
        """The noise of each window and each topic's dispersion, from the samples of the last days."""
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
        """(window, topic): what one event says, of how much it would if events were independent; 0 for nothing."""
        c, t = self.noise[:, :1], self.noise[:, 1:]
        variance = (c + t * expected) * self.dispersion[topics]
        found: FloatArray = np.where(events >= FEWEST, 1 / np.maximum(variance, 1.0), 0.0)
        return found


def crowded(events: FloatArray, usual: FloatArray) -> FloatArray:
    """What the events of an hour weigh, where `usual` are expected."""
    plenty = PLENTY * (1 + usual)
    found: FloatArray = np.minimum(events, plenty) + CROWD * np.log1p(np.maximum(events - plenty, 0) / CROWD)
    return found


def ratios(effective: FloatArray, events: FloatArray, expected: FloatArray) -> FloatArray:
    """(window, topic): likelihood ratio (Poisson) of more events than expected, mixed over `TIMES`."""
    says = effective > 0
    n, k, mu = effective[says], events[says], expected[says]
    mixed = np.zeros_like(mu)
    for times in TIMES:
        mixed += np.exp(np.minimum(n * (k * math.log(times) - mu * (times - 1)), LARGEST))
    found = np.full(says.shape, NOTHING)
    found[says] = mixed / len(TIMES)
    return found
