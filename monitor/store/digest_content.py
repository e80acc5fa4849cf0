"""Say what happened in a stretch of event time: what fired, what ended, which topics moved, and which were quiet.

The content depends on the store's rows and the stretch alone, so it can be made again. It is read in one snapshot.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, func, select

from foreshock.monitor.kinds import count
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store import digests, schema, topic_views
from foreshock.monitor.store.incidents import incident_json
from foreshock.monitor.store.times import iso
from foreshock.monitor.store.topic_sums import topic_sums
from foreshock.monitor.units import ALL, DAY, OTHER, shown

LISTED = 50
"""The most incidents that a digest lists of those that fired, and of those that ended."""
MOVERS = 5
"""The most topics that moved, and that were quiet."""
LEAST_EVENTS = 5
"""A topic with fewer events in the stretch does not count as moved."""
LEAST_SCORE = 2.0
"""A topic moved if its polarity is so many standard deviations from the usual."""
LEAST_USUAL = 5.0
"""A topic was quiet if it had no story in the stretch and at least so many would be usual: by chance alone, one in 150
such topics has none."""
STAYS_QUIET = 7
"""A topic that has had no story for more than so many stretches is not listed again."""


def content(connection: Connection, name: str, covers: tuple[int, int]) -> dict[str, Any]:
    """Return the body of the scheduled digest `name` for the stretch (start, end] of event time (microseconds)."""
    start, end = covers
    i = schema.incidents.c
    fired, fired_count = _incidents(connection, i.fired_at, covers, "firing")
    ended, ended_count = _incidents(connection, i.ended_at, covers, "resolved")
    still = and_(i.fired_at <= end, i.merged_into.is_(None), (i.ended_at.is_(None)) | (i.ended_at > end))
    open_count = connection.execute(select(func.count()).select_from(schema.incidents).where(still)).scalar_one()
    said = [
        f"{count(fired_count, 'incident')} fired",
        f"{ended_count} ended",
        f"{int(open_count)} {'is' if open_count == 1 else 'are'} open",
    ]
    return {
        "reason": digests.SCHEDULED,
        "name": name,
        "start": iso(start),
        "end": iso(end),
        "sentence": f"{name}: {', '.join(said[:-1])}, and {said[-1]}.",
        "fired": fired,
        "fired_count": fired_count,
        "ended": ended,
        "ended_count": ended_count,
        "open_count": int(open_count),
        "movers": _movers(connection, start, end),
        "quiet": _quiet(connection, start, end),
    }


def _incidents(connection: Connection, when: Any, covers: tuple[int, int], event: str) -> tuple[list[Any], int]:
    """Return the gravest incidents whose `when` lies in a stretch, and the number of all. Merged ones are left out."""
    i, a = schema.incidents.c, schema.alerts.c
    these = and_(when > covers[0], when <= covers[1], i.merged_into.is_(None))
    keys = connection.execute(select(i.id, i.severity, when.label("at")).where(these)).all()
    found = []
    for key in sorted(keys, key=lambda row: (-LEVELS.index(row.severity), row.at, row.id))[:LISTED]:
        row = connection.execute(select(schema.incidents).where(i.id == key.id)).one()
        members = connection.execute(select(a.topic, a.kind).where(a.group_id == key.id)).all()
        topics, kinds = sorted({shown(one.topic) for one in members}), sorted({one.kind for one in members})
        found.append(digests.entry({**incident_json(dict(row._mapping)), "topics": topics, "kinds": kinds}, event))
    return found, len(keys)


def _movers(connection: Connection, start: int, end: int) -> list[dict[str, Any]]:
    """Return the topics whose polarity is furthest from the usual for them, the furthest first."""
    rows = [
        row
        for row in topic_views.topics(connection, topic_sums(connection, start, end))
        if row.topic not in (ALL, OTHER) and row.events >= LEAST_EVENTS and abs(row.score) >= LEAST_SCORE
    ]
    return [
        {
            "topic": row.topic,
            "direction": "worse" if row.score < 0 else "better",
            "polarity": _rounded(row.polarity),
            "usual": _rounded(row.usual),
            "events": row.events,
        }
        for row in sorted(rows, key=lambda row: (-abs(row.score), row.topic))[:MOVERS]
    ]


def _quiet(connection: Connection, start: int, end: int) -> list[dict[str, Any]]:
    """Return the topics that had no story although many would be usual, those with the most first.

    What is usual follows from the time between the topic's first story and its last.
    """
    t, span, found = schema.topics.c, end - start, []
    last = and_(t.last_story_at < start, t.last_story_at > start - STAYS_QUIET * span)
    for row in connection.execute(select(t.topic, t.stories, t.first_story_at, t.last_story_at).where(last)):
        usual = row.stories * span / max(row.last_story_at - row.first_story_at, DAY)
        if row.topic not in (ALL, OTHER) and usual >= LEAST_USUAL:
            found.append({"topic": row.topic, "last_story_at": iso(row.last_story_at), "usual": round(usual, 1)})
    return sorted(found, key=lambda one: (-one["usual"], one["topic"]))[:MOVERS]


def _rounded(polarity: float | None) -> float | None:
    return None if polarity is None else round(polarity, 2)
