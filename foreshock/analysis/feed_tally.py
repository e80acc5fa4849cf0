"""Count what a feed file holds, record by record: stories, dead letters, dates, repeats, and how well it is ordered.

It holds two hashes a record in memory, to find repeats.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC
from typing import Any

from foreshock.analysis.date_check import DateTally
from foreshock.analysis.ticker_check import TickerTally
from foreshock.ingest.errors import BadRecord
from foreshock.ingest.fields import KEPT_IF_UNUSABLE
from foreshock.ingest.formats import RawRecord
from foreshock.ingest.json_records import decode
from foreshock.ingest.parsing import ParseRules, field_of, parse
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.watermark import Progress, TimeRules, judge, step

UNSORTED_FROM = 0.01
"""Share of late stories from which the file counts as unordered."""


class Tally:
    """Counts the records of a file one after another, as a replay would take them."""

    def __init__(self, rules: ParseRules, latest: int | None, time: TimeRules) -> None:
        self._rules = rules
        self._latest = latest
        self._time = time
        # A preset may leave symbols aside because it takes the tickers from somewhere else.
        self._kept = [name for name in KEPT_IF_UNUSABLE if name != "symbols" or "tickers" not in rules.mapping]
        # Records whose dates lack only a zone are dead letters, but their order and repeats are of interest.
        self._in_any_zone = replace(rules, zone=rules.zone or UTC)
        self._ids: set[int] = set()
        self._contents: set[int] = set()
        self._progress = Progress()
        self._before: int | None = None
        self._rising = self._falling = 0
        self.records = self.stories = self.scored = self.timed = self.late = self.stale = 0
        self.duplicates = self.revisions = 0
        self.earliest: int | None = None
        self.newest: int | None = None
        self.died: Counter[str] = Counter()
        self.first_dead: dict[str, DeadLetter] = {}
        self.dates = DateTally(rules.date_format)
        self.tickers = TickerTally()
        self.unusable: Counter[str] = Counter()

    def add(self, record: RawRecord) -> None:
        """Count the next record."""
        number = self.records
        self.records += 1
        if record.flaw is not None:
            self._dead(DeadLetter("", number, *record.flaw, record.data, record.size))
            return
        date = self._count_fields(record.data)
        item = parse(record.data, "", number, self._rules, self._latest)
        dead = isinstance(item, DeadLetter)
        if isinstance(item, DeadLetter):
            self._dead(item)
            self.dates.add_distinct(date)
            if item.reason != "date_without_zone":
                return
            item = parse(record.data, "", number, self._in_any_zone, self._latest)
            if isinstance(item, DeadLetter):
                return
        else:
            self.stories += 1
            self.scored += item.scores is not None
            if item.extra:
                self.unusable.update(name for name in self._kept if name in item.extra)
        self._count_time(item)
        if not self._count_repeat(item) and not dead:
            self.dates.add_distinct(date)

    def order(self, late_share: float) -> str:
        """Return how the file is ordered (`CheckReport.order`). `late_share`: late stories as a part of all."""
        if not self._rising and not self._falling:
            return "none" if self.timed < 2 else "oldest first"
        if not self._falling:
            return "oldest first"
        if self._falling > 9 * self._rising:
            return "newest first"
        return "unordered" if late_share > UNSORTED_FROM else "nearly oldest first"

    def _dead(self, letter: DeadLetter) -> None:
        self.died[letter.reason] += 1
        self.first_dead.setdefault(letter.reason, letter)

    def _count_fields(self, data: bytes) -> Any:
        """Count the record's date and tickers; return its date."""
        try:
            fields = decode(data)
        except BadRecord:
            return None
        date = field_of(fields, "published_at", self._rules)
        self.dates.add(str(field_of(fields, "source", self._rules) or "").strip(), date)
        for name in ("tickers", "symbols"):
            self.tickers.add(field_of(fields, name, self._rules))
        return date

    def _count_time(self, story: Story) -> None:
        """Judge the story as the watermark of a single partition does."""
        time = story.published_at
        self.timed += 1
        self.earliest = time if self.earliest is None else min(time, self.earliest)
        self.newest = time if self.newest is None else max(time, self.newest)
        if self._before is not None:
            self._rising += time > self._before
            self._falling += time < self._before
        self._before = time
        judgement = judge(self._progress.watermark, time, self._time)
        self.late += judgement.late
        self.stale += judgement.stale
        self._progress = step(self._progress, time, story.id, self._time)

    def _count_repeat(self, story: Story) -> bool:
        """Count a duplicate or revision. Return whether it is one."""
        identity, content = hash((story.source, story.id)), hash((story.source, story.id, story.content))
        known = identity in self._ids
        if content in self._contents:
            self.duplicates += 1
        elif known:
            self.revisions += 1
        self._ids.add(identity)
        self._contents.add(content)
        return known
