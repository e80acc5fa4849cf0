"""Read the bytes of a feed file as a stream, compressed or not. Only a buffer is in memory.

A truncated `.gz` or `.zst` yields every byte before the break and then raises `UnreadableFile`. This needs our own loop
around the decoders: Python's gzip loses the last bytes, and zstandard's reader takes a truncation for the end.
"""

from __future__ import annotations

import io
import os
import zlib
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from foreshock.ingest.containers import ZIP, Transcoded, ZipMember, inflates_too_much
from foreshock.ingest.errors import MissingFile, UnreadableFile
from foreshock.ingest.markup import marked_encoding

BUFFER = 1 << 16
BOM = b"\xef\xbb\xbf"
# Input of one decoder call. A hostile file can inflate a thousandfold (gzip) or more (zstd); this bounds the output.
_FEED = 2048
BLANK_LINES = 2_000_000
"""The most blank lines, or rows of empty cells, one after another. A spreadsheet writes up to a million."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class ByteStream(io.BufferedReader):
    """The bytes of a file after decompression, and the share of the file that was read."""

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        """Open the file. Raises `MissingFile`, `UnreadableFile`.

        `encoding`: of its text, if it is neither UTF-8 nor marked.
        """
        self._file = open_file(path)
        self._size = max(path.stat().st_size, 1)
        # Decide by the first bytes; a suffix may be wrong.
        start = packed = self._file.read(4)
        self._file.seek(0)
        if start.startswith((_GZIP, _ZSTD, ZIP)):
            with suppress(UnreadableFile):  # reading it says so, after what comes before the break
                start = _unpacked(open_file(path), path, start).read(4)
        self.encoding = encoding or marked_encoding(start) or "utf-8"
        """The encoding of the file's text. What is read is UTF-8."""
        # No buffer between the decoders and this one: it would lose the bytes before a break.
        raw = _unpacked(self._file, path, packed)
        if not self.encoding.startswith("utf-8"):
            raw = Transcoded(raw, self.encoding, path)
        super().__init__(raw, BUFFER)

    def progress(self) -> float:
        """Return 0 at the start, 1 at the end."""
        return 1.0 if self._file.closed else min(self._file.tell() / self._size, 1.0)


class Lines:
    """Lines with their ends: (line, size, None). A line over `limit` bytes comes as (its start, its size, its hash)."""

    def __init__(self, path: Path, limit: int, encoding: str | None = None) -> None:
        self._stream = ByteStream(path, encoding)
        self.encoding = self._stream.encoding
        self._limit = limit
        self._started = False
        self._path = path
        self._blank = 0

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> tuple[bytes, int, str | None]:
        line = self._stream.readline(self._limit + 2)
        whole = len(line) < self._limit + 2 or line[-1:] == b"\n"
        if not self._started:
            self._started = True
            line = line.removeprefix(BOM)
        if not line:
            raise StopIteration
        if whole:
            if line.isspace():
                self.blank()
            else:
                self._blank = 0
            return line, len(line), None
        hasher = blake2b(line, digest_size=16)
        size = len(line)
        while piece := self._stream.readline(BUFFER):
            ended = piece[-1:] == b"\n"
            piece = piece.rstrip(b"\r\n") if ended else piece
            hasher.update(piece)
            size += len(piece)
            if ended:
                break
        return line[: self._limit], size, hasher.hexdigest()

    def blank(self) -> None:
        """Count a line that holds no record. Raises `UnreadableFile` if there are too many, one after another."""
        self._blank += 1
        if self._blank > BLANK_LINES:
            raise UnreadableFile(self._path, f"has more than {BLANK_LINES:,} blank lines, one after another.")

    def progress(self) -> float:
        return self._stream.progress()

    def close(self) -> None:
        self._stream.close()


def open_file(path: Path) -> io.FileIO:
    """Open a regular file. Raises `MissingFile`, `UnreadableFile`."""
    try:
        # A pipe cannot be resumed, and opening one may wait for ever.
        if path.exists() and not path.is_dir() and not path.is_file():
            raise UnreadableFile(path, "is a pipe or a device. A feed file must be a regular file.")
        return io.FileIO(path)
    except FileNotFoundError:
        raise MissingFile(path) from None
    except IsADirectoryError:
        raise UnreadableFile(path, "is a folder.") from None
    except OSError as error:
        raise UnreadableFile(path, f"{error.strerror or error}.") from None


def _unpacked(file: io.FileIO, path: Path, start: bytes) -> Any:
    if start.startswith(ZIP):
        return ZipMember(file, path)
    if start.startswith((_GZIP, _ZSTD)):
        return _Inflated(file, path, zstd=start[:1] != _GZIP[:1])
    return file


class _Inflated(io.RawIOBase):
    def __init__(self, file: io.FileIO, path: Path, *, zstd: bool) -> None:
        self._file, self._path, self._zstd = io.BufferedReader(file, BUFFER), path, zstd
        self._decoder: Any = None  # of the current member; None between members
        self._unused = b""
        self._ready = memoryview(b"")
        self._size, self._out = os.fstat(file.fileno()).st_size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            chunk = self._unused or self._file.read(_FEED)
            self._unused = b""
            if not chunk:
                if self._decoder is not None:
                    raise UnreadableFile(self._path, "is truncated: it ends in the middle. Fetch the file again.")
                return 0
            if self._decoder is None:
                chunk = chunk.lstrip(b"\0")  # padding, as tar writes it
                if not chunk:
                    continue
                self._decoder = self._new_decoder()
            try:
                self._ready = memoryview(self._decoder.decompress(chunk))
            except Exception as error:
                # zlib.error or zstandard.ZstdError. zstandard is imported only for files that need it.
                raise UnreadableFile(self._path, f"is damaged: {error}. Fetch the file again.") from None
            self._out += len(self._ready)
            inflates_too_much(self._path, self._size, self._out)
            if self._decoder.eof:
                self._unused, self._decoder = self._decoder.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()

    def _new_decoder(self) -> Any:
        if self._zstd:
            import zstandard

            # Archives of posts are compressed with windows of up to 2 GiB. Memory grows only with what is read.
            return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        return zlib.decompressobj(31)
