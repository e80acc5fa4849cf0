"""Alerts in the store: written as closing decides them, and as JSON for readers outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from foreshock.monitor.alerts import Alert, AlertChange, sentence
from foreshock.monitor.kinds import CRITICAL, NEW_NAME, SPIKE
from foreshock.monitor.store import critical, evidence, outbox, schema
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import shown


@dataclass(frozen=True, slots=True)
class AlertNews:
    """A change of an alert as it was written, with its evidence and its sentence."""

    change: AlertChange
    evidence: list[dict[str, Any]]
    events: int
    sources: int
    sentence: str


def write_alert(
    connection: Connection,
    change: AlertChange,
    *,
    origin: str,
    settings: int,
    deliver: bool,
    joined: Mapping[str, Any] | None = None,
) -> AlertNews:
    """Write a changed alert with its evidence, and put it into the outbox if it fires or resolves.

    `origin`: `live` or `replay`. `settings`: number of the settings version that decided it. With `deliver` false the
    message is withheld, unless it ends an alert that was delivered. `joined`: the columns about its incident, which
    stay as they were without it.
    """
    alert = change.alert
    row = row_of(connection, change, origin=origin, settings=settings, joined=joined or _joined(connection, alert.id))
    connection.execute(delete(schema.alerts).where(schema.alerts.c.id == alert.id))
    connection.execute(insert(schema.alerts).values(**row))
    if change.event in ("firing", "resolved"):
        # The message holds the alert as it is now, however late it is sent. The sender adds the origin, which says
        # how this store came to decide the alert.
        as_decided = {key: value for key, value in alert_json(row).items() if key != "origin"}
        outbox.put(
            connection,
            alert.id,
            change.event,
            decided_at=(alert.fired_at if change.event == "firing" else alert.resolved_at) or known_at(alert),
            queued=deliver or _ends_a_delivered_one(connection, change),
            alert=as_decided,
        )
    return AlertNews(change, json.loads(row["evidence"]), row["events"], row["sources"], row["sentence"])


def row_of(
    connection: Connection, change: AlertChange, *, origin: str, settings: int, joined: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of a changed alert, with its evidence and its sentence."""
    alert = change.alert
    stories, events, sources = _evidence(connection, alert)
    return {
        **asdict(alert),
        "origin": origin,
        **joined,
        "evidence": json.dumps(stories, ensure_ascii=False),
        "sources": sources,
        "events": events,
        "sentence": sentence(alert, events, sources),
        "settings": settings,
    }


def known_at(alert: Alert) -> int:
    """Return the time of an alert's last change (microseconds)."""
    return max(filter(None, (alert.pending_at, alert.fired_at, alert.resolved_at)))


def _evidence(connection: Connection, alert: Alert) -> tuple[list[dict[str, Any]], int, int]:
    """Return the stories of an alert, and how many events and sources its window has."""
    if alert.kind == CRITICAL:
        return critical.shown(connection, alert)
    start, end = alert.window_start, alert.window_end
    events, sources = evidence.totals(connection, alert.topic, start, end)
    worse = alert.direction == "worse"
    found = evidence.stories(connection, alert.topic, start, end, known=known_at(alert), worse=worse)
    if alert.kind in (SPIKE, NEW_NAME):  # among those that are about as grave, the newest come first
        found.sort(key=lambda story: story["published_at"], reverse=True)
        found.sort(key=_about_as_grave, reverse=True)
    return found, events, sources


def _joined(connection: Connection, alert_id: str) -> dict[str, Any]:
    """Return the columns that say to which incident an alert belongs, as the store has them."""
    a = schema.alerts.c
    columns = (a.group_id, a.severity, a.evidence_events, a.inhibited_by, a.inhibited_because)
    row = connection.execute(select(*columns).where(a.id == alert_id)).first()
    return dict.fromkeys(column.name for column in columns) if row is None else dict(row._mapping)


def _about_as_grave(story: dict[str, Any]) -> float:
    """Return a story's severity in halves, or, where none is known, its probability of negative in tenths."""
    scores: dict[str, float] = story["scores"]
    return round(2 * scores["severity"]) / 2 if "severity" in scores else round(scores["negative"], 1)


def _ends_a_delivered_one(connection: Connection, change: AlertChange) -> bool:
    """Return whether this resolves an alert whose firing was delivered. It stays open at its receiver otherwise."""
    if change.event != "resolved":
        return False
    return outbox.state_of_news(connection, change.alert.id) in outbox.ANNOUNCED


def alert_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alert's columns as outsiders read them: in `alerts list --json` and in a webhook."""
    return {
        "id": row["id"],
        "topic": shown(str(row["topic"])),
        "kind": row["kind"],
        "direction": row["direction"],
        "state": row["state"],
        "origin": row["origin"],
        "group_id": row["group_id"],
        "started_at": iso(row["started_at"]),
        "fired_at": iso_or_none(row["fired_at"]),
        "resolved_at": iso_or_none(row["resolved_at"]),
        "observed": row["observed"],
        "baseline": row["baseline"],
        "evidence": json.loads(row["evidence"]),
        "sources": row["sources"],
        "events": row["events"],
        "severity": row["severity"],
        "sentence": row["sentence"],
        "statistic": row["statistic"],
        "threshold": row["threshold"],
        "word": row["word"],
        "inhibited_by": row["inhibited_by"],
        "inhibited_because": row["inhibited_because"],
    }
