"""Read the first sheet of an Excel workbook (`.xlsx`): a header, then one record a row. Needs the extra `xlsx`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson

from foreshock.ingest.containers import inflates_too_much
from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.formats import RawRecord, digest_of, too_large_or_none
from foreshock.ingest.streams import open_file


class Workbook:
    """The rows of a workbook's first sheet. Dates have no zone: a workbook knows none."""

    name = "xlsx"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done, self._all = 0, 1
        open_file(path).close()
        self.columns: tuple[str, ...] | None = next(self._rows(), None)
        if not self.columns or not any(self.columns):
            raise UnreadableFile(path, "is empty: its first sheet has no header.")

    def records(self) -> Iterator[RawRecord]:
        self._done = 0
        rows = self._rows()
        columns = next(rows)
        for row in rows:
            self._done += 1
            fields = {
                name: _plain(cell) for name, cell in zip(columns, row, strict=False) if name and cell not in (None, "")
            }
            if fields:
                data = orjson.dumps(fields, default=str)
                yield RawRecord(data[:LIMIT], digest_of(data), len(data), too_large_or_none(len(data)))

    def progress(self) -> float:
        return min(self._done / self._all, 1.0)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the header as text, then the cells of each row."""
        try:
            from openpyxl import load_workbook
        except ImportError:
            raise UnreadableFile(
                self._path, "is an Excel workbook. Install what reads it: pip install 'foreshock[xlsx]'"
            ) from None
        try:
            with zipfile.ZipFile(self._path) as archive:
                size = sum(member.file_size for member in archive.infolist())
            inflates_too_much(self._path, self._path.stat().st_size, size)
            book = load_workbook(self._path, read_only=True, data_only=True)
            try:
                sheet = book.worksheets[0]
                self._all = max((sheet.max_row or 1) - 1, 1)
                for number, row in enumerate(sheet.iter_rows(values_only=True)):
                    yield tuple(str(cell or "").strip() for cell in row) if number == 0 else row
            finally:
                book.close()
        except UnreadableFile:
            raise
        except Exception as error:  # zipfile, XML and openpyxl have no common class
            what = f"is no Excel workbook that can be read: {type(error).__name__}: {error}"
            raise UnreadableFile(self._path, what, self._done or None) from None


def _plain(cell: Any) -> Any:
    if type(cell) is int and not -(2**63) <= cell < 2**63:  # JSON of 64 bits does not have it
        return str(cell)
    return cell.isoformat() if isinstance(cell, datetime | date) else cell
