"""Print results on stdout, as JSON or as text that is safe for a terminal; print progress and notes on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from foreshock.ingest.redaction import without_secrets

# Headlines come from outside. A control character in one must not control the reader's terminal, nor may a character
# that turns the direction of text or has no width make a line read as another.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")
_STEERING = (0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_REMOVED = dict.fromkeys((*_STEERING, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)), "")
_IN_JSON = re.compile(f"[{''.join(map(chr, (*range(127, 160), 0x2028, 0x2029, *_REMOVED)))}]")
_LONE = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_UNFIT = _CONTROLS | _REMOVED | _LONE


_TIMES = frozenset({"fired", "from", "last story", "published_at", "start", "time"})
"""Columns of a table that are never wrapped: a time that goes on in the next line cannot be read."""


def clean(value: object) -> str:
    """Return the value as one line of text, without characters that control a terminal or turn text around."""
    return "" if value is None else str(value).translate(_UNFIT)


def clean_lines(text: str) -> str:
    """Return `clean` lines of text."""
    return "\n".join(clean(line) for line in text.split("\n"))


def print_json(value: object) -> None:
    """Print one JSON object on one line. Times end in Z."""
    import orjson

    options = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY
    text = orjson.dumps(value, option=options, default=str).decode()
    # The same value, but written as \\u202e and the like: a terminal may be what reads it.
    sys.stdout.write(_IN_JSON.sub(_escaped, text) + "\n")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04x}"


def print_lines(rows: Iterable[object]) -> None:
    """Print each row as a JSON object on its own line."""
    for row in rows:
        print_json(row)


def print_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as CSV in which no cell is a formula; the header is the keys of the first row."""
    import csv

    from foreshock.dashboard.export import cell

    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({key: cell(clean(value)) if isinstance(value, str) else value for key, value in row.items()})


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> int:
    """Print a table without a frame and return its number of rows. `right` names the right-aligned columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in _TIMES)
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    if table.row_count:
        if not console.is_terminal:
            console.width = 200  # a file or pipe has no width; use a wide one
        with console.capture() as captured:  # rich would end the process if the reader has gone
            console.print(table)
        sys.stdout.write(captured.get())
    return table.row_count


def print_text(text: str) -> None:
    """Print lines of text without control characters."""
    print(clean_lines(text))


def note(text: str) -> None:
    """Print a sentence on stderr, beside the result."""
    print(clean(without_secrets(text)), file=sys.stderr)


def and_copies(number: int) -> str:
    """Return what follows a title that stands for `number` more records, near-copies and duplicates."""
    return f" (and {number:,} {'copy' if number == 1 else 'copies'})" if number else ""


@contextmanager
def progress(label: str, *, shown: bool = True) -> Iterator[Callable[[float, float | None, str], None]]:
    """Show a progress bar on stderr, if stderr is a terminal.

    Yields a function to call with the part done, the total, and the words beside the bar.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda done, total, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
    # Redirect stdout only if it shares the terminal with the bar.
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(label, total=None, words="")
        try:
            yield lambda done, total, words: bar.update(task, completed=done, total=total, words=clean(words))
        except KeyboardInterrupt:
            bar.live.transient = False  # how far it came is what one wants to know then
            raise
