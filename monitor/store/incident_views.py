"""Read incidents: lists for outsiders and pages, and one incident with its alerts and stories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select, tuple_

from foreshock.monitor.errors import NoSuchAlert, NoSuchIncident
from foreshock.monitor.store import desk_actions, schema
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.incidents import incident_json, stories_of
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import shown

STATES = ("open", "ended")


def incidents(
    connection: Connection,
    *,
    state: str | None = None,
    newest: int | None = None,
    after: tuple[int, str] | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield incidents in the order in which they fired, with the ids of their alerts. Merged ones are left out.

    `state`: only those that are `open` or `ended`. `newest`: so many, the newest first. `after`: only those after this
    (`fired_at` in microseconds, `id`), at most `limit`.
    """
    i, a = schema.incidents.c, schema.alerts.c
    query = select(schema.incidents).where(i.merged_into.is_(None))
    if state is not None:
        query = query.where(i.state == state)
    if after is not None:
        query = query.where(tuple_(i.fired_at, i.id) > after)
    query = query.order_by(i.fired_at, i.id) if newest is None else query.order_by(i.fired_at.desc(), i.id)
    for row in connection.execute(query.limit(limit if newest is None else newest)).all():
        members = select(a.id, a.topic, a.kind).where(a.group_id == row.id).order_by(a.fired_at, a.id)
        alerts = connection.execute(members).all()
        yield {
            **incident_json(dict(row._mapping)),
            "topics": sorted({shown(alert.topic) for alert in alerts}),
            "kinds": sorted({alert.kind for alert in alerts}),
            "alerts": [alert.id for alert in alerts],
        }


def incident(connection: Connection, prefix: str) -> dict[str, Any]:
    """Return one incident with its alerts, its stories in order of time, and the messages about it.

    `prefix`: the beginning of its id, if no other begins so. An incident that was merged leads to the older one. Raises
    NoSuchIncident.
    """
    i, a, o = schema.incidents.c, schema.alerts.c, schema.outbox.c
    row = connection.execute(select(schema.incidents).where(i.id == find(connection, prefix))).one()
    while row.merged_into is not None:
        row = connection.execute(select(schema.incidents).where(i.id == row.merged_into)).one()
    query = select(schema.alerts).where(a.group_id == row.id).order_by(a.fired_at, a.id)
    rows = [dict(found._mapping) for found in connection.execute(query)]
    alerts = [{key: value for key, value in alert_json(one).items() if key != "evidence"} for one in rows]
    until = connection.execute(select(schema.feed.c.decided_until)).scalar() or row.updated_at
    of_it = select(o.event, o.decided_at, o.state).where(o.alert_id == row.first_alert, o.event.like("incident.%"))
    return {
        **incident_json(dict(row._mapping)),
        "topics": sorted({one["topic"] for one in alerts}),
        "kinds": sorted({one["kind"] for one in alerts}),
        "alerts": alerts,
        "stories": stories_of(connection, rows, row.lead, row.direction, min(row.ended_at or until, until)),
        "messages": [
            {"event": event.removeprefix("incident."), "decided_at": iso(at), "state": state}
            for event, at, state in connection.execute(of_it.order_by(o.decided_at, o.event))
        ],
    }


def find(connection: Connection, prefix: str) -> str:
    """Return the id of the incident that begins with `prefix`. Raises NoSuchIncident if there is not exactly one."""
    i = schema.incidents.c
    query = select(i.id).where(i.id.startswith(prefix, autoescape=True)).order_by(i.id).limit(2)
    found: Sequence[str] = connection.execute(query).scalars().all()
    if len(found) == 1:
        return found[0]
    if found and found[0] == prefix:
        return prefix
    how = "Several incidents begin" if found else "No incident begins"
    raise NoSuchIncident(f"{how} with {prefix!r}. To list the incidents, run: foreshock incidents list")


def alert_or_incident(connection: Connection, given: str) -> tuple[str | None, str | None]:
    """Return the id of the alert that begins with `given`, or else of the incident. One of the two is None.

    Raises NoSuchAlert if there is neither, or if several begin so.
    """
    try:
        return desk_actions.alert_id_of(connection, given), None
    except NoSuchAlert:
        prefix, a = given.strip().lower(), schema.alerts.c
        of_alerts = select(a.id).where(a.id.startswith(prefix, autoescape=True)).limit(1)
        if not prefix or connection.execute(of_alerts).first() is not None:
            raise
        try:
            return None, find(connection, prefix)
        except NoSuchIncident:
            pass
        raise
