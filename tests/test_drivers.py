"""Who drives a topic: what the sources move adds up, and what stories say of other companies."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from foreshock.monitor.buckets import SourceSums
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import drivers, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import UNIT
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

masses = st.integers(0, 20 * UNIT)
sums = st.dictionaries(st.text(max_size=3), st.tuples(st.integers(0, 20), masses, masses), max_size=6)


@given(sums, st.integers(0, 500), st.integers(-500 * UNIT, 500 * UNIT))
def test_what_the_sources_move_adds_up_to_the_change_of_mood(
    by_source: dict[str, tuple[int, int, int]], events_before: int, mass_before: int
) -> None:
    by_source = {name: one for name, one in by_source.items() if one[0]}  # a source without events has no mass
    found = drivers.shares(by_source, events_before, mass_before)
    if not by_source:
        assert found is None
        return
    assert found is not None
    assert sum(one.moves for one in found.sources) == pytest.approx(found.mood - (found.usual or 0.0))
    assert sum(one.events for one in found.sources) == sum(n for n, _, _ in by_source.values())
    assert (found.usual is None) == (events_before < drivers.LEAST_EVENTS)


class Row:
    def __init__(self, events: int, negative: int, positive: int, sources: list[str], parts: list[SourceSums]) -> None:
        self.events, self.negative, self.positive = events, negative, positive
        self.sources, self.by_source = json.dumps(sources), json.dumps(parts) if parts else None


@given(st.integers(0, 9), masses, masses, st.lists(st.text(max_size=2), min_size=1, max_size=4, unique=True))
def test_a_bucket_without_sums_by_source_is_shared_without_a_remainder(
    events: int, negative: int, positive: int, names: list[str]
) -> None:
    found = drivers.by_source([Row(events, negative, positive, names, [])])
    assert [sum(one[i] for one in found.values()) for i in range(3)] == [events, negative, positive]


def test_a_bucket_with_sums_by_source_gives_each_its_own() -> None:
    parts = [SourceSums("Wire", 2, 15_000, 0, 0, 0), SourceSums("Desk", 1, 0, 9_000, 0, 0)]
    found = drivers.by_source([Row(3, 15_000, 9_000, ["Desk", "Wire"], parts), Row(1, 5_000, 0, ["Wire"], [])])
    assert found == {"Wire": (3, 20_000, 0), "Desk": (1, 0, 9_000)}


names = st.sampled_from(["Wire", "Desk", "Smith, Jones", "Échos", 'the "Post"', "50%_off"])
buckets = st.lists(
    st.tuples(st.lists(names, max_size=3, unique=True), st.integers(0, 9), masses, masses, st.booleans()), max_size=12
)


@settings(max_examples=25)
@given(buckets)
def test_the_database_sums_what_each_row_has(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[str], int, int, int, bool]]
) -> None:
    def row(place: int, sources: list[str], events: int, negative: int, positive: int, apart: bool) -> dict[str, Any]:
        parts = [SourceSums(name, events, negative, positive, 0, 0) for name in sources] if apart else None
        return {
            **{"topic": "Acme", "start": place, "stories": 9, "events": events, "negative": negative, "neutral": 0},
            **{"positive": positive, "day_events": 0, "day_negative": 0, "settings": 1},
            "sources": json.dumps(sources, ensure_ascii=False),
            "by_source": json.dumps(parts, ensure_ascii=False) if parts else None,
        }

    written = [row(place, *values) for place, values in enumerate(rows)]
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('drivers') / 's.db'}", create=True)
    with writing(engine) as connection:
        if written:
            connection.execute(insert(schema.buckets), written)
        found = drivers.drivers(connection, "Acme", 0, len(rows) + 1)
    engine.dispose()
    assert found == drivers.shares(drivers.by_source(SimpleNamespace(**values) for values in written))


@pytest.mark.slow
def test_other_companies_of_the_same_stories_have_the_mood_towards_each(tmp_path: Path) -> None:
    scores = {"negative": 0.5, "neutral": 0.2, "positive": 0.3}
    towards = {
        "Acme": {"negative": 0.9, "neutral": 0.1, "positive": 0.0},
        "Bero": {"negative": 0.0, "neutral": 0.2, "positive": 0.8},
    }
    stories: list[dict[str, Any]] = [
        {"title": "Bero takes a client from Acme", "topics": ["Acme", "Bero"], "topic_scores": towards},
        {"title": "Acme alone", "topics": ["Acme"]},
        {"title": "Both without own scores", "topics": ["Acme", "Bero"]},
    ]
    feed = tmp_path / "news.jsonl"
    rows = [{"published_at": f"2026-03-02T10:0{n}:00Z", "scores": scores, **one} for n, one in enumerate(stories)]
    feed.write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = StoreSettings(url=f"sqlite:///{tmp_path / 'news.db'}")
    replay(Settings.model_validate({"store": store, "watchlist": {"defaults": False}}), [feed])
    engine = connect(store.url, create=False)
    with reading(engine) as connection:
        found = drivers.other_companies(connection, "Acme", 0, 2**60)
        none = drivers.other_companies(connection, "Acme", 0, 1)
    engine.dispose()
    assert [(one.topic, one.events) for one in found] == [("Bero", 1)]
    assert found[0].towards_other == pytest.approx(0.8)
    assert found[0].towards_this == pytest.approx(-0.9)
    assert none == []
