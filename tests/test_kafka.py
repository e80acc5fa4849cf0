"""A real broker, read by `foreshock run` and `foreshock worker`: the rows of a replay, alerts in time, poison among
good, topics that change."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from feeds import START, Log, news
from processes import Processes
from rows import assert_same, promised_rows, stored
from servers import Broker, wait_until
from sqlalchemy import select

from foreshock.ingest.errors import IngestError
from foreshock.monitor.errors import Misconfigured, StoreError
from foreshock.monitor.store import counts, open_store, schema
from foreshock.monitor.store.database import connect, reading
from foreshock.observability.metrics import health
from foreshock.processes import redrive, replay
from foreshock.processes.run import run
from foreshock.processes.stop import Stop
from foreshock.processes.work import work
from foreshock.settings.load import load
from foreshock.settings.models import Settings

pytestmark = pytest.mark.kafka

MICRO = 1_000_000
HOURLY = {"time__bucket": "1h"}
"""For the crisis: its four weeks have a sixth of the buckets then."""


def settings_for(url: str, broker: Broker, topic: str, **flags: Any) -> Settings:
    values = {
        "store.url": url,
        "watchlist.defaults": False,
        "metrics.listen": "",
        "kafka.bootstrap_servers": broker.bootstrap,
        "kafka.topic": topic,
        "kafka.group": topic,
    }
    return load(None, flags={**values, **{k.replace("__", "."): v for k, v in flags.items()}}, environ={}).settings


def published_at(value: bytes | None) -> float:
    try:
        return float(json.loads(value or b"")["published_at"])
    except (ValueError, KeyError, TypeError):
        return START


def produce(broker: Broker, topic: str, log: Log) -> None:
    """Make the topic with a partition for each of the log's, and its records."""
    broker.create_topic(topic, len(log))
    send(broker, topic, log)


def send(broker: Broker, topic: str, log: Log) -> None:
    """Records, each with its event time as its timestamp."""
    broker.produce(topic, ((n, v, round(published_at(v) * 1000)) for n, values in log.items() for v in values))


def in_time_order(path: Path, log: Log) -> Path:
    """The same records in one file, in the order of their event times."""
    values = [value for partition in log.values() for value in partition if value is not None]
    path.write_bytes(b"".join(value + b"\n" for value in sorted(values, key=published_at)))
    return path


@contextlib.contextmanager
def running(start: Callable[..., Any], settings: Settings, **more: Any) -> Iterator[None]:
    """`run` or `work` in a thread, stopped at the end; what it raised is raised."""
    stop, errors = Stop(), list[BaseException]()

    def target() -> None:
        try:
            start(settings, stop=stop, **more)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        if errors:
            raise errors[0]


def read(url: str, table: Any) -> list[Any]:
    engine = connect(url, create=False)
    try:
        with reading(engine) as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key.columns)))
    finally:
        engine.dispose()


def partitions(url: str) -> dict[str, Any]:
    with contextlib.suppress(StoreError):
        return {row.partition: row for row in read(url, schema.partitions)}
    return {}


def story(number: int | str, at: float, **more: Any) -> bytes:
    title = f"Story {number} of {at} on nothing in particular at all"
    return json.dumps({"id": f"s{number}", "title": title, "published_at": at, "topics": ["T"], **more}).encode()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


# The rows of a replay.


@pytest.fixture(scope="module")
def crisis() -> Log:
    """Three weeks of the demo's feed, up to a day and a half into its crisis, over four partitions in time order."""
    from datetime import timedelta

    from foreshock.demo import generator

    until = (generator.truth(7).crisis.start + timedelta(hours=36)).timestamp()
    begin = until - timedelta(weeks=3).total_seconds()
    log: Log = {number: [] for number in range(4)}
    for place, record in enumerate(generator.generate(7)):
        at = _seconds(record["published_at"])
        if begin <= at < until:
            # Copies of a story go wherever they like: a hash of its number, not of its id.
            log[place * 2_654_435_761 % 2**32 % 4].append(json.dumps({**record, "published_at": at}).encode())
    return log


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


@pytest.fixture(scope="module")
def crisis_read(tmp_path_factory: pytest.TempPathFactory, broker: Broker, crisis: Log) -> str:
    """The URL of the store that `run --until-end` makes of it."""
    from conftest import WordScorer

    url, topic = f"sqlite:///{tmp_path_factory.mktemp('crisis') / 'store.db'}", f"crisis-{os.getpid()}"
    produce(broker, topic, crisis)
    result = run(settings_for(url, broker, topic, **HOURLY), until_end=True, scorer=WordScorer)
    assert result.counts["records"] == sum(map(len, crisis.values()))
    return url


def test_until_end_gives_the_buckets_and_alerts_of_a_replay_of_the_same_records(
    tmp_path: Path, broker: Broker, topic: str, crisis: Log, crisis_read: str
) -> None:
    from conftest import WordScorer

    replayed = f"sqlite:///{tmp_path / 'replayed.db'}"
    file = in_time_order(tmp_path / "news.jsonl", crisis)
    replay.replay(settings_for(replayed, broker, topic, **HOURLY), [file], scorer=WordScorer)
    found, expected = promised_rows(crisis_read), promised_rows(replayed)
    assert any(row.state == "firing" for row in read(crisis_read, schema.alerts))
    for table in ("buckets", "alerts", "topics", "daily_state", "feed_stalls", "feed"):
        assert_same({table: found[table]}, {table: expected[table]})


def test_killed_and_started_again_until_end_leaves_the_rows_of_one_run(
    tmp_path: Path, url: str, broker: Broker, topic: str, processes: Processes
) -> None:
    log = news(3_000, partitions=4, disorder=0, scored=1.0, oddities=0)
    produce(broker, topic, log)
    kafka = {"bootstrap_servers": broker.bootstrap, "topic": topic, "group": topic, "accept_scores": True}
    config = processes.settings(store={"url": url}, kafka=kafka)
    process = processes.make("run", "--until-end", config=config)
    for _ in range(3):
        before = stored(url)
        process.start()
        wait_until(lambda b=before: stored(url) > b or not process.alive, "it goes on", 60, every=0.01)
        process.kill()
    assert stored(url) > 0
    processes.run("run", "--until-end", config=config)
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    run(settings_for(undisturbed, broker, topic, kafka__accept_scores=True), until_end=True)
    assert_same(promised_rows(url), promised_rows(undisturbed))


def test_until_end_run_again_reads_only_what_came_since(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    produce(broker, topic, news(40, partitions=2, oddities=0))
    settings = settings_for(url, broker, topic)
    assert run(settings, until_end=True, scorer=quick_scorer).counts["records"] == 40
    before = promised_rows(url)
    assert run(settings, until_end=True, scorer=quick_scorer).counts["records"] == 40
    assert_same(promised_rows(url), before)
    send(broker, topic, {1: [story("new", START + 90_000)]})
    assert run(settings, until_end=True, scorer=quick_scorer).counts["records"] == 41


# In time.


def test_a_story_is_in_the_store_at_once_and_its_bucket_closes_though_all_partitions_are_idle(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    """Buckets of 2 s and a lateness of 1 s: each story's closes by itself, with no story after it."""
    broker.create_topic(topic, 4)
    settings = settings_for(url, broker, topic, time__bucket="2s", time__lateness="1s")
    with running(run, settings, scorer=quick_scorer):
        wait_until(lambda: len(partitions(url)) == 4, "all partitions have joined")
        waited, closed = list[float](), list[float]()
        for number in range(5):
            at = time.time()
            send(broker, topic, {number % 4: [story(number, at)]})
            sent = time.time()
            wait_until(lambda n=number: stored(url) > n, "it is stored", every=0.02)
            waited.append(time.time() - sent)
            end = at - at % 2 + 2
            wait_until(lambda e=end: (_decided_until(url) or 0) >= e, "its bucket is decided", every=0.02)
            closed.append(time.time() - end)
        print("seconds until stored:", waited, "until decided, after the bucket's end:", closed)
    # The median: a shared machine may stall any one of them.
    assert sorted(waited)[2] < 1
    assert sorted(closed)[2] < 1 + 5
    assert [row["ending"] for row in open_store(url).stories()] == ["scored"] * 5


def _decided_until(url: str) -> float | None:
    engine = connect(url, create=False)
    try:
        with reading(engine) as connection:
            at = counts.decided_until(connection)
        return None if at is None else at / MICRO
    finally:
        engine.dispose()


def test_an_alert_leaves_when_its_bucket_and_the_lateness_are_over(
    url: str, broker: Broker, topic: str, crisis: Log, crisis_read: str
) -> None:
    """The crisis live: all that came before its alert's bucket ends is in the topic, nothing follows, and the clock
    stands at that end. Then it is moved by the lateness."""
    from conftest import WordScorer

    fired = min(row.fired_at for row in read(crisis_read, schema.alerts) if row.topic == "Weftware" and row.fired_at)
    before = {n: [v for v in values if published_at(v) * MICRO < fired] for n, values in crisis.items()}
    produce(broker, topic, before)
    now = [fired]
    told = list[float]()

    def tell(change: Any) -> None:
        if change.change.alert.fired_at == fired:
            told.append(time.time())

    clock = lambda: now[0]  # noqa: E731
    with running(run, settings_for(url, broker, topic, **HOURLY), scorer=WordScorer, clock=clock, on_alert=tell):
        expected = sum(map(len, before.values()))
        wait_until(lambda: stored(url) == expected, "the history is stored", 120, every=0.2)
        now[0] += 3 * MICRO  # the partitions fall idle
        time.sleep(3)
        assert not told
        now[0] += 120 * MICRO
        begun = time.time()
        wait_until(lambda: told, "the alert is told")
        assert told[0] - begun < 5
    (alert,) = {row.id for row in read(url, schema.alerts) if row.topic == "Weftware" and row.fired_at == fired}
    sent = [row.event for row in read(url, schema.outbox) if row.alert_id == alert]
    assert sorted(sent) == ["firing", "incident.firing"], "the sender has it"


def test_a_worker_without_a_topic_waits_for_it(url: str, broker: Broker, topic: str, quick_scorer: Any) -> None:
    with running(work, settings_for(url, broker, topic), scorer=quick_scorer):
        time.sleep(1)
        produce(broker, topic, {0: [story(1, START)]})
        wait_until(lambda: stored(url) == 1, "its first story is stored", 60)


# What is in the records.


def test_fields_are_renamed_by_a_map_with_dotted_paths(url: str, broker: Broker, topic: str, quick_scorer: Any) -> None:
    record = {"payload": {"headline": "Rates rise", "when": START}, "meta": {"feed": {"name": "Wire"}}, "uid": "u1"}
    produce(broker, topic, {0: [json.dumps(record).encode()]})
    names = {"title": "payload.headline", "published_at": "payload.when", "source": "meta.feed.name", "id": "uid"}
    run(settings_for(url, broker, topic, kafka__map=names), until_end=True, scorer=quick_scorer)
    (row,) = open_store(url).stories()
    assert (row["id"], row["title"], row["source"]) == ("u1", "Rates rise", "Wire")


def test_a_story_without_a_date_has_the_records_timestamp_and_one_too_far_ahead_of_it_is_dead(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    broker.create_topic(topic, 1)
    records = [
        json.dumps({"id": "undated", "title": "Undated"}).encode(),
        json.dumps({"id": "ahead", "title": "Ahead", "published_at": START + 2 * 3600}).encode(),
        json.dumps({"id": "near", "title": "Near", "published_at": START + 1800}).encode(),
    ]
    broker.produce(topic, [(0, value, round(START * 1000)) for value in records])
    run(settings_for(url, broker, topic), until_end=True, scorer=quick_scorer)
    assert {(row.id, row.published_at) for row in read(url, schema.stories)} == {
        ("undated", round(START * MICRO)),
        ("near", round((START + 1800) * MICRO)),
    }
    assert [(row.offset, row.reason) for row in read(url, schema.dead_letters)] == [(1, "date_in_future")]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_topic_is_read_whatever_its_compression(
    url: str, broker: Broker, topic: str, quick_scorer: Any, codec: str
) -> None:
    broker.create_topic(topic, 1)
    rows = [
        (0, json.dumps({"title": f"s{n}", "published_at": START + n}).encode(), round((START + n) * 1000))
        for n in range(500)
    ]
    broker.produce(topic, rows, compression=codec)
    run(settings_for(url, broker, topic), until_end=True, scorer=quick_scorer)
    assert sorted(row["title"] for row in open_store(url).stories()) == sorted(f"s{n}" for n in range(500))


def test_records_that_cannot_be_unpacked_stop_the_process_with_a_sentence(
    url: str, broker: Broker, topic: str, quick_scorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.create_topic(topic, 1)
    broker.produce(topic, [(0, b'{"title": "a"}' + b" " * 500, 0)] * 9, compression="lz4")
    monkeypatch.setattr("kafka.codec.has_lz4", lambda: False)
    started = time.monotonic()
    with pytest.raises(IngestError, match=r"compressed in a way that this installation cannot read.*lz4"):
        run(settings_for(url, broker, topic), scorer=quick_scorer)
    assert time.monotonic() - started < 30


def poison() -> list[tuple[bytes | None, str]]:
    """Bytes of every kind that are no story, and the reason for which each dies."""
    good = {"id": "p", "title": "Good", "published_at": START}
    return [
        (None, "no_value"),
        (b"", "bad_json"),
        (b"\xff\xfe\x00junk", "not_utf8"),
        (b'{"title": "cut', "bad_json"),
        (b"[1, 2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"\x00\x00\x00\x00\x01\x10Zeta", "bad_json"),
        (json.dumps({**good, "title": ""}).encode(), "no_text"),
        (json.dumps({**good, "title": 7}).encode(), "text_not_a_string"),
        (json.dumps({**good, "published_at": "soon"}).encode(), "bad_date"),
        (json.dumps({**good, "published_at": "2026-02-02T10:00:00"}).encode(), "date_without_zone"),
        (json.dumps({**good, "published_at": "1812-02-02T10:00:00Z"}).encode(), "date_out_of_range"),
        (json.dumps({**good, "body": "x" * (1 << 20)}).encode(), "too_large"),
    ]


def test_poison_of_every_kind_stops_nothing_and_is_kept_with_reason_and_position(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    log = news(1300, partitions=3, disorder=0, oddities=0)
    clean = {number: list(values) for number, values in log.items()}
    expected = set[tuple[str, int, str]]()
    for place, (value, reason) in enumerate(poison()):
        values = log[place % 3]
        at = 7 + 13 * place
        values.insert(at, value)
        expected.add((str(place % 3), at, reason))
    produce(broker, topic, log)
    result = run(settings_for(url, broker, topic), until_end=True, scorer=quick_scorer)
    assert (result.counts["scored"], result.counts["dead_letters"]) == (1300, len(poison()))
    letters = read(url, schema.dead_letters)
    assert {(row.partition.split("/")[1].split("@")[0], row.offset, row.reason) for row in letters} == expected
    kept = {row.reason: (row.raw, row.size) for row in letters}
    assert kept["too_large"] == (poison()[-1][0][: 1 << 20], len(poison()[-1][0]))  # type: ignore[index, arg-type]
    assert kept["not_utf8"][0] == b"\xff\xfe\x00junk"
    clean_topic, clean_url = f"{topic}-clean", url.replace("store.db", "clean.db")
    produce(broker, clean_topic, clean)
    run(settings_for(clean_url, broker, clean_topic), until_end=True, scorer=quick_scorer)
    found, without = promised_rows(url), promised_rows(clean_url)
    for table in ("buckets", "alerts"):
        assert_same({table: found[table]}, {table: without[table]})
    # After a fix, those that it mends become stories.
    again = redrive.replay_dead_letters(
        settings_for(url, broker, topic, time__assume_zone="UTC"), reason="date_without_zone", scorer=quick_scorer
    )
    assert (again.counts["records"], again.counts["dead_letters"]) == (1, 0)


def test_a_partition_of_nothing_but_avro_stops_before_it_and_goes_on_with_the_right_settings(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    """First bytes that no setting mends; then records whose dates one setting mends, among good ones elsewhere."""
    avro, unzoned = f"{topic}-avro", f"{topic}-unzoned"
    good = news(60, partitions=1, disorder=0, oddities=0)[0]
    produce(broker, avro, {0: good, 1: [b"\x00\x00\x00\x00\x07\x0aStory" + bytes([n % 256]) for n in range(1_500)]})
    with pytest.raises(Misconfigured, match=rf"{avro}/1.*(bad_json|not_utf8).*settings"):
        run(settings_for(url, broker, avro), until_end=True, scorer=quick_scorer)
    stands = next(row.next_offset for name, row in partitions(url).items() if "/1@" in name)
    assert len(read(url, schema.dead_letters)) == stands < 1_000

    other = url.replace("store.db", "other.db")
    dates = [f"2026-02-02T02:{n // 60:02}:{n % 60:02}" for n in range(1_500)]
    bad = [
        json.dumps({"id": f"u{n}", "title": f"Unzoned {n}", "published_at": at}).encode() for n, at in enumerate(dates)
    ]
    produce(broker, unzoned, {0: good, 1: bad})
    with pytest.raises(Misconfigured, match=rf"{unzoned}/1.*date_without_zone"):
        run(settings_for(other, broker, unzoned), until_end=True, scorer=quick_scorer)
    before = len(read(other, schema.dead_letters))
    result = run(settings_for(other, broker, unzoned, time__assume_zone="UTC"), until_end=True, scorer=quick_scorer)
    assert result.counts["dead_letters"] == before < 1_000
    assert result.counts["records"] == 1_560


# Topics that change.


def test_partitions_that_a_topic_gains_are_read_and_counted(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    broker.create_topic(topic, 1)
    with running(run, settings_for(url, broker, topic), scorer=quick_scorer):
        send(broker, topic, {0: [story(1, START)]})
        wait_until(lambda: stored(url) == 1, "the first story is stored")
        broker.add_partitions(topic, 3)
        send(broker, topic, {2: [story(2, START + 900)]})
        wait_until(lambda: stored(url) == 2, "a new partition's story is stored")
    assert [name.split("@")[0] for name in partitions(url)] == [f"{topic}/{n}" for n in range(3)]


def test_a_topic_deleted_and_made_again_is_another_topic(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    produce(broker, topic, {0: [story(n, START + n) for n in range(5)]})
    with running(run, settings_for(url, broker, topic), scorer=quick_scorer):
        wait_until(lambda: stored(url) == 5, "the first topic's stories are stored")
        broker.delete_topic(topic)
        missing = f"has no topic {topic}"
        wait_until(lambda: any(missing in reason for reason in health.reasons()), "its absence is a reason")
        produce(broker, topic, {0: [story(f"again-{n}", START + 900 + n) for n in range(3)]})
        wait_until(lambda: stored(url) == 8, "the second topic's stories are stored", 60)
        wait_until(lambda: sum(row.member for row in partitions(url).values()) == 1, "the first one's has left")
        assert not [reason for reason in health.reasons() if missing in reason]
    names = sorted(partitions(url))
    assert len(names) == 2
    assert len({name.split("@")[1] for name in names}) == 2


def test_what_retention_took_before_it_was_read_is_a_gap_with_its_size(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    produce(broker, topic, {0: [story(n, START + n) for n in range(10)]})
    settings = settings_for(url, broker, topic)
    with running(run, settings, scorer=quick_scorer):
        wait_until(lambda: stored(url) == 10, "what there was is stored")
    send(broker, topic, {0: [story(n, START + n) for n in range(10, 40)]})
    broker.delete_before(topic, 0, 25)
    with running(run, settings, scorer=quick_scorer):
        wait_until(lambda: stored(url) == 25, "what was left is stored")
    (gap,) = read(url, schema.gaps)
    assert (gap.first_offset, gap.next_offset) == (10, 25)
    assert gap.partition.startswith(f"{topic}/0@")


def test_a_topic_whose_oldest_records_are_gone_before_anybody_read_it_has_no_gap(
    url: str, broker: Broker, topic: str, quick_scorer: Any
) -> None:
    produce(broker, topic, {0: [story(n, START + n) for n in range(10)]})
    broker.delete_before(topic, 0, 4)
    assert run(settings_for(url, broker, topic), until_end=True, scorer=quick_scorer).counts["records"] == 6
    assert read(url, schema.gaps) == []


# Stopping.


def test_sigterm_ends_a_worker_within_10_s_with_status_0_and_it_leaves_the_group(
    url: str, broker: Broker, topic: str, processes: Processes
) -> None:
    produce(broker, topic, news(10_000, partitions=2, scored=1.0, oddities=0))
    kafka = {"bootstrap_servers": broker.bootstrap, "topic": topic, "group": topic, "accept_scores": True}
    worker = processes.start("worker", config=processes.settings(store={"url": url}, kafka=kafka))
    wait_until(lambda: stored(url) > 0, "it has begun", 60)
    begun = time.monotonic()
    assert worker.stop(10) == 0
    assert time.monotonic() - begun < 10
    assert broker.members(topic) == 0
    assert all(row.member for row in partitions(url).values()), "time waits for whoever goes on"
    assert worker.events("stopped")
    committed = broker.committed(topic, topic)
    assert committed == {
        int(name.split("/")[1].split("@")[0]): row.next_offset for name, row in partitions(url).items()
    }
