"""Keep the labels of topics: their tags, and the watchlist that defines them. Pages filter by both.

They are those that routes ask for (docs/routes.md). They change no story and no alert, so they are no part of a version
of the settings. Each process that adopts settings writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select

from foreshock.monitor.store import schema

FEED = "feed"
"""The watchlist of a topic that no rule defines."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What the settings say of a topic, besides its name."""

    tags: frozenset[str] = frozenset()
    watchlist: str = FEED


UNLABELLED = Labels()
"""The labels of a topic that no rule defines."""


def load(connection: Connection) -> dict[str, Labels]:
    """Return the labels of each topic with a rule."""
    rows = connection.execute(select(schema.topic_labels))
    return {row.topic: Labels(frozenset(json.loads(row.tags)), row.watchlist) for row in rows}


def keep(connection: Connection, labels: Mapping[str, Labels]) -> None:
    """Replace the labels in the store. Rows that stay the same are not written."""
    before, t = load(connection), schema.topic_labels.c
    changed = [topic for topic in before.keys() | labels.keys() if before.get(topic) != labels.get(topic)]
    if changed:
        gone = delete(schema.topic_labels).where(t.topic == bindparam("of_topic"))
        connection.execute(gone, [{"of_topic": topic} for topic in changed])
    rows = [
        {
            "topic": topic,
            "watchlist": labels[topic].watchlist,
            "tags": json.dumps(sorted(labels[topic].tags), ensure_ascii=False),
        }
        for topic in sorted(changed)
        if topic in labels
    ]
    if rows:
        connection.execute(insert(schema.topic_labels), rows)
