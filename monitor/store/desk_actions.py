"""What people at the desk do: acknowledge an alert, silence a topic. Appended, never changed: who, when, what.

The sender reads this, the monitor never: what people do changes no detection.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, insert, select

from foreshock.monitor.errors import NoSuchAlert
from foreshock.monitor.store import schema
from foreshock.monitor.store.times import iso, iso_or_none


def acknowledge(connection: Connection, alert_id: str, *, by: str, note: str = "", now: int) -> None:
    """Raises NoSuchAlert."""
    must_exist(connection, alert_id)
    _append(connection, "acknowledge", now, by, note, alert_id=alert_id)


def must_exist(connection: Connection, alert_id: str) -> None:
    """Raises NoSuchAlert."""
    if connection.execute(select(schema.alerts.c.id).where(schema.alerts.c.id == alert_id)).first() is None:
        raise NoSuchAlert(f"There is no alert {alert_id}. Those that there are: foreshock alerts list --json")


def silence(connection: Connection, topic: str, *, until: int, by: str, note: str = "", now: int) -> None:
    """Deliver nothing about `topic` until then; the last silence of a topic holds, and one that is over by `now` ends
    it. A topic that has no story yet can be silenced."""
    _append(connection, "silence", now, by, note, topic=topic, until=until)


def silenced_until(connection: Connection, topic: str) -> int | None:
    """Until when the topic's last silence holds."""
    d = schema.desk_actions.c
    query = select(d.until).where(d.topic == topic, d.action == "silence").order_by(d.number.desc()).limit(1)
    return connection.execute(query).scalar()


def actions(
    connection: Connection, *, alert_id: str | None = None, topic: str | None = None, limit: int | None = None
) -> list[dict[str, Any]]:
    """What was done, newest first, with ISO times."""
    d = schema.desk_actions.c
    query = select(schema.desk_actions).order_by(d.number.desc()).limit(limit)
    if alert_id is not None:
        query = query.where(d.alert_id == alert_id)
    if topic is not None:
        query = query.where(d.topic == topic)
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


def _append(connection: Connection, action: str, at: int, by: str, note: str, **about: Any) -> None:
    # The writer is alone in the store (SQLite), or a second one meets the primary key and fails: nothing is lost.
    number = connection.execute(select(func.coalesce(func.max(schema.desk_actions.c.number), 0))).scalar_one() + 1
    connection.execute(
        insert(schema.desk_actions).values(number=number, action=action, at=at, by=by, note=note, **about)
    )
