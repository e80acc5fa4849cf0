"""Look up the topics of stories."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from foreshock.monitor.store import lookup, schema


def topics_of(connection: Connection, positions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[str]]:
    """Return the topics of the stories at these positions (partition, offset), in bytewise order."""
    t = schema.story_topics.c
    found: dict[tuple[str, int], list[str]] = {}
    query = select(t.partition, t.offset, t.topic)
    for row in lookup.by_position(connection, query, t.partition, t.offset, positions):
        found.setdefault((row.partition, row.offset), []).append(row.topic)
    for topics in found.values():
        topics.sort()
    return found
