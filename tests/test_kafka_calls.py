"""Calls of Kafka's client end, and its errors are told apart, without a broker."""

from __future__ import annotations

import gzip
import threading
import time
import zlib

import pytest
from kafka import errors as k

from foreshock.ingest.errors import IngestError
from foreshock.ingest.kafka import TopicReader
from foreshock.ingest.kafka_calls import ClientCalls, refusal
from foreshock.ingest.kafka_settings import BrokerSettings


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
