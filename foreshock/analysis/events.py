"""Read events from a CSV file, and compare the alerts of a backtest with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from foreshock.ingest.meant import nearest
from foreshock.monitor.store.times import iso, microseconds
from foreshock.monitor.units import DAY

OPEN_EVENT = 3 * DAY
"""Duration of an event without an end (microseconds)."""

COLUMNS = ("topic", "start", "end")


class EventsError(Exception):
    """An events file cannot be read. The text names the file, the line and what was expected."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ExpectedEvent:
    """Something that an alert should have found. Times in microseconds."""

    topic: str
    start: int
    end: int
    """An alert on the topic that fires in [start, end] finds the event."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Alerts compared with the events in the watched time."""

    events: int
    found: int
    delays: tuple[int, ...]
    """Microseconds from the start of each found event to the first alert that found it."""
    missed: tuple[ExpectedEvent, ...]
    true_alerts: int
    """Alerts that fired during an event of their topic."""
    alerts: int
    outside: int = 0
    """Events outside the watched time. No other figure counts them."""

    @property
    def recall(self) -> float | None:
        return self.found / self.events if self.events else None

    @property
    def precision(self) -> float | None:
        return self.true_alerts / self.alerts if self.alerts else None

    @property
    def false_alarms(self) -> int:
        return self.alerts - self.true_alerts

    def to_json(self, watched_days: float, allowed: float) -> dict[str, Any]:
        hours = sorted(delay / DAY * 24 for delay in self.delays)
        return {
            "events": self.events,
            "found": self.found,
            "recall": rounded(self.recall),
            "precision": rounded(self.precision),
            "false_alarms": self.false_alarms,
            "false_alarms_a_day": rounded(self.false_alarms / watched_days if watched_days else None),
            "false_alarms_over_budget": rounded(self.false_alarms / allowed if allowed else None),
            "median_delay_hours": rounded(float(np.median(hours)) if hours else None),
            "outside": self.outside,
            "missed": [{"topic": e.topic, "start": iso(e.start), "end": iso(e.end)} for e in self.missed],
        }


def read_events(path: Path) -> list[ExpectedEvent]:
    """Read the events of a CSV file with the columns topic, start and, optionally, end (ISO 8601).

    A bare day means its midnight as a start and its last moment as an end. Raises `EventsError`, and FileNotFoundError
    if there is no such file.
    """
    try:
        text = path.read_text("utf-8-sig")  # whatever ends its lines: LF, CR LF or CR
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise EventsError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8.") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names = list(rows.fieldnames or ())
        if unknown := [name for name in names if name not in COLUMNS]:
            near = nearest(str(unknown[0]), COLUMNS)
            meant = f"did you mean {near}?" if near else f"expected {', '.join(COLUMNS)}."
            raise EventsError(f"{path}: unknown column {unknown[0]!r}; {meant}")
        if lacking := [name for name in COLUMNS[:2] if name not in names]:
            raise EventsError(
                f"{path}: the column {lacking[0]} is missing; expected topic, start and, optionally, end."
            )
        return [_event(row, path, rows.line_num) for row in rows]
    except csv.Error:
        raise EventsError(
            f"{path}, line {rows.line_num + 1}: a cell has more than {csv.field_size_limit():,} characters; close its "
            "quotation mark."
        ) from None


def _event(row: Mapping[str | Any, Any], path: Path, line: int) -> ExpectedEvent:
    topic = (row["topic"] or "").strip()
    if not topic or row.get(None):
        raise EventsError(f"{path}, line {line}: " + ("too many fields." if topic else "the topic is missing."))
    start = _time(row["start"], path, line, "start", last=False)
    end = _time(row["end"], path, line, "end", last=True) if (row.get("end") or "").strip() else start + OPEN_EVENT
    if end < start:
        raise EventsError(f"{path}, line {line}: the event ends before it starts.")
    return ExpectedEvent(topic, start, end)


def _time(text: str | None, path: Path, line: int, column: str, *, last: bool) -> int:
    text = (text or "").strip()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC)) + (DAY - 1 if last else 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise EventsError(
            f"{path}, line {line}: {column} = {text!r} is not a time; write 2024-05-01 or 2024-05-01T14:30Z."
        ) from None
    return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def judge(fired: Iterable[tuple[str, int]], events: Sequence[ExpectedEvent]) -> Judged:
    """Return which events were found, how late, and how many alerts (topic, fired at) had an event."""
    by_topic: dict[str, list[int]] = {}
    for topic, at in fired:
        by_topic.setdefault(topic, []).append(at)
    delays, missed = list[int](), list[ExpectedEvent]()
    for event in events:
        hits = [at for at in by_topic.get(event.topic, ()) if event.start <= at <= event.end]
        if hits:
            delays.append(min(hits) - event.start)
        else:
            missed.append(event)
    spans: dict[str, list[ExpectedEvent]] = {}
    for event in events:
        spans.setdefault(event.topic, []).append(event)
    true = sum(
        any(event.start <= at <= event.end for event in spans.get(topic, ()))
        for topic, times in by_topic.items()
        for at in times
    )
    return Judged(len(events), len(delays), tuple(delays), tuple(missed), true, sum(map(len, by_topic.values())))


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
