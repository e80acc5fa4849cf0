"""The protocol of every feed of records: a partition that can be read from any offset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from foreshock.ingest.story import DeadLetter, Story


class Feed(Protocol):
    """A partition of records."""

    partition: str

    def read(self, start: int = 0, last_hash: str | None = None) -> Iterator[tuple[Story | DeadLetter, str]]:
        """Yield the records from offset `start` on, each with the hash of its raw record.

        `last_hash`: the expected hash of record `start - 1`; None skips the comparison. Raises `FileChanged` if the
        hash differs, or if there are fewer than `start` records.
        """

    def progress(self) -> float:
        """Return the share of the feed that the latest `read` has covered, 0 to 1."""
