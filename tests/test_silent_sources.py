"""No source stops time for all: silent ones are set aside by the monitor, and wrong dates move no time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_topic import MemoryReader, MemoryTopic
from prometheus_client import REGISTRY
from rows import assert_same, promised_rows
from structlog.testing import capture_logs
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.ingest.kafka import Record
from foreshock.ingest.parsing import AHEAD, ParseRules, parse
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.silent_sources import LIVE_KINDS, LONGEST_STEP, SilentSources, standstill
from foreshock.monitor.store import counts, open_store, progress, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.export import export_stories
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.monitor.watermark import Progress, TimeRules
from foreshock.observability import metrics
from foreshock.processes import wiring
from foreshock.processes.asides import Asides
from foreshock.processes.batches import Worker
from foreshock.processes.loop import Loop
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping, topic_rules
from foreshock.sources.feeds import Feeds
from foreshock.sources.growing_file import FileSource
from foreshock.sources.kafka import KafkaFeed
from foreshock.sources.kafka_partition import KafkaSource

MICRO = 1_000_000
START = 1_770_000_000 * MICRO
MINUTE = 60 * MICRO


def story(name: str, at: int) -> bytes:
    return json.dumps({"id": name, "title": f"Story {name} of the day", "published_at": at // MICRO}).encode()


class Fake:
    """A live source that gives what the test puts in, and answers while the test lets it."""

    over = unsaved = False

    def __init__(self, name: str, clock: Any) -> None:
        self.partition = Partition(f"rss:{name}", "rss")
        self.answers = True
        self.read_at = 0
        self._clock = clock
        self._records: list[bytes] = []

    def puts(self, *records: bytes) -> None:
        self._records.extend(records)

    def next(self) -> Any:
        p = self.partition
        if not self.answers or self.read_what_stood():
            return None
        self.read_at = self._clock()
        return parse(self._records[p.next_offset], p.name, p.next_offset, ParseRules(), self.read_at + AHEAD), ""

    def at_end(self, now: int) -> bool:
        return self.answers and self.read_what_stood()

    def read_what_stood(self) -> bool:
        return self.partition.next_offset >= len(self._records)

    def stays(self, stored: Partition) -> bool:
        return False

    def save(self, connection: Any) -> None: ...

    def restart(self, partition: Partition, connection: Any) -> None:
        self.partition = partition

    def close(self) -> None: ...


class World:
    """One run over fake sources, with a clock that the test moves. `deciding`: whether its loop decides, too."""

    def __init__(self, folder: Path, scorer: Any, *names: str, deciding: bool = True) -> None:
        self.url = f"sqlite:///{folder / 'store.db'}"
        self.settings = settings_for(self.url)
        self.rules = wiring.time_rules(self.settings)
        self.now = START
        self.engine = connect(self.url, create=True)
        with writing(self.engine) as connection:
            settings_versions.adopt(connection, shaping(self.settings), resuming=None)
        self.sources = {name: Fake(name, self.clock) for name in names}
        self.closer = Closer(self.engine, self.rules, settings=1, clock=self.clock)
        worker = Worker(matcher_of(topic_rules(self.settings)), scorer, self.rules, settings=1)
        closer = self.closer if deciding else None
        self.loop = Loop(
            self.engine, worker, closer, [Feeds(list(self.sources.values()))], self.rules, clock=self.clock
        )
        self.loop.begin()

    def clock(self) -> int:
        return self.now

    def turn(self) -> None:
        while self.loop.turn():
            pass

    def passes(self, minutes: float, *, each: float = 10) -> None:
        """Let time pass, in steps in which the loop turns."""
        for _ in range(round(minutes * 60 / each)):
            self.now += round(each * MICRO)
            self.turn()

    @property
    def decided_until(self) -> int | None:
        with reading(self.engine) as connection:
            return counts.decided_until(connection)

    def partition(self, name: str) -> Partition:
        with reading(self.engine) as connection:
            return progress.load(connection)[f"rss:{name}"]

    def rows(self) -> dict[str, Any]:
        return {row["id"]: row for row in open_store(self.url).stories()}


def settings_for(url: str) -> Settings:
    return load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings


@pytest.fixture
def world(tmp_path: Path, quick_scorer: Any) -> World:
    """Two sources that gave stories until now. Then `hung` answers no more."""
    found = World(tmp_path, quick_scorer, "well", "hung")
    for source in found.sources.values():
        name = source.partition.name
        source.puts(*(story(f"{name} {n}", START - (5 - n) * MINUTE) for n in range(5)))
    found.turn()
    found.passes(1)
    found.sources["hung"].answers = False
    return found


def goes_on(world: World, minutes: int) -> None:
    for minute in range(minutes):
        world.sources["well"].puts(story(f"on {minute} {world.now}", world.now))
        world.passes(1)


def test_a_source_that_does_not_answer_stops_time_for_ten_minutes_and_no_longer(world: World) -> None:
    goes_on(world, 9)
    assert world.decided_until is not None
    assert world.now - world.decided_until > 10 * MINUTE, "time waits for it"
    with capture_logs() as logs:
        goes_on(world, 6)
    assert [line["source"] for line in logs if line["event"].startswith("source set aside")] == ["rss:hung"]
    assert world.now - world.decided_until <= 5 * MINUTE + world.rules.lateness + MINUTE
    assert world.partition("hung").aside_since is not None
    goes_on(world, 30)
    assert world.now - world.decided_until <= 5 * MINUTE + world.rules.lateness + MINUTE, "and goes on"


def test_what_a_source_brings_that_was_set_aside_counts_when_it_became_known(world: World) -> None:
    goes_on(world, 20)
    until = world.decided_until
    assert until is not None
    hung = world.sources["hung"]
    hung.puts(*(story(f"old {n}", START + n * MINUTE) for n in range(3)))
    hung.answers = True
    world.passes(1)
    assert all(world.rows()[f"old {n}"]["late"] for n in range(3))
    with reading(world.engine) as connection:
        found = connection.execute(schema.stories.select().where(schema.stories.c.id.like("old %"))).all()
    assert len(found) == 3
    assert all(row.counts_at >= until for row in found), "no story enters a decided bucket"
    assert world.partition("hung").aside_since is None, "it answers again"
    goes_on(world, 15)
    assert not world.partition("hung").aside_since


def test_what_the_monitor_said_is_data_an_export_replayed_decides_the_same(
    world: World, tmp_path: Path, quick_scorer: Any
) -> None:
    goes_on(world, 20)
    world.sources["hung"].puts(*(story(f"old {n}", START + n * MINUTE) for n in range(3)))
    world.sources["hung"].puts(*(story(f"ahead {n}", world.now + 50 * MINUTE + n) for n in range(4)))
    world.sources["hung"].answers = True
    goes_on(world, 70)
    exported = tmp_path / "export.jsonl"
    with exported.open("wb") as out:
        assert export_stories(world.engine, out) == len(world.rows())
    (tmp_path / "again").mkdir()
    again = f"sqlite:///{tmp_path / 'again' / 'store.db'}"
    replay(settings_for(again), [exported], scorer=quick_scorer)

    def decided(url: str) -> Any:
        until = world.decided_until
        frame = open_store(url).series("_all")
        return frame[frame["end"].map(lambda end: end.timestamp() * MICRO <= until)]

    found = decided(world.url)
    assert len(found) > 10
    assert decided(again).equals(found)


def test_the_only_source_is_not_set_aside(tmp_path: Path, quick_scorer: Any) -> None:
    """If nobody answers, it may be this process that hears nobody."""
    world = World(tmp_path, quick_scorer, "hung")
    world.sources["hung"].puts(*(story(f"{n}", START - n * MINUTE) for n in range(5)))
    world.turn()
    world.sources["hung"].answers = False
    world.passes(40)
    assert world.partition("hung").aside_since is None
    assert world.now - (world.decided_until or 0) > 30 * MINUTE


def test_a_feed_that_pauses_is_not_silent(world: World) -> None:
    """A source at its end answers, though nothing comes of it: it is noted as such, and is never set aside."""
    world.sources["hung"].answers = True
    with capture_logs() as logs:
        world.passes(60)
    assert not [line for line in logs if "set aside" in line["event"]]
    assert world.now - (world.partition("hung").heard_at or 0) <= 2 * MINUTE


def test_in_a_scaled_out_desk_the_monitor_speaks_and_the_worker_goes_on_from_there(
    tmp_path: Path, quick_scorer: Any
) -> None:
    world = World(tmp_path, quick_scorer, "well", "hung", deciding=False)
    asides = Asides(world.engine, world.rules, world.clock)
    for source in world.sources.values():
        source.puts(*(story(f"{source.partition.name} {n}", START - (5 - n) * MINUTE) for n in range(5)))
    world.turn()
    world.sources["hung"].answers = False
    for minute in range(20):
        world.sources["well"].puts(story(f"on {minute}", world.now))
        for _ in range(6):
            world.passes(1 / 6)
            asides.look()
            list(world.closer.close())
    assert world.partition("hung").aside_since is not None
    assert world.now - (world.decided_until or 0) <= 8 * MINUTE
    hung = world.sources["hung"]
    hung.puts(story("late", START))
    hung.answers = True
    world.passes(2)
    assert world.rows().keys() >= {"late"}, "its worker found that its row had moved on, and read its place again"
    assert world.rows()["late"]["late"]
    hung.puts(story("late too", START))
    world.passes(2)
    assert "late too" in world.rows()


def test_a_monitor_that_starts_anew_waits_before_it_speaks_and_speaks_on_where_one_did(world: World) -> None:
    goes_on(world, 5)
    fresh = Asides(world.engine, world.rules, world.clock)
    world.now += 60 * MINUTE  # it slept: so it heard nobody
    assert fresh.look() == []
    goes_on(world, 14)
    assert world.partition("hung").aside_since is not None
    until = world.partition("hung").progress.watermark
    another = Asides(world.engine, world.rules, world.clock)
    another.look()
    world.sources["well"].puts(*(story(f"later {n}", world.now + 11 * MINUTE) for n in range(3)))
    world.now += 12 * MINUTE
    with writing(world.engine) as connection:  # only the other source's worker writes
        well = progress.load(connection)["rss:well"]
        progress.tick(connection, [well], world.now, world.rules)
    another.look()
    found = world.partition("hung").progress.watermark
    assert found is not None
    assert until is not None
    assert found > until


def test_a_worker_that_writes_first_wins(world: World) -> None:
    goes_on(world, 14)
    row = world.partition("hung")
    with writing(world.engine) as connection:
        progress.heard(connection, [row], world.now)
    with writing(world.engine) as connection, pytest.raises(Overtaken):
        progress.heard(connection, [Partition(row.name, row.kind, version=row.version + 1)], world.now)


lives = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5), st.booleans()), min_size=1, max_size=60)


@given(lives)
def test_a_source_is_silent_only_after_looks_of_ten_minutes_without_a_word(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever the clock jumps: one look adds half a minute at most, so twenty looks are needed."""
    rules = TimeRules()
    sources = SilentSources(rules)
    clock, heard = 0, dict.fromkeys("ab", 0)
    looks = dict.fromkeys("ab", 0)
    for name, minutes, answers in steps:
        clock += minutes * MINUTE
        if answers:
            heard[name] += 1
            looks[name] = 0
        members = [
            Partition(n, kind, progress=Progress(member=True), heard_at=heard[n])
            for n, kind in (("a", "rss"), ("b", "file"))
        ]
        silent = sources.look(members, clock)
        for n in looks:
            looks[n] += 1
        assert silent <= {"a"}, "files are a person's to decide about"
        if "a" in silent:
            assert (looks["a"]) * LONGEST_STEP >= rules.silent_after


# Dates ahead of the clock


def test_stories_dated_an_hour_ahead_move_no_time(world: World) -> None:
    world.sources["hung"].answers = True
    goes_on(world, 3)
    before = world.decided_until
    world.sources["well"].puts(*(story(f"ahead {n}", world.now + 59 * MINUTE + n) for n in range(10)))
    world.passes(1)
    assert (world.partition("well").progress.watermark or 0) <= world.now
    assert (world.decided_until or 0) <= world.now
    assert before is not None
    world.sources["well"].puts(story("good", world.now))
    world.passes(1)
    assert not world.rows()["good"]["late"]
    assert not world.rows()["ahead 1"]["late"], "they count at their own time"


def test_stories_a_minute_ahead_move_time_as_others_do(world: World) -> None:
    world.sources["well"].puts(*(story(f"soon {n}", world.now + MINUTE + n * MICRO) for n in range(3)))
    world.turn()
    assert world.partition("well").progress.watermark == world.now + MINUTE - world.rules.lateness


def test_a_file_that_grows_moves_no_time_ahead_of_the_clock(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(story(f"ahead {n}", START + 50 * MINUTE + n) + b"\n" for n in range(9)))
    source = FileSource(Partition("a.jsonl", "file"), path, ParseRules(), clock=lambda: START)
    settings = settings_for("sqlite://")
    worker = Worker(matcher_of(topic_rules(settings)), quick_scorer, TimeRules(), settings=1)
    assert len(worker.take([source])) == 9
    assert source.partition.progress == Progress()
    source.close()


@pytest.mark.parametrize("ahead", [3 * MINUTE, 59 * MINUTE, 3 * 3600 * MICRO, 365 * 24 * 3600 * MICRO])
def test_a_producer_cannot_send_from_the_future(ahead: int, quick_scorer: Any) -> None:
    """Kafka keeps the timestamp that the producer wrote. The clock at reading bounds it."""
    undated = [json.dumps({"id": f"{n}", "title": f"Undated {n}"}).encode() for n in range(5)]
    dated = [story(f"ahead {n}", START + ahead) for n in range(5)]
    topic = MemoryTopic({0: [(n, START + ahead, value) for n, value in enumerate([*undated, *dated])]})
    feed = KafkaFeed(MemoryReader(topic, [0]), "news", ParseRules(), clock=lambda: START)
    source = KafkaSource(Partition("news/0@A", "kafka", progress=Progress(member=True)), 0, feed)
    source.put([Record(*entry) for entry in topic.records[0]])
    worker = Worker(matcher_of(topic_rules(settings_for("sqlite://"))), quick_scorer, TimeRules(), settings=1)
    taken = worker.take([source])
    assert all(s.published_at == START for s, _ in taken.stories if s.title.startswith("Undated"))
    assert [letter.reason for letter in taken.dead_letters] == (["date_in_future"] * 5 if ahead > AHEAD else [])
    watermark = source.partition.progress.watermark
    assert watermark is None or watermark <= START


# What is said about it


def test_health_metrics_doctor_and_the_log_say_because_of_what_deciding_stands_still(world: World) -> None:
    metrics.health.restart()
    metrics.health.turned()
    with capture_logs() as logs:
        goes_on(world, 9)
    why = "deciding stands still, because of rss:hung: it has not answered since 2026-02-02T02:4"
    assert [reason for reason in metrics.health.reasons() if reason.startswith(why)], metrics.health.reasons()
    assert metrics.health.report()["status"] == "failing"
    assert [line["event"] for line in logs if "standing" in line["event"]] == ["standing_still"]
    assert REGISTRY.get_sample_value("foreshock_standing_still", {"source": "rss:hung"}) == 1
    goes_on(world, 6)
    metrics.health.turned()
    assert metrics.health.reasons() == []
    assert metrics.health.report()["set_aside"] == ["rss:hung"]
    assert REGISTRY.get_sample_value("foreshock_standing_still", {"source": "rss:hung"}) is None
    assert REGISTRY.get_sample_value("foreshock_source_set_aside", {"source": "rss:hung"}) == 1
    world.sources["hung"].answers = True
    goes_on(world, 2)
    assert REGISTRY.get_sample_value("foreshock_source_set_aside", {"source": "rss:hung"}) is None
    assert "set_aside" not in metrics.health.report()


@pytest.mark.parametrize("kind", ["kafka", "rss", "file", "deadletters"])
def test_doctor_names_the_source_and_the_remedy(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with writing(connect(url, create=True)) as connection:
        long_ago = time.time_ns() // 1_000 - 3600 * MICRO
        progress.join(connection, [Partition("it", kind), Partition("fine", "rss")], TimeRules(), long_ago)
        fine = progress.load(connection)["fine"]
        progress.tick(connection, [fine], time.time_ns() // 1_000, TimeRules())
    found = CliRunner().invoke(app, ["doctor", "--store", url, "--json"])
    report = json.loads(found.stdout)
    said = [problem for problem in report["problems"] if "deciding stands still, because of it" in problem]
    assert len(said) == 1
    assert ("has not answered" in said[0]) == (kind in LIVE_KINDS)


def test_a_source_that_is_read_however_far_behind_is_no_standstill() -> None:
    rules = TimeRules()
    now = START

    def member(name: str, at: int | None, heard: int) -> Partition:
        return Partition(name, "kafka", progress=Progress(at, (), True, False), heard_at=heard)

    behind = member("behind", START - 9 * 3600 * MICRO, now - 10 * MICRO)
    assert standstill([behind, member("other", START, now)], START - 9 * 3600 * MICRO, now, rules) is None
    hung = member("hung", START - 9 * 3600 * MICRO, now - 5 * MINUTE)
    assert standstill([hung, member("other", START, now)], START - 9 * 3600 * MICRO, now, rules) is not None
    assert standstill([hung], now - MINUTE, now, rules) is None, "decided up to the clock: nothing waits"
    assert standstill([], None, now, rules) is None


def test_time_that_ran_ahead_of_the_clock_is_reported_and_no_age_is_negative(world: World) -> None:
    metrics.health.restart()
    metrics.health.turned()
    with writing(world.engine) as connection:
        connection.execute(schema.feed.update().values(decided_until=world.now + 3600 * MICRO))
    world.passes(1)
    assert any("ahead of the clock" in reason for reason in metrics.health.reasons())
    metrics.decided(time.time_ns() // 1_000 + 3600 * MICRO)
    assert REGISTRY.get_sample_value("foreshock_decided_until_age_seconds") == 0
    assert REGISTRY.get_sample_value("foreshock_decided_until_ahead_seconds") == pytest.approx(3600, abs=60)
    metrics.decided(time.time_ns() // 1_000 - 3600 * MICRO)
    assert REGISTRY.get_sample_value("foreshock_decided_until_age_seconds") == pytest.approx(3600, abs=60)
    assert REGISTRY.get_sample_value("foreshock_decided_until_ahead_seconds") == 0
    metrics.decided(None)


def test_two_runs_over_the_same_words_end_with_the_same_rows(tmp_path: Path, quick_scorer: Any) -> None:
    """The same records and the same silence, but other steps between the looks."""
    found = []
    for each in (10, 5):
        folder = tmp_path / str(each)
        folder.mkdir()
        world = World(folder, quick_scorer, "well", "hung")
        for source in world.sources.values():
            source.puts(*(story(f"{source.partition.name} {n}", START - (5 - n) * MINUTE) for n in range(5)))
        world.turn()
        world.sources["hung"].answers = False
        for minute in range(30):
            world.sources["well"].puts(story(f"on {minute}", world.now))
            world.passes(1, each=each)
        found.append(promised_rows(world.url))
    assert_same(found[0], found[1], leave_out={"feed"})
