"""Open a store: create its engine, bring its schema up to date, and run its transactions.

SQLite runs in WAL mode, so readers (dashboard, `series`) read one snapshot and never wait for the writer.
`synchronous=NORMAL` keeps every committed transaction when a process is killed, which is what Foreshock promises.
Foreshock begins transactions itself, not the driver: with `BEGIN` to read a snapshot, with `BEGIN IMMEDIATE` to write.
A transaction that reads first and writes later would fail with SQLITE_BUSY if another one wrote in between.

PostgreSQL runs at REPEATABLE READ: a transaction reads one snapshot. If two transactions write one row, the second
fails and raises `Overtaken`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from foreshock.ingest import redaction
from foreshock.monitor.errors import (
    SchemaMismatch,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from foreshock.monitor.store.database_errors import LOCKED, said, translating_errors
from foreshock.monitor.store.same_file import SameFile

HEAD = "0023"
"""The schema revision that this version of Foreshock reads and writes: the newest file in migrations/versions."""


def connect(url: str, *, create: bool) -> Engine:
    """Return an engine on a store whose schema is current.

    With `create`, a missing store is created and an older one is upgraded. Without it, both are errors, because a
    command that only reads changes nothing.

    Raises:
        StoreMissing: there is no store, and `create` is false.
        SchemaMismatch: the schema is newer than this version, older (without `create`), or not Foreshock's.
        StoreUnavailable: the database server does not answer.
        StoreError: the URL is malformed, or the store cannot be written.
    """
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and not create and not Path(parsed.database or "").exists():
        raise StoreMissing(
            f"There is no store at {parsed.database}. "
            f"To create one from a feed file, run `foreshock replay FILE --store {shown(url)}`."
        )
    if sqlite and create:
        folder = Path(parsed.database or "").absolute().parent
        if not folder.is_dir():
            raise StoreError(
                f"The folder {folder} of the store does not exist. Create it, or name another folder in [store] url."
            )
        target = Path(parsed.database or "")
        if not os.access(target if target.exists() else folder, os.W_OK):
            raise StoreError(
                f"The store {target} cannot be written: this user may not write {folder} or the file. "
                "Change the permissions, or name another file in [store] url."
            )
    try:
        engine = _sqlite(parsed) if sqlite else _postgres(parsed)
        _bring_to_head(engine, url, create=create)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"The store {shown(url)} cannot be opened. {said(error)}") from error
    except OperationalError as error:
        raise StoreError(f"The store {shown(url)} cannot be opened: {said(error.orig)}") from error
    except DBAPIError as error:
        raise StoreError(f"{shown(url)} cannot be used as a store: {said(error.orig)}") from error
    except ImportError as error:
        raise StoreError(f"PostgreSQL needs its driver ({error}): pip install 'foreshock[postgres]'") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that reads one snapshot.

    Raises:
        StoreUnavailable: the connection to the database was lost.
    """
    with translating_errors(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes. It writes everything or nothing.

    Raises:
        Overtaken: another transaction wrote the same rows first. Nothing of this one is in the store.
        StoreUnavailable: the connection was lost. If that happened during the commit, the transaction may have been
            committed or not.
        StoreError: the file of the store was removed or replaced meanwhile.
    """
    try:
        with (
            translating_errors(),
            engine.connect().execution_options(foreshock_begin="BEGIN IMMEDIATE") as connection,
            connection.begin(),
        ):
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_PATIENCE)
            yield connection
        if (file := _files.get(engine)) is not None:
            file.check()
    except StoreUnavailable as error:
        if getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) == LOCKED:
            _end_the_stuck(engine)
        raise


def at_once(url: str) -> Engine:
    """Return an engine on a PostgreSQL store that commits each statement on its own (autocommit).

    Each statement sees everything that was committed before it.
    """
    return _postgres(_parse(url)).execution_options(isolation_level="AUTOCOMMIT")


def revision_of(connection: Connection) -> str | None:
    """Return the schema's revision, or None if the database has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def shown(url: str) -> str:
    """Return the URL without its secrets."""
    _parse(url)
    return redaction.redacted(url)


_PATIENCE = "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '10s'"
"""End the session of a process that stops (or loses its network) inside a transaction.

It holds rows that others wait for. When the process wakes up, its transaction fails.
"""

_STUCK = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = 'foreshock'
  AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '30s'
"""


def _end_the_stuck(engine: Engine) -> None:
    """End sessions that wait for the rest of a COPY because their process stopped in the middle of it.

    The server does not count them as idle, so `_PATIENCE` does not end them.
    """
    with (
        suppress(DBAPIError),
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        connection.exec_driver_sql(_STUCK)


def _parse(url: str) -> URL:
    redaction.remember(url)  # a driver's errors may repeat any part of it
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        # Do not show the URL: if it cannot be parsed, a password may be anywhere in it.
        raise StoreError(
            "[store] url cannot be read as a store URL. Examples: sqlite:///foreshock.db, "
            "postgresql://user@host/foreshock"
        ) from error
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(
            f"A store must be SQLite or PostgreSQL, not {backend}. Examples: sqlite:///foreshock.db, "
            "postgresql://user@host/foreshock"
        )
    if backend == "sqlite" and not parsed.database:
        raise StoreError(
            "A store in memory would be lost when the command ends. Name a file, such as sqlite:///foreshock.db"
        )
    return parsed


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _LOCKED_FOR})
    file = SameFile(Path(url.database or "").absolute())
    _files[engine] = file

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # keeps the driver from beginning transactions itself
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -65536")  # 64 MiB: the indexes of the last days stay in memory
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.close()
        if file.identity is None:
            file.check()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("foreshock_begin", "BEGIN"))

    return engine


_files: WeakKeyDictionary[Engine, SameFile] = WeakKeyDictionary()
_LOCKED_FOR = 30.0
"""How long SQLite waits for another process's lock, in seconds."""


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Set WAL mode, and wait for the lock if several processes open a new store together.

    SQLite itself does not wait for this lock, whatever its timeout.
    """
    until = time.monotonic() + _LOCKED_FOR
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _postgres(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    arguments = {key: value for key, value in _CONNECTION.items() if key not in url.query}
    engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute(_KEEPALIVE)
        connection.commit()

    return engine


_CONNECTION: dict[str, str | int] = {
    "application_name": "foreshock",
    "connect_timeout": 5,
    **{"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000},
}
"""With these, a client notices within half a minute that the server has vanished without closing the connection."""
_KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
"""With these, the server notices the same of a client, and releases the rows that it held."""


def version_mismatch(revision: str | None, store: str) -> str:
    """Say that a store's schema is not the one of this version of Foreshock, and what to do about it."""
    if revision is not None and revision > HEAD:
        return (
            f"The store {store} has schema {revision} of a newer Foreshock. This version knows schema {HEAD}. "
            "Upgrade Foreshock, or use another store."
        )
    return (
        f"The store {store} has schema {revision}. This version of Foreshock needs schema {HEAD}. "
        "To upgrade the store, run a command that writes, such as replay."
    )


def _bring_to_head(engine: Engine, url: str, *, create: bool) -> None:
    with reading(engine) as connection:
        revision = revision_of(connection)
        others = [] if revision else inspect(connection).get_table_names()
    if revision == HEAD:
        return
    if revision is None and others:
        raise SchemaMismatch(
            f"{shown(url)} holds tables that are not Foreshock's ({', '.join(sorted(others)[:3])}). "
            "Name another database in [store] url."
        )
    if not create or (revision is not None and revision > HEAD):
        raise SchemaMismatch(version_mismatch(revision, shown(url)))
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with translating_errors(), _upgrading(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _upgrading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees what others committed while it waited for its turn.

    If several processes start together, one upgrades the schema and the others find it upgraded.
    """
    if engine.dialect.name == "sqlite":
        with writing(engine) as connection:
            yield connection
        return
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADES})")
        yield connection


_UPGRADES = 0x466F7265
"""The key of the advisory lock: any number, but the same in every version."""
