"""Read a feed file that is still being written: JSON lines, as the file grows.

A line becomes a record once its line end is written. Until then it may still change, so the reader waits for a writer
that stops in the middle of a line. There is one exception: `FileFeed` takes a file as complete, so it may have read a
last line without its end. That record is done, and only its line end may follow.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from foreshock.ingest.errors import FileChanged, UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.formats import RawRecord, digest_of
from foreshock.ingest.json_documents import CR_ALONE
from foreshock.ingest.streams import BOM, BUFFER, open_file

_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04")
_NOT_LINES = {".csv", ".tsv", ".parquet", ".pq", ".gz", ".zst", ".zip", ".xlsx", ".xlsm"}
_WHOLE = LIMIT + 2
"""The most bytes of a line in memory, with its end. A longer line keeps its start and the hash of all.

`FileFeed` does the same, so both see the same records under the same numbers.
"""


class GrowingFile:
    """The records of a file from number `start` on, as far as they are written.

    `last_hash`: the expected hash of record `start - 1`. Raises `MissingFile`, `UnreadableFile`, and `FileChanged` if
    the part before `start` has changed.
    """

    def __init__(self, path: Path, start: int = 0, last_hash: str | None = None) -> None:
        self.path = path
        if path.suffix.lower() in _NOT_LINES:
            raise UnreadableFile(
                path, "a growing feed file must be uncompressed JSON lines. Read other files with foreshock replay."
            )
        self._file = open_file(path)
        self._begun = os.fstat(self._file.fileno())
        self._buffer = bytearray()
        self._searched = 0
        self._read = 0
        self._number = 0
        self._long: tuple[bytes, blake2b, int] | None = None
        self._given: str | None = None  # the hash of the current line, if it was read earlier without its end
        self._at_end = False
        self._skip(start, last_hash)

    @property
    def at_end(self) -> bool:
        """Whether everything up to the last check was read, apart from a last line without its end."""
        return self._at_end

    @property
    def read_what_stood(self) -> bool:
        """Whether everything that was there when the file was opened has been read."""
        return self._at_end or self._read - len(self._buffer) >= self._begun.st_size

    @property
    def grew(self) -> bool:
        """Whether the file continues after the records that were read."""
        given = self._read if self._given is not None else self._read - len(self._buffer)
        return given < os.fstat(self._file.fileno()).st_size

    def next(self) -> RawRecord | None:
        """Return the next record, or None if no further one is complete.

        Raises:
            FileChanged: the file was truncated, replaced (rotated) or removed.
        """
        while True:
            record = self._take()
            if record is not None and self._given is not None:
                if record.digest != self._given:
                    raise FileChanged(self.path, f"record {self._number - 1} is not what it was.")
                self._given = None
                continue
            if record is not None:
                self._number += 1
                return record
            try:
                chunk = self._file.read(BUFFER)
            except OSError as error:
                raise UnreadableFile(self.path, f"{error.strerror or error}.") from None
            if not chunk:
                self._still_the_same()
                if self._number == 0 and CR_ALONE.search(self._buffer):
                    raise UnreadableFile(
                        self.path, "has lines that end in CR alone. Let its writer end each line with LF or CR LF."
                    )
                self._at_end = True
                return None
            self._at_end = False
            if not self._read:
                if chunk.startswith(_PACKED):
                    raise UnreadableFile(self.path, "a growing feed file must be uncompressed JSON lines.")
                chunk, self._read = chunk.removeprefix(BOM), len(chunk) - len(chunk.removeprefix(BOM))
            self._read += len(chunk)
            self._buffer += chunk

    def close(self) -> None:
        self._file.close()

    def _skip(self, start: int, last_hash: str | None) -> None:
        record = None
        while self._number < start:
            record = self.next()
            if record is None and self._number == start - 1 and self._hash_in_hand() == last_hash:
                self._number, self._given = start, last_hash
                return
            if record is None:
                raise FileChanged(self.path, f"{start} records had been read, now it has {self._number}.")
        if record is not None and last_hash is not None and record.digest != last_hash:
            raise FileChanged(self.path, f"record {start - 1} is not what it was.")

    def _take(self) -> RawRecord | None:
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[: end + 1])
            del self._buffer[: end + 1]
            self._searched = 0
            if self._long is not None:
                return self._ended(line)
            if len(line) > _WHOLE:
                self._long = _begin(line[:_WHOLE])
                return self._ended(line[_WHOLE:])
            if (record := line.rstrip(b"\r\n")) and not record.isspace():
                return RawRecord(record, digest_of(record), len(record))
        self._searched = len(self._buffer)
        if self._long is None and len(self._buffer) > _WHOLE:
            self._long = _begin(bytes(self._buffer[:_WHOLE]))
            del self._buffer[:_WHOLE]
        if self._long is not None:
            start, hasher, size = self._long
            hasher.update(self._buffer)
            self._long = start, hasher, size + len(self._buffer)
            self._buffer.clear()
        self._searched = len(self._buffer)
        return None

    def _hash_in_hand(self) -> str:
        """Return the hash of the line without its end, as `FileFeed` computes it."""
        return self._long[1].hexdigest() if self._long is not None else digest_of(bytes(self._buffer).rstrip(b"\r\n"))

    def _ended(self, rest: bytes) -> RawRecord:
        assert self._long is not None
        start, hasher, size = self._long
        self._long = None
        rest = rest.rstrip(b"\r\n")
        hasher.update(rest)
        size += len(rest)
        flaw = "too_large", f"The record has {size:,} bytes, more than {LIMIT:,}."
        return RawRecord(start[:LIMIT], hasher.hexdigest(), size, flaw)

    def _still_the_same(self) -> None:
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            raise FileChanged(self.path, "it is gone.") from None
        except OSError as error:
            raise UnreadableFile(self.path, f"{error.strerror or error}.") from None
        if (now.st_dev, now.st_ino) != (self._begun.st_dev, self._begun.st_ino):
            raise FileChanged(self.path, "another file stands in its place (was it rotated?).")
        if now.st_size < self._read:
            raise FileChanged(self.path, f"it is shorter than what was read of it ({self._read:,} bytes).")


def _begin(start: bytes) -> tuple[bytes, blake2b, int]:
    return start, blake2b(start, digest_size=16), len(start)
