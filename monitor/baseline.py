"""What is usual: each topic's hours, days and gaps in arrays over topics, and what all topics together say of noise.

The one idea: history is sums of integers. A column enters, ages out of the last 24 h into the profile of its hour
class (weekday or weekend, hour of day), and leaves after 28 days, by addition and subtraction alone; floats are only
ever derived from these sums. So a state that was restored from a snapshot is the state, bit for bit.

Columns are *running* hours and days: those in which the feed stood still have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.units import ALL, UNIT

PROFILE_HOURS = 28 * 24
RING = PROFILE_HOURS + 24
"""Hours kept: 28 days of baseline, and the last 24 h, which are what it is compared with."""

DAYS = 56
"""Days kept for drift: enough to hold a decline of a month and the month before it."""

GAP_DAYS = 28
EVENTS, NEGATIVE, POSITIVE = 0, 1, 2
CLASSES = 48

HOUR_PRIOR = 50.0
"""Events by which an hour class's share is drawn to the topic's own: with fewer, its noise (7 points of share at 50)
is as large as the effects of the hour that are seen in news."""

SHARE_PRIOR, POLARITY_PRIOR, PRIOR_WEIGHT = 0.25, 0.0, 20.0
"""What is assumed before anything was pooled. It only matters while every topic is learning."""


def hour_class(hour: int) -> int:
    """Class of an hour (hours since 1970, a Thursday): 0..23 on weekdays, 24..47 on Saturdays and Sundays, UTC."""
    return hour % 24 + (24 if (hour // 24 + 3) % 7 >= 5 else 0)


@dataclass(frozen=True, slots=True)
class Pool:
    """What all topics together say; estimated once a day from the past alone."""

    share: float = SHARE_PRIOR
    """Mean negative share of a topic."""
    polarity: float = POLARITY_PRIOR
    weight: float = PRIOR_WEIGHT
    """Events of its own by which a topic outweighs the pool (a beta distribution's precision)."""


class History(TopicArrays):
    """Arrays over topics (the first `len(names)` entries of each are in use); capacity grows by doubling."""

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
    """(hour, topic, sum): events, negative, positive of closed running hours, hour k in row k mod RING. Whole numbers:
    exact up to 1,677 events an hour, of 24 bits beyond; what goes out of the profile is what came into it."""
    hour_now: IntArray
    """(topic, sum) of the open hour."""
    dated_now: IntArray
    """(topic, sum): the part of the open hour's events and negative that is known only to the day."""
    profile: IntArray
    """(class, topic, sum) over the 28 days before the last 24 h."""
    base: IntArray
    """(topic, sum): `profile` over all classes."""
    day_ring: IntArray
    day_now: IntArray
    lately: npt.NDArray[np.float32]
    """(hour, topic): events seen, and events that the profile expected, in each of the last 24 closed hours."""
    gap: IntArray
    """Events that the profile expected since the topic's last story."""
    gap_now: IntArray
    """The largest gap that ended today."""
    gap_ring: IntArray
    """(day, topic): the largest gap that ended on that day."""
    first_hour: IntArray
    last_hour: IntArray
    """Running hours at the topic's first and last story."""
    last_story: IntArray
    """End of the bucket of the last story."""
    several_sources: BoolArray
    steady: BoolArray
    """The topic has stories on most days: that it stops can be noticed."""
    last_source_at: IntArray
    other_source_at: IntArray
    """End of the last bucket with the topic's last source, and with any other than that."""

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
        self.ring_hour: IntArray = np.zeros(RING, np.int64)
        self.class_hours: IntArray = np.zeros(CLASSES, np.int64)
        self.day_number: IntArray = np.zeros(DAYS, np.int64)

    def topic(self, name: str) -> int:
        """The index of a topic; a name not seen before gets the next one."""
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
        """Add a bucket to the open hour and day, and end the topics' gaps.

        `values`: (topics, 3) events, negative, positive. `dated`: (topics, 2) the part of events and negative that is
        known only to the day. `end`: the bucket's.
        """
        self.hour_now[topics] += values
        self.dated_now[topics] += dated
        self.day_now[topics] += values
        self.gap_now[topics] = np.maximum(self.gap_now[topics], self.gap[topics])
        self.gap[topics] = 0
        self.last_story[topics] = end
        self.last_hour[topics] = self.hours

    def close_hour(self) -> None:
        """Moves the open hour into the ring, the hour 24 before it into the profile, and the oldest out of it."""
        n, k = len(self.names), self.hours
        slot, aged = k % RING, k - 24
        if k >= RING:
            old = hour_class(int(self.ring_hour[slot]))
            leaving = self.ring[slot, :n].astype(np.int64)
            self.profile[old, :n] -= leaving
            self.base[:n] -= leaving
            self.class_hours[old] -= 1
        expected = self.expected_events()
        self.lately[k % 24, :n] = np.column_stack([self.hour_now[:n, EVENTS], expected])
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
        # A topic that is quiet while the whole feed is (a holiday) has not stopped: expectation falls with the feed's.
        seen, usual = self.last_day()[self.pooled()].sum(axis=0).tolist()
        quiet = self.last_hour[:n] < self.hours - 1
        self.gap[:n] += np.where(quiet, expected * min(seen, usual) // max(usual, 1), 0)

    def expected_events(self) -> IntArray:
        """Events expected of each topic in the open hour, by the profile of its class."""
        kind = hour_class(self.hour)
        rate: IntArray = self.profile[kind, : len(self.names), EVENTS] // max(int(self.class_hours[kind]), 1)
        return rate

    def last_day(self) -> IntArray:
        """(topic, 2): events seen, and events that the profile expected, in the last 24 closed hours."""
        found: IntArray = self.lately[:, : len(self.names)].sum(axis=0, dtype=np.float64).astype(np.int64)
        return found

    def pooled(self) -> BoolArray:
        """Which topics the feed is made of: all but `_all`, which holds their stories once more."""
        found = np.ones(len(self.names), bool)
        if ALL in self.index:
            found[self.index[ALL]] = False
        return found

    def close_day(self) -> None:
        """Moves the open day into the rings of days."""
        n, slot = len(self.names), self.days % DAYS
        self.day_ring[slot, :n] = self.day_now[:n]
        self.day_number[slot] = self.day
        self.gap_ring[self.days % GAP_DAYS, :n] = self.gap_now[:n]
        self.day_now[:n] = 0
        self.gap_now[:n] = 0
        self.days += 1
        active = (self.day_ring[self.last_days(GAP_DAYS), :n, EVENTS] > 0).sum(axis=0)
        known = np.minimum((self.hours - self.first_hour[:n]) // 24, GAP_DAYS)
        # On 3 of 5 days at least, which a topic of working days passes.
        self.steady[:n] = (active >= 10) & (5 * active >= 3 * known) & (self.base[:n, EVENTS] >= 28 * UNIT)

    def last_days(self, count: int) -> IntArray:
        """Rows of `day_ring` that hold the last closed days, oldest first."""
        return np.arange(max(self.days - min(count, DAYS), 0), self.days) % DAYS

    def usual(self, pool: Pool) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Expected negative share and polarity of each topic in the open hour, and what of the share is the hour's.

        Shrunk twice (empirical Bayes): the hour class to the topic's own, the topic's own to the pool's.
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
    """The pool's view of share and polarity, from closed hours."""
    n = len(history.names)
    base = history.base[:n] / UNIT
    base = base[history.pooled() & (base[:, EVENTS] >= 10)]
    if len(base) < 3:
        return Pool()
    events = base[:, EVENTS]
    shares = base[:, NEGATIVE] / events
    share = float(shares.mean())
    polarity = float(((base[:, POSITIVE] - base[:, NEGATIVE]) / events).mean())
    # Method of moments for a beta distribution of shares: their variance less the binomial's is the topics' own.
    binomial = share * (1 - share)
    between = max(float(shares.var()) - float((binomial / events).mean()), 1e-4)
    weight = min(max(binomial / between - 1, 3.0), 60.0)
    return Pool(share, polarity, weight)
