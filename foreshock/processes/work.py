"""`foreshock worker`: read this process's share of a Kafka topic; a `foreshock monitor` decides."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import Engine

from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.store import settings_versions
from foreshock.monitor.store.database import connect, reading, shown, writing
from foreshock.observability.http import serving
from foreshock.observability.log import log
from foreshock.processes import wiring
from foreshock.processes.health_line import HealthLine
from foreshock.processes.jobs import jobs
from foreshock.processes.loop import Loop, ending
from foreshock.processes.stop import Stop
from foreshock.processes.store_failures import patiently, said_clearly
from foreshock.processes.story_traces import StoryTraces, tracing
from foreshock.settings.load import SettingsError
from foreshock.settings.models import KafkaSettings, Settings
from foreshock.settings.versions import in_force, shaping
from foreshock.sources.from_settings import kafka_feed
from foreshock.sources.live import Clock

SETTINGS_SECONDS = 5.0
"""How often a worker looks for new settings in the store."""


def work(
    settings: Settings,
    *,
    until_end: bool = False,
    stop: Stop | None = None,
    scorer: wiring.MakeScorer | None = None,
    clock: Clock = lambda: time.time_ns() // 1_000,
) -> int:
    """Read this process's share of the Kafka topic into `settings.store.url` until `stop` is set; with `until_end`,
    until all partitions have been read, by any worker, to where they ended at the start. Returns how many records this
    process read; the monitor decides what becomes of them.

    Settings that shape rows come from the store; a store that has none yet takes those of `settings`.

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
        engine = patiently(lambda: connect(url, create=True), stop)
        try:
            with tracing(settings.traces, "worker", engine) as traces:
                return _work(settings, settings.kafka, engine, until_end, stop, scorer, clock, traces)
        finally:
            engine.dispose()


def _work(
    given: Settings,
    kafka: KafkaSettings,
    engine: Engine,
    until_end: bool,
    stop: Stop,
    scorer: wiring.MakeScorer | None,
    clock: Clock,
    traces: StoryTraces | None,
) -> int:
    number, settings = patiently(lambda: _in_force(given, engine), stop)
    _say_other_map(kafka, settings)
    rules, timing = wiring.time_rules(settings), wiring.loop_timing(settings)
    topic = kafka_feed(
        kafka,
        settings.parsing_kafka().rules(),
        shared=True,
        until_end=until_end,
        clock=clock,
        max_ahead=rules.max_ahead,
    )
    worker = wiring.worker(settings, engine, number, scorer)
    loop = Loop(engine, worker, None, [topic], rules, clock=clock, traces=traces, **timing)
    loop.stories.on = given.logs.stories
    health = HealthLine(engine, clock, lambda: {"records": loop.records}, stalls=None)
    try:
        loop.begin()
        log().info("working", topic=kafka.topic, store=shown(settings.store.url))
        with ending(loop), jobs(health.write):
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
                            _say_other_map(kafka, settings)
                            topic.rules = settings.parsing_kafka().rules()
                            loop.work_with(wiring.worker(settings, engine, number, scorer))
                            log().info("settings have changed", version=number)
        loop.end(close=False)
    finally:
        loop.stop()
    log().info("stopped", records=loop.records)
    return loop.records


def _in_force(given: Settings, engine: Engine) -> tuple[int, Settings]:
    """Return the number and the settings in force in the store. A store that has none yet takes the given ones."""
    with reading(engine) as connection:
        newest = settings_versions.newest(connection)
    if newest is None:
        with suppress(Overtaken), writing(engine) as connection:
            settings_versions.adopt(connection, shaping(given), resuming=None)
        with reading(engine) as connection:
            newest = settings_versions.newest(connection)
    assert newest is not None
    return newest[0], in_force(given, newest[1])


def _say_other_map(own: KafkaSettings, settings: Settings) -> None:
    """Log it if this worker's file names the fields of records otherwise than the settings in force."""
    used = {} if settings.kafka is None else settings.kafka.map
    if own.map and own.map != used:
        log().warning(
            "[kafka] map of this worker's file is not used: the settings in force in the store decide. Write it in the "
            "monitor's settings",
            own=own.map,
            used=used,
        )
