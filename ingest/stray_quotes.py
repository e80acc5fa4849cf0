"""Find rows of a CSV that two stray quotation marks joined into one row that is valid CSV.

    1,"Bank falls,2026-03-02T10:00:00Z
    2,Oil rises,2026-03-02T10:01:00Z
    3,Gold 5" pipes",2026-03-02T10:02:00Z

By the rules of CSV the first mark opens a cell that the last one ends. No rule can tell that from a text with line
breaks, but its lines can: each has all the cells of a row, with a date in the same place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DIGITS = re.compile(r"\d")
_LETTERS = re.compile(r"[A-Za-z]+")
_DATE = 6
"""A cell counts as a date if it has at least this many digits, of at most 40 characters."""


def are_rows_alone(row: bytes, delimiter: str, columns: Sequence[str]) -> bool:
    """Return whether each line of a row of several lines is a row by itself.

    Each line must have exactly as many delimiters as the header, and some column must hold text of one date's form in
    all of them. The lines of a quoted text have neither: its first line lacks the cells after it.
    """
    lines = [line for line in row.decode("utf-8", "replace").splitlines() if line.strip()]
    if len(columns) < 2 or len(lines) < 2:
        return False
    cells = [line.split(delimiter) for line in lines]
    if any(len(found) != len(columns) for found in cells):
        return False
    forms = ({_form(found[place]) for found in cells} for place in range(len(columns)))
    return any(len(form) == 1 and None not in form for form in forms)


def _form(cell: str) -> str | None:
    """Return the form of a date, as `9999-99-99a99:99`, or None for another text."""
    text = cell.strip().strip('"')
    if len(text) > 40 or len(_DIGITS.findall(text)) < _DATE:
        return None
    return _LETTERS.sub("a", _DIGITS.sub("9", text))
