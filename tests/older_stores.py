"""A store as an earlier version of Foreshock left it: with the schema that its migrations make, and nothing later."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from foreshock.monitor.store import database

MIGRATIONS = Path(database.__file__).parent / "migrations"
FILLED_BY_A_TRIGGER = ("story_words", "story_numbers")


def back_to(revision: str, store: Path) -> None:
    """Give a SQLite store the schema of `revision`, with all rows and columns that it has room for."""
    old = store.with_name(f"{store.name}.{revision}")
    engine = create_engine(f"sqlite:///{old}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("ATTACH ? AS later", (str(store),))
        tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table == "alembic_version" or table.startswith(("sqlite_", *FILLED_BY_A_TRIGGER)):
                continue
            both = (columns(connection, schema, table) for schema in ("main", "later"))
            names = ", ".join(f'"{name}"' for name in sorted(set.intersection(*both)))
            connection.execute(f"DELETE FROM main.{table}")
            connection.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM later.{table}")
        connection.commit()
    for beside in ("-wal", "-shm"):
        store.with_name(store.name + beside).unlink(missing_ok=True)
    old.replace(store)


def columns(connection: sqlite3.Connection, schema: str, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA {schema}.table_info({table})")}
