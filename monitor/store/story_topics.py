"""Look up the topics of stories, and their scores towards companies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from foreshock.model.labels import LABELS
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


def moods_of(connection: Connection, positions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the scores towards companies of the stories at these positions, by topic, as JSON has them.

    Only those that differ from the text's are there.
    """
    t = schema.story_topics.c
    found: dict[tuple[str, int], dict[str, Any]] = {}
    query = select(t.partition, t.offset, t.topic, *(t[name] for name in LABELS)).where(t.negative.is_not(None))
    for row in lookup.by_position(connection, query, t.partition, t.offset, positions):
        found.setdefault((row.partition, row.offset), {})[row.topic] = mood_json(row)
    return {position: dict(sorted(moods.items())) for position, moods in found.items()}


def mood_json(row: Any) -> dict[str, float]:
    """Return a row's scores towards a company as JSON has them."""
    return {name: getattr(row, name) / 10_000 for name in LABELS}
