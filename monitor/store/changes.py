"""Write what became of alerts, of the incidents that they belong to, and the messages about both, moment by moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from foreshock.monitor.alerts import AlertChange
from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.store import critical as store_critical
from foreshock.monitor.store import incidents as store_incidents
from foreshock.monitor.store.alerts import AlertNews, write_alert


@dataclass(frozen=True, slots=True)
class Passing:
    """How time passes in a closing (microseconds)."""

    since: int | None
    """Up to when it has passed before, for incidents."""
    until: int | None
    """And after. Whole hours up to it pass."""
    stood: Sequence[tuple[int, int]]
    """Stretches (start, end] in which no whole hour passes."""
    decided_until: int | None
    """Of the store, before."""


def write_changes(
    connection: Connection,
    changes: Sequence[AlertChange],
    stories: Sequence[CriticalStory],
    passing: Passing,
    *,
    origin: str,
    settings: int,
    deliver: bool,
) -> list[AlertNews]:
    """Write changes of alerts with what follows from them. Return the alerts as they were written.

    `changes`: what detectors decided, in order of time. `stories`: critical stories, in the order in which they count.

    Incidents follow from the store's rows: the open ones, and the stories that count before each moment. So their rows
    need no snapshot, and are the same however the buckets are split into closings.
    """
    since, until, stood = passing.since, passing.until, passing.stood
    fired_by = -1 if passing.decided_until is None else passing.decided_until
    incidents = store_incidents.load(connection, since, stood, fired_by=fired_by)
    members, decided = incidents.members.values(), passing.decided_until
    critical = store_critical.load(connection, members, since, stood, decided_until=decided)
    how: dict[str, Any] = {"origin": origin, "settings": settings}
    written: list[AlertNews] = []
    for at, some in groupby(sorted([*changes, *critical.take(stories, until)], key=_at), _at):
        of_moment = list(some)
        store_incidents.note(connection, incidents.pass_time(at), **how, deliver=deliver)
        said = incidents.take(of_moment, at, critical.story_of)
        for change in of_moment:
            joined = incidents.kept.get(change.alert.id)
            about = None if joined is None else store_incidents.columns(joined)
            written.append(write_alert(connection, change, **how, deliver=deliver, joined=about))
        store_incidents.note(connection, said, **how, deliver=deliver)
    if until is not None:
        store_incidents.note(connection, incidents.pass_time(until), **how, deliver=deliver)
    store_incidents.save(connection, incidents, **how)
    return written


def _at(change: AlertChange) -> int:
    """Return the moment of a change (microseconds)."""
    alert = change.alert
    at = {"pending": alert.pending_at, "firing": alert.fired_at}.get(change.event, alert.resolved_at)
    return alert.pending_at if at is None else at
