"""`foreshock worker`: read this process's share of a Kafka topic; a `foreshock monitor` decides."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import Engine

from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.store import settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.monitor.topics.matching import Matcher
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
from foreshock.settings.versions import in_force, shaping, topic_rules
from foreshock.sources.from_settings import make_feed
from foreshock.sources.live import Clock

SETTINGS_SECONDS = 5.0
"""How often a worker looks whether the settings in force have changed."""


def work(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    scorer: wiring.MakeScorer | None = None,
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
    scorer: wiring.MakeScorer | None,
    clock: Clock,
) -> int:
    number, settings = patiently(lambda: _in_force(given, engine), stop.wait, lambda: not stop.wanted)
    rules = wiring.time_rules(settings)

    def make_worker() -> Worker:
        in_force = settings
        return Worker(
            Matcher(topic_rules(in_force)),
            lambda: wiring.bound_scorer(in_force, engine, scorer),
            rules,
            settings=number,
        )

    kafka = make_feed(settings, shared=True, until_end=until_end, clock=clock)
    loop = loop_of(settings, engine, make_worker(), None, [], kafka, rules, clock, None)
    try:
        loop.begin()
        log().info("working", topic=settings.kafka and settings.kafka.topic, store=shown(settings.store.url))
        with ending(loop), jobs(settings, loop, []):
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
                            log().info("settings have changed", version=number)
        loop.end(close=False)
    finally:
        loop.stop()
    log().info("stopped", records=loop.records)
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
