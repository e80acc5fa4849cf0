"""Read records out of JSON that is not one object a line: an array, the reply of a news service, or printed objects.

    [{"title": ...}, {"title": ...}]                      an array, on one line or many
    {"status": "ok", "articles": [{"title": ...}, ...]}   a reply: the records are in one of its lists
    {                                                     objects printed over several lines, one after another
      "title": ...
    }

An array is read as a stream. A reply is read as a whole: services send pages, and what a list is shows only at its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.fields import LIMIT, TEXT_FIELDS
from foreshock.ingest.formats import RawRecord, digest_of, too_large_or_none
from foreshock.ingest.streams import BOM, BUFFER, ByteStream

REPLY_LIMIT = 64 << 20
"""Largest reply, in bytes."""
LISTS = (
    "articles", "results", "feed", "news", "messages", "items", "data", "stories", "documents", "docs", "filings",
    "hits", "articles.results", "hits.hits", "response.docs", "response.results", "data.articles", "data.items",
    "data.results",
)  # fmt: skip
"""Where a reply holds its records, the most specific names of services first."""
_SIGN = re.compile(rb'["\\{}\[\],]|[^\s"\\{}\[\],]+')
_QUOTE = re.compile(rb'["\\]')


def records_in(reply: Any) -> list[Any] | None:
    """Return the records in the reply of a service; None if it is no reply but perhaps a record."""
    if not isinstance(reply, dict) or any(isinstance(reply.get(name), str) for name in TEXT_FIELDS):
        return None
    for path in LISTS:
        found: Any = reply
        for step in path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, list) and all(isinstance(entry, dict) for entry in found):
            return found
    return None


CR_ALONE = re.compile(rb"\}[ \t]*\r[ \t\r]*\{")
"""Two objects between which only a CR stands, as in files of old Macs. No JSON text holds a bare CR."""


def is_document(start: bytes, *, whole: bool) -> bool:
    """Whether a file that begins so (from its first sign on, without a mark) is not one object a line.

    `start`: all of the file if `whole`, else more of it than the longest record.
    """
    line, end, rest = start.partition(b"\n")
    following = rest.lstrip()[:1]
    if not end and not whole:
        return True  # no record is as long as this line
    if CR_ALONE.search(line):
        return True
    try:
        first = orjson.loads(line)
    except orjson.JSONDecodeError:
        # Either the value goes on, or the line is damaged and the next one begins an object of its own.
        return line[:1] == b"[" or following in {b'"', b"}"}
    if isinstance(first, list):
        return following in {b"", b"["}
    return records_in(first) is not None


class JsonDocuments:
    """The records of a file of JSON values that are not one a line."""

    name = "json"
    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self._path, self._encoding = path, encoding
        self._stream = ByteStream(path, encoding)
        self._stream.close()
        self.encoding = self._stream.encoding
        """The encoding of the file's text."""

    def records(self) -> Iterator[RawRecord]:
        self._stream = ByteStream(self._path, self._encoding)
        try:
            for value, size in self._values():
                for record in [value] if size > len(value) else self._unwrapped(value):
                    length = max(size, len(record)) if size > len(value) else len(record)
                    yield RawRecord(record[:LIMIT], digest_of(record), length, too_large_or_none(length))
        finally:
            self._stream.close()

    def progress(self) -> float:
        return self._stream.progress()

    def _unwrapped(self, value: bytes) -> Iterator[bytes]:
        try:
            found = records_in(orjson.loads(value)) if value[:1] == b"{" else None
        except orjson.JSONDecodeError:
            found = None
        if found is None:
            yield value
        else:
            yield from (orjson.dumps(record) for record in found)

    def _values(self) -> Iterator[tuple[bytes, int]]:
        """Yield the values of the file, and those in its arrays, each with its size. Longer ones are cut."""
        kept, size, depth, arrays, quoted = bytearray(), 0, 0, 0, False
        first = True
        while chunk := self._stream.read(BUFFER):
            chunk = chunk.removeprefix(BOM) if first else chunk
            first = False
            at = 0
            while at < len(chunk):
                if quoted:
                    match = _QUOTE.search(chunk, at)
                    end = len(chunk) if match is None else match.end()
                    if match is not None and match[0] == b"\\":
                        if end == len(chunk):
                            chunk += self._stream.read(1)
                        end += 1
                    elif match is not None:
                        quoted = False
                    piece = chunk[at:end]
                else:
                    match = _SIGN.search(chunk, at)
                    if match is None:
                        end, piece = len(chunk), chunk[at:] if depth else b""
                    else:
                        sign, end = match[0], match.end()
                        piece = chunk[at:end] if depth else sign
                        if sign == b'"':
                            quoted = True
                        elif sign in {b"{", b"["}:
                            if sign == b"[" and not depth and not size and not arrays:
                                arrays, piece = 1, b""
                            else:
                                depth += 1
                        elif sign in {b"}", b"]"} and depth:
                            depth -= 1
                        elif not depth and sign in {b",", b"]"}:
                            arrays, piece = max(0, arrays - (sign == b"]")), b""
                            if size:
                                yield bytes(kept), size
                                kept, size = bytearray(), 0
                at = end
                size += len(piece)
                kept += piece[: max(0, REPLY_LIMIT - len(kept))]
                if piece and not depth and not quoted and piece[-1:] in {b"}", b"]", b'"'} and size:
                    yield bytes(kept), size
                    kept, size = bytearray(), 0
        if size:
            yield bytes(kept), size
        if depth or quoted or arrays:
            raise UnreadableFile(self._path, "ends in the middle of its JSON. Fetch the file again.")
