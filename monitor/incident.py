"""An incident, its alerts, and the messages about it, as values. `incidents.py` decides them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from foreshock.monitor.alerts import clock
from foreshock.monitor.grouping import Member
from foreshock.monitor.kinds import KINDS, count, quoted
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.units import ALL

NAMESPACE = UUID("0d7f1a52-2c86-5b7e-9d3e-6f3a5c1b8e44")
"""The UUID namespace of incidents' ids. It must never change."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as it stands. Times in microseconds."""

    id: str
    first_alert: str
    """The alert that began it. The id follows from this one's."""
    state: str
    """`open` or `ended`."""
    direction: str
    started_at: int
    fired_at: int
    updated_at: int
    """When an alert last joined, ended or left, or the incident last got graver."""
    notified_at: int
    """The time of its last message."""
    severity: str
    lead: str
    """The alert that the title is about."""
    peak_events: int = 0
    """The largest number of its events in 24 hours, and the end of those hours."""
    peak_at: int | None = None
    ended_at: int | None = None
    merged_into: str | None = None
    messages: int = 0
    """How many `updated` messages there were."""
    held: tuple[tuple[str, str], ...] = ()
    """What changed and is in no message yet: (change, detail)."""


@dataclass(frozen=True, slots=True)
class Joined(Member):
    """An alert of an incident."""

    severity: str = LEVELS[0]
    inhibited_by: str | None = None
    """The id of the alert that explains it. It says nothing by itself."""
    inhibited_because: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A message about an incident: `firing`, `updated` or `resolved`; or `unsaid`, which takes back a `firing` of the
    same moment, because the incident was merged at once."""

    event: str
    at: int
    incident: Incident
    alerts: tuple[Joined, ...]
    """Its alerts at that moment, in the order in which they fired."""
    changes: tuple[tuple[str, str], ...] = ()
    """What an update tells: `topic`, `kind`, `again`, `severity`, `critical` or `merged`, and which."""


def incident_id(first_alert: str) -> str:
    """UUIDv5 of the id of the alert that began the incident."""
    return str(uuid5(NAMESPACE, first_alert))


def title(incident: Incident, alerts: Sequence[Joined], events: int, sources: int, mainly: str | None = None) -> str:
    """Return an incident in one sentence: what, who, since when, how many sources.

    `events` and `sources` are those of all its topics since it started. `mainly`: the narrower topic that most of the
    lead alert's stories are about.
    """
    lead = next(joined.alert for joined in alerts if joined.alert.id == incident.lead)
    topics = {joined.alert.topic for joined in alerts if joined.inhibited_by is None}
    more = len(topics - {lead.topic})
    who = "all stories" if lead.topic == ALL else quoted(lead.topic)
    if mainly is not None and mainly not in topics:
        who += f", mainly {quoted(mainly)}"
    what = f"{KINDS[lead.kind].headline[lead.direction]} {who}"
    what += f" (“{lead.word}”)" if lead.word else ""
    what += f" and {count(more, 'more topic')}" if more else ""
    since = f"since {clock(incident.started_at)}"
    if KINDS[lead.kind].has_stories:
        said = f"{what}: {count(events, 'story', 'stories')} from {count(sources, 'source')} {since}."
    else:
        said = f"{what} {since}; {count(round(lead.baseline), 'event')} would be usual in that time."
    return said if incident.ended_at is None else f"{said} It ended at {clock(incident.ended_at)}."
