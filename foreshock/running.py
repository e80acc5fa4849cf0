"""`foreshock run`: live feeds, worker, monitor and delivery in one process, until it is stopped; and `foreshock
worker`: a Kafka topic's share alone, for a `foreshock monitor` elsewhere to decide.

One loop (see `foreshock.loop`), in the main thread, does all that decides. Beside it are jobs that ask feeds and say
how it goes, and the sender's threads; what jobs find reaches the loop through bounded queues only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from foreshock import metrics, pipeline
from foreshock.ingest import rss
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.files import FileFeed
from foreshock.ingest.growing import GrowingFile
from foreshock.job_threads import scheduler
from foreshock.kafka_source import KafkaFeed, make_feed
from foreshock.live import Clock, FileSource, LiveSource, RssSource
from foreshock.loop import Loop
from foreshock.monitor import lease
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import LeaseHeld, Overtaken, SourceMismatch, StoreUnavailable
from foreshock.monitor.settings import SECOND
from foreshock.monitor.store import outbox, progress, queries, rss_feeds, settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.watermark import TimeRules
from foreshock.serving import serving
from foreshock.settings import FeedSettings, Settings, SettingsError, in_force, shaping, topic_rules
from foreshock.store_failures import patiently, said_clearly
from foreshock.worker import Worker

SETTINGS_SECONDS = 5.0
"""How often a worker looks whether the settings in force have changed."""
HEALTH_SECONDS = 60
JITTER = 0.1
"""Of a feed's interval: so that feeds are not asked all at once, nor by everyone in the same second."""
LAST_WORDS_SECONDS = 3.0
"""For jobs to end, once a run stops."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the store holds of the run's sources."""

    counts: dict[str, int]


class Stop:
    """How a signal, or another thread, ends a run: it finishes the batch in hand."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self.wanted = False

    def set(self) -> None:
        self.wanted = True
        self._wake.set()

    def wake(self) -> None:
        """Let the loop look at once."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()


def run(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    on_alert: Callable[[Told], None] | None = None,
    scorer: pipeline.MakeScorer | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
) -> RunResult:
    """Read the settings' feeds into `settings.store.url` until `stop` is set; with `until_end`, until each has been
    read to where it ended at the start.

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
            GrowingFile(feed.file).close()  # before a store is made: none is left by a misspelt name
    stop = stop or Stop()
    url = settings.store.url
    with serving(settings.metrics, "run"), said_clearly(url, "run"):
        engine = patiently(lambda: connect(url, create=True), stop.wait, lambda: not stop.wanted)
        try:
            with lease.held(url, "run") as held:
                return _run(settings, engine, held, until_end, stop, on_alert, scorer, clock)
        finally:
            engine.dispose()


def _run(
    settings: Settings,
    engine: Engine,
    held: lease.Lease,
    until_end: bool,
    stop: Stop,
    on_alert: Callable[[Told], None] | None,
    scorer: pipeline.MakeScorer | None,
    clock: Clock,
) -> RunResult:
    rules = pipeline.time_rules(settings)
    matcher = Matcher(topic_rules(settings))
    sources = make_sources(settings, engine, stop, clock)
    if until_end:
        sources = [source for source in sources if not (isinstance(source, FileSource) and source.done)]
    number = _adopt(settings, engine)
    worker = Worker(matcher, lambda: pipeline.bound_scorer(settings, engine, scorer), rules, settings=number)
    closer = Closer(engine, rules, settings=number, clock=clock)
    kafka = None
    if settings.kafka is not None:
        kafka = make_feed(settings, shared=False, until_end=until_end, clock=clock)
    loop = _loop(settings, engine, worker, closer, sources, kafka, rules, clock, on_alert)
    try:
        with pipeline.sending(settings, engine, waited_for=until_end, may_send=held.holds) as sender:
            loop.on_closed = sender.wake
            loop.begin()
            _log().info("running", feeds=len(sources) + (kafka is not None), store=shown(settings.store.url))
            with _ending(loop), _jobs(settings, loop, sources):
                metrics.active(True)
                while not stop.wanted and not (until_end and loop.read_what_stood):
                    if held.lost:
                        raise LeaseHeld("Another process has taken this store over while this one was away from it.")
                    if not loop.turn():
                        loop.wait(stop.wait)
            loop.end(close=not stop.wanted)
            while until_end and not stop.wanted and _unsettled(settings, engine):
                sender.wake()
                stop.wait(0.1)
    finally:
        loop.stop()
        for source in sources:
            source.close()
    with reading(engine) as connection:
        counts = queries.ends(connection, _names(settings, connection))
    _log().info("stopped", **counts)
    failing = [source.partition.name for source in sources if isinstance(source, RssSource) and source.failures]
    if until_end and not stop.wanted and failing:
        raise FeedUnavailable(f"{len(failing)} of {len(settings.feeds)} feeds could not be read: {', '.join(failing)}.")
    return RunResult(counts)


def _adopt(settings: Settings, engine: Engine) -> int:
    """The number of these settings; asked for again where a worker joined at that moment."""
    while True:
        with suppress(Overtaken), writing(engine) as connection:
            return settings_versions.adopt(connection, shaping(settings), resuming=None)


def work(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    scorer: pipeline.MakeScorer | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
) -> int:
    """Read this process's share of the Kafka topic into `settings.store.url` until `stop` is set; with `until_end`,
    until all partitions have been read, by whichever worker, to where they ended at the start. Returns how many records
    it read: what became of them, the monitor decides.

    Settings that shape rows are those in force in the store; those of `settings`, if it has none yet.

    Raises:
        SettingsError: there is no [kafka].
        IngestError: brokers refuse; with `until_end`, none answers, or there is no such topic.
        MonitorError: the store cannot be used or written, or nearly all records of a partition cannot be read.
        ModelError: the weights cannot be used.
    """
    if settings.kafka is None:
        raise SettingsError('A worker reads Kafka. Name it in the settings: [kafka] bootstrap_servers = "host:9092"')
    stop = stop or Stop()
    url = settings.store.url
    with serving(settings.metrics, "worker"), said_clearly(url, "worker"):
        engine = patiently(lambda: connect(url, create=True), stop.wait, lambda: not stop.wanted)
        try:
            return _work(settings, engine, until_end, stop, scorer, clock)
        finally:
            engine.dispose()


def _work(
    given: Settings,
    engine: Engine,
    until_end: bool,
    stop: Stop,
    scorer: pipeline.MakeScorer | None,
    clock: Clock,
) -> int:
    number, settings = patiently(lambda: _in_force(given, engine), stop.wait, lambda: not stop.wanted)
    rules = pipeline.time_rules(settings)

    def make_worker() -> Worker:
        in_force = settings
        return Worker(
            Matcher(topic_rules(in_force)),
            lambda: pipeline.bound_scorer(in_force, engine, scorer),
            rules,
            settings=number,
        )

    kafka = make_feed(settings, shared=True, until_end=until_end, clock=clock)
    loop = _loop(settings, engine, make_worker(), None, [], kafka, rules, clock, None)
    try:
        loop.begin()
        _log().info("working", topic=settings.kafka and settings.kafka.topic, store=shown(settings.store.url))
        with _ending(loop), _jobs(settings, loop, []):
            look_at = time.monotonic() + SETTINGS_SECONDS
            while not stop.wanted and not (until_end and loop.read_what_stood):
                if not loop.turn():
                    loop.wait(stop.wait)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + SETTINGS_SECONDS
                    with suppress(StoreUnavailable):
                        newest, found = _in_force(given, engine)
                        if newest != number:
                            number, settings = newest, found
                            kafka.rules = settings.parsing_kafka().rules()
                            loop.work_with(make_worker())
                            _log().info("settings have changed", version=number)
        loop.end(close=False)
    finally:
        loop.stop()
    _log().info("stopped", records=loop.records)
    return loop.records


def _in_force(given: Settings, engine: Engine) -> tuple[int, Settings]:
    """The settings' version in force in the store, and the settings with it; the given ones, if it has none yet."""
    with reading(engine) as connection:
        newest = settings_versions.newest(connection)
    if newest is None:
        with suppress(Overtaken), writing(engine) as connection:
            settings_versions.adopt(connection, shaping(given), resuming=None)
        with reading(engine) as connection:
            newest = settings_versions.newest(connection)
    assert newest is not None
    return newest[0], in_force(given, newest[1])


def _loop(
    settings: Settings,
    engine: Engine,
    worker: Worker,
    closer: Closer | None,
    sources: Sequence[LiveSource],
    kafka: KafkaFeed | None,
    rules: TimeRules,
    clock: Clock,
    on_alert: Callable[[Told], None] | None,
) -> Loop:
    more: dict[str, int] = {}
    if settings.kafka is not None:
        more = {"idle_after": settings.kafka.idle_after, "linger": settings.kafka.max_wait}
    return Loop(engine, worker, closer, sources, rules, clock=clock, kafka=kafka, on_alert=on_alert, **more)


@contextmanager
def _ending(loop: Loop) -> Iterator[None]:
    """Where the loop fails, the batches in hand are finished; the first error is the one to tell."""
    try:
        yield
    except Exception:
        with suppress(Exception):
            loop.end(close=False)
        raise


def _names(settings: Settings, connection: Any) -> list[str]:
    """Of the settings' feeds, in the store."""
    kafka = [name for name, p in progress.load(connection).items() if p.kind == "kafka"]
    return [*(feed.partition for feed in settings.feeds), *(kafka if settings.kafka is not None else [])]


def _unsettled(settings: Settings, engine: Engine) -> int:
    with reading(engine) as connection:
        return outbox.unsettled(
            connection, [*(w.name for w in settings.webhooks), *(m.name for m in settings.messages)]
        )


def make_sources(settings: Settings, engine: Engine, stop: Stop, clock: Clock) -> list[RssSource | FileSource]:
    """A source for each feed of the settings, each at its place in the store."""
    rules = settings.parsing().rules()
    with reading(engine) as connection:
        known, decided_until = progress.load(connection), queries.decided_until(connection)
        found = list[RssSource | FileSource]()
        for feed in settings.feeds:
            kind = "rss" if feed.rss else "file"
            partition = known.get(feed.partition) or Partition(feed.partition, kind)
            if partition.kind != kind or partition.sorted:
                was = "sorted (--sort)" if partition.sorted else f"as {partition.kind}"
                raise SourceMismatch(f"The store has read {feed.partition} {was}: give the feed another name.")
            if feed.file is None:
                found.append(_rss_source(partition, feed, settings, connection, engine, stop, clock))
                continue
            source = FileSource(partition, feed.file, rules, clock=clock)
            if not partition.version and decided_until is not None:
                pipeline.refuse_a_file_of_the_past(FileFeed(feed.file, rules=rules), feed.file, decided_until)
            found.append(source)
    return found


def _rss_source(
    partition: Partition,
    feed: FeedSettings,
    settings: Settings,
    connection: Any,
    engine: Engine,
    stop: Stop,
    clock: Clock,
) -> RssSource:
    def seen(name: str, ids: Sequence[str]) -> set[str]:
        with reading(engine) as snapshot:
            return rss_feeds.taken(snapshot, name, ids)

    rules = rss.FeedRules(
        partition.name.removeprefix("rss:"), feed.source, feed.language, feed.topics, settings.parsing().rules()
    )
    return RssSource(partition, feed.rss, rules, connection, every=feed.every, clock=clock, wake=stop.wake, seen=seen)


@contextmanager
def _jobs(settings: Settings, loop: Loop, sources: Sequence[LiveSource]) -> Iterator[None]:
    """The periodic work, while the context lasts: a job for each RSS feed, and one that says how it goes."""
    jobs, threads = scheduler()
    every = {feed.partition: feed.every / SECOND for feed in settings.feeds}
    for source in sources:
        if isinstance(source, RssSource):
            seconds = every[source.partition.name]
            jobs.add_job(
                source.poll,
                "interval",
                seconds=seconds,
                jitter=seconds * JITTER,
                next_run_time=datetime.now(UTC),
                id=source.partition.name,
            )
    jobs.add_job(loop.health, "interval", seconds=HEALTH_SECONDS, id="health")
    jobs.start()
    try:
        yield
    finally:
        jobs.shutdown(wait=False)
        for source in sources:
            if isinstance(source, RssSource):
                source.stop()
        threads.join(LAST_WORDS_SECONDS)


def _log() -> Any:
    import structlog

    return structlog.get_logger()
