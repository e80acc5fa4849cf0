"""The pages at a desk's size: what a page reads of thousands of topics, and what one costs that is left open."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from older_stores import back_to
from sqlalchemy import Engine, func, select, text, update
from streamlit.testing.v1 import AppTest

from benchmarks import dashboard, desk_store, growth
from benchmarks.viewers import viewer
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import bulk, evidence, schema, search, views
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.store.search import Wanted
from foreshock.monitor.units import ALL, DAY
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

TOPICS = 5_000
SIZE = desk_store.Size(topics=30, stories=4_000, days=4)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store of the benchmark, in small."""
    url = f"sqlite:///{tmp_path_factory.mktemp('desk') / 'desk.db'}"
    desk_store.build(url, SIZE)
    return url


def test_the_bytes_of_the_tables_add_up_to_those_of_the_store(desk: str) -> None:
    found = growth.measure(desk)
    by_table = found["bytes_a_story_by_table"]
    assert sum(by_table.values()) == found["bytes_a_story"] > 0
    assert by_table["others"] > 0, "there are more tables than are listed"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def news(request: pytest.FixtureRequest, tmp_path: Path, quick_scorer: Any) -> Engine:
    """A store with 120 stories of few words, some late, some broken."""
    chance = random.Random(5)
    at = list(range(120))
    feed = tmp_path / "news.jsonl"
    with feed.open("w") as lines:
        for place in at:
            minute = place - chance.choice([0, 0, 0, 9])
            story = {
                "id": str(place),
                "title": " ".join(chance.choices(["bank", "banks", "oil", "storm", f"n{place}"], k=3)),
                "source": chance.choice(["Wire", "Desk", "Échos"]),
                "topics": chance.sample(["A", "B"], chance.randrange(3)),
                "published_at": f"2026-03-02T{10 + max(minute, 0) // 60:02}:{max(minute, 0) % 60:02}:00Z",
            }
            lines.write("not JSON\n" if place % 40 == 39 else json.dumps(story) + "\n")
    store = request.getfixturevalue("postgres") if request.param == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    settings = Settings.model_validate({"store": StoreSettings(url=store), "watchlist": {"defaults": False}})
    replay(settings, [feed], scorer=quick_scorer)
    return connect(store, create=False)


def _counts(engine: Engine) -> dict[str, tuple[int, int, int, int]]:
    """Count what `views.source_counts` says, story by story."""
    with reading(engine) as connection:
        stories = connection.execute(select(schema.stories)).all()
        letters = connection.execute(select(schema.dead_letters.c.partition)).scalars().all()
    return {
        name: (
            sum(row.partition == name for row in stories),
            sum(row.partition == name and row.late for row in stories),
            sum(row.partition == name and row.stale for row in stories),
            letters.count(name),
        )
        for name in {row.partition for row in stories} | set(letters)
    }


def test_a_partition_counts_what_was_read_of_it(news: Engine) -> None:
    with reading(news) as connection:
        counted = views.source_counts(connection)
    assert counted == _counts(news)
    assert counted["news.jsonl"][1] > 0
    assert counted["news.jsonl"][3] == 3


def test_a_store_from_before_the_counts_gets_them_when_it_is_upgraded(tmp_path: Path, quick_scorer: Any) -> None:
    feed, store = tmp_path / "a.jsonl", tmp_path / "a.db"
    story = {"title": "oil", "published_at": "2026-03-02T10:00:00Z"}
    feed.write_text(f"{json.dumps(story)}\nnot JSON\n")
    url = f"sqlite:///{store}"
    replay(Settings.model_validate({"store": {"url": url}}), [feed], scorer=quick_scorer)
    back_to("0014", store)
    engine = connect(url, create=True)
    with reading(engine) as connection:
        assert views.source_counts(connection) == {"a.jsonl": (1, 0, 0, 1)}
    engine.dispose()


def test_the_sources_are_those_of_all_stories(news: Engine) -> None:
    with reading(news) as connection:
        every = connection.execute(select(schema.stories.c.source).distinct()).scalars().all()
        assert views.story_sources(connection) == sorted(every, key=str.encode) == ["Desk", "Wire", "Échos"]


@pytest.mark.parametrize("few", [0, 1_000])
def test_search_finds_the_newest_stories_however_many_match(
    news: Engine, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    with reading(news) as connection:
        rows = connection.execute(select(schema.stories)).all()
        borne = {(row.partition, row.offset, row.topic) for row in connection.execute(select(schema.story_topics))}
        for words in ("", "bank", "oil storm", "n7", "nowhere"):
            for topic in (None, "A"):
                for source in (None, "Desk"):
                    found = search.search(connection, Wanted(words=words, topic=topic, source=source), limit=20)
                    matching = [
                        row
                        for row in rows
                        if set(words.split()) <= set(row.title.split())
                        and source in (None, row.source)
                        and (topic is None or (row.partition, row.offset, topic) in borne)
                    ]
                    matching.sort(key=lambda row: (row.counts_at, row.partition, row.offset), reverse=True)
                    assert [one.story.title for one in found] == [row.title for row in matching[:20]]


def test_a_page_ranks_the_newest_stories_and_counts_the_events_of_all(
    news: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = 0, 2**60
    with reading(news) as connection:
        whole, total = views.events(connection, ALL, start, end, known=end, limit=500)
        assert len(whole) == total
        monkeypatch.setattr(evidence, "MOST", 30)
        for topic in (ALL, "A"):
            since = evidence.newest_part(connection, topic, start, end)
            table = schema.stories if topic == ALL else schema.story_topics
            count = select(func.count()).select_from(table).where(table.c.counts_at >= since)
            count = count if topic == ALL else count.where(table.c.topic == topic)
            assert connection.execute(count).scalar_one() <= 30
        some, same = views.events(connection, ALL, start, end, known=end, limit=500)
        assert len(some) <= 30
        assert same == total
        assert {row.first.title for row in some} <= {row.first.title for row in whole}


def test_an_open_page_is_drawn_again_only_when_something_is_new(desk: str) -> None:
    engine = connect(desk, create=False)

    async def look() -> list[int]:
        sizes = []
        with dashboard.server(desk, engine) as running:
            for page in ("now", "alerts", "health"):
                async with viewer(running.address, dashboard.PAGES[page].path, "") as one:
                    sizes.append(one.bytes)
                    await one.refresh()
                    sizes.append(one.bytes)
                    dashboard.decide(engine)
                    await one.refresh()
                    sizes.append(one.bytes)
        return sizes

    for whole, quiet, again in zip(*[iter(asyncio.run(look()))] * 3, strict=True):
        assert quiet < 4_000 < whole, "nothing new: one line"
        assert again > 0.8 * whole, "a bucket was decided: the whole page"
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=desk_store.END))
    engine.dispose()


def test_the_benchmarks_store_is_whole(desk: str) -> None:
    engine = connect(desk, create=False)
    with reading(engine) as connection:
        rows = {name: int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())
                for name in ("stories", "decisions", "topics", "alerts")}  # fmt: skip
        assert rows == {"stories": 4_000, "decisions": 4_000, "topics": 31, "alerts": 1_000}
        s, b = schema.stories.c, schema.buckets.c
        assert (
            connection.execute(select(func.count()).where(s.negative + s.neutral + s.positive != 10_000)).scalar() == 0
        )
        counted = connection.execute(select(func.sum(b.stories)).where(b.topic == ALL)).scalar()
        assert counted == 4_000
        assert search.search(connection, Wanted(words=dashboard.common_word(engine)))
    engine.dispose()


@pytest.fixture(scope="module")
def thousands(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of 5,000 topics with one story each."""
    url = f"sqlite:///{tmp_path_factory.mktemp('thousands') / 'many.db'}"
    engine = connect(url, create=True)
    end = desk_store.END
    at = [end - DAY + place * (DAY // TOPICS) for place in range(TOPICS)]
    starts = [time - time % desk_store.BUCKET for time in at]
    none: dict[str, Any] = {"late": False, "stale": False, "date_only": False, "body": "", "url": "", "status": ""}
    none |= {"tickers": "[]", "language": "en", "settings": 1, "feed": "", "source": "Wire", "severity": 10}
    scores = {"negative": 2_000, "neutral": 5_000, "positive": 3_000}
    with writing(engine) as connection:
        bulk.insert(connection, schema.stories, [
            {"partition": "news", "offset": place, "id": str(place), "content": str(place), "published_at": time,
             "counts_at": time, "ingested_at": time, "title": f"Only story on topic {place}", **none, **scores}
            for place, time in enumerate(at)
        ])  # fmt: skip
        for table, columns, rows in (
            (schema.story_topics, ("partition", "offset", "topic", "counts_at"),
             [("news", place, f"Topic {place:04}", time) for place, time in enumerate(at)]),
            (schema.decisions, ("partition", "offset", "bucket", "ending", "weighs"),
             [("news", place, start, "scored", True) for place, start in enumerate(starts)]),
            (schema.topics, ("topic", "first_story_at", "last_story_at", "stories", "learning_until"),
             [(f"Topic {place:04}", start, start, 1, end + DAY) for place, start in enumerate(starts)]),
        ):  # fmt: skip
            bulk.insert_tuples(connection, table, columns, rows)
        bulk.insert(connection, schema.buckets, [
            {"topic": f"Topic {place:04}", "start": start, "stories": 1, "events": 1, **scores, "day_events": 0,
             "day_negative": 0, "sources": '["Wire"]', "baseline": None, "settings": 1}
            for place, start in enumerate(starts)
        ])  # fmt: skip
        connection.execute(update(schema.feed).values(decided_until=end))
    engine.dispose()
    return url


@pytest.fixture
def show(thousands: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Returns the HTML of a page."""
    monkeypatch.setenv(VARIABLE, ServeSettings(store=thousands).model_dump_json())

    def run(page: str, **query: str) -> str:
        script = f"from foreshock.dashboard import frame, {page}\nframe.dress()\n{page}.page()"
        app = AppTest.from_string(script, default_timeout=60)
        for name, value in query.items():
            app.query_params[name] = value
        app.run()
        assert not app.exception, app.exception
        return "\n".join(element.proto.body for element in app.get("html"))

    return run


def test_five_thousand_topics_with_one_story_each_have_pages_of_an_ordinary_length(show: Callable[..., str]) -> None:
    now = show("now")
    assert f"{TOPICS:,} topics" in now
    assert len(set(re.findall(r'href="Topic\?topic=([^"&]+)', now))) <= 100, "one page, not all"
    assert len(now) < 400_000
    assert "Topic 4321" in show("now", find="topic 4321")
    topic = show("topic", topic="Topic 0007")
    assert "Only story on topic 7" in topic
    assert "Only story on topic 4999" in show("stories")
    assert "No such alert" in show("alerts")
    assert "Sources" in show("health")
