"""The store: its schema, its errors, and what it answers about series, topics, alerts and their evidence."""

from __future__ import annotations

import gc
import json
import random
import re
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from rows import all_rows, assert_same
from sqlalchemy import and_, bindparam, insert, select, text
from sqlalchemy.event import listen

from foreshock import open_store
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.monitor.errors import SchemaMismatch, StoreError, StoreMissing
from foreshock.monitor.store import Store, evidence, lookup, schema, views
from foreshock.monitor.store.database import HEAD, connect, reading, writing
from foreshock.monitor.store.export import export_stories
from foreshock.monitor.store.times import microseconds
from foreshock.processes.replay import replay
from foreshock.settings.load import load

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 30
CRISIS = START + timedelta(days=25, hours=9)

Maker = Callable[..., Store]
"""Makes a store of records, a list for each file, read in this order; all of them are decided."""


def _different(url: str) -> list[Any]:
    engine = connect(url, create=True)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, schema.metadata)
    engine.dispose()
    # Full-text search is made by the migration alone.
    return [change for change in found if not re.search("words|story_numbers", str(change))]


def test_migrations_make_the_schema_that_the_code_knows(tmp_path: Path) -> None:
    assert _different(f"sqlite:///{tmp_path / 's.db'}") == []


@pytest.mark.postgres
def test_migrations_make_the_schema_that_the_code_knows_on_postgresql(empty_postgres: str) -> None:
    assert _different(empty_postgres) == []


def test_a_missing_store_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"none\.db.*foreshock replay"):
        open_store(f"sqlite:///{tmp_path / 'none.db'}")
    assert not (tmp_path / "none.db").exists()


def test_a_store_of_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    connect(url, create=True).dispose()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for create in (False, True):
        with pytest.raises(SchemaMismatch, match=rf"9999.*newer Foreshock.*{HEAD}.*Upgrade"):
            connect(url, create=create)


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(SchemaMismatch, match="songs"):
        connect(f"sqlite:///{tmp_path / 's.db'}", create=True)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"%PDF-1.4 " * 500)
    with pytest.raises(StoreError, match="not a database"):
        connect(f"sqlite:///{tmp_path / 's.db'}", create=True)


def test_a_new_store_waits_for_another_process_that_makes_it(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite itself would not wait for this, but say at once that it is locked
    threading.Timer(0.3, other.close).start()
    connect(f"sqlite:///{file}", create=True).dispose()


def test_an_unwritable_store_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"folder .*gone.* does not exist"):
        connect(f"sqlite:///{tmp_path / 'gone' / 's.db'}", create=True)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(StoreError, match=r"s\.db cannot be written"):
        connect(f"sqlite:///{tmp_path / 's.db'}", create=True)


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "nonsense:secret@h", "sqlite://", "postgresql://u:secret@localhost:1/d"]
)
def test_a_url_that_leads_nowhere_is_an_error_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as raised:
        connect(url, create=True)
    assert "secret" not in str(raised.value)


def test_writers_roll_back_whole(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 's.db'}", create=True)

    def fail() -> None:
        with writing(engine) as connection:
            connection.execute(text("UPDATE feed SET members_version = 7"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with reading(engine) as connection:
        assert connection.execute(select(schema.feed.c.members_version)).scalar() == 0


def test_sqlite_looks_positions_up_by_index(month: Store) -> None:
    s, d = schema.stories.c, schema.decisions.c
    plans = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        plans.append([row[3] for row in cursor.connection.execute("EXPLAIN QUERY PLAN " + statement, parameters)])

    with reading(month.engine) as connection:
        positions = [tuple(row) for row in connection.execute(select(s.partition, s.offset).order_by(s.offset))]
        listen(connection, "before_cursor_execute", explain)
        found = lookup.by_position(connection, select(s.partition, s.offset), s.partition, s.offset, positions[::2])
        assert sorted(map(tuple, found)) == positions[::2]
        list(lookup.by_position(connection, select(d.ending), d.story_partition, d.story_offset, positions[:9]))
    assert plans
    of_tables = [step for plan in plans for step in plan if "stories" in step or "decisions" in step]
    assert len(of_tables) == len(plans)
    assert all("SEARCH" in step and "offset=?" in step for step in of_tables), of_tables  # only the list itself is read


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_look_up_has_the_values_of_its_own_query_or_those_given_and_keeps_no_query_that_its_caller_does_not(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine = connect(
        f"sqlite:///{tmp_path / 's.db'}" if kind == "sqlite" else request.getfixturevalue("postgres"), create=True
    )
    k = schema.event_keys.c
    kept = select(k.key).where(k.key < bindparam("end"), k.bucket.in_(bindparam("buckets", expanding=True)))
    rows = [{"key": n, "bucket": n % 2, "partition": f"p{n % 2}", "offset": n} for n in range(9)]
    made = []
    with writing(engine) as connection:
        connection.execute(insert(schema.event_keys), rows)

        def found(query: Any, **given: Any) -> set[int]:
            positions = [(f"p{n % 2}", n) for n in range(9)]
            by_number = {row.key for row in lookup.by_number(connection, query, k.key, range(9), given)}
            by_position = lookup.by_position(connection, query, k.partition, k.offset, positions, given)
            assert {row.key for row in by_position} == by_number
            return by_number

        for end, buckets in ((3, [0, 1]), (5, [1]), (3, [0]), (6, [])):
            query = select(k.key).where(k.key < end, k.bucket.in_(buckets))
            expected = {n for n in range(end) if n % 2 in buckets}
            assert found(query) == found(kept, end=end, buckets=buckets) == expected
            made.append(ref(query))
    engine.dispose()
    del query
    gc.collect()
    assert [one() for one in made] == [None] * 4


def _feed() -> list[dict[str, Any]]:
    """A month of two calm topics, one of which falls into a crisis whose stories are revised, withdrawn and copied."""
    rng = random.Random(5)
    words = ["".join(rng.choices("abdeiklmnoprstu", k=6)) for _ in range(2_000)]

    def story(at: datetime, topic: str, negative: float, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "title": " ".join(rng.choices(words, k=9)),
            "published_at": at.isoformat(),
            "source": rng.choice("abcd"),
            "topics": [topic],
            "scores": {"negative": negative, "neutral": round(0.9 - negative, 3), "positive": 0.1},
        }

    out = []
    for day in range(DAYS):
        for topic in ("calm", "falling"):
            for number in range(24):
                at = START + timedelta(days=day, hours=number, minutes=rng.randint(0, 59))
                out.append(story(at, topic, rng.choice([0.05, 0.1, 0.2, 0.7]), f"{topic}-{day}-{number}"))
    for number in range(24):
        at = CRISIS + timedelta(minutes=7 * number)
        bad = story(at, "falling", 0.85, f"bad-{number}")
        out.append(bad)
        if number == 0:
            copy = {
                **bad,
                "id": "copy-0",
                "title": bad["title"] + " via",
                "published_at": (at + timedelta(minutes=1)).isoformat(),
            }
            for minute in (2, 3):
                newest = {
                    **bad,
                    "title": "The newest text",
                    "published_at": (at + timedelta(minutes=minute)).isoformat(),
                }
                out.append(newest)
            out.append(copy)
        if number == 1:
            out.append({**bad, "status": "withdrawn", "published_at": (at + timedelta(minutes=2)).isoformat()})
    return sorted(out, key=lambda record: record["published_at"])


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("month")
    path = folder / "month.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in _feed()))
    url = f"sqlite:///{folder / 's.db'}"
    replay(load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings, [path])
    return open_store(url)


@pytest.mark.postgres
def test_postgresql_has_the_same_rows_alerts_with_their_evidence_and_days_states_among_them(
    month: Store, postgres: str, tmp_path: Path
) -> None:
    path = tmp_path / "month.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in _feed()))
    replay(load(None, flags={"store.url": postgres, "watchlist.defaults": False}, environ={}).settings, [path])
    found, expected = all_rows(postgres), all_rows(str(month.engine.url))
    assert_same(found, expected)
    for table in ("alerts", "outbox", "daily_state", "topics", "story_ids", "event_keys", "buckets", "decisions"):
        assert found[table], f"nothing to compare in {table}"


def _crisis(store: Store) -> dict[str, Any]:
    return next(a for a in store.alerts() if a["topic"] == "falling" and a["kind"] == "negativity_spike")


def test_a_crisis_fires_within_hours_and_is_over_later(month: Store) -> None:
    alert = _crisis(month)
    fired = datetime.fromisoformat(alert["fired_at"])
    assert CRISIS < fired < CRISIS + timedelta(hours=3)
    assert CRISIS - timedelta(hours=1) < datetime.fromisoformat(alert["started_at"]) <= fired
    assert alert["state"] == "resolved"
    assert datetime.fromisoformat(alert["resolved_at"]) > fired
    assert alert["observed"] > alert["baseline"] + 0.15
    assert f"negative stories on falling from {alert['sources']} sources in " in alert["sentence"]
    assert not [a for a in month.alerts() if a["topic"] == "calm"]


def test_an_alert_has_the_public_fields_in_their_form(month: Store) -> None:
    alert = _crisis(month)
    assert list(alert) == [
        *("id", "topic", "kind", "direction", "state", "origin", "group_id", "started_at", "fired_at", "resolved_at"),
        *("observed", "baseline", "evidence", "sources", "events", "severity", "sentence"),
        *("statistic", "threshold", "word", "inhibited_by", "inhibited_because"),
    ]
    assert alert["origin"] == "replay"
    assert alert["fired_at"].endswith("Z")
    assert {"id", "title", "url", "source", "published_at", "scores"} <= set(alert["evidence"][0])


def test_evidence_is_the_newest_text_of_each_event_without_what_was_withdrawn(month: Store) -> None:
    shown = _crisis(month)["evidence"]
    ids = [story["id"] for story in shown]
    assert len(ids) == len(set(ids))
    assert all(a["scores"]["negative"] >= b["scores"]["negative"] for a, b in pairwise(shown))
    by_id = {story["id"]: story for story in shown}
    assert by_id["bad-0"]["title"] == "The newest text"
    assert by_id["bad-0"]["copies"] == 2, "a near-copy, and the newest text once more"
    assert "bad-1" not in by_id
    assert "copy-0" not in by_id


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else f"sqlite:///{tmp_path / 's.db'}"

    def replayed(*files: list[dict[str, Any]]) -> Store:
        paths = [tmp_path / f"news-{number}.jsonl" for number in range(len(files))]
        for path, records in zip(paths, files, strict=True):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        replay(load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings, paths)
        return open_store(url)

    return replayed


def _told(name: str, title: str, at: datetime, **fields: Any) -> dict[str, Any]:
    scores = {"negative": 0.8, "neutral": 0.1, "positive": 0.1}
    about = {"source": "a", "topics": ["T"], "scores": scores}
    return {"id": name, "title": title, "published_at": at.isoformat(), **about, **fields}


def _evidence(store: Store, topic: str = "T") -> list[dict[str, Any]]:
    start, end = microseconds(START), microseconds(START + timedelta(hours=1))
    with reading(store.engine) as connection:
        return evidence.stories(connection, topic, start, end, known=end, worse=True)


def test_evidence_cuts_whole_articles_and_leaves_out_endless_urls(made: Maker) -> None:
    article, endless = "word " * 5_000, "https://example.com/" + "x" * 5_000
    store = made(
        [_told("whole", "t" * 300, START, url="https://example.com"), _told("cut", article, START, url=endless)]
    )
    shown = {story["id"]: story for story in _evidence(store)}
    assert (shown["whole"]["title"], shown["whole"]["url"]) == ("t" * 300, "https://example.com")
    assert shown["cut"]["title"] == article[:299] + "…"
    assert shown["cut"]["url"] == ""
    kept = next(story for story in store.stories() if story["id"] == "cut")
    assert (kept["title"], kept["url"]) == (article.strip(), endless)


def test_the_gravest_news_comes_first_and_stays_so_in_an_exports_replay(made: Maker, tmp_path: Path) -> None:
    titles = {
        "mild": "Brewer sells fewer kegs in a wet summer",
        "grave": "Chain of gyms files for bankruptcy",
        "unknown": "Mayor asks what went wrong at port",
        "serious": "Regulator fines airline over delays",
    }

    def graded(name: str, negative: float, **severity: float) -> dict[str, Any]:
        scores = {"negative": negative, "neutral": round(0.95 - negative, 2), "positive": 0.05, **severity}
        return _told(name, titles[name], START, scores=scores)

    store = made(
        [graded("mild", 0.9, severity=0.8), graded("grave", 0.7, severity=2.7), graded("unknown", 0.85),
         graded("serious", 0.8, severity=1.9)]
    )  # fmt: skip
    shown = _evidence(store)
    assert [story["id"] for story in shown] == ["grave", "serious", "unknown", "mild"]
    assert shown[0]["scores"]["severity"] == 2.7
    assert "severity" not in shown[2]["scores"]
    assert {story["id"]: story["scores"].get("severity") for story in store.stories()}["serious"] == 1.9
    with (tmp_path / "out.jsonl").open("wb") as out:
        export_stories(store.engine, out)
    exported = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {story["id"]: story["scores"].get("severity") for story in exported}["grave"] == 2.7
    again = {}
    for line in exported:
        story = parse(json.dumps(line).encode(), "p", 0, ParseRules())
        assert isinstance(story, Story)
        again[story.id] = story.severity
    assert again == {"mild": 80, "grave": 270, "unknown": None, "serious": 190}


def test_evidence_shows_the_newest_text_by_its_date_in_whatever_order_texts_come(made: Maker) -> None:
    def at(minute: int) -> datetime:
        return START + timedelta(minutes=minute)

    filler = [_told(f"filler {n}", f"filler {n}", at(20 + n), topics=["U"]) for n in range(4)]
    store = made(
        [
            _told("gone", "Acme bankrupt says report", at(5), status="withdrawn"),
            _told("corrected", "Beta fined 5 million CORRECTED", at(6)),
            _told("back", "Gamma loses its licence", at(7)),
            _told("back", "Gamma loses its licence", at(8), status="withdrawn"),
            _told("back", "Gamma loses its licence", at(9)),
            _told("again", "Delta halts its trains", at(7)),
            *filler,
            _told("gone", "Acme bankrupt says report", at(1)),
            _told("corrected", "Beta fined 500 million", at(2)),
            # One date for all: what came later counts, unless it is the old record once more.
            _told("again", "Delta halts trains for an hour", at(7)),
            _told("again", "Delta halts its trains", at(7)),
        ]
    )
    expected = {
        "corrected": "Beta fined 5 million CORRECTED",
        "back": "Gamma loses its licence",
        "again": "Delta halts trains for an hour",
    }
    assert {story["id"]: story["title"] for story in _evidence(store)} == expected
    start, end = microseconds(START), microseconds(START + timedelta(hours=1))
    with reading(store.engine) as connection:
        rows, _ = views.events(connection, "T", start, end, known=end)
        as_then, _ = views.events(connection, "T", start, end, known=microseconds(at(15)))
    assert {row.first.title for row in rows if not row.first.withdrawn} == set(expected.values())
    assert [row.first.title for row in rows if row.first.withdrawn] == ["Acme bankrupt says report"]
    assert "Delta halts its trains" in {row.first.title for row in as_then}


def _muddle(rng: random.Random, size: int) -> list[dict[str, Any]]:
    """Records of three hours out of order: few stories and wordings, so told again, repeated, copied, withdrawn."""
    letters = str.maketrans("0123456789", "abcdefghij")
    wordings = [" ".join(f"w{n}x{m}".translate(letters) for m in range(9)) for n in range(20)]
    out: list[tuple[datetime, int, dict[str, Any]]] = []
    for _ in range(size):
        at = START + timedelta(minutes=rng.choice([0, 3, 40, 90, 120, 180]), seconds=rng.randrange(900))
        negative = rng.choice([0.1, 0.3, 0.3, 0.6])
        record = _told(
            f"story {rng.randrange(size // 2)}",
            rng.choice(wordings) + rng.choice(["", "", " via", " again"]),
            at,
            topics=rng.sample(["T", "U"], k=rng.randrange(3)),
            status=rng.choice(["", "", "", "withdrawn"]),
            scores={"negative": negative, "neutral": round(0.9 - negative, 1), "positive": 0.1},
        )
        for _ in range(rng.choice([1, 1, 1, 2])):
            out.append((at + timedelta(seconds=rng.randrange(900)), len(out), record))
    return [record for *_, record in sorted(out)]


def _events_one_by_one(rows: list[Any], topic: str, start: int, end: int, order: str) -> list[list[Any]]:
    told: dict[Any, list[Any]] = {}
    for row in sorted(rows, key=attrgetter(*evidence.CANONICAL)):
        event = (row.partition, row.offset) if row.event_partition is None else (row.event_partition, row.event_offset)
        counts = row.weighs or row.event_partition is not None
        if counts and start <= row.counts_at < end and (topic == "_all" or topic in row.topics):
            told.setdefault(event, []).append(row)
    by = attrgetter("published_at" if order == "newest" else order)
    return sorted(told.values(), key=lambda records: -by(records[0]))


def _text_one_by_one(rows: list[Any], story: tuple[str, int], known: int) -> Any:
    kept: dict[Any, Any] = {}
    for row in sorted(rows, key=attrgetter("bucket", "partition", "offset")):
        first = (row.partition, row.offset) == story
        if first or ((row.story_partition, row.story_offset) == story and row.bucket < known):
            kept.setdefault((row.published_at, row.content), row)
    return max(kept.values(), key=attrgetter("published_at", "bucket", "content"))


@pytest.mark.parametrize("seed", range(3))
def test_evidence_is_what_reading_every_story_gives(made: Maker, seed: int) -> None:
    rng = random.Random(seed)
    store = made(_muddle(rng, 90), _muddle(rng, 60))
    s, d, t = schema.stories, schema.decisions, schema.story_topics
    with reading(store.engine) as connection:
        topics = [tuple(row) for row in connection.execute(select(t.c.partition, t.c.offset, t.c.topic))]
        query = select(*s.c, *(c for c in d.c if c.name not in s.c))
        query = query.join_from(s, d, and_(s.c.partition == d.c.partition, s.c.offset == d.c.offset))
        rows = [
            SimpleNamespace(
                **row._mapping, topics=[topic for *place, topic in topics if place == [row.partition, row.offset]]
            )
            for row in connection.execute(query)
        ]
        times = sorted(row.counts_at for row in rows)
        for _ in range(40):
            start, end = sorted((rng.choice(times), rng.choice(times) + rng.randrange(2)))
            topic, limit = rng.choice(["_all", "T", "U"]), rng.choice([1, 3, 10, 200])
            order, known = rng.choice(["negative", "positive", "newest"]), rng.choice(rows).bucket
            expected = _events_one_by_one(rows, topic, start, end, order)
            for skip in (0, limit):
                found = evidence.events(connection, topic, start, end, order=order, limit=limit, skip=skip)
                assert [[(r.partition, r.offset) for r in records] for records in found] == [
                    [(r.partition, r.offset) for r in records] for records in expected[skip : skip + limit]
                ]
            assert evidence.count_events(connection, topic, start, end) == len(expected)
            if order == "newest":
                continue
            lines = [(rs[0], len(rs) - 1, _text_one_by_one(rows, evidence.story_of(rs[0]), known)) for rs in expected]
            shown = evidence.stories(connection, topic, start, end, known=known, worse=order == "negative", limit=limit)
            assert [(line["id"], line["copies"], line["title"]) for line in shown] == [
                (first.id, copies, text.title) for first, copies, text in lines if text.status != "withdrawn"
            ][:limit]


def test_a_replays_outbox_rows_are_withheld(month: Store) -> None:
    with reading(month.engine) as connection:
        rows = connection.execute(select(schema.outbox.c.event, schema.outbox.c.state)).all()
    assert {event for event, _ in rows} == {"firing", "resolved", "incident.firing", "incident.resolved"}
    assert {state for _, state in rows} == {"withheld"}


def test_series_are_known_after_their_end_and_sum_to_their_coarser_selves(month: Store) -> None:
    fine, hourly = month.series("falling"), month.series("falling", every=3_600_000_000)
    assert (fine.index == fine["end"] + timedelta(minutes=2)).all()
    over = fine[fine["end"] <= hourly["end"].max()]
    assert hourly["events"].sum() == over["events"].sum()
    assert hourly["negative"].sum() == pytest.approx(over["negative"].sum())
    assert fine["polarity"].dropna().between(-1, 1).all()
    assert hourly["alerting"].any()
    assert fine["baseline"].isna().iloc[0], "learning at first"
    assert fine["baseline"].notna().iloc[-1]
    with pytest.raises(ValueError, match="multiple of the bucket"):
        month.series("falling", every=7_000_000)
    later = month.series("falling", start=CRISIS)
    assert later["start"].min() >= CRISIS
    assert month.series("no such topic").empty


def test_steps_of_a_series_are_whole_and_over(made: Maker) -> None:
    def records(minutes: range) -> list[dict[str, Any]]:
        return [_told(f"n{m}", f"number {m} of {m * 7}", START + timedelta(minutes=m)) for m in minutes]

    def hours(store: Store, **limits: Any) -> list[tuple[str, int]]:
        rows = store.series_rows("T", every=3_600_000_000, **limits)
        return [(row["start"][11:16], row["stories"]) for row in rows]

    store = made(records(range(0, 170, 10)))
    assert hours(store) == [("00:00", 6), ("01:00", 6)]
    assert sum(row["stories"] for row in store.series_rows("T")) == 17
    within = {"start": START + timedelta(minutes=30), "end": START + timedelta(minutes=70)}
    assert hours(store, **within) == [("00:00", 6), ("01:00", 6)]
    assert hours(store, start=START + timedelta(hours=1)) == [("01:00", 6)]
    assert hours(store, end=START + timedelta(hours=1)) == [("00:00", 6)]
    assert hours(store, end=START + timedelta(hours=3)) == [("00:00", 6), ("01:00", 6)]
    store = made(records(range(0, 240, 10)))
    assert hours(store) == [("00:00", 6), ("01:00", 6), ("02:00", 6)], "the last one ends with its bucket at 03:55"


def test_topics_say_how_they_stand(month: Store) -> None:
    topics = {row["topic"]: row for row in month.topics()}
    assert list(topics) == ["_all", "calm", "falling"]
    assert topics["calm"]["state"] == "ok"
    assert topics["calm"]["until"] is None
    assert topics["calm"]["stories"] == DAYS * 24
    assert -1 <= topics["calm"]["polarity"] <= 1


def test_stories_say_how_they_ended(month: Store) -> None:
    rows = {(row["id"], row["ending"]): row for row in month.stories(topic="falling", start=CRISIS)}
    assert rows["copy-0", "scored"]["copy"]
    assert ("bad-0", "revision") in rows
    assert rows["bad-1", "revision"]["status"] == "withdrawn"
    assert [row["id"] for row in month.stories(limit=3)] == [row["id"] for row in list(month.stories())[:3]]
    assert {row["source"] for row in month.stories(source="a")} == {"a"}


def test_a_story_that_was_repeated_can_be_listed_once_with_the_number_of_its_copies(month: Store) -> None:
    everything = list(month.stories())
    once = month.stories_once(limit=len(everything))
    repeated = [row for row in everything if row["copy"] or row["ending"] == "duplicate"]
    assert sum(copies for _, copies in once) == len(repeated) > 0
    assert len(once) + len(repeated) == len(everything)
    shown = [story for story, _ in once]
    assert shown == [row for row in everything if row in shown]  # in the same order
    for limit in (1, 3, 40):
        assert month.stories_once(limit=limit) == once[:limit]
    assert ("bad-0", "duplicate", 1) in [(row["id"], row["ending"], copies) for row, copies in once]  # of the revision
    assert ("copy-0", "scored", 1) in [(row["id"], row["ending"], copies) for row, copies in once]  # of the first text
    firsts = {text["first"] for text in month.texts()}
    assert len(firsts) == len(once)
    assert sum(month.copies_of(list(firsts)).values()) == len(repeated)


def test_stale_and_unscored_copies_are_counted_with_what_they_repeat(tmp_path: Path) -> None:
    def story(name: str, title: str, hour: int, **given: Any) -> dict[str, Any]:
        at = (START + timedelta(hours=hour)).isoformat()
        scores = {"negative": 0.1, "neutral": 0.8, "positive": 0.1}
        return {"id": name, "title": title, "published_at": at, "source": "a", "scores": scores, **given}

    title = "Alpha Bank says that its auditors found errors in two years of accounts"
    event, copy = story("e", title, 0), story("f", title + " via b", 1)
    unscored = [story("u", "A text in another tongue", hour, scores=None, language="zh") for hour in (2, 3)]
    revision = {**event, "title": "Alpha Bank corrects itself"}
    path, url = tmp_path / "feed.jsonl", f"sqlite:///{tmp_path / 's.db'}"
    settings = load(None, flags={"store.url": url, "watchlist.defaults": False}, environ={}).settings
    for records in (
        [event, copy, *unscored, story("y", "Gas falls", 45), story("z", "Oil rises", 46)],
        [copy, copy, revision, revision, story("x", "Gold stands", 47)],  # stale, for time was at hour 45
    ):
        with path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        replay(settings, [path])
    store = open_store(url)
    rows = list(store.stories())
    assert sum(row["stale"] for row in rows) == 4
    once = store.stories_once(limit=100)
    assert {(row["id"], row["title"]): copies for row, copies in once} == {
        ("x", "Gold stands"): 0,
        ("z", "Oil rises"): 0,
        ("y", "Gas falls"): 0,
        ("e", revision["title"]): 1,
        ("f", copy["title"]): 3,
        ("u", "A text in another tongue"): 1,
    }
    assert len(once) + sum(copies for _, copies in once) == len(rows)
    firsts = {text["first"] for text in store.texts()}
    assert sum(store.copies_of(list(firsts)).values()) == len(rows) - len(firsts)
