"""An alert's life: pending, firing, resolved. And the sentence that says it.

Detectors say how a topic stands; this file turns that into alerts that a person reads. At most one alert of a (topic,
kind, direction) is open. Its id is a function of what it is about and when it became pending, so a replay finds it
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.kinds import KINDS, Facts, count, quoted
from foreshock.monitor.units import ALL

NAMESPACE = UUID("b43ef2f7-33d4-5b3c-9a43-1b1f0b9a2f5e")
"""Fixed for ever: alerts' ids are names in it."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it stands. Times in microseconds; polarities for drift, events for the rest."""

    id: str
    topic: str
    kind: str
    direction: str
    state: str
    """`pending`, `firing` or `resolved`."""
    started_at: int
    """Estimated time of the change."""
    pending_at: int
    """End of the bucket in which it became pending."""
    fired_at: int | None
    resolved_at: int | None
    observed: float
    baseline: float
    window_start: int
    window_end: int
    """The stories of [window_start, window_end) are the evidence."""
    score: float
    statistic: float | None = None
    """How sure it was when it became pending or fired: what `threshold` applies to."""
    threshold: float | None = None
    word: str | None = None
    """The word that made a story critical, as the settings have it."""


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What became of an alert: `pending`, `firing`, `resolved`, or `dropped` (a pending one that never fired)."""

    event: str
    alert: Alert


def alert_id(topic: str, kind: str, direction: str, pending_at: int) -> str:
    """UUIDv5 of topic, kind, direction and the end (ISO 8601, UTC) of the bucket in which it became pending."""
    return str(uuid5(NAMESPACE, "\n".join((topic, kind, direction, f"{_moment(pending_at):%Y-%m-%dT%H:%M:%SZ}"))))


class LifeCycle:
    """All open alerts. Changes come out in the order of topic (bytewise), kind, direction."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int, str], Alert] = {}
        self.unsaid: set[tuple[str, int, str]] = set()
        """Keys of open alerts that are not said: they began before the topic's past was filled."""

    def watched(self) -> dict[int, list[Alert]]:
        """Return the open alerts by topic."""
        found: dict[int, list[Alert]] = {}
        for (_, topic, _), alert in self.open.items():
            found.setdefault(topic, []).append(alert)
        return found

    def drop(self, kind: str, topics: Iterable[int]) -> None:
        """Forget the open alerts of a kind on some topics, without a word."""
        gone = set(topics)
        self.open = {key: alert for key, alert in self.open.items() if key[0] != kind or key[1] not in gone}
        self.unsaid &= self.open.keys()

    def take(self, kind: str, findings: Iterable[Finding], names: list[str], at: int) -> list[AlertChange]:
        """Applies a detector's findings at `at`."""
        changes: list[AlertChange] = []
        for f in findings:
            key = (kind, f.topic, f.direction)
            alert = self.open.get(key)
            if alert is None:
                if f.level < Level.NEAR:
                    continue
                alert = self.open[key] = _pending(kind, f, names[f.topic], at)
                changes.append(AlertChange("pending", alert))
            if alert.fired_at is None and f.level is Level.MET:
                alert = self.open[key] = _fired(alert, f, at)
                changes.append(AlertChange("firing", alert))
            elif f.level is Level.CALM:
                del self.open[key]
                if key in self.unsaid:
                    self.unsaid.remove(key)
                    continue
                event = "dropped" if alert.fired_at is None else "resolved"
                changes.append(AlertChange(event, replace(alert, state="resolved", resolved_at=at)))
        return changes

    def dump(self) -> list[dict[str, object]]:
        """JSON of the open alerts, in a fixed order."""
        entries = sorted(self.open.items(), key=_key)
        return [
            {"topic": key[1], "alert": asdict(alert), **({"unsaid": True} if key in self.unsaid else {})}
            for key, alert in entries
        ]

    def load(self, rows: list[dict[str, object]]) -> None:
        """The inverse of `dump`."""
        for row in rows:
            alert = Alert(**row["alert"])  # type: ignore[arg-type]
            key = alert.kind, int(str(row["topic"])), alert.direction
            self.open[key] = alert
            if row.get("unsaid"):
                self.unsaid.add(key)


def _key(item: tuple[tuple[str, int, str], Alert]) -> tuple[str, int, str]:
    return item[0]


def in_order(changes: list[AlertChange]) -> list[AlertChange]:
    """Canonical order of the changes of one moment. Stable: an alert that fires at once is pending first."""
    return sorted(changes, key=lambda c: (c.alert.topic.encode(), c.alert.kind, c.alert.direction))


def _pending(kind: str, f: Finding, topic: str, at: int) -> Alert:
    return Alert(
        id=alert_id(topic, kind, f.direction, at),
        topic=topic,
        kind=kind,
        direction=f.direction,
        state="pending",
        started_at=f.started_at,
        pending_at=at,
        fired_at=None,
        resolved_at=None,
        observed=f.observed,
        baseline=f.baseline,
        window_start=f.window_start,
        window_end=at,
        score=f.score,
        statistic=f.statistic,
        threshold=f.threshold,
    )


def _fired(alert: Alert, f: Finding, at: int) -> Alert:
    return replace(
        alert,
        state="firing",
        started_at=f.started_at,
        fired_at=at,
        observed=f.observed,
        baseline=f.baseline,
        window_start=f.window_start,
        window_end=at,
        score=f.score,
        statistic=f.statistic,
        threshold=f.threshold,
    )


def sentence(alert: Alert, events: int, sources: int) -> str:
    """Return the alert in plain words, with its numbers.

    `events` and `sources` are those of its evidence window. The words of each kind are in `kinds.py`.
    """
    said = Facts(
        topic="all stories" if alert.topic == ALL else quoted(alert.topic),
        direction=alert.direction,
        observed=alert.observed,
        baseline=alert.baseline,
        score=alert.score,
        time=clock(alert.started_at),
        day=_date(alert.started_at),
        counted=f"{count(events, 'event')} from {count(sources, 'source')}",
        sources=count(sources, "source"),
        span=alert.window_end - alert.window_start,
        word=alert.word or "",
    )
    text = KINDS[alert.kind].say(said)
    if alert.resolved_at is not None and alert.fired_at is not None:
        text += f" It ended at {clock(alert.resolved_at)}."
    return text


def _moment(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


def _date(time: int) -> str:
    at = _moment(time)
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def clock(time: int) -> str:
    """Return a time to the minute: `14:10 UTC on 3 March 2024`."""
    return f"{_moment(time):%H:%M} UTC on {_date(time)}"
