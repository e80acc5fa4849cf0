"""The decided buckets of the last 24 hours, row by row: where a change began is read off them.

Rows hold integers only, so a state that was restored from a snapshot is the state, whatever the order of restarts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from foreshock.monitor.arrays import IntArray
from foreshock.monitor.units import HOUR

KEPT = 24 * HOUR
"""How long a row is kept, in microseconds."""
LONG, SHORT = slice(0, 3), slice(3, 6)
"""Columns of a row's values: all events, and those that have a time of day."""


class Row(NamedTuple):
    """One decided bucket: its start, its topics' indices, (topics, 6) sums in 1/10,000 of an event, and their sources.

    The sums are events, negative and expected negative, and the same three without the events that are known only to
    the day. Those enter no window shorter than a day.
    """

    start: int
    topics: IntArray
    values: IntArray
    sources: tuple[tuple[str, ...], ...]

    def of(self, topic: int) -> int:
        """Return the place of a topic in this row, or -1."""
        found = np.flatnonzero(self.topics == topic)
        return int(found[0]) if len(found) else -1


class Recent:
    """The rows of the last 24 hours, oldest first."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque()

    def add(self, row: Row) -> None:
        """Add a bucket."""
        self.rows.append(row)

    def forget(self, now: int) -> None:
        """Drop the rows that began more than 24 hours before `now`."""
        while self.rows and self.rows[0].start < now - KEPT:
            self.rows.popleft()

    def onset(self, topic: int, rise: float, default: int) -> int:
        """Return the likeliest time at which a topic's negative share rose by `rise`; `default` where it did not.

        That is the start of the bucket from which on the observed negative sum exceeds the expected one, and half the
        rise, by most: where a CUSUM tuned to that rise left its minimum. Without the half, chance before it would count
        too.
        """
        best, since, total = 0, default, 0
        for row in reversed(self.rows):
            place = row.of(topic)
            if place < 0:
                continue
            events, negative, expected = row.values[place, LONG].tolist()
            total += negative - expected - round(rise / 2 * events)
            if total > best:
                best, since = total, row.start
        return since

    def dump(self) -> tuple[dict[str, IntArray], dict[str, object]]:
        """Return the rows as flat arrays and JSON; sources as places in a table, in order of appearance."""
        table: dict[str, int] = {}
        coded = [[[table.setdefault(s, len(table)) for s in names] for names in row.sources] for row in self.rows]
        none = np.zeros(0, np.int64)
        arrays: dict[str, IntArray] = {
            "row_start": np.array([r.start for r in self.rows], np.int64),
            "row_length": np.array([len(r.topics) for r in self.rows], np.int64),
            "row_topics": np.concatenate([none, *(r.topics for r in self.rows)]),
            "row_values": np.concatenate([none.reshape(0, 6), *(r.values for r in self.rows)]),
        }
        return arrays, {"sources": list(table), "row_sources": coded}

    @classmethod
    def load(
        cls, arrays: dict[str, IntArray], table: Sequence[str], coded: Sequence[Sequence[Sequence[int]]]
    ) -> Recent:
        """Return what `dump` wrote."""
        recent, at = cls(), 0
        starts, lengths = arrays["row_start"].tolist(), arrays["row_length"].tolist()
        for start, length, sources in zip(starts, lengths, coded, strict=True):
            topics, values = arrays["row_topics"][at : at + length], arrays["row_values"][at : at + length]
            recent.add(Row(start, topics, values, tuple(tuple(table[s] for s in names) for names in sources)))
            at += length
        return recent
