"""Answer the queries of the dashboard's pages: each reads one snapshot and returns frozen values.

The table of topics is in `topic_views`, a topic over time in `curves`.

Decided buckets never change, so a caller may cache what follows from them until "decided until" moves. Times are
microseconds since 1970, UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, text

from foreshock.model.labels import LABELS
from foreshock.monitor.store import evidence, liveness, lookup, schema, settings_versions
from foreshock.monitor.store.liveness import Answers
from foreshock.monitor.store.times import microseconds

NOTHING_HEARD = Answers((), {}, None)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """The progress of one source."""

    name: str
    kind: str
    member: bool
    """Whether it is being read, or is unfinished."""
    idle: bool
    next_offset: int
    watermark: int | None


@dataclass(frozen=True, slots=True)
class StoreState:
    """The state of the store, which each page shows at its top."""

    decided_until: int | None
    bucket: int
    lateness: int
    model: str | None
    sources: tuple[SourceRow, ...]
    replayed: bool
    """Whether only files were read and a replay decided the last alert. Pages then show the feed's time, not the
    clock's."""
    moves: int
    """The sum of the partitions' versions. It grows whenever a process writes progress."""
    answers: Answers = NOTHING_HEARD
    """What is known of the sources and of who reads them."""


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert for the pages."""

    id: str
    topic: str
    kind: str
    direction: str
    state: str
    origin: str
    started_at: int
    pending_at: int
    fired_at: int | None
    resolved_at: int | None
    observed: float
    baseline: float
    score: float
    window_start: int
    window_end: int
    evidence: tuple[dict[str, Any], ...]
    sources: int
    events: int
    sentence: str
    severity: str | None = None
    group_id: str | None = None
    inhibited_because: str | None = None
    statistic: float | None = None
    """How sure it is, and what `threshold` applies to."""
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident for the pages, with its alerts in the order in which they fired."""

    id: str
    title: str
    state: str
    severity: str
    fired_at: int
    ended_at: int | None
    lead: str
    """The id of the alert that the title is about."""
    alerts: tuple[AlertRow, ...]


@dataclass(frozen=True, slots=True)
class StoryRow:
    """A story as one source reported it. Scores are in 1/10,000, or None if it was not scored."""

    title: str
    url: str
    source: str
    published_at: int
    scores: tuple[int, int, int] | None
    withdrawn: bool = False
    severity: int | None = None
    """How grave its bad news is, in hundredths from 0 to 300; None if that is not known."""
    position: tuple[str, int] | None = None
    """Where the store has it (partition, offset); None for a story as an alert showed it."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event: its first story, with the newest text, and its copies."""

    first: StoryRow
    copies: tuple[StoryRow, ...]


def standing(connection: Connection) -> StoreState:
    """Return the state of the store. Unlike the other answers, it changes with each batch."""
    p, a = schema.partitions.c, schema.alerts.c
    feed = connection.execute(select(schema.feed.c.decided_until, schema.feed.c.model)).one()
    time = settings_versions.time_settings(connection)
    sources, moves = [], 0
    for row in connection.execute(select(schema.partitions).order_by(p.partition)):
        sources.append(SourceRow(row.partition, row.kind, row.member, row.idle, row.next_offset, row.watermark))
        moves += row.version
    origin = connection.execute(select(a.origin).order_by(a.pending_at.desc()).limit(1)).scalar()
    files = all(s.kind in ("file", "deadletters") for s in sources)
    return StoreState(
        feed.decided_until,
        time.bucket,
        time.lateness,
        feed.model,
        tuple(sources),
        files and origin == "replay",
        moves,
        liveness.answers(connection),
    )


def acts(connection: Connection) -> tuple[int | None, ...]:
    """Return numbers that change with what pages show and no bucket decides.

    These are what people did, the settings, critical stories sent ahead, and records read while nothing is decided.
    """
    d, s, v, f, p = (
        table.c
        for table in (
            *(schema.desk_actions, schema.sent_ahead, schema.settings_versions, schema.feed, schema.partitions),
        )
    )
    read = select(func.sum(p.version)).where(select(f.decided_until).scalar_subquery().is_(None))
    queries = (
        select(func.max(d.number)),
        select(func.count()).select_from(schema.sent_ahead),
        select(func.max(s.written_at)),
        select(func.max(v.number)),
        read,
    )
    return tuple(connection.execute(select(*(query.scalar_subquery() for query in queries))).one())


def alerts(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    topic: str | None = None,
    since: int | None = None,
    limit: int = 200,
) -> list[AlertRow]:
    """Return alerts, newest first. The state of an alert that ended before it fired is `dropped`.

    `states`: only alerts in these states. `since`: only alerts that were open at that time or began later.
    """
    a = schema.alerts.c
    query = select(schema.alerts).order_by(func.coalesce(a.fired_at, a.pending_at).desc(), a.id).limit(limit)
    if topic is not None:
        query = query.where(a.topic == topic)
    if since is not None:
        query = query.where(a.resolved_at.is_(None) | (a.resolved_at >= since))
    conditions = {
        "firing": a.state == "firing",
        "pending": a.state == "pending",
        "resolved": and_(a.state == "resolved", a.fired_at.is_not(None)),
        "dropped": and_(a.state == "resolved", a.fired_at.is_(None)),
    }
    if states:
        query = query.where(or_(*(conditions[state] for state in states)))
    return [_alert(row) for row in connection.execute(query)]


def alert(connection: Connection, identity: str) -> AlertRow | None:
    """Return one alert, or None if there is none of this id."""
    row = connection.execute(select(schema.alerts).where(schema.alerts.c.id == identity)).first()
    return None if row is None else _alert(row)


def incidents(connection: Connection, identities: Sequence[str]) -> list[IncidentRow]:
    """Return these incidents with all their alerts: open ones first, then the newest."""
    i, a = schema.incidents.c, schema.alerts.c
    rows = lookup.by_text(connection, select(schema.incidents), i.id, sorted(set(identities)))
    found = {row.id: row for row in rows}
    of: dict[str, list[AlertRow]] = {}
    query = select(schema.alerts).order_by(a.fired_at, a.id)
    for row in lookup.by_text(connection, query, a.group_id, sorted(found)):
        of.setdefault(row.group_id, []).append(_alert(row))
    listed = [_incident(row, of.get(row.id, ())) for row in found.values()]
    return sorted(listed, key=lambda incident: (incident.state != "open", -incident.fired_at, incident.id))


def followed(connection: Connection, identity: str) -> str | None:
    """Return the id of an incident, or of the older one into which it was merged; None if there is none of this id."""
    i = schema.incidents.c
    while (row := connection.execute(select(i.merged_into).where(i.id == identity)).first()) is not None:
        if row.merged_into is None:
            return identity
        identity = row.merged_into
    return None


def newest_incidents(connection: Connection, limit: int) -> list[IncidentRow]:
    """Return the newest incidents, without their alerts. Merged ones are left out."""
    i = schema.incidents.c
    query = select(schema.incidents).where(i.merged_into.is_(None)).order_by(i.fired_at.desc(), i.id).limit(limit)
    return [_incident(row, ()) for row in connection.execute(query)]


def events(
    connection: Connection, topic: str, start: int, end: int, *, known: int, order: str = "negative", limit: int = 50
) -> tuple[list[EventRow], int]:
    """Return the events of a topic that counted in [start, end), with their copies in that time, and their number.

    `order`: the most `negative` or `positive` first, or the `newest`. `known`: text is the newest that was known by
    this time. Events whose story was withdrawn come last and are marked. Only the newest stories are ranked
    (`evidence.newest_part`); the number is that of all.
    """
    s, ranked = schema.stories.c, evidence.newest_part(connection, topic, start, end)
    count = evidence.count_events if ranked == start else evidence.new_events
    total, start = count(connection, topic, start, end), ranked
    shown = evidence.events(connection, topic, start, end, order=order, limit=limit, also=(s.title, s.url))
    texts = evidence.newest_texts(connection, [evidence.story_of(rows[0]) for rows in shown], known)
    lines = []
    for rows in shown:
        newest, first = texts[evidence.story_of(rows[0])], _told(rows[0])
        first = replace(first, title=newest.title, url=newest.url, withdrawn=newest.status == "withdrawn")
        lines.append(EventRow(first, tuple(_told(row) for row in rows[1:])))
    return sorted(lines, key=lambda line: line.first.withdrawn), total


def shown_with(alert: AlertRow) -> list[EventRow]:
    """Return the stories of an alert as they were when it fired. They are known before its bucket is decided."""
    return [EventRow(story_of_evidence(story), ()) for story in alert.evidence]


def story_of_evidence(story: dict[str, Any]) -> StoryRow:
    """Return a story that an alert or an incident shows (`evidence.line`)."""
    scores, severity, at = story["scores"], None, microseconds(datetime.fromisoformat(story["published_at"]))
    values = None
    if scores is not None:
        negative, neutral, positive = (round(scores[name] * 10_000) for name in LABELS)
        values = negative, neutral, positive
        severity = round(100 * scores["severity"]) if "severity" in scores else None
    return StoryRow(story["title"], story["url"], story["source"], at, values, severity=severity)


def source_counts(connection: Connection) -> dict[str, tuple[int, int, int, int]]:
    """Return, for each partition, how many stories, late stories, stale stories and dead letters were read of it."""
    p = schema.partitions.c
    query = select(p.partition, p.counted_stories, p.counted_late, p.counted_stale, p.counted_dead_letters)
    return {row[0]: (int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in connection.execute(query)}


def dead_letter_reasons(connection: Connection) -> list[tuple[str, int, str, int]]:
    """Return each reason with its count, one detail, and how many were replayed. The most frequent comes first."""
    x = schema.dead_letters.c
    query = select(x.reason, func.count(), func.max(x.detail), func.count(x.replayed_as)).group_by(x.reason)
    return sorted(((r, int(n), d, int(a)) for r, n, d, a in connection.execute(query)), key=lambda row: -row[1])


def outbox_counts(connection: Connection) -> dict[str, int]:
    """Count the outbox rows by state."""
    o = schema.outbox.c
    return {state: int(n) for state, n in connection.execute(select(o.state, func.count()).group_by(o.state))}


def story_sources(connection: Connection) -> list[str]:
    """Return the names of the stories' sources, in bytewise order. Each is one look into an index."""
    return [str(name) for name in connection.execute(_SOURCES).scalars()]


_SOURCES = text(
    "WITH RECURSIVE s(source) AS (SELECT min(source) FROM stories UNION ALL "
    "SELECT (SELECT min(source) FROM stories WHERE source > s.source) FROM s WHERE s.source IS NOT NULL) "
    "SELECT source FROM s WHERE source IS NOT NULL"
)


def _incident(row: Any, alerts: Sequence[AlertRow]) -> IncidentRow:
    return IncidentRow(row.id, row.title, row.state, row.severity, row.fired_at, row.ended_at, row.lead, tuple(alerts))


def alert_row(values: Mapping[str, Any]) -> AlertRow:
    """Return an alert from the columns of its row."""
    return _alert(SimpleNamespace(**values))


def _alert(row: Any) -> AlertRow:
    state = "dropped" if row.state == "resolved" and row.fired_at is None else row.state
    return AlertRow(
        *(row.id, row.topic, row.kind, row.direction, state, row.origin),
        *(row.started_at, row.pending_at, row.fired_at, row.resolved_at),
        *(row.observed, row.baseline, row.score, row.window_start, row.window_end),
        tuple(json.loads(row.evidence)),
        *(row.sources, row.events, row.sentence),
        *(row.severity, row.group_id, row.inhibited_because, row.statistic, row.threshold),
    )


def _told(row: Any) -> StoryRow:
    scores = None if row.negative is None else (row.negative, row.neutral, row.positive)
    at = (row.partition, row.offset)
    return StoryRow(row.title, row.url, row.source, row.published_at, scores, severity=row.severity, position=at)
