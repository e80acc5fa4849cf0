"""Keep scores in a file, so that a text is encoded once, however many replays and stores read it.

The one idea: a score depends on the text and the model's identity alone, bit for bit (scorer.py). So a row of this file
is what the encoder would give, and no result depends on whether it was there. Texts are not kept: a text is known by a
hash of what is encoded. The hashes tell whoever has a text that it was read, so only the user may read the file.

The file may be lost at any time. Whatever goes wrong with it, texts are encoded as without it, and `problem` says what
was wrong. Several processes may use one file: SQLite orders their writes, and they all write the same rows.

A full file forgets a random part. A replay reads the same texts in the same order each time. If they do not all fit,
forgetting the oldest would forget each text shortly before it is needed again.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

_MARK = 0x466F5363
"""Tells a cache from other SQLite files (`PRAGMA application_id`)."""
_WAIT_SECONDS = 5.0
"""How long a write waits for another process. If that takes longer, these scores are not kept."""
_AT_ONCE = 500
"""Keys of one query."""
_SHARE = 4
"""A full file forgets the keys that begin with so many of the 256 first bytes."""
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS models (number INTEGER PRIMARY KEY, identity TEXT NOT NULL, used_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS scores (
    model INTEGER NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (model, key)
) WITHOUT ROWID;
PRAGMA application_id = {_MARK};
COMMIT;
"""


class ScoreCache:
    """Scores of one model in the file at `path`, which is made when it is first needed.

    Parameters
    ----------
    limit
        The most bytes that rows may take.

    Attributes
    ----------
    reused
        How many scores were found.
    kept
        How many were added.
    problem
        What is wrong with the file, a sentence; None if nothing is.
    """

    def __init__(self, path: Path, *, limit: int) -> None:
        self.path = path
        self.reused = self.kept = 0
        self.problem: str | None = None
        self._limit = limit
        self._connection: sqlite3.Connection | None = None
        self._model = 0
        self._identity = ""

    def open(self, identity: str) -> None:
        """Open the file for the scores of one model. `identity`: what they depend on beside the text."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What is beside it (-wal, -shm) gets its mode from SQLite. A file that is there keeps its own.
            self.path.touch(mode=0o600)
            self._connection = _connected(self.path)
            # A hash, not a serial number: another process may forget this model meanwhile, and a serial number would
            # then be given to the next one, with these rows.
            self._model = int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), signed=True)
            self._identity = identity
            self._note_use(self._connection)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the rows that are known, by key."""
        found: dict[bytes, bytes] = {}
        if self._connection is None:
            return found
        try:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, row FROM scores WHERE model = ? AND key IN ({marks})"  # noqa: S608 - only marks
                found.update(self._connection.execute(query, (self._model, *some)))
        except sqlite3.Error as error:
            self._give_up(error)
            return {}
        self.reused += len(found)
        return found

    def keep(self, rows: Mapping[bytes, bytes]) -> None:
        """Add rows, by key."""
        if self._connection is None:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                self._note_use(self._connection)  # another process may have forgotten this model meanwhile
                self._make_room(self._connection)
                self._connection.executemany(
                    "INSERT OR IGNORE INTO scores VALUES (?, ?, ?)",
                    [(self._model, key, row) for key, row in sorted(rows.items())],
                )
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                self._give_up(error)
        except sqlite3.Error as error:
            self._give_up(error)
        else:
            self.kept += len(rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _note_use(self, connection: sqlite3.Connection) -> None:
        statement = "INSERT INTO models VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used_at = excluded.used_at"
        connection.execute(statement, (self._model, self._identity, int(time.time())))

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """While the file is full, forget the models that were not used for longest, then random parts of this one."""
        start = secrets.randbelow(256 // _SHARE) * _SHARE
        for step in range(0, 256, _SHARE):
            if _used(connection) <= self._limit:
                return
            query = "SELECT number FROM models WHERE number != ? ORDER BY used_at, number LIMIT 1"
            if (other := connection.execute(query, (self._model,)).fetchone()) is not None:
                connection.execute("DELETE FROM scores WHERE model = ?", other)
                connection.execute("DELETE FROM models WHERE number = ?", other)
                continue
            first = (start + step) % 256
            last = bytes([first + _SHARE]) if first + _SHARE < 256 else b"\xff" * 17  # keys have 16 bytes
            statement = "DELETE FROM scores WHERE model = ? AND key >= ? AND key < ?"
            connection.execute(statement, (self._model, bytes([first]), last))

    def _give_up(self, error: Exception) -> None:
        self.problem = f"Scores are not kept in {self.path}: {error}. Delete the file, or name another in [model]."
        with suppress(sqlite3.Error):
            self.close()
        self._connection = None


def _used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _connected(path: Path) -> sqlite3.Connection:
    """Open the file, and make it if it is new. Raises sqlite3.Error if it is something else."""
    # Used by one thread at a time, but not always by the one that opened it.
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # One transaction: between two, another process may make the tables, and the file would look like another's.
        connection.execute("BEGIN")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        mark = connection.execute("PRAGMA application_id").fetchone()[0]
        connection.execute("COMMIT")
        if mark != _MARK:
            if tables:
                raise sqlite3.DatabaseError("it holds something else")
            with suppress(sqlite3.OperationalError):  # another process is doing it
                connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32768")  # 32 MiB
    except BaseException:
        connection.close()
        raise
    return connection
