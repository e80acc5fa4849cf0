"""Sources that end, in the loop of live feeds: held back until due, left with their last batch, ended by an error."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.memory import MemoryFeed
from foreshock.monitor.errors import Overtaken, StoreUnavailable
from foreshock.monitor.store import counts, open_store, progress
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.progress import Partition
from foreshock.observability.outage import BackOff
from foreshock.processes import loop
from foreshock.processes.batches import BatchSize
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.sources.finite import FiniteSource, FiniteSources

pytestmark = pytest.mark.slow

START = 1_770_000_000


def settings_for(url: str) -> Settings:
    return load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings


def stories(count: int, every: int = 200) -> list[bytes]:
    return [
        json.dumps({"id": f"s{n}", "title": f"Story number {n} of them", "published_at": START + n * every}).encode()
        for n in range(count)
    ]


def file_of(path: Path, records: list[bytes]) -> Path:
    path.write_bytes(b"".join(record + b"\n" for record in records))
    return path


def test_a_story_is_held_back_until_it_is_due_and_returned_once() -> None:
    clock = [float(START)]
    feed = MemoryFeed("a", [*stories(2, 60), b"not json"])
    source = FiniteSource(Partition("a", "file"), feed, lambda event_time: event_time / 1e6 - clock[0])
    group = FiniteSources([source])
    first = source.next()
    assert first is not None
    assert source.next() is None
    assert source.next() is None
    assert not group.finished(dict)
    waits = list[float]()
    group.wait(0.5, waits.append)
    assert waits == [60.0]
    clock[0] += 60
    returned = [source.next(), source.next(), source.next()]
    assert [found is None for found in returned] == [False, False, True]
    assert group.finished(dict)


def test_a_source_that_has_more_than_is_stored_stays_a_member() -> None:
    source = FiniteSource(stored := Partition("a", "file"), MemoryFeed("a", stories(1)))
    assert source.stays(stored)
    source.next()
    source.partition = Partition("a", "file", next_offset=1)
    assert source.next() is None
    assert source.over
    assert source.stays(stored), "its last record is not committed"
    assert not source.stays(source.partition)


def test_a_file_leaves_in_the_transaction_of_its_last_batch(tmp_path: Path, quick_scorer: Any) -> None:
    url, path = f"sqlite:///{tmp_path / 'store.db'}", file_of(tmp_path / "news.jsonl", stories(25))
    members = list[bool]()

    def look(_: Any) -> None:
        with reading(connect(url, create=False)) as connection:
            members.append(progress.load(connection)[path.name].progress.member)

    replay(settings_for(url), [path], scorer=quick_scorer, batch_size=BatchSize(records=10), on_progress=look)
    assert members == [True, True, False]


@pytest.mark.parametrize("error", [StoreUnavailable("The store does not answer."), Overtaken("Another was first.")])
def test_a_replay_goes_on_after_each_write_that_the_store_refused_for_a_moment(
    tmp_path: Path,
    quick_scorer: Any,
    all_rows: Any,
    failing_commits: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    path, urls = file_of(tmp_path / "news.jsonl", stories(40)), [f"sqlite:///{tmp_path / n}.db" for n in "ab"]
    small = BatchSize(records=10)
    monkeypatch.setattr(BackOff, "failed", lambda *_: 0.0)
    failing_commits(None, None, error, None, None, error)
    for url in urls:
        result = replay(settings_for(url), [path], scorer=quick_scorer, batch_size=small)
        assert result.counts["scored"] == 40
    assert all_rows(urls[0]) == all_rows(urls[1])


def test_a_file_whose_last_commit_was_made_although_nobody_heard_does_not_join_again() -> None:
    source, other = (FiniteSource(Partition(name, "file"), MemoryFeed(name, stories(2))) for name in "ab")
    group = FiniteSources([source, other])
    while source.next() is not None:
        source.partition = replace(source.partition, next_offset=source.partition.next_offset + 1)
    other.next()
    left = Partition("a", "file", next_offset=2, version=3)
    group.restart({"a": left}, cast(Any, None))
    assert group.sources == [other]
    assert other.next() is not None, "its record was void"


def test_a_replay_ends_with_the_error_of_a_store_that_stays_away_and_the_next_one_goes_on(
    tmp_path: Path,
    quick_scorer: Any,
    all_rows: Any,
    failing_commits: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, urls = file_of(tmp_path / "news.jsonl", stories(40)), [f"sqlite:///{tmp_path / n}.db" for n in "ab"]
    small = BatchSize(records=10)
    monkeypatch.setattr(loop, "PATIENCE_SECONDS", 0.0)
    failing_commits(None, None, StoreUnavailable("The store does not answer."))
    with pytest.raises(StoreUnavailable):
        replay(settings_for(urls[0]), [path], scorer=quick_scorer, batch_size=small)
    failing_commits()
    for url in urls:
        replay(settings_for(url), [path], scorer=quick_scorer, batch_size=small)
    assert all_rows(urls[0]) == all_rows(urls[1])


def test_what_was_read_before_a_damage_is_stored_and_decided(tmp_path: Path, quick_scorer: Any) -> None:
    url, path = f"sqlite:///{tmp_path / 'store.db'}", tmp_path / "news.jsonl.gz"
    records = [b'%s, "body": "%d"}' % (story[:-1], 7**number) for number, story in enumerate(stories(900))]
    packed = gzip.compress(b"".join(record + b"\n" for record in records))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableFile):
        replay(settings_for(url), [path], scorer=quick_scorer, batch_size=BatchSize(records=50))
    stored = len(list(open_store(url).stories()))
    with reading(connect(url, create=False)) as connection:
        decided_until = counts.decided_until(connection)
        reached = progress.load(connection)[path.name]
    assert 0 < stored < len(records)
    assert reached.next_offset == stored
    assert reached.progress.member, "event time waits for the rest"
    assert decided_until is not None
    assert decided_until == (reached.progress.watermark or 0) // 300_000_000 * 300_000_000


@given(st.floats(0.1, 10), st.floats(10, 1000), st.lists(st.one_of(st.none(), st.floats(0, 2000)), max_size=40))
def test_waits_grow_to_the_longest_and_start_over(
    shortest: float, longest: float, failures: list[float | None]
) -> None:
    """None: it worked."""
    back_off, in_a_row = BackOff(shortest, longest, spread=0.5), 0
    for at_least in failures:
        if at_least is None:
            back_off.worked()
            in_a_row = 0
            continue
        wait = back_off.failed(at_least)
        whole = min(longest, max(shortest * 2**in_a_row, at_least))
        in_a_row += 1
        assert back_off.failures == in_a_row
        assert whole / 2 <= wait <= whole
