"""Look up very many rows by their keys: with one array on PostgreSQL, with one list as JSON on SQLite.

A parameter for each key would cost more than the look-up itself.

On PostgreSQL, LATERAL looks up each key on its own, and an OFFSET keeps the planner from rewriting that. While a table
grows, the planner's estimate of the rows of a thousand keys is far off, and it would read the whole table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
)

_KEYS = 50_000
"""The most keys of one array."""
_LISTED = select(func.json_each(bindparam("listed", type_=Text)).table_valued("value").c.value)
"""The values of a list as JSON, for SQLite."""
_MADE = WeakKeyDictionary[Select[Any], dict[tuple[ColumnElement[Any], ...], Select[Any]]]()
"""For SQLite, the statement that was made of a query, by the columns of its keys. Making it takes longer than running
it. It is forgotten with the query, so it helps those who keep theirs as a constant, and holds nothing of the others."""


def by_number(
    connection: Connection,
    query: Select[Any],
    column: ColumnElement[Any],
    wanted: Sequence[int],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Any]:
    """Yield the query's rows in which `column` is one of these numbers.

    `given`: the values of the query's parameters.
    """
    return _by_key(connection, query, column, wanted, numbers, given)


def by_text(
    connection: Connection, query: Select[Any], column: ColumnElement[Any], wanted: Sequence[str]
) -> Iterator[Any]:
    """Yield the query's rows in which `column` is one of these texts."""
    return _by_key(connection, query, column, wanted, texts)


def by_position(
    connection: Connection,
    query: Select[Any],
    partition: ColumnElement[Any],
    offset: ColumnElement[Any],
    positions: Sequence[tuple[str, int]],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Any]:
    """Yield the query's rows in which the two columns are one of these positions (partition, offset).

    `given`: the values of the query's parameters.
    """
    if connection.dialect.name != "postgresql":
        # One partition at a time: for pairs of values, SQLite does not use an index and reads the whole table.
        by_partition: dict[str, list[int]] = {}
        for name, number in positions:
            by_partition.setdefault(name, []).append(number)
        statement = _of_partition(query, partition, offset)
        for name, of_it in by_partition.items():
            for some in _chunks(of_it, _KEYS):
                yield from connection.execute(statement, {**given, "of_partition": name, "listed": _json(some)})
        return
    for chunk in _chunks(positions, _KEYS):
        partitions, offsets = zip(*chunk, strict=True)
        keys = func.unnest(texts(partitions), numbers(offsets)).table_valued("partition", "offset").render_derived()
        here = query.where(partition == keys.c.partition, offset == keys.c.offset)
        yield from connection.execute(_each(here, keys), dict(given))


def numbers(values: Sequence[int | None]) -> ColumnElement[Any]:
    """Return a PostgreSQL array. It is formatted here, because the driver takes several times as long for a list."""
    text = "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
    return cast(literal(text, Text), ARRAY(BigInteger))


def texts(values: Sequence[str]) -> ColumnElement[Any]:
    """Return a PostgreSQL array."""
    return literal(list(values), ARRAY(Text))


def _by_key(
    connection: Connection,
    query: Select[Any],
    column: ColumnElement[Any],
    wanted: Sequence[Any],
    array: Callable[[Sequence[Any]], ColumnElement[Any]],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Any]:
    if connection.dialect.name != "postgresql":
        statement = _listed(query, column)
        for chunk in _chunks(wanted, _KEYS):
            yield from connection.execute(statement, {**given, "listed": _json(chunk)})
        return
    for chunk in _chunks(wanted, _KEYS):
        keys = func.unnest(array(chunk)).table_valued("key").render_derived()
        yield from connection.execute(_each(query.where(column == keys.c.key), keys), dict(given))


def _of_partition(query: Select[Any], partition: ColumnElement[Any], offset: ColumnElement[Any]) -> Select[Any]:
    """Return the query with the condition of `by_position`, for one partition."""
    made = _MADE.setdefault(query, {})
    if (found := made.get((partition, offset))) is None:
        found = made[partition, offset] = query.where(partition == bindparam("of_partition"), offset.in_(_LISTED))
    return found


def _listed(query: Select[Any], column: ColumnElement[Any]) -> Select[Any]:
    """Return the query with the condition that a column is in the list."""
    made = _MADE.setdefault(query, {})
    if (found := made.get((column,))) is None:
        found = made[column,] = query.where(column.in_(_LISTED))
    return found


def _json(values: Sequence[int] | Sequence[str]) -> str:
    return orjson.dumps(values).decode()


def _each(query: Select[Any], keys: Any) -> Select[Any]:
    found = query.correlate(keys).offset(0).lateral("found")
    return select(found).select_from(keys.join(found, true()))


def _chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
