"""Show which alerts would have fired in a feed's past, under the budget of the settings or under others.

    result = backtest(settings, "sqlite:///news.db", events=Path("events.csv"))

A backtest decides a past (`foreshock.analysis.history`) again, in memory, with the code that decides live. Its
decisions do not depend on later stories, and nothing is scored again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from foreshock.analysis.events import ExpectedEvent, Judged, judge, read_events, rounded
from foreshock.analysis.history import Opened, Past, Steps, opened
from foreshock.ingest.meant import did_you_mean
from foreshock.monitor.alerts import Alert, sentence
from foreshock.monitor.budget import by_chance
from foreshock.monitor.deciding import DetectionRules, State, pass_time
from foreshock.monitor.store import evidence
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import DAY, HOUR
from foreshock.processes import wiring
from foreshock.settings.models import Settings
from foreshock.settings.redact import redacted

BUDGETS = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
"""Budgets of a sweep, in multiples of the budget in the settings."""


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that would have fired, with its sentence."""

    alert: Alert
    sentence: str

    def to_json(self) -> dict[str, Any]:
        a = self.alert
        return {
            "id": a.id,
            "topic": a.topic,
            "kind": a.kind,
            "direction": a.direction,
            "started_at": iso(a.started_at),
            "fired_at": iso_or_none(a.fired_at),
            "resolved_at": iso_or_none(a.resolved_at),
            "observed": a.observed,
            "baseline": a.baseline,
            "sentence": self.sentence,
        }


class Compared(NamedTuple):
    """The alarms of another detector, with its own parameters and no budget."""

    detector: str
    alerts: int
    judged: Judged | None


class Swept(NamedTuple):
    """One point of the sweep."""

    allowed: float
    """False alarms that chance gives under this budget in the watched time."""
    alerts: int
    judged: Judged | None


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The alerts that would have fired, compared with the budget and with events."""

    source: str
    start: int
    end: int
    watched_days: float
    """Running days in which at least one topic had learned. Before that no alert can fire."""
    topics: int
    buckets: int
    allowed: float
    """False alarms that chance gives under the budget in the watched time."""
    fired: list[Fired]
    judged: Judged | None
    sweep: list[Swept]
    compared: Compared | None
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def by_kind(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for alert in self.fired:
            key = f"{alert.alert.kind} {alert.alert.direction}"
            found[key] = found.get(key, 0) + 1
        return dict(sorted(found.items()))

    def to_json(self) -> dict[str, Any]:
        low, high = by_chance(self.allowed)
        return {
            "source": self.source,
            "start": iso(self.start),
            "end": iso(self.end),
            "watched_days": round(self.watched_days, 2),
            "topics": self.topics,
            "buckets": self.buckets,
            "fired": len(self.fired),
            "by_kind": self.by_kind,
            "chance_gives": {"mean": round(self.allowed, 2), "low": low, "high": high},
            "events": None if self.judged is None else self.judged.to_json(self.watched_days, self.allowed),
            "sweep": [
                {
                    "false_alarms_a_week": round(7 * s.allowed / self.watched_days, 4) if self.watched_days else None,
                    "chance_gives": round(s.allowed, 2),
                    "fired": s.alerts,
                    "recall": None if s.judged is None else rounded(s.judged.recall),
                    "precision": None if s.judged is None else rounded(s.judged.precision),
                }
                for s in self.sweep
            ],
            "compared": None if self.compared is None else self._compared(self.compared),
            "alerts": [alert.to_json() for alert in self.fired],
            "seconds": round(self.seconds, 3),
        }

    def _compared(self, other: Compared) -> dict[str, Any]:
        judged = None if other.judged is None else other.judged.to_json(self.watched_days, self.allowed)
        return {"detector": other.detector, "fired": other.alerts, "events": judged}


def backtest(
    settings: Settings,
    source: str,
    *,
    events: Path | None = None,
    sweep: bool = False,
    compare: str | None = None,
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    on_progress: Callable[[float], None] | None = None,
    scorer: wiring.MakeScorer | None = None,
) -> BacktestResult:
    """Decide the past of a store or of a feed file again, and compare the alerts with `events`.

    `source` is the URL of a store, a SQLite file, or a feed file (`mapping` and `sort` are for feed files). With
    `sweep` the past is also decided under each of `BUDGETS`. `compare` names a detector of `rivals` to run beside.
    `on_progress` is called with the share that is done (0 to 1).

    Raises:
        EventsError: `events` cannot be read as an events file.
        NothingDecided, IngestError, MonitorError, ModelError: as `history.opened` does.
    """
    started = time.monotonic()
    wanted = read_events(events) if events is not None else None
    with opened(settings, source, mapping=mapping, sort=sort, on_progress=on_progress, scorer=scorer) as there:
        return _of(there, source, wanted, sweep, compare, started)


def moments(alerts: Iterable[Alert]) -> list[tuple[str, int]]:
    """Return topic and time of the alerts that fired."""
    return [(alert.topic, alert.fired_at) for alert in alerts if alert.fired_at is not None]


class _Decided(NamedTuple):
    """What was decided up to `until`."""

    fired: list[Alert]
    until: int
    watched_days: float
    watched_from: int
    """When the first topic had learned (microseconds); the end of the past if none had."""
    allowed: float

    def judged(self, fired: Iterable[tuple[str, int]], events: Sequence[ExpectedEvent] | None) -> Judged | None:
        """Compare `fired` with the events that overlap the watched time."""
        if events is None:
            return None
        inside = [e for e in events if self.watched_from < min(e.end, self.until) and e.start < self.until]
        return replace(judge(fired, inside), outside=len(events) - len(inside))


def _of(
    there: Opened, source: str, events: list[ExpectedEvent] | None, sweep: bool, compare: str | None, started: float
) -> BacktestResult:
    past, rules, notes = there.past, there.rules, there.notes
    steps = Steps(there.on_progress, (1 + (len(BUDGETS) - 1) * sweep) * len(past.counts))
    decided = _decide(past, rules, steps)
    swept = list[Swept]()
    for times in BUDGETS if sweep else ():
        other = decided if times == 1 else _decide(past, _times(rules, times), steps)
        swept.append(Swept(other.allowed, len(other.fired), other.judged(moments(other.fired), events)))
    with reading(there.engine) as connection:
        fired = [_with_sentence(connection, alert) for alert in decided.fired]
    if not decided.watched_days:
        notes = [*notes, "No topic had learned in this time, so no alert could fire."]
    judged = decided.judged(moments(decided.fired), events)
    if events is not None:
        notes = [*notes, *_unknown_topics(events, past.names)]
    if judged is not None and judged.outside:
        notes = [*notes, _outside(judged, decided)]
    return BacktestResult(
        source=redacted(source),
        start=past.counts[0].start,
        end=past.until,
        watched_days=decided.watched_days,
        topics=len(past.names),
        buckets=len(past.counts),
        allowed=decided.allowed,
        fired=fired,
        judged=judged,
        sweep=swept,
        compared=None if compare is None else _compare(compare, past, decided, events),
        seconds=time.monotonic() - started,
        notes=notes,
    )


def _times(rules: DetectionRules, times: float) -> DetectionRules:
    return replace(rules, false_alarms=rules.false_alarms * times)


def _decide(past: Past, rules: DetectionRules, steps: Steps) -> _Decided:
    """Return all alerts that fire, in the order in which they fire, as they were when they resolved or at the end."""
    state = State.fresh(rules)
    fired: dict[str, Alert] = {}
    spent = rules.false_alarms * (rules.bad_news + rules.better + rules.volume + rules.silence)
    watched_hours, allowed, weight, day, before = 0, 0.0, 0.0, -1, 0
    watched_from = past.until
    for place, counts in enumerate(past.counts):
        changes = past.decide(state, place).changes
        if counts.start // DAY != day:
            day = counts.start // DAY
            seen = state.seen()
            weight = float(seen.weights[seen.learned(slice(0, len(state.history.names)))].sum())
            if weight:
                watched_from = min(watched_from, counts.start)
        passed, before = state.history.hours - before, state.history.hours
        if weight:
            watched_hours += passed
            allowed += passed / 24 * spent * (weight if rules.per_topic else 1)
        for change in changes:
            if change.alert.fired_at is not None:
                fired[change.alert.id] = change.alert
        steps.take()
    for change in pass_time(state, past.until).changes:
        if change.alert.fired_at is not None:
            fired[change.alert.id] = change.alert
    in_order = sorted(fired.values(), key=lambda a: (a.fired_at or 0, a.id))
    return _Decided(in_order, past.until, watched_hours / 24, watched_from, allowed)


def _compare(name: str, past: Past, decided: _Decided, events: list[ExpectedEvent] | None) -> Compared:
    """Run another detector on the hourly negative shares of the past; keep its alarms in the watched time."""
    from foreshock.analysis.rivals import alarms  # river is needed only here

    hours: dict[tuple[int, int], list[int]] = {}
    for counts in past.counts:
        for topic, (events_sum, negative, _) in zip(counts.topics.tolist(), counts.values.tolist(), strict=True):
            sums = hours.setdefault((counts.start // HOUR, topic), [0, 0])
            sums[0] += events_sum
            sums[1] += negative
    shares = (
        (past.names[topic], (hour + 1) * HOUR, sums[1] / sums[0]) for (hour, topic), sums in hours.items() if sums[0]
    )
    found = [(topic, at) for topic, at in alarms(name, shares) if at > decided.watched_from]
    return Compared(name, len(found), decided.judged(found, events))


def _with_sentence(connection: Connection, alert: Alert) -> Fired:
    return Fired(
        alert, sentence(alert, *evidence.totals(connection, alert.topic, alert.window_start, alert.window_end))
    )


def _unknown_topics(events: Sequence[ExpectedEvent], names: Sequence[str]) -> list[str]:
    unknown = sorted({event.topic for event in events} - set(names))
    if not unknown:
        return []
    meant = did_you_mean(unknown[0], names)
    return [f"The events name topics without stories here, which no alert can find: {', '.join(unknown[:5])}.{meant}"]


def _outside(judged: Judged, decided: _Decided) -> str:
    watched = f", {iso(decided.watched_from)} to {iso(decided.until)}" if decided.watched_days else ""
    return (
        f"{judged.outside} of {judged.events + judged.outside} events lie outside the watched time{watched}: "
        "they count neither as found nor as missed."
    )
