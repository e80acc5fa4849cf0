"""`foreshock worker`: read this process's share of a Kafka topic; a `foreshock monitor` decides."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

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
from foreshock.processes.reload import NOT_TAKEN
from foreshock.processes.stop import Stop
from foreshock.processes.store_failures import patiently, said_clearly
from foreshock.processes.story_traces import StoryTraces, tracing
from foreshock.settings.load import SettingsError
from foreshock.settings.models import KafkaSettings, Settings
from foreshock.settings.versions import in_force, shaping, unknown_alerts
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
        SettingsError: there is no [kafka], or the store's settings are those of a newer version.
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
    number, body = patiently(lambda: _newest(given, engine), stop)
    settings = _taken(given, body)
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
                        newest, body = _newest(given, engine)
                        if newest != number:
                            if (found := _taken_if_known(given, body)) is not None:
                                worker = wiring.worker(found, engine, newest, scorer)
                                topic.rules = found.parsing_kafka().rules()
                                loop.work_with(worker)
                                log().info("settings have changed", version=newest)
                            number = newest
        loop.end(close=False)
    finally:
        loop.stop()
    log().info("stopped", records=loop.records)
    return loop.records


def _newest(given: Settings, engine: Engine) -> tuple[int, dict[str, Any]]:
    """Return the number and the body of the version in force. A store that has none yet takes the given settings."""
    with reading(engine) as connection:
        newest = settings_versions.newest(connection)
    if newest is None:
        with suppress(Overtaken), writing(engine) as connection:
            settings_versions.adopt(connection, shaping(given), resuming=None)
        with reading(engine) as connection:
            newest = settings_versions.newest(connection)
    assert newest is not None
    return newest


def _taken(given: Settings, body: Mapping[str, Any]) -> Settings:
    """Return the settings to work with by a version of the store, and log what of it, or of the file, is not used."""
    settings = in_force(given, body)
    if given.kafka is not None:
        _say_other_map(given.kafka, settings)
    if unknown := unknown_alerts(body):
        log().warning("going on without settings that only a newer version of Foreshock knows", settings=unknown)
    return settings


def _taken_if_known(given: Settings, body: Mapping[str, Any]) -> Settings | None:
    """Return what `_taken` does; None if a newer version wrote what shapes rows: the worker keeps its settings."""
    try:
        return _taken(given, body)
    except SettingsError as error:
        log().error(NOT_TAKEN, because=str(error))
        return None


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
