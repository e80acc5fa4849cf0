"""`foreshock monitor`: decide what workers read, and deliver. One of several on a store does; the others stand by.

One loop in the main thread closes buckets; the threads of the sender and of the lease run beside it. The lease says
which process is active, and only saves work: a monitor that does not know yet that it was replaced fails at its
transaction (`Overtaken`), and writes nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from sqlalchemy import Engine

from foreshock.monitor import lease
from foreshock.monitor.ahead import Announcer
from foreshock.monitor.closing import AlertNews, Closed, Closer
from foreshock.monitor.errors import LeaseHeld, Overtaken, SettingsDiffer, StoreUnavailable
from foreshock.monitor.lease import Lease
from foreshock.monitor.store import counts, settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.observability import metrics
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.observability.stall import StallWatch
from foreshock.processes import scorer_news, wiring
from foreshock.processes.announce import announcing
from foreshock.processes.asides import Asides
from foreshock.processes.fills import Fills
from foreshock.processes.health_line import HealthLine
from foreshock.processes.heartbeat import HeartbeatJob
from foreshock.processes.jobs import jobs
from foreshock.processes.reload import NOT_TAKEN, SettingsFile
from foreshock.processes.stop import Stop
from foreshock.processes.store_failures import outage_of_the_store, patiently, said_clearly
from foreshock.processes.story_log import StoryLog
from foreshock.processes.story_traces import StoryTraces, tracing
from foreshock.processes.switches import Switches
from foreshock.processes.tidying import Tidying
from foreshock.settings.load import Loaded
from foreshock.settings.models import Settings
from foreshock.settings.versions import LIVE_ONLY, shaping
from foreshock.sources.live import Clock

LOOK_SECONDS = 0.25
"""How often the active process looks for buckets to close, and for a lease that was lost for a moment."""
STAND_BY_SECONDS = 1.0
"""How often a stand-by tries to take the lease."""


def monitor(
    load: Callable[[], Loaded],
    *,
    stop: Stop | None = None,
    on_alert: Callable[[AlertNews], None] | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
) -> None:
    """Decide and deliver, or stand by, until `stop` is set.

    `load` reads the settings; it is called again whenever their file has changed.

    Raises:
        SettingsError: the settings cannot be used.
        MonitorError: the store cannot be opened or written, or was begun with other settings; a SQLite store is held by
            another process.
    """
    loaded = load()
    url = loaded.settings.store.url
    with serving(loaded.settings.metrics, "monitor"), said_clearly(url, "monitor"):
        stop = stop or Stop()
        engine = patiently(lambda: connect(url, create=True), stop)
        try:
            with tracing(loaded.settings.traces, "monitor", engine) as traces:
                _Monitor(engine, load, loaded, stop, on_alert, clock, traces).run()
        finally:
            engine.dispose()


class _Monitor:
    def __init__(
        self,
        engine: Engine,
        load: Callable[[], Loaded],
        loaded: Loaded,
        stop: Stop,
        on_alert: Callable[[AlertNews], None] | None,
        clock: Clock,
        traces: StoryTraces | None = None,
    ) -> None:
        self._engine = engine
        self._traces = traces
        self._file = SettingsFile(load, loaded)
        self._settings = loaded.settings
        self._begun = loaded.settings
        """What this process began with. What needs a restart stays so, whatever changed since."""
        self._url = loaded.settings.store.url
        self._stop = stop
        self._announce = announcing(on_alert)
        self._clock = clock
        self._outage = outage_of_the_store()
        self._health = HealthLine(
            engine,
            clock,
            lambda: {"does": metrics.health.report()["state"]},
            stalls=StallWatch(wiring.time_rules(loaded.settings)),
        )
        self._version: int | None = None
        self._standing_by_for: str | None = None
        self._held: Lease | None = None
        """The lease, while this process has it."""

    def run(self) -> None:
        # A stand-by must not find out only when it is needed that its settings do not fit the store.
        patiently(lambda: self._refuse_other(self._settings), self._stop)
        keep, rules = (lambda: self._settings.store.keeps), wiring.time_rules(self._settings)
        tidying = Tidying(self._engine, rules, keep, lambda: self._held is not None and self._held.holds())
        tidying.say()
        heartbeat = HeartbeatJob("monitor", lambda: self._settings.heartbeat)
        with jobs(self._health.write, tidy=tidying.step, heartbeat=heartbeat.look):
            while not self._stop.wanted:
                metrics.health.turned()
                try:
                    self._decide_or_stand_by()
                except Overtaken:  # another process adopts settings, or parks deliveries, at the same moment
                    metrics.overtaken()
                    self._stop.wait(LOOK_SECONDS)
                except StoreUnavailable as error:
                    self._stop.wait(self._outage.failed(error))
        log().info("stopped")

    def _decide_or_stand_by(self) -> None:
        try:
            with lease.held(self._url, "monitor", wait_for_expiry=False) as held:
                self._outage.over()
                self._held = held
                try:
                    # Not while it stands by: looks at the lease leave cycles, and few other objects to start a search.
                    with wiring.fewer_collections():
                        self._decide_while(held)
                finally:
                    self._held = None
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
                self._take(changed)
            except SettingsDiffer as error:
                log().error(NOT_TAKEN, because=str(error))
            self._file.settle()
        self._stop.wait(STAND_BY_SECONDS * random.uniform(0.8, 1.2))

    # While it holds the lease.

    def _decide_while(self, held: Lease) -> None:
        """Decide and deliver until another process takes the lease, or a stop is wanted."""
        self._standing_by_for = None
        self._adopt(self._settings)
        assert self._version is not None
        rules = wiring.time_rules(self._settings)
        closer = Closer(self._engine, rules, settings=self._version, clock=self._clock)
        asides = Asides(self._engine, rules, self._clock)
        announcer = Announcer(self._engine, rules, self._clock)
        fills = Fills(self._engine, rules, closer)
        switches = Switches(self._engine, rules, closer, None, arms=True)
        log().info("deciding", store=shown(self._url), settings=self._version)
        metrics.active(True)
        while not self._stop.wanted and not held.lost:
            with wiring.sending(
                self._settings, self._engine, waited_for=False, may_send=held.holds, traces=self._traces
            ) as sender:
                changed = None
                while not self._stop.wanted and not held.lost and changed is None:
                    self._turn(held, closer, asides, announcer, fills, switches, sender.wake)
                    changed = self._file.changed()
            if changed is not None:
                self._change(changed)
        if held.lost:
            metrics.active(False)
            log().warning("another monitor has taken over: this one stands by")

    def _turn(
        self,
        held: Lease,
        closer: Closer,
        asides: Asides,
        announcer: Announcer,
        fills: Fills,
        switches: Switches,
        wake_sender: Callable[[], None],
    ) -> None:
        metrics.health.turned()
        if not held.holds():  # the database was away, or this process paused, for longer than the lease lasts
            self._stop.wait(LOOK_SECONDS)
            return
        begun = time.monotonic()
        try:
            asides.look()
            closed = closer.close_some()
            if closed is not None:  # it is committed, so it is reported, whatever fails next
                self._report(closed, time.monotonic() - begun)
                wake_sender()
            sent = announcer.look()
            for news in sent:  # committed, too: the closing reports it no more
                self._announce(news)
            if sent:
                wake_sender()
            filled = fills.due(idle=closed is None) and fills.step()
            filled |= switches.due(idle=closed is None) and switches.step()
        except Overtaken as error:
            metrics.overtaken()
            log().info("another process went on meanwhile: looking again", error=str(error))
            return
        except StoreUnavailable as error:
            self._stop.wait(self._outage.failed(error))
            return
        self._outage.over()
        if not sent and closed is None and not filled:
            self._stop.wait(LOOK_SECONDS)

    def _report(self, closed: Closed, seconds: float) -> None:
        metrics.closed(closed.buckets, closed.stories, beyond=closed.beyond, names=closed.names, seconds=seconds)
        metrics.decided(closed.until)
        StoryLog(self._settings.logs.stories).decided(closed)
        if self._traces is not None:
            self._traces.decided(closed, seconds)
        scorer_news.report(closed)
        for news in closed.news:
            self._announce(news)

    def _refuse_other(self, settings: Settings) -> None:
        with reading(self._engine) as connection:
            settings_versions.refuse_other(connection, shaping(settings))

    def _adopt(self, settings: Settings) -> None:
        with writing(self._engine) as connection:
            before = settings_versions.newest(connection)
            self._version = wiring.adopt(connection, settings)
            metrics.decided(counts.decided_until(connection))
        if before is not None and before[0] != self._version:
            differs = settings_versions.differences(before[1], shaping(settings))
            log().info("settings in force from the next bucket", settings=self._version, differs=differs[:10])

    def _change(self, settings: Settings) -> None:
        """Go on with other settings, if the store can."""
        try:
            self._adopt(settings)
        except SettingsDiffer as error:
            self._file.settle()
            log().error(NOT_TAKEN, because=str(error))
            return
        self._file.settle()
        self._take(settings)
        log().info("settings have changed", settings=self._version)

    def _take(self, settings: Settings) -> None:
        """Go on with settings that the store can take. What needs a restart stays as this process began, and says so.

        A stand-by does the same: what it does when it takes over must not depend on when its file was written.
        """
        before = self._begun
        changed = {
            "store.url": self._url != settings.store.url,
            "metrics.listen": before.metrics.listen != settings.metrics.listen,
            "traces": before.traces != settings.traces,
            **{f"time.{key}": getattr(before.time, key) != getattr(settings.time, key) for key in sorted(LIVE_ONLY)},
        }
        for name in (name for name, differs in changed.items() if differs):
            log().warning(f"{name} has changed: restart this process to use it")
        stays = {key: getattr(before.time, key) for key in LIVE_ONLY}
        self._settings = settings.model_copy(update={"time": settings.time.model_copy(update=stays)})
