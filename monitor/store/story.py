"""Answer what the store knows of single stories: the pages that open a story, and those that show the words of many.

Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select

from foreshock.model.labels import LABELS
from foreshock.monitor.store import lookup, schema, story_topics

Position = tuple[str, int]
"""Where a story is in the store: its partition and offset."""


@dataclass(frozen=True, slots=True)
class StoryText:
    """A stored story as it was scored. `scores` are those of its text, in 1/10,000, or None."""

    position: Position
    id: str
    title: str
    body: str
    source: str
    url: str
    published_at: int
    counts_at: int
    withdrawn: bool
    scores: tuple[int, int, int] | None
    severity: int | None
    model: str | None
    """Which model scored it, or `feed` if it brought its scores along."""


@dataclass(frozen=True, slots=True)
class Story:
    """A story with how it counts: its ending (None until decided), its event, its topics and its moods by company."""

    text: StoryText
    ending: str | None
    first: Position | None
    """The first story of its event, if it is a copy."""
    topics: tuple[str, ...]
    towards: dict[str, tuple[int, int, int]]
    """By topic: the scores towards a company where they are not those of the text, in 1/10,000."""


def texts(connection: Connection, positions: Sequence[Position]) -> dict[Position, StoryText]:
    """Return the stories at these positions, by position. What is not there is left out."""
    s = schema.stories.c
    query = select(
        *(s.partition, s.offset, s.id, s.title, s.body, s.source, s.url, s.published_at, s.counts_at, s.status),
        *(s.negative, s.neutral, s.positive, s.severity, s.model),
    )
    found = {}
    for row in lookup.by_position(connection, query, s.partition, s.offset, positions):
        scores = None if row.negative is None else (row.negative, row.neutral, row.positive)
        found[row.partition, row.offset] = StoryText(
            *((row.partition, row.offset), row.id, row.title, row.body, row.source, row.url),
            *(row.published_at, row.counts_at, row.status == "withdrawn", scores, row.severity, row.model),
        )
    return found


def story(connection: Connection, position: Position) -> Story | None:
    """Return one story, or None if the store has none at this position."""
    text = texts(connection, [position]).get(position)
    if text is None:
        return None
    d = schema.decisions.c
    here = and_(d.partition == position[0], d.offset == position[1])
    decided = connection.execute(select(d.ending, d.event_partition, d.event_offset).where(here)).first()
    is_copy = decided is not None and decided.event_partition is not None
    return Story(
        text,
        None if decided is None else decided.ending,
        (decided.event_partition, decided.event_offset) if decided is not None and is_copy else None,
        tuple(story_topics.topics_of(connection, [position]).get(position, ())),
        towards(connection, [position]).get(position, {}),
    )


def first_records(connection: Connection, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Position]:
    """Return where the first record of each story is, by id and source. What is not there is left out.

    `wanted`: (id, source) of each. Other sources may use the same id for stories of their own.
    """
    s, d = schema.stories.c, schema.decisions.c
    decided = and_(d.partition == s.partition, d.offset == s.offset)
    query = select(s.id, s.source, s.partition, s.offset, s.counts_at, d.ending).join_from(
        schema.stories, schema.decisions, decided, isouter=True
    )
    found: dict[tuple[str, str], tuple[bool, int, Position]] = {}
    for row in lookup.by_text(connection, query, s.id, list({story for story, _ in wanted})):
        story = row.id, row.source
        rank = row.ending in ("duplicate", "revision"), row.counts_at, (row.partition, row.offset)
        found[story] = min(rank, found.get(story, rank))
    return {story: found[story][2] for story in wanted if story in found}


def towards(connection: Connection, positions: Sequence[Position]) -> dict[Position, dict[str, tuple[int, int, int]]]:
    """Return the scores towards companies of the stories at these positions, where they are not those of the text."""
    found = story_topics.moods_of(connection, positions)
    return {position: {name: _whole(mood) for name, mood in moods.items()} for position, moods in found.items()}


def _whole(mood: dict[str, float]) -> tuple[int, int, int]:
    negative, neutral, positive = (round(mood[name] * 10_000) for name in LABELS)
    return negative, neutral, positive
