"""Rebuild the monitor's state from the store, and reconcile the store's open alerts with it.

A state follows from the newest snapshot and the decided buckets since (docs/design.md#8-restart). Both functions run in
the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields as dataclass_fields
from dataclasses import replace

from sqlalchemy import Connection, or_, select

from foreshock.monitor.alerts import Alert, AlertChange, in_order
from foreshock.monitor.deciding import State
from foreshock.monitor.deciding_again import Deciding
from foreshock.monitor.filled import Filled
from foreshock.monitor.grafting import graft, same_hours, take_over
from foreshock.monitor.kinds import CRITICAL, NEW_NAME
from foreshock.monitor.store import fills, schema, switches
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.store.fills import Fill
from foreshock.monitor.store.switches import Switch
from foreshock.monitor.switched import Switched
from foreshock.monitor.watermark import TimeRules


def rebuild(connection: Connection, time: TimeRules, decided_until: int | None) -> State:
    """Return the detectors' state at `decided_until`.

    Each bucket since the newest snapshot is decided again by the settings that applied to it, so that the open alerts
    are those of the store.
    """
    return _state(connection, time, decided_until, None)


def state_before(connection: Connection, time: TimeRules, start: int) -> State:
    """Return the detectors' state before the bucket that starts at `start`, as it was when that bucket was decided."""
    return _state(connection, time, start, start)


def _state(connection: Connection, time: TimeRules, at: int | None, before: int | None) -> State:
    """Return the state at `at`, from the decided buckets that start before `before` (None: all).

    Buckets are taken as they were known when they were decided. Topics that were filled since the snapshot are put into
    the state at their bucket, as they were then; and so is another model.
    """
    deciding = Deciding(connection, time, before)
    begin, known = deciding.begin, 0
    for change in _changes(connection):
        since = change.in_force_from
        if since is None or (before is not None and since > before):
            continue
        if begin is None or since > begin:
            for bucket in decided_buckets(connection, begin, since, known=known):
                deciding.decide(bucket)
            deciding.pass_time(since)
            _apply(connection, time, deciding, change, since)
            begin = since
        if isinstance(change, Fill):
            known = change.number
    for bucket in decided_buckets(connection, begin, before, known=known):
        deciding.decide(bucket)
    if at is not None:
        deciding.pass_time(at)
    return deciding.state


def _changes(connection: Connection) -> list[Fill | Switch]:
    """Return what changed the state between buckets, in order: fills of topics, and switches of the model."""
    found: list[tuple[int, int, Fill | Switch]] = [(fill.number, 0, fill) for fill in fills.done(connection)]
    found += [(switch.fills or 0, switch.number, switch) for switch in switches.done(connection)]
    return [change for _, _, change in sorted(found, key=lambda one: one[:2])]


def _apply(connection: Connection, time: TimeRules, deciding: Deciding, change: Fill | Switch, since: int) -> None:
    """Change the state at `since` as it was changed live."""
    if isinstance(change, Switch):
        switched = Switched(connection, time, change)
        switched.advance(connection, since)
        deciding.state = take_over(deciding.state, switched.state)
        return
    filled = Filled(connection, time, change, since)
    filled.advance(connection, since)
    if same_hours(deciding.state, filled.state):
        graft(deciding.state, filled.state, change.topics)


Key = tuple[str, int, str]
"""Kind, index of the topic, and direction: at most one alert is open for each."""


def reconcile(connection: Connection, state: State, at: int) -> list[AlertChange]:
    """Return the changes that make the store's open alerts equal those of `state`.

    There are changes only in two cases: settings were adopted, or another version of Foreshock decided some of the
    buckets since the newest snapshot. `at`: the time at which alerts end (microseconds).

    An alert that the store knows and the state does not ends. An alert that the state knows and the store does not is
    added. Where the store is ahead, because an alert has already ended there, `state` follows the store.
    """
    opened = state.life.open
    stored = _alerts_of(connection, (alert.id for alert in opened.values()))
    _follow_the_store(state, stored)
    ended = _end_unknown(state, [alert for alert in stored if alert.state != "resolved"], at)
    has_fired = {alert.id: alert.fired_at is not None for alert in stored}
    lacking = [
        AlertChange(alert.state, alert)
        for key, alert in opened.items()
        if key not in state.life.unsaid
        if alert.id not in has_fired or (alert.fired_at is not None and not has_fired[alert.id])
    ]
    return ended + in_order(lacking)


def _alerts_of(connection: Connection, ids: Iterable[str]) -> list[Alert]:
    """Return the store's open alerts, and those with one of these `ids`, in a fixed order."""
    columns = schema.alerts.c
    query = select(*(columns[field.name] for field in dataclass_fields(Alert)))
    query = query.where(columns.kind.not_in((CRITICAL, NEW_NAME)))  # those do not follow from the topics' state
    query = query.where(or_(columns.state.in_(("pending", "firing")), columns.id.in_(list(ids))))
    return [Alert(**row._mapping) for row in connection.execute(query.order_by(columns.pending_at, columns.id))]


def _key(state: State, alert: Alert) -> Key:
    return alert.kind, state.history.index.get(alert.topic, -1), alert.direction


def _follow_the_store(state: State, stored: list[Alert]) -> None:
    """Remove from `state` each alert that has ended in the store. If another one is open there since, take it over."""
    opened = state.life.open
    keys = {alert.id: key for key, alert in opened.items()}
    over = {keys[alert.id] for alert in stored if alert.state == "resolved" and alert.id in keys}
    for key in over:
        del opened[key]
        state.life.unsaid.discard(key)
    for alert in stored:
        key = _key(state, alert)
        if alert.state != "resolved" and key in over:
            opened.setdefault(key, alert)


def _end_unknown(state: State, live: list[Alert], at: int) -> list[AlertChange]:
    """End each `live` alert of the store that the state does not know, or does not know as firing.

    An example is the silence of a topic that the settings no longer contain. An alert that never fired is dropped.
    """
    opened, ended = state.life.open, list[AlertChange]()
    for alert in live:
        key = _key(state, alert)
        ours = opened.get(key)
        same = ours is not None and ours.id == alert.id
        if ours is not None and same and (ours.fired_at is not None or alert.fired_at is None):
            continue
        event = "dropped" if alert.fired_at is None else "resolved"
        ended.append(AlertChange(event, replace(alert, state="resolved", resolved_at=at)))
        if same:
            del opened[key]
    return ended
