"""How much the events of a bucket weigh, by how often their sources were heard lately.

Repeats of one source count less, and less still where no other source has news: a swarm of one source is no crisis.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays
from foreshock.monitor.buckets import SourceSums
from foreshock.monitor.units import UNIT

SLOTS = 12
"""Sources of a topic that are remembered; the least frequent makes room for a new one."""
FADE, LONG = 12 * 60.0, 30 * 24 * 60.0
"""Minutes in which a source's earlier events fade to 1/e: those of late, and those that say what is usual of it."""
KNOWN = 3 * 24 * 60.0
"""Minutes of a topic's past that are taken to be known at least, when a source's usual events are reckoned."""
HABIT = 2.0
"""So many times its usual events of late are a source's habit, and no repeats."""
REPEAT, OTHERS = 3.0, 0.5
"""A source's event weighs 1 / (1 + REPEAT (own / (1 + OTHERS others))^2): `own` and `others` are its faded earlier
events beyond its habit, and those of all other sources of the topic. A new source that is alone counts 1, 1/4, 1/13,
...; one among many others counts nearly in full, and so does one that brings what it always brings."""
REPEATS = 8
"""Events of one source in one bucket that are counted one by one; the sum of further ones is an integral."""
BINS = 1024
"""Sources of the feed are counted in so many bins."""
FEED_DAYS = 30.0
"""Days in which what is known of the feed's sources fades to 1/e."""


def source_number(name: str) -> int:
    """Return what a source is known by."""
    return zlib.crc32(name.encode())


def source_parts(
    values: FloatArray, sources: Sequence[Sequence[str]], by_source: Sequence[Sequence[SourceSums]] | None
) -> FloatArray:
    """Return (turn, topic, sum): events, negative and positive of each topic's sources in turn, in events.

    `values`: (topic, sum) of all sources. Where it is not known what each contributes, they share equally.
    """
    widest = max((len(group) for group in sources), default=1)
    if widest <= 1:
        return values[None]
    number = np.array([max(len(group), 1) for group in sources], np.int64)
    parts = np.where(np.arange(widest)[:, None, None] < number[:, None], values / number[:, None], 0.0)
    for place, group in enumerate(by_source or ()):
        for turn, part in enumerate(group):
            parts[turn, place] = part.events, part.negative / UNIT, part.positive / UNIT
    return parts


def _rest(many: FloatArray, beyond: FloatArray, damped: FloatArray) -> FloatArray:
    """Return what a source's events beyond `REPEATS` of a bucket weigh together: the integral of their weights.

    It has a bound, so no number of events in one bucket weighs more. `beyond`: earlier events beyond its habit.
    """
    first, last = beyond + REPEATS - 0.5, beyond + np.maximum(many, REPEATS) - 0.5
    habitual = np.minimum(last, 0) - np.minimum(first, 0)
    scale = REPEAT**0.5 / damped
    found: FloatArray = (
        habitual + (np.arctan(scale * np.maximum(last, 0)) - np.arctan(scale * np.maximum(first, 0))) / scale
    )
    return found


class Repeats(TopicArrays):
    """The sources of each topic that are heard most, and those of the feed."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "source": ((), (SLOTS,), np.int64, -1),
        "late": ((), (SLOTS,), np.float64, 0),
        "long": ((), (SLOTS,), np.float64, 0),
        "at": ((), (SLOTS,), np.int64, 0),
    }
    PLAIN = ("heard",)
    source: IntArray
    late: FloatArray
    long: FloatArray
    at: IntArray
    """(topic, slot): a source, its events faded by `FADE` and by `LONG`, and the running minute of these."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.heard: FloatArray = np.zeros(BINS)  # events of the feed's sources, by a hash of their names

    def weigh(
        self,
        topics: IntArray,
        parts: FloatArray,
        sources: tuple[tuple[str, ...], ...],
        everything: int,
        minute: int,
        age: IntArray,
        trust: Mapping[int, float] = {},
    ) -> FloatArray:
        """Return what weighs of each topic's events, negative and positive of a bucket: (topic, sum), 0 to 1.

        Each source's part weighs by how often it was heard lately, and by how much it is trusted. So a swarm of one
        mood weighs little, whatever others say meanwhile.

        `parts`: (turn, topic, sum) of each topic's sources in turn. `age`: minutes since each topic's first story.
        `everything`: the place in `topics` of the series of all stories, or -1. `trust`: by `source_number`.
        """
        found, events = np.zeros((len(topics), 3)), parts[..., 0].sum(axis=0)
        names = [[source_number(name) for name in (group or ("",))] for group in sources]
        heard_now: list[tuple[IntArray, FloatArray]] = []
        widest = max(map(len, names), default=0)
        heard = max(float(self.heard.sum()), 1.0)
        passed = self.at[topics] - minute
        self.late[topics] *= np.exp(passed / FADE)
        self.long[topics] *= np.exp(passed / LONG)
        habit = HABIT * FADE / (LONG * -np.expm1(-np.maximum(age, KNOWN) / LONG))
        self.at[topics] = minute
        number = np.array([len(group) for group in names], float)
        total = self.late[topics].sum(axis=1)
        for turn in range(widest):
            rows = np.flatnonzero(number > turn)
            who = np.array([names[row][turn] for row in rows.tolist()], np.int64)
            there = topics[rows]
            known = self.source[there] == who[:, None]
            slot = np.where(known.any(axis=1), known.argmax(axis=1), self.late[there].argmin(axis=1))
            known = known.any(axis=1)
            own, long = (np.where(known, a[there, slot], 0.0) for a in (self.late, self.long))
            usual = habit[rows] * long
            many = parts[turn, rows, 0]
            others = np.maximum(total[rows] - own + (events[rows] - many), 0)
            repeated, one = np.zeros(len(rows)), np.zeros(len(rows))
            share = (self.heard[who % BINS] / heard) ** 3
            shared, damped, most = 1 - share, 1 + OTHERS * others, many.max()
            for repeat in range(REPEATS):
                if most <= repeat:
                    break
                part = np.minimum(np.maximum(many - repeat, 0.0), 1.0)
                beyond = np.maximum(own + repeat - usual, 0) / damped
                one = share + shared / (1 + REPEAT * beyond**2)
                repeated += part * one
            if most > REPEATS:
                repeated += share * np.maximum(many - REPEATS, 0) + shared * _rest(many, own - usual, damped)
            weight = repeated / np.maximum(many, 1e-9)
            here = slice(None) if everything < 0 else rows == everything
            heard_now.append((who[here] % BINS, repeated[here]))
            if trust:
                weight *= [trust.get(source, 1.0) for source in who.tolist()]
            found[rows] += weight[:, None] * parts[turn, rows]
            self.source[there, slot] = who
            self.late[there, slot], self.long[there, slot] = own + many, long + many
        # As it weighs, and only for the buckets to come: nobody becomes the feed's main source by one flood.
        for who, repeated in heard_now:
            for source, heavy in zip(who.tolist(), repeated.tolist(), strict=True):
                self.heard[source] += heavy
        sums = parts.sum(axis=0)
        # Where there is no mass of a mood, its weight does not matter.
        weights: FloatArray = found / np.where(sums > 0, sums, 1.0)
        return weights

    def close_day(self) -> None:
        """Let what is known of the feed's sources fade."""
        self.heard *= np.exp(-1 / FEED_DAYS)
