"""`replay --to-kafka`: feed files to a topic, record for record, at the pace of their event times."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from servers import Broker

from foreshock.cli import main
from foreshock.ingest.errors import BrokerUnavailable, IngestError, TopicMissing
from foreshock.ingest.files import FileFeed
from foreshock.ingest.parsing import parse
from foreshock.ingest.settings import ParseSettings
from foreshock.ingest.story import DeadLetter, Story
from foreshock.processes import pace, produce
from foreshock.processes.produce import feed
from foreshock.settings.load import SettingsError
from foreshock.settings.models import KafkaSettings, Settings

pytestmark = pytest.mark.slow

SETTINGS = Settings(kafka=KafkaSettings(topic="news"))
START = 1_714_500_000


class Future:
    def __init__(self, error: Exception | None) -> None:
        self._error = error

    def add_callback(self, call: Callable[..., None], *args: Any) -> None:
        if self._error is None:
            call(*args, None)

    def add_errback(self, call: Callable[..., None], *args: Any) -> None:
        if self._error is not None:
            call(*args, self._error)


class Producer:
    """kafka-python's interface: keeps what it is given, and fails where `fails` says."""

    def __init__(self, fails: Callable[[bytes], Exception | None] = lambda _: None) -> None:
        self.sent: list[tuple[str, bytes, bytes | None, int | None]] = []
        self._fails = fails

    def send(self, topic: str, *, value: bytes, key: bytes | None, timestamp_ms: int | None) -> Future:
        self.sent.append((topic, value, key, timestamp_ms))
        return Future(self._fails(value))

    def flush(self) -> None:
        pass

    @property
    def values(self) -> list[bytes]:
        return [value for _, value, _, _ in self.sent]


class Clock:
    """`time`, but that sleeping is free."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    time_ns = staticmethod(time.time_ns)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(produce, "time", clock)
    monkeypatch.setattr(pace, "time", clock)
    return clock


def _flaw(item: Story | DeadLetter) -> tuple[str, str]:
    assert isinstance(item, DeadLetter)
    return item.reason, item.detail


def lines(path: Path, *records: Any) -> Path:
    path.write_bytes(b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records))
    return path


def story(number: int, after: float | None = None, **more: Any) -> dict[str, Any]:
    return {"id": f"s{number}", "title": f"Story {number}", "published_at": START + (after or 0), **more}


def test_a_record_goes_to_the_topic_as_it_stands_keyed_by_its_id(tmp_path: Path) -> None:
    raw = b'{"id": "a",  "title":"Oil falls","published_at": 1714500000, "desk": 7}'
    producer = Producer()
    fed = feed(SETTINGS, [lines(tmp_path / "f.jsonl", raw)], producer=producer)
    assert producer.sent == [("news", raw, b"a", None)]
    assert (fed.stories, fed.bad, fed.left_out) == (1, 0, 0)


@pytest.mark.parametrize("mapping", [{}, {"title": "Headline", "published_at": "Date"}])
def test_whoever_reads_the_topic_parses_what_a_replay_would_have_parsed(
    tmp_path: Path, mapping: dict[str, str]
) -> None:
    title, date = mapping.get("title", "title"), mapping.get("published_at", "published_at")
    file = tmp_path / "f.csv"
    file.write_text(f'{title},{date},tickers,note\n"Oil, falls",2024-05-01,XOM|CVX,x\nGold,2024-05-02T01:00Z,,\n,1,,\n')
    producer = Producer()
    feed(SETTINGS, [file], mapping=mapping, producer=producer)
    replayed = [item for item, _ in FileFeed(file, rules=ParseSettings(mapping=mapping).rules()).read()]
    rules, now = ParseSettings().rules(), time.time_ns() // 1_000
    read = [parse(value, file.name, place, rules, None, now) for place, value in enumerate(producer.values)]
    # The bytes of a bad record are those of the topic.
    assert read[:2] == replayed[:2]
    assert [_flaw(item) for item in read[2:]] == [_flaw(item) for item in replayed[2:]]


def test_bad_records_are_sent_as_they_are(tmp_path: Path) -> None:
    bad = [b"not JSON", b"\xff\xfe", b"[1]", b'{"title": "no date"}']
    producer = Producer()
    fed = feed(SETTINGS, [lines(tmp_path / "f.jsonl", *bad, story(1))], producer=producer)
    assert producer.values[:4] == bad
    assert [key for _, _, key, _ in producer.sent] == [None] * 4 + [b"s1"]
    assert (fed.stories, fed.bad) == (1, 4)


def test_a_record_without_a_date_takes_the_event_time_of_the_one_before_it(tmp_path: Path) -> None:
    producer = Producer()
    feed(SETTINGS, [lines(tmp_path / "f.jsonl", story(1), {"title": "no date"}, story(2, 60))], producer=producer)
    assert [at for *_, at in producer.sent] == [None, START * 1_000, None]


def test_records_that_are_too_large_are_left_out_and_counted(tmp_path: Path) -> None:
    file = lines(tmp_path / "f.jsonl", story(1, body="x" * (1 << 20)), story(2, body="refused"), story(3))
    producer = Producer(lambda value: MessageSizeTooLargeError() if b"refused" in value else None)
    fed = feed(SETTINGS, [file], producer=producer)
    assert (fed.stories, fed.left_out) == (1, 2)


def test_a_broker_that_refuses_is_an_error(tmp_path: Path) -> None:
    producer = Producer(lambda _: KafkaTimeoutError("no leader"))
    with pytest.raises(IngestError, match=r"did not take a record.*no leader"):
        feed(SETTINGS, [lines(tmp_path / "f.jsonl", story(1), story(2))], producer=producer)
    assert len(producer.sent) == 1


def test_stories_come_at_the_pace_of_their_event_times(tmp_path: Path, clock: Clock) -> None:
    came: list[float] = []
    producer = Producer(lambda _: came.append(clock.now))
    feed(SETTINGS, [lines(tmp_path / "f.jsonl", *(story(n, 60 * n) for n in range(4)))], speed=30, producer=producer)
    assert came == pytest.approx([0, 2, 4, 6])


def test_without_a_speed_nobody_waits(tmp_path: Path, clock: Clock) -> None:
    feed(SETTINGS, [lines(tmp_path / "f.jsonl", *(story(n, 86_400 * n) for n in range(4)))], producer=Producer())
    assert clock.now == 0


def test_one_misdated_story_does_not_hold_up_the_feed(tmp_path: Path, clock: Clock) -> None:
    file = lines(tmp_path / "f.jsonl", story(1), story(2, 1e7), story(3, 60), story(4, 4e9), story(5, 120))
    fed = feed(SETTINGS, [file], speed=1, producer=Producer())
    assert clock.now == pytest.approx(120)
    assert (fed.stories, fed.bad) == (4, 1)  # what lies ahead of the clock is a bad record here as there


def test_of_several_files_the_one_that_lags_is_read_first(tmp_path: Path) -> None:
    a = lines(tmp_path / "a.jsonl", story(1), story(3, 120), story(5, 240))
    b = lines(tmp_path / "b.jsonl", story(2, 60), b"bad", story(4, 180))
    producer = Producer()
    feed(SETTINGS, [a, b], producer=producer)
    assert [key for _, _, key, _ in producer.sent] == [b"s1", b"s2", b"s3", None, b"s4", b"s5"]


def test_progress_says_how_far_it_is(tmp_path: Path) -> None:
    sent: list[produce.Sending] = []
    file = lines(tmp_path / "f.jsonl", *(story(n, n, body="x" * 200) for n in range(1_200)))
    feed(SETTINGS, [file], on_progress=sent.append, producer=Producer())
    assert [sending.records for sending in sent] == [500, 1_000]
    assert 0 < sent[0].share < sent[1].share <= 1


def test_without_a_broker_in_the_settings_it_says_which_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[kafka\] bootstrap_servers"):
        feed(Settings(), [lines(tmp_path / "f.jsonl", story(1))])


def test_two_mappings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(map={"title": "headline"}))
    with pytest.raises(SettingsError, match="leave one of them out"):
        feed(settings, [lines(tmp_path / "f.jsonl", story(1))], mapping={"title": "Headline"}, producer=Producer())


def test_a_topic_of_other_names_takes_files_of_the_same_names(tmp_path: Path) -> None:
    settings = Settings(kafka=KafkaSettings(map={"title": "payload.h", "id": "key"}))
    raw = b'{"payload": {"h": "Oil"}, "key": "k1", "published_at": 1714500000}'
    producer = Producer()
    assert feed(settings, [lines(tmp_path / "f.jsonl", raw)], producer=producer).stories == 1
    assert producer.sent == [("news", raw, b"k1", None)]


@pytest.mark.parametrize("flag", [["--store", "sqlite:///a.db"], ["--deliver"], ["--switch", "permissive@2024-05-01"]])
def test_what_only_a_reader_can_do_is_bad_usage(
    tmp_path: Path, flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = lines(tmp_path / "f.jsonl", story(1))
    assert main(["replay", str(file), "--to-kafka", *flag]) == 2
    said = capsys.readouterr().err
    assert "--to-kafka" in said
    assert flag[0] in said


def test_a_broker_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce, "ANSWER_SECONDS", 0.5)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        feed(settings, [lines(tmp_path / "f.jsonl", story(1))])


def consumed(broker: Broker, topic: str) -> list[Any]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    places = [TopicPartition(topic, number) for number in broker.ends(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found: list[Any] = []
    while len(found) < sum(ends.values()):
        for records in consumer.poll(timeout_ms=1_000).values():
            found += records
    consumer.close()
    return found


@pytest.mark.kafka
def test_a_real_topic_holds_each_record_once_and_an_id_in_one_partition(broker: Broker, tmp_path: Path) -> None:
    topic = f"fed-{uuid4().hex[:8]}"
    broker.create_topic(topic, 4)
    records = [story(n % 500, n, body="revised" if n >= 500 else "") for n in range(1_000)]
    file = lines(tmp_path / "f.jsonl", *records, b"bad")
    began = time.time()
    fed = feed(_settings(broker, topic), [file])
    found = consumed(broker, topic)
    assert (fed.stories, fed.bad, len(found)) == (1_000, 1, 1_001)
    partitions: dict[bytes, set[int]] = {}
    for record in found:
        partitions.setdefault(record.key, set()).add(record.partition)
        assert abs(record.timestamp / 1_000 - began) < 3_600  # retention goes by it
    partitions.pop(None)  # type: ignore[call-overload]
    assert len(partitions) == 500
    assert all(len(where) == 1 for where in partitions.values())
    assert len({where.pop() for where in partitions.values()}) == 4


@pytest.mark.kafka
def test_a_topic_that_is_not_there_is_not_made(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(TopicMissing, match=r"kafka-topics\.sh .* --create --topic fed-missing"):
        feed(_settings(broker, "fed-missing"), [lines(tmp_path / "f.jsonl", story(1))])
    with broker._admin() as admin:
        assert "fed-missing" not in admin.list_topics()


@pytest.mark.kafka
def test_ctrl_c_leaves_what_was_sent_and_exits_130(broker: Broker, tmp_path: Path) -> None:
    topic = f"fed-{uuid4().hex[:8]}"
    broker.create_topic(topic, 2)
    file = lines(tmp_path / "f.jsonl", *(story(n, n * 60) for n in range(100_000)))
    settings = tmp_path / "f.toml"
    settings.write_text(f'[kafka]\nbootstrap_servers = "{broker.bootstrap}"\ntopic = "{topic}"\n')
    command = [sys.executable, "-m", "foreshock", "replay", str(file), "--to-kafka", "--speed", "600"]
    process = subprocess.Popen([*command, "--config", str(settings)], cwd=Path(__file__).parents[1], stderr=-1)
    try:
        deadline = time.monotonic() + 60
        while sum(broker.ends(topic).values()) < 5:
            assert time.monotonic() < deadline, "nothing was sent"
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
    assert {record.value for record in consumed(broker, topic)} <= set(file.read_bytes().splitlines())


def _settings(broker: Broker, topic: str) -> Settings:
    return Settings(kafka=KafkaSettings(bootstrap_servers=broker.bootstrap, topic=topic))
