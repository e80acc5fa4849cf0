"""`foreshock deadletters replay`: read dead letters again, as a source of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Engine

from foreshock.ingest.memory import MemoryFeed
from foreshock.ingest.parsing import AHEAD
from foreshock.monitor.errors import LeaseHeld
from foreshock.monitor.store import counts, dead_letters, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.processes import wiring
from foreshock.processes.loop import Loop
from foreshock.processes.replay import (
    MakeSources,
    OnAlert,
    OnProgress,
    ReplayResult,
    read_to_the_end,
    replay_sources,
    result,
)
from foreshock.processes.store_failures import tried_again
from foreshock.settings.models import Settings
from foreshock.settings.versions import in_force
from foreshock.sources.finite import FiniteSource, FiniteSources


def replay_dead_letters(
    settings: Settings,
    *,
    reason: str | None = None,
    mapping: Mapping[str, str] | None = None,
    on_progress: OnProgress = None,
    on_alert: OnAlert = None,
    scorer: wiring.MakeScorer | None = None,
) -> ReplayResult:
    """Read the store's dead letters again, as a source that joins and leaves like a file.

    Each is read once; those larger than what was kept of them are left. An interrupted replay is finished first.
    Beside a monitor that decides a PostgreSQL store, this only reads, with the settings in force there. A letter is
    read by the rules of the feed that it came from: scores that a Kafka producer wrote are accepted only where [kafka]
    accepts them.
    """
    latest = _now() + AHEAD
    names: list[str] = []

    def sources(in_force: Settings, known: dict[str, Partition], _decided_until: int | None) -> list[FiniteSource]:
        before = [p for p in known.values() if p.kind == "deadletters"]
        unfinished = next((p for p in before if p.progress.member), None)
        partition = unfinished or Partition(f"deadletters-{len(before) + 1:04}", "deadletters", latest=latest)
        records, origins = tried_again(
            lambda: _claimed(engine, partition.name, claims=unfinished is None, reason=reason)
        )
        names[:] = [partition.name]
        if not records:
            return []
        by_file, by_kafka = in_force.parsing(mapping).rules(), in_force.parsing_kafka(mapping).rules()
        rules = [
            by_kafka if kind == "kafka" else replace(by_file, feed=name) if kind == "rss" else by_file
            for name, kind in origins
        ]
        return [FiniteSource(partition, MemoryFeed(partition.name, records, rules=rules, latest=partition.latest))]

    engine = connect(settings.store.url, create=False)
    try:
        return replay_sources(
            settings,
            "deadletters replay",
            names,
            sources,
            on_progress=on_progress,
            on_alert=on_alert,
            scorer=scorer,
            clock=_now,
        )
    except LeaseHeld:
        if engine.dialect.name == "sqlite":
            raise
        return _read_beside_a_monitor(settings, engine, names, sources, on_progress, scorer)
    finally:
        engine.dispose()


def _claimed(
    engine: Engine, name: str, *, claims: bool, reason: str | None
) -> tuple[list[bytes], list[tuple[str, str]]]:
    """Return the records of a replay, with their origins. `claims`: a new one first takes what no other one has."""
    with writing(engine) as connection:
        if claims:
            dead_letters.claim(connection, name, reason)
        return dead_letters.claimed_dead_letters(connection, name), dead_letters.origins(connection, name)


def _read_beside_a_monitor(
    settings: Settings,
    engine: Engine,
    names: list[str],
    make_sources: MakeSources,
    on_progress: OnProgress,
    scorer: wiring.MakeScorer | None,
) -> ReplayResult:
    """Read as a worker does. The process that holds the lease decides."""
    started = time.monotonic()
    with reading(engine) as connection:
        newest = settings_versions.newest(connection)
        known, decided_until = progress.load(connection), counts.decided_until(connection)
    number, settings = (1, settings) if newest is None else (newest[0], in_force(settings, newest[1]))
    sources = make_sources(settings, known, decided_until)
    worker = wiring.worker(settings, engine, number, scorer)
    group = FiniteSources(sources, on_progress=on_progress)
    read_to_the_end(Loop(engine, worker, None, [group], wiring.time_rules(settings), clock=_now))
    found = tried_again(lambda: result(engine, names, started))
    if fed := sum(source.partition.next_offset for source in sources):
        found.notes.append(f"{fed:,} records were fed. The monitor decides them with the bucket in which they count.")
    return found


def _now() -> int:
    return time.time_ns() // 1_000
