"""Tell further receivers of an incident that nobody acknowledged in time.

Each route that escalates has a row for each incident that it announced, so it escalates once, also after a restart. The
wait begins when the route's receivers hear of the incident: what is muted is not waited for yet.

An acknowledgement counts if it came after the route's first message about the incident was decided. So one
that was given before the incident became graver does not stop the escalation of a graver route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from foreshock.monitor.store import hearing, schema
from foreshock.monitor.store.hand_out import hand_out
from foreshock.monitor.store.hearing import Hand, Routing
from foreshock.monitor.store.outbox_events import OF_INCIDENT, is_end

_e = schema.escalations.c


def follow(connection: Connection, row: Any, hands: Sequence[Hand], routing: Routing, now: int) -> None:
    """Note for each route that announces an incident when it escalates; or that an ended one need not.

    `row`: of the outbox, about an incident. `hands`: who gets it.
    """
    if is_end(row.event):
        mine = and_(_e.alert_id == row.alert_id, _e.state == "waiting")
        connection.execute(update(schema.escalations).where(mine).values(state="ended"))
        return
    if not routing.escalates:
        return
    found = routing.escalations(hearing.subject_of(hearing.text(connection, row)), now)
    if not found:
        return
    known = set(connection.execute(select(_e.route).where(_e.alert_id == row.alert_id)).scalars())
    kept_back = bool(hands) and all(hand.muted for hand in hands)
    for route, wait in found:
        if route not in known:
            connection.execute(
                insert(schema.escalations).values(
                    alert_id=row.alert_id,
                    route=route,
                    state="waiting",
                    since=min(row.decided_at, now),
                    wait=wait,
                    due_at=None if kept_back else now + wait,
                )
            )


def begin(connection: Connection, alerts: Sequence[str], now: int) -> None:
    """Let the waits begin of incidents whose messages were muted until now. `alerts`: their first alerts."""
    for alert in dict.fromkeys(alerts):
        mine = and_(_e.alert_id == alert, _e.state == "waiting", _e.due_at.is_(None))
        connection.execute(update(schema.escalations).where(mine).values(due_at=now + _e.wait))


def has_due(connection: Connection, now: int) -> bool:
    """Return whether any escalation is due."""
    due = and_(_e.state == "waiting", _e.due_at <= now)
    return connection.execute(select(_e.route).where(due).limit(1)).first() is not None


def escalate(
    connection: Connection, routing: Routing, receivers: Sequence[str], silenced: Callable[[str], bool], now: int
) -> int:
    """Hand the newest message of each incident that is due to its route's further receivers. Return how many got one.

    Who heard of the incident already gets nothing more. A silence is an answer of the desk, as an acknowledgement is.
    """
    count = 0
    query = select(schema.escalations).where(_e.state == "waiting", _e.due_at <= now).order_by(_e.due_at, _e.alert_id)
    for row in connection.execute(query).all():
        newest, hands = _newest(connection, row.alert_id), list[Hand]()
        if newest is None or _acknowledged(connection, row.alert_id, row.since):
            state = "acknowledged"
        elif hearing.is_silenced(connection, newest, silenced):
            state = "silenced"
        else:
            state, hands = "escalated", _further(connection, row, newest, routing, receivers, now)
        mine = and_(_e.alert_id == row.alert_id, _e.route == row.route, _e.state == "waiting")
        if connection.execute(update(schema.escalations).where(mine).values(state=state)).rowcount == 1:
            hand_out(connection, newest, hands, routing, now)
            count += len(hands)
    return count


def _further(
    connection: Connection, row: Any, newest: Any, routing: Routing, receivers: Sequence[str], now: int
) -> list[Hand]:
    further = [name for name in receivers if name in routing.escalates_to(row.route)]
    if not further:
        return []
    severity = hearing.subject_of(hearing.text(connection, newest)).severity
    before = hearing.heard(connection, row.alert_id, of_incident=True)
    hands = []
    for name in further:
        known = before.get(name, hearing.Known())
        if not known.heard:
            mutes = routing.kept(name, None, severity)
            hands.append(Hand(name, row.route, mutes, routing.muted(mutes, now), "escalated", known.muted))
    return hands


def _newest(connection: Connection, alert_id: str) -> Any:
    """Return the row of the newest message about an incident that receivers were given, or None."""
    o, a = schema.outbox.c, schema.alerts.c
    given = and_(
        o.alert_id == alert_id, o.event.startswith(OF_INCIDENT), o.state.in_(("dispatched", "folded", "silenced"))
    )
    columns = (o.alert_id, o.event, o.decided_at, a.topic, a.group_id)
    query = select(*columns).join_from(schema.outbox, schema.alerts, o.alert_id == a.id).where(given)
    query = query.order_by(o.decided_at.desc(), o.event.desc())
    return connection.execute(query.limit(1)).first()


def _acknowledged(connection: Connection, alert_id: str, since: int) -> bool:
    d, a, i = schema.desk_actions.c, schema.alerts.c, schema.incidents.c
    mine = select(a.id).join(schema.incidents, i.id == a.group_id).where(i.first_alert == alert_id)
    found = exists().where(d.action == "acknowledge", d.at >= since, or_(d.alert_id.in_(mine), d.alert_id == alert_id))
    return bool(connection.execute(select(found)).scalar())
