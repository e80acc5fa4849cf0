"""Store what the next poll of an RSS feed needs: its last reply's headers, and which items were taken.

An item that was taken is a story or a dead letter of the feed's partition. There is no separate list, so if a batch's
transaction fails, its items count as not taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from foreshock.monitor.store import schema

IDS_AT_ONCE = 500
"""The most ids in one query. SQLite accepts 32,766 parameters, old versions 999."""


@dataclass(frozen=True, slots=True)
class RssFeed:
    """A feed's row: what to send with the next request, and how the last polls went."""

    partition: str
    url: str
    etag: str = ""
    last_modified: str = ""
    polled_at: int = 0
    failures: int = 0
    """How many polls have failed in a row."""
    last_error: str | None = None


def load(connection: Connection) -> dict[str, RssFeed]:
    """Return all feeds, by partition."""
    return {row.partition: RssFeed(**row._mapping) for row in connection.execute(select(schema.rss_feeds))}


def failing(connection: Connection) -> dict[str, str]:
    """Return the errors of the feeds that are being read and whose last poll failed, by partition."""
    f, p = schema.rss_feeds.c, schema.partitions.c
    rows = connection.execute(
        select(f.partition, f.failures, f.last_error)
        .join_from(schema.rss_feeds, schema.partitions, f.partition == p.partition)
        .where(f.failures > 0, p.member)
        .order_by(f.partition)
    )
    return {row.partition: f"failed {row.failures} times in a row: {row.last_error}" for row in rows}


def failed(connection: Connection) -> dict[str, str]:
    """Return the last error of each feed whose last poll failed, by partition, whether or not it is being read now."""
    f = schema.rss_feeds.c
    rows = connection.execute(select(f.partition, f.last_error).where(f.failures > 0).order_by(f.partition))
    return {row.partition: str(row.last_error) for row in rows}


def save(connection: Connection, feed: RssFeed) -> None:
    """Write a feed's row. Call this once the last item is stored, because the next poll asks only for newer items."""
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


def taken(connection: Connection, partition: str, ids: Sequence[str]) -> set[tuple[str, str]]:
    """Return the ids and contents of this partition's stories that have one of `ids`."""
    s = schema.stories.c
    found: set[tuple[str, str]] = set()
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = s.id.in_(ids[start : start + IDS_AT_ONCE])
        rows = connection.execute(select(s.id, s.content).where(some, s.partition == partition))
        found.update((row.id, row.content) for row in rows)
    return found


def dead(connection: Connection, partition: str, most: int) -> list[bytes]:
    """Return the last `most` records of this partition that are dead letters, oldest first."""
    d = schema.dead_letters.c
    query = select(d.raw).where(d.partition == partition).order_by(d.offset.desc()).limit(most)
    return list(connection.execute(query).scalars())[::-1]
