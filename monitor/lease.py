"""The lease: it lets one process at a time decide a store's buckets.

On SQLite, the lease is a lock on a file beside the store. The kernel releases it when the holder ends, even if it was
killed. On PostgreSQL, it is a row that the holder renews. Another process may take it over after it expires.

The lease only saves work. Compare and set protects the rows (docs/design.md#compare-and-set and #9-the-lease).
"""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import BigInteger, Connection, Engine, cast, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from foreshock.monitor.errors import LeaseHeld, MonitorError, StoreError
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import at_once, shown
from foreshock.monitor.store.database_errors import translating_errors

LASTS_SECONDS = 10.0
"""How long a lease on PostgreSQL lasts after it was taken or renewed."""

RENEWED_EACH_SECONDS = 3.0
"""How often it is renewed. Two renewals in a row may fail before it expires."""


class Lease:
    """The lease, as its holder sees it. On SQLite, it is held until the process ends."""

    def holds(self) -> bool:
        """Return whether this process still holds the lease, without asking the database.

        The answer is no after a pause that was longer than the lease.
        """
        return True

    @property
    def lost(self) -> bool:
        """Whether another process has taken over the lease."""
        return False


@contextmanager
def held(url: str, command: str, *, wait_for_expiry: bool = True) -> Iterator[Lease]:
    """Hold the store's lease for the duration of the context.

    `wait_for_expiry`: on PostgreSQL, wait while the holder may be a process that was killed. Its row expires within
    seconds. A holder that renews its row is alive.

    Raises:
        LeaseHeld: another process holds the lease. The message names it.
        StoreUnavailable: the database does not answer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        with _row_held(url, command, wait_for_expiry) as lease:
            yield lease
        return
    assert parsed.database
    with _file_locked(parsed.database, command):
        yield Lease()


def refuse_lost(held: Lease) -> None:
    """Raise LeaseHeld if another process has taken the lease over."""
    if held.lost:
        raise LeaseHeld("Another process took this store over while this process could not reach it.")


@contextmanager
def _file_locked(store: str, command: str) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock; compare and set protects the rows without it
        yield
        return
    path = Path(store + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(
            f"The store {store} cannot be written: {path}: {error.strerror}. Make its folder writable, or use another "
            "store."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeaseHeld(
                f"The store {store} is being written by {_holder(descriptor)}. Wait until it ends, or stop it."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"command": command, "pid": os.getpid(), "since": _now()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"`foreshock {holder['command']}` (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def _row_held(url: str, command: str, wait_for_expiry: bool) -> Iterator[Lease]:
    lease = _RowLease(url, f"`foreshock {command}` ({socket.gethostname()}, process {os.getpid()}, since {_now()})")
    try:
        seen = None
        while not lease.renew():
            row = lease.row()
            if row is not None and (not wait_for_expiry or row != (seen or row)):
                raise LeaseHeld(
                    f"The store {shown(url)} is being decided by {row.holder}. Wait until it ends, or stop it. If it "
                    f"was killed, its lease expires within {LASTS_SECONDS:.0f} s."
                )
            seen = row
            time.sleep(0.5)
        with lease.renewed():
            yield lease
    finally:
        lease.close()


class _RowLease(Lease):
    """The lease of a PostgreSQL store: the only row of the table `lease`."""

    def __init__(self, url: str, holder: str) -> None:
        self._engine: Engine = at_once(url)
        self._holder = holder
        self._token = uuid4().hex
        self._until = float("-inf")  # by this process's monotonic clock, which also runs while the process is paused
        self._lost = False
        self._ending = threading.Event()

    def holds(self) -> bool:
        return not self._lost and time.monotonic() < self._until

    @property
    def lost(self) -> bool:
        return self._lost

    def renew(self) -> bool:
        """Take or renew the lease. Return whether this process holds it now."""
        begun = time.monotonic()
        table = schema.lease
        now = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
        statement = insert(table).values(
            id=1, holder=self._holder, token=self._token, expires_at=now + round(LASTS_SECONDS * 1_000_000)
        )
        new = statement.excluded
        statement = statement.on_conflict_do_update(
            index_elements=["id"],
            set_={"holder": new.holder, "token": new.token, "expires_at": new.expires_at},
            where=or_(table.c.token == self._token, table.c.expires_at < now),
        )
        with self._connection() as connection:
            ours = connection.execute(statement.returning(table.c.id)).first() is not None
        if ours:
            self._until = begun + LASTS_SECONDS
        return ours

    def row(self) -> Any:
        """Return the stored row, whoever holds the lease; None if nobody does."""
        with self._connection() as connection:
            return connection.execute(select(schema.lease)).first()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in its own thread until the context ends, then release it."""
        thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(LASTS_SECONDS)
            if self.holds():  # otherwise the database does not answer, or another process holds it
                with suppress(MonitorError, DBAPIError), self._connection() as connection:
                    connection.execute(delete(schema.lease).where(schema.lease.c.token == self._token))
            self._until = float("-inf")

    def close(self) -> None:
        self._engine.dispose()

    def _keep(self) -> None:
        while not self._ending.wait(RENEWED_EACH_SECONDS * random.uniform(0.9, 1.0)):
            # If the database does not answer, the lease expires. Try again, since nobody else may have taken it over.
            with suppress(MonitorError, DBAPIError):
                self._lost = not self.renew()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with translating_errors(), self._engine.connect() as connection:
            yield connection
