"""The sums of topics over a stretch of time: moved on by buckets, they equal those that are read anew."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, update

from foreshock.monitor.store import bulk, fills, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.topic_sums import NOTHING, TopicSums, topic_sums
from foreshock.monitor.units import DAY, MINUTE

BUCKET, START, BUCKETS = 30 * MINUTE, 20_000 * DAY, 48 * 6
TOPICS = ("_all", "Acme", "Borealis", "Castellor")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Six days of buckets of four topics, with gaps, some without a baseline."""
    chance = random.Random(3)
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('sums') / 's.db'}", create=True)
    rows = [
        {
            **{"topic": topic, "start": START + place * BUCKET, "stories": chance.randrange(1, 9)},
            **{"events": chance.randrange(6), "negative": chance.randrange(20_000)},
            **{"neutral": 0, "positive": chance.randrange(20_000), "day_events": 0, "day_negative": 0},
            **{"sources": "[]", "baseline": chance.choice([None, chance.randrange(-5_000, 5_000)]), "settings": 1},
        }
        for topic in TOPICS
        for place in range(BUCKETS)
        if chance.random() < 0.4
    ]
    known = [{"topic": topic, "first_story_at": START, "last_story_at": START, "stories": 1} for topic in TOPICS]
    with writing(engine) as connection:
        bulk.insert(connection, schema.buckets, rows)
        connection.execute(insert(schema.topics), known)
    yield engine
    engine.dispose()


def by_topic(sums: TopicSums) -> dict[str, object]:
    return {topic: of_it for topic, of_it in sums.of.items() if of_it != NOTHING}


@given(
    st.lists(st.one_of(st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=30),
    st.sampled_from([DAY, DAY + 5 * BUCKET, DAY // 2]),
)
def test_sums_that_were_moved_on_equal_those_that_are_read_anew(store: Engine, steps: list[int], length: int) -> None:
    last: TopicSums | None = None
    until = START + DAY
    with reading(store) as connection:
        for step in steps:
            until += step * BUCKET
            last = topic_sums(connection, until - length, until, last)
            assert by_topic(last) == by_topic(topic_sums(connection, until - length, until))


def test_time_may_go_back_as_after_a_restored_backup(store: Engine) -> None:
    with reading(store) as connection:
        last = topic_sums(connection, START + 2 * DAY, START + 3 * DAY)
        before = topic_sums(connection, START + DAY, START + 2 * DAY, last)
        assert by_topic(before) == by_topic(topic_sums(connection, START + DAY, START + 2 * DAY))


def test_a_fill_that_replaces_decided_buckets_is_seen(store: Engine) -> None:
    stretch = (START + 4 * DAY, START + 5 * DAY)
    fill = {"settings": 1, "topics": "[]", "state": fills.COUNTING, "read_until": "{}", "read": 0, "found": 0}
    b, f = schema.buckets.c, schema.fills.c
    with reading(store) as connection:
        last = topic_sums(connection, *stretch)
    with writing(store) as connection:
        connection.execute(insert(schema.fills), [{"number": 1, **fill}])
        connection.execute(update(schema.buckets).where(b.topic == "Acme").values(stories=b.stories + 1))
        assert topic_sums(connection, *stretch, last) == last, "decided buckets are not read again"
        connection.execute(update(schema.fills).where(f.number == 1).values(state=fills.DONE))
        now = topic_sums(connection, *stretch, last)
    assert now.of["Acme"].stories > last.of["Acme"].stories
    assert now.of["Borealis"] == last.of["Borealis"]
