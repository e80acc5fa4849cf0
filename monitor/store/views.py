"""Answer the queries of the dashboard's pages: each reads one snapshot and returns frozen values.

Decided buckets never change, so a caller may cache what follows from them until "decided until" moves. SQL sums long
stretches in integers, and Python takes the ratios. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, bindparam, func, or_, select, text

from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import evidence, lookup, schema, settings_versions
from foreshock.monitor.units import ALL, DAY, HOUR

SPARK_STEP = 6 * HOUR
"""The step of a sparkline (microseconds)."""

SPARK_STEPS = 28
"""The steps of a sparkline: a week in steps of six hours."""

USUAL_DAYS = 28
"""A topic's usual negative share is that of this many days before the last day, as in the detectors."""

LEAST_EVENTS = 30
"""The fewest events in `USUAL_DAYS` that give a usual share."""


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


@dataclass(frozen=True, slots=True)
class TopicRow:
    """The state of one topic at "decided until". Polarities are in -1..1, over the last 24 hours."""

    topic: str
    state: str
    """`firing`, `silent`, `pending`, `learning` or `ok`."""
    direction: str
    """The open alert's direction, `worse` or `better`. Empty without an open alert."""
    learning_until: int | None
    polarity: float | None
    usual: float | None
    """The polarity expected of the events that came while the topic had a baseline."""
    change: float | None
    """The polarity of these events minus `usual`."""
    score: float
    """`change` in standard deviations of as many independent events. The table is ordered by it."""
    negative: float | None
    stories_today: int
    """Since midnight UTC."""
    events: int
    last_story_at: int


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


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident for the pages, with its alerts in the order in which they fired."""

    id: str
    title: str
    state: str
    severity: str
    fired_at: int
    ended_at: int | None
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


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event: its first story, with the newest text, and its copies."""

    first: StoryRow
    copies: tuple[StoryRow, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A topic over time, in equal steps. Each array has one entry for each step.

    `polarity` and `negative` are means over the `window` that ends with the step, or NaN if it has no event. `_low` and
    `_high` bound the usual range: two standard deviations of as many events either way, or NaN while learning.
    """

    start: npt.NDArray[np.int64]
    step: int
    window: int
    stories: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    polarity: npt.NDArray[np.float64]
    polarity_low: npt.NDArray[np.float64]
    polarity_high: npt.NDArray[np.float64]
    negative: npt.NDArray[np.float64]
    negative_low: npt.NDArray[np.float64]
    negative_high: npt.NDArray[np.float64]


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
    )


def topics(connection: Connection, now: int) -> list[TopicRow]:
    """Return each topic with a series: firing, silent and pending first, then by `score`, learning ones last."""
    sums = {row.topic: row for row in connection.execute(_DAY_SUMS, {"since": now - DAY, "midnight": now - now % DAY})}
    a = schema.alerts.c
    opened: dict[str, tuple[str, str]] = {}
    for row in connection.execute(select(a.topic, a.kind, a.direction, a.state).where(a.resolved_at.is_(None))):
        state = KINDS[row.kind].state if row.state == "firing" else row.state
        if row.topic not in opened or _RANK[state] < _RANK[opened[row.topic][0]]:
            opened[row.topic] = state, row.direction
    rows = connection.execute(select(schema.topics))
    found = [_topic(row, sums.get(row.topic), opened.get(row.topic), now) for row in rows]
    return sorted(found, key=lambda t: (_RANK[t.state], t.score, t.topic))


def sparklines(connection: Connection, names: Sequence[str], now: int) -> dict[str, list[float | None]]:
    """Return the polarity of these topics in six-hour steps over the last week, oldest first.

    A step without events is None.
    """
    first = now - now % SPARK_STEP - (SPARK_STEPS - 1) * SPARK_STEP
    found: dict[str, list[float | None]] = {name: [None] * SPARK_STEPS for name in names}
    if not names:
        return found
    for row in connection.execute(_SPARKS, {"since": first, "step": SPARK_STEP, "names": list(names)}):
        place = (int(row.at) - first) // SPARK_STEP
        if row.events and 0 <= place < SPARK_STEPS:
            found[row.topic][place] = int(row.polarity) / int(row.events) / 10_000
    return found


def topic_names(connection: Connection) -> list[str]:
    """Return the topics that have a series: `_all` first, the others in bytewise order."""
    return sorted(connection.execute(select(schema.topics.c.topic)).scalars(), key=lambda t: (t != ALL, t.encode()))


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
    listed = [
        IncidentRow(r.id, r.title, r.state, r.severity, r.fired_at, r.ended_at, tuple(of.get(r.id, ())))
        for r in found.values()
    ]
    return sorted(listed, key=lambda incident: (incident.state != "open", -incident.fired_at, incident.id))


def first_story_at(connection: Connection, topic: str) -> int | None:
    """Return the start of the topic's first bucket, or None if the topic has no series."""
    time = connection.execute(select(schema.topics.c.first_story_at).where(schema.topics.c.topic == topic)).scalar()
    return None if time is None else int(time)


def curve(connection: Connection, topic: str, start: int, end: int, *, step: int, window: int) -> Curve:
    """Return a topic's series in [start, end), in steps of `step` (microseconds).

    Each value is a mean over the `window` before the step's end. `window` is a multiple of `step`.
    """
    start -= start % step
    lead = USUAL_DAYS * DAY + DAY + window
    grid_start = start - lead - (start - lead) % step
    size = -(-(end - grid_start) // step)
    sums = np.zeros((size, 6), np.int64)
    query = {"topic": topic, "since": grid_start, "until": end, "step": step}
    for row in connection.execute(_CURVE, query):
        sums[(int(row[0]) - grid_start) // step] = [int(x or 0) for x in row[1:]]
    total = np.vstack([np.zeros((1, 6), np.int64), np.cumsum(sums, axis=0)])
    last = np.arange((start - grid_start) // step, size) + 1
    seen = (total[last] - total[last - window // step]).astype(np.float64)
    day = max(DAY // step, 1)
    before = np.maximum(last - day, 0)
    past = (total[before] - total[np.maximum(before - USUAL_DAYS * DAY // step, 0)]).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        events = seen[:, 1]
        polarity = np.where(events > 0, (seen[:, 3] - seen[:, 2]) / events / 10_000, np.nan)
        negative = np.where(events > 0, seen[:, 2] / events / 10_000, np.nan)
        usual = np.where(seen[:, 5] > 0, seen[:, 4] / seen[:, 5] / 10_000, np.nan)
        share = np.where(past[:, 1] >= LEAST_EVENTS, past[:, 2] / past[:, 1] / 10_000, np.nan)
        mean = (past[:, 3] - past[:, 2]) / past[:, 1] / 10_000
        noise = np.maximum((past[:, 3] + past[:, 2]) / past[:, 1] / 10_000 - mean * mean, 0.05)
        wide = 2 * np.sqrt(noise / np.maximum(events, 1))
        wide_share = 2 * np.sqrt(share * (1 - share) / np.maximum(events, 1))
    shown = sums[(start - grid_start) // step :]
    return Curve(
        start=(np.arange(len(last), dtype=np.int64) * step + start),
        step=step,
        window=window,
        stories=shown[:, 0],
        events=shown[:, 1],
        polarity=polarity,
        polarity_low=np.maximum(usual - wide, -1),
        polarity_high=np.minimum(usual + wide, 1),
        negative=negative,
        negative_low=np.maximum(share - wide_share, 0),
        negative_high=np.minimum(share + wide_share, 1),
    )


def events(
    connection: Connection, topic: str, start: int, end: int, *, known: int, order: str = "negative", limit: int = 50
) -> tuple[list[EventRow], int]:
    """Return the events of a topic that counted in [start, end), with their copies in that time, and their number.

    `order`: the most `negative` or `positive` first, or the `newest`. `known`: text is the newest that was known by
    this time. Events whose story was withdrawn come last and are marked.
    """
    s = schema.stories.c
    shown = evidence.events(connection, topic, start, end, order=order, limit=limit, also=(s.title, s.url))
    texts = evidence.newest_texts(connection, [evidence.story_of(rows[0]) for rows in shown], known)
    lines = []
    for rows in shown:
        newest, first = texts[evidence.story_of(rows[0])], _told(rows[0])
        first = replace(first, title=newest.title, url=newest.url, withdrawn=newest.status == "withdrawn")
        lines.append(EventRow(first, tuple(_told(row) for row in rows[1:])))
    return sorted(lines, key=lambda line: line.first.withdrawn), evidence.count_events(connection, topic, start, end)


def source_counts(connection: Connection) -> dict[str, tuple[int, int, int, int]]:
    """Count, for each source, its stories, late stories, stale stories and dead letters. Slow: reads all stories."""
    x = schema.dead_letters.c
    counts = {
        row[0]: (int(row[1]), int(row[2] or 0), int(row[3] or 0), 0)
        for row in connection.execute(
            text(
                'SELECT "partition", count(*), sum(CASE WHEN late THEN 1 ELSE 0 END), '
                'sum(CASE WHEN stale THEN 1 ELSE 0 END) FROM stories GROUP BY "partition"'
            )
        )
    }
    for name, dead in connection.execute(select(x.partition, func.count()).group_by(x.partition)):
        counts[name] = (*counts.get(name, (0, 0, 0, 0))[:3], int(dead))
    return counts


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
    """Return the names of the stories' sources. Slow: reads all stories."""
    return sorted(connection.execute(select(schema.stories.c.source).distinct()).scalars())


_RANK = {"firing": 0, "silent": 1, "pending": 2, "ok": 3, "learning": 4}

# CROSS JOIN fixes SQLite's join order, so it reads one range of the primary key for each topic. With the index on
# `start`, it would look up each row separately.
_DAY_SUMS = text(
    "SELECT b.topic AS topic, sum(b.stories) AS stories, sum(b.events) AS events, "
    "sum(b.negative) AS negative, sum(b.positive) AS positive, "
    "sum(CASE WHEN b.start >= :midnight THEN b.stories ELSE 0 END) AS today, "
    "sum(CASE WHEN b.baseline IS NULL THEN 0 ELSE b.events END) AS usual_events, "
    "sum(CASE WHEN b.baseline IS NULL THEN 0 ELSE b.positive - b.negative END) AS usual_polarity, "
    "sum(CAST(b.baseline AS BIGINT) * b.events) AS usual "
    "FROM topics t CROSS JOIN buckets b WHERE b.topic = t.topic AND b.start >= :since GROUP BY b.topic"
)
_SPARKS = text(
    "SELECT b.topic AS topic, b.start - b.start % :step AS at, sum(b.events) AS events, "
    "sum(b.positive - b.negative) AS polarity "
    "FROM topics t CROSS JOIN buckets b WHERE t.topic IN :names AND b.topic = t.topic AND b.start >= :since "
    "GROUP BY b.topic, b.start - b.start % :step"
).bindparams(bindparam("names", expanding=True))
_CURVE = text(
    "SELECT start - start % :step AS at, sum(stories), sum(events), sum(negative), sum(positive), "
    "sum(CAST(baseline AS BIGINT) * events), sum(CASE WHEN baseline IS NULL THEN 0 ELSE events END) "
    "FROM buckets WHERE topic = :topic AND start >= :since AND start < :until "
    "GROUP BY start - start % :step"
)


def _topic(row: Any, sums: Any, opened: tuple[str, str] | None, now: int) -> TopicRow:
    learning = row.learning_until is not None
    state, direction = opened or ("learning" if learning else "ok", "")
    polarity = usual = change = negative = None
    score, events = 0.0, 0
    if sums is not None and sums.events:
        events = int(sums.events)
        polarity = int(sums.positive - sums.negative) / events / 10_000
        negative = int(sums.negative) / events / 10_000
        if sums.usual_events:
            known = int(sums.usual_events)
            usual = int(sums.usual) / known / 10_000
            change = int(sums.usual_polarity) / known / 10_000 - usual
            # The variance of an event's polarity is that of a label -1, 0 or 1 drawn with these shares.
            noise = max(int(sums.positive + sums.negative) / events / 10_000 - polarity * polarity, 0.05)
            score = change / (noise / known) ** 0.5
    return TopicRow(
        topic=row.topic,
        state=state,
        direction=direction,
        learning_until=row.learning_until if learning and row.learning_until > now else None,
        polarity=polarity,
        usual=usual,
        change=change,
        score=score,
        negative=negative,
        stories_today=0 if sums is None else int(sums.today),
        events=events,
        last_story_at=int(row.last_story_at),
    )


def _alert(row: Any) -> AlertRow:
    state = "dropped" if row.state == "resolved" and row.fired_at is None else row.state
    return AlertRow(
        *(row.id, row.topic, row.kind, row.direction, state, row.origin),
        *(row.started_at, row.pending_at, row.fired_at, row.resolved_at),
        *(row.observed, row.baseline, row.score, row.window_start, row.window_end),
        tuple(json.loads(row.evidence)),
        *(row.sources, row.events, row.sentence),
        *(row.severity, row.group_id, row.inhibited_because),
    )


def _told(row: Any) -> StoryRow:
    scores = None if row.negative is None else (row.negative, row.neutral, row.positive)
    return StoryRow(row.title, row.url, row.source, row.published_at, scores, severity=row.severity)
