"""Record what people at the desk do: acknowledge an alert, silence a topic, say whether an alert was useful.

Rows say who did what and when. They are appended and never changed. The sender reads them. The monitor never does, so
an action does not change a detection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, insert, select

from foreshock.monitor.errors import NoSuchAlert, Overtaken
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import writing
from foreshock.monitor.store.times import iso, iso_or_none
from foreshock.monitor.units import shown

Answer = TypeVar("Answer")

TRIES = 20
"""How often an action is tried while other people's come first. Each try lets at least one of them through."""


def record(engine: Engine, act: Callable[[Connection], Answer]) -> Answer:
    """Let a person act in a transaction, and return what `act` returns.

    It is tried again if another person's action took its number at the same moment.

    Raises Overtaken after `TRIES`, and the errors of `act` and of `writing`.
    """
    for _ in range(TRIES - 1):
        with suppress(Overtaken), writing(engine) as connection:
            return act(connection)
    with writing(engine) as connection:
        return act(connection)


def acknowledge(connection: Connection, alert_id: str, *, by: str, note: str = "", now: int) -> None:
    """Record that a person acknowledged an alert. Raises NoSuchAlert."""
    must_exist(connection, alert_id)
    append(connection, "acknowledge", now, by, note, alert_id=alert_id)


def must_exist(connection: Connection, alert_id: str) -> None:
    """Raise NoSuchAlert if the store does not have this alert."""
    if connection.execute(select(schema.alerts.c.id).where(schema.alerts.c.id == alert_id)).first() is None:
        raise NoSuchAlert(f"There is no alert {alert_id}. To list the alerts, run: foreshock alerts list --json")


def alert_id_of(connection: Connection, given: str) -> str:
    """Return the id that begins with `given`. Raises NoSuchAlert if there is none, or more than one."""
    a = schema.alerts.c
    begins = a.id.startswith(given.strip().lower(), autoescape=True)
    found = connection.execute(select(a.id).where(begins).order_by(a.id).limit(4)).scalars().all()
    if given.strip() and len(found) == 1:
        return str(found[0])
    if not given.strip() or not found:
        must_exist(connection, given)
    shown = ", ".join(str(one)[: len(given) + 4] for one in found[:3])
    raise NoSuchAlert(f"Several alerts have an id that begins with {given}: {shown} ... Write more of it.")


def silence(connection: Connection, topic: str, *, until: int, by: str, note: str = "", now: int) -> None:
    """Deliver nothing about `topic` until `until` (microseconds).

    The latest silence of a topic replaces those before it. If `until` is not after `now`, the topic's silence ends. A
    topic may be silenced before its first story.
    """
    append(connection, "silence", now, by, note, topic=topic, until=until)


def silenced_until(connection: Connection, topic: str) -> int | None:
    """Return when the topic's latest silence ends (microseconds), or None if it was never silenced."""
    d = schema.desk_actions.c
    # A new name may be silenced on its alert's page, and by its name.
    query = (
        select(d.until)
        .where(d.topic.in_((topic, shown(topic))), d.action == "silence")
        .order_by(d.number.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()


def actions(
    connection: Connection,
    *,
    alert_id: str | None = None,
    topic: str | None = None,
    action: str | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Return the recorded actions, newest first, with ISO times. `action`: only those of this name."""
    d = schema.desk_actions.c
    query = select(schema.desk_actions).order_by(d.number.desc()).limit(limit)
    if alert_id is not None:
        query = query.where(d.alert_id == alert_id)
    if topic is not None:
        query = query.where(d.topic == topic)
    if action is not None:
        query = query.where(d.action == action)
    return [
        {
            "at": iso(row.at),
            "by": row.by,
            "action": row.action,
            "alert": row.alert_id,
            "topic": row.topic,
            "until": iso_or_none(row.until),
            "note": row.note,
        }
        for row in connection.execute(query)
    ]


def append(connection: Connection, action: str, at: int, by: str, note: str, **about: Any) -> int:
    """Add a row, and return its number.

    `about`: the columns that say what the action is about, such as `alert_id`, or `topic` and `until`.
    """
    # SQLite has only one writer. On PostgreSQL a second one violates the primary key and `record` tries it again.
    number = int(connection.execute(select(func.coalesce(func.max(schema.desk_actions.c.number), 0))).scalar_one()) + 1
    connection.execute(
        insert(schema.desk_actions).values(number=number, action=action, at=at, by=by, note=note, **about)
    )
    return number
