"""Read stored stories again for the topics of a fill, and write which have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, literal, select

from foreshock.monitor.moods import Scores
from foreshock.monitor.store import bulk, fills, schema
from foreshock.monitor.store.fills import Fill

STORIES_AT_A_TIME = 1_000
"""Stories that one step reads again."""

Position = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a worker needs of a stored story to find its topics."""

    position: Position
    counts_at: int
    title: str
    body: str
    tickers: tuple[str, ...]
    language: str
    scores: Scores | None
    by_model: bool
    """Whether the model in force scored it, and not the feed, or a model before."""
    topics: Mapping[str, Scores | None]
    """Those of the fill that it has by its rows, with the scores towards them where they differ."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A topic that a story has, and the scores towards it where they differ from the story's."""

    topic: str
    scores: Scores | None


def next_stories(connection: Connection, fill: Fill) -> list[Stored]:
    """Return the next stories that were not read again, of one partition; none if all were."""
    begin = fills.unread(connection, fill)
    if begin is None:
        return []
    partition, offset = begin
    s, t = schema.stories.c, schema.story_topics.c
    model = connection.execute(select(schema.feed.c.model)).scalar()
    text = s.title, s.body, s.tickers, s.language
    query = select(s.offset, s.counts_at, *text, s.negative, s.neutral, s.positive, s.model)
    query = query.where(s.partition == partition, s.offset >= offset, s.settings < fill.settings)
    rows = connection.execute(query.order_by(s.offset).limit(STORIES_AT_A_TIME)).all()
    borne: dict[int, dict[str, Scores | None]] = {}
    mine = select(t.offset, t.topic, t.negative, t.neutral, t.positive).where(
        t.partition == partition, t.offset >= offset, t.offset <= rows[-1].offset, t.topic.in_(fill.topics)
    )
    for row in connection.execute(mine):
        mood = None if row.negative is None else (row.negative, row.neutral, row.positive)
        borne.setdefault(row.offset, {})[row.topic] = mood
    return [
        Stored(
            (partition, row.offset),
            row.counts_at,
            row.title,
            row.body,
            tuple(json.loads(row.tickers)),
            row.language,
            None if row.negative is None else (row.negative, row.neutral, row.positive),
            row.model is not None and row.model == model,
            borne.get(row.offset, {}),
        )
        for row in rows
    ]


def rules_of(connection: Connection, fill: Fill) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings of the fill's version, and all rules that its topics had in earlier ones."""
    v = schema.settings_versions.c
    rows = connection.execute(select(v.number, v.body).where(v.number <= fill.settings).order_by(v.number)).all()
    bodies = {row.number: json.loads(row.body) for row in rows}
    new = bodies.pop(fill.settings)
    earlier = [rule for body in bodies.values() for rule in body.get("topics", ()) if rule["name"] in fill.topics]
    return new, earlier


def write(
    connection: Connection,
    fill: Fill,
    stories: Sequence[Stored],
    added: Mapping[Position, Sequence[Tag]],
    removed: Mapping[Position, Sequence[str]],
) -> None:
    """Write what reading some stories again gave. Raises Overtaken if another process read them meanwhile."""
    partition, last = stories[-1].position
    changed = len(added.keys() | removed.keys())
    fills.move(
        connection,
        fill,
        read_until=fills.moved_on(fill, partition, last + 1),
        read=fill.read + len(stories),
        found=fill.found + changed,
    )
    t, r = schema.story_topics, schema.removed_topics
    names = [column.name for column in t.columns]
    for position, topics in removed.items():
        here = and_(t.c.partition == position[0], t.c.offset == position[1], t.c.topic.in_(topics))
        old = select(literal(fill.number), *t.columns).where(here)
        connection.execute(insert(r).from_select(["fill", *names], old))
        connection.execute(delete(t).where(here))
    counts_at = {story.position: story.counts_at for story in stories}
    none = (None, None, None)
    rows = [
        (*position, tag.topic, counts_at[position], *(tag.scores or none), fill.number)
        for position, tags in added.items()
        for tag in tags
    ]
    columns = ("partition", "offset", "topic", "counts_at", "negative", "neutral", "positive", "filled")
    bulk.insert_tuples(connection, t, columns, rows)
