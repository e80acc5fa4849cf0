"""Tell further receivers of an incident that nobody acknowledged in time.

Each route that escalates has a row for each incident that it announced, so it escalates once, also after a restart. The
wait begins when the first of the route's receivers hears of the incident. While it is muted for all of them, `due_at`
is null. What other receivers hear changes nothing about it.

An acknowledgement counts if it came after the route's first message about the incident was decided. So one
that was given before the incident became graver does not stop the escalation of a graver route.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from foreshock.monitor.store import hearing, schema
from foreshock.monitor.store.hand_out import hand_out
from foreshock.monitor.store.hearing import Hand, Routing
from foreshock.monitor.store.outbox_events import OF_INCIDENT, is_end

_e = schema.escalations.c
_KEPT_BACK = select(_e.alert_id, _e.route, _e.receivers).where(_e.state == "waiting", _e.due_at.is_(None))
"""Selects the waits that have not begun."""


def follow(connection: Connection, row: Any, hands: Sequence[Hand], routing: Routing, now: int) -> None:
    """Note for each route that announces an incident when it escalates; or that an ended one need not.

    If the first message was muted for the route's receivers and this one is not, their wait begins.

    `row`: of the outbox, about an incident. `hands`: who gets it.
    """
    if is_end(row.event):
        mine = and_(_e.alert_id == row.alert_id, _e.state == "waiting")
        connection.execute(update(schema.escalations).where(mine).values(state="ended"))
        return
    begin(connection, row.alert_id, [hand.receiver for hand in hands if not hand.muted], now)
    if not routing.escalates:
        return
    found = routing.escalations(hearing.subject_of(hearing.text(connection, row)), now)
    if not found:
        return
    known = set(connection.execute(select(_e.route).where(_e.alert_id == row.alert_id)).scalars())
    for one in found:
        if one.route not in known:
            muted = [hand.muted for hand in hands if hand.receiver in one.receivers]
            connection.execute(
                insert(schema.escalations).values(
                    alert_id=row.alert_id,
                    route=one.route,
                    receivers=json.dumps(one.receivers, ensure_ascii=False),
                    state="waiting",
                    since=min(row.decided_at, now),
                    wait=one.after,
                    due_at=None if muted and all(muted) else now + one.after,
                )
            )


def begin(connection: Connection, alert_id: str, receivers: Collection[str], now: int) -> None:
    """Let the waits begin that wait for these receivers, because they hear of an incident that was muted until now.

    `alert_id`: the incident's first alert.
    """
    if not receivers:
        return
    for row in connection.execute(_KEPT_BACK.where(_e.alert_id == alert_id)).all():
        if not set(receivers).isdisjoint(json.loads(row.receivers)):
            _begin(connection, row, now)


def begin_unheard(connection: Connection, now: int) -> None:
    """Let the waits begin of incidents that no receiver of the route can hear any more: nothing of them is muted."""
    d = schema.deliveries.c
    for row in connection.execute(_KEPT_BACK).all():
        muted = select(d.receiver).where(d.alert_id == row.alert_id, d.state == "muted")
        if set(json.loads(row.receivers)).isdisjoint(connection.execute(muted).scalars()):
            _begin(connection, row, now)


def _begin(connection: Connection, row: Any, now: int) -> None:
    mine = and_(_e.alert_id == row.alert_id, _e.route == row.route, _e.state == "waiting", _e.due_at.is_(None))
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
        if newest is None:
            state = "gone"
        elif _acknowledged(connection, row.alert_id, row.since):
            state = "acknowledged"
        elif hearing.is_silenced(connection, newest, silenced):
            state = "silenced"
        else:
            state, hands = "escalated", _further(connection, row, newest, routing, receivers, now)
        mine = and_(_e.alert_id == row.alert_id, _e.route == row.route, _e.state == "waiting")
        if connection.execute(update(schema.escalations).where(mine).values(state=state)).rowcount == 1:
            hand_out(connection, newest, hands, routing, now)
            begin(connection, row.alert_id, [hand.receiver for hand in hands if not hand.muted], now)
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
