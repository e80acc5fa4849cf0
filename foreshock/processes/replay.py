"""`foreshock replay`: feed files through the same loop as live feeds, in one process.

    result = replay(settings, [Path("news.jsonl")])

Everything that decides runs on event time and in transactions (see `monitor.closing`, `monitor.store.progress`), so a
replay that is killed at any moment goes on where it was, and ends with the rows of an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from foreshock.ingest.between import Between
from foreshock.ingest.files import FileFeed, partition_of
from foreshock.ingest.parsing import AHEAD
from foreshock.monitor import lease
from foreshock.monitor.closing import AlertNews, Closer
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import counts, progress
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.processes import wiring
from foreshock.processes.batches import BatchSize
from foreshock.processes.loop import Loop, ending
from foreshock.processes.pace import Pace
from foreshock.processes.store_failures import tried_again
from foreshock.processes.switch import record
from foreshock.settings.load import SettingsError
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources.finite import FiniteSource, FiniteSources, ReplayProgress, file_sources
from foreshock.sources.live import Clock

if TYPE_CHECKING:
    from foreshock.model.score_cache import ScoreCache

LATE_SHARE = 0.01
"""A file with a larger share of late stories gets a note: it is probably not in time order."""

MakeSources = Callable[[Settings, dict[str, Partition], int | None], list[FiniteSource]]
"""Makes sources from the settings in force, the partitions that the store knows, and "decided until"."""
OnProgress = Callable[[ReplayProgress], None] | None
OnAlert = Callable[[AlertNews], None] | None


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What the store holds of the sources, and notes for the person who started the replay."""

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
    between: Between | None = None,
    speed: float | None = None,
    deliver: bool = False,
    on_progress: OnProgress = None,
    on_alert: OnAlert = None,
    scorer: wiring.MakeScorer | None = None,
    batch_size: BatchSize | None = None,
    switched: Sequence[tuple[str, int]] = (),
) -> ReplayResult:
    """Read files into `settings.store.url` and decide them, as fast as possible or at `speed` times real time.

    A file that the store knows goes on where it was. One that was read to its end and has not grown is not read again.
    `mapping` is field -> column. `sort` orders each file by event time first. `between` reads only a part of each, a
    source of its own; stories outside it leave no trace in the store. With `deliver`, alerts go to the settings'
    receivers, and the function returns once each is delivered or parked; without it, they are withheld for good.
    `switched`: weights, and the bucket (microseconds) from which on they score, in order: the feed is one whose model
    was switched there. Scores are kept in a file and found there again, unless `scorer` is given.

    Raises:
        SettingsError: `deliver`, and no receiver is set.
        IngestError: a file is missing, damaged, lacks a column, or changed since it was read.
        MonitorError: the store cannot be used, is held by another process, or was begun with other settings.
        ModelError: the weights cannot be used.
    """
    _refuse_equal_names(files)
    if deliver and not settings.receiver_names:
        raise SettingsError(
            "--deliver: the settings name no receiver. Add [[webhooks]], [[messages]] or [[receivers]]."
        )
    rules = settings.parsing(mapping).rules()
    for path in files:
        FileFeed(path, rules=rules)  # before the store is created: a misspelt name must not leave one behind
    latest = time.time_ns() // 1_000 + AHEAD
    due = None if speed is None else Pace(speed).wait

    names = [partition_of(path, between) for path in files]
    finished: list[str] = []

    def sources(_: Settings, known: dict[str, Partition], decided_until: int | None) -> list[FiniteSource]:
        found = file_sources(
            files, known, decided_until, rules=rules, latest=latest, sort=sort, due=due, between=between
        )
        read = {source.partition.name for source in found}
        finished.extend(name for name in names if name not in read)
        return found

    caches: list[ScoreCache] = []

    def kept() -> ScoreCache:
        caches.append(settings.model.kept_scores())
        return caches[-1]

    try:
        found = replay_sources(
            settings,
            "replay",
            names,
            sources,
            deliver=deliver,
            on_progress=on_progress,
            on_alert=on_alert,
            scorer=scorer,
            batch_size=batch_size,
            switched=switched,
            kept=kept if scorer is None and settings.model.score_cache != "off" else None,
        )
    finally:
        for cache in caches:
            cache.close()
    if finished:
        nothing = "Nothing was new: " if len(finished) == len(names) else ""
        found.notes.append(
            f"{nothing}{', '.join(finished)} {'was' if len(finished) == 1 else 'were'} read to the end before. The "
            "counts are what the store holds."
        )
    if between is not None and not found.counts["stories"]:
        found.notes.append(f"No story is dated {between}.")
    found.notes.extend(_about(caches))
    return found


def replay_sources(
    settings: Settings,
    command: str,
    names: list[str],
    make_sources: MakeSources,
    *,
    deliver: bool = False,
    on_progress: OnProgress,
    on_alert: OnAlert,
    scorer: wiring.MakeScorer | None,
    batch_size: BatchSize | None = None,
    clock: Clock | None = None,
    switched: Sequence[tuple[str, int]] = (),
    kept: wiring.MakeCache | None = None,
) -> ReplayResult:
    """Hold the store's lease for `command`, read the sources to their ends, and decide what that lets close.

    `names`: the partitions to count at the end. `clock`: of sources that join a live store, where event time must not
    pass it. `kept`: makes a cache of scores for each model that is loaded.
    """
    started = time.monotonic()
    rules = wiring.time_rules(settings)
    shaping(settings)  # before the store: a watchlist may be unreadable
    engine = connect(settings.store.url, create=True)
    try:
        with lease.held(settings.store.url, command) as held, wiring.fewer_collections():
            for weights, at in switched:
                tried_again(partial(record, settings, engine, weights, at))
            with reading(engine) as connection:
                known, decided_until = progress.load(connection), counts.decided_until(connection)
            sources = make_sources(settings, known, decided_until)
            begun = (s.partition for s in sources if s.partition.progress.member and s.partition.next_offset)
            unfinished = next((partition.name for partition in begun), None)
            number = tried_again(lambda: _adopt(engine, settings, unfinished))
            closer = Closer(engine, rules, settings=number, origin="replay", deliver=deliver, clock=clock)
            worker = wiring.worker(settings, engine, number, scorer, size=batch_size, kept=kept)
            group = FiniteSources(sources, on_progress=on_progress)
            loop = Loop(engine, worker, closer, [group], rules, clock=clock, on_alert=on_alert)
            sending = wiring.sending(settings, engine, waited_for=True, digests=False) if deliver else nullcontext()
            with sending as sender:
                read_to_the_end(loop, held)
                if sender is not None:
                    sender.drain()
            found = tried_again(lambda: result(engine, names, started))
            if deliver:
                found.notes.extend(tried_again(partial(_not_sent, engine)))
            return found
    finally:
        engine.dispose()


def _adopt(engine: Engine, settings: Settings, unfinished: str | None) -> int:
    with writing(engine) as connection:
        return wiring.adopt(connection, settings, resuming=unfinished)


def read_to_the_end(loop: Loop, held: lease.Lease | None = None) -> None:
    """Turn the loop until its sources have ended. If one fails, what was read before it is committed and decided.

    While the store does not answer, it waits, as a worker does, but no longer than `store_failures.PATIENCE_SECONDS`.
    `held`: the lease of a process that decides. It ends with LeaseHeld if another one has taken it over meanwhile.

    Topics whose past is not filled yet are filled first. So the bucket from which on they are known does not depend on
    how fast this machine is.
    """
    try:
        tried_again(loop.fill)
        loop.begin()
        with ending(loop, close=True):
            while not loop.read_what_stood and not (held is not None and held.lost):
                if not loop.turn():
                    loop.wait(time.sleep)
        if held is not None:
            lease.refuse_lost(held)
        tried_again(lambda: loop.end(close=True))
    finally:
        loop.stop()


def result(engine: Engine, names: list[str], started: float) -> ReplayResult:
    """Count what the store holds of the partitions `names`. `started`: when the replay began (`time.monotonic`)."""
    with reading(engine) as connection:
        ends = counts.ends(connection, names)
        return ReplayResult(ends, time.monotonic() - started, _notes(connection, names))


def _not_sent(engine: Engine) -> list[str]:
    """Return sentences about messages that no receiver got, or not yet."""
    with reading(engine) as connection:
        return [*wiring.undelivered(connection), *wiring.waiting(connection), *wiring.kept_back(connection)]


def _about(caches: Sequence[ScoreCache]) -> list[str]:
    """Say how many scores were known, and what is wrong with the file of scores."""
    known, made = sum(cache.reused for cache in caches), sum(cache.kept for cache in caches)
    found = []
    if known:
        found.append(
            f"{known:,} of {known + made:,} scores were in the file {caches[0].path}. To score all texts again: "
            "--no-score-cache."
        )
    found += dict.fromkeys(cache.problem for cache in caches if cache.problem is not None)
    return found


def _refuse_equal_names(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise SourceMismatch(
                f"{seen[path.name]} and {path} have one name, and a file's name is its place in the store: rename one."
            )
        seen[path.name] = path


def _notes(connection: Connection, names: Sequence[str]) -> list[str]:
    notes = []
    for name, stories, late in counts.late_shares(connection, names):
        if stories and late > LATE_SHARE * stories:
            notes.append(
                f"{100 * late / stories:.0f} % of the stories of {name} came late: it is not in time order, and they "
                "count when they came. With --sort (into a new store) each counts at its own time."
            )
    if waiting := counts.waiting(connection, names):
        notes.append(
            f"{waiting} stories wait to be decided: {', '.join(counts.members(connection))} was begun and has "
            "not come to its end."
        )
    return notes
