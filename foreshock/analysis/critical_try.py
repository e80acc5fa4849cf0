"""Say which stored stories would have been critical, by the settings or by other words.

    for tried in try_on(engine, words): ...

Nothing is stored. Each story is judged by what a worker knows of it: its text, topics and scores. Duplicates, stale
and withdrawn stories, and those of muted sources, are left out. A story *fires* if no critical story on one of its
topics came in the two days before: so long its incident stays open, at least.

One thing the store does not say: whether the feed itself gave a topic that the text names as well. Such a topic counts
as given by the feed only if the text does not name it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, and_, exists, func, select

from foreshock.monitor.critical import OVER
from foreshock.monitor.incidents import QUIET
from foreshock.monitor.store import evidence, schema
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import iso
from foreshock.monitor.topics.critical import CriticalWords, Read
from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.monitor.topics.matching import matcher_of
from foreshock.monitor.topics.rules import TopicRule
from foreshock.monitor.units import DAY, UNIT

AT_A_TIME = 5_000
"""Stories that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A critical story."""

    at: int
    """When it counts (microseconds)."""
    topics: dict[str, str]
    """Topic -> the word that makes the story critical for it."""
    fires: bool
    """Whether a message would have been sent, as far as critical stories decide that."""
    story: dict[str, Any]
    """Its id, source, title, url, published_at and scores; of a company the scores towards it."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"at": iso(self.at), "fires": self.fires, "topics": self.topics, "story": self.story}


def try_on(
    engine: Engine, tables: list[CriticalRule], rules: list[TopicRule], muted: frozenset[str] = frozenset()
) -> Iterator[Tried]:
    """Yield the critical stories of a store, in the order in which they count. `muted`: sources that do not count."""
    matcher = matcher_of(rules)
    critical = CriticalWords(tables, rules, matcher)
    needed = round(min((table.negative for table in tables), default=1.0) * UNIT)
    last: dict[str, int] = {}
    versions: dict[tuple[str, int], set[str]] = defaultdict(set)
    with reading(engine) as connection:
        for rows in _stories(connection, needed):
            first = rows[0]
            if first.source in muted:
                continue
            moods = {row.topic: row.negative for row in rows}
            given = matcher.match(first.title, first.body, (), (), first.language)
            read = Read(
                first.title,
                first.body,
                first.language,
                sorted(moods),
                json.loads(first.tickers),
                [topic for topic in moods if topic not in given],
                first.severity,
            )
            marks = critical.marks(read, lambda topic, moods=moods: moods[topic])  # type: ignore[misc]
            story = evidence.story_of(first)
            topics = {topic: mark.word for topic, mark in sorted(marks.items()) if topic not in versions[story]}
            versions[story].update(marks)
            if not topics:
                continue
            fires = any(first.counts_at - last.get(topic, -DAY * 10_000) > OVER + QUIET for topic in topics)
            last.update(dict.fromkeys(topics, first.counts_at))
            shown = next(row for row in rows if row.topic in topics)
            yield Tried(first.counts_at, topics, fires, _story(shown))


def days(engine: Engine) -> int:
    """Return on how many days the feed ran."""
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(schema.daily_state)).scalar_one())


def _stories(connection: Connection, needed: int) -> Iterator[list[Any]]:
    """Yield the rows of each story that is negative enough for a topic, a row for each of its topics."""
    s, t, d = schema.stories.c, schema.story_topics.c, schema.decisions.c
    here = and_(t.partition == s.partition, t.offset == s.offset)
    columns = (s.partition, s.offset, s.id, s.title, s.body, s.url, s.source, s.language, s.tickers, s.published_at)
    mood = func.coalesce(t.negative, s.negative).label("negative")
    rest = (func.coalesce(t[name], s[name]).label(name) for name in ("neutral", "positive"))
    query = select(*columns, s.counts_at, s.severity, t.topic, mood, *rest, d.story_partition, d.story_offset)
    query = query.join_from(schema.stories, schema.story_topics, here)
    query = query.join(schema.decisions, and_(d.partition == s.partition, d.offset == s.offset))
    # What a story is about follows from all of its topics, also those towards which it is not negative.
    other = schema.story_topics.alias("other").c
    bad = func.coalesce(other.negative, s.negative) >= needed
    some = exists().where(other.partition == s.partition, other.offset == s.offset, bad)
    counts = (
        s.stale.is_(False),
        s.status != "withdrawn",
        d.ending.in_(("scored", "revision")),
        mood.is_not(None),
        some,
    )
    query = query.where(*counts).order_by(s.counts_at, s.published_at, s.id, s.content, s.partition, s.offset, t.topic)
    found = connection.execute(query.execution_options(yield_per=AT_A_TIME))
    for _, rows in groupby(found, lambda row: (row.partition, row.offset)):
        yield list(rows)


def _story(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "source": row.source,
        "title": evidence.title(row.title),
        "url": evidence.url(row.url),
        "published_at": iso(row.published_at),
        "scores": evidence.scores_json(row),
    }
