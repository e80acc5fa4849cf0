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

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HOUR = 3_600_000_000
DAY = 24 * HOUR
UNIT = 10_000
"""Sums are in 1/10,000 of an event."""

ALL = "_all"
"""The series of all stories: it is watched like a topic, and left out where topics are pooled."""

PROFILE_HOURS = 28 * 24
RING = PROFILE_HOURS + 24
"""Hours kept: 28 days of baseline, and the last 24 h, which are what it is compared with."""

DAYS = 56
"""Days kept for drift: enough to hold a decline of a month and the month before it."""

WEEK = 7
GAP_DAYS = 28
LOOK_DAYS = 28
BINS, BIN = 200, 0.05
"""Bins in which the sizes of residuals are counted, and their width in binomial sds; the last one is open."""
EVENTS, NEGATIVE, POSITIVE = 0, 1, 2
CLASSES = 48

HOUR_PRIOR = 50.0
"""Events by which an hour class's share is drawn to the topic's own: with fewer, its noise (7 points of share at 50)
is as large as the effects of the hour that are seen in news."""

SHARE_PRIOR, POLARITY_PRIOR, PRIOR_WEIGHT = 0.25, 0.0, 20.0
"""What is assumed before anything was pooled. It only matters while every topic is learning."""

CHI2_MEDIAN = 0.4549
"""Of one degree of freedom: the median of a standard normal's square."""


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
    share_wander: float = 0.0
    """Variance of a topic's daily negative share beyond its events' noise, over p (1 - p)."""
    polarity_noise: float = 1.0
    """Variance of an event's soft polarity over that of a label's, as measured; 1 or less."""
    polarity_wander: float = 0.0
    """Variance of a topic's daily polarity beyond its events' noise."""
    scale: tuple[float, float] = (1.25, 1.25)
    """Robust sd of past spike scores over 3 h and 24 h; 1 if events were independent. Starts a little wide."""


class History:
    """Arrays over topics (the first `len(names)` entries of each are in use); capacity grows by doubling."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], int]]] = {
        # name: (leading axes, trailing axes, type, fill); the topics' axis is between the axes
        "ring": ((RING,), (3,), np.int32, 0),
        "hour_now": ((), (3,), np.int64, 0),
        "profile": ((CLASSES,), (3,), np.int64, 0),
        "base": ((), (3,), np.int64, 0),
        "day_ring": ((DAYS,), (3,), np.int64, 0),
        "day_aside": ((DAYS,), (), np.bool_, 0),
        "day_now": ((), (3,), np.int64, 0),
        "aside_now": ((), (), np.bool_, 0),
        "gap": ((), (), np.int64, 0),
        "gap_now": ((), (), np.int64, 0),
        "gap_ring": ((GAP_DAYS,), (), np.int64, 0),
        "first_hour": ((), (), np.int64, 0),
        "last_hour": ((), (), np.int64, 0),
        "last_story": ((), (), np.int64, 0),
        "several_sources": ((), (), np.bool_, 0),
        "steady": ((), (), np.bool_, 0),
        "drift_from": ((), (), np.int64, 0),
        "drift_until": ((), (), np.int64, 0),
        "drift_share": ((), (), np.float64, 0),
        "residual": ((2,), (), np.int16, -1),
    }
    ring: npt.NDArray[np.int32]
    """(hour, topic, sum): events, negative, positive of closed running hours, hour k in row k mod RING."""
    hour_now: IntArray
    """(topic, sum) of the open hour."""
    profile: IntArray
    """(class, topic, sum) over the 28 days before the last 24 h."""
    base: IntArray
    """(topic, sum): `profile` over all classes."""
    day_ring: IntArray
    day_aside: BoolArray
    """(day, topic): a spike was firing, so the day says nothing of drift."""
    day_now: IntArray
    aside_now: BoolArray
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
    drift_from: IntArray
    """Running day from which on drift looks: its last reset."""
    drift_until: IntArray
    drift_share: FloatArray
    """Until that running day a spike must rise above this share: what a drift alert has reported already."""
    residual: npt.NDArray[np.int16]
    """(window, topic): the hour's last spike score before scaling, as a bin of its size; -1 for none."""

    def __init__(self, capacity: int = 16) -> None:
        self.capacity = capacity
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.first_source: list[str | None] = []
        self.hour = -1  # the open hour, in hours since 1970
        self.hours = 0  # closed running hours
        self.day = -1  # the open UTC day, in days since 1970
        self.days = 0  # closed running days
        self.ring_hour: IntArray = np.zeros(RING, np.int64)
        self.class_hours: IntArray = np.zeros(CLASSES, np.int64)
        self.day_number: IntArray = np.zeros(DAYS, np.int64)
        self.feed: IntArray = np.zeros((24, 2), np.int64)  # the last 24 hours: events seen, and events expected
        self.looks: IntArray = np.zeros((LOOK_DAYS, 2, BINS), np.int64)  # a day's residuals: window, bin of size
        self.looks_now: IntArray = np.zeros((2, BINS), np.int64)
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            setattr(self, name, np.full((*lead, capacity, *trail), fill, kind))

    def topic(self, name: str) -> int:
        """The index of a topic; a name not seen before gets the next one."""
        found = self.index.get(name)
        if found is None:
            found = self.index[name] = len(self.names)
            self.names.append(name)
            self.first_source.append(None)
            if found == self.capacity:
                self._grow()
            self.first_hour[found] = self.hours
        return found

    def _grow(self) -> None:
        old, self.capacity = self.capacity, self.capacity * 2
        for name, (lead, trail, kind, fill) in self.ARRAYS.items():
            grown = np.full((*lead, self.capacity, *trail), fill, kind)
            grown[(slice(None),) * len(lead) + (slice(0, old),)] = getattr(self, name)
            setattr(self, name, grown)

    def add(self, topics: IntArray, values: IntArray, end: int) -> None:
        """Adds a bucket's (topics, 3) events, negative, positive to the open hour and day; ends the topics' gaps."""
        self.hour_now[topics] += values
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
            self.profile[old, :n] -= self.ring[slot, :n]
            self.base[:n] -= self.ring[slot, :n]
            self.class_hours[old] -= 1
        expected = self.expected_events()
        pooled = slice(None) if ALL not in self.index else np.arange(n) != self.index[ALL]
        self.feed[k % 24] = self.hour_now[:n, EVENTS][pooled].sum(), expected[pooled].sum()
        self.ring[slot, :n] = self.hour_now[:n]
        self.ring_hour[slot] = self.hour
        self.hour_now[:n] = 0
        if aged >= 0:
            entering = aged % RING
            new = hour_class(int(self.ring_hour[entering]))
            self.profile[new, :n] += self.ring[entering, :n]
            self.base[:n] += self.ring[entering, :n]
            self.class_hours[new] += 1
        for window in (0, 1):
            looked = self.residual[window, :n][pooled]
            self.looks_now[window] += np.bincount(looked[looked >= 0], minlength=BINS)
        self.residual[:, :n] = -1
        self.hours += 1
        # A topic that is quiet while the whole feed is (a holiday) has not stopped: expectation falls with the feed's.
        seen, usual = (int(x) for x in self.feed.sum(axis=0))
        quiet = self.last_hour[:n] < self.hours - 1
        self.gap[:n] += np.where(quiet, expected * min(seen, usual) // max(usual, 1), 0)

    def expected_events(self) -> IntArray:
        """Events expected of each topic in the open hour, by the profile of its class."""
        kind = hour_class(self.hour)
        rate: IntArray = self.profile[kind, : len(self.names), EVENTS] // max(int(self.class_hours[kind]), 1)
        return rate

    def close_day(self) -> None:
        """Moves the open day into the rings of days."""
        n, slot = len(self.names), self.days % DAYS
        self.day_ring[slot, :n] = self.day_now[:n]
        self.day_aside[slot, :n] = self.aside_now[:n]
        self.day_number[slot] = self.day
        self.looks[self.days % LOOK_DAYS] = self.looks_now
        self.looks_now[:] = 0
        self.gap_ring[self.days % GAP_DAYS, :n] = self.gap_now[:n]
        self.day_now[:n] = 0
        self.gap_now[:n] = 0
        self.aside_now[:n] = False
        self.days += 1
        active = (self.day_ring[self.last_days(GAP_DAYS), :n, EVENTS] > 0).sum(axis=0)
        known = np.minimum((self.hours - self.first_hour[:n]) // 24, GAP_DAYS)
        # On 3 of 5 days at least, which a topic of working days passes.
        self.steady[:n] = (active >= 10) & (5 * active >= 3 * known) & (self.base[:n, EVENTS] >= 28 * UNIT)

    def last_days(self, count: int) -> IntArray:
        """Rows of `day_ring` that hold the last closed days, oldest first."""
        return np.arange(max(self.days - min(count, DAYS), 0), self.days) % DAYS

    def usual(self, pool: Pool) -> tuple[FloatArray, FloatArray]:
        """Expected negative share and polarity of each topic in the open hour.

        Shrunk twice (empirical Bayes): the hour class to the topic's own, the topic's own to the pool's.
        """
        n, kind = len(self.names), hour_class(self.hour)
        own, like = self.base[:n] / UNIT, self.profile[kind, :n] / UNIT
        weight = own[:, EVENTS] + pool.weight
        share = (own[:, NEGATIVE] + pool.weight * pool.share) / weight
        polarity = (own[:, POSITIVE] - own[:, NEGATIVE] + pool.weight * pool.polarity) / weight
        weight = like[:, EVENTS] + HOUR_PRIOR
        share = (like[:, NEGATIVE] + HOUR_PRIOR * share) / weight
        polarity = (like[:, POSITIVE] - like[:, NEGATIVE] + HOUR_PRIOR * polarity) / weight
        reported = np.where(self.drift_until[:n] > self.days, self.drift_share[:n], 0.0)
        return np.maximum(share, reported), polarity


def estimate(history: History, scale: tuple[float, float]) -> Pool:
    """The pool's view of share, polarity and noise, from closed hours and days; `scale` comes from the detector."""
    n = len(history.names)
    pooled = np.ones(n, bool)
    if ALL in history.index:
        pooled[history.index[ALL]] = False
    base = history.base[:n] / UNIT
    base = base[pooled & (base[:, EVENTS] >= 10)]
    if len(base) < 3:
        return Pool(scale=scale)
    events = base[:, EVENTS]
    shares = base[:, NEGATIVE] / events
    share = float(shares.mean())
    polarity = float(((base[:, POSITIVE] - base[:, NEGATIVE]) / events).mean())
    # Method of moments for a beta distribution of shares: their variance less the binomial's is the topics' own.
    binomial = share * (1 - share)
    between = max(float(shares.var()) - float((binomial / events).mean()), 1e-4)
    weight = min(max(binomial / between - 1, 3.0), 60.0)

    days = history.last_days(DAYS)
    sums = history.day_ring[days, :n][:, pooled] / UNIT
    good = (sums[..., EVENTS] >= 3) & ~history.day_aside[days, :n][:, pooled]
    kept = np.where(good[..., None], sums, 0.0)
    total = kept.sum(axis=0)
    own = np.maximum(total[:, EVENTS], 1e-9)
    p = np.clip(total[:, NEGATIVE] / own, 0.02, 0.98)
    mean = (total[:, POSITIVE] - total[:, NEGATIVE]) / own
    noise = event_noise(total)
    divisor = np.where(good, sums[..., EVENTS], 1.0)
    off_share = (sums[..., NEGATIVE] / divisor - p) / np.sqrt(p * (1 - p))
    off_polarity = (sums[..., POSITIVE] - sums[..., NEGATIVE]) / divisor - mean
    daily_noise = (noise / divisor)[good]
    polarity_noise = softness(off_polarity[good], daily_noise)
    daily_wander = wandering(off_polarity[good], polarity_noise * daily_noise)
    return Pool(
        share=share,
        polarity=polarity,
        weight=weight,
        share_wander=wandering(off_share[good], (1 / divisor)[good]),
        polarity_noise=polarity_noise,
        polarity_wander=max(daily_wander, WEEK * weekly_wandering(kept, mean, noise * polarity_noise)),
        scale=scale,
    )


def weekly_wandering(kept: FloatArray, mean: FloatArray, noise: FloatArray) -> float:
    """The variance of a topic's weekly polarity about its `mean`, beyond its events' noise.

    `kept`: (day, topic, 3) sums, oldest day first; `noise`: variance of one event's polarity, by topic. Where days
    wander independently this is a seventh of a day's; where a topic stays away for days it is more, and a test that
    sums days has to know: summed over many days, only what persists adds up. A topic's own mean is drawn towards its
    weeks, k of which vary by (k - 1) / k less about it.
    """
    weeks = len(kept) // WEEK
    if weeks < 2:
        return 0.0
    sums = kept[len(kept) - weeks * WEEK :].reshape(weeks, WEEK, *kept.shape[1:]).sum(axis=1)
    good = sums[..., EVENTS] >= WEEK
    events = np.where(good, sums[..., EVENTS], 1.0)
    off = (sums[..., POSITIVE] - sums[..., NEGATIVE]) / events - mean
    return wandering((off * np.sqrt(weeks / (weeks - 1)))[good], (noise / events)[good])


def event_noise(sums: FloatArray) -> FloatArray:
    """Variance of one event's polarity by (..., 3) sums: that of a label -1, 0, 1 drawn at the topic's shares.

    Soft scores vary less than labels, so this never understates the noise of independent events.
    """
    events = np.maximum(sums[..., EVENTS], 1e-9)
    mean = (sums[..., POSITIVE] - sums[..., NEGATIVE]) / events
    noise: FloatArray = np.maximum((sums[..., POSITIVE] + sums[..., NEGATIVE]) / events - mean * mean, 0.05)
    return noise


def softness(off: FloatArray, noise: FloatArray) -> float:
    """The factor in 0.56..1 by which `noise`, a label's, overstates the deviations `off`; 1 with fewer than 30."""
    if len(off) < 30:
        return 1.0
    return min(max(float(np.median(off * off / noise)) / CHI2_MEDIAN, 0.5625), 1.0)


def wandering(off: FloatArray, noise: FloatArray) -> float:
    """The variance t >= 0 at which deviations `off`, of variance `noise` + t, have a normal's median size.

    By bisection on the median of squares (a MAD that knows each deviation's own noise); a crisis on a few of the
    days does not move it. 0 with fewer than 30 deviations.
    """
    if len(off) < 30:
        return 0.0
    squares, low, high = off * off, 0.0, float((off * off).max())
    if np.median(squares / noise) <= CHI2_MEDIAN:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        if np.median(squares / (noise + middle)) > CHI2_MEDIAN:
            low = middle
        else:
            high = middle
    return high
