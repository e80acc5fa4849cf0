"""What makes a replay fast changes no row: each shortcut against the long way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from foreshock.monitor.counting import CountedStory, SeenIds, count_bucket
from foreshock.monitor.repeats import (
    BINS,
    FADE,
    FEW,
    HABIT,
    KNOWN,
    LONG,
    OTHERS,
    REPEAT,
    REPEATS,
    Repeats,
    source_number,
)
from foreshock.monitor.store import bulk, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.watermark import TimeRules

BUCKET = 300_000_000


@given(st.lists(st.integers(0, 700), max_size=4))
@settings(max_examples=15)
def test_rows_are_inserted_once_each_however_many_there_are(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int]
) -> None:
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('bulk') / 'store.db'}", create=True)
    columns = ("key", "bucket", "partition", "offset")
    expected = []
    for part, count in enumerate(counts):
        rows = [(number, part, "file", -number) for number in range(count)]
        with writing(engine) as connection:
            bulk.insert_tuples(connection, schema.event_keys, columns, rows)
        expected += rows
    with reading(engine) as connection:
        assert sorted(map(tuple, connection.execute(select(schema.event_keys)))) == sorted(expected)
    engine.dispose()


def test_a_stories_text_is_found_however_many_were_inserted_with_it(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    nothing = dict.fromkeys(("body", "url", "status", "feed"), "")
    rows = [
        {
            **nothing,
            **{"partition": "file", "offset": number, "id": f"s{number}", "content": "c", "title": f"word{number}"},
            **{"published_at": 1, "counts_at": 1, "late": False, "stale": False, "date_only": False, "source": "a"},
            **{"language": "en", "tickers": "[]", "settings": 1, "ingested_at": 1},
        }
        for number in range(150)
    ]
    with writing(engine) as connection:
        bulk.insert(connection, schema.stories, rows)
    with reading(engine) as connection:
        for number in range(150):
            found = connection.execute(
                text(
                    'SELECT n."offset" FROM story_words w JOIN story_numbers n ON n.number = w.rowid '
                    "WHERE story_words MATCH :word"
                ),
                {"word": f"word{number}"},
            )
            assert list(found.scalars()) == [number]
    engine.dispose()


_stories = st.lists(
    st.tuples(
        st.integers(0, 3),  # bucket
        st.integers(0, 12),  # id
        st.frozensets(st.integers(0, 25), min_size=3, max_size=3),  # keys
        st.integers(0, 2),  # words
        st.booleans(),  # stale
    ),
    max_size=25,
)


@given(_stories)
@settings(max_examples=150)
def test_keys_that_only_one_story_bears_decide_nothing(
    drawn: list[tuple[int, int, frozenset[int], int, bool]],
) -> None:
    """Filing events under shared keys alone gives the rulings and rows of filing them under all of their keys."""
    members = [
        CountedStory(
            partition="f",
            offset=offset,
            bucket=bucket * BUCKET,
            published_at=bucket * BUCKET,
            id=f"s{number}",
            content=str(offset),
            source="a",
            stale=stale,
            date_only=False,
            scores=(5_000, 0, 5_000),
            signature=bytes([words]) * 256,
            keys=tuple(sorted(keys)),
            topics=("T",),
        )
        for offset, (bucket, number, keys, words, stale) in enumerate(drawn)
    ]
    borne = [key for m in members if not m.stale for key in m.keys]
    few = SeenIds(shared=frozenset(key for key in borne if borne.count(key) > 1))
    every = SeenIds()
    for start in sorted({m.bucket for m in members}):
        here = [m for m in members if m.bucket == start]
        assert count_bucket(few, start, here, TimeRules()) == count_bucket(every, start, here, TimeRules())
    assert set(few.keys) <= set(every.keys)


def _one_after_the_other(
    many: list[float], beyond: list[float], damped: list[float], share: list[float]
) -> list[float]:
    """What repeats weigh together, by its definition: event after event."""
    found = []
    for n, own, others, part in zip(many, beyond, damped, share, strict=True):
        total = 0.0
        for repeat in range(REPEATS):
            over = max(own + repeat, 0) / others
            total += min(max(n - repeat, 0.0), 1.0) * (part + (1 - part) / (1 + REPEAT * (over * over)))
        found.append(total)
    return found


@given(st.lists(st.integers(1, REPEATS), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=6, max_size=6))
@settings(max_examples=80)
def test_repeats_weigh_what_they_weigh_one_after_the_other(events: list[int], before: list[int]) -> None:
    """To the last bit, whatever the number of topics and of repeats."""
    repeats, n = Repeats(8), len(events)
    topics, age = np.arange(n), np.full(n, 10_000)
    sources = tuple((f"s{place}",) for place in range(n))
    late = np.array(before[:n], float)
    first = np.stack([late, late, 0 * late], axis=1)[None]
    repeats.weigh(topics, first, sources, -1, 0, age)
    own, long = repeats.late[:n, 0].copy(), repeats.long[:n, 0].copy()
    many = np.array(events, float)
    heard = repeats.heard.copy()
    parts = np.stack([many, many, 0 * many], axis=1)[None]
    weight, _ = repeats.weigh(topics, parts, sources, -1, 0, age)
    known = late > 0
    own, long = np.where(known, own, 0.0), np.where(known, long, 0.0)
    habit = HABIT * FADE / (LONG * -np.expm1(-np.maximum(age, KNOWN) / LONG))
    total = np.where(known, own, 0.0)
    damped = 1 + OTHERS * np.maximum(total - own + many - many, 0)
    bins = np.array([source_number(name) % BINS for (name,) in sources])
    of_topic = np.maximum(long - own, 0) / (np.maximum(long - own, 0) + FEW)
    share = np.maximum(heard[bins] / max(float(heard.sum()), 1.0), of_topic) ** 3
    expected = _one_after_the_other(many.tolist(), (own - habit * long).tolist(), damped.tolist(), share.tolist())
    assert weight[:, 0].tolist() == (np.array(expected) / many * many / many).tolist()


def test_what_refers_to_a_story_or_an_event_is_found_by_an_index(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    with reading(engine) as connection:
        for what in ("story", "event"):
            query = f"SELECT 1 FROM decisions WHERE {what}_partition = 'a' AND {what}_offset IN (1, 2)"
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}")))
            assert f"decisions_{what}" in plan
    engine.dispose()
