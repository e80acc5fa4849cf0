"""The loop itself under any interleaving: two of them over a topic in memory, each with what it takes ahead of what is
committed, given partitions with and without the other's knowledge, killed at any statement, with brokers that are
silent now and then. However it goes, the rows are those of one loop that nobody disturbed."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Gloomy
from feeds import START, Log, news
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from memory_topic import MemoryReader, MemoryTopic
from rows import assert_same, promised_rows
from sqlalchemy import Engine, select
from test_interleavings import MICRO, Crash, dies_at, settings_for

from foreshock.ingest.dates import is_in_range
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import Misconfigured, Overtaken, SettingsDiffer
from foreshock.monitor.store import decided, open_store, progress, schema, settings_versions, switches
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.observability.outage import Outage
from foreshock.processes import wiring
from foreshock.processes.batches import WATCHED, BatchSize, Worker
from foreshock.processes.loop import Loop
from foreshock.processes.models import Models
from foreshock.processes.rescoring import Rescorer
from foreshock.processes.switches import Switches
from foreshock.settings.versions import shaping, topic_rules
from foreshock.sources.feeds import Feeds
from foreshock.sources.growing_file import FileSource
from foreshock.sources.kafka import KafkaFeed

pytestmark = pytest.mark.slow

PARTITIONS = 3

who = st.integers(0, 1)
nothing = st.just(0)
steps = st.one_of(
    *[st.tuples(st.just("turn"), who, st.integers(1, 20))] * 5,
    *[st.tuples(st.just("turns"), who, st.integers(1, 20))] * 2,
    *[st.tuples(st.just("close"), who, nothing)] * 2,
    st.tuples(st.just("turn and die"), who, st.integers(1, 25)),
    st.tuples(st.just("given out"), who, st.integers(0, 2**PARTITIONS - 1)),
    st.tuples(st.just("given out unnoticed"), who, st.integers(0, 2**PARTITIONS - 1)),
    st.tuples(st.just("killed"), who, st.integers(0, 7)),
    st.tuples(st.just("silent"), who, st.integers(1, 31)),
)
switch_steps = st.tuples(st.just("switch"), who, nothing)
cancel_steps = st.tuples(st.just("cancel"), who, nothing)
growing_steps = st.one_of(
    steps, *[st.tuples(st.just("time"), nothing, st.sampled_from([1, 3, 10, 30, 60, 200, 700]))] * 5
)
Step = tuple[str, int, int]


class World:
    """A store, a topic, two loops of workers and a monitor."""

    def __init__(self, engine: Engine, url: str, topic: MemoryTopic, scorer: Any, *, until_end: bool) -> None:
        self.engine = engine
        self.settings = settings_for(url)
        self.topic = topic
        self.scorer = scorer
        self.until_end = until_end
        came = [at for n, records in topic.records.items() for offset, at, _ in records if offset < topic.ends[n]]
        self.now = max([round(START * MICRO), *filter(is_in_range, came)])  # what has arrived was sent before now
        self.rules = wiring.time_rules(self.settings)
        self.matcher = matcher_of(topic_rules(self.settings))
        with writing(engine) as connection:
            settings_versions.adopt(connection, shaping(self.settings), resuming=None)
            settings_versions.adopt_model(connection, "quick-1")
        self.linger = 0
        self.files: list[FileSource] = []
        self.owned = [{0, 2}, {1}]
        self.size = BatchSize()
        self.watched = WATCHED
        self.readers: list[MemoryReader] = []
        self.workers: list[Worker] = []
        self.loops: list[Loop] = []
        for place in range(2):
            self.start(place)
        self.closers = [self.closer(), self.closer()]
        self.one_switcher = Switches(engine, self.rules, self.closer(), None, arms=True)

    def closer(self) -> Closer:
        return Closer(self.engine, self.rules, settings=1)

    def start(self, place: int, silent: int = 0) -> None:
        """A new process in this place; the one before is gone, with all that it had."""
        reader = MemoryReader(self.topic, self.owned[place])
        reader.silent = silent
        feed = KafkaFeed(
            reader,
            "news",
            self.settings.parsing().rules(),
            until_end=self.until_end,
            clock=lambda: self.now,
        )
        feed._outage = Outage("kafka", shortest=0.0, longest=0.0)
        models = Models(self.scorer, lambda _: Gloomy())
        with reading(self.engine) as connection:
            models.follow(connection)
        worker = Worker(self.matcher, models, self.rules, settings=1, size=self.size, watched=self.watched)
        found = Loop(
            self.engine,
            worker,
            None,
            [Feeds(self.files, kafka=True), feed],
            self.rules,
            clock=lambda: self.now,
            linger=self.linger,
            outage=Outage("store", shortest=0.0, longest=0.0),
        )
        found.begin()
        if len(self.loops) > place:
            self.loops[place].stop()
        self.loops[place : place + 1] = [found]
        self.readers[place : place + 1] = [reader]
        self.workers[place : place + 1] = [worker]

    def count_again(self) -> None:
        """What `foreshock model switch` does, and a worker once the bucket is recorded."""
        rescorer = Rescorer(self.engine, self.rules)
        if (due := rescorer.due(armed=False)) is not None:
            rescorer.step(due, Gloomy())

    def switch(self) -> None:
        """What the monitor does."""
        Switches(self.engine, self.rules, self.closer(), None, arms=True).step()

    def read_at_most(self, place: int, records: int) -> None:
        """In one poll, and in one batch."""
        self.readers[place].most, self.workers[place].size = records, BatchSize(records=records)

    def act(self, step: Step) -> None:
        kind, place, value = step
        try:
            if kind == "turn":
                self.read_at_most(place, value)
                self.loops[place].turn()
            elif kind == "turns":
                self.read_at_most(place, value)
                for _ in range(8):
                    self.loops[place].turn()
            elif kind == "turn and die":
                with dies_at(value):
                    for _ in range(3):
                        self.loops[place].turn()
            elif kind == "close":
                list(self.closers[place].close())
            elif kind.startswith("given out"):
                mine = {p for p in range(PARTITIONS) if value >> p & 1}
                self.owned[place], self.owned[1 - place] = mine, set(range(PARTITIONS)) - mine
                self.readers[place].assign(self.owned[place])
                if kind == "given out":
                    self.readers[1 - place].assign(self.owned[1 - place])
            elif kind == "switch":
                self.count_again()
                with suppress(Overtaken):
                    self.switch()
            elif kind == "cancel":
                with suppress(Overtaken, SettingsDiffer), writing(self.engine) as connection:
                    switches.cancel(connection)
            elif kind == "killed":
                self.start(place, silent=value)
            elif kind == "silent":
                self.readers[place].silent = value
        except Crash:
            self.start(place)

    def finish(self) -> None:
        """All has arrived; one more process, to which everything is given, reads it to the end."""
        for number in self.topic.records:
            self.topic.ends[number] = self.topic.end(number)
        self.until_end, self.owned, self.linger = True, [set(self.topic.records), set()], 0
        self.size = BatchSize(records=50)
        self.start(1)
        self.start(0)
        for _ in range(500):
            if self.loops[0].read_what_stood:
                break
            self.loops[0].turn()
        assert self.loops[0].read_what_stood
        self.loops[0].end(close=False)
        list(self.closer().close())
        for _ in range(200):
            with reading(self.engine) as connection:
                if not switches.unfinished(connection):
                    return
            self.count_again()
            for _ in range(20):  # a state in memory, over several steps
                if not self.one_switcher.step():
                    break
            list(self.closer().close())
        raise AssertionError("the switch does not come into force")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    connect(f"sqlite:///{path}", create=True).dispose()
    return path


@contextmanager
def a_world(path: Path, empty: Path, topic: MemoryTopic, scorer: Any, *, until_end: bool) -> Iterator[World]:
    shutil.copy(empty, path)
    engine = connect(f"sqlite:///{path}", create=False)
    before = decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME
    decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME = 2, 7
    world = World(engine, f"sqlite:///{path}", topic, scorer, until_end=until_end)
    try:
        yield world
    finally:
        for found in world.loops:
            found.stop()
        decided.BUCKETS_AT_A_TIME, decided.STORIES_AT_A_TIME = before
        engine.dispose()


def topic_of(log: Log, rng: random.Random) -> MemoryTopic:
    """With some offsets missing."""
    records: dict[int, list[Any]] = {}
    for number, values in log.items():
        offset, records[number] = 0, []
        for value in values:
            records[number].append((offset, published_at(value), value))
            offset += rng.choice([1, 1, 1, 2, 5])
    return MemoryTopic(records)


def published_at(value: bytes | None) -> int:
    return round((orjson.loads(value)["published_at"] if value and value[:1] == b"{" else START) * MICRO)


def undisturbed(path: Path, empty: Path, topic: MemoryTopic, scorer: Any) -> dict[str, Any]:
    with a_world(path, empty, topic, scorer, until_end=True) as world:
        world.finish()
        return promised_rows(world.settings.store.url)


@given(
    st.integers(0, 2**32),
    st.lists(steps, min_size=20, max_size=60),
    st.sampled_from([60.0, 400.0, 30_000.0]),
    st.booleans(),
)
@hypothesis_settings(max_examples=15)
def test_any_interleaving_of_loops_gives_the_rows_of_one_that_nobody_disturbed(
    tmp_path_factory: pytest.TempPathFactory,
    empty: Path,
    quick_scorer: Any,
    seed: int,
    plan: list[Step],
    disorder: float,
    until_end: bool,
) -> None:
    folder = tmp_path_factory.mktemp("loops")
    log = news(45, partitions=PARTITIONS, seed=seed, every=120, disorder=disorder)
    log[seed % PARTITIONS].insert(len(log[seed % PARTITIONS]) // 2, None)
    topic = topic_of(log, random.Random(seed))
    with a_world(folder / "disturbed.db", empty, topic, quick_scorer, until_end=until_end) as world:
        for step in plan:
            world.act(step)
        world.finish()
        found = promised_rows(world.settings.store.url)
    assert len(found["stories"]) + len(found["dead_letters"]) == sum(map(len, log.values()))
    assert len(found["decisions"]) == len(found["stories"]), "each story is decided, none came after its bucket"
    assert_same(found, undisturbed(folder / "undisturbed.db", empty, topic, quick_scorer))


@given(st.integers(0, 2**32), st.lists(growing_steps, min_size=30, max_size=100))
@hypothesis_settings(max_examples=12)
def test_loops_over_a_topic_that_grows_give_the_rows_of_one_that_read_it_afterwards(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, quick_scorer: Any, seed: int, plan: list[Step]
) -> None:
    """Records arrive within the lateness of their event time, partitions fall idle and wake; nothing comes late."""
    folder = tmp_path_factory.mktemp("growing")
    rng = random.Random(seed)
    log = news(30, partitions=PARTITIONS, seed=seed, every=rng.choice([20, 90, 300]), disorder=100, oddities=0.3)
    topic = topic_of(log, rng)
    comes = dict[int, list[tuple[int, int]]]()  # when, and the offset after it
    for number, records in topic.records.items():
        latest, comes[number] = 0, []
        for offset, _, value in records:
            latest = max(latest, published_at(value) + rng.randrange(0, 15 * MICRO))
            comes[number].append((latest, offset + 1))
    topic.ends = dict.fromkeys(topic.records, 0)
    with a_world(folder / "disturbed.db", empty, topic, quick_scorer, until_end=False) as world:
        for step in plan:
            if step[0] == "time":
                world.now += step[2] * MICRO
                for number, times in comes.items():
                    topic.ends[number] = max([end for at, end in times if at <= world.now], default=0)
            else:
                world.act(step)
        world.now = max(world.now, *(at for times in comes.values() for at, _ in times))
        world.finish()
        found = promised_rows(world.settings.store.url)
    expected = undisturbed(folder / "undisturbed.db", empty, topic, quick_scorer)
    assert len(found["stories"]) == sum(map(len, log.values()))
    assert_same(found, expected, leave_out={"feed"})


@given(st.integers(0, 2**32), st.lists(st.one_of(steps, *[switch_steps] * 3), min_size=30, max_size=70))
@hypothesis_settings(max_examples=10)
def test_a_switch_among_loops_gives_the_rows_of_one_that_knew_its_bucket(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, quick_scorer: Any, seed: int, plan: list[Step]
) -> None:
    """Workers hear of the recorded bucket at any time, and are killed at any statement."""
    folder = tmp_path_factory.mktemp("switched")
    log = news(45, partitions=PARTITIONS, seed=seed, every=120, disorder=60.0)
    topic = topic_of(log, random.Random(seed))
    rules = wiring.time_rules(settings_for("sqlite:///"))
    ends = {number: topic.end(number) for number in topic.records}
    with a_world(folder / "disturbed.db", empty, topic, quick_scorer, until_end=False) as world:
        topic.ends = {number: end // 2 for number, end in ends.items()}
        for step in (("turns", 0, 20), ("turns", 1, 20), ("close", 0, 0)) * 3:
            world.act(step)
        with writing(world.engine) as connection:
            assert switches.plan(connection, {"weights": "gloomy"}, "gloomy-1", rules)
        for place, step in enumerate(plan):
            world.act(step)
            if place % 4 == 0:
                topic.ends = {number: min(end + 1, ends[number]) for number, end in topic.ends.items()}
        world.finish()
        with reading(world.engine) as connection:
            (at,) = [switch.in_force_from for switch in switches.done(connection)]
        found = promised_rows(world.settings.store.url)
    with a_world(folder / "undisturbed.db", empty, topic, quick_scorer, until_end=True) as world:
        with writing(world.engine) as connection:
            switches.plan_at(connection, {"weights": "gloomy"}, "gloomy-1", at or 0, rules)
        world.finish()
        expected = promised_rows(world.settings.store.url)
    assert_same(found, expected)


@given(st.integers(0, 2**32), st.lists(st.one_of(steps, *[switch_steps] * 3, cancel_steps), min_size=30, max_size=70))
@hypothesis_settings(max_examples=3)
def test_a_switch_that_is_taken_back_at_any_moment_leaves_the_rows_of_a_store_without_it(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, quick_scorer: Any, seed: int, plan: list[Step]
) -> None:
    """Or it is refused, and comes into force: no story has scores of a model that is not in force when it counts."""
    folder = tmp_path_factory.mktemp("taken-back")
    log = news(45, partitions=PARTITIONS, seed=seed, every=120, disorder=60.0)
    topic = topic_of(log, random.Random(seed))
    rules = wiring.time_rules(settings_for("sqlite:///"))
    ends = {number: topic.end(number) for number in topic.records}
    with a_world(folder / "disturbed.db", empty, topic, quick_scorer, until_end=False) as world:
        topic.ends = {number: end // 2 for number, end in ends.items()}
        for step in (("turns", 0, 20), ("turns", 1, 20), ("close", 0, 0)) * 3:
            world.act(step)
        with writing(world.engine) as connection:
            assert switches.plan(connection, {"weights": "gloomy"}, "gloomy-1", rules)
        for place, step in enumerate([("switch", 0, 0)] * 3 + plan):
            world.act(step)
            if place % 4 == 0:
                topic.ends = {number: min(end + 1, ends[number]) for number, end in topic.ends.items()}
        world.finish()
        with reading(world.engine) as connection:
            at = [switch.in_force_from for switch in switches.done(connection)]
        found = promised_rows(world.settings.store.url)
    with a_world(folder / "undisturbed.db", empty, topic, quick_scorer, until_end=True) as world:
        if at:
            with writing(world.engine) as connection:
                switches.plan_at(connection, {"weights": "gloomy"}, "gloomy-1", at[0] or 0, rules)
        world.finish()
        expected = promised_rows(world.settings.store.url)
    assert_same(found, expected, leave_out=set() if at else {"model_switches"})


def test_what_is_in_hand_is_stored_where_a_partition_has_a_gap(tmp_path: Path, empty: Path, quick_scorer: Any) -> None:
    """Of that partition and of the others."""
    topic = topic_of(news(60, partitions=PARTITIONS, disorder=0, oddities=0), random.Random(1))
    topic.ends = dict.fromkeys(topic.records, 10)
    with a_world(tmp_path / "store.db", empty, topic, quick_scorer, until_end=False) as world:
        world.owned, world.linger = [set(topic.records), set()], 3_600 * MICRO
        world.start(0)
        world.loops[0].turn()
        assert offsets(world.engine) == {}, "all is in hand"
        topic.ends = {number: topic.end(number) for number in topic.records}
        topic.beginnings[0] = 15
        world.loops[0].turn()
        world.finish()
        found = offsets(world.engine)
        with reading(world.engine) as connection:
            gaps = [(gap.partition, gap.next_offset) for gap in connection.execute(select(schema.gaps))]
    assert gaps == [("news/0@A", 15)]
    assert found.pop("news/0@A") == [o for o in topic.offsets(0) if not 10 <= o < 15]
    assert found == {"news/1@A": topic.offsets(1), "news/2@A": topic.offsets(2)}


def test_what_is_in_hand_is_stored_where_the_topic_gains_a_partition(
    tmp_path: Path, empty: Path, quick_scorer: Any
) -> None:
    """Of the topic itself and of a file beside it, which would not give it again."""
    log = news(20, partitions=2, disorder=0, oddities=0)
    topic = topic_of({0: log[0]}, random.Random(1))
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join((value or b"") + b"\n" for value in log[1]))
    with a_world(tmp_path / "store.db", empty, topic, quick_scorer, until_end=False) as world:
        world.files = [
            FileSource(Partition(path.name, "file"), path, world.settings.parsing().rules(), clock=lambda: world.now)
        ]
        world.owned, world.linger = [{0}, set()], 3_600 * MICRO
        world.start(0)
        world.loops[0].turn()
        assert offsets(world.engine) == {}, "all is in hand"
        topic.records[1] = topic_of({1: log[0][:3]}, random.Random(1)).records[1]
        topic.ends[1] = topic.end(1)
        world.readers[0].assign({0, 1})
        world.loops[0].turn()
        found = offsets(world.engine)
    assert found["a.jsonl"] == list(range(len(log[1])))
    assert found["news/0@A"] == topic.offsets(0)


def offsets(engine: Engine) -> dict[str, list[int]]:
    """What is stored, by partition."""
    found = defaultdict[str, list[int]](list)
    with reading(engine) as connection:
        for table in (schema.stories, schema.dead_letters):
            for partition, offset in connection.execute(select(table.c.partition, table.c.offset)):
                found[partition].append(offset)
    return {name: sorted(of) for name, of in found.items()}


@pytest.mark.parametrize("most", [1, 3, 50])
def test_a_partition_that_dies_for_one_reason_is_stopped_before_what_would_be_lost(
    tmp_path: Path, empty: Path, quick_scorer: Any, most: int
) -> None:
    """Whatever the batches: what was read before is stored, each record once, and its partition stands behind it."""
    log = news(40, partitions=PARTITIONS, disorder=0, oddities=0)
    log[1] = [b"\x00\x07\x0aStory" + bytes([n]) for n in range(100, 160)]
    topic = topic_of(log, random.Random(1))
    with a_world(tmp_path / "store.db", empty, topic, quick_scorer, until_end=True) as world:
        world.owned, world.watched = [set(range(PARTITIONS)), set()], 20
        world.start(1)
        world.start(0)
        world.read_at_most(0, most)

        def turn_on() -> None:
            for _ in range(500):
                world.loops[0].turn()

        with pytest.raises(Misconfigured, match=r"news/1@A.*(bad_json|not_utf8)"):
            turn_on()
        with reading(world.engine) as connection:
            stands = progress.load(connection)["news/1@A"].next_offset
            letters = connection.execute(select(schema.dead_letters.c.offset)).scalars().all()
    before = [offset for offset, _, _ in topic.records[1] if offset < stands]
    assert sorted(letters) == before
    assert len(before) < 20


@pytest.mark.parametrize("timestamp", [-1, -1_000, 1_700_000_000_000_000_000, 1_700_000_000_000_000_000_000])
def test_an_absurd_timestamp_is_no_date_and_bounds_none(
    tmp_path: Path, empty: Path, quick_scorer: Any, timestamp: int
) -> None:
    """It neither stops the partition nor moves time; a record that has a date is judged by that and the clock."""
    ahead = {"id": "ahead", "title": "Ahead", "published_at": START + 2 * 3600}
    odd = [{"id": f"u{n}", "title": f"Undated {n}"} for n in range(3)]
    odd += [{"id": "dated", "title": "Dated", "published_at": START + 5}, ahead]
    good = [{"id": f"g{n}", "title": f"Good {n}", "published_at": START + n} for n in range(9)]
    values = [orjson.dumps(record) for record in [*good[:4], *odd, *good[4:]]]
    records = [(n, timestamp if 4 <= n < 9 else published_at(value), value) for n, value in enumerate(values)]
    topic = MemoryTopic({0: records, 1: [], 2: []})
    with a_world(tmp_path / "store.db", empty, topic, quick_scorer, until_end=True) as world:
        world.finish()
        store = open_store(world.settings.store.url)
        stories, letters = {row["id"] for row in store.stories()}, [row["reason"] for row in store.dead_letters()]
        with reading(world.engine) as connection:
            reached = progress.load(connection)["news/0@A"].progress.watermark
    assert stories == {"dated", *(record["id"] for record in good)}
    assert letters == ["no_date" if timestamp < 0 else "date_out_of_range"] * 3 + ["date_in_future"]
    assert reached is not None
    assert reached <= world.now
