"""The way of the data, wired: sources -> worker -> store -> monitor, in one process. A replay is this, over feed files.

    result = replay(settings, [Path("news.jsonl")])

Everything that decides runs on event time and in transactions (see `monitor.closing`, `monitor.store.progress`), so a
run that is killed at any moment goes on where it was, and ends with the rows of an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from foreshock.ingest.errors import FileChanged
from foreshock.ingest.files import FileFeed
from foreshock.ingest.parsing import AHEAD
from foreshock.monitor import lease
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store import progress, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import Matcher
from foreshock.processes.batches import Worker
from foreshock.processes.wiring import MakeScorer, bound_scorer, fewer_collections, sending, time_rules, undelivered
from foreshock.settings.load import SettingsError
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping, topic_rules
from foreshock.sources.finite import Source, refuse_a_file_of_the_past
from foreshock.sources.live import join

if TYPE_CHECKING:
    pass

LATE_SHARE = 0.01
"""More late stories than this in a file are worth a sentence: it is probably not in time order."""

MakeSources = Callable[[Settings, dict[str, Partition], int | None], list[Source]]
"""Of the settings in force, the partitions that the store knows, and what is decided."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: stories and dead letters read by it, and the share of its sources' bytes (0 to 1)."""

    records: int
    share: float
    event_time: int | None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What the store holds of the sources, and what is worth saying about them."""

    counts: dict[str, int]
    seconds: float
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**self.counts, "seconds": round(self.seconds, 3)}


def replay(
    settings: Settings,
    files: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    speed: float | None = None,
    deliver: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_alert: Callable[[Told], None] | None = None,
    scorer: MakeScorer | None = None,
) -> ReplayResult:
    """Feed files through the whole way into `settings.store.url`, as fast as it goes, or at `speed` times real time.

    A file that the store knows goes on where it was; one that has been read to its end and not grown is not read
    again. `mapping` is field -> column; `sort` orders each file by event time first. With `deliver` alerts go to the
    settings' receivers, and it returns once each is delivered or parked; without, they are withheld for good.

    Raises:
        SettingsError: `deliver`, and no receiver is set.
        IngestError: a file is missing, damaged, lacks a column, or changed since it was read.
        MonitorError: the store cannot be used, is held by another process, or was begun with other settings.
        ModelError: the weights cannot be used.
    """
    _refuse_equal_names(files)
    if deliver and not (settings.webhooks or settings.messages):
        raise SettingsError("--deliver: the settings name no receiver. Add [[webhooks]] or [[messages]].")
    rules = settings.parsing(mapping).rules()
    for path in files:
        FileFeed(path, rules=rules)  # before a store is made: none is left by a misspelt name
    clock = time.time_ns() // 1_000

    def sources(_: Settings, known: dict[str, Partition], decided_until: int | None) -> list[Source]:
        found = []
        for path in files:
            partition = known.get(path.name) or Partition(path.name, "file", latest=clock + AHEAD, sorted=sort)
            if partition.kind != "file" or partition.sorted != sort:
                was = (
                    "sorted (--sort)"
                    if partition.sorted
                    else "in its own order"
                    if partition.kind == "file"
                    else "as dead letters"
                )
                raise SourceMismatch(
                    f"The store has read {path.name} {was}: read it that way again, or give the file another name."
                )
            feed = FileFeed(path, rules=rules, latest=partition.latest, sort=sort)
            source = Source(partition, feed)
            if partition.version and not partition.progress.member:
                # Read to its end before: it joins again only if it grew.
                if next(feed.read(partition.next_offset, partition.last_hash), None) is None:
                    continue
                if sort:
                    raise FileChanged(path, "it was read sorted and has grown since; a sorted file cannot be read on.")
            elif not partition.version and decided_until is not None:
                refuse_a_file_of_the_past(feed, path, decided_until)
            found.append(source)
        return found

    names = [path.name for path in files]
    return _run(
        settings,
        "replay",
        names,
        sources,
        speed=speed,
        deliver=deliver,
        on_progress=on_progress,
        on_alert=on_alert,
        scorer=scorer,
    )


def _run(
    settings: Settings,
    command: str,
    names: list[str],
    make_sources: MakeSources,
    *,
    speed: float | None = None,
    deliver: bool = False,
    on_progress: Callable[[Progress], None] | None,
    on_alert: Callable[[Told], None] | None,
    scorer: MakeScorer | None,
    clock: Callable[[], int] | None = None,
) -> ReplayResult:
    started = time.monotonic()
    rules = time_rules(settings)
    matcher = Matcher(topic_rules(settings))
    engine = connect(settings.store.url, create=True)
    try:
        with lease.held(settings.store.url, command), fewer_collections():
            with reading(engine) as connection:
                known, decided_until = progress.load(connection), store_counts.decided_until(connection)
            sources = make_sources(settings, known, decided_until)
            begun = (s.partition for s in sources if s.partition.progress.member and s.partition.next_offset)
            unfinished = next((partition.name for partition in begun), None)
            with writing(engine) as connection:
                number = settings_versions.adopt(connection, shaping(settings), resuming=unfinished)
                joined = join(connection, sources, rules, clock and clock())
            for source, partition in zip(sources, joined, strict=True):
                source.partition = partition
            closer = Closer(engine, rules, settings=number, origin="replay", deliver=deliver, clock=clock)
            worker = Worker(
                matcher, lambda: bound_scorer(settings, engine, scorer), rules, settings=number, speed=speed
            )
            with sending(settings, engine, waited_for=True) if deliver else nullcontext() as sender:
                _read_all(engine, worker, closer, sources, on_progress, on_alert)
                if sender is not None:
                    sender.drain()
            with reading(engine) as connection:
                counts = store_counts.ends(connection, names)
                notes = _notes(connection, names, counts)
                if deliver:
                    notes += undelivered(connection)
    finally:
        engine.dispose()
    return ReplayResult(counts, time.monotonic() - started, notes)


def _read_all(
    engine: Engine,
    worker: Worker,
    closer: Closer | None,
    sources: Sequence[Source],
    on_progress: Callable[[Progress], None] | None,
    on_alert: Callable[[Told], None] | None,
) -> None:
    records = 0

    def close() -> None:
        for told in closer.close() if closer is not None else ():
            if on_alert is not None:
                on_alert(told)

    for batch in worker.batches(sources):
        with writing(engine) as connection:
            after = {partition.name: partition for partition in progress.commit(connection, batch)}
            # A source that has ended leaves with its last batch: the buckets that waited for it close at once.
            leaving = [
                after.get(s.partition.name, s.partition) for s in sources if s.ended and s.partition.progress.member
            ]
            after.update((partition.name, partition) for partition in progress.leave(connection, leaving))
        for source in sources:
            source.partition = after.get(source.partition.name, source.partition)
        close()
        records += len(batch.stories) + len(batch.dead_letters)
        if on_progress is not None:
            share = sum(source.feed.progress() for source in sources) / max(1, len(sources))
            times = [source.partition.progress.watermark for source in sources]
            on_progress(Progress(records, share, max((t for t in times if t is not None), default=None)))
    with writing(engine) as connection:
        progress.leave(connection, [source.partition for source in sources if source.partition.progress.member])
    close()


def _refuse_equal_names(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise SourceMismatch(
                f"{seen[path.name]} and {path} have one name, and a file's name is its place in the store: rename one."
            )
        seen[path.name] = path


def _notes(connection: Any, names: Sequence[str], counts: dict[str, int]) -> list[str]:
    notes = []
    for name, stories, late in store_counts.late_shares(connection, names):
        if stories and late > LATE_SHARE * stories:
            notes.append(
                f"{100 * late / stories:.0f} % of the stories of {name} came late: it is not in time order, and they "
                "count when they came. With --sort (into a new store) each counts at its own time."
            )
    if waiting := store_counts.waiting(connection, names):
        notes.append(
            f"{waiting} stories wait to be decided: {', '.join(store_counts.members(connection))} was begun and has "
            "not come to its end."
        )
    return notes
