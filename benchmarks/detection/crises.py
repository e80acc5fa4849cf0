"""Company feeds made for measuring surges: single stories with sources and moods, crises and decoys put into them.

    feed = make(seed=1)                       # 200 companies, from one story a month to 30 a day
    feed = make(seed=1, planted=plan(seed=1)) # the same stories, and crises and decoys besides

The feed does not depend on any detector. Where nothing is planted, it equals the feed without crises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DAY = 24 * 60
START_DAY = 20_003
"""Days since 1970; a Monday."""
SOURCES = 14
DAYS = 100
SETTLED = 40
"""Day from which on things are planted and alarms are counted."""
KINDS = ("companies", "bursty", "rare", "born_late", "one_source")
"""Kinds of feeds: ordinary companies; everyday events of two to six stories of one mood, results and launches; 300
topics of which most have a story a month; every third topic born after day 30; a newspaper's, with one source."""


class Stories(NamedTuple):
    """Independent events in order of time."""

    minute: npt.NDArray[np.int64]
    topic: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]
    negative: npt.NDArray[np.float64]
    """Negative probability."""


class Planted(NamedTuple):
    """A crisis or a decoy that is planted into a topic."""

    kind: str
    topic: int
    minute: int
    until: int
    """Minute until which an alert is taken to tell of it."""
    stories: Stories
    bad: int
    """How many of the stories are negative."""

    @property
    def decoy(self) -> bool:
        return self.kind in DECOYS


@dataclass(frozen=True, slots=True)
class Feed:
    topics: int
    days: int
    stories: Stories
    planted: tuple[Planted, ...]
    rate: npt.NDArray[np.float64]
    """(topic,): usual events a day."""
    share: npt.NDArray[np.float64]
    """(topic,): usual share of negative events."""


CRISES = ("explosive", "smouldering", "sparse", "sudden", "second_day", "few_sources")
DECOYS = ("swarm", "good_burst", "dull_burst", "results", "edits", "copies_60")


def make(
    seed: int, kind: str = "companies", topics: int = 200, days: int = DAYS, planted: Sequence[Planted] = ()
) -> Feed:
    rng = np.random.default_rng([seed, KINDS.index(kind), topics, days])
    low, high = math.log(1 / 30), math.log(30)
    rate = np.exp(rng.uniform(low, high, topics))
    if kind == "rare":
        rate = np.where(rng.random(topics) < 0.8, np.exp(rng.uniform(math.log(1 / 60), math.log(0.3), topics)), rate)
    share = rng.beta(6, 16, topics)
    born = np.where((np.arange(topics) % 3 == 0) & (kind == "born_late"), rng.integers(30, days - 10, topics), 0)
    parts = [
        _topic(rng, topic, float(rate[topic]), float(share[topic]), int(born[topic]), days, kind)
        for topic in range(topics)
    ]
    parts += [p.stories for p in planted]
    minute, topic, source = (np.concatenate([part[i] for part in parts]) for i in range(3))
    negative = np.concatenate([part.negative for part in parts])
    order = np.lexsort((source, topic, minute))
    order = order[(minute[order] >= 0) & (minute[order] < days * DAY)]
    stories = Stories(
        minute[order].astype(np.int64), topic[order].astype(np.int64), source[order].astype(np.int64), negative[order]
    )
    return Feed(topics, days, stories, tuple(planted), rate, share)


def plan(seed: int, kind: str = "companies", topics: int = 200, days: int = DAYS, each: int = 5) -> list[Planted]:
    """Crises and decoys, `each` of a kind, at any time of the settled days but the last week, each in another topic."""
    quiet = make(seed, kind, topics, days)
    rng = np.random.default_rng([seed, 77, topics, KINDS.index(kind)])
    places = rng.permutation(topics).tolist()
    of_many = ("swarm", "edits", "few_sources")
    kinds = [name for name in (*CRISES, *DECOYS) if kind != "one_source" or name not in of_many]
    found = []
    for name in kinds * each:
        wanted = next((t for t in places if name != "sparse" or quiet.rate[t] < 1 / 7), None)
        if wanted is None:
            break
        places.remove(wanted)
        minute = int(rng.uniform(SETTLED * DAY, (days - 8) * DAY))
        found.append(plant(rng, name, wanted, minute, float(quiet.share[wanted]), kind))
    return found


def plant(rng: np.random.Generator, name: str, topic: int, minute: int, share: float, kind: str) -> Planted:
    sources = 1 if kind == "one_source" else SOURCES
    hours, mood = np.zeros(0), np.zeros(0, bool)
    who: npt.NDArray[np.int64] | None = None
    until = 3 * DAY
    if name == "explosive":
        n = int(rng.integers(10, 41))
        hours = np.minimum(rng.exponential(3.0, n), 8)
        mood = rng.random(n) < rng.uniform(0.65, 0.9)
    elif name == "smouldering":
        first = rng.uniform(0.7, 1.5)
        numbers = rng.poisson(first * 2.0 ** np.arange(5))
        hours = np.concatenate([24 * day + rng.uniform(0, 24, k) for day, k in enumerate(numbers)])
        mood = rng.random(len(hours)) < rng.uniform(0.6, 0.85)
        until = 6 * DAY
    elif name == "sparse":
        n = int(rng.integers(3, 7))
        hours = rng.uniform(0, 24, n)
        mood = rng.random(n) < 0.95
    elif name == "sudden":
        n = int(rng.integers(6, 13))
        hours = rng.uniform(0, 1, n)
        mood = rng.random(n) < 0.85
    elif name == "second_day":
        n = int(rng.integers(8, 20))
        hours = np.concatenate([rng.uniform(0, 4, 2), 24 + np.minimum(rng.exponential(4.0, n), 14)])
        mood = rng.random(len(hours)) < 0.8
    elif name == "few_sources":
        n = int(rng.integers(10, 25))
        hours = np.minimum(rng.exponential(4.0, n), 12)
        mood = rng.random(n) < 0.85
        who = rng.choice(rng.choice(SOURCES, 4, replace=False), n)
    elif name == "swarm":
        hours, mood = rng.uniform(0, 3, 30), np.ones(30, bool)
        who = np.full(30, rng.integers(SOURCES))
    elif name == "edits":
        hours, mood = rng.uniform(0, 6, 9), np.ones(9, bool)
        who = np.full(9, rng.integers(SOURCES))
    elif name == "good_burst":
        hours, mood = np.minimum(rng.exponential(3.0, 25), 10), np.zeros(25, bool)
    elif name == "dull_burst":
        hours, mood = np.minimum(rng.exponential(3.0, 25), 10), rng.random(25) < 0.06
    elif name == "results":
        n = int(rng.integers(8, 26))
        hours, mood = np.minimum(rng.exponential(3.0, n), 10), rng.random(n) < share
    elif name == "copies_60":
        hours, mood = np.zeros(1), np.ones(1, bool)
    n = len(hours)
    if who is None:
        who = rng.choice(sources, n, p=_weights(sources))
    order = np.argsort(hours)
    times = minute + np.rint(hours[order] * 60).astype(np.int64)
    stories = Stories(times, np.full(n, topic), who[order].astype(np.int64), scores(rng, mood[order]))
    begins = int(times[mood[order]][0]) if mood.any() else minute
    return Planted(name, topic, begins, minute + until, stories, int(mood.sum()))


def scores(rng: np.random.Generator, bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Negative probabilities as an encoder gives them: sure in most cases, wrong or unsure in one of twelve."""
    found = np.where(bad, rng.beta(12, 1.2, len(bad)), rng.beta(1.0, 14, len(bad)))
    unsure = rng.random(len(bad)) < 1 / 12
    given: npt.NDArray[np.float64] = np.where(unsure, rng.beta(2, 2, len(bad)), found)
    return given


def _weights(sources: int) -> npt.NDArray[np.float64]:
    weight = 1 / (1 + np.arange(sources)) ** 0.7
    parts: npt.NDArray[np.float64] = weight / weight.sum()
    return parts


def _topic(rng: np.random.Generator, topic: int, rate: float, share: float, born: int, days: int, kind: str) -> Stories:
    """A topic's ordinary stories: happenings, each of one mood, reported by one story or by a few within hours."""
    sources = 1 if kind == "one_source" else SOURCES
    bursty = kind == "bursty"
    several = 0.5 if bursty else 0.15
    mean = 1 + several * (2.7 if bursty else 1.4)
    wander = 0.0
    minutes, moods = list[float](), list[bool]()
    results = set(range(int(rng.integers(90)), days, 91))
    launches = set(np.flatnonzero(rng.random(days) < (1 / 45 if bursty else 1 / 150)).tolist())
    for day in range(born, days):
        wander = 0.9 * wander + 0.15 * rng.normal()
        logit = math.log(share / (1 - share)) + wander
        weekend = (START_DAY + 3 + day) % 7 >= 5
        number = rng.poisson(rate / mean * (0.35 if weekend else 1.26))
        for at in rng.triangular(3, 13, 22, number).tolist():
            k = 1
            if rng.random() < several:
                k += int(rng.integers(1, 6)) if bursty else int(rng.integers(1, 3))
            mood = rng.random() < 1 / (1 + math.exp(-logit))
            minutes += (day * DAY + 60 * (at + np.concatenate([[0.0], rng.exponential(3.0, k - 1)]))).tolist()
            moods += (np.where(rng.random(k) < 0.12, rng.random(k) < share, mood)).tolist()
        if (day in results and not weekend) or day in launches:
            much = rng.poisson((rate + 0.3) * rng.pareto(1.6) * 4) if rng.random() < 0.7 else 0
            much = min(int(much), 60)
            bad = share if day in results else 0.05
            if day in results and bursty:
                bad = float(rng.beta(8 * share, 8 * (1 - share)))
            hours = rng.triangular(6, 9, 20) + np.minimum(rng.exponential(2.5, much), 10)
            minutes += (day * DAY + 60 * hours).tolist()
            moods += (rng.random(much) < bad).tolist()
    n = len(minutes)
    who = rng.choice(sources, n, p=_weights(sources))
    times = np.array(minutes, np.float64).astype(np.int64)
    return Stories(times, np.full(n, topic), who, scores(rng, np.array(moods, bool)))
