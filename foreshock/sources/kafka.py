"""A Kafka topic as a group of sources, one for each partition.

Kafka says which partitions this process has; the store says where each of them goes on. A partition stays a member
when its process ends, so event time waits for whoever goes on with it. It leaves in two cases only: its topic was
deleted, or it was read to the end that `--until-end` asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from foreshock.ingest.errors import BrokerUnavailable, TopicMissing
from foreshock.ingest.kafka import Topic, TopicReader
from foreshock.ingest.parsing import ParseRules
from foreshock.monitor.errors import SourceMismatch
from foreshock.monitor.store import progress
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.watermark import MAX_AHEAD, TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.observability.outage import Outage
from foreshock.sources.kafka_partition import KafkaSource
from foreshock.sources.live import Clock, Gap, Source

if TYPE_CHECKING:
    from sqlalchemy import Connection

KIND = "kafka"
QUEUED_RECORDS, QUEUED_BYTES = 8_192, 64 << 20
"""The most that may be polled and not yet taken, over all partitions: it bounds the memory that a large lag costs."""
POLLED = 2_000
"""Records of one poll."""
FRESH_SECONDS = 1.0
"""A partition is read to its end only if the broker's answer is at most this old."""
SILENT_SECONDS = 5.0
"""Brokers that have left questions unanswered for this long are reported as gone."""
COMMIT_SECONDS = 5.0
"""How often the consumer group's offsets are committed, for tools that watch lag."""
PATIENCE_SECONDS = 60.0
"""How long `--until-end` waits for a broker."""


class KafkaFeed:
    """The topic: which partitions this process has, and what of them has been read.

    `until_end`: read to where the partitions end when the brokers are first reached. `max_ahead`: how far ahead of the
    clock (microseconds) a producer's timestamp may be; one further ahead counts as the clock.
    """

    goes_on = True
    look_seconds = 0.1

    def __init__(
        self,
        reader: TopicReader,
        name: str,
        rules: ParseRules,
        *,
        until_end: bool = False,
        clock: Clock,
        max_ahead: int = MAX_AHEAD,
    ) -> None:
        self.rules = rules
        self.until_end = until_end
        self.clock = clock
        self.max_ahead = max_ahead
        self.ready = False
        self._reader = reader
        self._name = name
        self._by_number: dict[int, KafkaSource] = {}
        self._generation = 0
        self._paused = False
        self._topic: Topic | None = None
        self._stood: Mapping[int, int] = {}
        self._beginnings: Mapping[int, int] = {}
        self._to_commit: dict[int, int] = {}
        self._stored: dict[int, int] = {}
        self._committed_at = float("-inf")  # by the monotonic clock
        self._outage = Outage("kafka")
        self._begun_at = time.monotonic()

    @property
    def sources(self) -> Sequence[KafkaSource]:
        return list(self._by_number.values())

    def refresh(self) -> bool:
        """Connect, or poll. Raises what `TopicReader.connect` does where trying again will not help."""
        if not self.ready:
            return self._connect()
        self._poll(0)
        changed = self._look()
        self._note_outage()
        self._commit_now_and_then()
        return changed

    def restart(self, known: Mapping[str, Partition], connection: Connection) -> None:
        """Do nothing: `join` makes each source anew, at its place in the store."""

    def join(self, connection: Connection, rules: TimeRules, now: int | None) -> list[Partition]:
        if not self.ready:
            return []
        self._join_members(connection, rules, now)
        known = progress.load(connection)
        self._generation = self._reader.generation
        self._by_number = {}
        for number in sorted(self._reader.assignment):
            partition = known.get(self._partition_name(number))
            if partition is not None and partition.progress.member:
                self._by_number[number] = KafkaSource(partition, number, self)
                self._stored[number] = partition.next_offset
        return [source.partition for source in self._by_number.values()]

    def joined(self) -> None:
        for source in self._by_number.values():
            self._seek(source)

    def gaps(self) -> Sequence[Gap]:
        """Return the gaps in partitions whose next records the broker has deleted.

        None while it is not known whether the topic was made again: the records of another topic are no gap in this.

        Raises:
            SourceMismatch: the broker has fewer records than were read of it.
        """
        found: list[Gap] = []
        if not self._reader.out_of_range or not self._is_same_topic():
            return found
        for number, offset in list(self._reader.out_of_range.items()):
            source = self._by_number.get(number)
            beginning = self._reader.beginnings([number]).get(number)
            if source is None or beginning is None or source.queue:
                continue
            if beginning > source.partition.next_offset:
                found.append(Gap(source, beginning))
                continue
            if offset is None or beginning <= offset:
                raise SourceMismatch(
                    f"Kafka has fewer records of {source.partition.name} than were read of it: it was read up to "
                    f"offset {source.partition.next_offset}, which the brokers do not know. They lost records. "
                    "Restore them, or make the topic anew."
                )
            self._seek(source)
        return found

    def skipped(self, source: Source) -> None:
        for own in self._by_number.values():
            if own is source:
                self._seek(own)

    def committed(self, partitions: Sequence[Partition], records: int) -> None:
        now, by_name = self.clock(), {partition.name: partition for partition in partitions}
        for number, source in self._by_number.items():
            if (partition := by_name.get(source.partition.name)) is not None:
                self._to_commit[number] = self._stored[number] = partition.next_offset
                metrics.latencies(source.committed(partition.next_offset, now))
        self._commit_now_and_then()

    def left(self, source: Source) -> None:
        self._by_number = {number: own for number, own in self._by_number.items() if own is not source}

    def finished(self, stored: Callable[[], Mapping[str, Partition]]) -> bool:
        """Return whether all partitions of the topic have been read to their ends, by any process, and have left."""
        if self._topic is None or not self._generation:
            return False
        known = stored()
        partitions = [known.get(self._partition_name(number)) for number in self._topic.partitions]
        return all(p is not None and not p.progress.member for p in partitions)

    def wait(self, seconds: float, idle: Callable[[float], None]) -> None:
        if self.ready:
            self._poll(seconds)
        elif seconds:
            idle(seconds)

    def close(self) -> None:
        if self._to_commit:
            self._commit_offsets(wait=True)
        self._reader.close()

    # For its sources.

    def is_at_end(self, source: KafkaSource) -> bool:
        """Return whether the source is read to the broker's end. False while the broker does not answer."""
        if self._paused or source.number in self._reader.out_of_range or not self._reads(source):
            return False
        ends = self._reader.ends(self._reader.assignment, FRESH_SECONDS)
        return source.number in ends and (self._reader.position(source.number) or 0) >= ends[source.number]

    def is_past_start(self, source: KafkaSource) -> bool:
        """Return whether the source is read to where it ended when this process began."""
        end = self._stood.get(source.number, 0)
        if source.partition.next_offset >= end:
            return True
        return self._reads(source) and (self._reader.position(source.number) or 0) >= end

    # Reaching the brokers.

    def _connect(self) -> bool:
        if not self._outage.may_try:
            return False
        try:
            topic = self._reader.connect()
            if not self._stood and not self._note_ends(topic):
                raise BrokerUnavailable(f"Kafka at {self._reader.servers} does not say yet where {self._name} ends.")
        except (BrokerUnavailable, TopicMissing) as error:
            late = time.monotonic() - self._begun_at >= PATIENCE_SECONDS
            if self.until_end and (late or isinstance(error, TopicMissing)):
                raise
            self._outage.failed(error)
            return False
        self._topic = topic
        self.ready = True
        self._outage.over()
        return True

    def _note_outage(self) -> None:
        """Log once, and let the health say, that no broker answers, or that the topic was deleted; and its end."""
        seconds, missing = self._reader.silent_seconds(), self._reader.missing
        if not missing and seconds < SILENT_SECONDS:
            if self._outage.lasts:
                self._outage.over()
        elif not self._outage.lasts:
            silent = f"No Kafka at {self._reader.servers}: no answer for {seconds:.0f} s."
            self._outage.failed(TopicMissing(missing) if missing else BrokerUnavailable(silent))

    def _note_ends(self, topic: Topic) -> bool:
        """Note where the topic's partitions begin and end now; false if the brokers do not know all of them yet."""
        beginnings, ends = self._reader.beginnings(topic.partitions), self._reader.ends(topic.partitions, 0.0)
        if not set(topic.partitions) <= ends.keys() & beginnings.keys():
            return False
        self._stood, self._beginnings = dict(ends), dict(beginnings)
        return True

    def _look(self) -> bool:
        """Return whether the group assigned the partitions again, or the topic was changed or made again."""
        try:
            topic = self._reader.topic()
        except TopicMissing:  # deleted: no record comes until it is made again
            return False
        changed = self._generation != self._reader.generation or topic != self._topic
        made_again = self._topic is None or topic.id != self._topic.id
        if made_again and not self._note_ends(topic):
            return False  # it was made a moment ago: the next turn asks again
        self._topic = topic
        return changed

    def _is_same_topic(self) -> bool:
        """Return whether the brokers have just said that the topic is still the one whose partitions were joined."""
        try:
            return self._reader.topic() == self._topic and not self._reader.silent_seconds()
        except TopicMissing:
            return False

    def _poll(self, seconds: float) -> None:
        queued = sum(len(s.queue) for s in self._by_number.values())
        size = sum(s.bytes for s in self._by_number.values())
        if not self._paused and (queued >= QUEUED_RECORDS or size >= QUEUED_BYTES):
            self._reader.pause()
            self._paused = True
        elif self._paused and queued <= QUEUED_RECORDS // 2 and size <= QUEUED_BYTES // 2:
            self._reader.resume(self._by_number)
            self._paused = False
        for number, records in self._reader.poll(seconds, POLLED).items():
            if number in self._by_number:
                self._by_number[number].put(records)

    def _seek(self, source: KafkaSource) -> None:
        """Read on where the source's partition stands."""
        if source.number in self._reader.assignment:
            self._reader.seek(source.number, source.partition.next_offset)
            self._paused = False

    def _reads(self, source: KafkaSource) -> bool:
        return self._by_number.get(source.number) is source and source.number in self._reader.assignment

    # Membership.

    def _partition_name(self, number: int) -> str:
        assert self._topic is not None
        return f"{self._name}/{number}" + (f"@{self._topic.id}" if self._topic.id else "")

    def _join_members(self, connection: Connection, rules: TimeRules, now: int | None) -> None:
        """Make all partitions of the topic members, whichever process has them.

        Partitions of another topic, or of a deleted one of this name, leave: no record will come of them.
        """
        assert self._topic is not None
        known = progress.load(connection)
        names = {self._partition_name(number): number for number in self._topic.partitions}
        gone = [p for p in known.values() if p.kind == KIND and p.progress.member and p.name not in names]
        progress.leave(connection, gone)
        for partition in gone:
            log().warning(
                "partition left: its topic was deleted, or the settings no longer name it", partition=partition.name
            )
        found = {
            name: known.get(name) or Partition(name, KIND, next_offset=self._beginnings.get(number, 0))
            for name, number in names.items()
        }
        joining = [p for name, p in found.items() if not p.progress.member and not self._was_read(p, names[name])]
        if joining:
            progress.join(connection, joining, rules, now)

    def _was_read(self, partition: Partition, number: int) -> bool:
        """Return whether the partition has left, with nothing new before the end that is asked for."""
        return self.until_end and partition.version > 0 and partition.next_offset >= self._stood.get(number, 0)

    # Offsets of the consumer group, which only tools read.

    def _commit_now_and_then(self) -> None:
        # Not by the wall clock: after it is set back, lag and offsets would stand still.
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self._commit_offsets()

    def _commit_offsets(self, *, wait: bool = False) -> None:
        ends = self._reader.ends(self._reader.assignment, COMMIT_SECONDS)
        metrics.lag(
            {
                s.partition.name: max(0, ends[n] - self._stored.get(n, s.partition.next_offset))
                for n, s in self._by_number.items()
                if n in ends
            }
        )
        if self._to_commit:
            self._reader.commit(self._to_commit, wait=wait)
        self._to_commit, self._committed_at = {}, time.monotonic()
