"""What was sent ahead of its bucket: critical stories whose bucket is not decided yet.

Rows of `alerts` and `incidents` that fired after "decided until" were written ahead. The closing that decides their
bucket removes them first, decides as if they had never been there, and then says of each whether it came true. What did
not come true ends at its receivers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.store import outbox, schema
from foreshock.monitor.store.outbox_events import AHEAD, OF_INCIDENT, is_firing
from foreshock.monitor.store.times import iso


@dataclass(frozen=True, slots=True)
class Ahead:
    """Rows that were written ahead, as they were: an alert, and the incident that it began, if it began one."""

    alert: dict[str, Any]
    incident: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a closing would write now: rows of `alerts`, `incidents` and `outbox`."""

    alerts: list[dict[str, Any]]
    incidents: list[dict[str, Any]]
    outbox: list[dict[str, Any]]


def candidates(connection: Connection, decided_until: int | None, since: int, until: int) -> set[tuple[str, int]]:
    """Return the positions of undecided critical stories that count from `since` to `until` (microseconds)."""
    t = schema.story_topics.c
    query = select(t.partition, t.offset).where(t.critical.is_not(None), t.counts_at >= since, t.counts_at <= until)
    if decided_until is not None:
        query = query.where(t.counts_at >= decided_until)
    return {(row.partition, row.offset) for row in connection.execute(query.distinct())}


def remove(connection: Connection) -> list[Ahead]:
    """Remove the rows that were written ahead. Return them as they were."""
    a, i = schema.alerts.c, schema.incidents.c
    removed: list[Ahead] = []
    for row in connection.execute(_AHEAD).all():
        begun = select(schema.incidents).where(i.id == row.group_id, i.first_alert == row.id)
        incident = connection.execute(begun).first()
        removed.append(Ahead(dict(row._mapping), None if incident is None else dict(incident._mapping)))
        connection.execute(delete(schema.alerts).where(a.id == row.id))
        if incident is not None:
            connection.execute(delete(schema.incidents).where(i.id == incident.id))
    return removed


_AHEAD = (
    select(schema.alerts)
    .join(schema.sent_ahead, schema.sent_ahead.c.alert_id == schema.alerts.c.id)
    .where(schema.sent_ahead.c.came_true.is_(None))
    .order_by(schema.alerts.c.fired_at, schema.alerts.c.id)
)
"""Each closing runs this statement. It is built once, because building it takes longer than running it."""


def settle(connection: Connection, removed: Sequence[Ahead], until: int) -> set[str]:
    """Say of each removed alert whether it came true, now that all is decided up to `until` (microseconds).

    Returns the ids of those that did. What is still not decided is put back. An earlier story of the day may have
    decided an alert before the story that it was announced for. If another alert began the incident after all, the one
    that was announced ends, and names it in `merged_into`. What the closing itself began and merged, it has ended.
    """
    a, i, s = schema.alerts.c, schema.incidents.c, schema.sent_ahead.c
    true: set[str] = set()
    for ahead in removed:
        identity, announced = ahead.alert["id"], ahead.alert["group_id"]
        if ahead.incident is None:
            _fold(connection, ahead)
        now = connection.execute(select(a.group_id).where(a.id == identity)).first()
        if now is None and ahead.alert["fired_at"] > until:
            _put_back(connection, ahead)
            continue
        row = connection.execute(select(i.fired_at, i.ended_at, i.merged_into).where(i.id == announced)).first()
        # One that was merged in its first moment is said nowhere else (`incidents.note`).
        merged = row is not None and row.merged_into is not None and row.ended_at > row.fired_at
        came_true = now is not None and (now.group_id == announced or merged)
        if came_true:
            true.add(identity)
        elif row is None or ahead.incident is None:
            _end(connection, ahead, None if now is None else now.group_id, exists=now is not None)
        connection.execute(update(schema.sent_ahead).where(s.alert_id == identity).values(came_true=came_true))
    return true


def _fold(connection: Connection, ahead: Ahead) -> None:
    """Fold the message that an incident became critical, if an alert's message sent ahead has said that already.

    One that also says something else is sent, unless what was sent ahead still waits and can say it instead.
    """
    o, i = schema.outbox.c, schema.incidents.c
    first = select(i.first_alert).where(i.id == ahead.alert["group_id"]).scalar_subquery()
    updates = select(schema.outbox).where(o.alert_id == first, o.event.like(f"{OF_INCIDENT}updated%"))
    rows = connection.execute(updates).all()
    at = ahead.alert["fired_at"]
    sent = next((row for row in rows if AHEAD in row.event and row.decided_at == at), None)
    if sent is None:
        return
    said = json.loads(sent.alert)["changes"]
    for row in rows:
        changes = json.loads(row.alert)["changes"]
        if AHEAD in row.event or row.state != "queued" or all(one["change"] != CRITICAL for one in changes):
            continue
        if any(one["change"] not in (CRITICAL, "severity") and one not in said for one in changes):
            if sent.state != "queued":
                continue
            _change(connection, sent, alert=row.alert)
        _change(connection, row, state="folded" if sent.state in outbox.ANNOUNCED else sent.state)


def _change(connection: Connection, row: Any, **values: Any) -> None:
    """Change a row of the outbox."""
    o = schema.outbox.c
    mine = o.alert_id == row.alert_id, o.event == row.event
    connection.execute(update(schema.outbox).where(*mine).values(values))


def _put_back(connection: Connection, ahead: Ahead) -> None:
    connection.execute(insert(schema.alerts).values(ahead.alert))
    if ahead.incident is not None:
        connection.execute(insert(schema.incidents).values(ahead.incident))


def _end(connection: Connection, ahead: Ahead, merged_into: str | None, *, exists: bool) -> None:
    alert, incident = ahead.alert, ahead.incident
    identity, at = alert["id"], alert["fired_at"]
    if not exists:  # settings changed meanwhile: its messages keep a row to belong to
        connection.execute(insert(schema.alerts).values({**alert, "state": "resolved", "resolved_at": at}))
        said = {**_message(connection, identity, "firing"), "state": "resolved", "resolved_at": iso(at)}
        outbox.put(connection, identity, "resolved", decided_at=at, queued=True, alert=said)
    if incident is None:
        return
    ended = {"state": "ended", "updated_at": at, "ended_at": at, "merged_into": merged_into}
    connection.execute(insert(schema.incidents).values({**incident, **ended}))
    said = _message(connection, identity, f"{OF_INCIDENT}firing")
    said["state"] = "resolved"
    said["incident"] |= {**ended, "updated_at": iso(at), "ended_at": iso(at)}
    outbox.put(connection, identity, f"{OF_INCIDENT}resolved", decided_at=at, queued=True, alert=said)


def is_ahead(connection: Connection, incident: str) -> bool:
    """Return whether an incident was sent ahead, and no closing has said yet whether that came true."""
    s = schema.sent_ahead.c
    mine = select(s.alert_id).where(s.incident == incident, s.came_true.is_(None)).limit(1)
    return connection.execute(mine).first() is not None


def _message(connection: Connection, alert_id: str, event: str) -> dict[str, Any]:
    o = schema.outbox.c
    text = connection.execute(select(o.alert).where(o.alert_id == alert_id, o.event == event)).scalar_one()
    said: dict[str, Any] = json.loads(text)
    return said


def tried(connection: Connection, decided_until: int | None) -> Trial:
    """Return the rows of critical alerts and their incidents that are later than what is decided."""
    a, i, o = schema.alerts.c, schema.incidents.c, schema.outbox.c
    since = -1 if decided_until is None else decided_until

    def rows(query: Any) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in connection.execute(query)]

    alerts = rows(select(schema.alerts).where(a.kind == CRITICAL, a.fired_at > since).order_by(a.fired_at, a.id))
    incidents = rows(select(schema.incidents).where(i.fired_at > since).order_by(i.id))
    later = select(schema.outbox).where(o.decided_at > since).order_by(o.decided_at, o.alert_id, o.event)
    return Trial(alerts, incidents, rows(later))


def write(connection: Connection, trial: Trial, now: int) -> tuple[list[str], bool]:
    """Write what of a trial is new and tells of a critical story. Return the ids of the alerts, and whether any waits.

    `now`: the clock. Of a topic that has an alert ahead already nothing more is sent, because its incident is known. A
    further alert, of the next day, waits until the first is decided.
    """
    a, o, s = schema.alerts.c, schema.outbox.c, schema.sent_ahead.c
    announced = set(connection.execute(select(s.incident).where(s.came_true.is_(None))).scalars())
    open_ahead = select(a.topic, a.id).join(schema.sent_ahead, s.alert_id == a.id).where(s.came_true.is_(None))
    known = {row.topic: row.id for row in connection.execute(open_ahead)}
    # What did not come true is left to the closing, which says it as another event.
    tried = select(s.alert_id).where(s.alert_id.in_([alert["id"] for alert in trial.alerts]))
    before = set(connection.execute(tried).scalars())
    new = [alert for alert in trial.alerts if alert["topic"] not in known and alert["id"] not in before]
    waits = any(known.get(alert["topic"], alert["id"]) != alert["id"] for alert in trial.alerts)
    ids = {alert["id"] for alert in new}
    if not ids:
        return [], waits
    groups = {alert["group_id"] for alert in new}
    for alert in new:
        connection.execute(insert(schema.alerts).values(alert))
        values = {"alert_id": alert["id"], "incident": alert["group_id"], "written_at": now}
        connection.execute(insert(schema.sent_ahead).values(values))
    for incident in trial.incidents:
        if incident["first_alert"] in ids:
            connection.execute(insert(schema.incidents).values(incident))
    for message in trial.outbox:
        if not _tells(message, ids, groups - announced):
            continue
        mine = select(o.event).where(o.alert_id == message["alert_id"])
        there, event = set(connection.execute(mine).scalars()), message["event"]
        if not is_firing(event):
            names = (f"{event}{AHEAD}" if n == 1 else f"{event}{AHEAD}-{n}" for n in count(1))
            event = next(name for name in names if name not in there)
        if event not in there:
            connection.execute(insert(schema.outbox).values({**message, "event": event, "state": "queued"}))
    return sorted(ids), waits


def _tells(message: dict[str, Any], ids: set[str], groups: set[str]) -> bool:
    """Return whether a message tells of one of these critical alerts: that it fired, or what it did to an incident."""
    if message["alert_id"] in ids:
        return is_firing(message["event"])
    about = json.loads(message["alert"])
    raised = any(change["change"] == CRITICAL for change in about.get("changes", ()))
    return raised and about["group_id"] in groups
