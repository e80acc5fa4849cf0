"""Write the alerts, incidents and messages of a made-up desk: a thousand alerts, of which thirty are firing."""

from __future__ import annotations

import json
from uuid import UUID

from sqlalchemy import Connection

from foreshock.monitor.store import bulk, schema
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import HOUR, MINUTE

ALERTS = 1_000
FIRING = 30
PENDING = 20
PER_INCIDENT = 4
STORIES = 10
"""Stories with an alert."""
RECEIVERS = ("desk", "on-call")


def write_alerts(connection: Connection, topics: list[str], start: int, end: int) -> None:
    """Write alerts from `start` to `end`, their incidents, and what was sent of them. The last ones are open."""
    alerts = [_alert(number, topics, start, end) for number in range(ALERTS)]
    bulk.insert(connection, schema.alerts, alerts)
    fired = [alert for alert in alerts if alert["fired_at"] is not None]
    incidents = [_incident(fired[first : first + PER_INCIDENT]) for first in range(0, len(fired), PER_INCIDENT)]
    bulk.insert(connection, schema.incidents, incidents)
    events = [(row["first_alert"], "incident.firing", row["fired_at"]) for row in incidents]
    outbox = [
        {"alert_id": alert, "event": event, "decided_at": at, "state": "dispatched", "alert": "{}"}
        for alert, event, at in events
    ]
    bulk.insert(connection, schema.outbox, outbox)
    columns = ("alert_id", "event", "receiver", "state", "attempts", "tried_at", "delivered_at")
    sent = [(alert, event, to, "delivered", 1, at, at) for alert, event, at in events for to in RECEIVERS]
    bulk.insert_tuples(connection, schema.deliveries, columns, sent)


def _alert(number: int, topics: list[str], start: int, end: int) -> dict[str, object]:
    open_ones = ALERTS - FIRING - PENDING
    at = start + (end - start) // (ALERTS + 1) * (number + 1)
    if number >= open_ones:
        at = end - (ALERTS - number) * 4 * MINUTE
    at -= at % (5 * MINUTE)
    topic, fired = topics[number * 37 % len(topics)], number < ALERTS - PENDING
    resolved = number < open_ones
    story = {
        **{"title": "A made-up story of an ordinary length, for the size of its row", "source": "Source 7"},
        **{"url": "https://news.example/stories/1", "published_at": iso(at - HOUR), "copies": 1},
        "scores": {"negative": 0.8, "neutral": 0.1, "positive": 0.1, "severity": 1.2},
    }
    return {
        "id": str(UUID(int=number + 1)),
        **{"topic": topic, "kind": "negativity_spike", "direction": "worse", "origin": "live"},
        "state": "resolved" if resolved else "firing" if fired else "pending",
        "group_id": str(UUID(int=2**64 + number // PER_INCIDENT)) if fired else None,
        **{"started_at": at - 2 * HOUR, "pending_at": at, "fired_at": at if fired else None},
        "resolved_at": at + 6 * HOUR if resolved else None,
        **{"observed": 9.0, "baseline": 0.5, "score": 4.0, "severity": "warning"},
        **{"window_start": at - HOUR, "window_end": at, "sources": 5, "events": 9, "settings": 1},
        "evidence": json.dumps([{"id": f"story-{place}", **story} for place in range(STORIES)]),
        "sentence": f"Negative stories on {topic}: 9 in 60 minutes, usual 0.5, from 5 sources",
        **{"statistic": 6.0, "threshold": 4.0, "evidence_events": 9},
        **{"inhibited_by": None, "inhibited_because": None, "word": None},
    }


def _incident(alerts: list[dict[str, object]]) -> dict[str, object]:
    first, last = alerts[0], alerts[-1]
    ended = None if any(alert["resolved_at"] is None for alert in alerts) else last["resolved_at"]
    return {
        **{"id": first["group_id"], "first_alert": first["id"], "state": "open" if ended is None else "ended"},
        **{"direction": "worse", "origin": "live", "severity": "warning", "lead": first["id"]},
        **{"title": f"Bad news on {first['topic']}", "events": 9, "sources": 5, "peak_events": 9},
        **{"started_at": first["started_at"], "fired_at": first["fired_at"], "updated_at": last["fired_at"]},
        **{"notified_at": last["fired_at"], "peak_at": first["fired_at"], "ended_at": ended, "merged_into": None},
        **{"messages": 1, "held": "[]", "settings": 1},
    }
