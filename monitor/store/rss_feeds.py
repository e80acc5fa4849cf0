"""What the store remembers of RSS feeds: what each said last, and which of its items were taken.

An item that was taken is a story or a dead letter of the feed's partition, so no list of items is kept beside them:
whatever made a batch's transaction fail, its items count as not taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from foreshock.monitor.store import schema

IDS_AT_ONCE = 500
"""In one query: SQLite takes 32,766 parameters at the most, in old versions 999."""


@dataclass(frozen=True, slots=True)
class RssFeed:
    """A feed's row: what to ask it next time, and how it has been."""

    partition: str
    url: str
    etag: str = ""
    last_modified: str = ""
    polled_at: int = 0
    failures: int = 0
    """Polls in a row that failed."""
    last_error: str | None = None


def load(connection: Connection) -> dict[str, RssFeed]:
    """All feeds, by partition."""
    return {row.partition: RssFeed(**row._mapping) for row in connection.execute(select(schema.rss_feeds))}


def failing(connection: Connection) -> dict[str, str]:
    """What is wrong with those that are read and whose last poll failed, by partition."""
    f, p = schema.rss_feeds.c, schema.partitions.c
    rows = connection.execute(
        select(f.partition, f.failures, f.last_error)
        .join_from(schema.rss_feeds, schema.partitions, f.partition == p.partition)
        .where(f.failures > 0, p.member)
        .order_by(f.partition)
    )
    return {row.partition: f"failed {row.failures} times in a row: {row.last_error}" for row in rows}


def save(connection: Connection, feed: RssFeed) -> None:
    """Write a feed's row, once the last of its items is stored: from then on it is asked for what is newer."""
    table = schema.rss_feeds
    connection.execute(delete(table).where(table.c.partition == feed.partition))
    connection.execute(
        insert(table).values(
            partition=feed.partition,
            url=feed.url,
            etag=feed.etag,
            last_modified=feed.last_modified,
            polled_at=feed.polled_at,
            failures=feed.failures,
            last_error=feed.last_error,
        )
    )


def taken(connection: Connection, partition: str, ids: Sequence[str]) -> set[str]:
    """Those of `ids` that are stories of this partition."""
    s = schema.stories.c
    found: set[str] = set()
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = s.id.in_(ids[start : start + IDS_AT_ONCE])
        found.update(connection.execute(select(s.id).where(some, s.partition == partition)).scalars())
    return found


def dead(connection: Connection, partition: str) -> Iterator[bytes]:
    """The records of this partition that could not become stories."""
    d = schema.dead_letters.c
    rows: Any = connection.execute(select(d.raw).where(d.partition == partition))
    for row in rows:
        yield row.raw
