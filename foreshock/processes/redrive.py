"""`foreshock deadletters replay`: read dead letters again, as a source of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from foreshock.ingest.memory import MemoryFeed
from foreshock.ingest.parsing import AHEAD
from foreshock.monitor.closing import Told
from foreshock.monitor.errors import LeaseHeld, Overtaken
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store import dead_letters, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import Matcher
from foreshock.processes.batches import Worker
from foreshock.settings.models import Settings
from foreshock.settings.versions import in_force, topic_rules
from foreshock.sources.finite import Source

if TYPE_CHECKING:
    pass
from foreshock.processes.replay import MakeSources, Progress, ReplayResult, _notes, _read_all, _run
from foreshock.processes.wiring import MakeScorer, bound_scorer, time_rules


def replay_dead_letters(
    settings: Settings,
    *,
    reason: str | None = None,
    mapping: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_alert: Callable[[Told], None] | None = None,
    scorer: MakeScorer | None = None,
) -> ReplayResult:
    """Feed the store's dead letters again, as a source of its own that joins and leaves like a file.

    Each is fed once; those larger than what was kept of them are left. An interrupted replay is finished first. Beside
    a monitor that decides a PostgreSQL store it feeds only, with the settings in force there. A letter is read by the
    rules of the feed that it came from: what a producer of Kafka wrote is believed no more than before.
    """
    clock = time.time_ns() // 1_000
    names: list[str] = []

    def sources(in_force: Settings, known: dict[str, Partition], _decided_until: int | None) -> list[Source]:
        before = [p for p in known.values() if p.kind == "deadletters"]
        open_ones = [p for p in before if p.progress.member]
        partition = (
            open_ones[0]
            if open_ones
            else Partition(f"deadletters-{len(before) + 1:04}", "deadletters", latest=clock + AHEAD)
        )
        with writing(engine) as connection:
            if not open_ones:
                dead_letters.claim_dead_letters(connection, partition.name, reason)
            records = dead_letters.claimed_dead_letters(connection, partition.name)
            kinds = dead_letters.kinds(connection, partition.name)
        names.append(partition.name)
        if not records:
            return []
        by_file, by_kafka = in_force.parsing(mapping).rules(), in_force.parsing_kafka(mapping).rules()
        rules = [by_kafka if kind == "kafka" else by_file for kind in kinds]
        return [Source(partition, MemoryFeed(partition.name, records, rules=rules, latest=partition.latest))]

    engine = connect(settings.store.url, create=False)
    try:
        return _run(
            settings,
            "deadletters replay",
            names,
            sources,
            on_progress=on_progress,
            on_alert=on_alert,
            scorer=scorer,
            clock=lambda: time.time_ns() // 1_000,
        )
    except LeaseHeld:
        if engine.dialect.name == "sqlite":
            raise
        return _feed_beside_a_monitor(settings, engine, names, sources, on_progress, scorer)
    finally:
        engine.dispose()


def _feed_beside_a_monitor(
    settings: Settings,
    engine: Engine,
    names: list[str],
    make_sources: MakeSources,
    on_progress: Callable[[Progress], None] | None,
    scorer: MakeScorer | None,
) -> ReplayResult:
    """As a worker does: what is read is decided by the process that holds the lease."""
    started = time.monotonic()
    with reading(engine) as connection:
        newest = settings_versions.newest(connection)
        known, decided_until = progress.load(connection), store_counts.decided_until(connection)
    number, settings = (1, settings) if newest is None else (newest[0], in_force(settings, newest[1]))
    rules = time_rules(settings)
    sources = make_sources(settings, known, decided_until)
    for source in sources:
        while not source.partition.progress.member:
            with suppress(Overtaken):  # a bucket was closed at this moment
                with writing(engine) as connection:
                    (joined,) = progress.join(connection, [source.partition], rules, time.time_ns() // 1_000)
                source.partition = joined
    matcher = Matcher(topic_rules(settings))
    worker = Worker(matcher, lambda: bound_scorer(settings, engine, scorer), rules, settings=number)
    _read_all(engine, worker, None, sources, on_progress, None)
    fed = sum(source.partition.next_offset for source in sources)
    with reading(engine) as connection:
        counts = store_counts.ends(connection, names)
        notes = _notes(connection, names, counts)
    if fed:
        notes.append(f"{fed:,} records were fed. The monitor decides them with the bucket in which they count.")
    return ReplayResult(counts, time.monotonic() - started, notes)
