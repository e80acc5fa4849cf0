"""Stories in memory, as evidence for incidents: for tests and measurements. The store has them in rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from foreshock.monitor.grouping import MOST, USUAL_DAYS, USUAL_STORIES, Past, Record
from foreshock.monitor.units import ALL, DAY, UNIT


class MadeStories:
    """Evidence from records that are all known; each answer uses only those that count before its end."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._by: dict[tuple[str, str], list[Record]] = defaultdict(list)
        ordered = sorted(records, key=lambda r: (r.at, r.event, r.source))
        self._begins = ordered[0].at if ordered else 0
        for r in ordered:
            moods = ["any"] + (["negative"] if r.negative >= UNIT // 2 else ["positive"] * (r.negative < UNIT // 4))
            for topic in (ALL, *r.topics):
                for mood in moods:
                    self._by[topic, mood].append(r)
        self._times = {key: [r.at for r in rows] for key, rows in self._by.items()}

    def records(self, topic: str, start: int, end: int, wanted: str, limit: int = MOST) -> list[Record]:
        """Return the newest records of a topic in [start, end)."""
        times = self._times.get((topic, wanted), [])
        low, high = bisect_left(times, start), bisect_left(times, end)
        return self._by[topic, wanted][max(low, high - limit) : high] if times else []

    def past(self, topic: str, end: int, wanted: str) -> Past:
        """Return the newest records before `end`, and how long they took to come."""
        start = max(end - USUAL_DAYS * DAY, min(self._begins, end))
        rows = self.records(topic, start, end, wanted, USUAL_STORIES)
        return Past(rows, end - (rows[0].at if len(rows) == USUAL_STORIES else start))
