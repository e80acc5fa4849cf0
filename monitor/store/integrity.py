"""Check that a store's file is whole: pages that a disk lost are found before a query meets them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

PATIENCE_SECONDS = 60.0
"""A large store takes longer; the check is then given up, and says so."""
_STEPS = 1_000
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Integrity:
    """What the check found. `finished` is false where it took too long; `damage` are SQLite's own words."""

    finished: bool
    seconds: float
    damage: tuple[str, ...] = ()


def check(engine: Engine, patience: float = PATIENCE_SECONDS) -> Integrity | None:
    """Run SQLite's quick check: every page of every table and index, but not that indexes match their tables.

    None for PostgreSQL, which checks its own pages (`data_checksums`).
    """
    if engine.dialect.name != "sqlite":
        return None
    started = time.monotonic()
    until = started + patience
    try:
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
            try:
                rows = connection.exec_driver_sql(f"PRAGMA quick_check({_SHOWN})").scalars().all()
            finally:
                driver.set_progress_handler(None, 0)
    except DBAPIError as error:
        seconds = time.monotonic() - started
        if "interrupt" in str(error.orig):
            return Integrity(False, seconds)
        return Integrity(True, seconds, (str(error.orig),))
    found = tuple(str(row).strip() for row in rows if row != "ok")
    return Integrity(True, time.monotonic() - started, found)
