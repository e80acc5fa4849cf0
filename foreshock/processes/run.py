"""`foreshock run`: live feeds, worker, monitor and delivery in one process, until it is stopped.

One loop (see `foreshock.processes.loop`) in the main thread does everything that decides. Beside it run jobs, which
poll feeds and log health, and the sender's threads. What jobs find reaches the loop through bounded queues only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.growing import GrowingFile
from foreshock.monitor import lease
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import LeaseHeld, Overtaken
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store import outbox, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.monitor.topics.matching import Matcher
from foreshock.observability import metrics
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.processes import wiring
from foreshock.processes.batches import Worker
from foreshock.processes.jobs import jobs
from foreshock.processes.loop import ending, loop_of
from foreshock.processes.outage import patiently, said_clearly
from foreshock.processes.stop import Stop
from foreshock.settings.load import SettingsError
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping, topic_rules
from foreshock.sources.from_settings import make_feed, make_sources
from foreshock.sources.growing_file import FileSource
from foreshock.sources.live import Clock
from foreshock.sources.rss import RssSource


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the store holds of the run's sources."""

    counts: dict[str, int]


def run(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    on_alert: Callable[[Told], None] | None = None,
    scorer: wiring.MakeScorer | None = None,
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
    scorer: wiring.MakeScorer | None,
    clock: Clock,
) -> RunResult:
    rules = wiring.time_rules(settings)
    matcher = Matcher(topic_rules(settings))
    sources = make_sources(settings, engine, stop.wake, clock)
    if until_end:
        sources = [source for source in sources if not (isinstance(source, FileSource) and source.done)]
    number = _adopt(settings, engine)
    worker = Worker(matcher, lambda: wiring.bound_scorer(settings, engine, scorer), rules, settings=number)
    closer = Closer(engine, rules, settings=number, clock=clock)
    kafka = None
    if settings.kafka is not None:
        kafka = make_feed(settings, shared=False, until_end=until_end, clock=clock)
    loop = loop_of(settings, engine, worker, closer, sources, kafka, rules, clock, on_alert)
    try:
        with wiring.sending(settings, engine, waited_for=until_end, may_send=held.holds) as sender:
            loop.on_closed = sender.wake
            loop.begin()
            log().info("running", feeds=len(sources) + (kafka is not None), store=shown(settings.store.url))
            with ending(loop), jobs(settings, loop, sources):
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
        counts = store_counts.ends(connection, _names(settings, connection))
    log().info("stopped", **counts)
    failing = [source.partition.name for source in sources if isinstance(source, RssSource) and source.failures]
    if until_end and not stop.wanted and failing:
        raise FeedUnavailable(f"{len(failing)} of {len(settings.feeds)} feeds could not be read: {', '.join(failing)}.")
    return RunResult(counts)


def _adopt(settings: Settings, engine: Engine) -> int:
    """The number of these settings; asked for again where a worker joined at that moment."""
    while True:
        with suppress(Overtaken), writing(engine) as connection:
            return settings_versions.adopt(connection, shaping(settings), resuming=None)


def _names(settings: Settings, connection: Any) -> list[str]:
    """Of the settings' feeds, in the store."""
    kafka = [name for name, p in progress.load(connection).items() if p.kind == "kafka"]
    return [*(feed.partition for feed in settings.feeds), *(kafka if settings.kafka is not None else [])]


def _unsettled(settings: Settings, engine: Engine) -> int:
    with reading(engine) as connection:
        return outbox.unsettled(
            connection, [*(w.name for w in settings.webhooks), *(m.name for m in settings.messages)]
        )
