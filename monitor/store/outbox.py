"""Decide who hears of what is in the outbox.

When an alert or an incident changes, closing writes a row into `outbox` in the same transaction. `dispatch` writes one
row into `deliveries` for each receiver; `deliveries.py` attempts those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from foreshock.monitor.store import schema
from foreshock.monitor.units import HOUR

OF_INCIDENT = "incident."
"""The beginning of the events about an incident: `incident.firing`, `incident.updated-000001` and so on, and
`incident.resolved`, in rows of its first alert. The events about an alert are `firing` and `resolved`."""

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

    `queued`: it is to be delivered; otherwise it is withheld.
    """
    o, text = schema.outbox.c, json.dumps(alert, ensure_ascii=False)
    ahead = (
        update(schema.outbox).where(o.alert_id == alert_id, o.event == event).values(decided_at=decided_at, alert=text)
    )
    if connection.execute(ahead).rowcount == 0:
        values = {"alert_id": alert_id, "event": event, "decided_at": decided_at, "alert": text}
        connection.execute(insert(schema.outbox).values(**values, state="queued" if queued else "withheld"))


def has_queued(connection: Connection) -> bool:
    """Return whether any outbox row waits to be dispatched."""
    o = schema.outbox.c
    return connection.execute(select(o.alert_id).where(o.state == "queued").limit(1)).first() is not None


def state_of_news(connection: Connection, alert_id: str, *, of_incident: bool = False) -> str | None:
    """Return what became of the news of an alert before its end: the state that reached furthest; None without news.

    `of_incident`: of the incident that the alert began. Any of its messages may be the first that is delivered.
    """
    o = schema.outbox.c
    about = o.event.startswith(OF_INCIDENT) if of_incident else o.event == "firing"
    query = select(o.state).where(o.alert_id == alert_id, about, o.event != f"{OF_INCIDENT}resolved")
    found = set(connection.execute(query).scalars())
    return next((state for state in (*ANNOUNCED, "silenced", "withheld") if state in found), None)


def is_firing(event: str) -> bool:
    """Return whether an event announces an alert or an incident."""
    return event.removeprefix(OF_INCIDENT) == "firing"


def is_end(event: str) -> bool:
    """Return whether an event reports the end of an alert or an incident."""
    return event.removeprefix(OF_INCIDENT) == "resolved"


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
_DELIVER = insert(schema.deliveries)


def dispatch(
    connection: Connection,
    receivers: Sequence[str],
    now: int,
    silenced: Callable[[str], bool],
    *,
    old: Collection[str] = (),
    caught_up: bool = True,
) -> dict[str, int]:
    """Give each queued row to its receivers, or to none if its topic is silenced. Count the rows by their new state.

    Rows about alerts go to the receivers of version 1 (`old`), and rows about incidents to the others. An end also goes
    to whoever received anything before, so that nothing stays open at a receiver whose version was changed.

    An end follows what came before: if all of that was silenced or withheld, so is `resolved`. An update does not: its
    incident may have begun in a replay or under a silence. Belated rows wait until the monitor has `caught_up`, and are
    then folded into one message. If anything before was delivered alone, so is what follows. An incident is silenced
    while all its topics are; the end of one that was announced is delivered nevertheless.
    """
    o, a = schema.outbox.c, schema.alerts.c
    query = (
        # Without the alerts themselves: they may be many.
        select(o.alert_id, o.event, o.decided_at, a.topic, a.origin, a.group_id)
        .join_from(schema.outbox, schema.alerts, o.alert_id == a.id)
        .where(o.state == "queued")
        .order_by(o.decided_at, o.alert_id, case((o.event.like("%resolved"), 1), else_=0), o.event)
    )
    late: dict[tuple[str, bool], list[Any]] = {}
    waiting: set[tuple[str, bool]] = set()
    became = {"dispatched": 0, "silenced": 0, "withheld": 0, "folded": 0}

    def becomes(row: Any, state: str, **values: Any) -> None:
        found = {"of_alert": row.alert_id, "of_event": row.event, "new_state": state}
        change = _BECOMES.values(**values) if values else _BECOMES
        if connection.execute(change, found).rowcount != 1:
            return
        became[state] += 1
        names = _receivers_of(connection, row, receivers, old) if state == "dispatched" else []
        if names:
            fresh = {"state": "waiting", "attempts": 0, "next_attempt_at": now}
            rows = [{"alert_id": row.alert_id, "event": row.event, "receiver": name, **fresh} for name in names]
            connection.execute(_DELIVER, rows)

    for row in connection.execute(query).all():
        of_incident = row.event.startswith(OF_INCIDENT)
        about = row.alert_id, of_incident
        is_late = row.origin == "live" and row.decided_at < now - BELATED
        if about in waiting or (is_late and not caught_up):
            waiting.add(about)
            continue
        state = "silenced" if _is_silenced(connection, row, silenced) else "dispatched"
        if about in late:
            is_late = True
        elif not is_firing(row.event):
            before = state_of_news(connection, row.alert_id, of_incident=of_incident) or "withheld"
            if is_end(row.event):
                if before not in ANNOUNCED:
                    state = before
                elif of_incident:
                    state = "dispatched"
            is_late = is_late and before != "dispatched"
        if is_late and state == "dispatched":
            late.setdefault(about, []).append(row)
        else:
            becomes(row, state)
    last = {about: next((row for row in rows if is_end(row.event)), rows[-1]) for about, rows in late.items()}
    for told_to_all, of_incident in ((True, False), (False, False), (False, True)):
        # What goes to other receivers is not folded with these.
        alike = [row for (_, kind), row in last.items() if kind == of_incident and _to_all(row) == told_to_all]
        _fold(connection, alike, becomes)
    for about, rows in late.items():
        for row in rows:
            if row is not last[about]:
                becomes(row, "folded")
    return became


def _to_all(row: Any) -> bool:
    """Return whether a row is about an alert from before incidents. Those go to receivers of any version."""
    return row.group_id is None and not row.event.startswith(OF_INCIDENT)


def _receivers_of(connection: Connection, row: Any, receivers: Sequence[str], old: Collection[str]) -> list[str]:
    """Return the receivers of a row: those of its version, and of an end also those that got anything before."""
    if _to_all(row):
        return list(receivers)
    of_incident = row.event.startswith(OF_INCIDENT)
    wanted = {name for name in receivers if (name in old) != of_incident}
    if is_end(row.event):
        d = schema.deliveries.c
        began = d.event.startswith(OF_INCIDENT) if of_incident else d.event == "firing"
        wanted.update(connection.execute(select(d.receiver).where(d.alert_id == row.alert_id, began)).scalars())
    return [name for name in receivers if name in wanted]


def _is_silenced(connection: Connection, row: Any, silenced: Callable[[str], bool]) -> bool:
    """Return whether the topic of a row is silenced; of an incident, all topics whose alerts are not inhibited."""
    if not silenced(row.topic):
        return False
    if not row.event.startswith(OF_INCIDENT) or row.group_id is None:
        return True
    a = schema.alerts.c
    topics = select(a.topic).where(a.group_id == row.group_id, a.inhibited_by.is_(None)).distinct()
    return all(silenced(topic) for topic in connection.execute(topics).scalars())


def _fold(connection: Connection, rows: Sequence[Any], becomes: Callable[..., None]) -> None:
    """Dispatch one row that stands for all: the newest that is still firing, or else the newest. Fold the others."""
    if not rows:
        return
    *others, first = sorted(rows, key=lambda row: (not is_end(row.event), row.decided_at, row.alert_id))
    for row in others:
        becomes(row, "folded")
    newest = [{**_alert(connection, row), "origin": row.origin} for row in others[: -FOLDED - 1 : -1]]
    left_out = {"evidence", "alerts", "stories"}
    listed = [{key: value for key, value in one.get("incident", one).items() if key not in left_out} for one in newest]
    alert = {**_alert(connection, first), "belated": True, "folded": listed, "folded_count": len(others)}
    becomes(first, "dispatched", alert=json.dumps(alert, ensure_ascii=False))


def _alert(connection: Connection, row: Any) -> dict[str, Any]:
    o = schema.outbox.c
    query = select(o.alert).where(o.alert_id == row.alert_id, o.event == row.event)
    alert: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
    return alert
