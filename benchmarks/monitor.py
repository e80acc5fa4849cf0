"""Measure how many stories and topic-buckets a second the monitor decides, at 100, 10,000 and 100,000 topics.

    python -m benchmarks.monitor          # some minutes; --small: quick, and nothing is recorded

The rows of two days are written first. On the first day each topic has a story, so the monitor knows them all. The
second day, on which each story has one topic, is timed: 288 buckets, their hours, and the change of day. PostgreSQL
runs on the same machine.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from benchmarks.arguments import parser
from benchmarks.recording import record
from benchmarks.stage import OwnPostgres
from foreshock.ingest.memory import MemoryFeed
from foreshock.monitor.closing import Closer
from foreshock.monitor.rebuild import rebuild
from foreshock.monitor.store import progress, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.topics.matching import Matcher
from foreshock.processes import wiring
from foreshock.processes.batches import Worker
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping
from foreshock.sources import live
from foreshock.sources.finite import FiniteSource

TOPICS = (100, 10_000, 100_000)
STORIES = 60_000
DAY = 86_400
START = 1_770_000_000 // DAY * DAY


def measure(topics: tuple[int, ...], stories: int) -> dict[str, Any]:
    """Time the second day with `stories` stories, for each number of topics, each in its own database."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        found = {}
        for count in topics:
            postgres = OwnPostgres(Path(folder) / str(count))
            try:
                found[str(count)] = _at(postgres.url, count, stories)
            finally:
                postgres.close()
    return {"stories": stories, "by_topics": found}


def _at(url: str, topics: int, stories: int) -> dict[str, Any]:
    settings = Settings()
    rules = wiring.time_rules(settings)
    engine = connect(url, create=True)
    try:
        with writing(engine) as connection:
            number = settings_versions.adopt(connection, shaping(settings), resuming=None)
        worker = Worker(Matcher([]), _no_scorer, rules, settings=number)
        closer = Closer(engine, rules, settings=number)
        _write(engine, worker, settings, "before", _first_day(topics))
        _close(closer)
        _write(engine, worker, settings, "timed", _second_day(topics, stories))
        before = _topic_buckets(engine)
        seconds = _close(closer)
        topic_buckets = _topic_buckets(engine) - before
        began = time.perf_counter()
        with reading(engine) as connection:
            until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
            rebuild(connection, rules, until)
        rebuilt = time.perf_counter() - began
    finally:
        engine.dispose()
    return {
        "seconds": round(seconds, 2),
        "stories_per_second": round(stories / seconds, 1),
        "topic_buckets": topic_buckets,
        "topic_buckets_per_second": round(topic_buckets / seconds, 1),
        "seconds_to_rebuild_the_state": round(rebuilt, 2),
    }


def _write(engine: Engine, worker: Worker, settings: Settings, name: str, records: Iterator[bytes]) -> None:
    """Write these records as a worker does, without deciding anything."""
    rules = settings.parsing().rules()
    source = FiniteSource(Partition(name, "file"), MemoryFeed(name, list(records), rules=rules))
    with writing(engine) as connection:
        (partition,) = live.join(connection, [source], wiring.time_rules(settings))
    source.partition = partition
    while len(taken := worker.take([source])):
        with writing(engine) as connection:
            (source.partition,) = progress.commit(connection, worker.rows(taken))
    with writing(engine) as connection:
        progress.leave(connection, [source.partition])


def _close(closer: Closer) -> float:
    """Decide all that can be decided, and return the seconds it took."""
    began = time.perf_counter()
    for _ in closer.close():
        pass
    return time.perf_counter() - began


def _first_day(topics: int) -> Iterator[bytes]:
    # At least 1,000 stories, so that the feed does not stall when there are few topics.
    count = max(topics, 1_000)
    for number in range(count):
        yield _story(f"f{number}", START + number * DAY / count, number % topics, 0.4)


def _second_day(topics: int, stories: int) -> Iterator[bytes]:
    rng = random.Random(3)
    for number in range(stories):
        yield _story(f"s{number}", START + DAY + number * DAY / stories, rng.randrange(topics), rng.random())


def _story(identity: str, at: float, topic: int, negative: float) -> bytes:
    rng = random.Random(identity)
    story = {
        "id": identity,
        "title": " ".join("".join(rng.choices("abcdefghijklmnoprstuvw", k=6)) for _ in range(10)),
        "published_at": round(at, 3),
        "source": "abcdef"[topic % 6],
        "topics": [f"topic {topic}"],
        "scores": {"negative": round(negative, 3), "neutral": 0, "positive": round(1 - round(negative, 3), 3)},
    }
    return json.dumps(story).encode()


def _topic_buckets(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(schema.buckets)).scalar_one())


def _no_scorer() -> Any:
    raise AssertionError("all stories carry their scores")


if __name__ == "__main__":
    if parser(__doc__, small=True).parse_args().small:
        print(json.dumps(measure((100, 2_000), 5_000), indent=2))
    else:
        print(json.dumps(record("monitor", "python -m benchmarks.monitor", measure(TOPICS, STORIES)), indent=2))
