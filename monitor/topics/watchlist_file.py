"""Add a topic to a watchlist file: one line at its end, with all else as it was.

The file is replaced in one step, once the new one was read and is good. So whoever reads it meanwhile sees it before or
after, and a crash leaves it whole.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshock.monitor.topics.rules import TopicRule, WatchlistError, load_watchlist

COLUMNS = ("name", "tickers", "names")
"""Those of a file that is new, and those that a line has."""


def add(path: Path, rule: TopicRule) -> None:
    """Add a rule of tickers and names to a watchlist. A file that does not exist yet is made.

    Raises:
        WatchlistError: the file cannot be read or written, or has a topic of this name; or a name or ticker has a mark
            that separates the entries of a list.
    """
    for entry in (*rule.names, *rule.tickers):
        if "|" in entry or ";" in entry:
            raise WatchlistError(
                f"{path}: {entry!r} cannot be added, because | or ; separates the entries of a list; write the topic "
                "as [[topics]] in the settings"
            )
    try:
        with _alone(path):
            known = load_watchlist(path) if path.exists() else []
            if any(rule.name == other.name for other in known):
                raise WatchlistError(f"{path}: the topic {rule.name!r} is in it already")
            _replace(path, _with(path.read_bytes() if path.exists() else b"", rule))
    except OSError as error:
        raise WatchlistError(f"{path}: cannot be written ({error.strerror}); add the topic by hand") from None


def _with(before: bytes, rule: TopicRule) -> bytes:
    """Return the bytes of a watchlist with one more line. Columns that it lacks are added to its header."""
    mark = "\ufeff" if before.startswith("\ufeff".encode()) else ""
    text = before.decode("utf-8-sig")
    found = re.search("\r\n|\n|\r", text)
    end = found[0] if found else "\n"
    header, _, rest = text.partition(end)
    columns = next(csv.reader([header])) if header.strip() else []
    cells = {"name": rule.name, "tickers": "|".join(rule.tickers), "names": "|".join(rule.names)}
    columns += [column for column in COLUMNS if column not in columns and cells[column]]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(columns)
    out.write(rest + (end if rest and not rest.endswith(("\n", "\r")) else ""))
    writer.writerow([cells.get(column, "") for column in columns])
    return (mark + out.getvalue()).encode()


def _replace(path: Path, data: bytes) -> None:
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _check(Path(name), path)
        os.chmod(name, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _check(new: Path, path: Path) -> None:
    """Raise WatchlistError, in the name of `path`, if the file that is to replace it is no watchlist."""
    try:
        load_watchlist(new)
    except WatchlistError as error:
        raise WatchlistError(str(error).replace(str(new), str(path))) from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let no other process add to a file of this folder meanwhile."""
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
