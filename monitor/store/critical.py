"""Critical stories in the store: which counted, the alerts that they keep open, and the evidence of an alert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select

from foreshock.monitor.alerts import Alert
from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.critical import CriticalAlerts
from foreshock.monitor.incident import Joined
from foreshock.monitor.kinds import CRITICAL
from foreshock.monitor.store import bulk, evidence, schema

DAYS = 28
"""How many days before "decided until" critical stories are counted."""
_COLUMNS = ("counts_at", "topic", "partition", "offset", "word", "negative", "needed")


def save(connection: Connection, stories: Iterable[CriticalStory]) -> None:
    """Write the stories that count as critical."""
    bulk.insert_tuples(connection, schema.critical_stories, _COLUMNS, [tuple(story) for story in stories])


def load(
    connection: Connection,
    members: Iterable[Joined],
    clock: int | None,
    stood: Sequence[tuple[int, int]] = (),
    *,
    decided_until: int | None = None,
) -> CriticalAlerts:
    """Return the critical alerts that are open as of `clock`, up to which time has passed.

    `members`: the alerts of open incidents. An incident ends later than its alerts, so no other one is open. `stood`:
    stretches (start, end] after `clock` in which time stands still. `decided_until`: stories that count later are those
    that are decided now.
    """
    opened = [m.alert for m in members if m.alert.kind == CRITICAL and m.alert.resolved_at is None]
    if not opened:
        return CriticalAlerts([], clock, stood)
    c = schema.critical_stories.c
    newest = select(c.topic, func.max(c.counts_at)).where(c.topic.in_([alert.topic for alert in opened]))
    newest = newest if decided_until is None else newest.where(c.counts_at < decided_until)
    last = {row[0]: row[1] for row in connection.execute(newest.group_by(c.topic))}
    return CriticalAlerts([(alert, last.get(alert.topic, alert.started_at)) for alert in opened], clock, stood)


def shown(connection: Connection, alert: Alert) -> tuple[list[dict[str, Any]], int, int]:
    """Return the stories for which a critical alert fired, as they were when it did, and how many events and sources.

    Later versions of a story and its copies change nothing: the alert is about what was read.
    """
    c, s, d, t = (table.c for table in (schema.critical_stories, schema.stories, schema.decisions, schema.story_topics))
    query = select(
        *(s.id, s.title, s.url, s.source, s.published_at, *evidence.mood(alert.topic)),
        # Its event, or its story, or itself.
        func.coalesce(d.event_partition, d.story_partition, s.partition).label("event_partition"),
        func.coalesce(d.event_offset, d.story_offset, s.offset).label("event_offset"),
    ).join_from(schema.critical_stories, schema.stories, and_(c.partition == s.partition, c.offset == s.offset))
    query = query.join(schema.decisions, and_(d.partition == c.partition, d.offset == c.offset))
    here = and_(t.partition == s.partition, t.offset == s.offset, t.topic == c.topic)
    query = query.join(schema.story_topics, here)
    query = query.where(c.topic == alert.topic, c.counts_at >= alert.window_start, c.counts_at < alert.window_end)
    query = query.order_by(c.counts_at, s.published_at, s.id, s.content, s.partition, s.offset)
    rows = connection.execute(query).all()
    stories = [evidence.line([row], row) for row in rows[: evidence.SHOWN]]
    events = {(row.event_partition, row.event_offset) for row in rows}
    return stories, len(events), len({row.source for row in rows})
