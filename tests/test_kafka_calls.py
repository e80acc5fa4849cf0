"""Calls of Kafka's client end, and its errors are told apart, without a broker."""

from __future__ import annotations

import gzip
import threading
import time
import zlib

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka import errors as k

from foreshock.ingest.errors import IngestError
from foreshock.ingest.kafka import Topic, TopicReader
from foreshock.ingest.kafka_calls import ClientCalls, refusal
from foreshock.ingest.kafka_settings import BrokerSettings
from foreshock.ingest.parsing import ParseRules
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import Progress
from foreshock.sources import kafka
from foreshock.sources.kafka import KafkaFeed
from foreshock.sources.kafka_partition import KafkaSource
from tests.memory_topic import MemoryReader, MemoryTopic


def test_a_call_returns_or_raises_what_it_does() -> None:
    calls = ClientCalls()
    assert calls.run(lambda: 7) == 7
    with pytest.raises(KeyError):
        calls.run(lambda: dict[str, int]()["a"])
    with pytest.raises(TimeoutError, match="own"):
        calls.run(lambda: (_ for _ in ()).throw(TimeoutError("own")))
    assert not calls.stuck


def test_a_call_that_does_not_return_is_given_up_and_no_other_is_begun() -> None:
    calls, over, begun = ClientCalls(limit=0.1), threading.Event(), []
    with pytest.raises(IngestError, match="did not answer within"):
        calls.run(over.wait)
    assert calls.stuck
    with pytest.raises(IngestError):
        calls.run(lambda: begun.append(1))
    over.set()
    assert begun == []


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (k.UnsupportedCodecError("Libraries for lz4 compression codec not found"), "lz4, python-snappy"),
        (k.UnsupportedCompressionTypeError(), "compressed in a way"),
        (k.CorruptRecordError("failed crc check"), "news/3, offset 7, are damaged"),
        (zlib.error("invalid block"), "are damaged"),
        (RuntimeError("LZ4F_decompress failed"), "are damaged"),
        (gzip.BadGzipFile("not a gzipped file"), "are damaged"),
        (EOFError(), "are damaged"),
        (k.SaslAuthenticationFailedError("bad password"), "does not accept the login"),
        (k.UnsupportedSaslMechanismError(), "does not accept the login"),
        (k.TopicAuthorizationFailedError({"news"}), "refuses access"),
        (k.GroupAuthorizationFailedError(), "refuses access"),
        (k.KafkaConfigurationError("no"), "Check \\[kafka\\]"),
        (k.UnsupportedVersionError(), "Check \\[kafka\\]"),
    ],
)
def test_an_error_that_lasts_has_a_sentence(error: Exception, says: str) -> None:
    sentence = refusal(error, "broker:9092", "news/3, offset 7,")
    assert sentence is not None
    with pytest.raises(IngestError, match=says):
        raise sentence


@pytest.mark.parametrize(
    "error",
    [
        k.NodeNotReadyError(),
        k.KafkaConnectionError(),
        k.NotLeaderForPartitionError(),
        k.KafkaTimeoutError(),
        k.UnknownTopicOrPartitionError(),
        k.RebalanceInProgressError(),
        ConnectionResetError(),
        k.CoordinatorNotAvailableError(),
        k.UnknownMemberIdError(),
        k.IllegalGenerationError(),
        k.RequestTimedOutError(),
        k.NetworkExceptionError(),
    ],
)
def test_an_error_that_passes_has_none(error: Exception) -> None:
    assert refusal(error, "broker:9092") is None


class Client:
    """A consumer whose `poll` does as kafka-python's: after it has raised, it does not return."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.polls = 0
        self.closed = False

    def poll(self, **_: object) -> dict[object, list[object]]:
        self.polls += 1
        if self.polls == 1:
            raise self.error
        time.sleep(60)
        return {}

    def close(self, **_: object) -> None:
        self.closed = True


def test_a_reader_does_not_poll_again_after_what_it_cannot_unpack() -> None:
    reader = TopicReader(BrokerSettings(), shared=False)
    client = Client(k.UnsupportedCodecError("Libraries for snappy compression codec not found"))
    reader._consumer = client
    with pytest.raises(IngestError, match="snappy"):
        reader.poll(0, 10)
    reader.close()
    assert (client.polls, client.closed) == (1, True)


def test_a_reader_whose_client_is_stuck_can_still_be_closed() -> None:
    reader = TopicReader(BrokerSettings(), shared=False)
    reader._calls = ClientCalls(limit=0.1)
    reader._consumer = client = Client(k.NodeNotReadyError())
    assert reader.poll(0, 10) == {}
    with pytest.raises(IngestError, match="did not answer"):
        reader.poll(0, 10)
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 5
    assert not client.closed


class Truncated:
    """kafka-python where the log is shorter than what was read: each call says so once (KIP-320)."""

    def __init__(self) -> None:
        self.paused: list[TopicPartition] = []

    def poll(self, **_: object) -> dict[object, object]:
        raise self._error()

    def position(self, *_: object, **__: object) -> int:
        raise self._error()

    def pause(self, *places: TopicPartition) -> None:
        self.paused += places

    def close(self, **_: object) -> None:
        pass

    @staticmethod
    def _error() -> k.LogTruncationError:
        return k.LogTruncationError({TopicPartition("news", 3): OffsetAndMetadata(3, "", 0)})


@pytest.mark.parametrize("call", ["poll", "position"])
def test_a_log_that_is_shorter_than_what_was_read_holds_its_partition_and_raises_nothing(call: str) -> None:
    reader = TopicReader(BrokerSettings(), shared=False)
    reader.assignment = frozenset({3})
    reader._consumer = client = Truncated()
    assert (reader.poll(0, 10) == {}) if call == "poll" else (reader.position(3) is None)
    assert reader.out_of_range == {3: None}
    assert client.paused == [TopicPartition("news", 3)]
    reader.close()


def test_a_position_that_the_brokers_do_not_tell_is_not_known() -> None:
    class Silent(Client):
        def position(self, *_: object, **__: object) -> int:
            raise self.error

    reader = TopicReader(BrokerSettings(), shared=False)
    reader.assignment = frozenset({0})
    reader._consumer = Silent(k.KafkaTimeoutError())
    assert reader.position(0) is None
    reader.close()


def test_offsets_and_lag_do_not_wait_for_a_clock_that_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, looks = MemoryReader(MemoryTopic({0: []}), [0]), list[int]()
    monkeypatch.setattr(reader, "ends", lambda *_: looks.append(1) or {})
    wall = [10**15]
    feed = KafkaFeed(reader, "news", ParseRules(), clock=lambda: wall[0])  # type: ignore[arg-type]
    feed._commit_now_and_then()
    wall[0] -= 7_200 * 10**6
    feed._commit_now_and_then()
    assert len(looks) == 1, "not at each turn"
    monkeypatch.setattr(kafka, "COMMIT_SECONDS", 0.0)
    feed._commit_now_and_then()
    assert len(looks) == 2


def test_a_topic_made_again_is_no_loss_but_the_same_topic_cut_short_is() -> None:
    reader = MemoryReader(MemoryTopic({0: [(n, 0, b"") for n in range(3)]}), [0])
    feed = KafkaFeed(reader, "news", ParseRules(), clock=lambda: 0)  # type: ignore[arg-type]
    partition = Partition("news/0@A", "kafka", next_offset=5, progress=Progress(member=True))
    feed._by_number = {0: KafkaSource(partition, 0, feed)}
    reader.out_of_range = {0: None}
    feed._topic = Topic("another", (0,))
    assert feed.gaps() == []
    feed._topic = reader.topic()
    with pytest.raises(SourceMismatch, match="read up to offset 5, which the brokers do not know"):
        feed.gaps()
