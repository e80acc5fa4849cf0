"""An alert's life: pending, firing, resolved. And the sentence that says it.

Detectors say how a topic stands; here it becomes what a person is told. At most one alert of a (topic, kind,
direction) is open; its id is a function of what it is about and when it became pending, so a replay finds it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from foreshock.monitor.detectors import Finding, Level

NAMESPACE = UUID("b43ef2f7-33d4-5b3c-9a43-1b1f0b9a2f5e")
"""Fixed for ever: alerts' ids are names in it."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it stands. Times in microseconds; shares for a spike, polarities for drift, events for silence."""

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


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What became of an alert: `pending`, `firing`, `resolved`, or `dropped` (a pending one that never fired)."""

    event: str
    alert: Alert


def alert_id(topic: str, kind: str, direction: str, pending_at: int) -> str:
    """UUIDv5 of topic, kind, direction and the end (ISO 8601, UTC) of the bucket in which it became pending."""
    return str(uuid5(NAMESPACE, "\n".join((topic, kind, direction, f"{_moment(pending_at):%Y-%m-%dT%H:%M:%SZ}"))))


@dataclass(slots=True)
class _Open:
    alert: Alert
    calm: int = 0


class LifeCycle:
    """All open alerts. Changes come out in the order of topic (bytewise), kind, direction."""

    def __init__(self, calm_hours: dict[str, int]) -> None:
        self.calm_hours = calm_hours
        """Whole hours, by kind, for which a firing alert must be calm before it is resolved; at once where absent."""
        self.open: dict[tuple[str, int, str], _Open] = {}

    def watched(self, kind: str) -> dict[int, list[Alert]]:
        """Open alerts of a kind by topic."""
        found: dict[int, list[Alert]] = {}
        for (of, topic, _), entry in self.open.items():
            if of == kind:
                found.setdefault(topic, []).append(entry.alert)
        return found

    def take(
        self, kind: str, findings: Iterable[Finding], names: list[str], at: int, *, hour: bool
    ) -> list[AlertChange]:
        """Applies a detector's findings at `at`; `hour`: this look is an hour's, and counts towards being calm."""
        changes: list[AlertChange] = []
        for f in findings:
            key = (kind, f.topic, f.direction)
            entry = self.open.get(key)
            if entry is None:
                if f.level < Level.NEAR:
                    continue
                entry = self.open[key] = _Open(_pending(kind, f, names[f.topic], at))
                changes.append(AlertChange("pending", entry.alert))
            if entry.alert.fired_at is None:
                if f.level is Level.MET:
                    entry.alert = _fired(entry.alert, f, at)
                    changes.append(AlertChange("firing", entry.alert))
                elif f.level is Level.CALM:
                    del self.open[key]
                    changes.append(AlertChange("dropped", replace(entry.alert, state="resolved", resolved_at=at)))
                continue
            if f.level is not Level.CALM:
                entry.calm = 0
                continue
            needed = self.calm_hours.get(kind, 0)
            entry.calm += hour and needed > 0
            if entry.calm >= needed:
                del self.open[key]
                changes.append(AlertChange("resolved", replace(entry.alert, state="resolved", resolved_at=at)))
        return changes

    def dump(self) -> list[dict[str, object]]:
        """JSON of the open alerts, in a fixed order."""
        return [
            {"topic": topic, "calm": entry.calm, "alert": asdict(entry.alert)}
            for (_, topic, _), entry in sorted(self.open.items())
        ]

    def load(self, rows: list[dict[str, object]]) -> None:
        """The inverse of `dump`."""
        for row in rows:
            alert = Alert(**row["alert"])  # type: ignore[arg-type]
            self.open[alert.kind, int(str(row["topic"])), alert.direction] = _Open(alert, int(str(row["calm"])))


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
    )


def sentence(alert: Alert, events: int, sources: int) -> str:
    """The alert in plain words, with its numbers. `events`, `sources`: of its evidence window.

    What is usual is the baseline two of the score's sds either way: for a spike the sd is the rise over the score.
    """
    topic = "all stories" if alert.topic == "_all" else alert.topic
    since = f"since {_clock(alert.started_at)}"
    counted = f"{_count(events, 'event')} from {_count(sources, 'source')}"
    if alert.kind == "silence":
        missed = _count(round(alert.baseline), "event")
        text = f"No story on {topic} {since}; {missed} would be usual in that time."
    elif alert.kind == "drift":
        word = "fallen" if alert.direction == "worse" else "risen"
        since = f"since {_date(alert.started_at)}"
        text = (
            f"Polarity of {topic} has {word} to {alert.observed:+.2f}, from {alert.baseline:+.2f}, {since}, {counted}."
        )
    else:
        sd = abs(alert.observed - alert.baseline) / max(abs(alert.score), 1e-9)
        low, high = max(alert.baseline - 2 * sd, 0.0), min(alert.baseline + 2 * sd, 1.0)
        usual = f"usual for this hour {low * 100:.0f}-{high * 100:.0f} %"
        text = f"Negative share of {topic} is {alert.observed * 100:.0f} %, {usual}, {since}, {counted}."
    if alert.resolved_at is not None and alert.fired_at is not None:
        text += f" Over at {_clock(alert.resolved_at)}."
    return text


def _moment(time: int) -> datetime:
    return EPOCH + timedelta(microseconds=time)


def _date(time: int) -> str:
    at = _moment(time)
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def _clock(time: int) -> str:
    return f"{_moment(time):%H:%M} UTC on {_date(time)}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
