"""Read the bytes of a feed file as a stream, compressed or not. Only a buffer is in memory.

A truncated `.gz` or `.zst` yields every byte before the break and then raises `UnreadableFile`. This needs our own loop
around the decoders: Python's gzip loses the last bytes, and zstandard's reader takes a truncation for the end.
"""

from __future__ import annotations

import io
import os
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

from foreshock.ingest.errors import MissingFile, UnreadableFile

BUFFER = 1 << 16
BOM = b"\xef\xbb\xbf"
# Input of one decoder call. A hostile file can inflate a thousandfold (gzip) or more (zstd); this bounds the output.
_FEED = 2048
MOST_INFLATED, FREE = 300, 16 << 20
"""How many bytes a compressed file may give for each of its own, beyond 16 MiB. News inflates 3 to 20-fold."""
BLANK_LINES = 2_000_000
"""The most blank lines, or rows of empty cells, one after another. A spreadsheet writes up to a million."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NOT_UTF_8 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


def inflates_too_much(path: Path, size: int, out: int, record: int | None = None) -> None:
    """Raise `UnreadableFile` if `out` bytes came, or must come, of a file of `size` bytes that did not hold them."""
    if out > FREE + MOST_INFLATED * size:
        raise UnreadableFile(
            path,
            f"inflates more than {MOST_INFLATED}-fold, as no feed does. If it is one, write it uncompressed.",
            record,
        )


class ByteStream(io.BufferedReader):
    """The bytes of a file after decompression, and the share of the file that was read."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises `MissingFile`, `UnreadableFile`."""
        self._file = open_file(path)
        self._size = max(path.stat().st_size, 1)
        # Decide by the first bytes; a suffix may be wrong.
        start = self._file.read(4)
        self._file.seek(0)
        packed = start.startswith((_GZIP, _ZSTD))
        super().__init__(_Inflated(self._file, path, zstd=start[:1] != _GZIP[:1]) if packed else self._file, BUFFER)

    def progress(self) -> float:
        """Return 0 at the start, 1 at the end."""
        return 1.0 if self._file.closed else min(self._file.tell() / self._size, 1.0)


class Lines:
    """Lines with their ends: (line, size, None). A line over `limit` bytes comes as (its start, its size, its hash)."""

    def __init__(self, path: Path, limit: int) -> None:
        self._stream = ByteStream(path)
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
            if line.startswith(_NOT_UTF_8):
                raise UnreadableFile(self._path, "is UTF-16 or UTF-32. Save it as UTF-8.")
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

            return zstandard.ZstdDecompressor().decompressobj()
        return zlib.decompressobj(31)
