"""Read a feed file (JSON lines, CSV or Parquet) as a partition: as a stream, and on from where reading stopped.

A position is (file name, record number, hash of the last record). A file that has grown at its end continues. If the
record before the position has changed, reading raises `FileChanged` instead of mixing the stories of two files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from foreshock.ingest.between import Between
from foreshock.ingest.columns import NO_HEADER, looks_like_data, missing_fields, suggest_map
from foreshock.ingest.errors import FileChanged, MissingColumns
from foreshock.ingest.formats import RawRecord, open_format
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.sorting import RUN_BYTES, sort_records
from foreshock.ingest.story import DeadLetter, Story


class FileFeed:
    """The `Feed` of a file.

    `rules`: how records become stories. `latest`: the largest event time allowed, in microseconds: an hour after the
    time at which the file first joined. With `sort`, records come in order of event time, and offsets are places in
    that order; the detail of a dead letter then gives its number in the file, which `check` gives too. Sorting reads
    the whole file before the first record comes, so a truncated file yields nothing.
    `between`: the range of event time that is read; None: all. A part of a file is a partition of its own, named after
    the file and the range, so each part has its own position. Records keep their numbers in the file.

    Raises `MissingFile`, `UnreadableFile`, and for CSV and Parquet `MissingColumns`.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        rules: ParseRules,
        latest: int | None = None,
        sort: bool = False,
        between: Between | None = None,
        run_bytes: int = RUN_BYTES,
    ) -> None:
        self.path = Path(path)
        self.partition = partition_of(self.path, between)
        self.sort = sort
        self._rules = rules
        self._latest = latest
        self._between = between
        self._run_bytes = run_bytes
        self._reading = False
        self._format = open_format(self.path, rules.encoding)
        if self.columns is not None and (missing := missing_fields(self.columns, rules.mapping)):
            hint = f"{NO_HEADER}." if looks_like_data(self.columns) else ""
            raise MissingColumns(self.path, missing, self.columns, suggest_map(self.columns, rules.mapping), hint)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of CSV or Parquet; None for JSON lines."""
        return self._format.columns

    def read(self, start: int = 0, last_hash: str | None = None) -> Iterator[tuple[Story | DeadLetter, str]]:
        """Read as `Feed.read` does. A truncated or damaged file raises `UnreadableFile` after its last whole record."""
        items = self._read(start, last_hash)
        return items if self._between is None else self._between.within(items, lambda item: item[0], first=start == 0)

    def _read(self, start: int, last_hash: str | None) -> Iterator[tuple[Story | DeadLetter, str]]:
        number = -1
        for number, (in_file, record) in enumerate(self._records()):
            if number >= start:
                yield self._parsed(record, number, in_file), record.digest
            elif number == start - 1 and last_hash is not None and record.digest != last_hash:
                raise FileChanged(self.path, f"record {number} is not what it was.")
        if number + 1 < start:
            raise FileChanged(self.path, f"{start} records had been read, now it has {number + 1}.")

    def raw(self) -> Iterator[tuple[RawRecord, Story | DeadLetter]]:
        """Yield the records that are read, each as it is in the file, with the story or dead letter made of it."""
        items = (
            (record, self._parsed(record, number, in_file)) for number, (in_file, record) in enumerate(self._records())
        )
        return items if self._between is None else self._between.within(items, lambda item: item[1], first=True)

    def progress(self) -> float:
        """Return the share of the file that was read, 0 to 1, by bytes (Parquet: by rows). With `sort`, by the sort."""
        return self._format.progress() if self._reading else 0.0

    def _records(self) -> Iterator[tuple[int, RawRecord]]:
        """Yield the records in the order in which they are read, each with its number in the file."""
        self._reading = True
        records = self._format.records()
        return sort_records(records, self._time_of, self._run_bytes) if self.sort else enumerate(records)

    def _time_of(self, record: RawRecord) -> int | None:
        item = self._parsed(record, 0, 0)
        return item.published_at if isinstance(item, Story) else None

    def _parsed(self, record: RawRecord, offset: int, in_file: int) -> Story | DeadLetter:
        item: Story | DeadLetter
        if record.flaw is not None:
            item = DeadLetter(self.partition, offset, *record.flaw, record.data, record.size)
        else:
            item = parse(record.data, self.partition, offset, self._rules, self._latest)
        if self.sort and isinstance(item, DeadLetter):
            return replace(item, detail=f"{item.detail} It is record {in_file} of the file, which is read sorted.")
        return item


def partition_of(path: Path, between: Between | None = None) -> str:
    """Return the name of a file's partition, or of that of a part of the file."""
    return path.name if between is None else f"{path.name} {between}"
