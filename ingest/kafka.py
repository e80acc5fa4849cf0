"""A Kafka topic as one process reads it: records by partition, from wherever the store says.

The one idea: Kafka says which partitions are ours and what is in them; where to go on, its reader is told, never asks.
So a partition that was just given to us gives nothing until `seek` has been called for it. One thread uses a reader;
kafka-python keeps its heartbeats in a thread of its own, so being a member of the group needs only that `poll` is
called now and then.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from foreshock.ingest.errors import BrokerUnavailable, IngestError, TopicMissing
from foreshock.ingest.kafka_settings import BrokerSettings

REFRESH_SECONDS = 5.0
"""How often the topic is looked at: has it more partitions, or was it made again."""
ANSWER_MS = 2_000
"""How long brokers may take to say where partitions end, or what the topic is."""
FETCH_BYTES = 8 << 20
"""Of one fetch: with what a reader's caller keeps, the memory that a lag of any size takes."""


class Record(NamedTuple):
    """One record; `value` is None for a tombstone. `timestamp`: microseconds, the broker's or producer's, whatever it
    says; below 0: none."""

    offset: int
    timestamp: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic as it is now. `id` tells a topic from one of the same name that was deleted ("": an old broker)."""

    id: str
    partitions: tuple[int, ...]


class TopicReader:
    """The records of a topic's partitions: of all (`shared=False`), or of those that the consumer group gives to us.

    `assignment` is what is ours; `generation` rises whenever it was given out anew, and then every partition waits for
    its `seek`.
    """

    def __init__(self, settings: BrokerSettings, *, shared: bool, session_timeout: float = 10.0) -> None:
        self.generation = 0
        self.assignment: frozenset[int] = frozenset()
        self.out_of_range: dict[int, int] = {}
        """Partitions whose records at this offset the broker no longer has; each until its next `seek`."""
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

    def connect(self, timeout: float = 3.0) -> Topic:
        """Reach the brokers and look at the topic.

        Raises:
            BrokerUnavailable: nobody answers; worth trying again.
            TopicMissing: there is no such topic (yet).
            IngestError: brokers answer, and refuse; a matter of settings.
        """
        from kafka import KafkaConsumer
        from kafka.admin import KafkaAdminClient
        from kafka.errors import (
            AuthorizationError,
            KafkaConfigurationError,
            KafkaError,
            SaslAuthenticationFailedError,
            UnsupportedSaslMechanismError,
        )

        refusals = (
            AuthorizationError,
            KafkaConfigurationError,
            SaslAuthenticationFailedError,
            UnsupportedSaslMechanismError,
            ValueError,
        )
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
                # 3.0.12 does not pass the option on, and would make a topic again that was just deleted.
                self._consumer._cluster.config["allow_auto_create_topics"] = False
                self._begin(topic)
        except refusals as error:
            raise IngestError(f"Kafka at {self.servers} refuses us: {error}. See [kafka] in the settings.") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"No Kafka at {self.servers}: {error}.") from error
        return topic

    @property
    def servers(self) -> str:
        return ",".join(self._settings.bootstrap_servers)

    def topic(self) -> Topic:
        """The topic, as it was found in the last seconds; the last known while brokers do not answer.

        Raises:
            TopicMissing: it was deleted.
        """
        from kafka.errors import KafkaError

        assert self._topic is not None
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            self._looked = time.monotonic()
            before = self._topic
            try:
                topic = self._look()
            except (KafkaError, OSError):
                self._silent_since = self._silent_since or self._looked
                return before
            if not self._shared and topic != before:
                self._begin(topic)
        return self._topic

    def silent_seconds(self) -> float:
        """For how long questions have gone unanswered; `topic` asks one every few seconds."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def poll(self, seconds: float, most: int) -> dict[int, list[Record]]:
        """Up to `most` records by partition; waits up to `seconds` for the first. Ours alone, in order."""
        from kafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

        generation = self.generation
        try:
            found = self._consumer.poll(timeout_ms=int(seconds * 1000), max_records=most)
        except OffsetOutOfRangeError as error:
            self.out_of_range |= {place.partition: offset for place, offset in error.args[0].items()}
            self._consumer.pause(*error.args[0])  # the others read on
            return {}
        except IllegalStateError:
            raise
        except KafkaError:  # whatever it is (a broker restarts, a topic was deleted), the next poll asks again
            time.sleep(min(seconds, 0.2))
            return {}
        if generation != self.generation:  # assigned anew during this poll: what came may be of before
            return {}
        return {
            place.partition: [
                Record(r.offset, -1 if r.timestamp is None else r.timestamp * 1_000, r.value) for r in records
            ]
            for place, records in found.items()
        }

    def seek(self, partition: int, offset: int) -> None:
        """Go on at `offset`; from now on the partition gives records."""
        place = self._place(partition)
        with _assigned_anew():
            self._consumer.seek(place, offset)
            self._consumer.resume(place)
            self.out_of_range.pop(partition, None)

    def pause(self) -> None:
        """Take nothing for now. Polling goes on: the group must see that we are there.

        All partitions or none: kafka-python (3.0.12) forgets to give out what it had fetched of a partition that was
        paused and resumed while others went on.
        """
        with _assigned_anew():
            self._consumer.pause(*map(self._place, self.assignment))

    def resume(self, partitions: Iterable[int]) -> None:
        with _assigned_anew():
            self._consumer.resume(*(self._place(p) for p in partitions if p not in self.out_of_range))

    def position(self, partition: int) -> int | None:
        """The offset that comes next; past control records, which no poll gives."""
        with _assigned_anew():
            if partition in self.assignment:
                found: int | None = self._consumer.position(self._place(partition), timeout_ms=0)
                return found
        return None

    def ends(self, partitions: Iterable[int], max_age: float) -> Mapping[int, int]:
        """Where the partitions end, as the broker said at most `max_age` seconds ago; empty while it is silent."""
        from kafka.errors import KafkaError

        wanted = set(partitions)
        if not wanted <= self._ends.keys() or time.monotonic() - self._ends_at > max_age:
            asked = time.monotonic()
            try:
                found = self._consumer.end_offsets([self._place(p) for p in wanted], timeout_ms=ANSWER_MS)
            except LookupError:  # of a partition that it has not heard of yet
                return {}
            except (KafkaError, OSError):
                self._silent_since = self._silent_since or asked
                return {}
            self._ends, self._ends_at = {place.partition: end for place, end in found.items()}, asked
            self._silent_since = None
        return self._ends

    def beginnings(self, partitions: Iterable[int]) -> Mapping[int, int]:
        """The offsets of the oldest records that the broker has; empty while it does not answer."""
        from kafka.errors import KafkaError

        try:
            found = self._consumer.beginning_offsets([self._place(p) for p in partitions], timeout_ms=ANSWER_MS)
        except (KafkaError, OSError, LookupError):
            return {}
        return {place.partition: offset for place, offset in found.items()}

    def commit(self, offsets: Mapping[int, int], *, wait: bool = False) -> None:
        """Tell the group how far the store is, for tools that watch lag. Nothing depends on it."""
        from kafka.errors import KafkaError
        from kafka.structs import OffsetAndMetadata

        places = {self._place(p): OffsetAndMetadata(o, "", -1) for p, o in offsets.items() if p in self.assignment}
        with suppress(KafkaError):
            if wait:
                self._consumer.commit(places, timeout_ms=1_000)
            else:
                self._consumer.commit_async(places)

    def close(self, seconds: float = 3.0) -> None:
        """Leave the group."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=int(seconds * 1000))
        if self._admin is not None:
            self._admin.close()

    def _look(self) -> Topic:
        self._looked = time.monotonic()
        (found,) = self._admin.describe_topics([self._settings.topic])
        self._silent_since = None
        if found["error_code"]:
            raise TopicMissing(f"Kafka at {self.servers} has no topic {self._settings.topic}.")
        numbers = sorted(p["partition_index"] for p in found["partitions"])
        self._topic = Topic(str(found["topic_id"] or "").replace("-", ""), tuple(numbers))
        return self._topic

    def _begin(self, topic: Topic) -> None:
        if self._shared:
            from kafka.consumer.subscription_state import ConsumerRebalanceListener

            reader = self

            class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
                """Runs in kafka-python's thread, before any record of what was assigned is given."""

                def on_partitions_revoked(self, revoked: Any) -> None:
                    pass  # what was read of them may still be committed, unless the next owner was faster

                def on_partitions_assigned(self, assigned: Any) -> None:
                    reader._hold([place.partition for place in assigned])

            self._consumer.subscribe([self._settings.topic], listener=Listener())
        else:
            self._consumer.assign([self._place(p) for p in topic.partitions])
            self._hold(topic.partitions)

    def _hold(self, assigned: Iterable[int]) -> None:
        places = [self._place(p) for p in assigned]
        for place in places:
            self._consumer.seek(place, 0)  # so that nobody looks for a committed offset
        self._consumer.pause(*places)
        self.assignment = frozenset(place.partition for place in places)
        self.out_of_range = {}
        self.generation += 1

    def _place(self, partition: int) -> Any:
        from kafka.structs import TopicPartition

        return TopicPartition(self._settings.topic, partition)


@contextmanager
def _assigned_anew() -> Iterator[None]:
    """The group may take a partition away between two lines of ours; `generation` then says so, and nothing is lost."""
    from kafka.errors import IllegalStateError

    try:
        yield
    except (ValueError, KeyError, IllegalStateError):
        return
