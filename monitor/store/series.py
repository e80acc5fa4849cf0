"""Read series: the rows of a topic, in steps, as they are now or as they were known at a time.

Invariant: no step holds anything from after its end. With `as_of`, nothing is returned from after that time. A row that
was put together (rolling.py) does not say what came when within its hour or day, so it counts in the step in which that
ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, select

from foreshock.monitor.days import Days, Step
from foreshock.monitor.store import fills, rolling, schema, settings_versions, switches
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.times import iso

COLUMNS = (
    *("topic", "start", "end", "known_at", "stories", "events", "negative", "neutral", "positive"),
    *("polarity", "baseline", "alerting", "filled", "model"),
)
"""The columns of a row. Rows of days have `day`, too."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are wanted. Times in microseconds.

    `every`: the length of a step; None: one bucket. `days`: steps are days, in place of `every`. `start`, `end`: a step
    that one of them would cut is whole. `as_of`: only what was known then.
    """

    every: int | None = None
    start: int | None = None
    end: int | None = None
    days: Days | None = None
    as_of: int | None = None


def rows(connection: Connection, topics: Sequence[str], wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield the rows of topics in their order, each topic's by time. Raises ValueError where steps do not fit."""
    plan = _Plan(connection, wanted)
    for topic in topics:
        yield from plan.rows(topic)


def steps(connection: Connection, wanted: Wanted) -> list[Step]:
    """Return all steps with or without stories, from the first to the last that is wanted and known."""
    return _Plan(connection, wanted).all_steps()


class _Plan:
    """How far rows are known, and the step of each."""

    def __init__(self, connection: Connection, wanted: Wanted) -> None:
        times = settings_versions.time_settings(connection)
        self._connection, self._lateness = connection, times.lateness
        self._every, bucket = wanted.every or times.bucket, times.bucket
        if self._every % bucket:
            raise ValueError(f"a step must be a multiple of the bucket ({bucket // 1_000_000} s)")
        until = decided_until(connection) or 0
        if wanted.as_of is not None:
            until = min(until, wanted.as_of - times.lateness)
        self._known = None if wanted.as_of is None else fills.known_at(connection, wanted.as_of - times.lateness)
        self._changes = switches.changes(connection)
        self._model = connection.execute(select(schema.feed.c.model)).scalar()
        self._grain = rolling.grain(connection)
        self._bucket = bucket
        first = self._place(connection.execute(select(func.min(schema.buckets.c.start))).scalar() or 0)
        self._days: list[Step] | None = None
        if wanted.days is not None:
            found = wanted.days.steps(max(first, wanted.start or first), until, bucket)
            self._days = [s for s in found if wanted.end is None or s.begin < wanted.end]
            self._begins = [s.begin for s in self._days]
            self.start, self.until = (self._begins[0], self._days[-1].end) if self._days else (0, 0)
            return
        start = first if wanted.start is None else wanted.start
        self.start = start - start % self._grain.of(start, self._every)
        self.until = until // self._every * self._every
        if wanted.end is not None:
            every = self._grain.of(wanted.end - 1, self._every)
            self.until = min(self.until, -(-wanted.end // every) * every)

    def all_steps(self) -> list[Step]:
        if self._days is not None:
            return self._days
        begins = range(self.start, self.until, self._every)
        return [Step(begin, begin + self._every, date.min) for begin in begins]

    def _cell(self, start: int) -> tuple[int, int]:
        """Return the begin and the length of the stretch whose rows may be one: an hour or day of old ones."""
        length = self._grain.of(start, self._bucket)
        return start - start % length, length

    def _place(self, start: int) -> int:
        """Return where the row that starts at `start` counts: in its last bucket, so never before it is known."""
        begin, length = self._cell(start)
        return begin + length - self._bucket

    def _step_of(self, place: int) -> Step:
        if self._days is not None:
            return self._days[bisect_right(self._begins, place) - 1]
        every = self._grain.of(place, self._every)
        begin = place - place % every
        return Step(begin, begin + every, date.min)

    def rows(self, topic: str) -> Iterator[dict[str, Any]]:
        a, connection = schema.alerts.c, self._connection
        firing = connection.execute(
            select(a.fired_at, a.resolved_at).where(a.topic == topic, a.fired_at.is_not(None)).order_by(a.fired_at)
        ).all()
        now = self._known is None or self._known >= fills.last_done(connection)
        names = [column.name for column in schema.buckets.columns]
        b = (schema.buckets if now else fills.as_known(names, self._known or 0)).c
        query = select(*(b[name] for name in names)).where(b.topic == topic, b.start < self.until)
        query = query.where(b.start >= self._cell(self.start)[0]).order_by(b.start)
        every = connection.execute(query.execution_options(yield_per=10_000))
        found = (row for row in every if self._place(row.start) < self.until)
        of: Callable[[Any], Step] = lambda row: self._step_of(self._place(row.start))  # noqa: E731
        for step, some in groupby(found, key=of):
            made = list(some)
            model = switches.model_at(self._changes, self._model, made[-1].start)
            row = {**_row(topic, made, step, self._lateness, firing), "model": model}
            yield row if self._days is None else {**row, "day": step.day.isoformat()}


def _row(topic: str, rows: list[Any], step: Step, lateness: int, firing: Sequence[Any]) -> dict[str, Any]:
    end = step.end
    events = sum(row.events for row in rows)
    negative, neutral, positive = (
        sum(getattr(row, name) for row in rows) for name in ("negative", "neutral", "positive")
    )
    baseline = rows[-1].baseline
    return {
        "topic": topic,
        "start": iso(step.begin),
        "end": iso(end),
        "known_at": iso(end + lateness),
        "stories": sum(row.stories for row in rows),
        "events": events,
        "negative": negative / 10_000,
        "neutral": neutral / 10_000,
        "positive": positive / 10_000,
        "polarity": (positive - negative) / events / 10_000 if events else None,
        "baseline": None if baseline is None else baseline / 10_000,
        "alerting": any(f.fired_at <= end and (f.resolved_at is None or f.resolved_at > end) for f in firing),
        "filled": any(row.filled is not None for row in rows),
    }
