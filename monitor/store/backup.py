"""Copy a store while processes write to it, and bring a copy back.

    backup("sqlite:///foreshock.db", Path("monday.db"))
    restore("sqlite:///again.db", Path("monday.db"))

Invariant: a copy is one snapshot. So how far each source was read, the stories, and what was decided of them belong
together, and who goes on with the copy reads the next record of each source. A copy has its name only once it is whole:
what is killed on the way leaves a file that ends in `.partial`, which the next attempt replaces. Whoever may not read
a store may not read a copy: a file has the permissions of what it was copied from, and a dump is its owner's alone.

A PostgreSQL store is copied by `pg_dump` and brought back by `pg_restore`, which must be installed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing
from foreshock.monitor.store import database

PAGES = 4_096
"""Pages that are copied at a time."""

_BESIDE = ("", "-wal", "-shm", "-journal")
"""A file of SQLite, and those beside it that SQLite takes for a part of it."""

Progress = Callable[[int, int], None]
"""Called with the pages done and all pages."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied."""

    bytes: int
    seconds: float
    schema: str


def backup(url: str, target: Path, progress: Progress = lambda done, total: None) -> Copied:
    """Copy a store to a file that does not exist yet. Readers and writers go on meanwhile.

    Raises:
        StoreMissing: there is no such store.
        StoreError: the file exists, there is no room for it, or the copy failed.
    """
    database.connect(url, create=False).dispose()  # it is a store, of this schema
    parsed, began = make_url(url), time.monotonic()
    _must_be_free(target)
    partial = target.with_name(f"{target.name}.partial")
    if parsed.get_backend_name() == "sqlite":
        source = Path(parsed.database or "")
        _copy(source, partial, progress)
    else:
        with _said(target):
            _begin(partial)
        options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={partial}"]
        _run("pg_dump", parsed, options)
    with _said(target):
        _into_place(partial, target)
    return Copied(target.stat().st_size, time.monotonic() - began, database.HEAD)


def restore(url: str, source: Path, progress: Progress = lambda done, total: None) -> Copied:
    """Bring a copy back, as a store that does not exist yet.

    Raises:
        StoreMissing: there is no such copy.
        SchemaMismatch: the copy is of a newer version, or not of a store.
        StoreError: the URL is malformed, the store exists already, or the copy is damaged or could not be brought back.
    """
    database.shown(url)  # it is one
    if not source.is_file():
        raise StoreMissing(f"There is no file {source}.")
    parsed, began = make_url(url), time.monotonic()
    if parsed.get_backend_name() == "sqlite":
        target = Path(parsed.database or "")
        revision = _revision_of(source)
        for beside in _BESIDE:  # a file beside a store that is gone would become part of this one
            _must_be_free(target.with_name(target.name + beside))
        partial = target.with_name(f"{target.name}.partial")
        _copy(source, partial, progress)
        with _said(target):
            _into_place(partial, target)
    else:
        options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(source)]
        _must_be_empty(url)
        _run("pg_restore", parsed, options)
        revision = database.HEAD
    database.connect(url, create=True).dispose()  # upgrades a copy of an older version
    return Copied(source.stat().st_size, time.monotonic() - began, revision)


def _copy(source: Path, target: Path, progress: Progress) -> None:
    """Copy a SQLite database as it is at the beginning."""
    try:
        with closing(sqlite3.connect(source, timeout=30)) as old:
            # Within this transaction the copy sees no later commit, and need not begin anew after each.
            old.execute("BEGIN")
            # With what is still in the write-ahead log, which the size of the file does not show.
            size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            _room_for(old.execute(size).fetchone()[0], target)
            _begin(target)
            with closing(sqlite3.connect(target)) as new:
                old.backup(new, pages=PAGES, progress=lambda _, left, total: progress(total - left, total), sleep=0)
                damage = new.execute("PRAGMA quick_check(1)").fetchone()[0]
                # A file with a write-ahead log cannot be read where nobody may write. `connect` gives a store one.
                new.execute("PRAGMA journal_mode = DELETE")
        target.chmod(source.stat().st_mode & 0o777 | 0o600)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{source} could not be copied to {target}: {error}") from error
    if damage != "ok":
        raise StoreError(f"{source} is damaged ({damage}). Use an older copy, or see docs/store.md#a-damaged-store.")


@contextmanager
def _said(target: Path) -> Iterator[None]:
    """Turn an error of the file system into a StoreError that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{target} could not be written: {error.strerror or error}.") from error


def _begin(partial: Path) -> None:
    """Create the file that is written to, anew, and readable by its owner alone."""
    for beside in _BESIDE:
        partial.with_name(partial.name + beside).unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _into_place(partial: Path, target: Path) -> None:
    """Give a whole copy its name, once it is on the disk."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    folder = os.open(target.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _must_be_free(target: Path) -> None:
    if target.exists():
        raise StoreError(f"{target} exists already. Name another file, or move this one away.")
    if not target.absolute().parent.is_dir():
        raise StoreError(f"The folder {target.absolute().parent} does not exist. Create it, or name another.")


def _room_for(size: int, target: Path) -> None:
    free = shutil.disk_usage(target.absolute().parent).free
    if free < size:
        raise StoreError(
            f"{target.absolute().parent} has {free / 1e9:.1f} GB free, and the copy needs {size / 1e9:.1f} GB."
        )


def _revision_of(copy: Path) -> str:
    """Return the schema of a copy of a SQLite store."""
    try:
        with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise SchemaMismatch(f"{copy} is not a copy of a store: {error}.") from error
    if row is None or row[0] > database.HEAD:
        raise SchemaMismatch(database.version_mismatch(None if row is None else row[0], str(copy)))
    return str(row[0])


def _must_be_empty(url: str) -> None:
    engine = database.at_once(url)
    try:
        with engine.connect() as connection:
            revision = database.revision_of(connection)
    finally:
        engine.dispose()
    if revision is not None:
        raise StoreError(f"{database.shown(url)} holds a store already. Name an empty database.")


def _run(program: str, url: URL, options: list[str]) -> None:
    """Run a program of PostgreSQL on a database. Its password is in the environment, which other users cannot read."""
    found = shutil.which(program)
    if found is None:
        raise StoreError(f"{program} is not installed. It comes with PostgreSQL's client programs.")
    password = url.password or url.query.get("password")
    # `url.set(password=None)` would leave it in.
    place = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    place = place.difference_update_query(["password"])
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    done = subprocess.run(  # noqa: S603  # a program of PostgreSQL, with options of our own
        [found, f"--dbname={place.render_as_string(hide_password=False)}", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StoreError(f"{program} failed: {without_secrets(done.stderr.strip())[:500]}")
