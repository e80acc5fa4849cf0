"""`foreshock run`: live feeds, worker, monitor and delivery in one process, until it is stopped.

One loop (see `foreshock.processes.loop`) in the main thread does everything that decides. Jobs that poll feeds and log
health run beside it, and so do the sender's threads. What jobs find reaches the loop through bounded queues only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel
from sqlalchemy import Connection, Engine

from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.growing import GrowingFile
from foreshock.model.settings import ModelSettings
from foreshock.monitor import lease
from foreshock.monitor.closing import AlertNews, Closer
from foreshock.monitor.errors import Overtaken, SettingsDiffer, StoreUnavailable
from foreshock.monitor.store import counts, deliveries, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.observability import metrics
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.observability.stall import StallWatch
from foreshock.processes import first_day, wiring
from foreshock.processes.announce import announcing
from foreshock.processes.health_line import HealthLine
from foreshock.processes.heartbeat import HeartbeatJob
from foreshock.processes.jobs import jobs
from foreshock.processes.loop import Loop, ending
from foreshock.processes.reload import NOT_TAKEN, SettingsFile
from foreshock.processes.stop import Stop
from foreshock.processes.store_failures import outage_of_the_store, patiently, said_clearly
from foreshock.processes.story_traces import StoryTraces, tracing
from foreshock.processes.tidying import Tidying
from foreshock.settings.load import SettingsError
from foreshock.settings.models import Settings
from foreshock.settings.versions import LIVE_ONLY, OF_MODEL, shaping
from foreshock.sources.feeds import Feeds
from foreshock.sources.from_settings import kafka_feed, rss_and_files
from foreshock.sources.live import Clock, SourceGroup
from foreshock.sources.rss import RssSource

if TYPE_CHECKING:
    from foreshock.monitor.delivery.sender import Sender


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the store holds of the run's sources."""

    counts: dict[str, int]


def run(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    on_alert: Callable[[AlertNews], None] | None = None,
    scorer: wiring.MakeScorer | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
    options: Sequence[str] = (),
    file: SettingsFile | None = None,
) -> RunResult:
    """Read the settings' feeds into `settings.store.url` until `stop` is set; with `until_end`, until each has been
    read to where it ended at the start.

    `file`: the settings' file. What changes in it is adopted from the next bucket on, without a restart. Which feeds
    are read, and how, does not change.

    `options`: of the command line, those that name the settings file and the store. A new store without history is
    reported with the replay to run, which repeats them.

    Raises:
        SettingsError: there are no feeds.
        IngestError: a file is missing, changed underneath or was rotated; with `until_end`, a feed failed.
        MonitorError: the store cannot be used or written, is held by another process, or was begun with other settings.
        ModelError: the weights cannot be used.
    """
    if not settings.feeds and settings.kafka is None:
        raise SettingsError(
            'There are no feeds to run. Name one in the settings: [[feeds]] rss = "https://..." or file = "...", '
            'or a Kafka topic: [kafka] bootstrap_servers = "host:9092"'
        )
    for feed in settings.feeds:
        if feed.file is not None:
            GrowingFile(feed.file).close()  # before the store is created: a misspelt name must not leave one behind
    stop = stop or Stop()
    url = settings.store.url
    with serving(settings.metrics, "run"), said_clearly(url, "run"):
        engine = patiently(lambda: connect(url, create=True), stop)
        try:
            with lease.held(url, "run") as held:
                with reading(engine) as connection:
                    new = first_day.lacks_history(connection, settings, clock())
                if new:
                    first_day.say_load_history_first(options)
                with tracing(settings.traces, "run", engine) as traces:
                    return _run(settings, file, engine, held, until_end, stop, on_alert, scorer, clock, traces)
        finally:
            engine.dispose()


def _run(
    settings: Settings,
    file: SettingsFile | None,
    engine: Engine,
    held: lease.Lease,
    until_end: bool,
    stop: Stop,
    on_alert: Callable[[AlertNews], None] | None,
    scorer: wiring.MakeScorer | None,
    clock: Clock,
    traces: StoryTraces | None,
) -> RunResult:
    rules = wiring.time_rules(settings)
    rss, files = rss_and_files(settings, engine, stop.wake, clock, until_end=until_end)
    number = _adopt(settings, engine)
    worker = wiring.worker(settings, engine, number, scorer)
    closer = Closer(engine, rules, settings=number, clock=clock)
    groups: list[SourceGroup] = [Feeds([*rss, *files], kafka=settings.kafka is not None)]
    if settings.kafka is not None:
        parsing = settings.parsing_kafka().rules()
        groups.append(
            kafka_feed(
                settings.kafka, parsing, shared=False, until_end=until_end, clock=clock, max_ahead=rules.max_ahead
            )
        )
    timing = wiring.loop_timing(settings)
    loop = Loop(
        engine, worker, closer, groups, rules, clock=clock, on_alert=announcing(on_alert), traces=traces, **timing
    )
    loop.stories.on = settings.logs.stories
    health = HealthLine(engine, clock, lambda: {"records": loop.records}, stalls=StallWatch(rules))
    try:
        with ExitStack() as senders:

            def send(settings: Settings, *, is_first: bool = False) -> Sender:
                senders.close()
                made = wiring.sending(settings, engine, waited_for=until_end, may_send=held.holds, traces=traces)

                def begin() -> Sender:
                    return senders.enter_context(made)

                sender = patiently(begin, stop) if is_first else _begun(begin, held, stop)
                loop.on_closed = sender.wake
                return sender

            sender = send(settings, is_first=True)
            loop.begin()
            feeds = len(rss) + len(files) + (settings.kafka is not None)
            log().info("running", feeds=feeds, store=shown(settings.store.url))
            heartbeat = HeartbeatJob("run", lambda: settings.heartbeat)
            tidying = Tidying(engine, rules, lambda: settings.store.keeps, held.holds)
            tidying.say()
            with ending(loop), jobs(health.write, rss, tidying.step, heartbeat.look):
                metrics.active(True)
                while (changed := _read(loop, held, until_end, stop, file)) is not None and file is not None:
                    settings = _change(settings, changed, file, engine, loop, scorer)
                    sender = send(settings)
            loop.end(close=not stop.wanted)
            while until_end and not stop.wanted and _unsettled(settings, engine):
                sender.wake()
                stop.wait(0.1)
    finally:
        loop.stop()
    with reading(engine) as connection:
        found = counts.ends(connection, _names(settings, connection))
    log().info("stopped", **found)
    if until_end and not stop.wanted:
        _refuse_failed_feeds(rss, len(settings.feeds))
    return RunResult(found)


def _read(loop: Loop, held: lease.Lease, until_end: bool, stop: Stop, file: SettingsFile | None) -> Settings | None:
    """Turn the loop until the run is over, or the settings' file has changed; return those settings."""
    while not stop.wanted and not (until_end and loop.read_what_stood):
        lease.refuse_lost(held)
        if not loop.turn():
            loop.wait(stop.wait)
        if file is not None and (changed := file.changed()) is not None:
            return changed
    return None


BUSY_SECONDS = 0.25
"""How long it waits after another process wrote at the same moment."""
STAYS = ("store", "feeds", "kafka", "ingest", "files", "metrics", "traces")
"""Sections that a run goes on with as it began: they say what is read, and from where."""
STAYS_IN = {
    "time": {*LIVE_ONLY, "assume_zone"},
    "limits": {"source_bytes"},
    "model": ModelSettings.model_fields.keys() - OF_MODEL,
}
"""Parts of other sections that stay, too: they say how records are read, and how the loaded model computes."""


def _change(
    settings: Settings,
    changed: Settings,
    file: SettingsFile,
    engine: Engine,
    loop: Loop,
    scorer: wiring.MakeScorer | None,
) -> Settings:
    """Adopt the settings that changed, if the store can. Return those to go on with."""
    stays = _stays(settings, changed)
    adopted = changed.model_copy(update=stays)
    try:
        with writing(engine) as connection:
            before = settings_versions.newest(connection)
            number = wiring.adopt(connection, adopted)
    except SettingsDiffer as error:
        file.settle()
        log().error(NOT_TAKEN, because=str(error))
        return settings
    except (Overtaken, StoreUnavailable) as error:  # the file's change is seen again
        log().warning("the changed settings are not taken yet", because=str(error))
        return settings
    file.settle()
    loop.stories.on = adopted.logs.stories
    for name, section in stays.items():
        if section != getattr(changed, name):
            log().warning(f"[{name}] has changed: restart this process to use it")
    if before is None or before[0] != number:
        loop.work_with(wiring.worker(adopted, engine, number, scorer))
        differs = [] if before is None else settings_versions.differences(before[1], shaping(adopted))
        log().info("settings in force from the next bucket", settings=number, differs=differs[:10])
    return adopted


def _stays(settings: Settings, changed: Settings) -> dict[str, BaseModel]:
    """Return the sections of `changed` in which a run keeps what it began with."""
    stays = {name: getattr(settings, name) for name in STAYS}
    for name, keys in STAYS_IN.items():
        begun = getattr(settings, name)
        stays[name] = getattr(changed, name).model_copy(update={key: getattr(begun, key) for key in keys})
    return stays


def _adopt(settings: Settings, engine: Engine) -> int:
    """Return the number of these settings. Tries again if a worker joins at the same moment."""
    while True:
        with suppress(Overtaken), writing(engine) as connection:
            return wiring.adopt(connection, settings)


def _begun(begin: Callable[[], Sender], held: lease.Lease, stop: Stop) -> Sender:
    """Begin to send anew. A change of the settings must not end the run because the store is away, or busy, just then.

    The loop does not turn meanwhile, so this reports to the health of the process instead.

    Raises:
        LeaseHeld: another process has taken the store over.
        StoreUnavailable, Overtaken: the run is to stop, and the store is still away, or busy.
    """
    outage = outage_of_the_store()
    while True:
        metrics.health.turned()
        lease.refuse_lost(held)
        try:
            sender = begin()
        except Overtaken:
            metrics.overtaken()
            if stop.wanted:
                raise
            stop.wait(BUSY_SECONDS)
        except StoreUnavailable as error:
            if stop.wanted:
                raise
            stop.wait(outage.failed(error))
        else:
            outage.over()
            return sender


def _names(settings: Settings, connection: Connection) -> list[str]:
    """Return the names that the settings' feeds have in the store."""
    kafka = [name for name, p in progress.load(connection).items() if p.kind == "kafka"]
    return [*(feed.partition for feed in settings.feeds), *(kafka if settings.kafka is not None else [])]


def _unsettled(settings: Settings, engine: Engine) -> int:
    with reading(engine) as connection:
        return deliveries.unsettled(connection, settings.receiver_names)


def _refuse_failed_feeds(feeds: Sequence[RssSource], count: int) -> None:
    if failing := [feed.partition.name for feed in feeds if feed.failures]:
        raise FeedUnavailable(f"{len(failing)} of {count} feeds could not be read: {', '.join(failing)}.")
