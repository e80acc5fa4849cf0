"""Guess the encoding of a file whose bytes are not UTF-8, for `foreshock check`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.streams import BUFFER, ByteStream

_READ = 4 << 20
_SAMPLE = 1 << 18
_TYPOGRAPHY = frozenset("‘’“”„‚–—…•€£¥¢§©®™°±·«»‹›¿¡\xa0²³¹ºª¼½¾×†‡")
_MOST = 0.3
"""Share of signs beyond ASCII in a text of Western Europe. Other scripts, read as Windows-1252, have more."""


class EncodingGuess(NamedTuple):
    """An encoding (None: it is open), and a sentence with the reason."""

    encoding: str | None
    reason: str


def guess_encoding(path: Path) -> EncodingGuess | None:
    """Return the encoding of a file's first bytes; None if they are UTF-8, or marked, or no text."""
    data = bytearray()
    try:
        opened = ByteStream(path)
    except UnreadableFile:  # a workbook, for one; opening the file by its name reads it, or says why not
        return None
    with opened as stream:
        if not stream.encoding.startswith("utf-8"):
            return None
        with suppress(UnreadableFile):
            while len(data) < _READ and (chunk := stream.read1(BUFFER)):
                data += chunk
    lines = bytes(data).split(b"\n")
    if len(data) >= _READ:
        lines.pop()  # it may be cut within a sign
    if b"\0" in data[:BUFFER]:
        return None
    bad = [line for line in lines if not _is_utf8(line)]
    if not bad:
        return None
    count = f"{len(bad):,} of {len(lines):,} lines are not UTF-8"
    if any(not line.isascii() and _is_utf8(line) for line in lines):
        return EncodingGuess(
            None, f"{count}, but others are: the file mixes encodings. Write it anew in one of them, best in UTF-8."
        )
    sample = b"\n".join(bad)[:_SAMPLE]
    if _fits_windows_1252(sample):
        return EncodingGuess("cp1252", f"{count}. Their bytes fit Windows-1252, so this report uses --encoding cp1252.")
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    if best is None or best.encoding in {"ascii", "utf_8"}:
        return EncodingGuess(None, f"{count}. If you know their encoding, name it with --encoding.")
    return EncodingGuess(
        best.encoding,
        f"{count}. They look like {best.encoding}, so this report uses --encoding {best.encoding}. Check that "
        "names and words are right.",
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fits_windows_1252(data: bytes) -> bool:
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    letters = [sign for sign in text if sign.isalpha()]
    beyond = [sign for sign in text if not sign.isascii()]
    good = sum(sign in _TYPOGRAPHY or (sign.isalpha() and sign <= "\u0178") for sign in beyond)
    return good >= 0.95 * len(beyond) and sum(not sign.isascii() for sign in letters) <= _MOST * max(len(letters), 1)
