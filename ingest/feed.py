"""What every feed of records looks like to whoever reads it: a partition that can be read on from any offset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from foreshock.ingest.story import DeadLetter, Story


class Feed(Protocol):
    partition: str

    def read(self, start: int = 0, last_hash: str | None = None) -> Iterator[tuple[Story | DeadLetter, str]]:
        """The records from offset `start` on, each with the hash of its raw record.

        `last_hash`: the hash of record `start - 1` as it was; where it differs now, or there are fewer records than
        `start`, raises `FileChanged`. None: not compared.
        """

    def progress(self) -> float:
        """How far the newest `read` is, 0 to 1."""
