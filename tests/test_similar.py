"""Similar stories: the worker's signs, and the search over them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WordScorer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sqlalchemy import delete, insert, select

from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import schema, similar
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.similar import Signs, model_number
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings


@given(arrays.arrays(np.uint64, st.tuples(st.integers(1, 40), st.integers(1, 3))), st.integers(1, 50), st.data())
def test_the_nearest_are_those_that_a_sort_of_all_would_give(rows: Any, count: int, data: st.DataObject) -> None:
    asked = rows[data.draw(st.integers(0, len(rows) - 1))]
    places, apart = similar.nearest(rows, asked, count)
    bits = [sum(int(a ^ b).bit_count() for a, b in zip(row, asked, strict=True)) for row in rows]
    expected = sorted(range(len(rows)), key=lambda place: (bits[place], place))[:count]
    assert places.tolist() == expected
    assert apart.tolist() == [bits[place] for place in expected]


def test_more_stories_than_are_compared_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(0, 2**63, (500, 6)).astype(np.uint64)
    whole = similar.nearest(rows, rows[7], 20)
    monkeypatch.setattr(similar, "AT_ONCE", 37)
    parts = similar.nearest(rows, rows[7], 20)
    assert whole[0].tolist() == parts[0].tolist()
    assert whole[0][0] == 7


class SigningScorer(WordScorer):
    """Signs of 5 bytes: a bit for each of 40 words of the text. Their number is no whole number of 64 bits."""

    def sign_stories(self, pairs: Sequence[tuple[str, str]]) -> Any:
        bits = np.zeros((len(pairs), 40), np.uint8)
        for row, (title, body) in zip(bits, pairs, strict=True):
            for word in f"{title} {body}".lower().split():
                row[zlib.crc32(word.encode()) % 40] = 1
        return np.packbits(bits, axis=1)


TITLES = ["Acme fraud probe widens", "Acme fraud probe", "Oil rises on supply fear", "Oil rises", "Cup final tonight"]


def fill(url: str, folder: Path, name: str, titles: Sequence[str], scorer: Any = SigningScorer) -> None:
    feed = folder / name
    rows = [
        {"id": f"{name} {n}", "title": title, "source": "Wire", "published_at": f"2026-03-02T10:{n:02}:00Z"}
        for n, title in enumerate(titles)
    ]
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replay(Settings.model_validate({"store": StoreSettings(url=url)}), [feed], scorer=scorer)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_worker_stores_signs_and_the_search_finds_the_likest_and_what_came_since(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    url = request.getfixturevalue("postgres") if database == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    fill(url, tmp_path, "a.jsonl", TITLES)
    engine, signs = connect(url, create=False), Signs()
    with reading(engine) as connection:
        near, among = signs.near(connection, ("a.jsonl", 0), 3) or ([], 0)
        assert among == len(TITLES) - 1
        assert near[0].position == ("a.jsonl", 1)
        assert near[0].apart == 1
        assert ("a.jsonl", 0) not in [one.position for one in near]
        assert signs.near(connection, ("a.jsonl", 99), 3) is None
    with writing(engine) as connection:
        row = connection.execute(select(schema.story_signs).where(schema.story_signs.c.offset == 0)).one()
        assert row.model == model_number("words-1")
        # As if more had come: one that is equal, and one of another model, whose bits say nothing here.
        for offset, model in ((10, row.model), (11, row.model + 1)):
            values = {"partition": "a.jsonl", "offset": offset, "model": model, "signs": row.signs}
            connection.execute(insert(schema.story_signs).values(values))
    with reading(engine) as connection:
        near, among = signs.near(connection, ("a.jsonl", 0), 2) or ([], 0)
        assert (among, near[0].position, near[0].apart) == (len(TITLES), ("a.jsonl", 10), 0)
        fresh = Signs().near(connection, ("a.jsonl", 0), 2)
        assert fresh == (near, among), "what was loaded when changes no answer"
    g = schema.story_signs.c
    for gone in (0, 10), (1,), tuple(range(2, 99)):  # as retention does
        with writing(engine) as connection:
            connection.execute(delete(schema.story_signs).where(g.offset.in_(gone), g.offset != 4))
        with reading(engine) as connection:
            now, fresh = signs.near(connection, ("a.jsonl", 4), 3), Signs().near(connection, ("a.jsonl", 4), 3)
            assert now is not None
            assert fresh is not None
            assert now[0] == fresh[0]
    engine.dispose()


@pytest.mark.slow
def test_stories_that_were_deleted_are_not_counted_once_they_are_missed_or_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    fill(url, tmp_path, "a.jsonl", TITLES)
    engine, signs, g = connect(url, create=False), Signs(), schema.story_signs.c

    def found() -> tuple[tuple[str, int], int]:
        with reading(engine) as connection:
            near, among = signs.near(connection, ("a.jsonl", 0), 1) or ([], 0)
        return near[0].position, among

    def forget(offset: int) -> None:
        with writing(engine) as connection:
            connection.execute(delete(schema.story_signs).where(g.offset == offset))

    assert found() == (("a.jsonl", 1), len(TITLES) - 1)
    forget(1)  # the nearest: the search misses it
    nearest, among = found()
    assert (nearest != ("a.jsonl", 1), among) == (True, len(TITLES) - 2)
    forget(next(n for n in range(1, len(TITLES)) if ("a.jsonl", n) not in (nearest, ("a.jsonl", 1))))
    monkeypatch.setattr(similar, "RECHECK_SECONDS", 0.0)
    assert found() == (nearest, len(TITLES) - 3)
    engine.dispose()


@pytest.mark.slow
def test_stories_that_carry_scores_have_no_signs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'news.db'}"
    feed = tmp_path / "news.jsonl"
    scores = {"negative": 0.5, "neutral": 0.2, "positive": 0.3}
    feed.write_text(json.dumps({"title": "x", "published_at": "2026-03-02T10:00:00Z", "scores": scores}) + "\n")
    replay(Settings.model_validate({"store": StoreSettings(url=url)}), [feed], scorer=SigningScorer)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        assert Signs().near(connection, ("news.jsonl", 0), 3) is None
    engine.dispose()
