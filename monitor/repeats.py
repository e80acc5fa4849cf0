"""How much the events of a bucket weigh, by how often their sources were heard lately.

Repeats of one source count less, and less still where no other source has news: a swarm of one source is no crisis.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays

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
"""Events of one source in one bucket that are counted one by one; further ones weigh as the last of them."""
BINS = 1024
"""Sources of the feed are counted in so many bins."""
FEED_DAYS = 30.0
"""Days in which what is known of the feed's sources fades to 1/e."""


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
        events: FloatArray,
        sources: tuple[tuple[str, ...], ...],
        everything: int,
        minute: int,
        age: IntArray,
    ) -> FloatArray:
        """What each of a topic's events of a bucket weighs, by how often its sources were heard lately.

        `events`: how many there are. `age`: minutes since each topic's first story. `everything`: the place in
        `topics` of the series of all stories, or -1.
        """
        found = np.zeros(len(topics))
        names = [[zlib.crc32(name.encode()) for name in (group or ("",))] for group in sources]
        whole = range(len(topics)) if everything < 0 else [everything]
        for place in whole:
            for name in names[place]:
                self.heard[name % BINS] += events[place] / len(names[place])
        widest = max(map(len, names), default=0)
        heard = max(float(self.heard.sum()), 1.0)
        passed = self.at[topics] - minute
        self.late[topics] *= np.exp(passed / FADE)
        self.long[topics] *= np.exp(passed / LONG)
        habit = HABIT * FADE / (LONG * -np.expm1(-np.maximum(age, KNOWN) / LONG))
        self.at[topics] = minute
        number = np.array([len(group) for group in names], float)
        each = events / number
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
            many = each[rows]
            others = np.maximum(total[rows] - own + many * (number[rows] - 1), 0)
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
                repeated += one * np.maximum(many - REPEATS, 0)
            found[rows] += repeated
            self.source[there, slot] = who
            self.late[there, slot], self.long[there, slot] = own + many, long + many
        return found / np.maximum(events, 1e-9)

    def close_day(self) -> None:
        """Let what is known of the feed's sources fade."""
        self.heard *= np.exp(-1 / FEED_DAYS)
