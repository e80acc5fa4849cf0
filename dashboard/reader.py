"""How the pages read the store: one snapshot for each look, and answers that are cached until a new bucket is decided.

A process has one engine for its store; all pages share it. The engine is reopened when another file takes the store's
place, as the demo's does. Each look checks the schema, because a store may be upgraded while a page is open.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing, StoreUnavailable
from foreshock.monitor.store import database, fills, views

Answer = TypeVar("Answer")
KEPT = 256


@dataclass(frozen=True, slots=True)
class Look:
    """One snapshot of the store, and its state."""

    connection: Connection
    standing: views.StoreState
    unmoved_for: float
    """Seconds in which this process has seen no progress."""
    pace: float | None
    """Records read per second, over the last minute; None at the first look."""
    filled: int = 0
    """The number of the last fill that is done: it changed the past of some topics."""


class Reader:
    """Reads one store, which may disappear and come back at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = make_url(url)
        self._file = Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._inode: int | None = None
        self._kept: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()
        self._moves: tuple[Any, float] = (None, time.monotonic())
        self._read: list[tuple[float, int]] = []

    @contextmanager
    def look(self) -> Iterator[Look]:
        """Take one snapshot.

        Raises:
            StoreMissing: the store does not exist.
            SchemaMismatch: another version of Foreshock made the store.
            StoreError: the store cannot be read.
        """
        engine = self._opened()
        try:
            with database.reading(engine) as connection:
                self.check(connection)
                standing = views.standing(connection)
                yield Look(connection, standing, *self._watch(standing), fills.last_done(connection))
        except StoreUnavailable as error:
            self._close()
            raise StoreUnavailable(f"{database.shown(self.url)} cannot be read. {error}") from error
        except DBAPIError as error:
            self._close()
            raise StoreError(
                f"{database.shown(self.url)} cannot be read: {without_secrets(str(error.orig))}"
            ) from error

    def decided(self, look: Look, key: Any, make: Callable[[], Answer]) -> Answer:
        """Return `make()`, cached until a new bucket is decided: decided buckets change only with a fill.

        All viewers share it. So a text with times in it needs the viewer's zone in its key.
        """
        return self.moved_on(look, key, lambda _: make())

    def moved_on(self, look: Look, key: Any, make: Callable[[Answer | None], Answer]) -> Answer:
        """Return `make(last)`, cached as in `decided`. `last`: the answer to the same before this bucket, or None.

        So an answer can be made of the one before, where that takes less time.
        """
        token = (self._inode, look.standing.decided_until, look.filled)
        with self._lock:
            found = self._kept.get(key)
        if found is not None and found[0] == token:
            return found[1]  # type: ignore[no-any-return]
        # A fill changes buckets that were decided long ago, so nothing can be made of an answer from before it.
        same_past = found is not None and (found[0][0], found[0][2]) == (self._inode, look.filled)
        made = make(found[1] if found is not None and same_past else None)
        self._keep(key, token, made)
        return made

    def seen(self, look: Look) -> object:
        """Return a value that differs when a page has something new to draw."""
        return self._inode, look.standing.decided_until, look.filled, views.acts(look.connection)

    def for_seconds(self, key: Any, seconds: float, make: Callable[[], Answer]) -> Answer:
        """Return `make()`, cached for `seconds`: for queries that read all stories."""
        with self._lock:
            found = self._kept.get(key)
        if found is not None and time.monotonic() - found[0] < seconds:
            return found[1]  # type: ignore[no-any-return]
        made = make()
        self._keep(key, time.monotonic(), made)
        return made

    def engine(self) -> Engine:
        """Return the engine, to write what people do. Raises the errors of `look`."""
        return self._opened()

    def check(self, connection: Connection) -> None:
        """Raise SchemaMismatch unless the store is of this version.

        A store may be upgraded while a page is open. Rows of this version must then not be written to it.
        """
        revision = database.revision_of(connection)
        if revision != database.HEAD:
            self._close()
            raise SchemaMismatch(database.version_mismatch(revision, database.shown(self.url)))

    def _keep(self, key: Any, token: Any, made: Any) -> None:
        with self._lock:
            self._kept[key] = token, made
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def _opened(self) -> Engine:
        with self._lock:
            inode = None
            if self._file is not None:
                try:
                    inode = self._file.stat().st_ino
                except OSError:
                    self._dispose()
                    raise StoreMissing(f"There is no store at {self._file}.") from None
            if self._engine is None or inode != self._inode:
                self._dispose()
                self._kept.clear()
                self._engine, self._inode = database.connect(self.url, create=False), inode
            return self._engine

    def _close(self) -> None:
        with self._lock:
            self._dispose()

    def _dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _watch(self, standing: views.StoreState) -> tuple[float, float | None]:
        now, state = time.monotonic(), (standing.decided_until, standing.moves)
        read = sum(source.next_offset for source in standing.sources)
        with self._lock:
            if state != self._moves[0]:
                self._moves = state, now
            self._read = [(at, n) for at, n in self._read if now - at < 60 and n <= read]
            if not self._read or now - self._read[-1][0] > 1:
                self._read.append((now, read))
            first, before = self._read[0]
            return now - self._moves[1], (read - before) / (now - first) if now - first > 1 else None
