"""Read and write the outbox and its deliveries: what to send to which receiver, the attempts and their results.

When an alert changes, closing writes a row into `outbox` in the same transaction. `dispatch` writes one row into
`deliveries` for each receiver. An attempt is committed after it was made, so a crash in between repeats it. Each
message is therefore delivered at least once, and a repetition has the same id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, func, insert, or_, select, update

from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store import receivers as receiver_states
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import HOUR

NAMESPACE = UUID("6f1c2f0a-5d0e-5c6e-8f1d-0c7f5b7c9a11")
"""The UUID namespace of delivery ids. It must never change."""

EVENTS = ("firing", "resolved")
"""What the outbox reports about an alert. For incidents it has `incident.firing`, `incident.updated-000001` and so on,
and `incident.resolved`, in rows of the incident's first alert."""
OF_INCIDENT = "incident."
"""The beginning of the events that are about an incident: those of webhooks of version 2."""

BELATED = HOUR
"""A message is belated if a run that catches up decides it this long after its event time (microseconds)."""
FOLDED = 100
"""The most alerts that are listed in a message that stands for several."""


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery to attempt. `alert`: the object of `alerts list --json` at the time when `event` was decided."""

    receiver: str
    alert_id: str
    event: str
    decided_at: int
    attempts: int
    alert: dict[str, Any]

    @property
    def id(self) -> str:
        """The delivery's message id."""
        return message_id(self.alert_id, self.event, self.receiver)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: the error, its time, and the time of the next attempt (None: the delivery is parked)."""

    error: str
    at: int
    next_attempt_at: int | None


def message_id(alert_id: str, event: str, receiver: str) -> str:
    """Return the id of a delivery. All its attempts share it, so a receiver recognises a repetition."""
    return f"msg_{uuid5(NAMESPACE, chr(10).join((alert_id, event, receiver))).hex}"


def has_queued(connection: Connection) -> bool:
    """Return whether any outbox row waits to be dispatched."""
    o = schema.outbox.c
    return connection.execute(select(o.alert_id).where(o.state == "queued").limit(1)).first() is not None


ANNOUNCED = ("dispatched", "folded", "queued")
"""The states of news that a receiver has or will have. What begins so must also end."""


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


def park_unknown(connection: Connection, receivers: Sequence[str]) -> int:
    """Park the deliveries that wait for receivers that the settings no longer name. Return how many."""
    d = schema.deliveries.c
    gone = and_(d.state == "waiting", d.receiver.not_in(receivers))
    values = {"state": "parked", "last_error": "the settings no longer have this receiver"}
    return connection.execute(update(schema.deliveries).where(gone).values(values)).rowcount


def due(connection: Connection, receiver: str, now: int, limit: int) -> list[Due]:
    """Return what to send to a receiver now.

    Deliveries that were never tried come first, so that one that always fails does not block the others. What happened
    later to an alert or an incident waits until what happened before is delivered or parked.
    """
    d, o, a = schema.deliveries.c, schema.outbox.c, schema.alerts.c
    before, happened = schema.deliveries.alias().c, schema.outbox.alias().c
    unsettled = exists().where(
        before.alert_id == d.alert_id,
        before.receiver == d.receiver,
        # Not `before.state`, for which SQLite would search all that waits instead of the few rows of one alert.
        func.coalesce(before.state, "") == "waiting",
        before.event != d.event,
        happened.alert_id == before.alert_id,
        happened.event == before.event,
        or_(
            happened.decided_at < o.decided_at,
            and_(happened.decided_at == o.decided_at, _comes_before(before.event, d.event)),
        ),
    )
    # Without the alerts' own text, which would be sorted with the rows: thousands may be waiting.
    query = (
        select(d.alert_id, d.event, d.attempts, o.decided_at)
        .join_from(schema.deliveries, schema.outbox, and_(o.alert_id == d.alert_id, o.event == d.event))
        .where(d.receiver == receiver, d.state == "waiting", d.next_attempt_at <= now, ~unsettled)
        .order_by(func.coalesce(d.tried_at, 0), o.decided_at, d.alert_id)
        .limit(limit)
    )
    found = connection.execute(query).all()
    keys = {(row.alert_id, row.event) for row in found}
    texts = select(o.alert_id, o.event, o.alert, a.origin).join_from(schema.outbox, schema.alerts, o.alert_id == a.id)
    # By the alerts alone: for pairs of values, SQLite does not use an index and reads the whole table.
    rows = lookup.by_text(connection, texts, o.alert_id, sorted({alert_id for alert_id, _ in keys}))
    alerts = {
        (row.alert_id, row.event): {**json.loads(row.alert), "origin": row.origin}
        for row in rows
        if (row.alert_id, row.event) in keys
    }
    return [
        Due(receiver, row.alert_id, row.event, row.decided_at, row.attempts, alerts[row.alert_id, row.event])
        for row in found
    ]


def _comes_before(one: ColumnElement[str], other: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether an event happens before another of the same alert or incident that is decided at the same time."""
    updated = f"{OF_INCIDENT}updated%"
    later = or_(other == f"{OF_INCIDENT}resolved", and_(other.like(updated), one < other))
    return or_(one.in_(("firing", f"{OF_INCIDENT}firing")), and_(one.like(updated), later))


_SETTLED = (
    update(schema.deliveries)
    .where(
        schema.deliveries.c.alert_id == bindparam("of_alert"),
        schema.deliveries.c.event == bindparam("of_event"),
        schema.deliveries.c.receiver == bindparam("of_receiver"),
        schema.deliveries.c.state == "waiting",
    )
    .values(
        state="delivered",
        attempts=bindparam("made"),
        tried_at=bindparam("now"),
        delivered_at=bindparam("now"),
        next_attempt_at=None,
        last_error=None,
    )
)


def settle(connection: Connection, item: Due, at: int) -> None:
    """Record that a delivery succeeded."""
    which = {"of_alert": item.alert_id, "of_event": item.event, "of_receiver": item.receiver}
    connection.execute(_SETTLED, {**which, "made": item.attempts + 1, "now": at})


def postpone(connection: Connection, item: Due, failure: Failure) -> None:
    """Record that an attempt failed. The delivery waits for its next attempt, or is parked."""
    connection.execute(
        _row(item).values(
            state="waiting" if failure.next_attempt_at is not None else "parked",
            attempts=item.attempts + 1,
            next_attempt_at=failure.next_attempt_at,
            last_error=failure.error,
            tried_at=failure.at,
        )
    )


def not_tried(connection: Connection, item: Due, error: str) -> None:
    """Record why a delivery was not sent. It keeps its place and its attempts, because its receiver did not see it."""
    connection.execute(_row(item).values(last_error=error))


def give_up(connection: Connection, receiver: str, due_before: int, error: str) -> int:
    """Park what has waited for a receiver since before `due_before` (microseconds by the clock). Return how many."""
    d = schema.deliveries.c
    old = and_(d.receiver == receiver, d.state == "waiting", d.next_attempt_at < due_before)
    values = {"state": "parked", "next_attempt_at": None, "last_error": error}
    return connection.execute(update(schema.deliveries).where(old).values(values)).rowcount


def retry_now(connection: Connection, receiver: str, now: int) -> None:
    """Make everything due that waits for a receiver, because the receiver works again."""
    d = schema.deliveries.c
    later = and_(d.receiver == receiver, d.state == "waiting", d.next_attempt_at > now)
    connection.execute(update(schema.deliveries).where(later).values(next_attempt_at=now))


def resend(
    connection: Connection,
    now: int,
    *,
    receivers: Sequence[str],
    alerts: Sequence[str] = (),
    incidents: Sequence[str] = (),
) -> int:
    """Retry the parked deliveries of these receivers: all, or those of `alerts` and `incidents` (ids). Return how many.

    To an alert belong the messages about its incident, and to an incident those about its alerts.

    Do not resend `firing` if its `resolved` will not follow to that receiver: the alert would stay open there. That is
    so if `resolved` was delivered, is on its way, went only to other receivers, or was silenced. Nor resend a message
    about an incident if a later one was delivered to that receiver: it would take the incident back to what it was.
    """
    d, o, later = schema.deliveries.c, schema.outbox.c, schema.deliveries.alias().c
    lost = []
    for begun, end in (("firing", "resolved"), ("incident.%", "incident.resolved")):
        ended = exists().where(o.alert_id == d.alert_id, o.event == end, o.state != "queued")
        follows = exists().where(
            later.alert_id == d.alert_id, later.receiver == d.receiver, later.event == end, later.state == "parked"
        )
        lost.append(and_(d.event.like(begun), d.event != end, ended, ~follows))
    newer = exists().where(
        later.alert_id == d.alert_id,
        later.receiver == d.receiver,
        later.state == "delivered",
        later.event.startswith(OF_INCIDENT),
        _comes_before(d.event, later.event),
    )
    lost.append(and_(d.event.startswith(OF_INCIDENT), newer))
    mine = and_(d.state == "parked", d.receiver.in_(receivers), ~or_(*lost))
    if alerts or incidents:
        a, i = schema.alerts.c, schema.incidents.c
        groups = select(a.group_id).where(a.id.in_(alerts))
        firsts = select(i.first_alert).where(or_(i.id.in_(groups), i.id.in_(incidents)))
        of_them = select(a.id).where(a.group_id.in_(incidents))
        of_incident = and_(d.event.startswith(OF_INCIDENT), d.alert_id.in_(firsts))
        mine = and_(mine, or_(d.alert_id.in_(alerts), d.alert_id.in_(of_them), of_incident))
    again = update(schema.deliveries).where(mine).values(state="waiting", attempts=0, next_attempt_at=now)
    count = connection.execute(again).rowcount
    if count:
        receiver_states.release(connection, receivers, now)
    return count


def unsettled(connection: Connection, receivers: Sequence[str]) -> int:
    """Count the queued outbox rows and the waiting deliveries of these receivers."""
    o, d = schema.outbox.c, schema.deliveries.c
    queued = connection.execute(select(func.count()).where(o.state == "queued")).scalar_one()
    waiting = select(func.count()).where(d.state == "waiting", d.receiver.in_(receivers))
    return int(queued + connection.execute(waiting).scalar_one())


def summary(connection: Connection) -> dict[str, Any]:
    """Count outbox rows and deliveries by state, with each receiver's last error that is not yet resolved."""
    o, d = schema.outbox.c, schema.deliveries.c
    counts: dict[str, Any] = {}
    for name, column in (("outbox", o.state), ("deliveries", d.state)):
        counted = connection.execute(select(column, func.count()).group_by(column).order_by(column))
        counts[name] = {row[0]: row[1] for row in counted}
    newest = select(d.receiver, func.max(d.tried_at)).where(d.state != "delivered", d.last_error.is_not(None))
    errors = {}
    for receiver, tried_at in connection.execute(newest.group_by(d.receiver)).all():
        last = select(d.last_error).where(d.receiver == receiver, d.state != "delivered", d.last_error.is_not(None))
        if tried_at is not None:
            last = last.where(d.tried_at == tried_at)
        errors[receiver] = connection.execute(last.limit(1)).scalar()
    return {**counts, "errors": errors}


def deliveries(
    connection: Connection, *, state: str | None = None, alert: str | None = None, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield deliveries with ISO times, newest alerts first.

    `state`: only those that are `waiting`, `delivered` or `parked`. `alert`: only those of this alert id.
    """
    d, o, a = schema.deliveries.c, schema.outbox.c, schema.alerts.c
    query = (
        select(schema.deliveries, o.decided_at, a.topic)
        .join_from(schema.deliveries, schema.outbox, and_(o.alert_id == d.alert_id, o.event == d.event))
        .join(schema.alerts, a.id == d.alert_id)
        .order_by(o.decided_at.desc(), d.alert_id, d.event, d.receiver)
        .limit(limit)
    )
    if state is not None:
        query = query.where(d.state == state)
    if alert is not None:
        query = query.where(d.alert_id == alert)
    for row in connection.execute(query):
        yield {
            "alert": row.alert_id,
            "topic": row.topic,
            "event": row.event,
            "decided_at": iso(row.decided_at),
            "receiver": row.receiver,
            "state": row.state,
            "attempts": row.attempts,
            "tried_at": iso_or_none(row.tried_at),
            "next_attempt_at": iso_or_none(row.next_attempt_at),
            "delivered_at": iso_or_none(row.delivered_at),
            "last_error": row.last_error,
        }


def _row(item: Due) -> Any:
    d = schema.deliveries.c
    return update(schema.deliveries).where(
        d.alert_id == item.alert_id, d.event == item.event, d.receiver == item.receiver, d.state == "waiting"
    )
