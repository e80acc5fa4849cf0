"""A file of JSON lines that grows, as a live source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foreshock.ingest.growing import GrowingFile
from foreshock.ingest.parsing import AHEAD, ParseRules, parse
from foreshock.ingest.story import DeadLetter
from foreshock.monitor.store.progress import Partition
from foreshock.sources.live import Clock, Record

if TYPE_CHECKING:
    from sqlalchemy import Connection


class FileSource:
    """The records of a growing file. It never ends: whoever writes it may always add a line."""

    over = False
    unsaved = False

    def __init__(self, partition: Partition, path: Path, rules: ParseRules, *, clock: Clock) -> None:
        self.partition = partition
        self._path = path
        self._rules = rules
        self._clock = clock
        self.read_at = 0
        self._file = GrowingFile(path, partition.next_offset, partition.last_hash)

    @property
    def done(self) -> bool:
        """Whether it was read to its end before, has left, and has not grown."""
        return self.partition.version > 0 and not self.partition.progress.member and not self._file.grew

    def next(self) -> Record | None:
        record = self._file.next()
        if record is None:
            return None
        p = self.partition
        if record.flaw is not None:
            return DeadLetter(p.name, p.next_offset, *record.flaw, record.data, record.size), record.digest
        # The file keeps growing, so "an hour after it first joined" would soon lie in the past.
        self.read_at = self._clock()
        latest = max(p.latest or 0, self.read_at + AHEAD)
        self.partition = replace(p, latest=latest)
        return parse(record.data, p.name, p.next_offset, self._rules, latest), record.digest

    def at_end(self, now: int) -> bool:
        return self._file.at_end

    def read_what_stood(self) -> bool:
        return self._file.read_what_stood

    def stays(self, stored: Partition) -> bool:
        return stored.next_offset < self.partition.next_offset or not self._file.read_what_stood

    def save(self, connection: Connection) -> None:
        """Do nothing: the partition's row holds all that there is to save."""

    def restart(self, partition: Partition, connection: Connection) -> None:
        self.partition = partition
        self._file.close()
        self._file = GrowingFile(self._path, partition.next_offset, partition.last_hash)

    def close(self) -> None:
        self._file.close()
