"""Insert many rows at once: with statements of many rows on SQLite, with COPY on PostgreSQL.

On SQLite, a row of its own statement takes up to three times as long: for stories, the full text is brought up to date
after each statement.

SQLAlchemy's processing of each value is skipped. That is safe because no column has a type that must be converted (see
schema.py). For COPY, all rows are formatted before the first byte is sent: a process that is stopped while it formats
them holds no locks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError


def insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows. All must have the same keys, which are columns of the table."""
    if rows:
        columns = tuple(rows[0])
        values = itemgetter(*columns)
        insert_tuples(connection, table, columns, [values(row) for row in rows])


def insert_tuples(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows given as tuples of the values of `columns`. For very many small rows."""
    if not rows:
        return
    dialect = connection.dialect
    if dialect.name == "postgresql":
        _copy(connection, _statement(dialect, table, columns), rows)
        return
    at_once = _PARAMETERS // len(columns)
    whole = len(rows) - len(rows) % at_once
    if whole:
        several = [tuple(chain.from_iterable(rows[start : start + at_once])) for start in range(0, whole, at_once)]
        connection.exec_driver_sql(_statement(dialect, table, columns, at_once), several)
    if whole < len(rows):
        connection.exec_driver_sql(_statement(dialect, table, columns), list(rows[whole:]))


_PARAMETERS = 900
"""The most parameters of one statement. SQLite's oldest builds accept 999."""


def _copy(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    dialect = connection.dialect
    raw = connection.connection.driver_connection
    assert raw is not None
    lines = _lines(rows)
    try:
        with raw.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(lines)
    except dialect.loaded_dbapi.Error as error:
        # Raise what SQLAlchemy would raise: whoever opened the transaction translates only SQLAlchemy's errors.
        lost = dialect.is_disconnect(error, connection.connection, None)
        raise DBAPIError.instance(
            statement, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error


def _lines(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the rows in COPY's text format."""
    text = _TEXT
    return "".join(["\t".join([text[value.__class__](value) for value in row]) + "\n" for row in rows]).encode()


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES) if _SPECIAL.search(value) else value


_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_TEXT: dict[type, Callable[[Any], str]] = {
    str: _escaped,
    int: str,
    float: repr,
    bool: lambda value: "t" if value else "f",
    bytes: lambda value: "\\\\x" + value.hex(),
    type(None): lambda _: "\\N",
}
"""How to write a value in COPY's text format, by its class. Bulk inserts hold no other classes."""


@lru_cache(maxsize=64)
def _statement(dialect: Dialect, table: Table, columns: tuple[str, ...], rows: int = 1) -> str:
    quote = dialect.identifier_preparer.quote
    names = ", ".join(map(quote, columns))
    if dialect.name == "postgresql":
        return f"COPY {quote(table.name)} ({names}) FROM STDIN"
    # Names of our own schema; values are bound.
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO {quote(table.name)} ({names}) VALUES {', '.join([row] * rows)}"  # noqa: S608
