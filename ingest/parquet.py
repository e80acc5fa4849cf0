"""Read Parquet files, in a process of its own whose memory is bounded.

A Parquet file of a kilobyte can hold gigabytes: a value is stored once and repeated by a count, and pages are
compressed. The sizes that a file states may be wrong. So another process decodes, with a limit of the system on its
memory, and hands the rows over one by one. This process counts what they take against the size of the file.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import orjson

from foreshock.ingest.containers import inflates_too_much
from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.formats import RawRecord, digest_of, too_large_or_none
from foreshock.ingest.streams import open_file

MEMORY = 3 << 30
"""The most address space of the process that decodes, in bytes. Row groups of a gigabyte can still be read."""
MOST_COLUMNS = 5_000
LEAST_ROW = 20
"""Bytes that a row takes as JSON at the least. It bounds the rows that a file of some size may have."""
AT_ONCE = 64 << 20
"""The most bytes of cells that become Python values at once."""

_ROWS_AT_ONCE = 1000
_HEAD = struct.Struct("<QQQ")
_ROW, _BROKEN, _END = 0, 1, 2


class Parquet:
    """One record per row. Times with and without a zone, and days, become text as in a JSON feed."""

    name = "parquet"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done, self._all = 0, 1
        with open_file(path) as file:
            self._size = os.fstat(file.fileno()).st_size
        with _opened(path) as file:
            if file.metadata.num_columns > MOST_COLUMNS:
                raise UnreadableFile(path, f"has {file.metadata.num_columns:,} columns, more than {MOST_COLUMNS:,}.")
            self.columns: tuple[str, ...] | None = tuple(file.schema_arrow.names)
            self._all = max(file.metadata.num_rows, 1)
        inflates_too_much(path, self._size, LEAST_ROW * self._all)

    def records(self) -> Iterator[RawRecord]:
        self._done = out = 0
        command = [sys.executable, "-c", "from foreshock.ingest.parquet import serve; serve()", str(self._path)]
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with a fixed program
            command,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=1 << 16,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more than they use
            },
        )
        assert process.stdout is not None
        try:
            while (record := self._next(process.stdout)) is not None:
                self._done += 1
                out += record.size
                inflates_too_much(self._path, self._size, out, self._done)
                yield record
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

    def progress(self) -> float:
        return self._done / self._all

    def _next(self, pipe: IO[bytes]) -> RawRecord | None:
        head = pipe.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise UnreadableFile(
                self._path,
                f"cannot be decoded in {MEMORY >> 30} GiB of memory, or is damaged. Write it with smaller row groups.",
                self._done,
            )
        kind, size, rest = _HEAD.unpack(head)
        if kind == _END:
            return None
        meta, data = orjson.loads(pipe.read(rest)), pipe.read(min(size, LIMIT))
        if kind == _BROKEN:
            raise UnreadableFile(self._path, f"is damaged: {meta}", self._done)
        digest, *flaw = meta
        return RawRecord(data, digest, size, tuple(flaw) if flaw else too_large_or_none(size))


def serve() -> None:
    """Decode the file that the command names, to the standard output: the main function of the process."""
    import resource
    import signal

    import pyarrow

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to the process that started this one
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    path = Path(sys.argv[1])
    with _opened(path) as file:
        with suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            for batch in file.iter_batches(_ROWS_AT_ONCE, use_threads=False):
                for row, flaw in _in_parts(batch):
                    data = orjson.dumps(row, default=_plain)
                    meta = orjson.dumps([digest_of(data), *(flaw or ())])
                    out.write(_HEAD.pack(_ROW, len(data), len(meta)) + meta + data[:LIMIT])
        except MemoryError:
            raise  # the reader says what that means
        except (pyarrow.ArrowException, OSError) as error:
            meta = orjson.dumps(_first_line(error))
            out.write(_HEAD.pack(_BROKEN, 0, len(meta)) + meta)
        else:
            out.write(_HEAD.pack(_END, 0, 0))
        out.flush()


def _opened(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UnreadableFile(path, f"is not Parquet, or is damaged: {_first_line(error)}") from None


def _in_parts(batch: Any) -> Iterator[tuple[dict[str, Any], tuple[str, str] | None]]:
    """Yield the rows of a batch, in parts of which no one takes much memory as Python values."""
    rows = max(1, batch.num_rows)
    at_once = max(1, min(rows, int(AT_ONCE / max(1.0, _size_of(batch) / rows))))
    for start in range(0, batch.num_rows, at_once):
        yield from _rows(batch.slice(start, at_once))


def _size_of(batch: Any) -> float:
    """Return the bytes that the cells take once each has its own value."""
    import pyarrow
    import pyarrow.compute as pc

    size = float(batch.nbytes)
    for column in batch.columns:
        if pyarrow.types.is_dictionary(column.type):
            values = column.dictionary
            kind = values.type
            texts = (
                pyarrow.types.is_string(kind) or pyarrow.types.is_binary(kind) or pyarrow.types.is_large_string(kind)
            )
            largest = pc.max(pc.binary_length(values)).as_py() if texts and len(values) else 64
            size += (largest or 0) * len(column)
    return size


def _rows(batch: Any) -> Iterator[tuple[dict[str, Any], tuple[str, str] | None]]:
    import pyarrow

    # Python's datetime has no nanoseconds, and feeds do not need them. Other units stay: a cast might overflow.
    columns = [
        column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns"
        else column
        for column in batch.columns
    ]
    batch = pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)
    try:
        yield from ((row, None) for row in batch.to_pylist())
        return
    except (UnicodeDecodeError, OverflowError, ValueError):
        pass
    for i in range(batch.num_rows):
        try:
            row = batch.slice(i, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield {}, ("not_utf8", "A cell's bytes are not UTF-8.")
        except (OverflowError, ValueError) as error:
            yield {}, ("date_out_of_range", f"A date lies outside the years 1 to 9999: {_first_line(error)}.")
        else:
            yield row, None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return float(value) if isinstance(value, Decimal) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
