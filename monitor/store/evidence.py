"""The stories behind an alert, or behind any stretch of a topic's series: one line an event, the most telling first."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, and_, select

from foreshock.monitor.buckets import ALL
from foreshock.monitor.store import lookup, schema
from foreshock.monitor.store.times import iso

SHOWN = 10
"""Events listed with an alert: enough to judge it by, small enough for a message."""

TITLE, URL = 300, 2_000
"""Characters of a story's title and url in an alert. A record of text alone has a whole article for its title: ten of
those are more than most receivers take. `stories` keeps them whole."""


def totals(connection: Connection, topic: str, start: int, end: int) -> tuple[int, int]:
    """Independent events and distinct sources of a topic's decided buckets in [start, end)."""
    b = schema.buckets.c
    rows = connection.execute(
        select(b.events, b.sources).where(b.topic == topic, b.start >= start, b.start < end)
    ).all()
    return sum(row.events for row in rows), len({source for row in rows for source in json.loads(row.sources)})


def told_by_event(connection: Connection, topic: str, start: int, end: int) -> dict[tuple[str, int], list[Any]]:
    """What weighs of a topic in [start, end), by event, in canonical order: its first story, then its copies."""
    s, d, t = schema.stories.c, schema.decisions.c, schema.story_topics.c
    here = and_(s.partition == d.partition, s.offset == d.offset)
    query = (
        select(
            *(s.partition, s.offset, s.id, s.title, s.url, s.source, s.published_at, s.status),
            *(s.negative, s.neutral, s.positive),
            *(d.event_partition, d.event_offset, d.story_partition, d.story_offset),
        )
        .join_from(schema.stories, schema.decisions, here)
        .where(s.counts_at >= start, s.counts_at < end, d.weighs | d.event_partition.is_not(None))
        .order_by(d.bucket, s.published_at, s.id, s.content, s.partition, s.offset)
    )
    if topic != ALL:
        query = query.join(schema.story_topics, and_(t.partition == s.partition, t.offset == s.offset)).where(
            t.topic == topic, t.counts_at >= start, t.counts_at < end
        )
    told: dict[tuple[str, int], list[Any]] = {}
    for row in connection.execute(query):
        told.setdefault(event_of(row), []).append(row)
    return told


def event_of(row: Any) -> tuple[str, int]:
    """The position of the first story of the event that a decided story is of."""
    return (row.partition, row.offset) if row.event_partition is None else (row.event_partition, row.event_offset)


def stories(
    connection: Connection, topic: str, start: int, end: int, *, known: int, worse: bool, limit: int = SHOWN
) -> list[dict[str, Any]]:
    """Up to `limit` events of a topic that counted in [start, end), each as its first story, the most negative first
    (or positive).

    Text is the newest by event time of what was known of the story by `known` (the end of a decided bucket: what came
    later does not show, however many buckets one closing decides); an event of whose story that text is withdrawn is
    struck. Scores are the first story's.
    """
    told = told_by_event(connection, topic, start, end)
    telling = sorted((rows[0] for rows in told.values()), key=lambda row: -(row.negative if worse else row.positive))
    shown: list[dict[str, Any]] = []
    for place in range(0, len(telling), limit):
        some = telling[place : place + limit]
        texts = newest_texts(connection, [story_of(row) for row in some], known)
        for row in some:
            newest = texts[story_of(row)]
            if newest.status != "withdrawn" and len(shown) < limit:
                shown.append(
                    {
                        "id": row.id,
                        "title": newest.title if len(newest.title) <= TITLE else newest.title[: TITLE - 1] + "…",
                        "url": newest.url if len(newest.url) <= URL else "",  # cut, it would lead elsewhere
                        "source": row.source,
                        "published_at": iso(row.published_at),
                        "scores": {
                            "negative": row.negative / 10_000,
                            "neutral": row.neutral / 10_000,
                            "positive": row.positive / 10_000,
                        },
                        "copies": len(told[event_of(row)]) - 1,
                    }
                )
        if len(shown) >= limit:
            break
    return shown


def story_of(row: Any) -> tuple[str, int]:
    """The position of the first record of the story that a decided record tells."""
    return (row.story_partition, row.story_offset) if row.story_partition is not None else (row.partition, row.offset)


def newest_texts(connection: Connection, firsts: list[tuple[str, int]], known: int) -> dict[tuple[str, int], Any]:
    """Of each story, by its first record: the newest text by event time of that record and those decided by `known`.

    Of two texts of one time that which came later. A record that only repeats another, its time included, counts as
    that one: who sends old records again says nothing new.
    """
    s, d = schema.stories.c, schema.decisions.c
    query = select(
        *(s.partition, s.offset, s.published_at, s.content, d.bucket, d.story_partition, d.story_offset)
    ).join_from(schema.decisions, schema.stories, and_(s.partition == d.partition, s.offset == d.offset))
    records = [
        *lookup.by_position(connection, query, d.partition, d.offset, firsts),
        *lookup.by_position(connection, query.where(d.bucket < known), d.story_partition, d.story_offset, firsts),
    ]
    newest, said = {}, set()
    for row in sorted(records, key=lambda r: (r.published_at, r.bucket, r.content, r.partition, r.offset)):
        text = (story_of(row), row.published_at, row.content)
        if text not in said:
            said.add(text)
            newest[story_of(row)] = (row.partition, row.offset)
    told = select(s.partition, s.offset, s.title, s.url, s.status)
    texts = {
        (row.partition, row.offset): row
        for row in lookup.by_position(connection, told, s.partition, s.offset, list(newest.values()))
    }
    return {story: texts[position] for story, position in newest.items()}
