"""Feeds made for measuring detectors: counts of events an hour, whose noise and changes are known.

    feed = make("wandering", seed=1, topics=30, days=165)

Feeds do not depend on any detector, only on kind, seed, size and planted changes. Where nothing is planted, a feed
equals the one without changes, so that finds and false alarms can be compared pair by pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 20_003 * DAY
"""A Monday."""
UNIT = 10_000

PROTOTYPE_KINDS = (
    *("independent", "wandering", "strongly_wandering", "clusters", "weekly"),
    *("random_walk", "starts_in_crisis", "noise_doubles", "unequal", "common_shocks"),
)
"""Noise that the method was first tried on."""
OWN_KINDS = (
    *("nights", "trading_days", "bursts", "born_late", "long_gap", "sparse", "busy", "mixed_rates"),
    "one_sided",
)
"""Noise that nobody tried it on."""
KINDS = PROTOTYPE_KINDS + OWN_KINDS

ONE_SIDED = (0.0, 0.005, 0.02, 0.1, 0.3, 0.9, 1.0)
"""Shares of topics whose stories hardly ever differ, by a scorer that is always sure."""
GAP = (60, 90)
"""Days between which nothing comes in a `long_gap`."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Counts over (hour, topic)."""

    start: int
    """Microseconds; the first hour's start."""
    events: Counts
    """Independent events."""
    negative: Counts
    """Sums of the events' negative probabilities, in 1/10,000."""
    positive: Counts
    share: Floats
    """(topic,): each topic's usual share of negative events, as the oracle is told."""
    copies: Counts
    """Negative stories that only repeat an event: whoever counts stories sees them, whoever counts events does not."""

    @property
    def topics(self) -> int:
        return self.events.shape[1]

    @property
    def hours(self) -> int:
        return self.events.shape[0]


class Change(NamedTuple):
    """What is put into a topic from some day on: until `length` days later, its share rises by `points` over `ramp`
    days, its events come `rate` times as often; or it is a decoy, and no change at all."""

    name: str
    points: float = 0.0
    ramp: float = 0.0
    length: float = 14.0
    rate: float = 1.0
    copies: int = 0
    """Copies of one negative story, in the hour after the beginning."""
    decoy: bool = False


CHANGES = (
    Change("sudden_10", points=0.10),
    Change("sudden_20", points=0.20),
    Change("sudden_40", points=0.40, length=7),
    Change("slow_20", points=0.20, ramp=14, length=28),
    Change("short_40", points=0.40, length=0.125),
    Change("volume_4x", rate=4.0, length=3),
    Change("silence", rate=0.0, length=10),
    Change("copies_60", copies=60, length=1, decoy=True),
    Change("busy_neutral", rate=5.0, length=1, decoy=True),
)

Planted = Mapping[int, tuple[Change, float]]
"""By topic: a change, and the day on which it begins."""


def make(kind: str, seed: int, topics: int, days: int, planted: Planted | None = None) -> Feed:
    """Make a feed of one kind of noise with `planted` changes. Raises ValueError for a kind that is not in `KINDS`."""
    rng = np.random.default_rng([seed, KINDS.index(kind), topics, days])
    hours = days * 24
    rate, share = _rate(kind, rng, topics), rng.beta(10, 26, topics)
    if kind == "one_sided":
        share = rng.choice(ONE_SIDED, topics).clip(1e-9, 1 - 1e-9)
    busy = _rhythm(kind, hours)[:, None] * rate
    if kind == "born_late":  # every second topic
        born = np.where(np.arange(topics) % 2, rng.integers(20, 80, topics) * 24, 0)
        busy = np.where(np.arange(hours)[:, None] >= born, busy, 0.0)
    logit = np.log(share / (1 - share)) + _noise(kind, rng, hours, topics)
    probability = 1 / (1 + np.exp(-logit))
    feed = _draw(kind, rng, busy, probability, share)
    return _plant(feed, kind, np.random.default_rng([seed, 999]), busy, probability, planted) if planted else feed


def _plant(
    feed: Feed, kind: str, rng: np.random.Generator, busy: Floats, probability: Floats, planted: Planted
) -> Feed:
    """Return the feed, drawn again only where something changes."""
    events, negative, positive = (np.copy(a) for a in (feed.events, feed.negative, feed.positive))
    copies = np.zeros_like(events)
    for topic, (change, begins) in planted.items():
        first, last = math.ceil(begins * 24), min(math.ceil((begins + change.length) * 24), feed.hours)
        there, one = slice(first, last), slice(topic, topic + 1)
        since = (np.arange(first, last) - begins * 24) / 24
        rise = change.points * (np.minimum(since / change.ramp, 1) if change.ramp else np.ones_like(since))
        drawn = _draw(
            kind, rng, busy[there, one] * change.rate, probability[there, one] + rise[:, None], feed.share[one]
        )
        events[there, one], negative[there, one], positive[there, one] = drawn.events, drawn.negative, drawn.positive
        if change.copies:
            events[first, topic] += 1
            negative[first, topic] += 9_000
            positive[first, topic] += 300
            copies[first, topic] = change.copies - 1
    return replace(feed, events=events, negative=negative, positive=positive, copies=copies)


def resample(feed: Feed, seed: int, days: int, block: int = 7) -> Feed:
    """Make a feed of `days` from blocks of `block` days of another feed, drawn with replacement, with all its topics.

    Changes between weeks disappear. What happens within weeks (rhythms, bursts, common news) stays. Blocks begin on the
    weekday of the feed's start.
    """
    rng = np.random.default_rng([seed, feed.hours, days])
    hours = block * 24
    first = rng.integers(0, feed.hours // hours, -(-days // block)) * hours
    rows = (first[:, None] + np.arange(hours)).ravel()[: days * 24]
    return replace(
        feed,
        events=feed.events[rows],
        negative=feed.negative[rows],
        positive=feed.positive[rows],
        copies=feed.copies[rows],
    )


def _rate(kind: str, rng: np.random.Generator, topics: int) -> Floats:
    """Events an hour."""
    if kind == "sparse":
        return np.full(topics, 0.05)
    if kind == "busy":
        return np.exp(rng.uniform(math.log(20), math.log(500), topics))
    if kind == "mixed_rates":
        return np.exp(rng.uniform(math.log(0.05), math.log(500), topics))
    return np.exp(rng.normal(math.log(12), 0.8, topics)).clip(2, 80) / 24


def _rhythm(kind: str, hours: int) -> Floats:
    """Return the events of each hour over the mean."""
    hour = np.arange(hours)
    weekend = hour // 24 % 7 >= 5
    shape = 0.25 + np.exp(-0.5 * ((hour % 24 - 14) / 4.5) ** 2)
    busy = shape / shape.mean() * np.where(weekend, 0.4, 1.24)
    if kind == "nights":  # nothing between 22:00 and 6:00, and a clock that goes forward on the 80th day
        local = (hour + (hour >= 80 * 24)) % 24
        busy = np.where((local >= 6) & (local < 22), 1.5, 0.0) * np.where(weekend, 0.7, 1.12)
    if kind == "trading_days":  # New York's hours; closed at weekends and on every tenth weekday
        holiday = hour // 24 % 14 == 9
        opened = (hour % 24 >= 13) & (hour % 24 < 21) & ~weekend & ~holiday
        busy = np.where(opened, 3.6, np.where(weekend | holiday, 0.05, 0.25))
    if kind == "long_gap":
        busy = np.where((hour >= GAP[0] * 24) & (hour < GAP[1] * 24), 0.0, busy)
    return busy


def _noise(kind: str, rng: np.random.Generator, hours: int, topics: int) -> Floats:
    """Return the wandering of the share's logit where nothing is planted, (hour, topic)."""
    hour = np.arange(hours)
    weekend = np.where(hour // 24 % 7 >= 5, 1.0, 0.0)[:, None]
    daily = np.sin(2 * np.pi * hour / 24)[:, None]
    still = np.zeros((hours, topics))
    if kind == "strongly_wandering":
        return autoregression(rng, hours, topics, 0.5, 0.97)
    if kind == "weekly":
        return still + 0.5 * weekend + 0.3 * daily
    if kind == "random_walk":
        return np.cumsum(rng.normal(0, 0.5 / math.sqrt(60 * 24), (hours, topics)), axis=0)
    if kind == "starts_in_crisis":
        return autoregression(rng, hours, topics, 0.25, 0.97) + np.where(hour < 5 * 24, 1.5, 0.0)[:, None]
    if kind == "noise_doubles":
        return autoregression(rng, hours, topics, 0.2, 0.97) * np.where(hour < hours * 0.6, 1, 2)[:, None]
    if kind == "unequal":
        return autoregression(rng, hours, topics, rng.uniform(0, 0.6, topics), 0.97)
    if kind == "common_shocks":
        return still + autoregression(rng, hours, 1, 0.3, 0.95)
    if kind in ("nights", "trading_days"):
        return autoregression(rng, hours, topics, 0.15, 0.97) + 0.4 * weekend + 0.4 * daily
    if kind in ("wandering", "busy", "mixed_rates"):
        return autoregression(rng, hours, topics, 0.25, 0.97)
    if kind in ("bursts", "born_late", "long_gap"):
        return autoregression(rng, hours, topics, 0.15, 0.97)
    return still


def _draw(kind: str, rng: np.random.Generator, busy: Floats, p: Floats, share: Floats) -> Feed:
    """Draw events and their sums from the expected events and the probability of being negative, (hour, topic)."""
    hours, topics = busy.shape
    p = p.clip(0.01, 0.97) if kind != "one_sided" else p
    if kind == "clusters":  # stories come in runs of one mood: their number is a Poisson's, their size heavy-tailed
        size = np.minimum(1 + rng.pareto(1.5, (hours, topics)), 12)
        events = np.rint(rng.poisson(busy / 2) * size).astype(np.int64)
        p = rng.beta(2 * p, 2 * (1 - p))
    elif kind == "bursts":  # now and then six hours bring ten to fifty times as much, of the usual mood
        begins = rng.random((hours, topics)) < 1 / (24 * 20)
        height = np.where(begins, 10 * (1 + rng.pareto(2.0, (hours, topics))).clip(1, 5), 0.0)
        much = np.max([np.roll(height, lag, axis=0) for lag in range(6)], axis=0)
        events = rng.poisson(busy * (1 + much))
    else:
        events = rng.poisson(busy)
    bad = rng.binomial(events, p)
    # An encoder's scores are soft: a negative story has about 0.9, another about 0.06.
    soft = 0.9 * bad + 0.06 * (events - bad) + rng.normal(0, 0.08, bad.shape) * np.sqrt(events)
    soft = np.asarray(1.0 * bad if kind == "one_sided" else soft.clip(0.01 * events, 0.99 * events))
    negative = np.rint(soft * UNIT).astype(np.int64)
    positive = (events * UNIT - negative) // 3
    return Feed(START, events.astype(np.int64), negative, positive, share, np.zeros_like(negative))


def autoregression(rng: np.random.Generator, hours: int, topics: int, sd: Floats | float, phi: float) -> Floats:
    """Return a stationary AR(1) with this standard deviation, (hour, topic)."""
    out = np.empty((hours, topics))
    x = rng.normal(size=topics)
    steps = rng.normal(size=(hours, topics)) * math.sqrt(1 - phi * phi)
    for hour in range(hours):
        x = phi * x + steps[hour]
        out[hour] = x
    return out * sd
