"""The last 24 hours of decided buckets, row by row, so that the last 3 h and 24 h of a topic are exact sums.

Rows hold integers only: adding a row and taking it away again leaves no trace, whatever the order of restarts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

HOUR = 3_600_000_000
WINDOWS = (3 * HOUR, 24 * HOUR)
"""The windows that are summed, in microseconds; index 0 and 1 of `Recent.sums`."""

EVENTS, NEGATIVE, EXPECTED = 0, 1, 2
LONG, SHORT = slice(0, 3), slice(3, 6)


class Row(NamedTuple):
    """One decided bucket: its start, its topics' indices, (topics, 6) sums in 1/10,000 events, and their sources.

    The sums are events, negative, expected; and again, without the events that are known only to the day: those enter
    no window shorter than a day.
    """

    start: int
    topics: IntArray
    values: IntArray
    sources: tuple[tuple[str, ...], ...]

    def of(self, topic: int) -> int:
        """The place of a topic in this row, or -1."""
        found = np.flatnonzero(self.topics == topic)
        return int(found[0]) if len(found) else -1


class Recent:
    """Rows of the last 24 h and, over topics, what they come to: `sums[window, topic] = events, negative, expected`."""

    def __init__(self, capacity: int) -> None:
        self.rows: deque[Row] = deque()
        self.short: deque[Row] = deque()
        self.sums: IntArray = np.zeros((2, capacity, 3), np.int64)

    def grow(self, capacity: int) -> None:
        """Makes room for topics up to `capacity`."""
        sums = np.zeros((2, capacity, 3), np.int64)
        sums[:, : self.sums.shape[1]] = self.sums
        self.sums = sums

    def add(self, row: Row) -> None:
        """Adds a bucket to both windows. A row's topics are distinct, so plain indexed addition is exact."""
        self.rows.append(row)
        self.short.append(row)
        self.sums[0, row.topics] += row.values[:, SHORT]
        self.sums[1, row.topics] += row.values[:, LONG]

    def forget(self, now: int) -> None:
        """Takes away what began before the windows that end at `now`."""
        while self.short and self.short[0].start < now - WINDOWS[0]:
            row = self.short.popleft()
            self.sums[0, row.topics] -= row.values[:, SHORT]
        while self.rows and self.rows[0].start < now - WINDOWS[1]:
            row = self.rows.popleft()
            self.sums[1, row.topics] -= row.values[:, LONG]

    def onset(self, topic: int, rise: float, default: int) -> int:
        """The likeliest time at which a topic's negative share rose by `rise`; `default` where it did not.

        Start of the bucket from which on the observed negative sum exceeds the expected one, and half the rise, by
        most: where a CUSUM tuned to that rise left its minimum. Without the half, chance before it would count too.
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
        """The rows as flat arrays and JSON; sources as places in a table in order of appearance."""
        table: dict[str, int] = {}
        coded = [[[table.setdefault(s, len(table)) for s in names] for names in row.sources] for row in self.rows]
        none = np.zeros(0, np.int64)
        arrays: dict[str, IntArray] = {
            "row_start": np.array([r.start for r in self.rows], np.int64),
            "row_length": np.array([len(r.topics) for r in self.rows], np.int64),
            "row_topics": np.concatenate([none, *(r.topics for r in self.rows)]),
            "row_values": np.concatenate([none.reshape(0, 6), *(r.values for r in self.rows)]),
        }
        return arrays, {"sources": list(table), "row_sources": coded, "short": len(self.short)}

    @classmethod
    def load(
        cls,
        capacity: int,
        arrays: dict[str, IntArray],
        table: Sequence[str],
        coded: Sequence[Sequence[Sequence[int]]],
        short: int,
    ) -> Recent:
        """The inverse of `dump`; the sums are added up again, which is exact."""
        recent = cls(capacity)
        at = 0
        starts, lengths = arrays["row_start"].tolist(), arrays["row_length"].tolist()
        for place, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            topics, values = arrays["row_topics"][at : at + length], arrays["row_values"][at : at + length]
            row = Row(start, topics, values, tuple(tuple(table[s] for s in names) for names in coded[place]))
            at += length
            recent.rows.append(row)
            recent.sums[1, topics] += values[:, LONG]
            if place >= len(starts) - short:
                recent.short.append(row)
                recent.sums[0, topics] += values[:, SHORT]
        return recent
