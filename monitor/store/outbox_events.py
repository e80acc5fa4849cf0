"""The events of the outbox: what happened to an alert or an incident, and in which order."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

OF_INCIDENT = "incident."
"""The beginning of the events about an incident: `incident.firing`, `incident.updated-000001` and so on, and
`incident.resolved`, in rows of its first alert. The events about an alert are `firing` and `resolved`."""

AHEAD = "-ahead"
"""What follows the name of an update that was sent ahead of its bucket, as in `incident.updated-000001-ahead`. Another
update may get that number in the closing."""

DIGEST = "digest"
"""The event of the delivery of a digest (`foreshock.monitor.store.digests`). It has no row in the outbox."""


def is_firing(event: str) -> bool:
    """Return whether an event announces an alert or an incident."""
    return event.removeprefix(OF_INCIDENT) == "firing"


def is_end(event: str) -> bool:
    """Return whether an event reports the end of an alert or an incident."""
    return event.removeprefix(OF_INCIDENT) == "resolved"


def comes_before(one: ColumnElement[str], other: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether an event happens before another of the same alert or incident that is decided at the same time."""
    updated = f"{OF_INCIDENT}updated%"
    later = or_(other == f"{OF_INCIDENT}resolved", and_(other.like(updated), one < other))
    return or_(one.in_(("firing", f"{OF_INCIDENT}firing")), and_(one.like(updated), later))
