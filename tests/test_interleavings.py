"""Whatever happens between a log and the store, the tables end as those of one undisturbed run.

A model of what runs scaled out, in one process: workers that take ahead of what they commit, partitions given to
another worker with or without the first one's knowledge, crashes at any statement, two monitors of which either may be
stopped between reading and deciding. Hypothesis draws what happens; the log is any.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from feeds import START, Log, news
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import assert_same, promised_rows
from sqlalchemy import Connection, Engine, event

from foreshock.ingest.formats import digest_of
from foreshock.ingest.parsing import parse
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor import closing
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.store import decided, progress, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.processes import replay, wiring
from foreshock.processes.batches import BatchSize, Worker
from foreshock.processes.ticks import IDLE_AFTER
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping, topic_rules

pytestmark = pytest.mark.slow

MICRO = 1_000_000
PARTITIONS = 3


def settings_for(url: str) -> Settings:
    return load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings


class Crash(Exception):
    """A process ends where it is: its transaction is lost, and all that it had in memory."""


@dataclass
class Source:
    """One partition as one worker reads it: from where it was told to, up to what has arrived."""

    partition: Partition
    records: list[bytes | None]
    arrived: list[int]
    """How many of them the log has by now: one number, shared by all who read it."""
    rules: Any
    since: int = 0
    """When a record last raised its watermark, or when this worker got it."""
    read_at: int | None = None

    def next(self) -> tuple[Story | DeadLetter, str] | None:
        place = self.partition.next_offset
        if place >= self.arrived[0]:
            return None
        raw = self.records[place]
        assert raw is not None
        return parse(raw, self.partition.name, place, self.rules), digest_of(raw)

    @property
    def at_end(self) -> bool:
        return self.partition.next_offset >= self.arrived[0]


@dataclass
class World:
    """The log, the store, and the processes between them."""

    engine: Engine
    settings: Settings
    log: Log
    scorer: Any
    now: int
    arrived: dict[str, list[int]]
    workers: list[WorkerProcess] = field(default_factory=list)
    closers: list[Closer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = wiring.time_rules(self.settings)
        self.parsing = self.settings.parsing().rules()
        self.matcher = matcher_of(topic_rules(self.settings))
        self.names = {number: f"p{number}.jsonl" for number in self.log}
        with writing(self.engine) as connection:
            settings_versions.adopt(connection, shaping(self.settings), resuming=None)
            settings_versions.adopt_model(connection, "quick-1")
            progress.join(connection, [Partition(name, "file") for name in self.names.values()], self.rules)
        self.workers = [WorkerProcess(self, {p for p in self.log if p % 2 == n}) for n in range(2)]
        self.closers = [self.new_closer(), self.new_closer()]

    def new_closer(self) -> Closer:
        return Closer(self.engine, self.rules, settings=1)

    def source(self, number: int) -> Source:
        with reading(self.engine) as connection:
            partition = progress.load(connection)[self.names[number]]
        return Source(partition, self.log[number], self.arrived[partition.name], self.parsing, self.now)


class WorkerProcess:
    """A worker over some partitions. Batches are taken ahead, and committed in their order."""

    def __init__(self, world: World, owned: set[int]) -> None:
        self.world = world
        self.worker = Worker(world.matcher, world.scorer, world.rules, settings=1)
        self.sources = {number: world.source(number) for number in owned}
        self.in_flight: list[Batch] = []
        self.versions = {s.partition.name: s.partition.version for s in self.sources.values()}

    def get(self, number: int) -> None:
        source = self.world.source(number)
        if source.partition.name in {p.name for batch in self.in_flight for p in batch.partitions}:
            return self.restart({*self.sources, number})  # it gave it up and got it again meanwhile
        self.sources[number] = source
        self.versions[source.partition.name] = source.partition.version

    def restart(self, owned: set[int] | None = None) -> None:
        """All that is in flight is void; go on from the store."""
        self.__init__(self.world, set(self.sources) if owned is None else owned)  # type: ignore[misc]

    def take(self, records: int) -> None:
        if len(self.in_flight) < 3:
            self.worker.size = BatchSize(records=records)
            taken = self.worker.take(list(self.sources.values()))
            if len(taken):
                self.in_flight.append(self.worker.rows(taken))

    def commit(self) -> None:
        if not self.in_flight:
            return
        batch = self.in_flight[0]
        # Taken before its forerunners were committed, it holds the versions of then; where it goes on is the same.
        made_on = [replace(p, version=self.versions[p.name]) for p in batch.partitions]
        with writing(self.world.engine) as connection:
            after = progress.commit(connection, replace(batch, partitions=made_on))
        self.in_flight.pop(0)
        self._set(after)

    def tick(self) -> None:
        """Declare idle what is at its end, and has been for long enough."""
        if self.in_flight:
            return
        now = self.world.now
        idle = [s.partition for s in self.sources.values() if s.at_end and now - s.since >= IDLE_AFTER]
        with writing(self.world.engine) as connection:
            after = progress.tick(connection, idle, now, self.world.rules)
        self._set(after)

    def leave(self) -> None:
        """A partition that was read to its end for good leaves."""
        if self.in_flight:
            return
        done = [s.partition for s in self.sources.values() if s.partition.next_offset == len(s.records)]
        done = [p for p in done if p.progress.member]
        with writing(self.world.engine) as connection:
            after = progress.leave(connection, done)
        self._set(after)

    def _set(self, partitions: Sequence[Partition]) -> None:
        by_name = {p.name: p for p in partitions}
        self.versions |= {name: p.version for name, p in by_name.items()}
        for source in self.sources.values():
            if (after := by_name.get(source.partition.name)) is not None:
                if self.in_flight:  # the source has been read further than what is committed
                    source.partition = replace(source.partition, version=after.version)
                    continue
                if after.progress.watermark != source.partition.progress.watermark or not after.progress.idle:
                    source.since = self.world.now
                source.partition = after


@contextmanager
def dies_at(statement: int) -> Iterator[None]:
    """A crash at the n-th statement from here on; 0: none."""
    left = [statement]

    def before(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)


who = st.integers(0, 1)
nothing = st.just(0)
steps = st.one_of(
    *[st.tuples(st.just("take"), who, st.integers(1, 15))] * 3,
    *[st.tuples(st.just("commit"), who, nothing)] * 3,
    *[st.tuples(st.just("catch up"), who, st.integers(1, 15))] * 3,
    *[st.tuples(st.just("close"), who, nothing)] * 2,
    *[st.tuples(st.just("close late"), who, st.integers(1, 8))] * 2,
    st.tuples(st.just("close and die"), who, st.integers(1, 25)),
    st.tuples(st.just("commit and die"), who, st.integers(1, 8)),
    st.tuples(st.just("given"), who, st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("moved"), who, st.integers(0, PARTITIONS - 1)),
    st.tuples(st.just("killed"), who, nothing),
    st.tuples(st.just("leave"), who, nothing),
)
live_steps = st.one_of(
    *[st.tuples(st.just("time"), nothing, st.sampled_from([1, 3, 10, 30, 60, 200, 700]))] * 4,
    *[st.tuples(st.just("catch up"), who, st.integers(1, 40))] * 4,
    *[st.tuples(st.just("tick"), who, nothing)] * 4,
    steps,
)

Step = tuple[str, int, int]


def act(world: World, step: Step, rest: list[Step], *, arrive: Any = None) -> None:
    """One step. What comes in `rest` may happen in the middle of it, and is then taken from there."""
    kind, number, value = step
    process = world.workers[number]
    try:
        if kind == "take":
            process.take(value)
        elif kind == "commit":
            process.commit()
        elif kind == "catch up":
            process.take(value)
            while process.in_flight:
                process.commit()
        elif kind == "commit and die":
            with dies_at(value):
                process.commit()
        elif kind == "tick":
            process.tick()
        elif kind == "leave":
            process.leave()
        elif kind == "given":  # nobody told the other worker
            process.get(value)
        elif kind == "moved":
            world.workers[1 - number].sources.pop(value, None)
            process.get(value)
        elif kind == "killed":
            process.restart()
        elif kind == "time":
            world.now += value * MICRO
            arrive()
        elif kind == "close":
            list(world.closers[number].close())
        elif kind == "close late":
            close_late(world, number, value, rest, arrive)
        elif kind == "close and die":
            try:
                with dies_at(value):
                    list(world.closers[number].close())
            except Crash:
                world.closers[number] = world.new_closer()
    except Overtaken:
        process.restart()
    except Crash:
        process.restart()


def close_late(world: World, number: int, steps_between: int, rest: list[Step], arrive: Any) -> None:
    """A monitor is stopped after it read and before it writes; meanwhile the next steps happen."""
    between = [rest.pop(0) for _ in range(min(steps_between, len(rest)))]
    before = closing.writing  # type: ignore[attr-defined]

    @contextmanager
    def later(engine: Engine) -> Iterator[Connection]:
        closing.writing = before  # type: ignore[attr-defined]
        while between:
            step = between.pop(0)
            if step[0].startswith("close"):
                step = ("close", 1 - number, 0)
            act(world, step, between, arrive=arrive)
        with before(engine) as connection:
            yield connection

    closing.writing = later  # type: ignore[attr-defined]
    try:
        list(world.closers[number].close())
    finally:
        closing.writing = before  # type: ignore[attr-defined]
    for step in between:  # there was nothing to close
        act(world, step, [], arrive=arrive)


def finish(world: World) -> None:
    """Both workers and both monitors, no longer disturbed, to the end."""
    for _ in range(3):
        for process in world.workers:
            with suppress(Overtaken):
                while process.in_flight:
                    process.commit()
            process.restart(set(world.log) if process is world.workers[0] else set())
    process = world.workers[0]
    while any(not source.at_end for source in process.sources.values()):
        process.take(50)
        process.commit()
    process.leave()
    for closer in world.closers:
        list(closer.close())


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    connect(f"sqlite:///{path}", create=True).dispose()
    return path


@contextmanager
def a_world(
    folder: Path, empty: Path, log: Log, scorer: Any, now: int, arrived: dict[str, list[int]]
) -> Iterator[World]:
    shutil.copy(empty, folder / "disturbed.db")
    url = f"sqlite:///{folder / 'disturbed.db'}"
    engine = connect(url, create=False)
    before = decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME
    decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME = 2, 7
    try:
        yield World(engine, settings_for(url), log, scorer, now, arrived)
    finally:
        decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME = before
        engine.dispose()


def undisturbed(folder: Path, empty: Path, log: Log, scorer: Any) -> str:
    """The URL of the store that one replay of the same log makes."""
    paths = [folder / f"p{number}.jsonl" for number in log]
    for number, path in zip(log, paths, strict=True):
        path.write_bytes(b"".join(value + b"\n" for value in log[number] if value is not None))
    shutil.copy(empty, folder / "undisturbed.db")
    url = f"sqlite:///{folder / 'undisturbed.db'}"
    replay.replay(settings_for(url), paths, scorer=scorer)
    return url


@given(st.integers(0, 2**32), st.lists(steps, min_size=20, max_size=60), st.sampled_from([60.0, 400.0, 30_000.0]))
@hypothesis_settings(max_examples=25)
def test_any_interleaving_of_takes_commits_reassignments_and_crashes_gives_the_rows_of_an_undisturbed_run(
    tmp_path_factory: pytest.TempPathFactory,
    empty: Path,
    quick_scorer: Any,
    seed: int,
    plan: list[Step],
    disorder: float,
) -> None:
    """All of the log is there from the start, in any order of event times: much of it late, some of it stale."""
    folder = tmp_path_factory.mktemp("any")
    log = news(45, partitions=PARTITIONS, seed=seed, every=120, disorder=disorder)
    log[seed % PARTITIONS].insert(len(log[seed % PARTITIONS]) // 2, b"no json")
    arrived = {f"p{number}.jsonl": [len(records)] for number, records in log.items()}
    with a_world(folder, empty, log, quick_scorer, round(START * MICRO), arrived) as world:
        rest = list(plan)
        while rest:
            act(world, rest.pop(0), rest)
        finish(world)
        found = promised_rows(world.settings.store.url)
    expected = promised_rows(undisturbed(folder, empty, log, quick_scorer))
    assert len(found["stories"]) + len(found["dead_letters"]) == sum(map(len, log.values()))
    assert_same(found, expected)


@given(st.integers(0, 2**32), st.lists(live_steps, min_size=30, max_size=100))
@hypothesis_settings(max_examples=25)
def test_any_interleaving_of_a_log_that_grows_with_idle_partitions_gives_the_rows_of_a_replay(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, quick_scorer: Any, seed: int, plan: list[Step]
) -> None:
    """Records arrive within the lateness of their event time, partitions fall idle and wake; nothing comes late."""
    folder = tmp_path_factory.mktemp("growing")
    rng = random.Random(seed)
    log = news(30, partitions=PARTITIONS, seed=seed, every=rng.choice([20, 90, 300]), disorder=100, oddities=0.3)
    comes = {number: [_arrival(raw, rng) for raw in records] for number, records in log.items()}
    for times in comes.values():  # a log is in the order of arrival
        for place in range(1, len(times)):
            times[place] = max(times[place], times[place - 1])
    arrived = {f"p{number}.jsonl": [0] for number in log}
    with a_world(folder, empty, log, quick_scorer, round(START * MICRO), arrived) as world:

        def arrive() -> None:
            for number, times in comes.items():
                arrived[f"p{number}.jsonl"][0] = sum(at <= world.now for at in times)

        rest = list(plan)
        while rest:
            act(world, rest.pop(0), rest, arrive=arrive)
        world.now = max((at for times in comes.values() for at in times), default=world.now)
        arrive()
        finish(world)
        found = promised_rows(world.settings.store.url)
    expected = promised_rows(undisturbed(folder, empty, log, quick_scorer))
    assert sum(map(len, log.values())) == len(found["stories"])
    assert_same(found, expected, leave_out={"feed"})


def _arrival(raw: bytes | None, rng: random.Random) -> int:
    import orjson

    assert raw is not None
    published = round(orjson.loads(raw)["published_at"] * MICRO)
    return published + rng.randrange(0, 100 * MICRO)
