"""One partition of a Kafka topic as a source: the records that were polled and not yet taken."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from foreshock.ingest.dates import is_in_range
from foreshock.ingest.kafka import Record as KafkaRecord
from foreshock.ingest.parsing import AHEAD, parse
from foreshock.ingest.story import DeadLetter
from foreshock.monitor.store.progress import Partition
from foreshock.sources.live import Record

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from foreshock.sources.kafka import KafkaFeed


class KafkaSource:
    """One partition of a topic. It asks its `KafkaFeed` what the brokers say."""

    unsaved = False

    def __init__(self, partition: Partition, number: int, feed: KafkaFeed) -> None:
        self.partition = partition
        self.number = number
        self.queue: deque[KafkaRecord] = deque()
        self.bytes = 0
        self.read_at = 0
        self._feed = feed
        self._uncommitted: deque[tuple[int, int]] = deque()  # offset and timestamp of each record with a usable one

    def put(self, records: list[KafkaRecord]) -> None:
        """Queue what a poll returned."""
        self.queue.extend(records)
        self.bytes += sum(len(r.value or b"") for r in records)

    def next(self) -> Record | None:
        if not self.queue:
            return None
        offset, timestamp, value = self.queue.popleft()
        now = self._feed.clock()
        # A producer chooses its records' timestamps. The clock bounds them, with some room for machines that differ, so
        # that records that are read again get the same time.
        dated = is_in_range(timestamp)
        if dated and timestamp > now + self._feed.max_ahead:
            timestamp = now
        if dated:
            self._uncommitted.append((offset, timestamp))
        name = self.partition.name
        if value is None:
            self.read_at = now
            return DeadLetter(name, offset, "no_value", "The record has no value (a tombstone).", b"", 0), ""
        self.bytes -= len(value)
        # A missing or absurd timestamp does not say when the record arrived, so it must not bound a good date. No bound
        # at all would let a wrong date move event time.
        self.read_at = timestamp if dated else now
        return parse(value, name, offset, self._feed.rules, self.read_at + AHEAD, timestamp), ""

    @property
    def over(self) -> bool:
        """Whether it was to be read to an end (`--until-end`) and has been. It then leaves."""
        return self._feed.until_end and self.read_what_stood()

    def at_end(self, now: int) -> bool:
        return not self.queue and self._feed.is_at_end(self)

    def read_what_stood(self) -> bool:
        return not self.queue and self._feed.is_past_start(self)

    def stays(self, stored: Partition) -> bool:
        return True  # another worker, or this one's next start, goes on with it

    def save(self, connection: Connection) -> None:
        """Do nothing: the partition's row holds all that there is to save."""

    def committed(self, next_offset: int, now: int) -> list[float]:
        """Return the seconds from timestamp to commit of the records before `next_offset`, once for each record."""
        ages = []
        while self._uncommitted and self._uncommitted[0][0] < next_offset:
            ages.append((now - self._uncommitted.popleft()[1]) / 1e6)
        return ages
