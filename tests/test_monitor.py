"""The monitor as a process of its own: what it decides, who takes over from it, and what it survives."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import WordScorer
from feeds import news
from processes import Process, Processes
from rows import all_rows, assert_same
from servers import wait_until
from sqlalchemy import event, func, select, text, update
from sqlalchemy.engine import Engine
from structlog.testing import capture_logs

from foreshock.cli import main
from foreshock.ingest.files import FileFeed
from foreshock.monitor import closing, lease, rebuild
from foreshock.monitor.closing import Closer
from foreshock.monitor.errors import LeaseHeld, Overtaken, StoreUnavailable
from foreshock.monitor.store import bulk, database, progress, schema, settings_versions
from foreshock.monitor.store import counts as store_counts
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import matcher_of
from foreshock.observability import metrics
from foreshock.processes import monitor as processes_monitor
from foreshock.processes import redrive, reload, store_failures, wiring
from foreshock.processes import run as processes_run
from foreshock.processes import work as processes_work
from foreshock.processes.batches import Worker
from foreshock.processes.stop import Stop
from foreshock.settings import versions
from foreshock.settings.load import Loaded, load
from foreshock.settings.models import FeedSettings, KafkaSettings, Settings
from foreshock.settings.versions import shaping, topic_rules
from foreshock.sources.finite import FiniteSource

pytestmark = pytest.mark.slow

TAKEN_OVER_WITHIN = 15.0


def settings_for(url: str) -> Settings:
    return load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings


def feed(stories: int) -> list[bytes]:
    """Lines of a feed file whose stories all carry their scores."""
    log = news(stories, partitions=1, every=60.0, scored=1.0)
    return [line for line in log[0] if line is not None and b'"scores": null' not in line]


class Desk:
    """A feed file on its way into a store, as a worker writes it: nothing is decided here."""

    def __init__(self, url: str, folder: Path, *, stories: int = 600) -> None:
        self.url = url
        self.settings = settings_for(url)
        self.engine = connect(url, create=True)
        self.rules = wiring.time_rules(self.settings)
        self.lines = feed(stories)
        self.path = folder / "news.jsonl"
        self.path.touch()

    def write(self, until: float) -> None:
        """Bring the store's stories up to this share of the feed."""
        wanted = self.lines[: round(until * len(self.lines))]
        self.path.write_bytes(b"".join(line + b"\n" for line in wanted))
        with reading(self.engine) as connection:
            partition = progress.load(connection).get(self.path.name) or Partition(self.path.name, "file", latest=2**60)
        with writing(self.engine) as connection:
            settings_versions.adopt(connection, shaping(self.settings), resuming=None)
            (partition,) = progress.join(connection, [partition], self.rules)
        worker = Worker(matcher_of(topic_rules(self.settings)), self._no_scorer, self.rules, settings=1)
        feed = FileFeed(self.path, rules=self.settings.parsing().rules(), latest=partition.latest)
        source = FiniteSource(partition, feed)
        while len(taken := worker.take([source])):
            with writing(self.engine) as connection:
                (source.partition,) = progress.commit(connection, worker.rows(taken))

    def decided_until(self) -> int | None:
        with reading(self.engine) as connection:
            return store_counts.decided_until(connection)

    def all_decided(self) -> bool:
        with reading(self.engine) as connection:
            return closing.read_ready(connection, self.rules) is None

    def wait_until_decided(self, seconds: float = 30) -> None:
        wait_until(self.all_decided, "all buckets are decided", seconds)

    def expected(self, folder: Path) -> Any:
        """The rows of the same stories, decided at once by one closer on SQLite."""
        url = f"sqlite:///{folder / 'expected.db'}"
        desk = Desk(url, folder, stories=0)
        desk.lines = self.lines
        desk.write(len(self.path.read_bytes().splitlines()) / len(self.lines))
        list(Closer(desk.engine, desk.rules, settings=1).close())
        desk.engine.dispose()
        return all_rows(url)

    def assert_as_expected(self, folder: Path) -> None:
        folder.mkdir()
        # Whether an alert is still to be delivered is a matter of the moment; joins differ in number.
        assert_same(all_rows(self.url), self.expected(folder), leave_out={"lease", "outbox", "partitions"})

    @staticmethod
    def _no_scorer() -> Any:
        raise AssertionError("every story carries its scores")


@pytest.fixture
def desk(postgres: str, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(postgres, tmp_path)
    yield desk
    desk.engine.dispose()


def start(processes: Processes, url: str, name: str = "", **sections: Any) -> Process:
    return processes.start("monitor", config=processes.settings(store={"url": url}, **sections), name=name)


@pytest.mark.postgres
def test_a_monitor_decides_what_workers_wrote_and_stops_when_asked(
    desk: Desk, processes: Processes, tmp_path: Path
) -> None:
    monitor = start(processes, desk.url)
    for share in (0.3, 0.6, 1.0):
        desk.write(share)
        desk.wait_until_decided()
    assert monitor.stop(10) == 0
    desk.assert_as_expected(tmp_path / "expected")
    assert all_rows(desk.url)["lease"] == []  # given back


@pytest.mark.postgres
def test_a_stand_by_takes_over_from_a_killed_monitor_and_is_given_way_by_one_that_stops(
    desk: Desk, processes: Processes, tmp_path: Path
) -> None:
    desk.write(0.2)
    first = start(processes, desk.url, "first")
    first.says("deciding")
    second = start(processes, desk.url, "second")
    second.says("standing by")
    assert "process" in second.events("standing by")[0]["because"]
    desk.write(0.4)
    desk.wait_until_decided()
    first.kill()
    begun = time.monotonic()
    second.says("deciding")
    assert time.monotonic() - begun < TAKEN_OVER_WITHIN
    desk.write(0.7)
    desk.wait_until_decided()
    first.start()
    wait_until(lambda: len(first.events("standing by")) == 1, "the first stands by", 60)
    assert second.stop(10) == 0
    wait_until(lambda: len(first.events("deciding")) == 2, "the first decides again", 5)
    desk.write(1.0)
    desk.wait_until_decided()
    assert first.stop(10) == 0
    desk.assert_as_expected(tmp_path / "expected")


@pytest.mark.postgres
def test_a_monitor_that_was_paused_while_another_took_over_stands_by_and_changes_no_row(
    desk: Desk, processes: Processes, tmp_path: Path
) -> None:
    desk.write(0.3)
    zombie = start(processes, desk.url, "zombie")
    zombie.says("deciding")
    other = start(processes, desk.url, "other")
    other.says("standing by")
    desk.wait_until_decided()
    zombie.pause()
    other.says("deciding")
    desk.write(1.0)
    desk.wait_until_decided()
    before = all_rows(desk.url)
    zombie.resume()
    zombie.says("another monitor has taken over")
    zombie.says("standing by")
    assert all_rows(desk.url) == before
    desk.assert_as_expected(tmp_path / "expected")


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_closing_that_another_overtook_writes_nothing(
    store: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = request.getfixturevalue("postgres") if store == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    desk = Desk(url, tmp_path)
    desk.write(1.0)
    zombie, other = (Closer(desk.engine, desk.rules, settings=1) for _ in range(2))
    rebuilt = rebuild.rebuild
    after: dict[str, Any] = {}

    def paused(*arguments: Any) -> Any:
        monkeypatch.setattr(closing, "rebuild", rebuilt)
        thread = threading.Thread(target=lambda: list(other.close()))
        thread.start()
        thread.join()
        after.update(all_rows(url))
        return rebuilt(*arguments)

    monkeypatch.setattr(closing, "rebuild", paused)
    with pytest.raises(Overtaken):
        zombie.close_some()
    assert after["buckets"]
    assert all_rows(url) == after
    assert zombie.close_some() is None
    desk.engine.dispose()


@pytest.mark.postgres
def test_a_monitor_that_is_paused_inside_its_transaction_holds_up_the_others_for_seconds_only(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(1.0)
    patience = database._PATIENCE
    assert "idle_in_transaction_session_timeout = '10s'" in patience
    monkeypatch.setattr(database, "_PATIENCE", patience.replace("session_timeout = '10s'", "session_timeout = '1s'"))
    zombie, other = (Closer(desk.engine, desk.rules, settings=1) for _ in range(2))
    written = closing.write_rulings  # type: ignore[attr-defined]
    inside, resumed = threading.Event(), threading.Event()
    failed: list[Exception] = []

    def paused(*arguments: Any) -> None:
        monkeypatch.setattr(closing, "write_rulings", written)
        inside.set()
        resumed.wait(30)
        written(*arguments)

    def close() -> None:
        try:
            zombie.close_some()
        except StoreUnavailable as error:
            failed.append(error)

    monkeypatch.setattr(closing, "write_rulings", paused)
    thread = threading.Thread(target=close)
    thread.start()
    assert inside.wait(30)  # "decided until" is set, and its row held
    list(other.close())
    after = all_rows(desk.url)
    resumed.set()
    thread.join()
    assert len(failed) == 1
    assert all_rows(desk.url) == after
    desk.assert_as_expected(tmp_path / "expected")


@pytest.mark.postgres
def test_a_process_that_is_stopped_in_the_midst_of_a_copy_is_ended_by_those_who_wait_for_its_rows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        database, "_PATIENCE", database._PATIENCE.replace("lock_timeout = '10s'", "lock_timeout = '1s'")
    )
    monkeypatch.setattr(database, "_STUCK", database._STUCK.replace("interval '30s'", "interval '1s'"))
    inside, resumed = threading.Event(), threading.Event()
    failed: list[Exception] = []

    def copy() -> None:
        try:
            with writing(desk.engine) as connection:
                connection.execute(update(schema.feed).values(members_version=8))
                raw: Any = connection.connection.driver_connection
                with raw.cursor() as cursor, cursor.copy("COPY gaps FROM STDIN") as rows:
                    rows.write(b"news/0\t1\t2\t3\n")
                    inside.set()
                    resumed.wait(30)
        except Exception as error:
            failed.append(error)

    def write() -> None:
        with writing(desk.engine) as connection:
            connection.execute(update(schema.feed).values(members_version=7))

    thread = threading.Thread(target=copy)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(StoreUnavailable, match="lock timeout"):
        write()
    write()
    resumed.set()
    thread.join()
    assert len(failed) == 1
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.feed.c.members_version)).scalar() == 7
        assert connection.execute(select(schema.gaps)).all() == []


@pytest.mark.postgres
def test_a_monitor_outlives_its_database(own_postgres: Any, processes: Processes, tmp_path: Path) -> None:
    desk = Desk(own_postgres.url, tmp_path)
    desk.write(0.5)
    monitor = start(processes, desk.url)
    monitor.says("deciding")
    desk.wait_until_decided()
    desk.engine.dispose()
    own_postgres.crash()
    monitor.says("the store does not answer")
    time.sleep(3)
    own_postgres.start()
    monitor.says("the store answers again")
    desk.write(1.0)
    desk.wait_until_decided()
    assert len(monitor.events("the store does not answer: trying again until it does")) == 1
    assert len(monitor.events("the store answers again")) == 1
    own_postgres.crash()
    assert monitor.stop(10) == 0
    own_postgres.start()
    desk.assert_as_expected(tmp_path / "expected")
    desk.engine.dispose()


@pytest.mark.postgres
def test_changed_settings_are_in_force_from_the_next_bucket_and_unusable_ones_are_said(
    desk: Desk, processes: Processes
) -> None:
    desk.write(0.3)
    monitor = start(processes, desk.url)
    desk.wait_until_decided()
    at = desk.decided_until()
    processes.settings(store={"url": desk.url}, topics=[{"name": "banks", "names": ["bank"]}])
    monitor.says("settings have changed")
    assert "banks" in str(monitor.events("settings in force from the next bucket")[0]["differs"])
    with reading(desk.engine) as connection:
        number, body = settings_versions.newest(connection) or (0, {})
        rows = connection.execute(select(schema.settings_versions.c.in_force_from)).scalars().all()
    assert (number, [topic["name"] for topic in body["topics"]], rows) == (2, ["banks"], [None, at])
    processes.settings(store={"url": desk.url}, time={"bucket": "1h"})
    monitor.says("the changed settings are not taken")
    processes.settings(store={"url": desk.url}, time={"buckets": "1h"})
    monitor.says("the settings cannot be used")
    assert monitor.alive


def test_a_change_of_settings_or_of_a_secret_is_told_until_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "SETTINGS_SECONDS", 0.0)
    file, secret = tmp_path / "desk.toml", tmp_path / "secret"
    secret.write_text(f"whsec_{'a' * 43}=\n")
    desk = '[[webhooks]]\nname = "desk"\nurl = "https://example.com"\nsecrets_file = "secret"\n'
    file.write_text(desk)

    def read() -> Loaded:
        return load(file, environ={})

    watched = reload.SettingsFile(read, read())
    assert watched.changed() is None
    file.write_text(desk + '[[topics]]\nname = "banks"\nnames = ["bank"]\n')
    assert watched.changed() is None  # it may be half written
    first = watched.changed()  # the store may be away just now: it is told again
    assert first is not None
    assert watched.changed() == first
    watched.settle()
    assert watched.changed() is None
    secret.write_text(f"whsec_{'b' * 43}=\n")
    assert [watched.changed(), watched.changed()] == [None, first]
    watched.settle()
    file.write_text("[[topics]]\n")
    assert [watched.changed(), watched.changed()] == [None, None]  # unusable: said, and done with
    file.write_text(desk)
    assert watched.changed() is None
    assert watched.changed() is not None


def test_what_a_watchlist_or_a_file_of_secrets_held_stays_in_use_when_the_file_becomes_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a monitor that takes over later. It ended there, and so did its stand-by."""
    monkeypatch.setattr(reload, "SETTINGS_SECONDS", 0.0)
    file, names, secret = tmp_path / "desk.toml", tmp_path / "names.csv", tmp_path / "secret"
    names.write_text("name,names,tags\nAcme,Acme,held\n")
    secret.write_text(f"whsec_{'a' * 43}=\n")
    desk = '[[webhooks]]\nname = "desk"\nurl = "https://example.com"\nsecrets_file = "secret"\n'
    file.write_text(desk + '[watchlist]\nfile = "names.csv"\n[[routes]]\ntags = ["held"]\nreceivers = ["desk"]\n')

    def read() -> Loaded:
        return load(file, environ={})

    loaded = read()
    settings, before = loaded.settings, shaping(loaded.settings)
    watched = reload.SettingsFile(read, loaded)
    names.write_text("name,colour\nAcme,red\n")
    assert [watched.changed(), watched.changed(), watched.changed()] == [None, None, None], "said, and not taken"
    names.unlink()
    secret.unlink()
    assert [watched.changed(), watched.changed()] == [None, None]
    assert shaping(settings) == before
    assert versions.routing(settings).labels["Acme"].tags == {"held"}
    wiring.sending(settings, cast(Any, None), waited_for=False)
    names.write_text("name,names\nAcme,Acme\nHalden Foods,Halden\n")
    secret.write_text(f"whsec_{'a' * 43}=\n")
    assert watched.changed() is None
    found = watched.changed()
    assert found is not None
    assert "Halden Foods" in [rule.name for rule in versions.topic_rules(found)]


def test_a_change_that_needs_a_restart_is_said_and_not_used_until_then(tmp_path: Path) -> None:
    """Neither how time reads live, nor how records are read, nor how the model that is loaded computes."""
    url = f"sqlite:///{tmp_path}/store.db"
    before = settings_for(url)
    engine, file = connect(url, create=True), cast(Any, SimpleNamespace(settle=lambda: None))
    with writing(engine) as connection:
        wiring.adopt(connection, before)
    after: dict[str, Any] = {
        "time.silent_after": "20m",
        "time.max_ahead": "5m",
        "time.assume_zone": "UTC",
        "model.device": "cuda",
    }
    after |= {"limits.source_bytes": 9, "model.precision": "float32", "alerts.false_alarms": "2 per week"}
    flags = {"store.url": url, "watchlist.defaults": False, **after}
    changed = load(None, flags=flags, environ={}).settings
    workers = list[Worker]()
    loop = cast(Any, SimpleNamespace(stories=SimpleNamespace(on=False), work_with=workers.append))
    with capture_logs() as lines:
        adopted = processes_run._change(before, changed, file, engine, loop, None)
    said = [line["event"] for line in lines if "restart" in line["event"]]
    assert said == [f"[{name}] has changed: restart this process to use it" for name in ("time", "limits", "model")]
    assert (adopted.time, adopted.model, adopted.limits) == (before.time, before.model, before.limits)
    assert (adopted.alerts, len(workers)) == (changed.alerts, 1), "the rest is in force"

    decides = processes_monitor._Monitor(
        engine, lambda: Loaded(before, {}, None), Loaded(before, {}, None), Stop(), None, lambda: 0
    )
    with capture_logs() as lines:
        decides._change(changed)
        decides._change(changed)
        again = len(lines)
        decides._change(before)
    said = [line["event"].partition(" ")[0] for line in lines if "restart" in line["event"]]
    assert said == ["time.max_ahead", "time.silent_after"] * 2
    assert not any("restart" in line["event"] for line in lines[again:]), "the settings are again as at the start"

    decides._file = cast(Any, SimpleNamespace(changed=lambda: changed, settle=lambda: None))
    decides._stop.set()  # it does not wait
    with capture_logs() as lines:
        decides._stand_by("another decides")
    said = [line["event"].partition(" ")[0] for line in lines if "restart" in line["event"]]
    assert said == ["time.max_ahead", "time.silent_after"]
    assert wiring.time_rules(decides._settings) == wiring.time_rules(before), "also once it takes over"
    assert decides._settings.alerts == changed.alerts
    engine.dispose()


@pytest.mark.parametrize("error", [Overtaken("another"), StoreUnavailable("away")])
def test_what_was_committed_is_reported_whatever_fails_next(tmp_path: Path, error: Exception) -> None:
    """The closing does not report again what was sent ahead."""
    said, woken, stop = list[Any](), list[int](), Stop()
    settings = settings_for(f"sqlite:///{tmp_path}/store.db")
    decides = processes_monitor._Monitor(
        cast(Any, None), cast(Any, None), Loaded(settings, {}, None), stop, None, lambda: 0
    )
    decides._announce = said.append

    def fails(*_: Any, **__: Any) -> Any:
        stop.set()  # no wait for a store that is away
        raise error

    nothing, closer = SimpleNamespace(look=lambda: None), SimpleNamespace(close_some=lambda: None)
    ahead, held = SimpleNamespace(look=lambda: ["news"]), SimpleNamespace(holds=lambda: True)
    parts: list[Any] = [held, closer, nothing, ahead, SimpleNamespace(due=fails, step=fails), nothing]
    cast(Any, decides)._turn(*parts, lambda: woken.append(1))
    assert (said, woken) == (["news"], [1])


def test_a_run_begins_to_send_once_the_store_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop does not turn meanwhile: it is alive nevertheless, does not try without a pause, and ends if it must."""
    stop, failures = Stop(), [Overtaken("another"), StoreUnavailable("away"), StoreUnavailable("away")]
    waits, turns, sender, held = list[float](), list[int](), cast(Any, object()), SimpleNamespace(lost=False)
    monkeypatch.setattr(stop, "wait", waits.append)
    monkeypatch.setattr(metrics.health, "turned", lambda: turns.append(1))

    def begin() -> Any:
        if failures:
            raise failures.pop()
        return sender

    def begun() -> Any:
        return processes_run._begun(begin, cast(Any, held), stop)

    assert begun() is sender
    assert (len(waits), len(turns)) == (3, 4)
    assert min(waits) > 0
    held.lost = True
    with pytest.raises(LeaseHeld):
        begun()
    held.lost = False
    stop.set()
    for error in (Overtaken("another"), StoreUnavailable("away")):
        failures.append(error)
        with pytest.raises(type(error)):
            begun()


def test_a_run_does_not_start_for_ever_without_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [AssertionError("tried again"), StoreUnavailable("away")]

    class Sender:
        def __enter__(self) -> Sender:
            raise errors.pop()

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(store_failures, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(wiring, "sending", lambda *_, **__: Sender())
    (tmp_path / "news.jsonl").write_text("")
    feeds = (FeedSettings(file=tmp_path / "news.jsonl"),)
    settings = settings_for(f"sqlite:///{tmp_path}/store.db").model_copy(update={"feeds": feeds})
    with pytest.raises(StoreUnavailable, match="away"):
        processes_run.run(settings, scorer=WordScorer)


def test_a_worker_lives_with_settings_of_alerts_that_only_a_newer_monitor_knows() -> None:
    known = shaping(Settings())
    alerts = {**known["alerts"], "false_alarms": "2 per week"}
    shares = {**alerts["shares"], "bad_news": 0.5, "of_a_newer_version": 0.2}
    newer = {**known, "alerts": {**alerts, "shares": shares, "of_a_newer_version": 1}}
    with capture_logs() as lines:
        found = processes_work._taken(Settings(), newer)
    assert found.alerts.false_alarms == "2 per week"
    del shares["of_a_newer_version"]
    assert shaping(found)["alerts"] == {**alerts, "shares": shares}
    assert [line["settings"] for line in lines] == [["alerts.of_a_newer_version", "alerts.shares.of_a_newer_version"]]


def test_a_worker_names_the_settings_of_rows_that_it_does_not_know_and_keeps_its_own() -> None:
    known = shaping(load(flags={"topics": [{"name": "oil", "names": ["oil"]}]}, environ={}).settings)
    for section, name in (("ingest", "ingest.newer"), ("topics", "topics[1].newer")):
        at = known.get(section, {})
        newer = {**known, section: [{**at[0], "newer": 1}] if isinstance(at, list) else {**at, "newer": 1}}
        with capture_logs() as lines:
            assert processes_work._taken_if_known(Settings(), newer) is None
        assert [(line["event"], name in line["because"]) for line in lines] == [(reload.NOT_TAKEN, True)]


def test_a_worker_whose_own_map_is_not_the_one_in_force_says_so() -> None:
    kafka = KafkaSettings(map={"title": "headline"})
    own = Settings(kafka=kafka)
    for monitors, warnings in ((Settings(), 1), (own, 0), (Settings(kafka=KafkaSettings(map={"title": "text"})), 1)):
        with capture_logs() as lines:
            processes_work._say_other_map(kafka, versions.in_force(own, shaping(monitors)))
        assert ["is not used" in line["event"] for line in lines] == [True] * warnings


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes a file empties it first, and an empty file is valid."""
    monkeypatch.setattr(reload, "SETTINGS_SECONDS", 0.0)
    file = tmp_path / "desk.toml"
    file.write_text('[[topics]]\nname = "banks"\nnames = ["bank"]\n')
    wanted = '[[topics]]\nname = "oil"\nnames = ["oil"]\n'
    written: list[str] = []

    def read() -> Loaded:
        found = load(file, environ={})
        for content in written:
            file.write_text(content)
        written.clear()
        return found

    watched = reload.SettingsFile(read, read())
    file.write_text("")
    assert watched.changed() is None
    written.append(wanted)
    assert [watched.changed() for _ in range(2)] == [None, None], "what was read is old already"
    found = watched.changed()
    assert found is not None
    assert [topic.name for topic in found.topics] == ["oil"]
    watched.settle()
    assert watched.changed() is None


def test_a_stand_by_outlives_a_store_that_goes_away_while_its_settings_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "SETTINGS_SECONDS", 0.0)
    monkeypatch.setattr(processes_monitor, "STAND_BY_SECONDS", 0.0)
    file, stop, looked = tmp_path / "desk.toml", Stop(), list[Settings]()
    file.write_text("")

    def held(*_: Any, **__: Any) -> Any:
        raise LeaseHeld("another decides")

    def refuse_other(_: Any, settings: Settings) -> None:
        looked.append(settings)
        if len(looked) == 1:  # at its start
            file.write_text('[[topics]]\nname = "banks"\nnames = ["bank"]\n')
        elif len(looked) == 2:
            raise StoreUnavailable("away")
        else:
            stop.set()

    monkeypatch.setattr(lease, "held", held)
    monkeypatch.setattr(processes_monitor._Monitor, "_refuse_other", refuse_other)

    def read() -> Loaded:
        return load(file, environ={})

    engine: Any = SimpleNamespace(dialect=SimpleNamespace(name="postgresql"))
    processes_monitor._Monitor(engine, read, read(), stop, None, lambda: 0).run()
    assert [len(settings.topics) for settings in looked] == [0, 1, 1]


def test_a_stand_by_collects_garbage_as_usual_and_the_one_that_decides_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-by gained 4 MB a minute: each look at the lease left cycles, which nobody looked for."""
    monkeypatch.setattr(processes_monitor, "STAND_BY_SECONDS", 0.0)
    stop, looks, usual = Stop(), list[tuple[str, int]](), gc.get_threshold()[0]

    @contextlib.contextmanager
    def held(*_: Any, **__: Any) -> Iterator[Any]:
        looks.append(("looks", gc.get_threshold()[0]))
        if len(looks) != 2:  # it decides once, and stands by again
            raise LeaseHeld("another decides")
        yield None

    def decide_while(*_: Any) -> None:
        looks.append(("decides", gc.get_threshold()[0]))

    def stand_by(self: Any, _: str) -> None:
        if len(looks) > 3:
            stop.set()

    monkeypatch.setattr(lease, "held", held)
    monkeypatch.setattr(processes_monitor._Monitor, "_refuse_other", lambda *_: None)
    monkeypatch.setattr(processes_monitor._Monitor, "_decide_while", decide_while)
    monkeypatch.setattr(processes_monitor._Monitor, "_stand_by", stand_by)

    def read() -> Loaded:
        return load(tmp_path / "desk.toml", environ={})

    (tmp_path / "desk.toml").write_text("")
    engine: Any = SimpleNamespace(dialect=SimpleNamespace(name="postgresql"))
    processes_monitor._Monitor(engine, read, read(), stop, None, lambda: 0).run()
    assert [looks[0], looks[1], looks[3]] == [("looks", usual)] * 3
    assert looks[2][0] == "decides"
    assert looks[2][1] > usual


@pytest.mark.postgres
def test_a_stand_by_with_settings_that_the_store_cannot_take_says_so_before_it_is_needed(
    desk: Desk, processes: Processes
) -> None:
    desk.write(0.3)
    first = start(processes, desk.url)
    first.says("deciding")
    other = processes.settings("other.toml", store={"url": desk.url}, time={"bucket": "1h"})
    second = processes.start("monitor", config=other)
    assert second.wait(60) == 2
    assert "created with other settings" in second.text()
    processes.settings("other.toml", store={"url": desk.url})
    second.start()
    second.says("standing by")
    processes.settings("other.toml", store={"url": desk.url}, time={"bucket": "1h"})
    second.says("the changed settings are not taken")
    first.kill()
    second.says("deciding")


@pytest.mark.postgres
def test_dead_letters_are_fed_again_beside_a_monitor_which_decides_them(desk: Desk, processes: Processes) -> None:
    for place in range(10, 60, 10):  # five without a zone
        record = json.loads(desk.lines[place])
        at = datetime.fromtimestamp(record["published_at"], UTC).replace(tzinfo=None).isoformat()
        desk.lines[place] = json.dumps({**record, "published_at": at, "id": f"dead-{place}"}).encode()
    desk.write(1.0)
    monitor = start(processes, desk.url)
    monitor.says("deciding")
    processes.settings(store={"url": desk.url}, time={"assume_zone": "UTC"})
    monitor.says("settings have changed")
    # Fed with these settings, which name no zone: those in force in the store count.
    assert "5 records were fed" in redrive.replay_dead_letters(desk.settings).notes[-1]
    assert redrive.replay_dead_letters(desk.settings).notes == []
    with reading(desk.engine) as connection:
        members = {name for name, p in progress.load(connection).items() if p.progress.member}
    assert members == {"news.jsonl"}
    desk.lines += feed(900)[len(desk.lines) :]
    desk.write(1.0)
    desk.wait_until_decided()
    with reading(desk.engine) as connection:
        counts = store_counts.ends(connection, ["deadletters-0001"])
    assert (counts["scored"], counts["dead_letters"], counts["late"]) == (5, 0, 5)


def test_a_second_monitor_of_a_sqlite_store_is_refused_and_told_who_holds_it(
    processes: Processes, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    first = start(processes, url, "first")
    first.says("deciding")
    second = start(processes, url, "second")
    assert second.wait(30) == 1
    assert "is being written by `foreshock monitor` (process" in second.text()
    first.signal(signal.SIGINT)
    assert first.wait(60) == 130


# The lease.


@pytest.mark.postgres
def test_a_lease_has_one_holder_who_is_named_and_gives_it_back(desk: Desk) -> None:
    with lease.held(desk.url, "run") as first:
        assert first.holds()
        begun = time.monotonic()
        with pytest.raises(LeaseHeld, match=rf"`foreshock run` \(.*process {os.getpid()}, since 20.*Z\)"):
            _hold(desk.url)
        assert time.monotonic() - begun < lease.LASTS_SECONDS
    _hold(desk.url)


def _hold(url: str) -> None:
    with lease.held(url, "replay"):
        pass


@pytest.mark.postgres
def test_the_lease_of_the_dead_is_waited_for(desk: Desk) -> None:
    with writing(desk.engine) as connection:
        connection.execute(
            text(
                "INSERT INTO lease VALUES (1, 'the dead', 'x', "
                "(extract(epoch from clock_timestamp()) * 1000000)::bigint + 1500000)"
            )
        )
    with pytest.raises(LeaseHeld, match="the dead"), lease.held(desk.url, "monitor", wait_for_expiry=False):
        pass
    begun = time.monotonic()
    _hold(desk.url)
    assert 0.5 < time.monotonic() - begun < 5


@pytest.mark.postgres
def test_a_holder_that_could_not_renew_does_not_hold_and_learns_who_does(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LASTS_SECONDS", 0.6)
    monkeypatch.setattr(lease, "RENEWED_EACH_SECONDS", 2.0)  # as if it had paused
    with lease.held(desk.url, "monitor") as first:
        assert first.holds()
        time.sleep(0.7)
        assert not first.holds()
        assert not first.lost
        monkeypatch.setattr(lease, "RENEWED_EACH_SECONDS", 0.2)
        with lease.held(desk.url, "monitor") as second:
            wait_until(lambda: first.lost, "the first knows", 5)
            assert second.holds()
            assert not first.holds()


# What PostgreSQL says.


@pytest.mark.postgres
def test_of_two_transactions_that_write_one_row_the_second_is_overtaken(desk: Desk) -> None:
    def both() -> None:
        with writing(desk.engine) as second:
            second.execute(select(schema.feed)).all()  # its snapshot
            with writing(desk.engine) as first:
                first.execute(update(schema.feed).values(members_version=7))
            second.execute(update(schema.feed).values(members_version=8))

    with pytest.raises(Overtaken):
        both()
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.feed.c.members_version)).scalar() == 7


@pytest.mark.postgres
def test_two_that_join_at_once_both_become_members_after_one_was_overtaken(desk: Desk) -> None:
    overtaken: list[str] = []
    at_once = threading.Barrier(2)

    def join(name: str) -> None:
        first = True
        while True:
            try:
                with writing(desk.engine) as connection:
                    connection.execute(select(schema.feed)).all()
                    if first:
                        first = False
                        at_once.wait(10)
                    progress.join(connection, [Partition(name, "kafka"), Partition("news/0", "kafka")], desk.rules)
                return
            except Overtaken:
                overtaken.append(name)

    threads = [threading.Thread(target=join, args=(name,)) for name in ("news/1", "news/2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with reading(desk.engine) as connection:
        members = {name for name, p in progress.load(connection).items() if p.progress.member}
        assert connection.execute(select(schema.feed.c.members_version)).scalar() == 2
    assert members == {"news/0", "news/1", "news/2"}
    assert len(overtaken) == 1


@pytest.mark.postgres
def test_a_partition_that_two_insert_at_once_is_the_first_ones(desk: Desk) -> None:
    def insert_again() -> None:
        with writing(desk.engine) as connection:
            progress.leave(connection, [Partition("news/0", "kafka")])

    insert_again()
    with pytest.raises(Overtaken):
        insert_again()


@pytest.mark.postgres
@pytest.mark.parametrize("in_copy", [False, True])
def test_a_connection_that_breaks_makes_the_store_unavailable_and_the_next_one_works(desk: Desk, in_copy: bool) -> None:
    def broken() -> None:
        with writing(desk.engine) as connection:
            pid = connection.execute(select(func.pg_backend_pid())).scalar()
            with writing(desk.engine) as other:
                other.execute(select(func.pg_terminate_backend(pid, 5_000)))
            if in_copy:
                bulk.insert(connection, schema.topics, [{"topic": "a", "first_story_at": 1, "last_story_at": 1}])
            else:
                connection.execute(update(schema.feed).values(members_version=7))

    with pytest.raises(StoreUnavailable):
        broken()
    with reading(desk.engine) as connection:
        assert connection.execute(select(schema.feed.c.members_version)).scalar() == 0


def test_nobody_at_the_address_is_unavailable_too() -> None:
    with pytest.raises(StoreUnavailable, match=r"u:\*\*\*@localhost:1/d cannot be opened\. The store does not"):
        connect("postgresql://u:secret@localhost:1/d", create=True)


@pytest.mark.postgres
def test_processes_that_start_together_on_an_empty_database_make_one_schema(empty_postgres: str) -> None:
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(connect(empty_postgres, create=True))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(engines) == 4
    for engine in engines:
        engine.dispose()


@pytest.mark.postgres
def test_any_value_comes_back_from_a_copy_as_it_went_in(desk: Desk) -> None:
    texts = ["", "\\N", "\\.", "a\tb\nc\rd\\e", "\x01\x1f\x7f", "'\"", "ä€😀", "\\\\x41", " "]
    rows = [
        {
            "partition": f"p{number}{value}",
            "offset": -number,
            "reason": value,
            "detail": value[::-1],
            "raw": bytes(range(256)) * number + value.encode(),
            "size": 2**62 + number,
            "replayed_as": value if number % 2 else None,
            "settings": 1,
            "ingested_at": 0,
        }
        for number, value in enumerate(texts)
    ]
    with writing(desk.engine) as connection:
        bulk.insert(connection, schema.dead_letters, rows)
    with reading(desk.engine) as connection:
        found = connection.execute(select(schema.dead_letters).order_by(schema.dead_letters.c.size)).mappings().all()
    assert [dict(row) for row in found] == rows


@pytest.mark.parametrize("store", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_gap_is_recorded_and_the_newest_settings_are_found(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres") if store == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    engine = connect(url, create=True)
    with writing(engine) as connection:
        assert settings_versions.newest(connection) is None
        for number in (1, 2):
            settings_versions.adopt(connection, {"topics": [{"name": f"t{number}"}]}, resuming=None)
        progress.record_gap(connection, "news/0", 10, 25, 99)
    with reading(engine) as connection:
        assert settings_versions.newest(connection) == (2, {"topics": [{"name": "t2"}]})
        assert connection.execute(select(schema.gaps)).all() == [("news/0", 10, 25, 99)]
    engine.dispose()


# A store that cannot be written.


@pytest.mark.parametrize(
    ("pragma", "says"), [("PRAGMA max_page_count = 150", "full"), ("PRAGMA query_only = 1", "readonly")]
)
def test_a_store_that_is_full_or_read_only_stops_with_exit_1_and_goes_on_when_mended(
    pragma: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_WATCHLIST__DEFAULTS", "false")
    monkeypatch.setenv("FORESHOCK_METRICS__LISTEN", "")
    (tmp_path / "news.jsonl").write_bytes(b"".join(line + b"\n" for line in feed(2_000)))
    Path("desk.toml").write_text('[[feeds]]\nfile = "news.jsonl"\n')

    def run(store: str) -> int:
        return main(["run", "--until-end", "--config", "desk.toml", "--store", f"sqlite:///{store}"])

    assert run("whole.db") == 0
    connect("sqlite:///mended.db", create=True).dispose()
    with _on_connect(pragma):
        assert run("mended.db") == 1
    assert says in capsys.readouterr().err
    assert run("mended.db") == 0
    assert_same(all_rows("sqlite:///mended.db"), all_rows("sqlite:///whole.db"))


@contextlib.contextmanager
def _on_connect(pragma: str) -> Iterator[None]:
    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute(pragma)

    event.listen(Engine, "connect", on_connect)
    try:
        yield
    finally:
        event.remove(Engine, "connect", on_connect)
