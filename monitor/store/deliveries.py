"""Attempt what the outbox gave to receivers: what is due, how an attempt ended, and what is sent again.

`dispatch` (outbox.py) writes the rows. An attempt is committed after it was made, so a crash in between repeats it.
Each message is therefore delivered at least once, and a repetition has the same id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, update

from foreshock.monitor.store import escalations, lookup, muted, schema
from foreshock.monitor.store import receivers as receiver_states
from foreshock.monitor.store.digests import MUTED
from foreshock.monitor.store.outbox_events import DIGEST, OF_INCIDENT, comes_before
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import HOUR, shown

NAMESPACE = UUID("6f1c2f0a-5d0e-5c6e-8f1d-0c7f5b7c9a11")
"""The UUID namespace of delivery ids. It must never change."""
FURTHEST = 2 * HOUR
"""No delivery waits for longer until its next attempt (sender.Retries.longest; microseconds)."""
Key = tuple[str, str, str]
"""A delivery's alert (or digest), event and receiver."""


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery to attempt. `alert`: the object of `alerts list --json` at the time when `event` was decided; of a
    digest (`alert_id` is its id), `digest` alone."""

    receiver: str
    alert_id: str
    event: str
    decided_at: int
    attempts: int
    alert: dict[str, Any]
    shown_as: str | None = None
    """`firing` if the receiver gets its first message about the incident; `escalated` if nobody acknowledged it."""

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


def park_unknown(connection: Connection, receivers: Sequence[str], now: int) -> int:
    """Park the deliveries that wait for receivers that the settings no longer name. Return how many.

    An escalation does not wait for those any more.
    """
    d = schema.deliveries.c
    gone = and_(d.state.in_(("waiting", "muted")), d.receiver.not_in(receivers))
    values = {"state": "parked", "last_error": "the settings no longer have this receiver"}
    count = connection.execute(update(schema.deliveries).where(gone).values(values)).rowcount
    escalations.begin_unheard(connection, now)
    return count


def due(connection: Connection, receiver: str, now: int, limit: int) -> list[Due]:
    """Return what to send to a receiver now.

    What should wait for more than `FURTHEST` is due, too: the clock was ahead when that was written.

    Deliveries that were never tried come first, so that one that always fails does not block the others. What happened
    later to an alert or an incident waits until what happened before is delivered or parked, also as part of a digest.
    """
    found = connection.execute(_due(), {"to": receiver, "now": now, "ahead": now + FURTHEST, "most": limit}).all()
    alerts = _texts(connection, {(row.alert_id, row.event) for row in found})
    return [
        Due(
            *(receiver, row.alert_id, row.event, row.decided_at, row.attempts),
            _alone(alerts[row.alert_id, row.event]) if _by_itself(row) else alerts[row.alert_id, row.event],
            row.shown_as,
        )
        for row in found
    ]


@cache
def _due() -> Any:
    """Return the query of `due`, without the alerts' text, which would be sorted with the rows: many may be waiting."""
    d, o, g = schema.deliveries.c, schema.outbox.c, schema.digests.c
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
            and_(happened.decided_at == o.decided_at, comes_before(before.event, d.event)),
        ),
    )
    part, whole = schema.deliveries.alias().c, schema.deliveries.alias().c
    in_a_digest = exists().where(
        part.alert_id == d.alert_id,
        part.receiver == d.receiver,
        part.carried_by != d.alert_id,
        whole.alert_id == part.carried_by,
        whole.receiver == part.receiver,
        func.coalesce(whole.state, "") == "waiting",
    )
    decided_at = func.coalesce(o.decided_at, g.due_at).label("decided_at")
    is_due = or_(d.next_attempt_at <= bindparam("now"), d.next_attempt_at > bindparam("ahead"))
    mine = (d.receiver == bindparam("to"), d.state == "waiting", is_due)
    of_outbox = and_(o.alert_id == d.alert_id, o.event == d.event)
    return (
        select(d.alert_id, d.event, d.attempts, d.shown_as, d.muted_by, decided_at)
        .join_from(schema.deliveries, schema.outbox, of_outbox, isouter=True)
        .join(schema.digests, g.id == d.alert_id, isouter=True)
        .where(*mine, ~unsettled, ~in_a_digest)
        .order_by(func.coalesce(d.tried_at, 0), decided_at, d.alert_id)
        .limit(bindparam("most"))
    )


def _texts(connection: Connection, keys: set[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what deliveries hold, by their alerts and events."""
    o, a, g = schema.outbox.c, schema.alerts.c, schema.digests.c
    texts = select(o.alert_id, o.event, o.alert, a.origin).join_from(schema.outbox, schema.alerts, o.alert_id == a.id)
    # By the alerts alone: for pairs of values, SQLite does not use an index and reads the whole table.
    rows = lookup.by_text(connection, texts, o.alert_id, sorted({alert for alert, event in keys if event != DIGEST}))
    found = {
        (row.alert_id, row.event): {**json.loads(row.alert), "origin": row.origin}
        for row in rows
        if (row.alert_id, row.event) in keys
    }
    of_digests = sorted({identity for identity, event in keys if event == DIGEST})
    for row in lookup.by_text(connection, select(g.id, g.body), g.id, of_digests) if of_digests else ():
        found[row.id, DIGEST] = {"digest": json.loads(row.body)}
    return found


def _by_itself(row: Any) -> bool:
    """Return whether a receiver gets a message by itself: each that was muted, and each incident that escalates."""
    return row.muted_by is not None or row.shown_as == "escalated"


def _alone(alert: dict[str, Any]) -> dict[str, Any]:
    """Return an alert without those that were folded into its message."""
    return {key: value for key, value in alert.items() if key not in ("belated", "folded", "folded_count")}


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


def attempts(connection: Connection, state: str) -> dict[Key, int]:
    """Return the deliveries in a state, with how often each was tried."""
    d = schema.deliveries.c
    rows = connection.execute(select(d.alert_id, d.event, d.receiver, d.attempts).where(d.state == state))
    return {(row.alert_id, row.event, row.receiver): row.attempts for row in rows}


def wait_again(connection: Connection, which: Mapping[Key, int], now: int) -> None:
    """Let parked deliveries wait again, each with a number of attempts, and be due `now` (microseconds)."""
    names = ("of_alert", "of_event", "of_receiver", "made")
    rows = [dict(zip(names, (*key, made), strict=True)) for key, made in which.items()]
    d = schema.deliveries.c
    mine = (
        d.alert_id == bindparam("of_alert"),
        d.event == bindparam("of_event"),
        d.receiver == bindparam("of_receiver"),
    )
    again = update(schema.deliveries).where(*mine, d.state == "parked")
    if rows:
        connection.execute(again.values(state="waiting", attempts=bindparam("made"), next_attempt_at=now), rows)


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
    about an incident if a later one was delivered to that receiver: it would take the incident back to what it was. A
    digest of what was muted is made anew, as things stand now.
    """
    d, o, later = schema.deliveries.c, schema.outbox.c, schema.deliveries.alias().c
    own = schema.outbox.alias().c
    lost = []
    for begun, end in (("firing%", "resolved"), ("incident.%", "incident.resolved")):
        over = o.alert_id == d.alert_id, o.event.startswith(end), o.state != "queued"
        # What is said anew after an end has an end of its own.
        ended = exists().where(*over, own.alert_id == d.alert_id, own.event == d.event, o.decided_at >= own.decided_at)
        follows = exists().where(
            later.alert_id == d.alert_id,
            later.receiver == d.receiver,
            later.event.startswith(end),
            later.state.in_(("parked", "muted")),
        )
        lost.append(and_(d.event.like(begun), ~d.event.startswith(end), ended, ~follows))
    newer = exists().where(
        later.alert_id == d.alert_id,
        later.receiver == d.receiver,
        later.state.in_(("delivered", "digested")),
        later.event.startswith(OF_INCIDENT),
        comes_before(d.event, later.event),
    )
    lost.append(and_(d.event.startswith(OF_INCIDENT), newer))
    parked = and_(d.state == "parked", d.receiver.in_(receivers))
    of_digests = select(d.alert_id).where(parked, d.event == DIGEST, d.alert_id.in_(_muted_once())).distinct()
    mine = and_(parked, ~or_(*lost))
    if alerts or incidents:
        a, i, part = schema.alerts.c, schema.incidents.c, schema.deliveries.alias().c
        groups = select(a.group_id).where(a.id.in_(alerts))
        firsts = select(i.first_alert).where(or_(i.id.in_(groups), i.id.in_(incidents)))
        of_them = select(a.id).where(a.group_id.in_(incidents))
        of_incident = and_(d.event.startswith(OF_INCIDENT), d.alert_id.in_(firsts))
        mine = and_(mine, or_(d.alert_id.in_(alerts), d.alert_id.in_(of_them), of_incident))
        about = or_(part.alert_id.in_(alerts), part.alert_id.in_(firsts))
        of_digests = of_digests.where(d.alert_id.in_(select(part.carried_by).where(about)))
    anew = muted.take_back(connection, connection.execute(of_digests).scalars().all(), receivers, now)
    again = update(schema.deliveries).where(mine).values(state="waiting", attempts=0, next_attempt_at=now)
    count = connection.execute(again).rowcount + anew
    if count:
        receiver_states.release(connection, receivers, now)
    return count


def _muted_once() -> Any:
    """Select the digests of what was muted."""
    return select(schema.digests.c.id).where(schema.digests.c.reason == MUTED)


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


def listed(
    connection: Connection,
    *,
    state: str | None = None,
    alert: str | None = None,
    failed: bool = False,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield deliveries with ISO times, newest alerts first. The `topic` of a digest is None.

    `state`: only those that are `waiting`, `delivered` or `parked`. `alert`: only those of this alert id.
    `failed`: only those of which an attempt failed.
    """
    d, o, a, g = schema.deliveries.c, schema.outbox.c, schema.alerts.c, schema.digests.c
    decided_at = func.coalesce(o.decided_at, g.due_at).label("decided_at")
    query = (
        select(schema.deliveries, decided_at, a.topic)
        .join_from(schema.deliveries, schema.outbox, and_(o.alert_id == d.alert_id, o.event == d.event), isouter=True)
        .join(schema.alerts, a.id == d.alert_id, isouter=True)
        .join(schema.digests, g.id == d.alert_id, isouter=True)
        .order_by(decided_at.desc(), d.alert_id, d.event, d.receiver)
        .limit(limit)
    )
    if state is not None:
        query = query.where(d.state == state)
    if alert is not None:
        query = query.where(d.alert_id == alert)
    if failed:
        query = query.where(d.last_error.is_not(None), d.last_error != "")
    for row in connection.execute(query):
        yield {
            "alert": row.alert_id,
            "topic": row.topic and shown(row.topic),
            "event": row.event,
            "decided_at": iso(row.decided_at),
            "receiver": row.receiver,
            "route": row.route,
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
