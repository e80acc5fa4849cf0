"""The way of the data, wired: sources -> worker -> store -> monitor, in one process. A replay is this, over feed files.

    result = replay(settings, [Path("news.jsonl")])

Everything that decides runs on event time and in transactions (see `monitor.closing`, `monitor.store.progress`), so a
run that is killed at any moment goes on where it was, and ends with the rows of an undisturbed one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from foreshock import metrics
from foreshock.ingest.errors import FileChanged
from foreshock.ingest.feed import Feed
from foreshock.ingest.files import FileFeed
from foreshock.ingest.memory import MemoryFeed
from foreshock.ingest.parsing import AHEAD
from foreshock.ingest.story import Story
from foreshock.monitor import lease
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import LateFile, LeaseHeld, Overtaken, SourceMismatch
from foreshock.monitor.store import dead_letters, outbox, progress, queries, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.times import iso
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.watermark import TimeRules
from foreshock.settings import Settings, SettingsError, in_force, shaping, topic_rules
from foreshock.worker import Readable, Source, StoryScorer, Worker

if TYPE_CHECKING:
    from foreshock.monitor.delivery.sender import Sender

LATE_SHARE = 0.01
"""More late stories than this in a file are worth a sentence: it is probably not in time order."""

MakeScorer = Callable[[], StoryScorer]
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
                queries.claim_dead_letters(connection, partition.name, reason)
            records = queries.claimed_dead_letters(connection, partition.name)
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
                known, decided_until = progress.load(connection), queries.decided_until(connection)
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
                counts = queries.ends(connection, names)
                notes = _notes(connection, names, counts)
                if deliver:
                    notes += _undelivered(connection)
    finally:
        engine.dispose()
    return ReplayResult(counts, time.monotonic() - started, notes)


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
        known, decided_until = progress.load(connection), queries.decided_until(connection)
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
        counts = queries.ends(connection, names)
        notes = _notes(connection, names, counts)
    if fed:
        notes.append(f"{fed:,} records were fed. The monitor decides them with the bucket in which they count.")
    return ReplayResult(counts, time.monotonic() - started, notes)


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for cycles more rarely: rows are many, live shortly and hold none, and looking took a tenth."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def sending(
    settings: Settings, engine: Engine, *, waited_for: bool, may_send: Callable[[], bool] = lambda: True
) -> Sender:
    """The sender to the settings' receivers; where its end is waited for, it gives up sooner. `may_send`: whether it
    is still this process's task."""
    from foreshock.monitor.delivery import receivers
    from foreshock.monitor.delivery.sender import LIVE, WAITED_FOR, Sender

    found = receivers(settings.webhooks, settings.messages)
    retries = WAITED_FOR if waited_for else LIVE
    return Sender(
        engine,
        found,
        external_url=settings.dashboard.external_url,
        retries=retries,
        may_send=may_send,
        on_attempt=metrics.delivery,
    )


def _undelivered(connection: Any) -> list[str]:
    parked: dict[str, list[str]] = {}
    for row in outbox.deliveries(connection, state="parked"):
        parked.setdefault(row["receiver"], []).append(row["last_error"])
    return [f"Parked deliveries to {name}: {len(errors)}, {errors[0]}." for name, errors in sorted(parked.items())]


def time_rules(settings: Settings) -> TimeRules:
    t = settings.time
    return TimeRules(bucket=t.bucket, lateness=t.lateness, max_staleness=t.max_staleness, stall_after=t.stall_after)


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


def join(connection: Any, sources: Sequence[Readable], rules: TimeRules, now: int | None = None) -> list[Partition]:
    """All sources that are not members yet join in one transaction, before the first record is read. Returns where each
    stands then: it is the caller's to set, once that is committed. `now`: the clock of who reads live."""
    joining = [source.partition for source in sources if not source.partition.progress.member]
    joined = {p.name: p for p in progress.join(connection, joining, rules, now)} if joining else {}
    return [joined.get(source.partition.name, source.partition) for source in sources]


def bound_scorer(settings: Settings, engine: Engine, make: MakeScorer | None) -> StoryScorer:
    """The settings' scorer (or `make`'s), once the store is bound to its model."""
    if make is None:
        from foreshock.model.scorer import load_scorer

        scorer: StoryScorer = load_scorer(settings.model.weights, settings.model.device)
    else:
        scorer = make()
    with writing(engine) as connection:
        settings_versions.adopt_model(connection, scorer.identity)
    return scorer


def _refuse_equal_names(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise SourceMismatch(
                f"{seen[path.name]} and {path} have one name, and a file's name is its place in the store: rename one."
            )
        seen[path.name] = path


def refuse_a_file_of_the_past(feed: Feed, path: Path, decided_until: int) -> None:
    """Raises `LateFile` for a file that the store does not know, all of whose stories lie before what is decided."""
    stories = (item for item, _ in feed.read() if isinstance(item, Story))
    first = next(stories, None)
    if (
        first is None
        or first.published_at >= decided_until
        or any(story.published_at >= decided_until for story in stories)
    ):
        return
    raise LateFile(
        f"All stories of {path} lie before what the store has decided ({iso(decided_until)}); they would count "
        "for nothing. Load history first, or into a new store."
    )


def _notes(connection: Any, names: Sequence[str], counts: dict[str, int]) -> list[str]:
    notes = []
    for name, stories, late in queries.late_shares(connection, names):
        if stories and late > LATE_SHARE * stories:
            notes.append(
                f"{100 * late / stories:.0f} % of the stories of {name} came late: it is not in time order, and they "
                "count when they came. With --sort (into a new store) each counts at its own time."
            )
    if waiting := queries.waiting(connection, names):
        notes.append(
            f"{waiting} stories wait to be decided: {', '.join(queries.members(connection))} was begun and has not "
            "come to its end."
        )
    return notes
