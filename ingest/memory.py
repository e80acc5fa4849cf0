"""A feed of records in memory with the interface of the real feeds, for tests and for replaying dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from foreshock.ingest.errors import FileChanged
from foreshock.ingest.formats import digest_of
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import DeadLetter, Story


class MemoryFeed:
    """The `Feed` of `records`, each as JSON bytes. `rules`: one for all, or one for each. `latest` as in `FileFeed`."""

    def __init__(
        self,
        partition: str,
        records: Sequence[bytes],
        *,
        rules: ParseRules | Sequence[ParseRules] | None = None,
        latest: int | None = None,
    ) -> None:
        self.partition = partition
        self.records = records
        self._rules = rules if isinstance(rules, Sequence) else [rules or ParseRules()] * len(records)
        self._latest = latest
        self._done = 0

    def read(self, start: int = 0, last_hash: str | None = None) -> Iterator[tuple[Story | DeadLetter, str]]:
        """Read as `Feed.read` does."""
        if len(self.records) < start:
            raise FileChanged(
                Path(self.partition), f"{start} records had been read, now there are {len(self.records)}."
            )
        if start and last_hash is not None and digest_of(self.records[start - 1]) != last_hash:
            raise FileChanged(Path(self.partition), f"record {start - 1} is not what it was.")
        for offset in range(start, len(self.records)):
            self._done = offset + 1
            raw = self.records[offset]
            yield parse(raw, self.partition, offset, self._rules[offset], self._latest), digest_of(raw)

    def progress(self) -> float:
        """Return the share of the records that were read, 0 to 1."""
        return self._done / max(len(self.records), 1)
