"""How much the events of a bucket weigh, by how often their sources were heard lately.

Repeats of one source count less, and less still where no other source has news: a swarm of one source is no crisis.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays

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
FEW = 10.0
"""Events by which the part of a topic's earlier events that one source brought is drawn to none."""
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
        "at": ((), (), np.int64, 0),
    }
    PLAIN = ("heard",)
    source: IntArray
    late: FloatArray
    long: FloatArray
    """(topic, slot): a source, and its events faded by `FADE` and by `LONG`."""
    at: IntArray
    """The running minute up to which a topic's events are faded."""

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
        number = np.array([max(len(names), 1) for names in sources], np.int64)
        rows = np.repeat(np.arange(len(topics)), number)
        who = np.array([zlib.crc32(name.encode()) for names in sources for name in names or ("",)], np.int64)
        there, many = topics[rows], (events / number)[rows]
        of_feed = slice(None) if everything < 0 else rows == everything
        np.add.at(self.heard, who[of_feed] % BINS, many[of_feed])
        passed = self.at[topics] - minute
        self.late[topics] *= np.exp(passed / FADE)[:, None]
        self.long[topics] *= np.exp(passed / LONG)[:, None]
        self.at[topics] = minute
        habit = HABIT * FADE / (LONG * -np.expm1(-np.maximum(age, KNOWN) / LONG))
        total = self.late[topics].sum(axis=1)
        slot, known = self._slots(rows, there, who)
        own, long = (np.where(known, faded[there, slot], 0.0) for faded in (self.late, self.long))
        own_beyond = own - habit[rows] * long
        damped = 1 + OTHERS * np.maximum(total[rows] - own + many * (number[rows] - 1), 0)
        # Where the whole feed, or the topic, has hardly more than one source, nobody else can confirm: repeats count.
        earlier = np.maximum(self.long[topics] - self.late[topics], 0).sum(axis=1) + FEW
        of_topic = np.maximum(long - own, 0) / earlier[rows]
        share = np.maximum(self.heard[who % BINS] / max(float(self.heard.sum()), 1.0), of_topic) ** 3
        weighed, one, most = np.zeros(len(rows)), np.zeros(len(rows)), float(many.max(initial=0.0))
        for repeat in range(REPEATS):
            if most <= repeat:
                break
            beyond = np.maximum(own_beyond + repeat, 0) / damped
            one = share + (1 - share) / (1 + REPEAT * beyond**2)
            weighed += np.minimum(np.maximum(many - repeat, 0.0), 1.0) * one
        if most > REPEATS:
            weighed += one * np.maximum(many - REPEATS, 0)
        self.source[there, slot] = who
        self.late[there, slot], self.long[there, slot] = own + many, long + many
        found: FloatArray = np.bincount(rows, weighed, len(topics)) / np.maximum(events, 1e-9)
        return found

    def _slots(self, rows: IntArray, there: IntArray, who: IntArray) -> tuple[IntArray, BoolArray]:
        """Return the slot of each source in its topic, and whether it was there before; a new one takes the quietest.

        `rows`: the place of each source's topic in the bucket, ascending. `there`: the topic. `who`: the source.
        """
        same = self.source[there] == who[:, None]
        slot, known = same.argmax(axis=1), same.any(axis=1)
        new = np.flatnonzero(~known)
        if len(new):
            kept = np.zeros((int(rows[-1]) + 1, SLOTS), bool)
            kept[rows[known], slot[known]] = True
            first = np.searchsorted(rows[new], rows[new])
            quiet = np.where(kept[rows[new]], np.inf, self.late[there[new]]).argsort(axis=1, kind="stable")
            slot[new] = quiet[np.arange(len(new)), (np.arange(len(new)) - first) % SLOTS]
        return slot, known

    def close_day(self) -> None:
        """Let what is known of the feed's sources fade."""
        self.heard *= np.exp(-1 / FEED_DAYS)
