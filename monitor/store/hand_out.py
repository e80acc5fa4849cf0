"""Write the deliveries of a row of the outbox: what waits, what is muted, and what another message carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, update

from foreshock.monitor.store import schema
from foreshock.monitor.store.hearing import Hand, Routing, groups
from foreshock.monitor.store.outbox_events import OF_INCIDENT

_d = schema.deliveries.c
_INSERT = insert(schema.deliveries)


def hand_out(
    connection: Connection,
    row: Any,
    hands: Sequence[Hand],
    routing: Routing,
    now: int,
    *,
    carried_by: str | None = None,
) -> None:
    """Write a delivery for each hand, in the place of what was muted about the same incident.

    `carried_by`: the alert of the message that stands for this one, for those for whom it is not muted.
    """
    rows = []
    for hand in hands:
        if hand.replaces:
            _supersede(connection, row.alert_id, row.event, hand.receiver)
        rows.append(
            {
                "alert_id": row.alert_id,
                "event": row.event,
                "receiver": hand.receiver,
                "state": "muted" if hand.muted else "digested" if carried_by else "waiting",
                "attempts": 0,
                "next_attempt_at": _next(hand, routing, now, carried_by),
                "muted_by": groups(hand.mutes) if hand.muted else None,
                "carried_by": None if hand.muted else carried_by,
                "route": hand.route,
                "shown_as": hand.shown_as,
            }
        )
    if rows:
        connection.execute(_INSERT, rows)


def _next(hand: Hand, routing: Routing, now: int, carried_by: str | None) -> int | None:
    if hand.muted:
        return routing.muted_until(hand.mutes, now)
    return None if carried_by else now


def _supersede(connection: Connection, alert_id: str, event: str, receiver: str) -> None:
    """Note that a message replaces what is muted about the same incident or alert for a receiver."""
    of_incident = _d.event.startswith(OF_INCIDENT)
    alike = of_incident if event.startswith(OF_INCIDENT) else ~of_incident
    mine = and_(_d.alert_id == alert_id, _d.receiver == receiver, _d.state == "muted", alike)
    connection.execute(delete(schema.deliveries).where(mine, _d.event == event))  # an escalation sends it anew
    connection.execute(update(schema.deliveries).where(mine).values(state="superseded", next_attempt_at=None))
