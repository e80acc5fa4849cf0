"""Read the bytes of a feed file out of a `.zip`, and turn other encodings into UTF-8. Only a buffer is in memory."""

from __future__ import annotations

import codecs
import io
import zipfile
from pathlib import Path
from typing import Any

from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.file_kinds import kind_of_zip

ZIP = b"PK\x03\x04"
MOST_INFLATED, FREE = 300, 16 << 20
"""How many bytes a packed file may give for each of its own, beyond 16 MiB. News inflates 3 to 20-fold."""
_CHUNK = 1 << 14


def inflates_too_much(path: Path, size: int, out: int, record: int | None = None) -> None:
    """Raise `UnreadableFile` if `out` bytes came, or must come, of a file of `size` bytes that did not hold them."""
    if out > FREE + MOST_INFLATED * size:
        raise UnreadableFile(
            path,
            f"inflates more than {MOST_INFLATED}-fold, as no feed does. If it is one, write it uncompressed, as CSV.",
            record,
        )


def check_encoding(name: str) -> str:
    """Return the name of an encoding of text as Python has it. Raises ValueError if it knows none of this name."""
    try:
        codec = codecs.lookup(name.strip())
        "a".encode(codec.name)
    except (LookupError, ValueError, TypeError):
        raise ValueError(f"{name!r} is not an encoding; write utf-8, cp1252 (Windows), latin-1 or utf-16.") from None
    return codec.name


class ZipMember(io.RawIOBase):
    """The only file in a `.zip`. Raises `UnreadableFile` if there are several, or if it cannot be unpacked."""

    def __init__(self, file: io.FileIO, path: Path) -> None:
        self._path, self._out = path, 0
        self._size = path.stat().st_size
        try:
            archive = zipfile.ZipFile(file)
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            if (said := kind_of_zip([member.filename for member in members])) is not None:
                raise UnreadableFile(path, said)
            if len(members) != 1:
                raise UnreadableFile(
                    path,
                    f"holds {len(members)} files. A feed file is one: unpack it into a folder, and replay the folder.",
                )
            self.name = members[0].filename
            self._member = archive.open(members[0])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
            raise UnreadableFile(path, f"is no zip file that can be read: {error}.") from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._member.read(min(len(buffer), _CHUNK))
        except Exception as error:  # zlib.error, BadZipFile, EOFError, lzma.LZMAError: they have no common class
            raise UnreadableFile(self._path, f"is damaged: {error}. Fetch the file again.") from None
        self._out += len(data)
        inflates_too_much(self._path, self._size, self._out)
        buffer[: len(data)] = data
        return len(data)


class Transcoded(io.RawIOBase):
    """Text in another encoding as UTF-8. Bytes that the encoding does not have become U+FFFD.

    Raises `UnreadableFile` if the encoding needs a byte order mark, and there is none.
    """

    def __init__(self, raw: Any, encoding: str, path: Path) -> None:
        self._raw, self._encoding, self._path = raw, encoding, path
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = memoryview(b"")
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._at_end:
            chunk = self._raw.read(_CHUNK) or b""
            self._at_end = not chunk
            try:
                text = self._decoder.decode(chunk, self._at_end)
            except UnicodeError as error:
                order = self._encoding.replace("_", "-")
                remedy = f" Give --encoding {order}-le or {order}-be." if order in ("utf-16", "utf-32") else ""
                raise UnreadableFile(self._path, f"cannot be read as {self._encoding}: {error}.{remedy}") from None
            self._ready = memoryview(text.encode("utf-8", "replace"))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()
