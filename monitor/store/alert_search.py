"""Find incidents by what a reader asks of their alerts: topic, kind, severity, state, time, receiver and words.

An incident is found if one of its alerts matches. An alert of a store from before incidents stands for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select

from foreshock.monitor.store import lookup, schema, views
from foreshock.monitor.store.views import AlertRow

STATES = ("firing", "pending", "resolved", "dropped")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader asks for. Empty conditions match everything. Times in microseconds."""

    topic: str | None = None
    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    """Of `STATES`. `dropped`: it ended before it fired."""
    start: int | None = None
    """Alerts that fired (or became pending, if they did not fire) in [start, end)."""
    end: int | None = None
    receiver: str | None = None
    """One that was given a message about the alert or its incident."""
    words: str = ""
    """All of them occur in the sentence, the topic, the incident's title or the titles of the evidence, in any case."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what was found."""

    groups: tuple[str, ...]
    """Ids of incidents, or of alerts without one: what fires first, then the newest."""
    count: int
    """How many there are on all pages."""
    alerts: int
    """How many alerts match."""


def search(connection: Connection, wanted: Wanted, *, limit: int, offset: int = 0) -> Found:
    """Return a page of the incidents of which an alert matches."""
    a = schema.alerts.c
    rank = func.min(case((a.state == "firing", 0), (a.state == "pending", 1), else_=2))
    newest = func.max(_at())
    query = select(_group()).where(*_conditions(wanted)).group_by(_group()).order_by(rank, newest.desc(), _group())
    groups = connection.execute(query.limit(limit).offset(offset)).scalars().all()
    counts = select(func.count(_group().distinct()), func.count()).where(*_conditions(wanted))
    of_groups, of_alerts = connection.execute(counts.select_from(schema.alerts)).one()
    return Found(tuple(groups), int(of_groups), int(of_alerts))


def matching(connection: Connection, wanted: Wanted, *, limit: int) -> list[AlertRow]:
    """Return the alerts that match, the newest first."""
    query = select(schema.alerts).where(*_conditions(wanted)).order_by(_at().desc(), schema.alerts.c.id).limit(limit)
    return [views.alert_row(dict(row._mapping)) for row in connection.execute(query)]


def alone(connection: Connection, groups: Sequence[str]) -> list[AlertRow]:
    """Return those of these ids that are alerts without an incident."""
    a = schema.alerts.c
    rows = lookup.by_text(connection, select(schema.alerts).where(a.group_id.is_(None)), a.id, groups)
    return [views.alert_row(dict(row._mapping)) for row in rows]


def topics(connection: Connection) -> list[str]:
    """Return the topics that have alerts, in bytewise order."""
    return sorted(connection.execute(select(schema.alerts.c.topic).distinct()).scalars(), key=str.encode)


def receivers(connection: Connection) -> list[str]:
    """Return the receivers that were given a message, in bytewise order."""
    return sorted(connection.execute(select(schema.deliveries.c.receiver).distinct()).scalars(), key=str.encode)


def _group() -> ColumnElement[str]:
    return func.coalesce(schema.alerts.c.group_id, schema.alerts.c.id)


def _at() -> ColumnElement[int]:
    return func.coalesce(schema.alerts.c.fired_at, schema.alerts.c.pending_at)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    a, i, d, o = schema.alerts.c, schema.incidents.c, schema.deliveries.c, schema.alerts.alias().c
    found: list[ColumnElement[bool]] = []
    if wanted.topic is not None:
        found.append(a.topic == wanted.topic)
    if wanted.kinds:
        found.append(a.kind.in_(wanted.kinds))
    if wanted.severities:
        found.append(a.severity.in_(wanted.severities))
    if wanted.states:
        found.append(or_(*(_in_state(state) for state in wanted.states)))
    if wanted.start is not None:
        found.append(_at() >= wanted.start)
    if wanted.end is not None:
        found.append(_at() < wanted.end)
    if wanted.receiver is not None:
        # A message about an incident stands under its first alert.
        mine: Any = select(func.coalesce(o.group_id, o.id)).join(schema.deliveries, d.alert_id == o.id)
        found.append(_group().in_(mine.where(d.receiver == wanted.receiver)))
    for word in wanted.words.split():
        title = exists().where(i.id == a.group_id, i.title.icontains(word, autoescape=True))
        texts = (a.sentence, a.topic, a.evidence)
        found.append(or_(title, *(text.icontains(word, autoescape=True) for text in texts)))
    return found


def _in_state(state: str) -> ColumnElement[bool]:
    a = schema.alerts.c
    if state in ("firing", "pending"):
        return a.state == state
    return and_(a.state == "resolved", a.fired_at.is_not(None) if state == "resolved" else a.fired_at.is_(None))
