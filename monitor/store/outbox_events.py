"""The events of the outbox: what happened to an alert or an incident, and in which order."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

OF_INCIDENT = "incident."
"""The beginning of the events about an incident: `incident.firing`, `incident.updated-000001` and so on, and
`incident.resolved`, in rows of its first alert. The events about an alert are `firing` and `resolved`."""

AHEAD = "-ahead"
"""What follows the name of an update that was sent ahead of its bucket, as in `incident.updated-000001-ahead`. Another
update may get that number in the closing."""

AGAIN = "-again"
"""What follows the name of an event of an alert that was sent ahead, did not come true, and fired later after all. Its
first events have ended at the receivers, under ids that they know."""

DIGEST = "digest"
"""The event of the delivery of a digest (`foreshock.monitor.store.digests`). It has no row in the outbox."""


_FIRST, _FIRST_END = ("firing", f"{OF_INCIDENT}firing"), ("resolved", f"{OF_INCIDENT}resolved")
_ANEW, _END_ANEW = (tuple(f"{event}{AGAIN}" for event in events) for events in (_FIRST, _FIRST_END))
_FIRING, _ENDS = (*_FIRST, *_ANEW), (*_FIRST_END, *_END_ANEW)


def is_firing(event: str) -> bool:
    """Return whether an event announces an alert or an incident."""
    return event in _FIRING


def is_end(event: str) -> bool:
    """Return whether an event reports the end of an alert or an incident."""
    return event in _ENDS


def comes_before(one: ColumnElement[str], other: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether an event happens before another of the same alert or incident that is decided at the same time."""
    updated = f"{OF_INCIDENT}updated%"
    later = or_(other.in_(_ENDS), and_(other.like(updated), one < other))
    anew = and_(one.in_(_ANEW), other.not_in((*_FIRST, *_FIRST_END)))
    return or_(one.in_(_FIRST), anew, and_(one.like(updated), later))
