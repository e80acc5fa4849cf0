"""A live run: the rows of a replay, time that goes on while feeds are idle, and stops that leave no trace."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rows import stored
from sqlalchemy.exc import OperationalError

from foreshock.cli import main
from foreshock.ingest.errors import FeedUnavailable, FileChanged, MissingFile, UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.files import FileFeed
from foreshock.ingest.growing import GrowingFile
from foreshock.ingest.parsing import ParseRules
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import LeaseHeld, Misconfigured, Overtaken, SourceMismatch, StoreError, StoreUnavailable
from foreshock.monitor.store import counts, open_store, progress, rss_feeds
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.monitor.watermark import TimeRules
from foreshock.observability.outage import Outage
from foreshock.processes import replay, wiring
from foreshock.processes.batches import BatchSize, Worker
from foreshock.processes.loop import Loop
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.processes.ticks import IDLE_AFTER
from foreshock.settings.load import SettingsError, load
from foreshock.settings.models import Settings
from foreshock.settings.versions import topic_rules
from foreshock.sources.feeds import Feeds
from foreshock.sources.growing_file import FileSource

pytestmark = pytest.mark.slow

START = 1_770_000_000
MICRO = 1_000_000


def settings_for(url: str, **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False}
    return load(None, flags={**values, **{k.replace("__", "."): v for k, v in flags.items()}}, environ={}).settings


def story(number: int | str, at: float, **more: Any) -> dict[str, Any]:
    rng = random.Random(str(number))
    title = " ".join(rng.choices([f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"], k=9))
    scores = {"negative": 0.5, "neutral": 0.25, "positive": 0.25}
    return {"id": f"s{number}", "title": title, "published_at": at, "source": "abc", "scores": scores, **more}


def append(path: Path, *records: dict[str, Any] | str) -> None:
    with path.open("a") as file:
        file.writelines((r if isinstance(r, str) else json.dumps(r) + "\n") for r in records)


class Desk:
    """A loop over growing files, with a clock that stands until it is moved."""

    def __init__(
        self,
        url: str,
        paths: list[Path],
        at: float,
        scorer: Any,
        *,
        live: bool = False,
        size: BatchSize | None = None,
    ) -> None:
        self.settings = settings_for(url)
        self.now = round(at * MICRO)
        self.engine = connect(url, create=True)
        rules = wiring.time_rules(self.settings)
        with reading(self.engine) as connection:
            known = progress.load(connection)
        self.sources = [
            FileSource(
                known.get(path.name) or Partition(path.name, "file"),
                path,
                self.settings.parsing().rules(),
                clock=lambda: self.now,
            )
            for path in paths
        ]
        self.feeds = Feeds(self.sources)
        self.told: list[Any] = []
        self.loop = Loop(
            self.engine,
            Worker(matcher_of(topic_rules(self.settings)), scorer, rules, settings=1, size=size),
            Closer(self.engine, rules, settings=1, clock=(lambda: self.now) if live else None),
            [self.feeds],
            rules,
            clock=lambda: self.now,
            outage=Outage("store", shortest=0.0, longest=0.0),
            on_alert=self.told.append,
        )
        self.loop.begin()

    def until(self, at: float, step: float = 1.0) -> None:
        """Let the loop turn, and the clock run, up to then."""
        end = round(at * MICRO)
        while self.now < end:
            self.now = min(self.now + round(step * MICRO), end)
            while self.loop.turn():
                pass

    def decided_until(self) -> float | None:
        from foreshock.monitor.store import counts

        with reading(self.engine) as connection:
            time = counts.decided_until(connection)
        return None if time is None else time / MICRO


WHAT_COUNTS = ("stories", "story_topics", "decisions", "buckets", "daily_state", "story_ids", "event_keys", "alerts",
               "feed_stalls", "topics")  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 900), st.floats(0, 119)), min_size=1, max_size=20),
    st.integers(0, 2**32),
)
@hypothesis_settings(max_examples=12)
def test_a_live_run_with_ticks_gives_the_rows_of_a_replay_where_nothing_came_late(
    tmp_path_factory: pytest.TempPathFactory,
    quick_scorer: Any,
    all_rows: Any,
    plan: list[tuple[int, float, float]],
    seed: int,
) -> None:
    """Two feeds, stories some minutes apart that are known within the lateness; between them both fall idle."""
    folder = tmp_path_factory.mktemp("live")
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    for path in paths:
        path.touch()
    arrivals, at = [], float(START)
    for number, (feed, gap, delay) in enumerate(plan):
        at += gap
        arrivals.append((at + delay, paths[feed], story(number, round(at, 3), topics=[f"T{number % 3}"])))
    arrivals.sort(key=lambda arrival: arrival[0])
    live, replayed = f"sqlite:///{folder / 'live.db'}", f"sqlite:///{folder / 'replayed.db'}"
    desk = Desk(live, paths, START - 1, quick_scorer)
    rng = random.Random(seed)
    for moment, path, record in arrivals:
        desk.until(moment, step=rng.choice([3.0, 41.0, 97.0]))
        append(path, record)
        while desk.loop.turn():
            pass
        if rng.random() < 0.1:  # killed, and started again
            desk = Desk(live, paths, desk.now / MICRO, quick_scorer)
    desk.loop.end(close=True)
    replay.replay(settings_for(replayed), paths, scorer=quick_scorer)
    found, expected = all_rows(live), all_rows(replayed)
    assert len(found["stories"]) == len(plan)
    for table in WHAT_COUNTS:
        assert found[table] == expected[table], table


def test_the_bucket_of_one_story_closes_after_the_lateness_though_all_feeds_are_idle(
    tmp_path: Path, quick_scorer: Any
) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        path.touch()
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", paths, START, quick_scorer)
    desk.until(START + 60)
    end = START - START % 300 + 300
    append(paths[0], story(1, START + 60))
    desk.until(end + 119)
    assert (desk.decided_until() or 0) < end
    desk.until(end + 120 + IDLE_AFTER / MICRO + 2)
    assert desk.decided_until() == end
    assert [row["ending"] for row in open_store(desk.settings.store.url).stories()] == ["scored"]


def test_time_stops_when_no_story_came_for_long_and_goes_on_with_the_next(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", [path], START, quick_scorer)
    append(path, story(1, START))
    desk.until(START + 5 * 3600, step=60)
    stopped = desk.decided_until()
    assert stopped is not None
    assert START + 3 * 3600 - 720 <= stopped <= START + 3 * 3600
    append(path, story(2, START + 5 * 3600))
    desk.until(START + 5 * 3600 + 600, step=5)
    now = desk.decided_until()
    assert now is not None
    assert now >= START + 5 * 3600


def test_a_feed_that_is_not_idle_holds_time_for_the_others(tmp_path: Path, quick_scorer: Any) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        path.touch()
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", paths, START, quick_scorer)
    desk.sources[1].at_end = lambda now: False  # type: ignore[method-assign] # it lags
    append(paths[0], story(1, START + 1))
    desk.until(START + 1200, step=5)
    assert desk.decided_until() is None
    del desk.sources[1].at_end
    desk.until(START + 1210)
    assert desk.decided_until() is not None


def test_ticks_are_written_only_when_they_let_something_happen(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", [path], START, quick_scorer)
    append(path, story(1, START))
    desk.until(START + 3000, step=1)
    # Joined, one batch, idle twice, and a tick for each of ten buckets.
    assert desk.sources[0].partition.version <= 4 + 10


def test_a_dead_letter_wakes_an_idle_feed(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    path.touch()
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", [path], START, quick_scorer)
    desk.until(START + 10)
    assert desk.sources[0].partition.progress.idle
    append(path, "no json\n")
    desk.loop.turn()
    desk.loop.turn()
    with reading(desk.engine) as connection:
        row = progress.load(connection)["a.jsonl"]
    assert row.next_offset == 1


def test_a_run_that_another_process_overtook_reads_its_place_again(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    append(path, story(1, START), story(2, START + 1))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    first, second = (Desk(url, [path], START + 5, quick_scorer) for _ in range(2))
    second.until(START + 6)
    append(path, story(3, START + 7))
    first.until(START + 9)
    assert [row["id"] for row in open_store(url).stories()] in (["s1", "s2", "s3"], ["s3", "s2", "s1"])


# Stops: what the store says was read of a source is what was committed of it.


def read_to_the_end(desk: Desk) -> None:
    for _ in range(200):
        if desk.loop.read_what_stood:
            break
        desk.loop.turn()
    assert desk.loop.read_what_stood
    desk.loop.end(close=True)


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for place, path in enumerate(paths):
        append(path, *(story(f"{place}-{n}", START + 100 * n + place, topics=["T"]) for n in range(15)))
    return paths


@pytest.fixture
def undisturbed(tmp_path: Path, two_files: list[Path], quick_scorer: Any, all_rows: Any) -> dict[str, Any]:
    url = f"sqlite:///{tmp_path / 'replayed.db'}"
    replay.replay(settings_for(url), two_files, scorer=quick_scorer)
    return {table: rows for table, rows in all_rows(url).items() if table in WHAT_COUNTS}


def test_stopped_while_it_catches_up_it_goes_on_there_as_if_undisturbed(
    tmp_path: Path,
    two_files: list[Path],
    undisturbed: dict[str, Any],
    quick_scorer: Any,
    all_rows: Any,
) -> None:
    for turns in (1, 3, 7, 8, 9):  # after the eighth, two records are in hand that fill no batch
        url = f"sqlite:///{tmp_path / f'{turns}.db'}"
        desk = Desk(url, two_files, START + 3600, quick_scorer, size=BatchSize(records=4))
        for _ in range(turns):
            desk.loop.turn()
        desk.loop.end(close=False)
        read_to_the_end(Desk(url, two_files, START + 3600, quick_scorer, size=BatchSize(records=4)))
        assert {table: all_rows(url)[table] for table in WHAT_COUNTS} == undisturbed, turns


@pytest.mark.parametrize("failures", [1, 100])
def test_a_commit_that_fails_loses_nothing_also_where_the_next_one_does_not(
    tmp_path: Path,
    two_files: list[Path],
    undisturbed: dict[str, Any],
    quick_scorer: Any,
    all_rows: Any,
    failing_commits: Callable[..., None],
    failures: int,
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    desk = Desk(url, two_files, START + 3600, quick_scorer, size=BatchSize(records=4))
    full = OperationalError("COMMIT", {}, sqlite3.OperationalError("database or disk is full"))
    failing_commits(None, *[full] * failures)
    with pytest.raises(OperationalError):
        read_to_the_end(desk)
    with contextlib.suppress(OperationalError):
        desk.loop.end(close=False)
    failing_commits()
    read_to_the_end(Desk(url, two_files, START + 3600, quick_scorer))
    assert {table: all_rows(url)[table] for table in WHAT_COUNTS} == undisturbed


@pytest.mark.parametrize("error", [StoreUnavailable("The store does not answer."), Overtaken("Another was first.")])
def test_a_first_join_that_fails_at_its_commit_is_made_again(
    tmp_path: Path, two_files: list[Path], quick_scorer: Any, failing_commits: Callable[..., None], error: Exception
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    engine = connect(url, create=True)
    with writing(engine) as connection:  # a feed that the settings no longer have
        progress.join(connection, [Partition("rss:old", "rss")], TimeRules())
    failing_commits(error)
    desk = Desk(url, two_files, START + 3600, quick_scorer)
    read_to_the_end(desk)
    assert stored(url) == 30
    with reading(engine) as connection:
        assert not progress.load(connection)["rss:old"].progress.member


def test_a_file_that_dies_for_one_reason_is_read_again_with_the_right_settings(
    tmp_path: Path, quick_scorer: Any
) -> None:
    path, url = tmp_path / "a.jsonl", f"sqlite:///{tmp_path / 'store.db'}"
    append(path, *(story(n, START, published_at=f"2026-02-02T02:{n // 60:02}:{n % 60:02}") for n in range(1_500)))
    with pytest.raises(Misconfigured, match=r"a\.jsonl.*date_without_zone"):
        run(settings_for(url, feeds=feeds(path)), until_end=True, scorer=quick_scorer)
    result = run(settings_for(url, feeds=feeds(path), time__assume_zone="UTC"), until_end=True, scorer=quick_scorer)
    assert (result.counts["records"], result.counts["dead_letters"]) == (1_500, 0)


# Files that grow


def test_a_line_is_a_record_once_its_end_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\n\n  \n{"b"')
    file = GrowingFile(path)
    first = file.next()
    assert first is not None
    assert first.data == b'{"a":1}'
    assert file.next() is None
    assert file.at_end
    append(path, ":2}\r\n")
    second = file.next()
    assert second is not None
    assert second.data == b'{"b":2}'


@given(
    st.lists(
        st.sampled_from([b"{}", b"", b" ", b'{"id":"\xff"}', b"x" * 70, b"y" * (LIMIT + 1), b"z" * (LIMIT + 70_000)]),
        max_size=8,
    )
)
@hypothesis_settings(max_examples=20)
def test_a_growing_file_has_the_records_of_a_file(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("same") / "a.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    file, found = GrowingFile(path), []
    while (record := file.next()) is not None:
        found.append((record.digest, record.size, record.flaw and record.flaw[0]))
    expected = [
        (record.digest, record.size, record.flaw and record.flaw[0])
        for _, record in FileFeed(path, rules=ParseRules())._records()
    ]
    assert found == expected
    for start in range(1, len(found) + 1):
        assert GrowingFile(path, start, found[start - 1][0]).next() is None or start < len(found)


@pytest.mark.parametrize("last", ['{"b": 2}', '{"b": 2}\r', "z" * (LIMIT + 70_000)])
def test_a_last_line_that_was_read_without_its_end_is_that_record_once_its_end_comes(tmp_path: Path, last: str) -> None:
    """`replay` takes such a line: what goes on behind it neither takes it again nor anything else in its place."""
    path = tmp_path / "a.jsonl"
    append(path, '{"a": 1}\n', last)
    digests = [digest for _, digest in FileFeed(path, rules=ParseRules()).read()]
    file, other = (GrowingFile(path, 2, digests[1]) for _ in range(2))
    assert not file.grew
    assert file.next() is None
    with pytest.raises(FileChanged, match="2 records had been read, now it has 1"):
        GrowingFile(path, 2, digests[0])
    append(path, "\n", '{"c": 3}\n')
    for reader in (file, GrowingFile(path, 2, digests[1])):
        assert reader.grew
        assert [record.data for record in iter(reader.next, None)] == [b'{"c": 3}']
    path.write_bytes(path.read_bytes().replace(last.encode() + b"\n", last.encode() + b"x\n"))
    with pytest.raises(FileChanged, match="record 1 is not what it was"):
        other.next()


def test_a_file_that_shrank_was_rotated_or_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    append(path, "{}\n", "{}\n")
    file = GrowingFile(path)
    while file.next():
        pass
    path.write_text("{}\n")
    with pytest.raises(FileChanged, match=r"wire\.jsonl.*shorter"):
        file.next()
    path.rename(tmp_path / "wire.jsonl.1")
    with pytest.raises(FileChanged, match=r"wire\.jsonl.*gone"):
        file.next()
    append(path, "{}\n", "{}\n", "{}\n")
    with pytest.raises(FileChanged, match=r"wire\.jsonl.*another file"):
        file.next()
    with pytest.raises(FileChanged, match=r"9 records had been read, now it has 3"):
        GrowingFile(path, 9)
    with pytest.raises(FileChanged, match="not what it was"):
        GrowingFile(path, 2, "0" * 32)
    with pytest.raises(MissingFile):
        GrowingFile(tmp_path / "missing.jsonl")
    with pytest.raises(UnreadableFile, match="JSON lines"):
        GrowingFile(tmp_path / "feed.csv")


# The whole command


def feeds(*paths: Path) -> list[dict[str, str]]:
    return [{"file": str(path)} for path in paths]


def test_until_end_reads_what_is_there_closes_its_buckets_and_is_a_replay(
    tmp_path: Path, quick_scorer: Any, all_rows: Any
) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for place, path in enumerate(paths):
        append(path, *(story(f"{place}-{n}", START + 200 * n, topics=["T"]) for n in range(150)), "broken\n")
    live, replayed = f"sqlite:///{tmp_path / 'live.db'}", f"sqlite:///{tmp_path / 'replayed.db'}"
    result = run(settings_for(live, feeds=feeds(*paths)), until_end=True, scorer=quick_scorer)
    assert (result.counts["scored"], result.counts["dead_letters"]) == (300, 2)
    replay.replay(settings_for(replayed), paths, scorer=quick_scorer)
    found, expected = all_rows(live), all_rows(replayed)
    for table in (*WHAT_COUNTS, "partitions", "dead_letters"):
        assert found[table] == expected[table], table
    again = run(settings_for(live, feeds=feeds(*paths)), until_end=True, scorer=quick_scorer)
    assert again.counts == result.counts
    assert all_rows(live) == found, "what has left and not grown joins not again"


@pytest.mark.parametrize("bucket", ["5m", "1h"])
def test_short_runs_do_not_move_time_past_the_clock(tmp_path: Path, quick_scorer: Any, bucket: str) -> None:
    """As a cron job has them: each story counts at its time, and is decided once its bucket is over."""
    path, url, now = tmp_path / "a.jsonl", f"sqlite:///{tmp_path / 'store.db'}", (START + 40) * MICRO
    settings = settings_for(url, feeds=feeds(path), time__bucket=bucket)
    for number in range(12):
        append(path, story(number, now / MICRO))
        now += 20 * MICRO
        run(settings, until_end=True, scorer=quick_scorer, clock=partial(int, now))
    engine = connect(url, create=False)
    with reading(engine) as connection:
        assert all(row["late"] is False for row in open_store(url).stories())
        assert (counts.decided_until(connection) or 0) <= now
    rules = wiring.time_rules(settings)
    now += rules.bucket + rules.lateness
    run(settings, until_end=True, scorer=quick_scorer, clock=lambda: now)
    with reading(engine) as connection:
        assert counts.decided_until(connection) == rules.start_of((START + 260) * MICRO) + rules.bucket
        assert counts.waiting(connection, ["a.jsonl"]) == 0


def test_a_run_without_any_source_left_closes_its_last_bucket_by_the_clock(tmp_path: Path, quick_scorer: Any) -> None:
    """As when the only feed is gone for good (410)."""
    path = tmp_path / "a.jsonl"
    append(path, *(story(n, START + n) for n in range(5)))
    desk = Desk(f"sqlite:///{tmp_path / 'store.db'}", [path], START + 10, quick_scorer, live=True)
    desk.until(START + 20)
    desk.loop.end(close=False)
    desk.feeds.sources = []
    desk.until(START + 200, 60)
    assert desk.decided_until() == START
    desk.until(START + 500, 60)
    assert desk.decided_until() == START + 300


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.02)


@contextlib.contextmanager
def running_in_a_thread(settings: Settings, scorer: Any) -> Iterator[Stop]:
    stop, errors = Stop(), list[BaseException]()

    def target() -> None:
        try:
            run(settings, stop=stop, scorer=scorer)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert errors == []


def asked(url: str) -> bool:
    """Whether an RSS feed has been asked, and its answer saved."""
    with contextlib.suppress(Exception), reading(connect(url, create=False)) as connection:
        return bool(rss_feeds.load(connection))
    return False


def test_a_run_reads_on_and_stopped_and_started_again_goes_on(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    now = time.time()
    append(path, story(1, now))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    settings = settings_for(url, feeds=feeds(path))
    with running_in_a_thread(settings, quick_scorer):
        wait_for(lambda: stored(url) == 1)
        append(path, story(2, now + 1))
        wait_for(lambda: stored(url) == 2)
        with pytest.raises(LeaseHeld, match=r"foreshock run.*process"):
            run(settings, scorer=quick_scorer)
    with reading(connect(url, create=False)) as connection:
        assert not progress.load(connection)["a.jsonl"].progress.member, "a clean stop leaves"
    append(path, story(3, now + 2))
    with running_in_a_thread(settings, quick_scorer):
        wait_for(lambda: stored(url) == 3)


def test_without_feeds_or_with_a_sorted_file_it_says_so(tmp_path: Path, quick_scorer: Any) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with pytest.raises(SettingsError, match=r"\[\[feeds\]\]"):
        run(settings_for(url), scorer=quick_scorer)
    path = tmp_path / "a.jsonl"
    append(path, story(1, START))
    replay.replay(settings_for(url), [path], sort=True, scorer=quick_scorer)
    with pytest.raises(SourceMismatch, match="sorted"):
        run(settings_for(url, feeds=feeds(path)), scorer=quick_scorer)


def test_a_rotated_file_stops_the_run_names_it_and_keeps_what_was_read(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "wire.jsonl"
    append(path, story(1, START), story(2, START + 1))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    done = list[str]()

    def rotate(*_: Any) -> Any:
        path.rename(tmp_path / "wire.jsonl.1")
        append(path, story(3, START + 2))
        return quick_scorer()

    append(path, story("unscored", START + 1, scores=None))
    with pytest.raises(FileChanged, match=r"wire\.jsonl"):
        run(settings_for(url, feeds=feeds(path)), scorer=rotate)
    assert stored(url) == 3
    with reading(connect(url, create=False)) as connection:
        assert not progress.load(connection)["wire.jsonl"].progress.member, "time does not wait for it"
    assert done == []


def test_a_database_that_fails_is_a_clear_sentence(tmp_path: Path, quick_scorer: Any) -> None:
    path = tmp_path / "a.jsonl"
    append(path, story(1, START), story("unscored", START + 1, scores=None))
    url = f"sqlite:///{tmp_path / 'store.db'}"

    def break_it() -> Any:
        with sqlite3.connect(tmp_path / "store.db") as connection:
            connection.execute("DROP TABLE stories")
        return quick_scorer()

    with pytest.raises(StoreError, match=r"store\.db failed: .*stories.*Nothing that was read is lost"):
        run(settings_for(url, feeds=feeds(path)), scorer=break_it)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_stop_it_cleanly_within_seconds(tmp_path: Path, number: signal.Signals, code: int) -> None:
    path, url = tmp_path / "a.jsonl", f"sqlite:///{tmp_path / 'store.db'}"
    append(path, story(1, time.time()))
    config = tmp_path / "desk.toml"
    config.write_text(
        f'[store]\nurl = "{url}"\n[watchlist]\ndefaults = false\n[[feeds]]\nfile = "a.jsonl"\n'
        '[[feeds]]\nrss = "http://127.0.0.1:9/none"\nallow_private = true\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "foreshock", "run", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        wait_for(lambda: stored(url) == 1 and asked(url), 60)
        process.send_signal(number)
        begun = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - begun < 8
    finally:
        process.kill()
    assert process.returncode == code, errors
    events = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert {"running", "feed failed", "stopped"} <= {event["event"] for event in events}
    with reading(connect(url, create=False)) as connection:
        assert not any(p.progress.member for p in progress.load(connection).values())


def test_a_failing_feed_fails_until_end_alone(tmp_path: Path, quick_scorer: Any) -> None:
    path, url = tmp_path / "a.jsonl", f"sqlite:///{tmp_path / 'store.db'}"
    append(path, story(1, START))
    both = [*feeds(path), {"rss": "http://127.0.0.1:9/none", "name": "dead", "allow_private": True}]
    with pytest.raises(FeedUnavailable, match="1 of 2 feeds could not be read: rss:dead"):
        run(settings_for(url, feeds=both), until_end=True, scorer=quick_scorer)
    assert stored(url) == 1


def test_a_missing_file_is_a_matter_of_usage_and_leaves_no_store(tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "desk.toml"
    config.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\n[[feeds]]\nfile = "none.jsonl"\n')
    assert main(["run", "--config", str(config)]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [config]
