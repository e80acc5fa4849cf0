"""What a live run does over and over: take, commit, tick, close.

    loop.begin()
    while not stopped:
        loop.turn() or wait()
    loop.end(close=False)

One idea: a turn never waits and keeps nothing to itself. What it did is in the store when it returns, so a run that is
killed at any moment goes on where it was, and ends with the rows of an undisturbed one. Where it waits, and for what,
is its caller's business; tests turn it by a clock of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from foreshock import pipeline
from foreshock.live import Clock, LiveSource
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.settings import SECOND
from foreshock.monitor.store import progress, queries
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.store.times import iso_or_none
from foreshock.monitor.watermark import TimeRules
from foreshock.worker import Worker

IDLE_AFTER = 2 * SECOND
"""A source is idle once it is at its end and nothing raised its watermark for so long."""


class Loop:
    """Turns sources into rows, series and alerts. `records`: stories and dead letters so far."""

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        closer: Closer,
        sources: Sequence[LiveSource],
        rules: TimeRules,
        *,
        clock: Clock,
        on_alert: Callable[[Told], None] | None = None,
    ) -> None:
        self.records = 0
        self.on_closed: Callable[[], None] = lambda: None
        self._engine = engine
        self._worker = worker
        self._closer = closer
        self._sources = list(sources)
        self._rules = rules
        self._clock = clock
        self._on_alert = on_alert
        self._watermarks: dict[str, tuple[int | None, int]] = {}  # and since when each stands, but for ticks

    def begin(self) -> None:
        """All sources that are not members yet join, before the first record is read."""
        with writing(self._engine) as connection:
            if connection.dialect.name == "sqlite":  # its only process is this one
                self._let_go(connection)
            pipeline.join(connection, self._sources, self._rules)
        now = self._clock()
        self._watermarks = {s.partition.name: (s.partition.progress.watermark, now) for s in self._sources}
        self._close()

    def turn(self) -> bool:
        """Take what there is by now and what follows from it; whether there may be more at once."""
        try:
            batch = self._worker.ready(self._sources)
            if batch is not None or any(source.unsaved for source in self._sources):
                self._commit(batch)
            moved = self._tick()
        except Overtaken as error:
            _log().warning("another process went on with a source: reading its place again", error=str(error))
            self._restart()
            return True
        if batch is not None or moved:
            self._close()
        return batch is not None

    @property
    def read_what_stood(self) -> bool:
        """All that the sources had at the start is committed."""
        return all(source.over or (source.read_what_stood() and not source.unsaved) for source in self._sources)

    def end(self, *, close: bool) -> None:
        """Leave, so that time does not wait for this process. `close`: also decide what that lets close; where the
        feeds go on, the next start does."""
        with suppress(Overtaken), writing(self._engine) as connection:
            self._set(progress.leave(connection, [s.partition for s in self._sources if s.partition.progress.member]))
        if close:
            self._close()

    def health(self) -> None:
        """One line on how it goes."""
        try:
            with reading(self._engine) as connection:
                decided_until = queries.decided_until(connection)
                members = [p for p in progress.load(connection).values() if p.progress.member]
        except DBAPIError as error:
            _log().warning("the store cannot be read", error=str(error.orig))
            return
        lag = None if decided_until is None else (self._clock() - decided_until) / SECOND
        _log().info(
            "health",
            records=self.records,
            decided_until=iso_or_none(decided_until),
            lag_seconds=None if lag is None else round(lag, 1),
            not_idle=[p.name for p in members if not p.progress.idle],
        )

    def _commit(self, batch: Batch | None) -> None:
        with writing(self._engine) as connection:
            after = [] if batch is None else progress.commit(connection, batch)
            for source in self._sources:
                source.save(connection)
            over = [source for source in self._sources if source.over]
            current = {partition.name: partition for partition in after}
            after += progress.leave(connection, [current.get(s.partition.name, s.partition) for s in over])
        self._set(after)
        self._sources = [source for source in self._sources if not source.over]
        if batch is not None:
            self.records += len(batch.stories) + len(batch.dead_letters)

    def _tick(self) -> bool:
        """Declare idle what is; whether any tick was written."""
        now = self._clock()
        idle = [
            source.partition
            for source in self._sources
            if source.at_end(now) and now - self._watermarks[source.partition.name][1] >= IDLE_AFTER
        ]
        if not idle:
            return False
        with reading(self._engine) as connection:  # most often no tick is due, and no need to keep others from writing
            if not progress.due_ticks(connection, idle, now, self._rules):
                return False
        with writing(self._engine) as connection:
            ticked = progress.tick(connection, idle, now, self._rules)
        self._set(ticked, by_tick=True)
        return bool(ticked)

    def _set(self, partitions: Sequence[Partition], *, by_tick: bool = False) -> None:
        """Take over what was committed. Records that raise a watermark keep a source from being idle, ticks do not."""
        by_name = {partition.name: partition for partition in partitions}
        for source in self._sources:
            name = source.partition.name
            if name in by_name:
                source.partition = by_name[name]
                before, since = self._watermarks[name]
                watermark = source.partition.progress.watermark
                self._watermarks[name] = watermark, since if by_tick or watermark == before else self._clock()

    def _close(self) -> None:
        for told in self._closer.close():
            if told.change.event in {"firing", "resolved"}:
                _log().info(f"alert {told.change.event}", alert=told.change.alert.id, sentence=told.sentence)
            if self._on_alert is not None:
                self._on_alert(told)
        self.on_closed()

    def _restart(self) -> None:
        with writing(self._engine) as connection:
            known = progress.load(connection)
            for source in self._sources:
                source.restart(known.get(source.partition.name, source.partition), connection)
            pipeline.join(connection, self._sources, self._rules)

    def _let_go(self, connection: Any) -> None:
        """Of a run that was killed: RSS feeds that the settings no longer have. Time would wait for them for ever."""
        own = {source.partition.name for source in self._sources}
        others = [p for p in progress.load(connection).values() if p.progress.member and p.name not in own]
        gone = [p for p in others if p.kind == "rss"]
        progress.leave(connection, gone)
        for partition in gone:
            _log().info("feed is no longer in the settings", feed=partition.name)
        for partition in others:
            if partition not in gone:
                _log().warning(
                    "time waits for a source that was begun and not finished: replay it, or name it as a feed",
                    source=partition.name,
                )


def _log() -> Any:
    import structlog

    return structlog.get_logger()
