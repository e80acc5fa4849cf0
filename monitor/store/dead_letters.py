"""Claim dead letters for a replay, and read them with the kind of the source that they came from.

The kind decides by which rules a record is parsed again.
"""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, select, update

from foreshock.monitor.store import schema


def origins(connection: Connection, source: str) -> list[tuple[str, str]]:
    """Return the original partition and kind of each record that `source` replays, in the order of its records.

    That is the partition in which the record first became a dead letter, however often it was replayed
    since.
    """
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

    def first(partition: str, offset: int, kind: str) -> tuple[str, str]:
        while kind == "deadletters":
            partition, offset, kind = fed[partition][offset]
        return partition, kind

    return [first(*row) for row in fed[source]]


def claim(connection: Connection, source: str, reason: str | None) -> None:
    """Mark the dead letters that `source` will replay: each only once, and only those stored whole."""
    table = schema.dead_letters
    mine = and_(table.c.replayed_as.is_(None), func.length(table.c.raw) == table.c.size)
    if reason is not None:
        mine = and_(mine, table.c.reason == reason)
    connection.execute(update(table).where(mine).values(replayed_as=source))


def claimed_dead_letters(connection: Connection, source: str) -> list[bytes]:
    """Return the records that `source` replays, by their original position."""
    table = schema.dead_letters
    query = select(table.c.raw).where(table.c.replayed_as == source).order_by(table.c.partition, table.c.offset)
    return [bytes(raw) for raw in connection.execute(query).scalars()]
