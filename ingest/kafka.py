"""Read a Kafka topic in one process: records by partition, from the offsets that the store holds.

Kafka decides which partitions this process reads and what is in them. The caller decides where to continue: a newly
assigned partition gives no records until `seek` is called for it. One thread uses a reader. kafka-python sends its
heartbeats from another thread, so membership in the group only needs a call of `poll` now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from foreshock.ingest.errors import BrokerUnavailable, IngestError, TopicMissing
from foreshock.ingest.kafka_calls import ClientCalls, refusal
from foreshock.ingest.kafka_settings import BrokerSettings

REFRESH_SECONDS = 5.0
"""How often to look up whether the topic has more partitions, or was created again."""
ANSWER_MS = 2_000
"""How long brokers may take to answer where partitions end, or to describe the topic."""
FETCH_BYTES = 8 << 20
"""Largest fetch. It bounds the memory that a lag of any size takes, besides what the caller keeps."""


class Record(NamedTuple):
    """One record. `value` is None for a tombstone. `timestamp` is in microseconds; below 0 there is none."""

    offset: int
    timestamp: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic as it is now. `id` distinguishes it from a deleted topic of the same name ("" from an old broker)."""

    id: str
    partitions: tuple[int, ...]


class TopicReader:
    """The records of all partitions of a topic (`shared=False`), or of those that the consumer group assigns.

    `assignment` is the set of assigned partitions. Each new assignment raises `generation`, and then every partition
    waits for its `seek`.
    """

    def __init__(self, settings: BrokerSettings, *, shared: bool, session_timeout: float = 10.0) -> None:
        self.generation = 0
        self.assignment: frozenset[int] = frozenset()
        self.out_of_range: dict[int, int | None] = {}
        """Partition -> the offset at which the broker no longer has records, until the next `seek`.

        None: the log was cut short of what was read (KIP-320), or the topic was made again.
        """
        self.missing = ""
        """Why the last look found no topic, where it was deleted since; empty while there is one."""
        self._settings = settings
        self._shared = shared
        self._session_timeout = session_timeout
        self._consumer: Any = None
        self._admin: Any = None
        self._topic: Topic | None = None
        self._looked = 0.0
        self._ends: dict[int, int] = {}
        self._ends_at = 0.0
        self._silent_since: float | None = None
        self._calls = ClientCalls()

    def connect(self, timeout: float = 3.0) -> Topic:
        """Connect to the brokers and look up the topic.

        Raises:
            BrokerUnavailable: no broker answers; try again.
            TopicMissing: there is no such topic, or not yet.
            IngestError: the brokers refuse the connection; the settings are wrong.
        """
        return self._calls.run(lambda: self._connect(timeout), 3 * timeout)

    def _connect(self, timeout: float) -> Topic:
        from kafka import KafkaConsumer
        from kafka.admin import KafkaAdminClient
        from kafka.errors import KafkaError

        try:
            options = {**self._settings.client_options(), "bootstrap_timeout_ms": int(timeout * 1000)}
            if self._admin is None:
                self._admin = KafkaAdminClient(**options, request_timeout_ms=ANSWER_MS)
            topic = self._look()
            if self._consumer is None:
                self._consumer = KafkaConsumer(
                    **options,
                    group_id=self._settings.group,
                    enable_auto_commit=False,
                    auto_offset_reset="none",
                    allow_auto_create_topics=False,
                    isolation_level="read_committed",
                    fetch_max_bytes=FETCH_BYTES,
                    fetch_max_wait_ms=200,
                    metadata_max_age_ms=int(REFRESH_SECONDS * 1000),
                    reconnect_backoff_max_ms=2_000,
                    session_timeout_ms=int(self._session_timeout * 1000),
                    heartbeat_interval_ms=int(self._session_timeout * 1000 / 4),
                    metrics_enabled=False,
                )
                # kafka-python 3.0.12 does not pass the option on, and would create a deleted topic again.
                self._consumer._cluster.config["allow_auto_create_topics"] = False
                self._begin(topic)
        except ValueError as error:
            raise IngestError(
                f"Kafka at {self.servers} refuses the connection: {error}. Check [kafka] in the settings."
            ) from error
        except (KafkaError, OSError) as error:
            self._refuse_if_it_lasts(error)
            raise BrokerUnavailable(f"No Kafka at {self.servers}: {error}.") from error
        return topic

    @property
    def servers(self) -> str:
        """The brokers, as in the settings."""
        return ",".join(self._settings.bootstrap_servers)

    def topic(self) -> Topic:
        """Return the topic as it was in the last seconds, or as last known while brokers do not answer.

        Raises:
            TopicMissing: the topic was deleted.
            IngestError: the brokers refuse this client.
        """
        from kafka.errors import KafkaError

        assert self._topic is not None
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._looked = time.monotonic()
            before = self._topic
            try:
                topic = self._calls.run(self._look)
            except (KafkaError, OSError) as error:
                self._refuse_if_it_lasts(error)
                self._silent_since = self._silent_since or self._looked
                return before
            if not self._shared and topic != before:
                self._begin(topic)
        return self._topic

    def silent_seconds(self) -> float:
        """Return for how long brokers have not answered. `topic` asks them every few seconds."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def poll(self, seconds: float, most: int) -> dict[int, list[Record]]:
        """Return up to `most` records by partition, in order. Waits up to `seconds` for the first one.

        Raises:
            IngestError: the next records cannot be unpacked, or the brokers refuse this client. After a batch that it
                cannot unpack, kafka-python (3.0.12) must not be polled again: it would not return.
        """
        from kafka.errors import IllegalStateError, KafkaError, LogTruncationError, OffsetOutOfRangeError

        generation = self.generation
        try:
            found = self._calls.run(
                lambda: self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=most), seconds
            )
        except OffsetOutOfRangeError as error:
            self._lost(error.args[0])
            return {}
        except LogTruncationError as error:
            self._lost(dict.fromkeys(error.divergent_offsets))
            return {}
        except (IllegalStateError, IngestError):
            raise
        except (KafkaError, OSError) as error:
            self._refuse_if_it_lasts(error, self._reading())
            time.sleep(min(seconds, 0.2))  # a broker restarts, a topic was deleted, ...: the next poll asks again
            return {}
        except Exception as error:  # what the codecs raise for a damaged batch has no common class
            self._refuse_if_it_lasts(error, self._reading())
            raise
        if generation != self.generation:  # assigned again during this poll: the records may be from before
            return {}
        return {
            place.partition: [
                Record(r.offset, -1 if r.timestamp is None else r.timestamp * 1_000, r.value) for r in records
            ]
            for place, records in found.items()
        }

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`. From now on the partition gives records."""
        place = self._place(partition)
        with _assigned_anew():
            self._consumer.seek(place, offset)
            self._consumer.resume(place)
            self.out_of_range.pop(partition, None)

    def pause(self) -> None:
        """Stop taking records for now. Keep polling, so that the group sees this member.

        Pause all partitions or none. If kafka-python (3.0.12) pauses and resumes one partition while others continue,
        it loses the records that it had fetched from it.
        """
        with _assigned_anew():
            self._consumer.pause(*map(self._place, self.assignment))

    def resume(self, partitions: Iterable[int]) -> None:
        """Take records again, except where the broker no longer has them."""
        with _assigned_anew():
            self._consumer.resume(*(self._place(p) for p in partitions if p not in self.out_of_range))

    def position(self, partition: int) -> int | None:
        """Return the next offset, past control records, which `poll` never returns; None if it is not known now."""
        from kafka.errors import KafkaError, LogTruncationError

        if partition not in self.assignment:
            return None
        try:
            with _assigned_anew():
                found: int | None = self._consumer.position(self._place(partition), timeout_ms=0)
                return found
        except LogTruncationError as error:  # kafka-python raises it once, in whichever call comes first
            self._lost(dict.fromkeys(error.divergent_offsets))
        except (KafkaError, OSError) as error:
            self._refuse_if_it_lasts(error)
        return None

    def ends(self, partitions: Iterable[int], max_age: float) -> Mapping[int, int]:
        """Return where the partitions end, at most `max_age` seconds ago; empty while the broker does not answer."""
        from kafka.errors import KafkaError

        wanted = set(partitions)
        if not wanted <= self._ends.keys() or time.monotonic() - self._ends_at > max_age:
            asked = time.monotonic()
            try:
                places = [self._place(p) for p in wanted]
                found = self._calls.run(lambda: self._consumer.end_offsets(places, timeout_ms=ANSWER_MS))
            except LookupError:  # a partition that the client does not know yet
                return {}
            except (KafkaError, OSError) as error:
                self._refuse_if_it_lasts(error)
                self._silent_since = self._silent_since or asked
                return {}
            self._ends, self._ends_at = {place.partition: end for place, end in found.items()}, asked
            self._silent_since = None
        return self._ends

    def beginnings(self, partitions: Iterable[int]) -> Mapping[int, int]:
        """Return the offsets of the oldest records that the broker has; empty while it does not answer."""
        from kafka.errors import KafkaError

        try:
            places = [self._place(p) for p in partitions]
            found = self._calls.run(lambda: self._consumer.beginning_offsets(places, timeout_ms=ANSWER_MS))
        except (KafkaError, OSError, LookupError) as error:
            if not isinstance(error, LookupError):
                self._refuse_if_it_lasts(error)
            return {}
        return {place.partition: offset for place, offset in found.items()}

    def commit(self, offsets: Mapping[int, int], *, wait: bool = False) -> None:
        """Commit how far the store is, for tools that watch lag. Nothing else uses it."""
        from kafka.errors import KafkaError
        from kafka.structs import OffsetAndMetadata

        places = {self._place(p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items() if p in self.assignment}
        with suppress(KafkaError):
            if wait:
                with suppress(IngestError):  # stuck: the store knows the offsets
                    self._calls.run(lambda: self._consumer.commit(places, timeout_ms=1_000))
            else:
                self._consumer.commit_async(places)

    def close(self, seconds: float = 3.0) -> None:
        """Leave the group. A client that is stuck is left alone: the group forgets it after the session timeout."""
        if self._calls.stuck:
            return
        with suppress(IngestError):
            if self._consumer is not None:
                consumer = self._consumer
                self._calls.run(lambda: consumer.close(autocommit=False, timeout_ms=int(seconds * 1000)), seconds)
            if self._admin is not None:
                self._calls.run(self._admin.close)
        self._calls.end()

    def _lost(self, offsets: Mapping[Any, int | None]) -> None:
        """Hold the partitions whose next records the brokers do not have. The others continue.

        The next `topic` asks the brokers, because a topic that was deleted and made again looks the same from here.
        """
        self.out_of_range |= {place.partition: offset for place, offset in offsets.items()}
        self._looked = float("-inf")
        with _assigned_anew():
            self._consumer.pause(*offsets)

    def _refuse_if_it_lasts(self, error: Exception, where: str = "") -> None:
        if (sentence := refusal(error, self.servers, where)) is not None:
            raise sentence from error

    def _reading(self) -> str:
        """Return the partition and offset that the client was unpacking, as far as it says so."""
        records = getattr(getattr(self._consumer, "_fetcher", None), "_next_partition_records", None)
        place = getattr(records, "topic_partition", None)
        if place is None:
            return ""
        return f"{place.topic}/{place.partition}, offset {getattr(records, 'next_fetch_offset', '?')},"

    def _look(self) -> Topic:
        self._looked = time.monotonic()
        (found,) = self._admin.describe_topics([self._settings.topic])
        self._silent_since = None
        if found["error_code"]:
            self.missing = f"Kafka at {self.servers} has no topic {self._settings.topic}."
            raise TopicMissing(self.missing)
        self.missing = ""
        numbers = sorted(p["partition_index"] for p in found["partitions"])
        self._topic = Topic(str(found["topic_id"] or "").replace("-", ""), tuple(numbers))
        return self._topic

    def _begin(self, topic: Topic) -> None:
        if self._shared:
            from kafka.consumer.subscription_state import ConsumerRebalanceListener

            reader = self

            class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
                """kafka-python calls it before it returns any record of a new assignment."""

                def on_partitions_revoked(self, revoked: Any) -> None:
                    pass  # records already read may still be stored, unless the next owner was faster

                def on_partitions_assigned(self, assigned: Any) -> None:
                    reader._hold([place.partition for place in assigned])

            self._consumer.subscribe([self._settings.topic], listener=Listener())
        else:
            self._consumer.assign([self._place(p) for p in topic.partitions])
            self._hold(topic.partitions)

    def _hold(self, assigned: Iterable[int]) -> None:
        places = [self._place(p) for p in assigned]
        for place in places:
            self._consumer.seek(place, 0)  # so that the client does not look for a committed offset
        self._consumer.pause(*places)
        self.assignment = frozenset(place.partition for place in places)
        self.out_of_range = {}
        self.generation += 1

    def _place(self, partition: int) -> Any:
        from kafka.structs import TopicPartition

        return TopicPartition(self._settings.topic, partition)


@contextmanager
def _assigned_anew() -> Iterator[None]:
    """Ignore errors from a partition that the group has just taken away. `generation` reports that; nothing is lost."""
    from kafka.errors import IllegalStateError

    try:
        yield
    except (ValueError, KeyError, IllegalStateError):
        return
