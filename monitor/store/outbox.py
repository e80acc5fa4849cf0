"""Decide who hears of what is in the outbox.

When an alert or an incident changes, closing writes a row into `outbox` in the same transaction. `dispatch` writes one
row into `deliveries` for each receiver; `deliveries.py` attempts those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from foreshock.monitor.store import escalations, hearing, schema
from foreshock.monitor.store.hand_out import hand_out
from foreshock.monitor.store.hearing import Hand, Routing
from foreshock.monitor.store.outbox_events import AGAIN, OF_INCIDENT, is_end, is_firing
from foreshock.monitor.units import HOUR

BELATED = HOUR
"""A message is belated if a run that catches up decides it this long after its event time (microseconds)."""
FOLDED = 100
"""The most alerts that are listed in a message that stands for several."""
ANNOUNCED = ("dispatched", "folded", "queued")
"""The states of news that a receiver has or will have. What begins so must also end."""


def put(
    connection: Connection, alert_id: str, event: str, *, decided_at: int, queued: bool, alert: dict[str, Any]
) -> None:
    """Write a message into the outbox. One that was sent ahead of its bucket only becomes complete.

    `queued`: it is to be delivered; otherwise it is withheld. What was sent ahead and did not come true has ended, so
    the same news are another event.
    """
    event = event if not _is_over(connection, alert_id, event) else f"{event}{AGAIN}"
    o, text = schema.outbox.c, json.dumps(alert, ensure_ascii=False)
    ahead = (
        update(schema.outbox).where(o.alert_id == alert_id, o.event == event).values(decided_at=decided_at, alert=text)
    )
    if connection.execute(ahead).rowcount == 0:
        values = {"alert_id": alert_id, "event": event, "decided_at": decided_at, "alert": text}
        connection.execute(insert(schema.outbox).values(**values, state="queued" if queued else "withheld"))


def _is_over(connection: Connection, alert_id: str, event: str) -> bool:
    """Return whether an event was said of an alert that was sent ahead and did not come true."""
    o, s = schema.outbox.c, schema.sent_ahead.c
    query = select(o.event).join_from(schema.outbox, schema.sent_ahead, s.alert_id == o.alert_id)
    mine = query.where(o.alert_id == alert_id, o.event == event, s.came_true.is_(False))
    return connection.execute(mine).first() is not None


def has_queued(connection: Connection) -> bool:
    """Return whether any outbox row waits to be dispatched."""
    o = schema.outbox.c
    return connection.execute(select(o.alert_id).where(o.state == "queued").limit(1)).first() is not None


def state_of_news(connection: Connection, alert_id: str, *, of_incident: bool = False) -> str | None:
    """Return what became of the news of an alert before its end: the state that reached furthest; None without news.

    `of_incident`: of the incident that the alert began. Any of its messages may be the first that is delivered.
    """
    o = schema.outbox.c
    about = o.event.startswith(OF_INCIDENT) if of_incident else o.event.startswith("firing")
    query = select(o.state).where(o.alert_id == alert_id, about, ~o.event.startswith(f"{OF_INCIDENT}resolved"))
    found = set(connection.execute(query).scalars())
    return next((state for state in (*ANNOUNCED, "silenced", "withheld") if state in found), None)


def belated(connection: Connection, now: int) -> tuple[int, int, int]:
    """Describe the queued rows that were decided long after their event time.

    Returns their number, the latest time at which one was decided, and "decided until" (0 once that is recent). All
    three stay the same once the monitor has caught up.
    """
    o, a = schema.outbox.c, schema.alerts.c
    query = (
        select(func.count(), func.max(o.decided_at))
        .join_from(schema.outbox, schema.alerts, o.alert_id == a.id)
        .where(o.state == "queued", a.origin == "live", o.decided_at < now - BELATED)
    )
    count, last = connection.execute(query).one()
    decided_until = connection.execute(select(schema.feed.c.decided_until)).scalar() or 0
    return int(count), int(last or 0), decided_until if decided_until < now - BELATED else 0


_BECOMES = (
    update(schema.outbox)
    .where(schema.outbox.c.alert_id == bindparam("of_alert"), schema.outbox.c.event == bindparam("of_event"))
    .where(schema.outbox.c.state == "queued")
    .values(state=bindparam("new_state"))
)


def dispatch(
    connection: Connection,
    receivers: Sequence[str],
    now: int,
    silenced: Callable[[str], bool],
    *,
    routing: Routing,
    old: Collection[str] = (),
    caught_up: bool = True,
) -> dict[str, int]:
    """Give each queued row to its receivers, or to none if its topic is silenced. Count the rows by their new state.

    Rows about alerts go to the receivers of version 1 (`old`), and rows about incidents to the others; `hearing.hands`
    says to which of them. What is muted is kept back (`muted.py`).

    An end follows what came before: if all of that was silenced or withheld, so is `resolved`; otherwise it is
    delivered, also under a silence. An update does not: its incident may have begun in a replay or under a silence.
    Belated rows wait until the monitor has `caught_up`, and are then folded into one message for those who would hear
    of all of them. If anything before was delivered alone, so is what follows. An incident is silenced while all its
    topics are.
    """
    o, a = schema.outbox.c, schema.alerts.c
    query = (
        # Without the alerts themselves: they may be many.
        select(o.alert_id, o.event, o.decided_at, a.topic, a.origin, a.group_id)
        .join_from(schema.outbox, schema.alerts, o.alert_id == a.id)
        .where(o.state == "queued")
        .order_by(o.decided_at, o.alert_id, case((o.event.like("%resolved%"), 1), else_=0), o.event)
    )
    late: dict[tuple[str, bool], list[Any]] = {}
    waiting: set[tuple[str, bool]] = set()
    became = {"dispatched": 0, "silenced": 0, "withheld": 0, "folded": 0}

    def hands(row: Any, *, whole: bool = False) -> list[Hand]:
        return hearing.hands(connection, row, routing, receivers, old, now, to_all=_to_all(row), whole=whole)

    def becomes(row: Any, state: str, to: Sequence[Hand] | None = None, **values: Any) -> None:
        found = {"of_alert": row.alert_id, "of_event": row.event, "new_state": state}
        change = _BECOMES.values(**values) if values else _BECOMES
        if connection.execute(change, found).rowcount != 1:
            return
        became[state] += 1
        if state == "dispatched":
            _hand_out(connection, row, hands(row) if to is None else to, routing, now)

    for row in connection.execute(query).all():
        of_incident = row.event.startswith(OF_INCIDENT)
        about = row.alert_id, of_incident
        is_late = row.origin == "live" and row.decided_at < now - BELATED
        if about in waiting or (is_late and not caught_up):
            waiting.add(about)
            continue
        state = "silenced" if hearing.is_silenced(connection, row, silenced) else "dispatched"
        if about in late:
            is_late = True
        elif not is_firing(row.event):
            before = state_of_news(connection, row.alert_id, of_incident=of_incident) or "withheld"
            if is_end(row.event):
                state = "dispatched" if before in ANNOUNCED else before
            is_late = is_late and before != "dispatched"
        if is_late and state == "dispatched":
            late.setdefault(about, []).append(row)
        else:
            becomes(row, state)
    last = {about: next((row for row in rows if is_end(row.event)), rows[-1]) for about, rows in late.items()}
    alike: dict[tuple[bool, bool, frozenset[tuple[str, bool]]], list[tuple[Any, list[Hand]]]] = {}
    for (alert, of_incident), row in last.items():
        # What goes to other receivers is not folded with it, nor what is muted for others of them: a message that is
        # kept back carries nothing.
        to = hands(row, whole=len(late[alert, of_incident]) > 1)
        kind = not _to_all(row), of_incident, frozenset((hand.receiver, hand.muted) for hand in to)
        alike.setdefault(kind, []).append((row, to))
    for _, group in sorted(alike.items(), key=lambda one: (*one[0][:2], sorted(one[0][2]))):
        _fold(connection, group, becomes, routing, now)
    for about, rows in late.items():
        for row in rows:
            if row is not last[about]:
                becomes(row, "folded")
    return became


def _hand_out(
    connection: Connection, row: Any, to: Sequence[Hand], routing: Routing, now: int, *, carried_by: str | None = None
) -> None:
    hand_out(connection, row, to, routing, now, carried_by=carried_by)
    if row.event.startswith(OF_INCIDENT):
        escalations.follow(connection, row, to, routing, now)


def _to_all(row: Any) -> bool:
    """Return whether a row is about an alert from before incidents. Those go to receivers of any version."""
    return row.group_id is None and not row.event.startswith(OF_INCIDENT)


def _fold(
    connection: Connection,
    rows: Sequence[tuple[Any, list[Hand]]],
    becomes: Callable[..., None],
    routing: Routing,
    now: int,
) -> None:
    """Dispatch one row that stands for all: the newest that is still firing, or else the newest. Fold the others.

    `rows`: each with who gets it: the same receivers for all, muted for the same ones. For those, each is kept back by
    itself.
    """
    *others, (first, to) = sorted(rows, key=lambda one: (not is_end(one[0].event), one[0].decided_at, one[0].alert_id))
    for row, heard_by in others:
        becomes(row, "folded")
        _hand_out(connection, row, heard_by, routing, now, carried_by=first.alert_id)
    newest = [{**hearing.text(connection, row), "origin": row.origin} for row, _ in others[: -FOLDED - 1 : -1]]
    left_out = {"evidence", "alerts", "stories"}
    listed = [{key: value for key, value in one.get("incident", one).items() if key not in left_out} for one in newest]
    alert = {**hearing.text(connection, first), "belated": True, "folded": listed, "folded_count": len(others)}
    becomes(first, "dispatched", to, alert=json.dumps(alert, ensure_ascii=False))
