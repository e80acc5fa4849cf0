"""A topic in memory, with the interface of `ingest.kafka.TopicReader`: who reads which partition is the test's to say,
and so is what the brokers answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from foreshock.ingest.errors import BrokerUnavailable
from foreshock.ingest.kafka import Record, Topic

Entry = tuple[int, int, bytes | None]
"""Offset, timestamp in microseconds, value. Offsets rise; some may be missing, as where transactions ended."""


@dataclass
class MemoryTopic:
    """The log. By partition: `ends`, the offsets before which records have arrived; `beginnings`, those from which on
    they are not deleted."""

    records: dict[int, list[Entry]]
    ends: dict[int, int] = field(default_factory=dict)
    beginnings: dict[int, int] = field(default_factory=dict)
    id: str = "A"

    def __post_init__(self) -> None:
        self.ends = self.ends or {n: self.end(n) for n in self.records}

    def end(self, number: int) -> int:
        """Where the partition ends once all has arrived."""
        return self.records[number][-1][0] + 1 if self.records[number] else 0

    def offsets(self, number: int) -> list[int]:
        return [offset for offset, _, _ in self.records[number]]


class MemoryReader:
    """One process's reader of it."""

    servers = "memory"

    def __init__(self, topic: MemoryTopic, assigned: Iterable[int]) -> None:
        self.generation = 0
        self.assignment: frozenset[int] = frozenset()
        self.out_of_range: dict[int, int | None] = {}
        self.silent = 0
        """The next questions whose bit is set are not answered, from the lowest on."""
        self.most = 50
        """Records of one poll at the most."""
        self._topic = topic
        self._positions: dict[int, int] = {}
        self._reading: set[int] = set()
        self.assign(assigned)

    # The test's side.

    def assign(self, partitions: Iterable[int]) -> None:
        """The group gives it these, and it learns of that now."""
        self.assignment = frozenset(partitions)
        self._positions = dict.fromkeys(self.assignment, 0)
        self._reading = set()
        self.out_of_range = {}
        self.generation += 1

    # TopicReader's side.

    missing = ""

    def connect(self, timeout: float = 10.0) -> Topic:
        if self._is_silent():
            raise BrokerUnavailable("No Kafka in memory: it is silent.")
        return self.topic()

    def topic(self) -> Topic:
        return Topic(self._topic.id, tuple(sorted(self._topic.records)))

    def silent_seconds(self) -> float:
        return 0.0

    def poll(self, seconds: float, most: int) -> dict[int, list[Record]]:
        found = dict[int, list[Record]]()
        left = min(most, self.most)
        for number in sorted(self._reading):
            end, begin = self._topic.ends[number], self._positions[number]
            if begin < self._topic.beginnings.get(number, 0):
                self.out_of_range[number] = begin
                self._reading.discard(number)
                continue
            records = [Record(*r) for r in self._topic.records[number] if begin <= r[0] < end][:left]
            if records:
                found[number] = records
                self._positions[number] = records[-1].offset + 1
                left -= len(records)
            elif begin < end and left:  # the end of a transaction is no record, and is stepped over
                self._positions[number] = end
        return found

    def seek(self, partition: int, offset: int) -> None:
        if partition in self.assignment:
            self._positions[partition] = offset
            self._reading.add(partition)
            self.out_of_range.pop(partition, None)

    def pause(self) -> None:
        self._reading.clear()

    def resume(self, partitions: Iterable[int]) -> None:
        self._reading |= set(partitions) & self.assignment - self.out_of_range.keys()

    def position(self, partition: int) -> int | None:
        return self._positions.get(partition)

    def ends(self, partitions: Iterable[int], max_age: float) -> Mapping[int, int]:
        return {} if self._is_silent() else {p: self._topic.ends[p] for p in partitions}

    def beginnings(self, partitions: Iterable[int]) -> Mapping[int, int]:
        return {} if self._is_silent() else {p: self._topic.beginnings.get(p, 0) for p in partitions}

    def commit(self, offsets: Mapping[int, int], *, wait: bool = False) -> None:
        pass

    def close(self, seconds: float = 3.0) -> None:
        pass

    def _is_silent(self) -> Any:
        silent = self.silent & 1
        self.silent >>= 1
        return silent
