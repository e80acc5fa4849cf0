"""Whose records the dead letters are: by which rules one is read again depends on who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, func, select, update

from foreshock.monitor.store import schema

if TYPE_CHECKING:
    pass


def kinds(connection: Connection, source: str) -> list[str]:
    """Of each record that `source` feeds again, in its order: the kind of the partition in which it died first, however
    often it was fed again since."""
    x, p = schema.dead_letters.c, schema.partitions.c
    query = (
        select(x.partition, x.offset, p.kind)
        .join_from(schema.dead_letters, schema.partitions, x.partition == p.partition)
        .order_by(x.partition, x.offset)
    )
    fed, wanted = dict[str, list[tuple[str, int, str]]](), {source}
    while wanted:
        name = wanted.pop()
        fed[name] = [tuple(row) for row in connection.execute(query.where(x.replayed_as == name))]
        wanted |= {partition for partition, _, kind in fed[name] if kind == "deadletters"} - fed.keys()

    def first(partition: str, offset: int, kind: str) -> str:
        while kind == "deadletters":
            partition, offset, kind = fed[partition][offset]
        return kind

    return [first(*row) for row in fed[source]]


def claim_dead_letters(connection: Connection, source: str, reason: str | None) -> None:
    """Mark the dead letters that `source` will feed again: each once, and only those that were kept whole."""
    table = schema.dead_letters
    mine = and_(table.c.replayed_as.is_(None), func.length(table.c.raw) == table.c.size)
    if reason is not None:
        mine = and_(mine, table.c.reason == reason)
    connection.execute(update(table).where(mine).values(replayed_as=source))


def claimed_dead_letters(connection: Connection, source: str) -> list[bytes]:
    table = schema.dead_letters
    query = select(table.c.raw).where(table.c.replayed_as == source).order_by(table.c.partition, table.c.offset)
    return [bytes(raw) for raw in connection.execute(query).scalars()]
