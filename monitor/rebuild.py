"""Rebuild the monitor's state from the store, and reconcile the store's open alerts with it.

A state follows from the newest snapshot and the decided buckets since (docs/design.md#8-restart). Both functions run in
the caller's transaction.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select

from foreshock.monitor import snapshots
from foreshock.monitor.alerts import Alert, AlertChange, in_order
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.deciding import DetectionRules, State, decide, pass_time
from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.store import schema, settings_versions
from foreshock.monitor.store.decided import decided_buckets
from foreshock.monitor.store.times import iso
from foreshock.monitor.watermark import TimeRules

log = logging.getLogger(__name__)

TRIED = 10
"""Snapshots that are tried, newest first. If so many cannot be read, none can."""

BEGINNING = -1
"""A time before all buckets."""


class Version(NamedTuple):
    """What the detectors need of a settings version."""

    since: int
    """The time from which it applies (microseconds)."""
    rules: DetectionRules
    topics: frozenset[str]
    """Names of the topics in the settings."""


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
    """Return the state at `at`, from the decided buckets that start before `before` (None: all)."""
    versions = _versions(connection, time)
    snapshot, state = _newest_snapshot(connection, versions, before)
    begin = BEGINNING if snapshot is None else snapshot
    version = _in_force(versions, begin)
    coming = deque(later for later in versions if later.since > begin)
    for bucket in decided_buckets(connection, snapshot, before):
        version = _adopt(state, version, coming, bucket.start)
        decide(state, bucket)
    if at is not None:
        _adopt(state, version, coming, at)
        pass_time(state, at)
    return state


def _versions(connection: Connection, time: TimeRules) -> list[Version]:
    """Return the store's settings versions in order, after the defaults, which apply before the first version."""
    versions = [Version(BEGINNING, detection_rules(None, time), frozenset())]
    for since, body in settings_versions.in_order(connection):
        topics = frozenset(str(rule["name"]) for rule in body.get("topics", ()))
        versions.append(Version(BEGINNING if since is None else since, detection_rules(body, time), topics))
    return versions


def _in_force(versions: list[Version], time: int) -> Version:
    """Return the last version that applies at `time`."""
    return [version for version in versions if version.since <= time][-1]


def _newest_snapshot(
    connection: Connection, versions: list[Version], before: int | None = None
) -> tuple[int | None, State]:
    """Return the state of the newest snapshot, and the start of its bucket. `before`: no later bucket than this one.

    One that cannot be read is skipped. Without a usable one, return None and a fresh state.
    """
    tried = 0
    table = schema.daily_state
    # The size first: an oversized body is not even read.
    sizes = select(table.c.day, func.length(table.c.body)).order_by(table.c.day.desc())
    if before is not None:
        sizes = sizes.where(table.c.bucket <= before)
    for day, size in connection.execute(sizes).all():
        if not 0 < size <= snapshots.LARGEST:
            continue
        row = connection.execute(select(table).where(table.c.day == day)).one()
        try:
            return row.bucket, State.restore(row.body, _in_force(versions, row.bucket).rules)
        except ValueError as error:  # the decided buckets give the same state
            if not isinstance(error, snapshots.OtherVersion):
                log.warning("The monitor's snapshot of %s is skipped, and its state is rebuilt: %s.", iso(day), error)
            if (tried := tried + 1) >= TRIED:
                break
    return None, State.fresh(_in_force(versions, BEGINNING).rules)


def _adopt(state: State, version: Version, coming: deque[Version], until: int) -> Version:
    """Apply each of the `coming` versions that starts by `until`, in its turn. Return the version that then applies."""
    while coming and coming[0].since <= until:
        before, version = version, coming.popleft()
        pass_time(state, version.since)
        state.adopt(version.rules, gone=before.topics - version.topics, back=version.topics - before.topics)
    return version


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
        for alert in opened.values()
        if alert.id not in has_fired or (alert.fired_at is not None and not has_fired[alert.id])
    ]
    return ended + in_order(lacking)


def _alerts_of(connection: Connection, ids: Iterable[str]) -> list[Alert]:
    """Return the store's open alerts, and those with one of these `ids`, in a fixed order."""
    columns = schema.alerts.c
    query = select(*(columns[field.name] for field in dataclass_fields(Alert)))
    query = query.where(columns.kind != CRITICAL)  # those follow from their stories' rows, not from the state
    query = query.where(or_(columns.state.in_(("pending", "firing")), columns.id.in_(list(ids))))
    return [Alert(**row._mapping) for row in connection.execute(query.order_by(columns.pending_at, columns.id))]


def _key(state: State, alert: Alert) -> Key:
    return alert.kind, state.history.index.get(alert.topic, -1), alert.direction


def _follow_the_store(state: State, stored: list[Alert]) -> None:
    """Remove from `state` each alert that has ended in the store. If another one is open there since, take it over."""
    opened = state.life.open
    keys = {alert.id: key for key, alert in opened.items()}
    over = {keys[alert.id] for alert in stored if alert.state == "resolved"}
    for key in over:
        del opened[key]
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
