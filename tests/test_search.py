"""Full-text search: both databases find alike, and nothing that is asked is read as an operator."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from older_stores import back_to
from sqlalchemy import Connection, text

from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import search as search_of_stories
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.search import Wanted, search, sources
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

STORIES = [
    ("Bank issues profit warning", "Shares of Acme fell.", "Wire", ["banks"]),
    ("Warning of profit at bank", "", "Desk", ["banks"]),
    ("NOT a bank OR a near miss", "banking is mentioned here", "Wire", ["retail"]),
    ("Café opens", "l'été", "Wire", ["retail"]),
    ("C++ and 3.5% growth", "", "Desk", []),
]


def fill(url: str, folder: Path, scorer: Any, stories: list[tuple[str, str, str, list[str]]] = STORIES) -> None:
    feed = folder / "news.jsonl"
    rows = [
        {"id": str(n), "title": title, "body": body, "source": source, "topics": topics,
         "published_at": f"2026-03-02T10:{n:02}:00Z"}
        for n, (title, body, source, topics) in enumerate(stories)
    ]  # fmt: skip
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}})
    replay(settings, [feed], scorer=scorer)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, quick_scorer: Any) -> str:
    store = request.getfixturevalue("postgres") if request.param == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    fill(store, tmp_path, quick_scorer)
    return str(store)


def titles(connection: Connection, words: str = "", **filters: Any) -> list[str]:
    return [found.story.title for found in search(connection, Wanted(words=words, **filters))]


def test_search_means_the_same_in_both_databases(url: str) -> None:
    engine = connect(url, create=False)
    newest_first = [title for title, *_ in reversed(STORIES)]
    with reading(engine) as c:
        assert titles(c) == newest_first
        assert titles(c, "PROFIT bank") == ["Warning of profit at bank", "Bank issues profit warning"]
        assert titles(c, '"profit warning"') == ["Bank issues profit warning"], "a phrase stands as it stands"
        assert titles(c, "acme") == ["Bank issues profit warning"], "bodies are searched too"
        assert titles(c, "bank*") == newest_first[2:], "a beginning"
        assert titles(c, "NOT OR miss") == ["NOT a bank OR a near miss"], "operators are words"
        assert titles(c, "café") == ["Café opens"]
        assert titles(c, "bank", topic="banks", source="Desk") == ["Warning of profit at bank"]
        assert titles(c, "?!") == [], "no words, no stories"
        assert titles(c, "profit", end=1) == []
        labelled = [title for label in ("negative", "neutral", "positive") for title in titles(c, label=label)]
        assert sorted(labelled) == sorted(newest_first)
        for hostile in (
            "'; DROP TABLE stories; --",
            '" OR 1=1',
            "title:bank",
            "a & b | !c <-> d",
            "x NEAR/3 y",
            "*",
            '""',
        ):
            titles(c, hostile)
    engine.dispose()


@given(words=st.text(max_size=40))
def test_whatever_is_asked_sqlite_answers(words: str, asked: Connection) -> None:
    search(asked, Wanted(words=words))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any) -> Any:
    folder = tmp_path_factory.mktemp("asked")
    fill(f"sqlite:///{folder / 'news.db'}", folder, quick_scorer)
    engine = connect(f"sqlite:///{folder / 'news.db'}", create=False)
    with reading(engine) as connection:
        yield connection
    engine.dispose()


def test_a_store_from_before_full_text_is_indexed_when_it_is_upgraded(tmp_path: Path, quick_scorer: Any) -> None:
    store = tmp_path / "old.db"
    fill(f"sqlite:///{store}", tmp_path, quick_scorer)
    back_to("0003", store)
    with closing(sqlite3.connect(store)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'story_words'").fetchall()
    engine = connect(f"sqlite:///{store}", create=True)
    with reading(engine) as c:
        assert titles(c, '"profit warning"') == ["Bank issues profit warning"]
    engine.dispose()


def test_a_vacuum_does_not_mix_up_the_stories(tmp_path: Path, quick_scorer: Any) -> None:
    store = tmp_path / "news.db"
    fill(f"sqlite:///{store}", tmp_path, quick_scorer)
    engine = connect(f"sqlite:///{store}", create=False)
    with writing(engine) as c:
        c.execute(text("DELETE FROM stories WHERE title = 'Bank issues profit warning'"))
    with sqlite3.connect(store) as connection:
        connection.execute("VACUUM")
    with reading(engine) as c:
        assert titles(c, "profit") == ["Warning of profit at bank"]
        assert titles(c, "café") == ["Café opens"]
    engine.dispose()


@pytest.mark.parametrize("field", ["body", "text"])
def test_a_story_of_a_megabyte_can_be_stored_and_found(url: str, tmp_path: Path, quick_scorer: Any, field: str) -> None:
    words = " ".join(f"word{n}" for n in range(90_000))
    other = tmp_path / "large"
    other.mkdir()
    story = {"id": "l", "title": "Long", field: words, "published_at": "2026-03-03T10:00:00Z"}
    if field == "text":  # a record without a title has all of it as one
        del story["title"]
    (other / "large.jsonl").write_text(json.dumps(story) + "\n")
    settings = Settings.model_validate({"store": StoreSettings(url=url), "watchlist": {"defaults": False}})
    counts = replay(settings, [other / "large.jsonl"], scorer=quick_scorer).counts
    assert counts["scored"] == 1
    engine = connect(url, create=False)
    with reading(engine) as c:
        assert [title[:9] for title in titles(c, "word99")] == ["Long" if field == "body" else "word0 wor"]
    engine.dispose()


def test_orders_and_counts_by_source_mean_the_same_in_both_databases(url: str) -> None:
    engine = connect(url, create=False)
    with writing(engine) as c:
        severities = (40, None, 250, 250, 90)
        negatives = (9_000, 8_000, 100, 300, None)
        for n, (severity, negative) in enumerate(zip(severities, negatives, strict=True)):
            values = {"severity": severity, "negative": negative, "n": n}
            c.execute(text('UPDATE stories SET severity = :severity, negative = :negative WHERE "offset" = :n'), values)
    all_titles = [title for title, *_ in STORIES]
    with reading(engine) as c:

        def ordered(order: str, words: str = "", **paging: int) -> list[int]:
            found = search(c, Wanted(words=words), order=order, **paging)
            return [all_titles.index(one.story.title) for one in found]

        # Without a severity, bad news counts as mild: 80 hundredths of the second. Without scores a story comes last.
        assert ordered("gravest") == [3, 2, 4, 1, 0]
        assert ordered("negative") == [0, 1, 3, 2, 4]
        assert ordered("negative", limit=2, offset=1) == [1, 3]
        assert ordered("relevance") == ordered("newest") == [4, 3, 2, 1, 0]
        assert set(ordered("relevance", "bank")) == {0, 1, 2}
        assert ordered("relevance", "acme") == [0], "a word of the body alone"
        assert ordered("relevance", "!!!") == []
        with pytest.raises(ValueError, match="an order is"):
            ordered("best")
        assert sources(c, Wanted()) == [("Wire", 3), ("Desk", 2)]
        assert sources(c, Wanted(words="bank", topic="banks")) == [("Desk", 1), ("Wire", 1)]
        assert sources(c, Wanted(words="!!!")) == []
        body = {one.story.title: one.body for one in search(c, Wanted())}
        assert body["Bank issues profit warning"] == "Shares of Acme fell."
    engine.dispose()


def test_only_the_newest_that_match_are_put_into_an_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_of_stories, "LOOKED_AT", 2)
    engine = connect(url, create=False)
    with reading(engine) as c:
        assert len(search(c, Wanted(), order="gravest")) == 2
        assert sum(n for _, n in sources(c, Wanted())) == 2
        assert len(search(c, Wanted())) == len(STORIES)
    engine.dispose()


def test_a_filter_finds_what_came_before_the_last_that_have_the_words(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_of_stories, "_MATCHES", 1)
    engine = connect(url, create=False)
    end = 1_772_445_600_000_000 + 60_000_000  # of 2 March, 10:01 UTC: after the first story
    with reading(engine) as c:
        for order in search_of_stories.ORDERS:
            for filters in ({"topic": "banks", "source": "Wire"}, {"end": end}):
                found = search(c, Wanted(words="bank", **filters), order=order)
                assert [one.story.title for one in found] == ["Bank issues profit warning"], (order, filters)
        assert sources(c, Wanted(words="bank", end=end)) == [("Wire", 1)]
    engine.dispose()
