"""Measure a store: rows and bytes of each table, from when to when it goes, and how fast it grows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from foreshock.monitor.store import schema
from foreshock.monitor.store.times import iso_or_none
from foreshock.monitor.units import DAY


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table with its indexes. `bytes` is None where the database does not say it."""

    table: str
    rows: int
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Stats:
    """The size of a store. `bytes_a_story` divides all bytes by the stories."""

    bytes: int
    free_bytes: int
    """Space within the file that the next rows use. `foreshock store vacuum` gives it back."""
    tables: tuple[TableSize, ...]
    stories: int
    first_story_at: int | None
    last_story_at: int | None

    @property
    def bytes_a_story(self) -> int | None:
        return round(self.bytes / self.stories) if self.stories else None

    @property
    def stories_a_day(self) -> float | None:
        """The stories a day between the first and the last."""
        if self.first_story_at is None or self.last_story_at is None or self.last_story_at == self.first_story_at:
            return None
        return self.stories / ((self.last_story_at - self.first_story_at) / DAY)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the times in ISO 8601."""
        a_day = self.stories_a_day
        return {
            **asdict(self),
            "first_story_at": iso_or_none(self.first_story_at),
            "last_story_at": iso_or_none(self.last_story_at),
            "bytes_a_story": self.bytes_a_story,
            "stories_a_day": None if a_day is None else round(a_day, 1),
        }


def stats(connection: Connection) -> Stats:
    """Measure the store, the largest table first. It reads every page, so a large store takes a minute."""
    sizes = _sizes(connection)
    tables = [
        TableSize(
            table.name, int(connection.execute(select(func.count()).select_from(table)).scalar_one()), sizes.get(name)
        )
        for name, table in schema.metadata.tables.items()
    ]
    known = {table.table for table in tables}
    words = sum(size for name, size in sizes.items() if name not in known and name.startswith("story_"))
    if words:
        tables.append(TableSize("full text", tables[list(schema.metadata.tables).index("stories")].rows, words))
    tables.sort(key=lambda table: (-(table.bytes or 0), -table.rows, table.table))
    s = schema.stories.c
    first, last, count = connection.execute(select(func.min(s.counts_at), func.max(s.counts_at), func.count())).one()
    whole, free = _whole(connection)
    return Stats(whole, free, tuple(tables), int(count), first, last)


def _sizes(connection: Connection) -> dict[str, int]:
    """Return the bytes of each table with its indexes; empty if this SQLite cannot say it."""
    sizes: defaultdict[str, int] = defaultdict(int)
    if connection.dialect.name == "postgresql":
        query = (
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
    else:
        query = "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name GROUP BY 1"
    try:
        for name, size in connection.execute(text(query)):
            sizes[name] += int(size)
    except OperationalError:
        if connection.dialect.name == "postgresql":
            raise
    return sizes


def _whole(connection: Connection) -> tuple[int, int]:
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()), 0
    page, pages, free = (
        int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page * pages, page * free
