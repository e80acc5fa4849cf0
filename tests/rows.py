"""All rows of a store as one value, and two stores compared: what the promise covers (docs/store.md)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from sqlalchemy import func, select

Rows = dict[str, list[tuple[Any, ...]]]
"""By table, in key order."""

NOT_THE_NEWS = {
    *("lease", "deliveries", "receivers", "escalations", "digests", "desk_actions", "rss_feeds", "sent_ahead"),
}
"""Tables that say what happened to us and to alerts under way, not what the feed said."""


def stored(url: str) -> int:
    """How many stories a store has; none while there is no store. It is asked often, so it counts without reading."""
    from foreshock.monitor.store import schema
    from foreshock.monitor.store.database import connect, reading

    with suppress(Exception):
        engine = connect(url, create=False)
        try:
            with reading(engine) as connection:
                return int(connection.scalar(select(func.count()).select_from(schema.stories)) or 0)
        finally:
            engine.dispose()
    return 0


def all_rows(url: str) -> Rows:
    """Every table's rows, less the columns that say what happened to us."""
    return _dump(url, set(), set())


def promised_rows(url: str) -> Rows:
    """Return what any two runs over the same log have in common, whatever happened on their way.

    A partition's watermark is left out too once its log is read: ticks may raise it past its last record, up to where
    the others were by then, and no row follows from that.
    """
    return _dump(url, NOT_THE_NEWS, {("outbox", "state"), ("partitions", "watermark"), ("partitions", "idle")})


def assert_same(found: Rows, expected: Rows, *, leave_out: Collection[str] = ()) -> None:
    """Table by table, with the first rows that differ in the message."""
    assert found.keys() == expected.keys()
    for table in found:
        if table in leave_out or found[table] == expected[table]:
            continue
        got, want = set(found[table]), set(expected[table])
        missing = [row for row in expected[table] if row not in got][:3]
        extra = [row for row in found[table] if row not in want][:3]
        raise AssertionError(
            f"{table}: {len(found[table])} rows, expected {len(expected[table])}\n"
            f"  expected and not there: {missing}\n  there and not expected: {extra}"
        )


def _dump(url: str, tables: set[str], columns: set[tuple[str, str]]) -> Rows:
    from foreshock.monitor.store import schema
    from foreshock.monitor.store.database import connect, reading

    engine = connect(url, create=False)
    rows: Rows = {}
    with reading(engine) as connection:
        for table in schema.metadata.sorted_tables:
            if table.name in tables:
                continue
            kept = [
                c for c in table.columns if c.name not in schema.HAPPENED_TO_US and (table.name, c.name) not in columns
            ]
            query = select(*kept).order_by(*table.primary_key.columns)
            rows[table.name] = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return rows
