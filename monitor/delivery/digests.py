"""Send a digest at each stated time: once, whoever sends, and late if nobody did in time.

The time follows from the settings and the clock alone, and names the row in the store. So two senders, or one that was
started anew, write one digest for each time. What was missed while nothing ran is sent at the start, and only the last.

A digest covers the time from the end of the one before, as far as is decided: nothing is in two of them or in none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy import Engine, select

from foreshock.ingest.settings import zone
from foreshock.monitor.delivery.route_settings import DigestSettings
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.store import digest_content, digests, schema
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.times import microseconds
from foreshock.monitor.units import DAY, MINUTE, SECOND

BEHIND = 15 * MINUTE
"""If the monitor has decided up to so shortly before the stated time, the digest is sent at once."""
STILL_SECONDS = 10.0
"""Otherwise it is sent once "decided until" has stood still for so long: the feed is quiet, or all is caught up."""
LONGEST_SECONDS = 900.0
"""Or after so long: a feed may lag for ever."""


def last_due(settings: DigestSettings, now: int) -> int:
    """Return the last stated time up to `now` (microseconds by the clock).

    A local time that exists twice counts when it is first; one that does not exist counts as much later as the clocks
    go forward.
    """
    hour, minute = settings.time()
    there = zone(settings.location)
    day = datetime.fromtimestamp(now // SECOND, there).date() + timedelta(days=1)
    while True:
        stated = microseconds(datetime(day.year, day.month, day.day, hour, minute, tzinfo=there))
        if stated <= now and settings.day in (None, day.weekday()):
            return stated
        day -= timedelta(days=1)


def period(settings: DigestSettings) -> int:
    """Return how far apart stated times usually are (microseconds)."""
    return DAY if settings.day is None else 7 * DAY


class Scheduled:
    """The digests of the settings. A thread of the sender calls `turn` again and again."""

    def __init__(self, engine: Engine, settings: Sequence[DigestSettings], now: Callable[[], int]) -> None:
        self._engine = engine
        self._settings = settings
        self._now = now
        self._done: dict[str, int] = {}
        self._waiting: dict[str, float] = {}
        self._stood: dict[str, tuple[int, float]] = {}

    def turn(self) -> None:
        """Write each digest that is due."""
        for settings in self._settings:
            due = last_due(settings, self._now())
            if self._done.get(settings.name) != due:
                with suppress(Overtaken):  # another sender writes it
                    self._look(settings, due)

    def _look(self, settings: DigestSettings, due: int) -> None:
        name = settings.name
        with reading(self._engine) as connection:
            decided = connection.execute(select(schema.feed.c.decided_until)).scalar() or 0
            before = digests.last(connection, name, self._now())
            # What is decided by `due` may be in a digest already, which a clock that was ahead sent.
            wanted = before is not None and before.due_at < due and before.ends_at <= due
            if before is not None and wanted:
                if not self._may_be_made(name, due, decided):
                    return
                covers = _covers(settings, before, due, decided)
                body = digest_content.content(connection, name, covers)
        if wanted or before is None:
            with writing(self._engine) as connection:
                again = digests.last(connection, name, self._now())
                if again is None:
                    digests.begin(connection, name, due)
                elif again.due_at < due:
                    digests.schedule(connection, name, due, covers, body, settings.receivers, self._now())
        self._done[name] = due
        self._waiting.pop(name, None)

    def _may_be_made(self, name: str, due: int, decided: int) -> bool:
        """Return whether as much is decided as will be soon."""
        if decided >= due - BEHIND:
            return True
        now = time.monotonic()
        since = self._waiting.setdefault(name, now)
        if self._stood.get(name, (None, 0.0))[0] != decided:
            self._stood[name] = decided, now
        return now - self._stood[name][1] >= STILL_SECONDS or now - since >= LONGEST_SECONDS


def _covers(settings: DigestSettings, before: digests.Last, due: int, decided: int) -> tuple[int, int]:
    """Return the stretch of event time of a digest: from where the one before ended, or one period after a gap.

    Its end may lie long before `due`, if the feed lagged: then a whole period would overlap with the one before.
    """
    ends = max(min(due, decided), min(before.ends_at, due))
    follows = last_due(settings, due - 1) <= before.due_at
    return before.ends_at if follows else max(before.ends_at, ends - period(settings)), ends
