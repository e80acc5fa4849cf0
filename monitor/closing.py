"""Closing buckets: from the stories in the store to decided buckets, series and alerts.

    for change in Closer(engine, rules, detection).close(): ...

The monitor is a pure function of the store's rows. Closing takes two transactions: one reads, in a single snapshot,
the feed time and the stories of the buckets that it has passed; one writes all that follows, comparing and setting
"decided until" and the members version from the values read. So whoever was overtaken (by another monitor, or by a
partition that joined) writes nothing, and reads again.

Invariant: a story counts at a time >= its partition's watermark >= feed time, so no story ever enters a decided bucket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from foreshock.monitor import novelty
from foreshock.monitor.alerts import Alert, AlertChange, in_order, sentence
from foreshock.monitor.buckets import Bucket, TopicBucket
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.counting import Member, Memory, Ruling, count_bucket
from foreshock.monitor.deciding import Decision, DetectionRules, State, decide, pass_time
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.store import bulk, evidence, lookup, outbox, progress, remembered, schema, settings_versions
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.queries import alert_json
from foreshock.monitor.watermark import TimeRules

BUCKETS_AT_A_TIME = 1_000
STORIES_AT_A_TIME = 20_000
"""At the most, of one closing; a single bucket may hold more."""

DAY = 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Ready:
    """What one snapshot of the store offers for closing."""

    decided_until: int | None
    members_version: int
    until: int
    """What "decided until" becomes: a bucket's end."""
    members: list[Member]
    memory: Memory


@dataclass(frozen=True, slots=True)
class Told:
    """A change of an alert, with what its reader needs."""

    change: AlertChange
    evidence: list[dict[str, Any]]
    events: int
    sources: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Closed:
    """What one transaction decided: buckets that had stories, these stories, and up to where all is decided now."""

    buckets: int
    stories: int
    until: int
    told: list[Told]


class Closer:
    """The monitor of one process: it holds the detectors' state between closings, built from the store.

    `settings`: number of the version in force, which the rows carry; one that is adopted later is found in the store.
    `clock`: of who reads live (`watermark.feed_time`).
    """

    def __init__(
        self,
        engine: Engine,
        rules: TimeRules,
        *,
        settings: int,
        origin: str = "live",
        deliver: bool = True,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._settings = settings
        self._origin = origin
        self._deliver = deliver
        self._clock = clock
        self._state: State | None = None
        self._state_until: int | None = None
        self._left: list[AlertChange] = []

    def close(self) -> Iterator[Told]:
        """Decide every bucket that can be; yields what became of alerts, each after its transaction."""
        while True:
            try:
                closed = self.close_some()
            except Overtaken:
                continue
            if closed is None:
                return
            yield from closed.told

    def close_some(self) -> Closed | None:
        """Decide the next buckets that can be, as many as one transaction takes; None if there are none.

        Raises:
            Overtaken: another process decided them, or a partition joined meanwhile; nothing was written.
        """
        with reading(self._engine) as connection:
            ready = read_ready(connection, self._rules, self._clock and self._clock())
            if ready is None:
                return None
            number = settings_versions.in_force(connection)
            if number is not None and number != self._settings:
                self._settings, self._state = number, None  # detectors have another budget: made anew from the store
            if self._state is None or self._state_until != ready.decided_until:
                self._state = rebuild(connection, self._rules, ready.decided_until)
                self._left = reconcile(connection, self._state, ready.decided_until or 0)
        state, self._state = self._state, None  # if what follows fails, the state is no longer that of the store
        closed = self._decide(state, ready)
        self._state, self._state_until = state, ready.until
        return closed

    def _decide(self, state: State, ready: Ready) -> Closed:
        by_bucket: dict[int, list[Member]] = {}
        for member in ready.members:
            by_bucket.setdefault(member.bucket, []).append(member)
        rulings: list[Ruling] = []
        decided: list[tuple[Bucket, Decision]] = []
        changes, self._left = self._left, []
        for start in sorted(by_bucket):
            ruled, bucket = count_bucket(ready.memory, start, by_bucket[start], self._rules)
            rulings += ruled
            if bucket.topics:
                decision = decide(state, bucket)
                decided.append((bucket, decision))
                changes += decision.changes
        changes += pass_time(state, ready.until).changes
        with writing(self._engine) as connection:
            f = schema.feed.c
            mine = and_(
                f.decided_until.is_not_distinct_from(ready.decided_until), f.members_version == ready.members_version
            )
            if connection.execute(update(schema.feed).where(mine).values(decided_until=ready.until)).rowcount != 1:
                raise Overtaken("Another process decided these buckets, or a partition joined meanwhile.")
            _write_rulings(connection, rulings)
            remembered.save(connection, ready.memory)
            _write_buckets(connection, decided, self._settings)
            told = [self._write_alert(connection, change) for change in changes]
        return Closed(len(by_bucket), len(ready.members), ready.until, told)

    def _write_alert(self, connection: Connection, change: AlertChange) -> Told:
        alert = change.alert
        events, sources = evidence.totals(connection, alert.topic, alert.window_start, alert.window_end)
        known = max(filter(None, (alert.pending_at, alert.fired_at, alert.resolved_at)))
        shown = evidence.stories(
            connection, alert.topic, alert.window_start, alert.window_end, known=known, worse=alert.direction == "worse"
        )
        told = Told(change, shown, events, sources, sentence(alert, events, sources))
        values = {
            "id": alert.id,
            "topic": alert.topic,
            "kind": alert.kind,
            "direction": alert.direction,
            "state": alert.state,
            "origin": self._origin,
            "group_id": None,
            "started_at": alert.started_at,
            "pending_at": alert.pending_at,
            "fired_at": alert.fired_at,
            "resolved_at": alert.resolved_at,
            "observed": alert.observed,
            "baseline": alert.baseline,
            "score": alert.score,
            "severity": None,
            "window_start": alert.window_start,
            "window_end": alert.window_end,
            "evidence": json.dumps(shown, ensure_ascii=False),
            "sources": sources,
            "events": events,
            "sentence": told.sentence,
            "settings": self._settings,
        }
        connection.execute(delete(schema.alerts).where(schema.alerts.c.id == alert.id))
        connection.execute(insert(schema.alerts).values(**values))
        if change.event in ("firing", "resolved"):
            # What is sent is the alert as it was now, however late it is sent. Its origin happened to us, and is added
            # by the sender.
            as_told = {key: value for key, value in alert_json(values).items() if key != "origin"}
            connection.execute(
                insert(schema.outbox).values(
                    alert_id=alert.id,
                    event=change.event,
                    decided_at=alert.fired_at if change.event == "firing" else alert.resolved_at,
                    state="queued" if self._deliver or _was_told(connection, change) else "withheld",
                    alert=json.dumps(as_told, ensure_ascii=False),
                )
            )
        return told


def _was_told(connection: Connection, change: AlertChange) -> bool:
    """Whether this is the end of an alert that was delivered when it fired: it is delivered whoever decides it, or the
    alert would stay open at its receiver."""
    if change.event != "resolved":
        return False
    return outbox.state_of_firing(connection, change.alert.id) in ("queued", "dispatched", "folded")


def read_ready(connection: Connection, rules: TimeRules, now: int | None = None) -> Ready | None:
    """The buckets that feed time has passed and nobody decided yet, oldest first; None if there are none."""
    row = connection.execute(select(schema.feed.c.decided_until, schema.feed.c.members_version)).one()
    time = progress.feed_time(connection, rules, now)
    if time is None:
        return None
    until = rules.start_of(time)
    if row.decided_until is not None and until <= row.decided_until:
        return None
    members, cut = _members(connection, row.decided_until, until, rules)
    return Ready(
        row.decided_until,
        row.members_version,
        until if cut is None else cut,
        members,
        remembered.load(connection, members),
    )


def rebuild(connection: Connection, time: TimeRules, decided_until: int | None) -> State:
    """The detectors' state at `decided_until`: as on the last day's first bucket, and the decided buckets since.

    Each bucket is decided again by the settings that were in force for it, so that open alerts are those of the store.
    """
    versions: list[tuple[int, DetectionRules, set[str]]] = []
    for since, body in settings_versions.in_order(connection):
        named = {str(rule["name"]) for rule in body.get("topics", ())}
        versions.append((-1 if since is None else since, detection_rules(body, time), named))
    row = connection.execute(select(schema.daily_state).order_by(schema.daily_state.c.day.desc()).limit(1)).first()
    while True:
        begin = -1 if row is None else row.bucket
        rules, named = ([v[1:] for v in versions if v[0] <= begin] or [(detection_rules(None, time), set[str]())])[-1]
        try:
            state = State.fresh(rules) if row is None else State.restore(row.body, rules)
            break
        except ValueError:  # kept by another version: all of it follows from the buckets
            row = None
    coming = [version for version in versions if version[0] > begin]

    def adopt(until: int) -> None:
        nonlocal named
        while coming and coming[0][0] <= until:
            since, rules, left = coming.pop(0)
            pass_time(state, since)
            state.adopt(rules, gone=named - left, back=left - named)
            named = left

    for bucket in decided_buckets(connection, None if row is None else row.bucket):
        adopt(bucket.start)
        decide(state, bucket)
    if decided_until is not None:
        adopt(decided_until)
        pass_time(state, decided_until)
    return state


def reconcile(connection: Connection, state: State, at: int) -> list[AlertChange]:
    """What makes the open alerts of the store those of the state: nothing, unless settings were adopted, or another
    version of Foreshock decided some of the buckets since the last snapshot.

    Ended is what the state does not know as firing (such as the silence of a topic that the settings no longer have);
    told, what the store lacks; forgotten, what is over in the store.
    """
    opened, columns = state.life.open, schema.alerts.c
    mine = {alert.id: key for key, alert in opened.items()}
    fields = [columns[field.name] for field in dataclass_fields(Alert)]
    query = select(*fields).where(or_(columns.state.in_(("pending", "firing")), columns.id.in_(list(mine))))
    kept = [Alert(**row._mapping) for row in connection.execute(query.order_by(columns.pending_at, columns.id))]
    over = {mine[alert.id] for alert in kept if alert.state == "resolved"}
    for key in over:
        del opened[key]
    changes: list[AlertChange] = []
    for alert in kept:
        if alert.state == "resolved":
            continue
        key = (alert.kind, state.history.index.get(alert.topic, -1), alert.direction)
        ours = opened.get(key)
        if ours is None and key in over:  # it was forgotten before, and told again since
            opened[key] = alert
        elif ours is None or ours.id != alert.id or (ours.fired_at is None and alert.fired_at is not None):
            event = "dropped" if alert.fired_at is None else "resolved"
            changes.append(AlertChange(event, replace(alert, state="resolved", resolved_at=at)))
            if ours is not None and ours.id == alert.id:
                del opened[key]
    known = {alert.id: alert.fired_at is not None for alert in kept}
    lacking = [a for a in opened.values() if a.id not in known or (a.fired_at is not None and not known[a.id])]
    return changes + in_order([AlertChange(alert.state, alert) for alert in lacking])


def _members(
    connection: Connection, since: int | None, until: int, rules: TimeRules
) -> tuple[list[Member], int | None]:
    """Stories that count in [since, until), and the earlier end at which this closing must stop, if there are too
    many."""
    s = schema.stories.c
    query = select(
        *(s.partition, s.offset, s.counts_at, s.published_at, s.id, s.content, s.source, s.stale, s.date_only),
        *(s.negative, s.neutral, s.positive, s.signature),
    )
    query = query.order_by(s.counts_at)

    def between(start: int | None, end: int) -> Any:
        return s.counts_at < end if start is None else and_(s.counts_at >= start, s.counts_at < end)

    rows = connection.execute(query.where(between(since, until)).limit(STORIES_AT_A_TIME)).all()
    cut = None
    if len(rows) == STORIES_AT_A_TIME:
        first, cut = rules.start_of(rows[0].counts_at), rules.start_of(rows[-1].counts_at)
        if cut == first:  # one bucket alone is larger than the limit
            cut = first + rules.bucket
            rows = connection.execute(query.where(between(since, cut))).all()
    starts = sorted({rules.start_of(row.counts_at) for row in rows})
    if len(starts) > BUCKETS_AT_A_TIME:
        cut = min(starts[BUCKETS_AT_A_TIME], cut or until)
    if cut is not None:
        rows = [row for row in rows if row.counts_at < cut]
    topics: dict[tuple[str, int], list[str]] = {}
    if rows:
        t = schema.story_topics.c
        here = and_(t.partition == s.partition, t.offset == s.offset)
        borne = select(t.partition, t.offset, t.topic).join_from(schema.stories, schema.story_topics, here)
        for row in connection.execute(borne.where(between(rows[0].counts_at, cut or until))):
            topics.setdefault((row.partition, row.offset), []).append(row.topic)
    keys = iter(novelty.keys([row.signature for row in rows if row.signature is not None]))
    members = [
        Member(
            partition=row.partition,
            offset=row.offset,
            bucket=rules.start_of(row.counts_at),
            published_at=row.published_at,
            id=row.id,
            content=row.content,
            source=row.source,
            stale=row.stale,
            date_only=row.date_only,
            scores=None if row.negative is None else (row.negative, row.neutral, row.positive),
            signature=row.signature,
            keys=() if row.signature is None else next(keys),
            topics=tuple(sorted(topics.get((row.partition, row.offset), ()))),
        )
        for row in rows
    ]
    return members, cut


def decided_buckets(connection: Connection, since: int | None) -> Iterator[Bucket]:
    """The decided buckets from the one that starts at `since` on (None: all), as they were decided."""
    table = schema.buckets
    query = select(table).order_by(table.c.start, table.c.topic)
    start, rows = None, list[TopicBucket]()
    for row in connection.execute(query if since is None else query.where(table.c.start >= since)):
        if start is not None and row.start != start:
            yield Bucket(start, tuple(rows))
            rows = []
        start = row.start
        sums = row.stories, row.events, row.negative, row.neutral, row.positive
        rows.append(TopicBucket(row.topic, *sums, tuple(json.loads(row.sources)), row.day_events, row.day_negative))
    if start is not None:
        yield Bucket(start, tuple(rows))


def _write_rulings(connection: Connection, rulings: list[Ruling]) -> None:
    none = (None, None)
    rows = [
        (*r.member.position, r.member.bucket, r.ending, r.weighs, *(r.story or none), *(r.event or none))
        for r in rulings
    ]
    columns = ("partition", "offset", "bucket", "ending", "weighs")
    hangs_on = ("story_partition", "story_offset", "event_partition", "event_offset")
    bulk.insert_tuples(connection, schema.decisions, columns + hangs_on, rows)


def _write_buckets(connection: Connection, decided: list[tuple[Bucket, Decision]], settings: int) -> None:
    rows: list[dict[str, Any]] = []
    topics: dict[str, dict[str, Any]] = {}
    for bucket, decision in decided:
        for t in bucket.topics:
            rows.append(
                {
                    "topic": t.topic,
                    "start": bucket.start,
                    "stories": t.stories,
                    "events": t.events,
                    "negative": t.negative,
                    "neutral": t.neutral,
                    "positive": t.positive,
                    "day_events": t.day_events,
                    "day_negative": t.day_negative,
                    "sources": json.dumps(t.sources, ensure_ascii=False),
                    "baseline": decision.baselines.get(t.topic),
                    "settings": settings,
                }
            )
            seen = topics.setdefault(t.topic, {"topic": t.topic, "first_story_at": bucket.start, "stories": 0})
            seen["last_story_at"] = bucket.start
            seen["stories"] += t.stories
            seen["learning_until"] = decision.learning.get(t.topic)
        for start, end in decision.stalls:
            connection.execute(insert(schema.feed_stalls).values(started_at=start, ended_at=end))
        if decision.snapshot is not None:
            day = bucket.start - bucket.start % DAY
            connection.execute(insert(schema.daily_state).values(day=day, bucket=bucket.start, body=decision.snapshot))
    if rows:
        bulk.insert(connection, schema.buckets, rows)
        _upsert_topics(connection, sorted(topics.values(), key=lambda row: str(row["topic"])))
    days = [bucket.start for bucket, decision in decided if decision.snapshot is not None]
    if days:
        remembered.forget_events(connection, days[-1])


def _upsert_topics(connection: Connection, rows: list[dict[str, Any]]) -> None:
    on_postgresql = connection.dialect.name == "postgresql"
    statement = (postgresql if on_postgresql else sqlite).insert(schema.topics)
    if on_postgresql:  # one statement for all of them, which may be very many
        columns = list(rows[0])
        arrays = [lookup.texts if name == "topic" else lookup.numbers for name in columns]
        values = [array([row[name] for row in rows]) for array, name in zip(arrays, columns, strict=True)]
        new_rows = func.unnest(*values).table_valued(*columns).render_derived()
        statement = statement.from_select(columns, select(new_rows))
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["topic"],
        set_={
            "last_story_at": new.last_story_at,
            "stories": schema.topics.c.stories + new.stories,
            "learning_until": new.learning_until,
        },
    )
    connection.execute(statement, None if on_postgresql else rows)
