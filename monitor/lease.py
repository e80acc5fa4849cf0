"""One process that decides a store, at a time.

SQLite: a lock on a file beside it, which the kernel releases when its holder ends, however it ends. PostgreSQL: a row
that its holder renews, and that another may take over once it has run out.

It saves work only: what keeps the rows right is compare and set (see `monitor.closing`).
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
from foreshock.monitor.store.database import at_once, shown, told_apart

LASTS_SECONDS = 10.0
RENEWED_EACH_SECONDS = 3.0
"""So that two renewals may fail before it runs out."""


class Lease:
    """What its holder knows of it. On SQLite it is held until the process ends."""

    def holds(self) -> bool:
        """Whether it is this process's now, as far as that can be known without asking: not after a pause that was
        longer than the lease."""
        return True

    @property
    def lost(self) -> bool:
        """Another process has taken it over."""
        return False


@contextmanager
def held(url: str, command: str, *, wait_for_the_dead: bool = True) -> Iterator[Lease]:
    """Hold the store's lease.

    The row of a PostgreSQL store stays for some seconds after its holder was killed: `wait_for_the_dead` waits so long
    as it might be that.

    Raises:
        LeaseHeld: another process holds it; the message names it.
        StoreUnavailable: the database went away.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        with _row_held(url, command, wait_for_the_dead) as lease:
            yield lease
        return
    assert parsed.database
    with _file_locked(parsed.database, command):
        yield Lease()


@contextmanager
def _file_locked(store: str, command: str) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows: compare and set alone keeps the rows right
        yield
        return
    path = Path(store + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"The store {store} cannot be written: {path}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeaseHeld(
                f"The store {store} is being written by {_holder(descriptor)}. Wait for it, or stop it."
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
def _row_held(url: str, command: str, wait_for_the_dead: bool) -> Iterator[Lease]:
    lease = _RowLease(url, f"`foreshock {command}` ({socket.gethostname()}, process {os.getpid()}, since {_now()})")
    try:
        seen = None
        while not lease.renew():
            row = lease.of_another()
            if row is not None and (not wait_for_the_dead or row != (seen or row)):
                raise LeaseHeld(
                    f"The store {shown(url)} is being decided by {row.holder}. Wait for it, or stop it; if it was "
                    f"killed, its lease ends by itself within {LASTS_SECONDS:.0f} s."
                )
            seen = row
            time.sleep(0.5)
        with lease.renewed():
            yield lease
    finally:
        lease.close()


class _RowLease(Lease):
    def __init__(self, url: str, holder: str) -> None:
        self._engine: Engine = at_once(url)
        self._holder = holder
        self._token = uuid4().hex
        self._until = float("-inf")  # by this process's own clock, which goes on while it is paused
        self._lost = False
        self._ending = threading.Event()

    def holds(self) -> bool:
        return not self._lost and time.monotonic() < self._until

    @property
    def lost(self) -> bool:
        return self._lost

    def renew(self) -> bool:
        """Take it, or renew it; whether it is ours now."""
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

    def of_another(self) -> Any:
        with self._connection() as connection:
            return connection.execute(select(schema.lease)).first()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew it in a thread of its own until the context ends, then give it back."""
        thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(LASTS_SECONDS)
            if self.holds():  # else the database is away, or it is another's
                with suppress(MonitorError, DBAPIError), self._connection() as connection:
                    connection.execute(delete(schema.lease).where(schema.lease.c.token == self._token))
            self._until = float("-inf")

    def close(self) -> None:
        self._engine.dispose()

    def _keep(self) -> None:
        while not self._ending.wait(RENEWED_EACH_SECONDS * random.uniform(0.9, 1.0)):
            # Where the database is away the lease runs out, and is tried for again: nobody else may have taken it.
            with suppress(MonitorError, DBAPIError):
                self._lost = not self.renew()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with told_apart(), self._engine.connect() as connection:
            yield connection
