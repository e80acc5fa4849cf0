"""`foreshock monitor`: decides what workers read, and delivers. Of several on one store one does, the others stand by.

One loop in the main thread closes buckets; beside it are the sender's threads and the lease's. Whether this process is
the one is the lease's matter and saves work only: a monitor that does not know yet that it was replaced finds at its
transaction that another went on (`Overtaken`), and writes nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from foreshock.monitor import lease
from foreshock.monitor.closing import Closed, Closer, Told
from foreshock.monitor.errors import LeaseHeld, MonitorError, Overtaken, SettingsDiffer, StoreUnavailable
from foreshock.monitor.lease import Lease
from foreshock.monitor.settings import SECOND
from foreshock.monitor.store import counts, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.monitor.store.times import iso_or_none
from foreshock.observability import metrics
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.observability.stall import StallWatch
from foreshock.processes import wiring
from foreshock.processes.jobs import LAST_WORDS_SECONDS, scheduler
from foreshock.processes.outage import Outage, patiently, said_clearly
from foreshock.processes.reload import NOT_TAKEN, SettingsFile
from foreshock.processes.stop import Stop
from foreshock.settings.load import Loaded
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources.live import Clock

LOOK_SECONDS = 0.25
"""How often it looks whether a bucket can be closed, and whether its lease is back."""
STAND_BY_SECONDS = 1.0
"""How often a stand-by looks whether it is needed."""
HEALTH_SECONDS = 60


def monitor(
    load: Callable[[], Loaded],
    *,
    stop: Stop | None = None,
    on_alert: Callable[[Told], None] | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
) -> None:
    """Decide and deliver, or stand by, until `stop` is set.

    `load` reads the settings, and reads them again whenever their file has changed.

    Raises:
        SettingsError: the settings cannot be used.
        MonitorError: the store cannot be opened or written, or was begun with other settings; a SQLite store is held by
            another process.
    """
    loaded = load()
    url = loaded.settings.store.url
    with serving(loaded.settings.metrics, "monitor"), said_clearly(url, "monitor"):
        stop = stop or Stop()
        engine = patiently(lambda: connect(url, create=True), stop.wait, lambda: not stop.wanted)
        try:
            with wiring.fewer_collections():
                _Monitor(engine, load, loaded, stop, on_alert, clock).run()
        finally:
            engine.dispose()


class _Monitor:
    def __init__(
        self,
        engine: Engine,
        load: Callable[[], Loaded],
        loaded: Loaded,
        stop: Stop,
        on_alert: Callable[[Told], None] | None,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._file = SettingsFile(load, loaded)
        self._settings = loaded.settings
        self._url = loaded.settings.store.url
        self._stop = stop
        self._on_alert = on_alert
        self._clock = clock
        self._stalls = StallWatch(wiring.time_rules(loaded.settings))
        self._outage = Outage(stop.wait)
        self._version: int | None = None
        self._standing_by_for: str | None = None

    def run(self) -> None:
        # Now, and not when it is needed.
        patiently(lambda: self._refuse_other(self._settings), self._stop.wait, lambda: not self._stop.wanted)
        with self._jobs():
            while not self._stop.wanted:
                metrics.health.turned()
                try:
                    self._decide_or_stand_by()
                except Overtaken:  # at its start: another adopts settings, or parks deliveries, at this moment
                    metrics.overtaken()
                    self._stop.wait(LOOK_SECONDS)
                except StoreUnavailable as error:
                    self._outage.wait(error)
        log().info("stopped")

    def _decide_or_stand_by(self) -> None:
        try:
            with lease.held(self._url, "monitor", wait_for_the_dead=False) as held:
                self._outage.over()
                self._decide_while(held)
        except LeaseHeld as error:
            if self._engine.dialect.name == "sqlite":
                raise
            self._stand_by(str(error))

    def _stand_by(self, holder: str) -> None:
        self._outage.over()
        metrics.active(False)
        if holder != self._standing_by_for:
            log().info("standing by", store=shown(self._url), because=holder)
            self._standing_by_for = holder
        if (changed := self._file.changed()) is not None:
            try:
                self._refuse_other(changed)
                self._settings = changed
            except SettingsDiffer as error:
                log().error(NOT_TAKEN, because=str(error))
            self._file.settle()
        self._stop.wait(STAND_BY_SECONDS * random.uniform(0.8, 1.2))

    # While it is the one that decides.

    def _decide_while(self, held: Lease) -> None:
        """Decide and deliver until the lease is another's, or a stop is wanted."""
        self._standing_by_for = None
        self._adopt(self._settings)
        assert self._version is not None
        rules = wiring.time_rules(self._settings)
        closer = Closer(self._engine, rules, settings=self._version, clock=self._clock)
        log().info("deciding", store=shown(self._url), settings=self._version)
        metrics.active(True)
        while not self._stop.wanted and not held.lost:
            with wiring.sending(self._settings, self._engine, waited_for=False, may_send=held.holds) as sender:
                changed = None
                while not self._stop.wanted and not held.lost and changed is None:
                    self._turn(held, closer, sender.wake)
                    changed = self._file.changed()
            if changed is not None:
                self._change(changed)
        if held.lost:
            metrics.active(False)
            log().warning("another monitor has taken over: this one stands by")

    def _turn(self, held: Lease, closer: Closer, wake_sender: Callable[[], None]) -> None:
        metrics.health.turned()
        if not held.holds():  # the database was away, or this process paused, for longer than the lease lasts
            self._stop.wait(LOOK_SECONDS)
            return
        begun = time.monotonic()
        try:
            closed = closer.close_some()
        except Overtaken as error:
            metrics.overtaken()
            log().info("somebody else went on meanwhile: looking again", error=str(error))
            return
        except StoreUnavailable as error:
            self._outage.wait(error)
            return
        self._outage.over()
        if closed is None:
            self._stop.wait(LOOK_SECONDS)
            return
        self._tell(closed, time.monotonic() - begun)
        wake_sender()

    def _tell(self, closed: Closed, seconds: float) -> None:
        metrics.closed(closed.buckets, closed.stories, seconds=seconds)
        metrics.decided(closed.until)
        for told in closed.told:
            metrics.alert(told.change.alert.kind, told.change.event)
            if told.change.event in {"firing", "resolved"}:
                log().info(f"alert {told.change.event}", alert=told.change.alert.id, sentence=told.sentence)
            if self._on_alert is not None:
                self._on_alert(told)

    def _refuse_other(self, settings: Settings) -> None:
        with reading(self._engine) as connection:
            settings_versions.refuse_other(connection, shaping(settings))

    def _adopt(self, settings: Settings) -> None:
        with writing(self._engine) as connection:
            before = settings_versions.newest(connection)
            self._version = settings_versions.adopt(connection, shaping(settings), resuming=None)
            metrics.decided(counts.decided_until(connection))
        if before is not None and before[0] != self._version:
            differs = settings_versions.differences(before[1], shaping(settings))
            log().info("settings in force from the next bucket", settings=self._version, differs=differs[:10])

    def _change(self, settings: Settings) -> None:
        """Go on with other settings, unless the store cannot."""
        try:
            self._adopt(settings)
        except SettingsDiffer as error:
            self._file.settle()
            log().error(NOT_TAKEN, because=str(error))
            return
        self._file.settle()
        for name, before, now in (
            ("store.url", self._url, settings.store.url),
            ("metrics.listen", self._settings.metrics.listen, settings.metrics.listen),
        ):
            if before != now:
                log().warning(f"a change of {name} takes a restart")
        self._settings = settings
        log().info("settings have changed", settings=self._version)

    # Beside the loop.

    @contextmanager
    def _jobs(self) -> Iterator[None]:
        jobs, threads = scheduler()
        jobs.add_job(self._health, "interval", seconds=HEALTH_SECONDS, id="health")
        jobs.start()
        try:
            yield
        finally:
            jobs.shutdown(wait=False)
            threads.join(LAST_WORDS_SECONDS)

    def _health(self) -> None:
        try:
            with reading(self._engine) as connection:
                decided_until = counts.decided_until(connection)
                members = [p for p in progress.load(connection).values() if p.progress.member]
        except (DBAPIError, MonitorError) as error:
            log().warning("the store cannot be read", error=str(error))
            return
        metrics.decided(decided_until)
        self._stalls.look(members, self._clock())
        log().info(
            "health",
            does=metrics.health.report()["state"],
            decided_until=iso_or_none(decided_until),
            lag_seconds=None if decided_until is None else round((self._clock() - decided_until) / SECOND, 1),
            not_idle=[p.name for p in members if not p.progress.idle],
        )
