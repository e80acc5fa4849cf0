"""Rebuild the monitor's state from the store, and reconcile the open alerts with it."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from dataclasses import replace

from sqlalchemy import Connection, or_, select

from foreshock.monitor.alerts import Alert, AlertChange, in_order
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import DetectionRules, State, decide, pass_time
from foreshock.monitor.store import (
    schema,
    settings_versions,
)
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.watermark import TimeRules


def rebuild(connection: Connection, time: TimeRules, decided_until: int | None) -> State:
    """The detectors' state at `decided_until`: as on the last day's first bucket, and the decided buckets since.

    Each bucket is decided again by the settings that were in force for it, so that open alerts are those of the store.
    """
    versions: list[tuple[int, DetectionRules, set[str]]] = []
    for since, body in settings_versions.in_order(connection):
        named = {str(rule["name"]) for rule in body.get("topics", ())}
        versions.append((-1 if since is None else since, detection_rules(body, time), named))
    row = connection.execute(select(schema.daily_state).order_by(schema.daily_state.c.day.desc()).limit(1)).first()
    while True:
        begin = -1 if row is None else row.bucket
        rules, named = ([v[1:] for v in versions if v[0] <= begin] or [(detection_rules(None, time), set[str]())])[-1]
        try:
            state = State.fresh(rules) if row is None else State.restore(row.body, rules)
            break
        except ValueError:  # kept by another version: all of it follows from the buckets
            row = None
    coming = [version for version in versions if version[0] > begin]

    def adopt(until: int) -> None:
        nonlocal named
        while coming and coming[0][0] <= until:
            since, rules, left = coming.pop(0)
            pass_time(state, since)
            state.adopt(rules, gone=named - left, back=left - named)
            named = left

    for bucket in decided_buckets(connection, None if row is None else row.bucket):
        adopt(bucket.start)
        decide(state, bucket)
    if decided_until is not None:
        adopt(decided_until)
        pass_time(state, decided_until)
    return state


def reconcile(connection: Connection, state: State, at: int) -> list[AlertChange]:
    """What makes the open alerts of the store those of the state: nothing, unless settings were adopted, or another
    version of Foreshock decided some of the buckets since the last snapshot.

    Ended is what the state does not know as firing (such as the silence of a topic that the settings no longer have);
    told, what the store lacks; forgotten, what is over in the store.
    """
    opened, columns = state.life.open, schema.alerts.c
    mine = {alert.id: key for key, alert in opened.items()}
    fields = [columns[field.name] for field in dataclass_fields(Alert)]
    query = select(*fields).where(or_(columns.state.in_(("pending", "firing")), columns.id.in_(list(mine))))
    kept = [Alert(**row._mapping) for row in connection.execute(query.order_by(columns.pending_at, columns.id))]
    over = {mine[alert.id] for alert in kept if alert.state == "resolved"}
    for key in over:
        del opened[key]
    changes: list[AlertChange] = []
    for alert in kept:
        if alert.state == "resolved":
            continue
        key = (alert.kind, state.history.index.get(alert.topic, -1), alert.direction)
        ours = opened.get(key)
        if ours is None and key in over:  # it was forgotten before, and told again since
            opened[key] = alert
        elif ours is None or ours.id != alert.id or (ours.fired_at is None and alert.fired_at is not None):
            event = "dropped" if alert.fired_at is None else "resolved"
            changes.append(AlertChange(event, replace(alert, state="resolved", resolved_at=at)))
            if ours is not None and ours.id == alert.id:
                del opened[key]
    known = {alert.id: alert.fired_at is not None for alert in kept}
    lacking = [a for a in opened.values() if a.id not in known or (a.fired_at is not None and not known[a.id])]
    return changes + in_order([AlertChange(alert.state, alert) for alert in lacking])
