"""Build a store of a desk's size, to measure pages and store commands: made-up rows, as many as a real desk has.

    size = Size(topics=5_000, stories=2_000_000, days=60)
    build("sqlite:///desk.db", size)

The database makes the rows itself from their numbers, so two million stories take minutes. Stories come evenly over the
days, from four partitions, and each names up to six topics, some of them far more often than others. A fifth of the
stories copy another one. What the pages only count is not consistent with the stories: the moods of buckets.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Engine, insert, text, update

from benchmarks.desk_alerts import write_alerts
from foreshock.monitor.store import bulk, schema
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.units import ALL, DAY, MINUTE
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

BUCKET = 5 * MINUTE
END = 1_775_001_600 * 1_000_000  # 1 April 2026
PARTITIONS = 4
TOPICS_PER_STORY = 6
SOURCES = 60
TEXTS = 5_000
"""Different titles and bodies. A number at the end of a title tells stories apart."""
PLACES = 65_536
"""Places of the table from which topics are drawn."""
STEEP = 0.6
"""The topic of rank r has a weight of r to the power of minus this."""
STEP = 100_000
"""Stories that one transaction writes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the store is. `stories` is a multiple of `PARTITIONS`."""

    topics: int = 5_000
    stories: int = 2_000_000
    days: int = 60

    @property
    def start(self) -> int:
        return END - self.days * DAY

    @property
    def apart(self) -> int:
        """The time between two stories (microseconds)."""
        return self.days * DAY // self.stories


def build(url: str, size: Size) -> None:
    """Make the store. It must not exist."""
    engine = connect(url, create=True)
    later = [index for table in schema.metadata.tables.values() for index in table.indexes]
    with writing(engine) as connection:  # made again at the end: filled row by row, they would be out of order
        for index in later:
            index.drop(connection, checkfirst=True)
        if connection.dialect.name == "postgresql":
            connection.execute(text("DROP INDEX stories_words"))
        _source_tables(connection, size)
    _stories(engine, size)
    with writing(engine) as connection:
        _series(connection, size)
        _state(connection, size)
        write_alerts(connection, topic_names(size), size.start, END)
    with writing(engine) as connection:
        for index in later:
            index.create(connection)
        for table in ("numbers", "drawn", "texts"):
            connection.execute(text(f"DROP TABLE {table}"))
        if connection.dialect.name == "postgresql":
            connection.execute(text("CREATE INDEX stories_words ON stories USING gin (words)"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def topic_names(size: Size) -> list[str]:
    """Return the topics, the most frequent first."""
    return [f"Company {number:04}" for number in range(1, size.topics + 1)]


def _source_tables(connection: Connection, size: Size) -> None:
    """Make the tables that rows are made from: numbers, topics by weight, and texts."""
    names, random_source = topic_names(size), random.Random(7)
    weights = np.arange(1, size.topics + 1.0) ** -STEEP
    ends = np.searchsorted(np.cumsum(weights) / weights.sum(), np.arange(PLACES) / PLACES)
    vocabulary = [
        "".join(random_source.choices("aeioubcdfglmnprst", k=random_source.randint(3, 9))) for _ in range(20_000)
    ]
    frequency = list(np.cumsum(1 / np.arange(1, len(vocabulary) + 1)))

    def words(count: int) -> str:
        return " ".join(random_source.choices(vocabulary, cum_weights=frequency, k=count))

    integer = "BIGINT" if connection.dialect.name == "postgresql" else "INTEGER"
    blob = "BYTEA" if connection.dialect.name == "postgresql" else "BLOB"
    connection.execute(text(f"CREATE TABLE numbers (i {integer} PRIMARY KEY)"))
    connection.execute(text(f"CREATE TABLE drawn (place {integer} PRIMARY KEY, topic TEXT NOT NULL)"))
    connection.execute(
        text(f"CREATE TABLE texts (place {integer} PRIMARY KEY, title TEXT, body TEXT, signature {blob})")
    )
    series = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :n) SELECT i FROM n"
    connection.execute(text(f"INSERT INTO numbers {series}"), {"n": STEP})
    drawn = [{"place": place, "topic": names[int(rank)]} for place, rank in enumerate(ends)]
    connection.execute(text("INSERT INTO drawn VALUES (:place, :topic)"), drawn)
    texts = [
        {"place": place, "title": words(9), "body": words(95), "signature": random_source.randbytes(256)}
        for place in range(TEXTS)
    ]
    connection.execute(text("INSERT INTO texts VALUES (:place, :title, :body, :signature)"), texts)


def _stories(engine: Engine, size: Size) -> None:
    """Write stories, their topics and how they count."""
    for first in range(0, size.stories, STEP):
        values = {
            **{"first": first, "end": size.stories, "start": size.start, "apart": size.apart, "texts": TEXTS},
            **{"places": PLACES, "bucket": BUCKET},
        }
        with writing(engine) as connection:
            for statement in (_STORIES, _STORY_TOPICS, _DECISIONS):
                connection.execute(text(statement), values)


def _series(connection: Connection, size: Size) -> None:
    for statement in (_BUCKETS, _ALL_BUCKETS, _TOPICS):
        connection.execute(text(statement), {"bucket": BUCKET, "all": ALL})
    # A tenth of the topics still learns, the rarest.
    late = topic_names(size)[-(size.topics // 10) :]
    learning = text("UPDATE topics SET learning_until = :until WHERE topic = :topic")
    connection.execute(learning, [{"until": END + 5 * DAY, "topic": topic} for topic in late])


def _state(connection: Connection, size: Size) -> None:
    """Write what a store knows of its feed and its settings: half of the topics are rules of the desk."""
    rules = [{"name": name, "tickers": [name[-4:]]} for name in topic_names(size)[: size.topics // 2]]
    body = json.dumps(shaping(Settings.model_validate({"topics": rules})), sort_keys=True)
    connection.execute(insert(schema.settings_versions).values(number=1, in_force_from=None, body=body))
    connection.execute(update(schema.feed).values(decided_until=END, model="made up"))
    rows = [
        {
            **{"partition": f"news-{number}", "kind": "kafka", "next_offset": size.stories // PARTITIONS},
            **{"version": size.stories // 256, "member": True, "idle": False, "watermark": END, "largest": "[]"},
            **{"last_hash": None, "latest": None, "sorted": False, "heard_at": None, "aside_since": None},
            **{"counted_stories": size.stories // PARTITIONS},
        }
        for number in range(PARTITIONS)
    ]
    bulk.insert(connection, schema.partitions, rows)
    letters = [
        ("news-0", size.stories + number, "not_json", "It is not JSON.", b"x" * 200, 200, None, 1, END)
        for number in range(size.stories // 1_000)
    ]
    columns = ("partition", "offset", "reason", "detail", "raw", "size", "replayed_as", "settings", "ingested_at")
    bulk.insert_tuples(connection, schema.dead_letters, columns, letters)
    days = [{"day": day, "bucket": day, "body": b""} for day in range(size.start, END, DAY)]
    bulk.insert(connection, schema.daily_state, days)


_STORY = "(:first + n.i)"
_MIXED = f"(({_STORY} * 2654435761) / 65536)"
_PARTITION = f"'news-' || ({_STORY} % {PARTITIONS})"
_OFFSET = f"({_STORY} / {PARTITIONS})"
_AT = f"(:start + {_STORY} * :apart)"

_STORIES = f"""
INSERT INTO stories ("partition", "offset", id, content, published_at, counts_at, late, stale, date_only, title, body,
  source, url, language, status, tickers, negative, neutral, positive, severity, model, signature, extra, settings,
  ingested_at, feed)
SELECT {_PARTITION}, {_OFFSET}, 'story-' || {_STORY}, 'content-of-story-' || {_STORY}, {_AT}, {_AT},
  {_MIXED} % 100 = 0, {_MIXED} % 1000 = 0, 1 = 0, x.title || ' ' || ({_STORY} % 100003), x.body,
  'Source ' || ({_MIXED} % {SOURCES}), 'https://news.example/stories/' || {_STORY}, 'en', '', '[]',
  {_MIXED} % 7000, 3000 - {_MIXED} % 1500, 7000 + {_MIXED} % 1500 - {_MIXED} % 7000, {_MIXED} % 200, 'made up',
  x.signature, NULL, 1, {_AT}, 'news'
FROM numbers n JOIN texts x ON x.place = {_MIXED} % :texts
WHERE {_STORY} < :end ORDER BY n.i
"""

_DRAW = f"((({_STORY} * {TOPICS_PER_STORY} + j.i) * 2654435761) / 65536) % :places"
_STORY_TOPICS = f"""
INSERT INTO story_topics ("partition", "offset", topic, counts_at)
SELECT {_PARTITION}, {_OFFSET}, d.topic, {_AT}
FROM numbers n CROSS JOIN numbers j JOIN drawn d ON d.place = {_DRAW}
WHERE {_STORY} < :end AND j.i < {TOPICS_PER_STORY}
ORDER BY 1, 2 ON CONFLICT DO NOTHING
"""

_COPIES = f"({_STORY} % 5 = 4 AND {_STORY} > 100)"
_FIRST = f"({_STORY} - 1 - ({_STORY} % 4) * 4)"
_DECISIONS = f"""
INSERT INTO decisions ("partition", "offset", bucket, ending, weighs, event_partition, event_offset)
SELECT {_PARTITION}, {_OFFSET}, {_AT} - {_AT} % :bucket, 'scored', 1 = 1,
  CASE WHEN {_COPIES} THEN 'news-' || ({_FIRST} % {PARTITIONS}) END,
  CASE WHEN {_COPIES} THEN {_FIRST} / {PARTITIONS} END
FROM numbers n WHERE {_STORY} < :end ORDER BY 1, 2
"""

_SUMS = """
count(*), count(*) - count(*) / 5, (count(*) - count(*) / 5) * (2000 + (start / :bucket * 7919) % 3000),
(count(*) - count(*) / 5) * 4000, (count(*) - count(*) / 5) * (4000 - (start / :bucket * 7919) % 3000), 0, 0,
'["Source ' || (start / :bucket % 60) || '"]', 100, 1
"""
_COLUMNS = (
    "topic, start, stories, events, negative, neutral, positive, day_events, day_negative, sources, baseline, settings"
)
_BUCKETS = f"""
INSERT INTO buckets ({_COLUMNS}) SELECT topic, start, {_SUMS}
FROM (SELECT topic, counts_at - counts_at % :bucket AS start FROM story_topics) AS t
GROUP BY topic, start ORDER BY topic, start
"""
_ALL_BUCKETS = f"""
INSERT INTO buckets ({_COLUMNS}) SELECT :all, start, {_SUMS}
FROM (SELECT counts_at - counts_at % :bucket AS start FROM stories) AS t GROUP BY start ORDER BY start
"""
_TOPICS = """
INSERT INTO topics (topic, first_story_at, last_story_at, stories)
SELECT topic, min(start), max(start), sum(stories) FROM buckets GROUP BY topic
"""
