"""Very many rows by their keys: an array in one query on PostgreSQL, lists of parameters in several on SQLite.

On PostgreSQL each key is looked up by itself (LATERAL, with an OFFSET that keeps the planner from rewriting it): its
estimate of how many rows a thousand keys have is wrong by far while a table grows, and would have it read the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    func,
    literal,
    select,
    true,
)

_PARAMETERS = 900
"""Of one query: SQLite takes 999 in its oldest builds."""
_KEYS = 50_000
"""Of one array."""


def by_number(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], wanted: Sequence[int]
) -> Iterator[Any]:
    """The query's rows in which this column is one of the numbers."""
    return _by_key(connection, query, column, wanted, numbers)


def by_text(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], wanted: Sequence[str]
) -> Iterator[Any]:
    """The query's rows in which this column is one of the texts."""
    return _by_key(connection, query, column, wanted, texts)


def by_position(
    connection: Connection,
    query: Select[Any],
    partition: ColumnElement[Any],
    offset: ColumnElement[Any],
    positions: Sequence[tuple[str, int]],
) -> Iterator[Any]:
    """The query's rows in which these two columns are one of the positions."""
    if connection.dialect.name != "postgresql":
        # A partition at a time: for pairs SQLite takes no index, and reads the table.
        by_partition: dict[str, list[int]] = {}
        for name, number in positions:
            by_partition.setdefault(name, []).append(number)
        for name, of_it in by_partition.items():
            for some in _chunks(of_it, _PARAMETERS):
                yield from connection.execute(query.where(partition == name, offset.in_(some)))
        return
    for chunk in _chunks(positions, _KEYS):
        partitions, offsets = zip(*chunk, strict=True)
        keys = func.unnest(texts(partitions), numbers(offsets)).table_valued("partition", "offset").render_derived()
        here = query.where(partition == keys.c.partition, offset == keys.c.offset)
        yield from connection.execute(_each(here, keys))


def numbers(values: Sequence[int | None]) -> ColumnElement[Any]:
    """An array on PostgreSQL. Written out here: the driver's own way with a list takes several times as long."""
    text = "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
    return cast(literal(text, Text), ARRAY(BigInteger))


def texts(values: Sequence[str]) -> ColumnElement[Any]:
    """An array on PostgreSQL."""
    return literal(list(values), ARRAY(Text))


def _by_key(
    connection: Connection,
    query: Select[Any],
    column: ColumnElement[Any],
    wanted: Sequence[Any],
    array: Callable[[Sequence[Any]], ColumnElement[Any]],
) -> Iterator[Any]:
    if connection.dialect.name != "postgresql":
        for chunk in _chunks(wanted, _PARAMETERS):
            yield from connection.execute(query.where(column.in_(chunk)))
        return
    for chunk in _chunks(wanted, _KEYS):
        keys = func.unnest(array(chunk)).table_valued("key").render_derived()
        yield from connection.execute(_each(query.where(column == keys.c.key), keys))


def _each(query: Select[Any], keys: Any) -> Select[Any]:
    found = query.correlate(keys).offset(0).lateral("found")
    return select(found).select_from(keys.join(found, true()))


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
