"""Read what happened to incidents as one sequence that can be resumed: the rows of the outbox about incidents.

Invariant: a row with `decided_at` <= "decided until" is never added later, because closing writes such rows in the
transaction that moves "decided until". So what is decided is read in the order (decided_at, alert, event), and its
last row is a place from which to go on: nothing before it is missed, and nothing comes twice.

What was sent ahead of its bucket is later than "decided until". Rows may still come before it, so it is read beside the
sequence (`ahead`), and takes its place in it once its bucket is decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, literal, select, tuple_

from foreshock.monitor.store import schema
from foreshock.monitor.store.counts import decided_until
from foreshock.monitor.store.outbox_events import AGAIN, OF_INCIDENT, is_end, is_firing
from foreshock.monitor.store.times import iso

_STATES = ("queued", "dispatched", "folded", "silenced", "withheld")
"""All states of the outbox: with them, a query by time uses the index by state and time."""


class Place(NamedTuple):
    """A place in the sequence: the sort key of a row. `rank` orders the events of one incident at one time."""

    decided_at: int
    alert_id: str
    rank: int
    event: str


class IncidentEvent(NamedTuple):
    """One thing that happened to an incident, as outsiders read it in `body`."""

    place: Place
    kind: str
    body: dict[str, Any]


def now(connection: Connection) -> Place:
    """Return the place after everything that is decided."""
    return Place(decided_until(connection) or 0, "\U0010ffff", 0, "")


def since(connection: Connection, place: Place, limit: int) -> Iterator[IncidentEvent]:
    """Yield what was decided after a place, in order, at most `limit`."""
    o, rank = schema.outbox.c, _rank()
    key = tuple_(o.decided_at, o.alert_id, rank, o.event)
    until = decided_until(connection)
    if until is None:
        return
    query = _events().where(o.decided_at >= place.decided_at, o.decided_at <= until, key > tuple_(*map(literal, place)))
    for row in connection.execute(query.order_by(o.decided_at, o.alert_id, rank, o.event).limit(limit)):
        yield _event(row)


def ahead(connection: Connection) -> Iterator[IncidentEvent]:
    """Yield what was sent ahead of its bucket and is not decided yet."""
    o = schema.outbox.c
    query = _events().where(o.decided_at > (decided_until(connection) or 0))
    for row in connection.execute(query.order_by(o.decided_at, o.alert_id, _rank(), o.event)):
        yield _event(row)


def _events() -> Any:
    o, a = schema.outbox.c, schema.alerts.c
    query = select(o.alert_id, o.event, o.decided_at, o.alert, a.origin, _rank().label("rank"))
    query = query.join_from(schema.outbox, schema.alerts, o.alert_id == a.id, isouter=True)
    return query.where(o.state.in_(_STATES), o.event.startswith(OF_INCIDENT), o.alert.is_not(None))


def _rank() -> Any:
    """Order the events of one incident that are decided at one time: it begins, changes, ends, and begins anew."""
    event = schema.outbox.c.event
    return case(
        (event == f"{OF_INCIDENT}firing", 0),
        (event == f"{OF_INCIDENT}resolved", 2),
        (event == f"{OF_INCIDENT}firing{AGAIN}", 3),
        (event == f"{OF_INCIDENT}resolved{AGAIN}", 4),
        else_=1,
    )


def _event(row: Any) -> IncidentEvent:
    said = json.loads(row.alert)
    kind = "firing" if is_firing(row.event) else "resolved" if is_end(row.event) else "updated"
    body = {
        "event": kind,
        "id": f"{row.alert_id}.{row.event.removeprefix(OF_INCIDENT)}",
        "decided_at": iso(row.decided_at),
        "origin": row.origin,
        "incident": said.get("incident"),
        "changes": said.get("changes", []),
    }
    return IncidentEvent(Place(row.decided_at, row.alert_id, row.rank, row.event), kind, body)
