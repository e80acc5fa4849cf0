"""Read what happened to an incident or an alert: the messages about it with their deliveries, and what people did.

Times are microseconds since 1970, UTC. Messages have the event time at which they were decided; deliveries and what
people do have the time by the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.outbox_events import OF_INCIDENT
from foreshock.monitor.units import shown


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message at one receiver."""

    receiver: str
    route: str | None
    state: str
    attempts: int
    delivered_at: int | None
    next_attempt_at: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message about an alert or an incident."""

    event: str
    """As in the outbox: `firing`, `incident.updated-000001`."""
    at: int
    state: str
    """What became of it in the outbox. It was given to receivers if it is `dispatched` or `folded`."""
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """What one person did."""

    action: str
    at: int
    by: str
    note: str
    topic: str | None
    until: int | None


def messages(connection: Connection, alerts: Sequence[str], *, of_incident: bool) -> list[Message]:
    """Return the messages that stand under these alerts, the earliest first.

    `of_incident`: those about an incident, which stand under its first alert. Otherwise those about the alerts.
    """
    o, d = schema.outbox.c, schema.deliveries.c
    given: dict[tuple[str, str], list[Delivery]] = {}
    rows = lookup.by_text(connection, select(schema.deliveries), d.alert_id, alerts)
    for row in sorted(rows, key=lambda row: row.receiver):
        one = Delivery(
            *(row.receiver, row.route, row.state, row.attempts, row.delivered_at),
            *(row.next_attempt_at, row.last_error),
        )
        given.setdefault((row.alert_id, row.event), []).append(one)
    columns = select(o.alert_id, o.event, o.decided_at, o.state)
    found = [
        Message(row.event, row.decided_at, row.state, tuple(given.get((row.alert_id, row.event), ())))
        for row in lookup.by_text(connection, columns, o.alert_id, alerts)
        if row.event.startswith(OF_INCIDENT) == of_incident
    ]
    return sorted(found, key=lambda message: (message.at, message.event))


def acts(
    connection: Connection, alerts: Sequence[str], topics: Sequence[str], since: int, until: int | None
) -> list[Act]:
    """Return what people did about these alerts, and their silences of these topics in [since, until), in order.

    Times are by the clock; an `until` of None has no end.
    """
    d = schema.desk_actions.c
    mine = list(lookup.by_text(connection, select(schema.desk_actions), d.alert_id, alerts))
    silences = select(schema.desk_actions).where(d.action == "silence", d.at >= since)
    silences = silences if until is None else silences.where(d.at < until)
    # A new name may be silenced on a page, and by its name (`desk_actions.silenced_until`).
    mine += lookup.by_text(connection, silences, d.topic, sorted({*topics, *map(shown, topics)}))
    return [act(row) for row in sorted(mine, key=lambda row: row.number)]


def act(row: Any) -> Act:
    """Return what a row of `desk_actions` says."""
    return Act(row.action, row.at, row.by, row.note, row.topic, row.until)
