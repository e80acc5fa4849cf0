"""Recognise files that are no table and no lines of text, whatever their names say, by their first bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from foreshock.ingest.errors import UnreadableFile

_PICTURE = "A feed file is JSON, CSV, Parquet or .xlsx."
_UNPACK = "Unpack it, or pack it as .gz or .zst."
_KINDS = (
    (rb"PAR1\x15", "is Parquet. Give it a name that ends in .parquet."),
    (rb"ARROW1\0\0", "is an Arrow file. Write its table as Parquet or CSV."),
    (rb"Obj\x01", "is an Avro file. Write its records as JSON lines."),
    (rb"SQLite format 3\0", "is a SQLite database. Export its table as CSV. A store of Foreshock goes to --store."),
    (rb"\xd0\xcf\x11\xe0", "is an old Excel or Word file. Save it as .xlsx or as CSV."),
    (rb"%PDF-\d\.\d", "is a PDF document. Save what it holds as CSV or JSON lines."),
    (rb"\x89PNG", f"is a picture (PNG). {_PICTURE}"),
    (rb"\xff\xd8\xff", f"is a picture (JPEG). {_PICTURE}"),
    (rb"GIF8[79]a", f"is a picture (GIF). {_PICTURE}"),
    (rb"BZh[1-9]1AY&SY", f"is packed with bzip2. {_UNPACK}"),
    (rb"\xfd7zXZ", f"is packed with xz. {_UNPACK}"),
    (rb"7z\xbc\xaf\x27\x1c", f"is packed with 7-Zip. {_UNPACK}"),
    (rb"Rar!\x1a\x07", f"is packed with RAR. {_UNPACK}"),
    (
        rb"\s*(?i:<!doctype html|<html)",
        "is a web page (HTML), not CSV or JSON. Was it saved instead of the file that it links to?",
    ),
    (
        rb"\s*<(\?xml|rss|feed)[\s>]",
        "is XML, not CSV or JSON. If it is an RSS feed, foreshock feeds try shows it, and [[feeds]] reads it.",
    ),
)
"""Pattern of the first bytes, and what the file is and what to do with it. A header of CSV may begin with `PAR1`."""
_ZEROS = 0.2
"""The least share of bytes 0 in the first line of a binary file. Text in UTF-16 has a half; a stray one is no sign."""
_IN_A_ZIP = (
    ("xl/workbook.xml", "is an Excel workbook. Give it a name that ends in .xlsx."),
    ("word/document.xml", "is a Word document. Save its table as CSV."),
)


def refuse_other_kinds(path: Path, start: bytes, *, table: bool) -> None:
    """Raise `UnreadableFile` if the first bytes of a file (unpacked, without a byte order mark) are of another kind.

    table: whether it would be read as CSV. Then its first line may not have many bytes that are 0.
    """
    for beginning, said in _KINDS:
        if re.match(beginning, start):
            raise UnreadableFile(path, said)
    line = start.partition(b"\n")[0]
    if table and line and line.count(0) >= _ZEROS * len(line):
        # In UTF-16, the letters of English have one byte that is 0. It is the second of each pair if the order is LE.
        order = "le" if line[1::2].count(0) > line[::2].count(0) else "be"
        raise UnreadableFile(
            path,
            "is a binary file and not CSV: many bytes of its first line are 0. If it is text in UTF-16, give "
            f"--encoding utf-16-{order}.",
        )


def kind_of_zip(members: Sequence[str]) -> str | None:
    """Return what a zip file with these members is and what to do with it; None if it is only a zip file."""
    return next((said for member, said in _IN_A_ZIP if member in members), None)
