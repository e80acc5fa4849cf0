"""Send critical stories before their bucket closes.

    news = Announcer(engine, rules, clock).look()

A bucket closes minutes after its first story. A critical story does not wait for that: its alert is decided now, by
the code that closes buckets, from the critical stories that are stored so far. The rulings are taken back; what stays
are the rows of the alert, of its incident and of the messages, which fired after "decided until" (`store/ahead.py`).

Invariant: nothing that is decided depends on this. The closing removes these rows, and decides as a replay would. Which
critical alerts there are follows from the set of critical stories (`critical.py`), so an alert that was sent ahead
comes true, whatever else arrives, unless the settings change meanwhile. Its incident may turn out to be one that
another alert began; then the announced one ends, and names it.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine, and_, func, select, update

from foreshock.monitor.buckets import CriticalStory
from foreshock.monitor.budget import detection_rules
from foreshock.monitor.counting import CountedStory, count_bucket
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.store import ahead, memory, schema, settings_versions
from foreshock.monitor.store import critical as store_critical
from foreshock.monitor.store.alerts import AlertNews
from foreshock.monitor.store.changes import Passing, write_changes
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.decided import stories_at, write_rulings
from foreshock.monitor.store.outbox import BELATED
from foreshock.monitor.watermark import TimeRules

Feed = tuple[int | None, int]
"""Decided until, and the members version."""


class Announcer:
    """Looks for critical stories that are stored and not decided. `clock`: of a process that reads live."""

    def __init__(self, engine: Engine, rules: TimeRules, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._rules = rules
        self._clock = clock
        self._seen: set[tuple[str, int]] = set()

    def look(self) -> list[AlertNews]:
        """Send the alerts of critical stories that came since the last look. Return what was sent.

        A story that counts more than an hour ago, or further ahead of the clock than `max_ahead`, waits for its bucket:
        a backlog is decided soon, and a date in the future is doubtful.

        Raises:
            Overtaken: another process decided buckets meanwhile; nothing was written.
        """
        now = self._clock()
        with reading(self._engine) as connection:
            feed = _feed(connection)
            found = ahead.candidates(connection, feed[0], now - BELATED, now + self._rules.max_ahead)
        new, self._seen = found - self._seen, self._seen & found
        if not new:
            return []
        with writing(self._engine) as connection:
            _hold(connection, feed)
            sent, waits = self._send(connection, feed, found, now)
        if not waits:
            self._seen |= new
        return sent

    def _send(
        self, connection: Connection, feed: Feed, found: set[tuple[str, int]], now: int
    ) -> tuple[list[AlertNews], bool]:
        """Return what was sent of stories at these positions, and whether an alert waits for another of its topic."""
        decided_until, _ = feed
        number = settings_versions.in_force(connection) or 1
        with connection.begin_nested() as trial:
            ahead.remove(connection)
            members = stories_at(connection, sorted(found), self._rules)
            stories = self._decide(connection, members)
            passing = Passing(_passed(connection, self._rules, decided_until), None, (), decided_until)
            news = write_changes(connection, (), stories, passing, origin="live", settings=number, deliver=True)
            tried = ahead.tried(connection, decided_until)
            trial.rollback()
        sent, waits = ahead.write(connection, tried, now)
        return [one for one in news if one.change.event == "firing" and one.change.alert.id in sent], waits

    def _decide(self, connection: Connection, members: list[CountedStory]) -> list[CriticalStory]:
        """Rule on critical stories as if no other were in their buckets, and write the rulings."""
        newest = settings_versions.newest(connection)
        muted = detection_rules(None if newest is None else newest[1], self._rules).muted
        seen = memory.load(connection, members)
        by_bucket: dict[int, list[CountedStory]] = {}
        for member in members:
            by_bucket.setdefault(member.bucket, []).append(member)
        stories: list[CriticalStory] = []
        for start in sorted(by_bucket):
            rulings, bucket = count_bucket(seen, start, by_bucket[start], self._rules, muted=muted)
            write_rulings(connection, rulings)
            stories += bucket.critical
        store_critical.save(connection, stories)
        return stories


def _feed(connection: Connection) -> Feed:
    row = connection.execute(select(schema.feed.c.decided_until, schema.feed.c.members_version)).one()
    return row.decided_until, row.members_version


def _hold(connection: Connection, feed: Feed) -> None:
    """Let no other process decide buckets until this transaction ends."""
    f = schema.feed.c
    mine = and_(f.decided_until.is_not_distinct_from(feed[0]), f.members_version == feed[1])
    same = update(schema.feed).where(mine).values(members_version=f.members_version)
    if connection.execute(same).rowcount != 1:
        raise Overtaken("Another process decided buckets, or a partition joined meanwhile.")


def _passed(connection: Connection, rules: TimeRules, decided_until: int | None) -> int | None:
    """Return up to when time has passed for incidents: not into a stall."""
    if decided_until is None:
        return None
    last = connection.execute(select(func.max(schema.buckets.c.start))).scalar()
    return None if last is None else min(decided_until, last + rules.bucket + rules.stall_after)
