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
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, insert, select, update

from foreshock.monitor.alerts import AlertChange, sentence
from foreshock.monitor.buckets import Bucket
from foreshock.monitor.counting import Member, Memory, Ruling, count_bucket
from foreshock.monitor.deciding import Decision, State, decide, pass_time
from foreshock.monitor.detectors.surging import SURGE
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.rebuild import rebuild, reconcile
from foreshock.monitor.store import (
    evidence,
    outbox,
    progress,
    schema,
    settings_versions,
)
from foreshock.monitor.store import (
    memory as store_memory,
)
from foreshock.monitor.store.alerts import alert_json
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.decided import stories_to_decide, write_buckets, write_rulings
from foreshock.monitor.watermark import TimeRules


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
            write_rulings(connection, rulings)
            store_memory.save(connection, ready.memory)
            write_buckets(connection, decided, self._settings)
            told = [self._write_alert(connection, change) for change in changes]
        return Closed(len(by_bucket), len(ready.members), ready.until, told)

    def _write_alert(self, connection: Connection, change: AlertChange) -> Told:
        alert = change.alert
        events, sources = evidence.totals(connection, alert.topic, alert.window_start, alert.window_end)
        known = max(filter(None, (alert.pending_at, alert.fired_at, alert.resolved_at)))
        shown = evidence.stories(
            connection, alert.topic, alert.window_start, alert.window_end, known=known, worse=alert.direction == "worse"
        )
        if alert.kind == SURGE:  # what is about as grave: the newest first
            shown.sort(key=lambda story: story["published_at"], reverse=True)
            shown.sort(key=lambda story: round(story["scores"]["negative"], 1), reverse=True)
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
    members, cut = stories_to_decide(connection, row.decided_until, until, rules)
    return Ready(
        row.decided_until,
        row.members_version,
        until if cut is None else cut,
        members,
        store_memory.load(connection, members),
    )
