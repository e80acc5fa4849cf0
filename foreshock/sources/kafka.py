"""A Kafka topic as live sources, one a partition, each at its place in the store.

The one idea: Kafka says which partitions are ours; the store says where each goes on. A partition stays a member when
its process ends, so that time waits for whoever goes on with it. It leaves in two cases only: its topic was deleted, or
it was read to the end that `--until-end` asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from foreshock.ingest.dates import is_in_range
from foreshock.ingest.errors import BrokerUnavailable, TopicMissing
from foreshock.ingest.kafka import Record, Topic, TopicReader
from foreshock.ingest.parsing import AHEAD, ParseRules, parse
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.sources.live import Clock

if TYPE_CHECKING:
    from sqlalchemy import Connection

KIND = "kafka"
QUEUED_RECORDS, QUEUED_BYTES = 8_192, 64 << 20
"""At the most, read and not yet taken, of all partitions together: what a lag of any size takes of memory."""
POLLED = 2_000
"""Records of one poll."""
FRESH_SECONDS = 1.0
"""A partition is read to its end if the broker said so at most this long ago."""
SILENT_SECONDS = 5.0
"""Brokers that have not answered for so long, though asked, are said to be gone."""
COMMIT_SECONDS = 5.0
"""How often the group is told how far the store is."""


class KafkaSource:
    """One partition of a topic."""

    unsaved = False

    def __init__(self, partition: Partition, number: int, feed: KafkaFeed) -> None:
        self.partition = partition
        self.number = number
        self.queue: deque[Record] = deque()
        self.bytes = 0
        self.came: deque[tuple[int, int]] = deque()  # offset and timestamp, in range, of what is not committed
        self._feed = feed

    def put(self, records: list[Record]) -> None:
        self.queue.extend(records)
        self.bytes += sum(len(r.value or b"") for r in records)

    def next(self) -> tuple[Story | DeadLetter, str] | None:
        if not self.queue:
            return None
        offset, timestamp, value = self.queue.popleft()
        dated = is_in_range(timestamp)
        if dated:
            self.came.append((offset, timestamp))
        name = self.partition.name
        if value is None:
            return DeadLetter(name, offset, "no_value", "The record has no value (a tombstone).", b"", 0), ""
        self.bytes -= len(value)
        # A timestamp that is none, or absurd, says nothing of when the record came: it is no bound for a good date, and
        # "any date" would let a wrong one take time along.
        latest = (timestamp if dated else self._feed.clock()) + AHEAD
        return parse(value, name, offset, self._feed.rules, latest, timestamp), ""

    @property
    def over(self) -> bool:
        """It was to be read to an end, and is: it leaves."""
        return self._feed.until_end and self.read_what_stood()

    def at_end(self, now: int) -> bool:
        return not self.queue and self._feed.is_at_end(self)

    def read_what_stood(self) -> bool:
        return not self.queue and self._feed.is_past_start(self)

    def stays(self, stored: Partition) -> bool:
        return True  # another worker goes on with it, or the next start of this one

    def save(self, connection: Connection) -> None:
        pass

    def restart(self, partition: Partition, connection: Connection) -> None:
        self.partition = partition
        self.queue.clear()
        self.came.clear()
        self.bytes = 0
        self._feed.go_on(self)


class KafkaFeed:
    """The topic: which partitions are ours, and what of them has been read."""

    def __init__(
        self, reader: TopicReader, name: str, rules: ParseRules, *, until_end: bool = False, clock: Clock
    ) -> None:
        self.rules = rules
        self.until_end = until_end
        self.sources: dict[int, KafkaSource] = {}
        self.connected = False
        self._reader = reader
        self._name = name
        self.clock = clock
        self._generation = 0
        self._paused = False
        self._topic: Topic | None = None
        self._stood: Mapping[int, int] = {}
        self._beginnings: Mapping[int, int] = {}
        self._told: dict[int, int] = {}
        self._stored: dict[int, int] = {}
        self._told_at = 0

    def connect(self) -> None:
        """Reach the brokers; note where the partitions end now. Raises what `TopicReader.connect` does."""
        topic = self._reader.connect()
        if not self._stood:
            ends = self._reader.ends(topic.partitions, 0.0)
            beginnings = self._reader.beginnings(topic.partitions)
            if not set(topic.partitions) <= ends.keys() & beginnings.keys():
                raise BrokerUnavailable(f"Kafka at {self._reader.servers} does not say yet where {self._name} ends.")
            self._stood, self._beginnings = dict(ends), dict(beginnings)
        self._topic = topic
        self.connected = True

    def partition_name(self, number: int) -> str:
        assert self._topic is not None
        return f"{self._name}/{number}" + (f"@{self._topic.id}" if self._topic.id else "")

    def join(self, connection: Connection, rules: TimeRules, now: int) -> None:
        """All partitions of the topic that are not members become members; those of other topics, and of a deleted one
        of this name, leave: nothing will ever come of them. In the caller's transaction."""
        assert self._topic is not None
        known = progress.load(connection)
        names = {self.partition_name(number): number for number in self._topic.partitions}
        gone = [p for p in known.values() if p.kind == KIND and p.progress.member and p.name not in names]
        progress.leave(connection, gone)
        for partition in gone:
            log().warning(
                "partition is gone: its topic was deleted, or is no longer in the settings", of=partition.name
            )
        found = {
            name: known.get(name) or Partition(name, KIND, next_offset=self._beginnings.get(number, 0))
            for name, number in names.items()
        }
        joining = [p for name, p in found.items() if not p.progress.member and not self._is_finished(p, names[name])]
        if joining:
            progress.join(connection, joining, rules, now)

    def assign(self, connection: Connection) -> None:
        """Make a source of each partition that is ours now, at its place in the store. In the caller's transaction."""
        known = progress.load(connection)
        self._generation = self._reader.generation
        self.sources = {}
        for number in sorted(self._reader.assignment):
            partition = known.get(self.partition_name(number))
            if partition is not None and partition.progress.member:
                self.sources[number] = KafkaSource(partition, number, self)
                self._stored[number] = partition.next_offset

    def start(self) -> None:
        """Let the sources read. After `assign` was committed."""
        for source in self.sources.values():
            self.go_on(source)

    def go_on(self, source: KafkaSource) -> None:
        """Read on where the source's partition stands."""
        if source.number in self._reader.assignment:
            self._reader.seek(source.number, source.partition.next_offset)
            self._paused = False

    def drop(self, source: KafkaSource) -> None:
        """Nothing more is wanted of it."""
        if self.sources.get(source.number) is source:
            del self.sources[source.number]

    def silence(self) -> BrokerUnavailable | None:
        """What to say of brokers that have not answered for some time; None if they have."""
        seconds = self._reader.silent_seconds()
        if seconds < SILENT_SECONDS:
            return None
        return BrokerUnavailable(f"No Kafka at {self._reader.servers}: no answer for {seconds:.0f} s.")

    def look(self) -> bool:
        """Whether what is ours must be looked up anew: the group gave it out again, or the topic was made again."""
        try:
            topic = self._reader.topic()
        except TopicMissing:  # deleted; until it is made again, nothing comes
            return False
        changed = self._generation != self._reader.generation or topic != self._topic
        if self._topic is None or topic.id != self._topic.id:
            beginnings, ends = self._reader.beginnings(topic.partitions), self._reader.ends(topic.partitions, 0.0)
            if not set(topic.partitions) <= ends.keys() & beginnings.keys():
                return False  # it was made just now: asked again at the next turn
            self._stood, self._beginnings = dict(ends), dict(beginnings)
        self._topic = topic
        return changed

    def poll(self, seconds: float) -> bool:
        """Read what has come, waiting up to `seconds` if nothing has; whether anything came."""
        queued = sum(len(s.queue) for s in self.sources.values())
        size = sum(s.bytes for s in self.sources.values())
        if not self._paused and (queued >= QUEUED_RECORDS or size >= QUEUED_BYTES):
            self._reader.pause()
            self._paused = True
        elif self._paused and queued <= QUEUED_RECORDS // 2 and size <= QUEUED_BYTES // 2:
            self._reader.resume(self.sources)
            self._paused = False
        found = self._reader.poll(seconds, POLLED)
        for number, records in found.items():
            if number in self.sources:
                self.sources[number].put(records)
        return bool(found)

    def gaps(self) -> list[tuple[KafkaSource, int]]:
        """Partitions that go on further than they stand, as the broker no longer has what was between; and where.

        Raises:
            SourceMismatch: the broker has fewer records than were read of it.
        """
        found = []
        for number, offset in list(self._reader.out_of_range.items()):
            source = self.sources.get(number)
            beginning = self._reader.beginnings([number]).get(number)
            if source is None or beginning is None or source.queue:
                continue
            if beginning <= source.partition.next_offset:
                if beginning <= offset:
                    raise SourceMismatch(
                        f"Kafka has fewer records of {source.partition.name} than were read of it: it was read up to "
                        f"offset {offset}, which the brokers do not know. They lost records. Restore them, or make "
                        "the topic anew."
                    )
                self.go_on(source)
                continue
            found.append((source, beginning))
        return found

    def is_at_end(self, source: KafkaSource) -> bool:
        """Read to where the broker ends: as it said just now, not long ago; one that does not answer says nothing."""
        if self._paused or source.number in self._reader.out_of_range or not self._reads(source):
            return False
        ends = self._reader.ends(self._reader.assignment, FRESH_SECONDS)
        return source.number in ends and (self._reader.position(source.number) or 0) >= ends[source.number]

    def is_past_start(self, source: KafkaSource) -> bool:
        """Read to where it ended when this process began."""
        end = self._stood.get(source.number, 0)
        if source.partition.next_offset >= end:
            return True
        return self._reads(source) and (self._reader.position(source.number) or 0) >= end

    def is_finished(self, connection: Connection) -> bool:
        """All partitions of the topic have been read to their ends, by whomever, and left."""
        if self._topic is None or not self._generation:
            return False
        known = progress.load(connection)
        mine = [known.get(self.partition_name(number)) for number in self._topic.partitions]
        return all(p is not None and not p.progress.member for p in mine)

    def tell(self, committed: Mapping[str, Partition]) -> None:
        """What is in the store now: told to metrics, and to the group now and then."""
        clock = self.clock()
        for number, source in self.sources.items():
            if (p := committed.get(source.partition.name)) is not None:
                self._told[number] = self._stored[number] = p.next_offset
                ages = []
                while source.came and source.came[0][0] < p.next_offset:
                    ages.append((clock - source.came.popleft()[1]) / 1e6)
                metrics.latencies(ages)
        if clock - self._told_at >= COMMIT_SECONDS * 1e6:
            self._tell_group(clock)

    def _tell_group(self, clock: int, *, wait: bool = False) -> None:
        ends = self._reader.ends(self._reader.assignment, COMMIT_SECONDS)
        metrics.lag(
            {
                s.partition.name: max(0, ends[n] - self._stored.get(n, s.partition.next_offset))
                for n, s in self.sources.items()
                if n in ends
            }
        )
        if self._told:
            self._reader.commit(self._told, wait=wait)
        self._told, self._told_at = {}, clock

    def close(self) -> None:
        if self._told:
            self._tell_group(self.clock(), wait=True)
        self._reader.close()

    def _reads(self, source: KafkaSource) -> bool:
        return self.sources.get(source.number) is source and source.number in self._reader.assignment

    def _is_finished(self, partition: Partition, number: int) -> bool:
        """It has left, and there is nothing new before the end that is asked for."""
        return self.until_end and partition.version > 0 and partition.next_offset >= self._stood.get(number, 0)
