"""Opening a store: the engine, its transactions, and its schema.

SQLite runs in WAL mode, so that readers (dashboard, `series`) never wait for the writer and read one snapshot;
`synchronous=NORMAL` is safe against a killed process, which is what we promise. Transactions are begun by us, not by
the driver: `BEGIN` to read a snapshot, `BEGIN IMMEDIATE` to write, because a transaction that reads first and writes
later fails with SQLITE_BUSY once another wrote meanwhile. On PostgreSQL both run at REPEATABLE READ: what a
transaction reads is one snapshot, and of two that write one row the second fails, which is `Overtaken` here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from foreshock.monitor.errors import (
    MonitorError,
    Overtaken,
    SchemaMismatch,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)

HEAD = "0006"
"""The revision that this version of Foreshock reads and writes: the newest file of migrations/versions."""


def connect(url: str, *, create: bool) -> Engine:
    """An engine on a store whose schema is current.

    With `create` a missing store is made and an older one is upgraded; without, either is an error: a command that
    reads changes nothing.

    Raises:
        StoreMissing: there is no store, and `create` is false.
        SchemaMismatch: the schema is newer than this version, older (without `create`), or not Foreshock's.
        StoreUnavailable: nobody answers.
        StoreError: the URL is malformed, or the store cannot be written.
    """
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and not create and not Path(parsed.database or "").exists():
        raise StoreMissing(
            f"There is no store at {parsed.database}. `foreshock replay FILE --store {url}` makes one from a feed file."
        )
    if sqlite and create:
        folder = Path(parsed.database or "").absolute().parent
        if not folder.is_dir():
            raise StoreError(
                f"The folder {folder} of the store does not exist. Make it, or name another in [store] url."
            )
        target = Path(parsed.database or "")
        if not os.access(target if target.exists() else folder, os.W_OK):
            raise StoreError(f"The store {target} cannot be written: {folder} or the file is read-only for this user.")
    try:
        engine = _sqlite(parsed) if sqlite else _postgres(parsed)
        _bring_to_head(engine, url, create=create)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"The store {shown(url)} cannot be opened. {error}") from error
    except OperationalError as error:
        raise StoreError(f"The store {shown(url)} cannot be opened: {error.orig}") from error
    except DBAPIError as error:
        raise StoreError(f"{shown(url)} cannot be used as a store: {error.orig}") from error
    except ImportError as error:
        raise StoreError(f"PostgreSQL needs its driver ({error}): pip install 'foreshock[postgres]'") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot to read from.

    Raises:
        StoreUnavailable: the database went away.
    """
    with told_apart(), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes, all or nothing.

    Raises:
        Overtaken: another transaction wrote what this one was about to write; nothing of it is in the store.
        StoreUnavailable: the database went away; if at the commit, nobody knows whether it was made.
    """
    try:
        with (
            told_apart(),
            engine.connect().execution_options(foreshock_begin="BEGIN IMMEDIATE") as connection,
            connection.begin(),
        ):
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_PATIENCE)
            yield connection
    except StoreUnavailable as error:
        if getattr(getattr(error.__cause__, "orig", None), "sqlstate", None) == _LOCKED:
            _end_the_stuck(engine)
        raise


@contextmanager
def told_apart() -> Iterator[None]:
    """Of what PostgreSQL says: what is settled by reading again, what by waiting, and what by a person."""
    try:
        yield
    except DBAPIError as error:
        told = _meaning(error)
        if told is None:
            raise
        raise told from error


def at_once(url: str) -> Engine:
    """An engine on a PostgreSQL store of which each statement stands for itself, seeing all that was committed before
    it."""
    return _postgres(_parse(url)).execution_options(isolation_level="AUTOCOMMIT")


def revision_of(connection: Connection) -> str | None:
    """The schema's revision; None in a database without one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def shown(url: str) -> str:
    """The URL with its password hidden."""
    return _parse(url).render_as_string(hide_password=True)


_PATIENCE = "SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL lock_timeout = '10s'"
"""A process that is stopped (or cut off) inside a transaction holds rows that others wait for: the server ends its
session, and what it does when it wakes fails."""

_LOCKED = "55P03"
_STUCK = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = 'foreshock'
  AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '30s'
"""


def _end_the_stuck(engine: Engine) -> None:
    """End sessions that wait for the rest of a COPY: of a process that was stopped in the midst of one. They are not
    idle to the server, so `_PATIENCE` does not end them."""
    with (
        suppress(DBAPIError),
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        connection.exec_driver_sql(_STUCK)


_OVERTAKEN = {"40001", "40P01"}  # serialization failure, deadlock
_RACED = {"partitions", "settings_versions", "desk_actions"}
"""Tables of which two processes may insert the same next row at once."""
_AWAY = {"57P01", "57P02", "57P03", "53300", _LOCKED}
"""Shut down by an administrator, crashed, starting up, too many connections, a lock not to be had in time."""


def _meaning(error: DBAPIError) -> MonitorError | None:
    if type(error.orig).__module__.startswith("sqlite3"):
        return None
    state = getattr(error.orig, "sqlstate", None)
    said = str(error.orig).strip().splitlines()[0]
    if state in _OVERTAKEN:
        return Overtaken(f"Another process wrote at the same time ({said}).")
    if state == "23505" and getattr(getattr(error.orig, "diag", None), "table_name", None) in _RACED:
        return Overtaken(f"Another process was first ({said}).")
    # libpq gives no code where there is no session: nobody answers, or what answers is not ready.
    nobody = isinstance(error, OperationalError) and (state is None or state[:2] == "08" or state in _AWAY)
    if not nobody and not error.connection_invalidated:
        return None
    return StoreUnavailable(
        f"The store is busy: {said}." if state == _LOCKED else f"The store does not answer: {said}."
    )


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        # The URL is not repeated: what cannot be parsed may hold a password anywhere.
        raise StoreError(
            "[store] url is no store URL. Examples: sqlite:///foreshock.db, postgresql://user@host/foreshock"
        ) from error
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(
            f"A store is SQLite or PostgreSQL, not {backend}. Examples: sqlite:///foreshock.db, postgresql://user@host/foreshock"
        )
    if backend == "sqlite" and not parsed.database:
        raise StoreError("A store in memory would be gone at once: name a file, such as sqlite:///foreshock.db")
    return parsed


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _LOCKED_FOR})

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver shall not begin transactions of its own
        cursor = connection.cursor()
        _write_ahead(cursor)
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA cache_size = -65536")  # 64 MiB: the indexes of the last days stay in memory
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("foreshock_begin", "BEGIN"))

    return engine


_LOCKED_FOR = 30.0
"""Seconds that SQLite waits for another process's lock."""


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Sets WAL mode. SQLite does not wait for the lock that this takes, whatever its time-out; where several processes
    open a new store together, we do."""
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
"""So that a server that vanished without a word is noticed in half a minute."""
_KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
"""And the server notices a client that did, and gives up the rows that it held."""


def _bring_to_head(engine: Engine, url: str, *, create: bool) -> None:
    with reading(engine) as connection:
        revision = revision_of(connection)
        others = [] if revision else inspect(connection).get_table_names()
    if revision == HEAD:
        return
    if revision is None and others:
        raise SchemaMismatch(
            f"{shown(url)} holds tables that are not Foreshock's ({', '.join(sorted(others)[:3])}). "
            "Name another database."
        )
    if revision is not None and revision > HEAD:
        raise SchemaMismatch(
            f"The store {shown(url)} has schema {revision}, made by a newer Foreshock; this one knows {HEAD}. "
            "Upgrade Foreshock, or use another store."
        )
    if not create:
        raise SchemaMismatch(
            f"The store {shown(url)} has schema {revision}; this Foreshock needs {HEAD}. "
            "Any command that writes, such as replay, upgrades it."
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with told_apart(), _upgrading(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def _upgrading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees what others committed while it waited for its turn: of processes that start together,
    one upgrades, and the others find it done."""
    if engine.dialect.name == "sqlite":
        with writing(engine) as connection:
            yield connection
        return
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADES})")
        yield connection


_UPGRADES = 0x466F7265  # any number, the same in every version
