"""What is usual: each topic's hours, days and gaps, in arrays over topics, and the pooled estimates of all topics.

The one idea: history consists of integer sums. An hour enters the sums, moves after 24 hours into the profile of its
hour class (weekday or weekend, hour of the day), and leaves after 28 days. Only additions and subtractions do this, and
floats are only derived from the sums. So a state that was restored from a snapshot equals the original bit for bit.

Hours and days are *running* ones: the time while the feed stood still does not exist here. See docs/detection.md,
"1. What is compared".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.units import ALL, UNIT

PROFILE_HOURS = 28 * 24
"""Hours of baseline."""

RING = PROFILE_HOURS + 24
"""Hours kept: the baseline, and the last 24 hours, which are compared with it."""

DAYS = 56
"""Days kept for drift: a decline of a month, and the month before it."""

GAP_DAYS = 28
"""Days for which the largest gap is kept."""

EVENTS, NEGATIVE, POSITIVE = 0, 1, 2
"""Columns of the sums."""

CLASSES = 48
"""Number of hour classes."""

HOUR_PRIOR = 50.0
"""Weight of the topic's own share in an hour class's share, in events. The noise of 50 events is 7 points of share,
which is as large as the effect that the hour has in news."""

SHARE_PRIOR = 0.25
"""Mean negative share before anything was pooled. The three priors matter only while every topic is learning."""

POLARITY_PRIOR = 0.0
"""Mean polarity before anything was pooled."""

PRIOR_WEIGHT = 20.0
"""Weight of the pool before anything was pooled, in events."""


def hour_class(hour: int) -> int:
    """Return the class of an hour (UTC, in hours since 1970): 0..23 from Monday to Friday, 24..47 on the weekend."""
    # 1970 began on a Thursday: adding 3 days makes Monday 0.
    return hour % 24 + (24 if (hour // 24 + 3) % 7 >= 5 else 0)


@dataclass(frozen=True, slots=True)
class Pool:
    """Estimates from all topics together. They are made once a day, from the past only."""

    share: float = SHARE_PRIOR
    """Mean negative share of a topic."""
    polarity: float = POLARITY_PRIOR
    """Mean polarity of a topic."""
    weight: float = PRIOR_WEIGHT
    """Weight of the pool in a topic's own share, in events (the precision of a beta distribution)."""


class History(TopicArrays):
    """Each topic's history. The first `len(names)` entries of each array are in use. The capacity grows by doubling."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "ring": ((RING,), (3,), np.float32, 0),
        "hour_now": ((), (3,), np.int64, 0),
        "dated_now": ((), (2,), np.int64, 0),
        "profile": ((CLASSES,), (3,), np.int64, 0),
        "base": ((), (3,), np.int64, 0),
        "day_ring": ((DAYS,), (3,), np.int64, 0),
        "day_now": ((), (3,), np.int64, 0),
        "lately": ((24,), (2,), np.float32, 0),
        "gap": ((), (), np.int64, 0),
        "gap_now": ((), (), np.int64, 0),
        "gap_ring": ((GAP_DAYS,), (), np.int64, 0),
        "first_hour": ((), (), np.int64, 0),
        "last_hour": ((), (), np.int64, 0),
        "last_story": ((), (), np.int64, 0),
        "several_sources": ((), (), np.bool_, 0),
        "steady": ((), (), np.bool_, 0),
        "last_source_at": ((), (), np.int64, 0),
        "other_source_at": ((), (), np.int64, 0),
    }
    ring: npt.NDArray[np.float32]
    """(hour, topic, sum): events, negative and positive of closed running hours; hour k is in row k mod RING. The
    numbers are whole. They are exact up to 1,677 events an hour, and rounded to 24 bits beyond. The profile subtracts
    exactly what it added."""
    hour_now: IntArray
    """(topic, sum): the open hour."""
    dated_now: IntArray
    """(topic, sum): the part of the open hour's events and negative whose time is known only to the day."""
    profile: IntArray
    """(class, topic, sum): the 28 days before the last 24 hours."""
    base: IntArray
    """(topic, sum): `profile` summed over all classes."""
    day_ring: IntArray
    """(day, topic, sum): closed running days; day d is in row d mod DAYS."""
    day_now: IntArray
    """(topic, sum): the open day."""
    lately: npt.NDArray[np.float32]
    """(hour, topic, sum): seen events, and events that the profile expected, in each of the last 24 closed hours."""
    gap: IntArray
    """Events that the profile expected since the topic's last story, in 1/10,000."""
    gap_now: IntArray
    """The largest gap that ended today."""
    gap_ring: IntArray
    """(day, topic): the largest gap that ended on each day."""
    first_hour: IntArray
    """The running hour of the topic's first story."""
    last_hour: IntArray
    """The running hour of the topic's last story."""
    last_story: IntArray
    """The end of the bucket of the last story."""
    several_sources: BoolArray
    """Whether more than one source brought stories of the topic."""
    steady: BoolArray
    """Whether the topic has stories on most days, so that silence can be noticed."""
    last_source_at: IntArray
    """The end of the last bucket with the topic's last source."""
    other_source_at: IntArray
    """The end of the last bucket with any other source of the topic."""

    PLAIN = ("ring_hour", "class_hours", "day_number")

    def __init__(self, capacity: int = 16) -> None:
        super().__init__(capacity)
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.last_source: list[str | None] = []
        self.hour = -1  # the open hour, in hours since 1970
        self.hours = 0  # closed running hours
        self.day = -1  # the open UTC day, in days since 1970
        self.days = 0  # closed running days
        self.ring_hour: IntArray = np.zeros(RING, np.int64)  # hours since 1970 of each row of `ring`
        self.class_hours: IntArray = np.zeros(CLASSES, np.int64)  # hours of each class in `profile`
        self.day_number: IntArray = np.zeros(DAYS, np.int64)  # days since 1970 of each row of `day_ring`
        self._pooled: BoolArray = np.ones(0, bool)  # derived; of these topics

    def topic(self, name: str) -> int:
        """Return the index of a topic. A new name gets the next index."""
        found = self.index.get(name)
        if found is None:
            found = self.index[name] = len(self.names)
            self.names.append(name)
            self.last_source.append(None)
            if found == self.capacity:
                self.grow(self.capacity * 2)
            self.first_hour[found] = self.hours
        return found

    def add(self, topics: IntArray, values: IntArray, dated: IntArray, end: int) -> None:
        """Add a bucket to the open hour and day, and end the gaps of its topics.

        `values`: (topics, 3) events, negative, positive. `dated`: (topics, 2) the part of events and negative whose
        time is known only to the day. `end`: the end of the bucket.
        """
        self.hour_now[topics] += values
        if np.count_nonzero(dated):
            self.dated_now[topics] += dated
        self.day_now[topics] += values
        self.gap_now[topics] = np.maximum(self.gap_now.take(topics), self.gap.take(topics))
        self.gap[topics] = 0
        self.last_story[topics] = end
        self.last_hour[topics] = self.hours

    def close_hour(self) -> None:
        """Close the open hour: move it into the ring, move the hour 24 before it into the profile, drop the oldest."""
        n, k = len(self.names), self.hours
        slot, aged = k % RING, k - 24
        if k >= RING:
            old = hour_class(int(self.ring_hour[slot]))
            leaving = self.ring[slot, :n].astype(np.int64)
            self.profile[old, :n] -= leaving
            self.base[:n] -= leaving
            self.class_hours[old] -= 1
        expected = self.expected_events()
        self.lately[k % 24, :n, 0], self.lately[k % 24, :n, 1] = self.hour_now[:n, EVENTS], expected
        self.ring[slot, :n] = self.hour_now[:n]
        self.ring_hour[slot] = self.hour
        self.hour_now[:n] = 0
        self.dated_now[:n] = 0
        if aged >= 0:
            new = hour_class(int(self.ring_hour[aged % RING]))
            entering = self.ring[aged % RING, :n].astype(np.int64)
            self.profile[new, :n] += entering
            self.base[:n] += entering
            self.class_hours[new] += 1
        self.hours += 1
        # On a holiday the whole feed is quiet. Then fewer events are expected of each topic, and no topic seems silent.
        seen, usual = self.last_day()[self.pooled()].sum(axis=0).tolist()
        quiet = self.last_hour[:n] < self.hours - 1
        self.gap[:n] += np.where(quiet, expected * min(seen, usual) // max(usual, 1), 0)

    def expected_events(self) -> IntArray:
        """Return the events that the profile expects of each topic in the open hour."""
        kind = hour_class(self.hour)
        rate: IntArray = self.profile[kind, : len(self.names), EVENTS] // max(int(self.class_hours[kind]), 1)
        return rate

    def last_day(self) -> IntArray:
        """Return (topic, 2): seen events, and events that the profile expected, in the last 24 closed hours."""
        found: IntArray = self.lately[:, : len(self.names)].sum(axis=0, dtype=np.float64).astype(np.int64)
        return found

    def pooled(self) -> BoolArray:
        """Return which topics make up the feed: all except `_all`, which contains the same stories again."""
        if len(self._pooled) != len(self.names):
            self._pooled = np.ones(len(self.names), bool)
            if ALL in self.index:
                self._pooled[self.index[ALL]] = False
            self._pooled.flags.writeable = False
        return self._pooled

    def close_day(self) -> None:
        """Close the open day: move it into the rings of days."""
        n, slot = len(self.names), self.days % DAYS
        self.day_ring[slot, :n] = self.day_now[:n]
        self.day_number[slot] = self.day
        self.gap_ring[self.days % GAP_DAYS, :n] = self.gap_now[:n]
        self.day_now[:n] = 0
        self.gap_now[:n] = 0
        self.days += 1
        active = (self.day_ring[self.last_days(GAP_DAYS), :n, EVENTS] > 0).sum(axis=0)
        known = np.minimum((self.hours - self.first_hour[:n]) // 24, GAP_DAYS)
        # On at least 3 of 5 days: a topic with stories only on working days is steady, too.
        self.steady[:n] = (active >= 10) & (5 * active >= 3 * known) & (self.base[:n, EVENTS] >= 28 * UNIT)

    def last_days(self, count: int) -> IntArray:
        """Return the rows of `day_ring` with the last `count` closed days, oldest first."""
        return np.arange(max(self.days - min(count, DAYS), 0), self.days) % DAYS

    def usual(self, pool: Pool) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return each topic's expected negative share and polarity in the open hour, and the effect of the hour on it.

        Both are shrunk twice (empirical Bayes): the hour class towards the topic, and the topic towards the pool.
        """
        n, kind = len(self.names), hour_class(self.hour)
        own, like = self.base[:n] / UNIT, self.profile[kind, :n] / UNIT
        weight = own[:, EVENTS] + pool.weight
        share = (own[:, NEGATIVE] + pool.weight * pool.share) / weight
        polarity = (own[:, POSITIVE] - own[:, NEGATIVE] + pool.weight * pool.polarity) / weight
        weight = like[:, EVENTS] + HOUR_PRIOR
        own_share, share = share, (like[:, NEGATIVE] + HOUR_PRIOR * share) / weight
        polarity = (like[:, POSITIVE] - like[:, NEGATIVE] + HOUR_PRIOR * polarity) / weight
        return share, polarity, share - own_share


def estimate(history: History) -> Pool:
    """Estimate the pool's share and polarity, and its weight, from closed hours."""
    n = len(history.names)
    base = history.base[:n] / UNIT
    base = base[history.pooled() & (base[:, EVENTS] >= 10)]
    if len(base) < 3:
        return Pool()
    events = base[:, EVENTS]
    shares = base[:, NEGATIVE] / events
    share = float(shares.mean())
    polarity = float(((base[:, POSITIVE] - base[:, NEGATIVE]) / events).mean())
    # Method of moments for a beta distribution of shares: their variance minus the binomial one is that between topics.
    binomial = share * (1 - share)
    between = max(float(shares.var()) - float((binomial / events).mean()), 1e-4)
    weight = min(max(binomial / between - 1, 3.0), 60.0)
    return Pool(share, polarity, weight)
