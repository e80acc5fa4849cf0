"""What stands still is said within a minute, by the pages and by `doctor` alike; and what failed to be delivered."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from test_dashboard import show, words

from foreshock.cli import main
from foreshock.monitor.store import liveness
from foreshock.monitor.store.liveness import STOPPED_AFTER, Answers
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.rss_feeds import RssFeed
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import Progress, TimeRules
from foreshock.processes.ticks import HEARD_EVERY

__all__ = ["show"]

Show = Callable[..., AppTest]
NOW = 1_790_000_000 * SECOND


def source(name: str, *, heard: int | None, kind: str = "rss", member: bool = True) -> Partition:
    progress = Progress(watermark=NOW, member=member, idle=True)
    return Partition(name, kind, progress=progress, heard_at=None if heard is None else NOW - heard * SECOND)


def answers(*partitions: Partition, feeds: dict[str, RssFeed] | None = None, decided: bool | None = None) -> Answers:
    return Answers(partitions, feeds or {}, decided)


def said(found: Answers) -> list[str]:
    return [trouble.said for trouble in liveness.troubles(found, NOW, NOW, TimeRules())]


@given(st.lists(st.integers(0, 29), min_size=1, max_size=5), st.integers(0, 3600))
def test_a_stop_is_said_within_a_minute_and_never_before_it(noted: list[int], stopped: int) -> None:
    """A process that runs notes each source at least every 30 seconds; one that stopped notes nothing.

    So `stopped` seconds after the end: nothing is said of a running process, and all is said after 50 seconds.
    """
    found = answers(*(source(f"s{n}", heard=stopped + age) for n, age in enumerate(noted)))
    since = liveness.stopped_since(found, NOW)
    if stopped == 0:
        assert since is None
    if stopped * SECOND > STOPPED_AFTER:
        assert since == NOW - (stopped + min(noted)) * SECOND
        assert said(found)[0].startswith("No process reads this store")
    assert STOPPED_AFTER >= HEARD_EVERY + 15 * SECOND, "a slow loop is not taken for a stop"
    assert STOPPED_AFTER + 5 * SECOND <= 60 * SECOND, "and a page that refreshes every five seconds says it in a minute"


def test_a_poll_is_an_answer() -> None:
    polled = RssFeed("a", "http://a", polled_at=NOW - 10 * SECOND)
    assert said(answers(source("a", heard=300), feeds={"a": polled})) == []


def test_a_dead_feed_is_named_while_others_go_on() -> None:
    dead = RssFeed("b", "http://b", polled_at=NOW - 400 * SECOND, failures=3, last_error="the server answered 503")
    found = answers(source("a", heard=5), source("b", heard=400), feeds={"b": dead})
    assert said(found) == ["The feed b failed 3 times in a row: the server answered 503"]


def test_a_feed_that_fails_alone_is_not_taken_for_a_stopped_process() -> None:
    name = "rss:my b"
    dead = RssFeed(name, "http://b", polled_at=NOW - 400 * SECOND, failures=9, last_error="refused.")
    (trouble,) = liveness.troubles(answers(source(name, heard=400), feeds={name: dead}), NOW, NOW, TimeRules())
    assert trouble.said == "The feed my b failed 9 times in a row: refused", "a page adds the full stop"
    assert trouble.remedy == "Try it: foreshock feeds try 'my b'"


def test_a_store_that_only_a_replay_read_has_no_process() -> None:
    assert said(answers(source("news.jsonl", heard=None, kind="file"))) == []
    assert said(answers(source("a", heard=4_000, member=False))) == []


def test_a_store_without_a_decider_says_so() -> None:
    assert said(answers(source("a", heard=5), decided=False)) == ["No process decides this store"]
    assert said(answers(source("a", heard=5), decided=True)) == []


@pytest.fixture
def live_store(crisis_store: Path, tmp_path: Path) -> Path:
    """The crisis, which an RSS feed brought until 70 seconds ago."""
    store = Path(shutil.copy(crisis_store, tmp_path / "live.db"))
    now = time.time_ns() // 1_000
    with sqlite3.connect(store) as connection:
        connection.execute(
            "UPDATE partitions SET kind = 'rss', member = 1, idle = 1, heard_at = ?", (now - 70 * SECOND,)
        )
        # Two hours ago by the clock, not by the newest bucket.
        connection.execute("UPDATE alerts SET fired_at = ? WHERE state = 'firing'", (now - 7_200 * SECOND,))
        connection.execute("UPDATE incidents SET started_at = ? WHERE state = 'open'", (now - 7_200 * SECOND,))
    return store


@pytest.mark.slow
def test_the_pages_say_that_no_process_reads_and_count_ages_by_the_clock(show: Show, live_store: Path) -> None:
    page = words(show("now", live_store))
    assert "No process reads this store: nothing was heard of one since" in page
    assert "Stale" not in page, "the cause is said already"
    assert "for 2 h" in page
    assert "stands still" in words(show("health", live_store))


@pytest.mark.slow
def test_doctor_says_the_same(
    live_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(live_store.parent)
    assert main(["doctor", "--json", "--store", f"sqlite:///{live_store}"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any(
        problem.startswith("No process reads this store: nothing was heard of one since") for problem in problems
    )


@pytest.mark.slow
def test_health_lists_what_was_not_delivered_with_its_answer_and_what_to_do(
    show: Show, crisis_store: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copy(crisis_store, tmp_path / "parked.db"))
    now = time.time_ns() // 1_000
    with sqlite3.connect(store) as connection:
        alert, event = connection.execute("SELECT alert_id, event FROM outbox ORDER BY decided_at DESC").fetchone()
        connection.execute("UPDATE outbox SET state = 'dispatched' WHERE alert_id = ?", (alert,))
        row = (
            "INSERT INTO deliveries (alert_id, event, receiver, state, attempts, next_attempt_at, tried_at,"
            " delivered_at, last_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        connection.execute(row, (alert, event, "pager desk", "parked", 9, None, now, None, "answered 410 Gone"))
        connection.execute(row, (alert, event, "wiki", "waiting", 2, now + 60 * SECOND, now, None, "timed out"))
        connection.execute(row, (alert, event, "log", "delivered", 1, None, now, now, None))
        digest = "INSERT INTO digests (id, reason, name, begins_at, ends_at, due_at) VALUES (?, ?, ?, ?, ?, ?)"
        connection.execute(digest, ("a-digest", "scheduled", "morning", now, now, now))
        connection.execute(row, ("a-digest", "digest", "chat", "parked", 9, None, now, None, "answered 404"))
    page = words(show("health", store))
    assert "foreshock alerts resend --to &#39;pager desk&#39;" in page
    assert "answered 410 Gone" in page
    assert "nothing: it is tried again" in page
    assert "timed out" in page
    assert "chat digest parked" in page
    assert "answered 404" in page


@pytest.mark.slow
def test_without_a_message_in_trouble_no_list_of_them_is_shown(show: Show, crisis_store: Path) -> None:
    page = words(show("health", crisis_store))
    assert "Messages that were not delivered" not in page
    assert "withheld: decided by a replay" in page
