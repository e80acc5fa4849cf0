"""Read the raw records of a feed file, one after another: JSON lines, CSV or Parquet.

In every format a record becomes a `RawRecord`: the JSON object of its fields, with a hash of what the file holds. So
parsing, resuming, sorting and replaying dead letters exist only once. Records are numbered from 0. Blank lines and rows
of empty cells do not count as records. At most 1 MiB of a record is in memory.
"""

from __future__ import annotations

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Protocol

import orjson

from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.file_kinds import refuse_other_kinds
from foreshock.ingest.stray_quotes import are_rows_alone
from foreshock.ingest.streams import BLANK_LINES, BOM, BUFFER, ByteStream, Lines

_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet",
    ".pq": "parquet", ".xlsx": "xlsx", ".xlsm": "xlsx",
}  # fmt: skip

# The csv module limits a cell to 128 KiB in the whole process. `_CsvLines` keeps our limit of 1 MiB a row.
csv.field_size_limit(max(csv.field_size_limit(), LIMIT + 2))


class RawRecord(NamedTuple):
    """One record of a file, before parsing."""

    data: bytes
    """The record as JSON, or its first 1 MiB if it is larger."""
    digest: str
    """Hash of the record in the file, without its line end. On resuming it proves that the record is unchanged."""
    size: int
    flaw: tuple[str, str] | None = None
    """Reason and detail, if the record is a dead letter already before parsing."""


class Format(Protocol):
    """A file format."""

    name: str
    columns: tuple[str, ...] | None
    """None for JSON lines, where each record names its own fields."""

    def records(self) -> Iterator[RawRecord]:
        """Yield all records from the start. Closing the iterator closes the file. Raises `UnreadableFile`."""

    def progress(self) -> float:
        """Return the share of the file that the latest `records()` has read, 0 to 1."""


def open_format(path: Path, encoding: str | None = None) -> Format:
    """Open a file by its suffix (before `.gz`, `.zst` or `.zip`), otherwise by its first bytes.

    `encoding`: of its text, if it is not UTF-8. JSON may also be an array or a service's reply (`json_documents`).
    Raises `MissingFile`, `UnreadableFile`.
    """
    suffixes = [suffix for suffix in map(str.lower, path.suffixes) if suffix not in {".gz", ".zst", ".zip"}]
    name = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if name == "xlsx":
        from foreshock.ingest.spreadsheets import Workbook

        return Workbook(path)
    if name in {None, "jsonl"}:
        with ByteStream(path, encoding) as stream:
            start = stream.peek(BUFFER).removeprefix(BOM).lstrip()
            if name is None:
                name = "parquet" if start.startswith(b"PAR1") else "jsonl" if start[:1] in {b"{", b"["} else "csv"
            if name == "jsonl":
                from foreshock.ingest.json_documents import JsonDocuments, is_document

                start = _beginning(stream)
                if is_document(start.removeprefix(BOM).lstrip(), whole=len(start) < 2 * LIMIT):
                    return JsonDocuments(path, encoding)
    if name == "parquet":
        from foreshock.ingest.parquet import Parquet

        return Parquet(path)
    with ByteStream(path, encoding) as stream:
        refuse_other_kinds(path, _first_bytes(stream), table=name == "csv")
    return Csv(path, encoding) if name == "csv" else JsonLines(path, encoding)


def is_feed_file(path: Path) -> bool:
    """Whether a file's name is that of a feed file, and not hidden."""
    suffixes = [suffix for suffix in map(str.lower, path.suffixes) if suffix not in {".gz", ".zst", ".zip"}]
    named = suffixes[-1] in _SUFFIXES if suffixes else path.suffix.lower() == ".zip"
    return named and not path.name.startswith(".")


def _first_bytes(stream: ByteStream) -> bytes:
    """Return the first bytes without a byte order mark; none where the file is damaged, which reading it will say."""
    with suppress(UnreadableFile):
        return stream.peek(BUFFER)[:BUFFER].removeprefix(BOM)
    return b""


def _beginning(stream: ByteStream) -> bytes:
    """Return the first 2 MiB, or what comes before a break."""
    start = bytearray()
    with suppress(UnreadableFile):
        while len(start) < 2 * LIMIT and (chunk := stream.read1(BUFFER)):
            start += chunk
    return bytes(start)


def digest_of(data: bytes) -> str:
    """Return the hash by which positions are compared."""
    return blake2b(data, digest_size=16).hexdigest()


class JsonLines:
    """One JSON object per line."""

    name = "jsonl"
    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path, self._encoding = path, encoding
        self._lines = Lines(path, LIMIT, encoding)
        self._lines.close()
        self.encoding = self._lines.encoding
        """The encoding of the file's text."""

    def records(self) -> Iterator[RawRecord]:
        self._lines = lines = Lines(self._path, LIMIT, self._encoding)
        try:
            for line, size, digest in lines:
                if digest is not None:
                    yield RawRecord(line, digest, size, _too_large(size))
                elif (record := line.rstrip(b"\r\n")) and not record.isspace():
                    yield RawRecord(record, digest_of(record), len(record))
        finally:
            lines.close()

    def progress(self) -> float:
        return self._lines.progress()


class Csv:
    """A header, then one record per row. The delimiter is the comma, semicolon or tab that the header has most of.

    A quoted cell may contain line breaks. So an open quotation mark would put all rows up to the next mark into one
    cell. If such a row is not valid CSV and most lines in it look like rows, only the line with the open mark is a dead
    letter, and the other lines are read as rows. A valid row is split only if each of its lines is a row by itself
    (`are_rows_alone`): two stray marks then stand at the beginning and the end of cells.
    """

    name = "csv"

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path, self._encoding = path, encoding
        self._lines = Lines(path, LIMIT, encoding)
        self.encoding = self._lines.encoding
        """The encoding of the file's text."""
        try:
            first = next(self._lines, (b"", 0, None))[0]
        finally:
            self._lines.close()
        if b"\r" in first.rstrip(b"\r\n") and b"\n" not in first:
            raise UnreadableFile(path, "has lines that end in CR alone. Save it with line ends of LF or CR LF.")
        # If counts are equal, max takes the first: the comma.
        self._delimiter = max(",;\t", key=lambda sign: first.count(sign.encode()))
        self.delimiter = self._delimiter
        for _, columns in self._rows():
            self.columns: tuple[str, ...] | None = columns
            return
        raise UnreadableFile(path, "is empty: it has no header.")

    def records(self) -> Iterator[RawRecord]:
        rows = self._rows()
        next(rows)
        for record, _ in rows:
            yield record

    def progress(self) -> float:
        return self._lines.progress()

    def _rows(self) -> Iterator[tuple[RawRecord, tuple[str, ...]]]:
        """Yield the header, then each record, each with the columns."""
        self._lines = lines = Lines(self._path, LIMIT, self._encoding)
        source = _CsvLines(lines)
        reader = csv.reader(source, delimiter=self._delimiter)
        columns: tuple[str, ...] = ()
        empty = 0
        try:
            while True:
                source.begin()
                flaw: tuple[str, str] | None = None
                cells: list[str] = []
                ended = True
                try:
                    cells = next(reader)
                    if not any(cells):
                        empty += 1
                        if empty > BLANK_LINES:
                            raise UnreadableFile(self._path, f"has more than {BLANK_LINES:,} empty rows in a row.")
                        continue
                    empty = 0
                except StopIteration:
                    return
                except _RowTooLarge:
                    flaw, ended = _too_large(source.size, " Is a quotation mark left open?"), False
                except _LeftOpen:
                    flaw, ended = ("bad_csv", _left_open(source)), False
                except csv.Error as error:
                    said = str(error).partition(" - ")[0]  # without advice to the programmer
                    flaw = "bad_csv", f"The row is not CSV: {said}."
                if not flaw and columns and any(cells[len(columns) :]):
                    flaw = "bad_csv", _too_many(len(cells), len(columns), source)
                wrong = source.lines > 1 and (flaw is not None or not self._is_strictly_csv(source.raw()))
                stray = (
                    not wrong
                    and source.lines > 1
                    and columns
                    and are_rows_alone(source.raw(), self._delimiter, columns)
                )
                if stray or (wrong and self._are_rows(source.inside(ended=ended), len(columns))):
                    flaw = "bad_csv", _left_open(source)
                    source.back_to_second_line()
                raw = source.raw()
                if not columns:
                    if flaw or not source.utf8:
                        what = flaw[1] if flaw else "not UTF-8. Name its encoding, for example --encoding cp1252."
                        raise UnreadableFile(self._path, f"its header cannot be read: {what}")
                    columns = tuple(cell.strip() for cell in cells)
                digest = source.digest()
                if flaw:
                    # Keep the row as it is in the file: without fields it cannot be kept as an object.
                    yield RawRecord(raw[:LIMIT], digest, source.size, flaw), columns
                    continue
                row = {column: cell for column, cell in zip(columns, cells, strict=False) if cell and column}
                if source.utf8:
                    data = orjson.dumps(row)
                else:
                    data = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogateescape")
                    flaw = "not_utf8", "The row's bytes are not UTF-8."
                yield RawRecord(data, digest, len(data), flaw), columns
        finally:
            lines.close()

    def _is_strictly_csv(self, row: bytes) -> bool:
        text = io.StringIO(row.decode("utf-8", "surrogateescape"), newline="")
        try:
            next(csv.reader(text, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return False
        return True

    def _are_rows(self, lines: Sequence[bytes], columns: int) -> bool:
        """Whether lines inside a cell are rows: most of them have as many delimiters as the header."""
        rows = sum(line.count(self._delimiter.encode()) == columns - 1 for line in lines)
        return 2 * rows > len(lines)


class _RowTooLarge(Exception):
    """A row has more than 1 MiB."""


class _LeftOpen(Exception):
    """A quoted cell does not end."""


class _CsvLines:
    """The lines for `csv.reader`. It remembers the lines of the current row and stops a row at 1 MiB.

    The reader asks for another line of a row only inside a quoted cell. When this iterator raises, the reader drops the
    current row and begins a new one with the next line.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._again: deque[tuple[bytes, int, str | None]] = deque()
        self._read = 0
        self.begin()

    def begin(self) -> None:
        self._parts: list[tuple[bytes, int, str | None]] = []
        self.size = 0
        self.utf8 = True

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        if self._parts and self._again:
            # These lines were already read once as one cell. Reading them again from each line would take hours for a
            # megabyte of open marks.
            raise _LeftOpen
        try:
            part = self._again.popleft() if self._again else next(self._lines)
        except StopIteration:
            if self._parts:
                raise _LeftOpen from None
            raise
        self._parts.append(part)
        self._read += 1
        line, size, digest = part
        self.size += size
        if digest is not None or self.size > LIMIT + 2:
            raise _RowTooLarge
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.utf8 = False
            return line.decode("utf-8", "surrogateescape")

    def inside(self, *, ended: bool) -> list[bytes]:
        """Return the lines inside the row: without the first, and without the last one if that `ended` the row."""
        return [line for line, _, _ in self._parts[1 : -1 if ended else None]]

    def back_to_second_line(self) -> None:
        """Cut the current row to its first line. The other lines come again, each as a row or the start of one."""
        again = self._parts[1:]
        self._again.extendleft(reversed(again))
        self._read -= len(again)
        del self._parts[1:]
        self.size = self._parts[0][1]

    @property
    def lines(self) -> int:
        """Number of lines of the current row."""
        return len(self._parts)

    @property
    def first_line(self) -> int:
        """Number of the row's first line in the file, from 1."""
        return self._read - self.lines + 1

    def raw(self) -> bytes:
        return b"".join(line for line, _, _ in self._parts).rstrip(b"\r\n")

    def digest(self) -> str:
        tail = self._parts[-1][2] if self._parts else None
        return digest_of(self.raw() + (tail or "").encode())


def _left_open(source: _CsvLines) -> str:
    takes = f"takes {source.lines:,} lines" if source.lines > 1 else "does not end there"
    return f"The row that begins on line {source.first_line} {takes}: is a quotation mark left open?"


def _too_many(cells: int, columns: int, source: _CsvLines) -> str:
    hint = "comma not quoted" if source.lines == 1 else "quotation mark left open"
    return f"The row that begins on line {source.first_line} has {cells} cells, the header {columns}: is a {hint}?"


def _too_large(size: int, hint: str = "") -> tuple[str, str]:
    return "too_large", f"The record has {size:,} bytes, more than {LIMIT:,}.{hint}"


def too_large_or_none(size: int) -> tuple[str, str] | None:
    return _too_large(size) if size > LIMIT else None
