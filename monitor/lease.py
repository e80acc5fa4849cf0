"""One writer a SQLite store: a lock on a file beside it, which the kernel releases when its holder ends, however it
ends.

It saves work only: what keeps the rows right is compare and set. A PostgreSQL store needs none for a replay.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from foreshock.monitor.errors import LeaseHeld, StoreError


@contextmanager
def held(url: str, command: str) -> Iterator[None]:
    """Hold the store's lease.

    Raises:
        LeaseHeld: another process holds it; the message names it.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        yield
        return
    try:
        import fcntl
    except ImportError:  # Windows: compare and set alone keeps the rows right
        yield
        return
    path = Path(parsed.database + ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"The store {parsed.database} cannot be written: {path}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LeaseHeld(
                f"The store {parsed.database} is being written by {_holder(descriptor)}. Wait for it, or stop it."
            ) from None
        os.ftruncate(descriptor, 0)
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        os.pwrite(descriptor, json.dumps({"command": command, "pid": os.getpid(), "since": since}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"`foreshock {holder['command']}` (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
