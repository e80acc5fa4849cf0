"""What surges are measured by: the weighed events of each topic over four days, and its past.

Hours are running hours, as everywhere: where the feed stood still, time did not pass.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors import surge
from foreshock.monitor.detectors.surge import AGES, WINDOWS
from foreshock.monitor.detectors.windows import rows
from foreshock.monitor.units import UNIT

HOURS_KEPT = WINDOWS[-1] + 4
DAYS_KEPT = 60
"""Days of a topic's own past that say what is usual."""
SHARE_AT_FIRST, RATE_AT_FIRST, SHAPE_AT_FIRST = 0.25, 1.0, 0.5
"""The usual share, events a day, and their gamma distribution's shape, before any were measured."""
FEWEST_TOPICS = 3
"""Topics from which on it is measured how unequal they are."""
SHARE_WEIGHT = 8.0
"""Events that the pool's share weighs beside a topic's own."""
ALIKE = 30.0
"""Events of a burst whose mood varies as if there were so many independent ones at most."""
FEED_WEIGHT = 12.0
"""Events by which the rest of the feed in a window is drawn to what is usual of it."""
MOST_BUSY = 4.0
DEVIATIONS, FANO = 2.0, 2.0
"""Standard deviations below which the rest of the feed explains nothing; and the variance of its events over their
number, since stories come in bursts. Stories of a burst share their mood, so that of the share is as much larger."""
DAY_HOURS = 24
YOUNG = 4.0
"""What is usual of a topic leaves out the longest window that is at most one part in so many of its age."""
PLACES: IntArray = np.arange(len(WINDOWS))[:, None]
HOURS: IntArray = np.array(WINDOWS)


class Look(NamedTuple):
    """What the windows of some topics hold. Arrays are (window, topic)."""

    events: FloatArray
    negative: FloatArray
    expected: FloatArray
    usual: FloatArray
    daily: FloatArray
    """Negative events that are usual a day, as if nothing were weighed."""
    ratios: FloatArray
    """Logarithms of likelihood ratios."""


class Frame(NamedTuple):
    """What the windows that end in one running hour have in common, whatever the topic and the part of the hour."""

    k: int
    places: list[int]
    """The rows of `Surges.past` at the beginning of each window, and at its end."""
    spans: FloatArray
    lengths: IntArray
    feed: IntArray
    """(window, sum): the feed in the closed hours."""


class Surges(TopicArrays):
    """Sums of weighed events, sources and alarm machines, over topics."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "past": ((HOURS_KEPT,), (2,), np.int64, 0),
        "past_dated": ((DAY_HOURS,), (2,), np.int64, 0),
        "now": ((), (2,), np.int64, 0),
        "now_dated": ((), (2,), np.int64, 0),
        "days": ((DAYS_KEPT,), (3,), np.int64, 0),
        "base": ((), (3,), np.int64, 0),
    }
    TOTALS = ("past",)
    PLAIN = ("pool", "elapsed", "feed_past", "feed_now", "feed_base", "feed_days", "dated_at")
    past: IntArray
    """(hour, topic, sum): weighed events and negative mass up to the end of hour k - 1 in row k mod HOURS_KEPT."""
    past_dated: IntArray
    """(hour, topic, sum): of hour k, in row k mod DAY_HOURS, what is known only to the day."""
    now: IntArray
    now_dated: IntArray
    days: IntArray
    """(day, topic, sum): weighed events, negative mass, and the negative mass as if nothing were weighed, by day."""
    base: IntArray
    """(topic, sum): `days`, and the open day."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.pool: FloatArray = np.array([RATE_AT_FIRST, SHAPE_AT_FIRST, SHARE_AT_FIRST])
        self.elapsed: FloatArray = np.zeros(HOURS_KEPT)
        # The feed as a whole, each story once: as `past`, `now`, `base` and `days`.
        self.dated_at: IntArray = np.full(1, -DAY_HOURS)  # the last running hour with news known only to the day
        self.feed_past: IntArray = np.zeros((HOURS_KEPT, 2), np.int64)
        self.feed_now: IntArray = np.zeros(2, np.int64)
        self.feed_base: IntArray = np.zeros(2, np.int64)
        self.feed_days: IntArray = np.zeros((DAYS_KEPT, 2), np.int64)
        self._frame: Frame | None = None  # derived; of the open hour

    def add(
        self, topics: IntArray, values: IntArray, dated: IntArray, weight: FloatArray, k: int, feed: BoolArray
    ) -> IntArray:
        """Add a bucket: (topics, 2) events and negative, and what of them is known only to the day, in 1/10,000.

        `feed`: which of `topics` hold the feed as a whole, each story once. Returns what of it has a time of day, as it
        weighs.
        """
        added = np.empty((len(topics), 3), np.int64)
        added[:, :2], added[:, 2] = np.rint(values * weight[:, :2]), values[:, 1]
        whole = added[:, :2]
        self.now[topics] += whole
        self.base[topics] += added
        for total in whole[feed]:
            self.feed_now += total
            self.feed_base += total
        if not np.count_nonzero(dated):
            return whole
        part = np.rint(dated * weight[:, :2]).astype(np.int64)
        if np.count_nonzero(part):
            self.now_dated[topics] += part
            self.dated_at[0] = k
        return whole - part

    def close_hour(self, n: int, k: int, shape: float) -> None:
        """Close running hour `k`; `shape`: how busy such hours are, over the mean."""
        self.past[(k + 1) % HOURS_KEPT, :n] = self.past[k % HOURS_KEPT, :n] + self.now[:n]
        self.past_dated[k % DAY_HOURS, :n] = self.now_dated[:n]
        if self.now_dated[:n].any():
            self.dated_at[0] = k
        self.feed_past[(k + 1) % HOURS_KEPT] = self.feed_past[k % HOURS_KEPT] + self.feed_now
        self.elapsed[(k + 1) % HOURS_KEPT] = self.elapsed[k % HOURS_KEPT] + shape
        self.now[:n], self.now_dated[:n], self.feed_now[:] = 0, 0, 0

    def close_day(self, n: int, day: int) -> None:
        """Close running day `day`, and forget the oldest."""
        row = day % DAYS_KEPT
        self.base[:n] -= self.days[row, :n]
        kept = self.days[:, :n].sum(axis=0) - self.days[row, :n]
        self.days[row, :n] = self.base[:n] - kept
        self.feed_base -= self.feed_days[row]
        self.feed_days[row] = self.feed_base - (self.feed_days.sum(axis=0) - self.feed_days[row])

    def look(
        self,
        topics: IntArray,
        first_hour: IntArray,
        k: int,
        part: float,
        length: float,
        shape: float,
        bucket: IntArray | None,
        pooled: BoolArray,
    ) -> Look:
        """Return the windows of topics that end now, a `part` of running hour `k` into it.

        `length`: hours of a bucket. `bucket`: (topics, 2) what has just come, or None where nothing did. `pooled`: the
        topics that the feed is made of.
        """
        frame = self._of_hour(k)
        past = rows(self.past, frame.places, topics)
        whole = (past[-1] + self.now.take(topics, axis=0) - past[:-1]).astype(np.float64)
        spans, lengths = frame.spans + shape * part, frame.lengths + part
        if k - self.dated_at[0] <= DAY_HOURS:
            for place, hours in enumerate(WINDOWS):
                if hours < DAY_HOURS:
                    late = [hour % DAY_HOURS for hour in range(max(k - hours, 0), k)]
                    whole[place] -= self.past_dated[late][:, topics].sum(axis=0) + self.now_dated[topics]
        whole[0] = 0 if bucket is None else bucket
        spans[0], lengths[0] = shape * length, length
        whole /= UNIT
        events, negative = whole[..., 0], whole[..., 1]
        mean, form, share = self.pool.tolist()
        age = np.minimum(k - first_hour + part, DAYS_KEPT * 24)
        # What is usual leaves out the last days, and not just the window: no crisis becomes usual while it lasts.
        left = np.maximum(PLACES, AGES[np.minimum(age / YOUNG, WINDOWS[-1]).astype(np.int64)])
        past = np.maximum(age - lengths[left], 0) / 24
        base = self.base.take(topics, axis=0) / UNIT
        kept = np.maximum(base[:, :2] - whole[left, np.arange(len(topics))], 0)
        before, bad = kept[..., 0], kept[..., 1]
        rate = (form + before) / (form / mean + past)
        own = (bad + SHARE_WEIGHT * share) / (before + SHARE_WEIGHT)
        repeated = np.minimum(np.maximum(base[:, 2] / np.maximum(base[:, 1], 1e-9), 1.0), 50.0)
        daily = rate * own * repeated
        # The rest of the feed, without the topic: on a day on which all is bad, no topic is news by that alone.
        feed = (frame.feed + self.feed_now) / UNIT
        everyone = self.feed_base / UNIT
        mine = pooled[topics]
        days = max(min(k, DAYS_KEPT * 24) + part, 1) / 24
        others = np.maximum(feed[:, None, :] - whole * mine[:, None], 0)
        rest = np.maximum(everyone - base[:, :2] * mine[:, None], 0)
        usual_others = rest[:, 0] / days * spans[:, None] / 24
        busier = (others[..., 0] + FEED_WEIGHT) / (usual_others + FEED_WEIGHT) - 1
        busy = np.minimum(1 + beyond_chance(busier, FANO / (usual_others + FEED_WEIGHT)), MOST_BUSY)
        # A firing topic's stories are in neither sum, but in its own, so what is left may be more negative than whole.
        mood = np.minimum((rest[:, 1] + SHARE_WEIGHT * share) / (rest[:, 0] + SHARE_WEIGHT), 1.0)
        heard = others[..., 0] + FEED_WEIGHT
        worse = beyond_chance((others[..., 1] + FEED_WEIGHT * mood) / heard - mood, FANO * mood * (1 - mood) / heard)
        usual = own + worse * mine
        expected = rate * spans[:, None] / 24 * np.where(mine, busy, 1.0)
        # The share is known from so many events, and the stories of a burst share their mood a little.
        spread = np.sqrt(usual * np.maximum(1 - usual, 0) * (1 / (before + SHARE_WEIGHT) + 1 / ALIKE))
        ratios = surge.ratios(events, negative, expected, usual, usual + spread / 2, form + bad)
        return Look(events, negative, expected, usual, daily, ratios)

    def _of_hour(self, k: int) -> Frame:
        if self._frame is None or self._frame.k != k:
            starts, end = [max(k - hours, 0) % HOURS_KEPT for hours in WINDOWS], k % HOURS_KEPT
            spans, feed = self.elapsed[end] - self.elapsed[starts], self.feed_past[end] - self.feed_past[starts]
            self._frame = Frame(k, [*starts, end], spans, np.minimum(HOURS, k), feed)
        return self._frame

    def recent(self, topics: IntArray, k: int) -> FloatArray:
        """Return the weighed negative mass of topics in the longest window."""
        first, last = self.past[max(k - WINDOWS[-1], 0) % HOURS_KEPT], self.past[k % HOURS_KEPT]
        mass = (last.take(topics, axis=0) - first.take(topics, axis=0) + self.now.take(topics, axis=0))[:, 1]
        found: FloatArray = mass / UNIT
        return found

    def usual_mass(self, first_hour: IntArray, k: int) -> FloatArray:
        """Return a day's usual negative mass of each topic."""
        mean, form, share = self.pool.tolist()
        days = np.minimum(k - first_hour, DAYS_KEPT * 24) / 24
        found: FloatArray = (self.base[: len(first_hour), 1] / UNIT + form * share) / (form / mean + days)
        return found

    def estimate(self, first_hour: IntArray, pooled: BoolArray, k: int) -> None:
        """Estimate what is usual in the pool: events a day, how unequal topics are, and the share."""
        n = len(first_hour)
        base = self.base[:n][pooled] / UNIT
        days = np.minimum(k - first_hour[pooled], DAYS_KEPT * 24) / 24
        known = days >= 0.5
        base, days = base[known], days[known]
        if len(base) < FEWEST_TOPICS:
            # Too few to see how they differ: one like those there are, drawn to what is taken at first.
            self.pool[0] = (base[:, 0].sum() + RATE_AT_FIRST) / (days.sum() + 1)
            self.pool[2] = (base[:, 1].sum() + SHARE_WEIGHT * SHARE_AT_FIRST) / (base[:, 0].sum() + SHARE_WEIGHT)
            return
        rate = base[:, 0] / days
        mean = float(rate.mean())
        between = max(float(rate.var()) - float((rate / days).mean()), 1e-6)
        self.pool[0] = mean
        self.pool[1] = min(max(mean * mean / between, 0.1), 5.0)
        shares = (base[:, 1] + SHARE_WEIGHT * SHARE_AT_FIRST) / (base[:, 0] + SHARE_WEIGHT)
        self.pool[2] = float(shares.mean())


def beyond_chance(excess: FloatArray, variance: FloatArray) -> FloatArray:
    """Return the part of an excess that chance does not explain: none up to `DEVIATIONS`, and nearly all far beyond.

    It is the excess times 1 - (`DEVIATIONS` standard deviations / excess)^2, the estimate of James and Stein 1961.
    `variance`: of the excess by chance, 0 or more.
    """
    found: FloatArray = np.maximum(excess, 1e-9)
    found -= DEVIATIONS**2 * variance / found
    return np.maximum(found, 0.0, out=found)
