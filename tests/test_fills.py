"""Topics that are added or changed later are filled from the stored stories: monitor/filling.py says what holds."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import all_rows, assert_same
from sqlalchemy import delete, select, update

from foreshock.monitor import filling, rebuild
from foreshock.monitor.closing import Closer
from foreshock.monitor.store import fills, recounting, rereading, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.processes import wiring
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings

START = 1_770_000_000
WORDS = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]
ARVEX = {"name": "Arvex", "names": ["Arvex"], "tickers": ["ARV"]}
BOLUN = {"name": "Bolun", "names": ["Bolun"], "tickers": ["BOL"]}
OTHER_BOLUN = {"name": "Bolun", "names": ["Bolun", "Bolun Works"], "exclude": ["Bolun Street"], "tickers": ["BOL"]}
GLOOM = {"name": "gloom", "names": ["gloom", "decline"]}
BEFORE = [ARVEX]
ADDED = [ARVEX, BOLUN, GLOOM]
TWO = "two are added"
CHANGES: dict[str, tuple[list[Any], list[Any]]] = {
    TWO: ([ARVEX], [ARVEX, BOLUN, GLOOM]),
    "an exclude is added": ([ARVEX, BOLUN], [ARVEX, OTHER_BOLUN]),
    "an exclude is taken away": ([ARVEX, OTHER_BOLUN], [ARVEX, BOLUN]),
    "the feed named it before": ([ARVEX], [ARVEX, {"name": "T1", "names": ["gloom"]}]),
}


def feed(count: int, seed: int, every: float = 4_000) -> list[dict[str, Any]]:
    """Stories that name companies or not, with near-copies, duplicates, revisions and unscored ones among them."""
    rng, time, out = random.Random(seed), float(START), list[dict[str, Any]]()
    names = ["Arvex", "Bolun", "Bolun Street", "gloom", "decline", "Arvex and Bolun", "", "", ""]
    for number in range(count):
        time += rng.expovariate(1 / every)
        words = rng.choices(WORDS, k=14)
        title = " ".join([*words[:7], rng.choice(names), *words[7:]])
        record: dict[str, Any] = {
            "id": f"s{number}",
            "title": title,
            "published_at": round(time - rng.choice([0, 0, 0, 30, 90, 400, 30_000]), 3),
            "source": rng.choice("abcd"),
            "topics": rng.sample(["T1", "T2"], k=rng.choice([0, 0, 1])),
            "tickers": rng.choice([[], [], ["BOL"], ["ARV"]]),
        }
        if rng.random() < 0.1:
            record["language"] = "de"
        out.append(record)
        kind, later = rng.random(), round(time + rng.choice([0, 60, 4_000]), 3)
        if kind < 0.06:
            out.append({**record, "topics": ["T1"], "tickers": ["BOL"]})
        elif kind < 0.12:
            out.append({**record, "title": title + " gloom"})
        elif kind < 0.24:
            copied = {"id": f"c{number}", "source": rng.choice("abcd"), "published_at": later}
            out.append({**record, **copied, "title": f"{title} {rng.choice(names)}"})
    return out


def write(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def with_topics(url: str, topics: Sequence[Mapping[str, Any]], **flags: Any) -> Settings:
    values = {"store.url": url, "watchlist.defaults": False, "topics": list(topics), **flags}
    return load(None, flags=values, environ={}).settings


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "store.db"
    connect(f"sqlite:///{path}", create=True).dispose()
    return path


Made = Callable[[str], str]


@pytest.fixture
def new_store(empty: Path, tmp_path: Path) -> Made:
    def made(name: str) -> str:
        shutil.copy(empty, tmp_path / f"{name}.db")
        return f"sqlite:///{tmp_path / name}.db"

    return made


def series(url: str, topics: Sequence[str], before: int) -> list[tuple[Any, ...]]:
    """The rows of some topics before a bucket, less the version that made them."""
    b = schema.buckets.c
    columns = [column for column in b if column.name not in ("settings", "filled")]
    query = select(*columns).where(b.topic.in_(topics), b.start < before).order_by(b.topic, b.start)
    engine = connect(url, create=False)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def last_fill(url: str) -> fills.Fill:
    with reading(connect(url, create=False)) as connection:
        return fills.done(connection)[-1]


def of_others(rows: Any, topics: Sequence[str]) -> dict[str, Any]:
    """What a store holds that does not speak of `topics`, and is not the story of its settings."""
    kept = ("stories", "story_topics", "buckets", "decisions", "topics", "alerts", "incidents", "outbox", "story_ids")
    return {
        table: [row for row in rows[table] if not set(topics) & {value for value in row if isinstance(value, str)}]
        for table in kept
    }


@pytest.mark.parametrize(("change", "seed", "towards"), [(change, 1, False) for change in CHANGES] + [(TWO, 2, True)])
def test_filled_rows_are_those_of_a_store_that_had_the_topics_from_the_start(
    change: str, seed: int, towards: bool, new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    before, after = CHANGES[change]
    records = feed(620, seed, every=5_000)
    first, second = write(tmp_path / "a.jsonl", records[:560]), write(tmp_path / "b.jsonl", records[560:])
    later, always = new_store("later"), new_store("always")
    how = {"model.per_company": towards}
    replay(with_topics(later, before, **how), [first], scorer=quick_scorer)
    untouched = all_rows(later)
    replay(with_topics(later, after, **how), [second], scorer=quick_scorer)
    for path in (first, second):
        replay(with_topics(always, after, **how), [path], scorer=quick_scorer)
    fill = last_fill(later)
    assert fill.found and any(row[10] is not None for row in series(always, fill.topics, fill.in_force_from or 0))
    assert fill.in_force_from is not None
    filled, expected = (series(url, fill.topics, fill.in_force_from) for url in (later, always))
    if towards:  # other companies' stories are not scored again, and what is usual of all topics is theirs, too
        filled, expected = ([row[:10] for row in rows] for rows in (filled, expected))
    assert filled == expected
    now = of_others(all_rows(later), fill.topics)
    for table, rows in of_others(untouched, fill.topics).items():
        missing = [row for row in rows if row not in set(now[table])]
        assert table == "topics" or not missing, (table, missing[:2])


def columns_of(url: str, topic: str) -> dict[str, Any]:
    """What the state at "decided until" remembers of a topic."""
    with reading(connect(url, create=False)) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        state = rebuild.rebuild(connection, settings_versions.time_rules(connection), until)
    place = state.history.index[topic]
    return {
        f"{room}.{name}": getattr(part, name)[(slice(None),) * len(lead) + (place,)].tolist()
        for room, part in state.parts().items()
        for name, (lead, *_) in part.ARRAYS.items()
    }


def test_the_detectors_know_a_filled_topic_as_if_it_had_been_there(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    first = write(tmp_path / "a.jsonl", feed(700, 3))
    later, always = new_store("later"), new_store("always")
    how = {"model.per_company": False}
    replay(with_topics(later, BEFORE, **how), [first], scorer=quick_scorer)
    replay(with_topics(later, ADDED, **how), [first], scorer=quick_scorer)
    replay(with_topics(always, ADDED, **how), [first], scorer=quick_scorer)
    for topic in ("Bolun", "gloom"):
        found, expected = columns_of(later, topic), columns_of(always, topic)
        assert {name for name in found if repr(found[name]) != repr(expected[name])} == set()


def test_a_restart_finds_the_state_of_the_fill_and_without_its_snapshot_the_same_again(
    new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    records = feed(700, 4)
    first, second = write(tmp_path / "a.jsonl", records[:500]), write(tmp_path / "b.jsonl", records[500:])
    url = new_store("later")
    replay(with_topics(url, BEFORE), [first], scorer=quick_scorer)
    replay(with_topics(url, ADDED), [first], scorer=quick_scorer)
    replay(with_topics(url, [*ADDED[:2], {"name": "gloom", "names": ["gloom"]}]), [second], scorer=quick_scorer)
    engine, states = connect(url, create=False), []
    with reading(engine) as connection:
        until = connection.execute(select(schema.feed.c.decided_until)).scalar_one()
        time = settings_versions.time_rules(connection)
        moments = [until, *(fill.in_force_from for fill in fills.done(connection))]
    for _ in range(2):
        with reading(engine) as connection:
            found = [rebuild.rebuild(connection, time, until), rebuild.state_before(connection, time, moments[1] or 0)]
            states.append([state.snapshot() for state in found])
        with writing(engine) as connection:
            connection.execute(update(schema.fills).values(body=b""))
            connection.execute(delete(schema.daily_state))
    assert states[0] == states[1]


def crisis(topic: str, days: int, bad: range) -> list[dict[str, Any]]:
    """A story of each of four companies every two hours; of `topic`, bad ones in plenty on some days."""
    rng, out = random.Random(7), list[dict[str, Any]]()
    for hour in range(0, days * 24, 2):
        for name in ("Arvex", "Bolun", "Cimat", "Dolor"):
            worse = name == topic and hour // 24 in bad
            for copy in range(4 if worse else 1):
                negative = 0.95 if worse else rng.choice([0.05, 0.1, 0.2, 0.7])
                out.append(
                    {
                        "id": f"{name}{hour}.{copy}",
                        "title": " ".join([name, *rng.choices(WORDS, k=10)]),
                        "published_at": START + hour * 3600 + rng.randrange(1800),
                        "source": rng.choice("abcdef"),
                        "scores": {"negative": negative, "neutral": round(0.97 - negative, 3), "positive": 0.03},
                    }
                )
    return sorted(out, key=lambda one: one["published_at"])


@pytest.mark.parametrize("over", [True, False])
def test_a_fill_raises_nothing_about_the_past(
    over: bool, new_store: Made, tmp_path: Path, quick_scorer: Any
) -> None:
    """A crisis that ended before the fill, or burns on through it: an alert of it would be of what is long known."""
    records = crisis("Bolun", 40, range(30, 33) if over else range(30, 37))
    cut = next(i for i, one in enumerate(records) if one["published_at"] >= START + 35 * 86_400)
    first, second = write(tmp_path / "a.jsonl", records[:cut]), write(tmp_path / "b.jsonl", records[cut:])
    rules = [{"name": name, "names": [name]} for name in ("Arvex", "Bolun", "Cimat", "Dolor")]
    later, always = new_store("later"), new_store("always")
    replay(with_topics(later, [rule for rule in rules if rule["name"] != "Bolun"]), [first], scorer=quick_scorer)
    for url in (later, always):
        for path in (first, second):
            replay(with_topics(url, rules), [path], scorer=quick_scorer)
    raised: dict[str, set[tuple[Any, ...]]] = {}
    for url in (later, always):
        a = schema.alerts.c
        with reading(connect(url, create=False)) as connection:
            rows = connection.execute(select(a.topic, a.kind, a.direction, a.fired_at).where(a.fired_at.is_not(None)))
            raised[url] = {tuple(row) for row in rows}
    since = last_fill(later).in_force_from or 0
    about = {row for row in raised[always] if row[0] == "Bolun"}
    assert any(row[3] <= since for row in about), "the crisis fires where the topic was there"
    assert {row for row in raised[later] if row[0] == "Bolun" and row[3] <= since} == set()
    # What comes later is what a store with the topic from the start says, less what it had said before.
    assert {row for row in raised[later] if row[0] == "Bolun"} == {row for row in about if row[3] > since}
