"""How much the events of a bucket weigh, by how often their sources were heard lately.

Repeats of one source count less, and less still where no other source has news: a swarm of one source is no crisis.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
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
FEW = 30.0
"""Events by which the part of a topic's earlier events that one source brought is drawn to none."""
REPEATS = 8
"""Events of one source in one bucket that are counted one by one; the sum of further ones is an integral."""
BINS = 1024
"""Sources of the feed are counted in so many bins."""
SWARM = 4.0
"""What is usual is learned of whole events, where a source's weigh at least 1 / SWARM. Less is a swarm's."""
FEED_DAYS = 30.0
"""Days in which what is known of the feed's sources fades to 1/e."""


_FADES: FloatArray = np.array([FADE, LONG])
_TURNS: FloatArray = np.arange(float(REPEATS))[:, None]


@lru_cache(maxsize=4096)
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
        parts: FloatArray,
        sources: tuple[tuple[str, ...], ...],
        everything: int,
        minute: int,
        age: IntArray,
        trust: Mapping[int, float] = {},
    ) -> tuple[FloatArray, FloatArray]:
        """Return what weighs of each topic's events, negative and positive of a bucket: (topic, sum), 0 to 1; and the
        same for what is usual, where only a swarm weighs less than whole.

        Each source's part weighs by how often it was heard lately, and by how much it is trusted. So a swarm of one
        mood weighs little, whatever others say meanwhile.

        `parts`: (turn, topic, sum) of each topic's sources in turn. `age`: minutes since each topic's first story.
        `everything`: the place in `topics` of the series of all stories, or -1. `trust`: by `source_number`.
        """
        n = len(topics)
        who = np.array([source_number(name) for names in sources for name in names or ("",)], np.int64)
        # The rows are the sources of each topic, one topic after another.
        rows: IntArray | None = None  # None: each topic has one source, so its row is its place
        each = sums = parts[0]
        if len(who) > n:
            number = np.array([len(names) or 1 for names in sources], np.int64)
            rows = np.arange(n).repeat(number)
            turn = np.arange(len(rows)) - (number.cumsum() - number)[rows]
            each, sums = parts[turn, rows], parts.sum(axis=0)
        many = each[:, 0]
        faded = np.exp((self.at.take(topics) - minute)[:, None] / _FADES)
        late, long = self.late.take(topics, axis=0) * faded[:, :1], self.long.take(topics, axis=0) * faded[:, 1:]
        source = self.source.take(topics, axis=0)
        at: IntArray = np.arange(n) if rows is None else rows
        slot, known = _slots(at, source, late, who)
        own, own_long = np.where(known, late[at, slot], 0.0), np.where(known, long[at, slot], 0.0)
        habit = HABIT * FADE / (LONG * -np.expm1(-np.maximum(age, KNOWN) / LONG))
        # Where the whole feed, or the topic, has hardly more than one source, nobody else can confirm: repeats count.
        total, whole = late.sum(axis=1), sums[:, 0]
        earlier = np.maximum(long - late, 0).sum(axis=1) + FEW
        if rows is not None:
            habit, total, whole, earlier = habit[rows], total[rows], whole[rows], earlier[rows]
        own_beyond = own - habit * own_long
        damped = 1 + OTHERS * np.maximum(total - own + whole - many, 0)
        of_topic = np.maximum(own_long - own, 0) / earlier
        bins = who % BINS
        share = np.maximum(self.heard[bins] / max(float(self.heard.sum()), 1.0), of_topic) ** 3
        rest, most = 1 - share, max(many.tolist(), default=0.0)
        turns = _TURNS[: min(max(math.ceil(most), 1), REPEATS)]
        beyond = np.maximum(own_beyond + turns, 0) / damped
        each_turn = np.minimum(np.maximum(many - turns, 0.0), 1.0) * (share + rest / (1 + REPEAT * (beyond * beyond)))
        # Added up one after the other, whatever their number: `sum` adds eight in another order.
        weighed = np.add.accumulate(each_turn, axis=0)[-1]
        if most > REPEATS:
            weighed += share * np.maximum(many - REPEATS, 0) + rest * _rest(many, own_beyond, damped)
        # As it weighs, and only for the buckets to come: nobody becomes the feed's main source by one flood.
        of_feed = slice(None) if everything < 0 else at == everything
        np.add.at(self.heard, bins[of_feed], weighed[of_feed])
        weight = weighed / np.maximum(many, 1e-9)
        usual = np.minimum(SWARM * weight, 1.0)
        if trust:
            trusted = np.array([trust.get(source, 1.0) for source in who.tolist()])
            weight, usual = weight * trusted, usual * trusted
        source[at, slot], late[at, slot], long[at, slot] = who, own + many, own_long + many
        self.source[topics], self.late[topics], self.long[topics], self.at[topics] = source, late, long, minute
        # Where there is no mass of a mood, its weight does not matter.
        there_is = np.where(sums > 0, sums, 1.0)

        def together(weight: FloatArray) -> FloatArray:
            heavy: FloatArray = weight[:, None] * each
            if rows is not None:
                heavy = np.array([np.bincount(rows, mood, n) for mood in heavy.T]).T
            return heavy / there_is

        return together(weight), together(usual) if np.count_nonzero(usual < 1) else np.ones(sums.shape)

    def close_day(self) -> None:
        """Let what is known of the feed's sources fade."""
        self.heard *= np.exp(-1 / FEED_DAYS)


def _slots(rows: IntArray, source: IntArray, late: FloatArray, who: IntArray) -> tuple[IntArray, BoolArray]:
    """Return the slot of each source in its topic, and whether it was there before; a new one takes the quietest.

    `rows`: the place of each source's topic in the bucket, ascending. `source`, `late`: (topic, slot), of the bucket's
    topics. `who`: the source.
    """
    same = source[rows] == who[:, None]
    slot = same.argmax(axis=1)
    known: BoolArray = same[np.arange(len(rows)), slot]
    if np.count_nonzero(known) < len(known):
        new = (~known).nonzero()[0]
        kept = np.zeros((int(rows[-1]) + 1, SLOTS), bool)
        kept[rows[known], slot[known]] = True
        first = np.searchsorted(rows[new], rows[new])
        quiet = np.where(kept[rows[new]], np.inf, late[rows[new]]).argsort(axis=1, kind="stable")
        slot[new] = quiet[np.arange(len(new)), (np.arange(len(new)) - first) % SLOTS]
    return slot, known
