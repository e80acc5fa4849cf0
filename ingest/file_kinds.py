"""Recognise files that are no table and no lines of text, whatever their names say, by their first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foreshock.ingest.errors import UnreadableFile

_KINDS = (
    (b"PAR1", "is Parquet. Give it a name that ends in .parquet."),
    (b"ARROW1", "is an Arrow file. Write its table as Parquet or CSV."),
    (b"Obj\x01", "is an Avro file. Write its records as JSON lines."),
    (b"SQLite format 3\x00", "is a SQLite database. Export its table as CSV. A store of Foreshock goes to --store."),
    (b"\xd0\xcf\x11\xe0", "is an old Excel or Word file. Save it as .xlsx or as CSV."),
    (b"%PDF-", "is a PDF document. Save what it holds as CSV or JSON lines."),
    (b"\x89PNG", "is a picture (PNG). A feed file is JSON, CSV, Parquet or .xlsx."),
    (b"\xff\xd8\xff", "is a picture (JPEG). A feed file is JSON, CSV, Parquet or .xlsx."),
    (b"GIF8", "is a picture (GIF). A feed file is JSON, CSV, Parquet or .xlsx."),
    (b"BZh", "is packed with bzip2. Unpack it, or pack it as .gz or .zst."),
    (b"\xfd7zXZ", "is packed with xz. Unpack it, or pack it as .gz or .zst."),
    (b"7z\xbc\xaf\x27\x1c", "is packed with 7-Zip. Unpack it, or pack it as .gz or .zst."),
    (b"Rar!", "is packed with RAR. Unpack it, or pack it as .gz or .zst."),
)
"""Beginning, and what the file is and what to do with it. None is the beginning of a text."""
_IN_A_ZIP = (
    ("xl/workbook.xml", "is an Excel workbook. Give it a name that ends in .xlsx."),
    ("word/document.xml", "is a Word document. Save its table as CSV."),
)
_HTML = (b"<!doctype html", b"<html")


def refuse_other_kinds(path: Path, start: bytes, *, table: bool) -> None:
    """Raise `UnreadableFile` if the first bytes of a file (unpacked, without a byte order mark) are of another kind.

    table: whether it would be read as CSV. Then it also may not be a web page, or have the byte 0 in its first line.
    """
    for beginning, said in _KINDS:
        if start.startswith(beginning):
            raise UnreadableFile(path, said)
    if not table:
        return
    if start.lstrip()[:20].lower().startswith(_HTML):
        raise UnreadableFile(path, "is a web page (HTML), not CSV. Was it saved instead of the file that it links to?")
    if b"\0" in start.partition(b"\n")[0]:
        raise UnreadableFile(
            path,
            "is a binary file and not CSV: its first line has bytes that are 0. If it is text in UTF-16, give "
            "--encoding utf-16.",
        )


def kind_of_zip(members: Sequence[str]) -> str | None:
    """Return what a zip file with these members is and what to do with it; None if it is only a zip file."""
    return next((said for member, said in _IN_A_ZIP if member in members), None)
