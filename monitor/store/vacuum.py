"""Give the space of deleted rows back to the disk, and renew the statistics that plans are made from."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, text

from foreshock.monitor.errors import StoreError
from foreshock.monitor.store.database_errors import translating_errors


def compact(engine: Engine) -> tuple[int, int]:
    """Compact a store, and return its bytes before and after. On SQLite, the caller holds the lease.

    The numbers of stories in the full text survive it: they are a column, and not SQLite's own row numbers. Raises
    StoreError if it does not succeed; the store is then as before.
    """
    # VACUUM cannot run inside a transaction, so the driver's connection is used, where SQLAlchemy begins none.
    with translating_errors(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            size = text("SELECT pg_database_size(current_database())")
            before = int(connection.execute(size).scalar_one())
            connection.execute(text("VACUUM (ANALYZE)"))
            return before, int(connection.execute(size).scalar_one())
        driver = connection.connection.driver_connection
        assert driver is not None

        def bytes_now() -> int:
            return int(
                driver.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
            )

        if driver.in_transaction:
            driver.execute("COMMIT")
        before = bytes_now()
        try:
            driver.execute("VACUUM")
            driver.execute("PRAGMA optimize")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # a full disk, mostly
            raise StoreError(
                f"The store cannot be compacted: {error}. It needs as much free space on the disk as the store has."
            ) from error
        return before, bytes_now()
