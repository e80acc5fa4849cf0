"""A store of every earlier schema, with rows in it, is upgraded without a loss, and goes on."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import WordScorer
from older_stores import MIGRATIONS, back_to, columns

from foreshock.monitor.store import checks
from foreshock.monitor.store.database import HEAD, connect, reading
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

SCHEMAS = sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
MADE_ANEW = {"lease"}


def _lines() -> list[str]:
    rng, lines = random.Random(5), []
    for number in range(600):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
        words = " ".join("".join(rng.choices("bdfglmnprst", k=6)) for _ in range(8))
        bad = " fraud loss plunge" if 460 < number < 520 else ""
        story = {"id": str(number), "title": words + bad, "source": "Wire", "topics": ["A"], "published_at": str(at)}
        lines.append(json.dumps(story) + "\n")
    return lines


def _settings(url: str) -> Settings:
    return Settings.model_validate({"store": {"url": url}, "watchlist": {"defaults": False}})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrations")
    (folder / "feed.jsonl").write_text("".join(_lines()[:570]))
    replay(_settings(f"sqlite:///{folder / 'news.db'}"), [folder / "feed.jsonl"], scorer=WordScorer)
    return folder / "news.db"


def _rows(store: Path, named: dict[str, set[str]]) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    with closing(sqlite3.connect(store)) as connection:
        for table, names in named.items():
            wanted = ", ".join(f'"{name}"' for name in sorted(names))
            found[table] = sorted(connection.execute(f"SELECT {wanted} FROM {table}").fetchall(), key=repr)
    return found


def test_schemas_are_one_chain_that_ends_with_the_newest() -> None:
    assert SCHEMAS[-1] == HEAD
    chain = {}
    for file in (MIGRATIONS / "versions").glob("[0-9]*.py"):
        text = file.read_text()
        here, before = re.search(r'^revision = "(\d+)"', text, re.M), re.search(r'^down_revision = "?(\w+)', text, re.M)
        assert here is not None
        assert before is not None
        chain[here[1]] = before[1]
    assert sorted(chain) == SCHEMAS
    assert len(set(chain.values())) == len(chain), "two follow the same one"


@pytest.mark.slow
@pytest.mark.parametrize("revision", SCHEMAS[:-1])
def test_a_store_of_an_earlier_schema_keeps_its_rows_and_goes_on(revision: str, built: Path, tmp_path: Path) -> None:
    store = tmp_path / "news.db"
    shutil.copy(built, store)
    back_to(revision, store)
    with closing(sqlite3.connect(store)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        kept = {t for (t,) in tables if not t.startswith(("sqlite_", "story_words", "story_numbers", "alembic"))}
        named = {table: columns(connection, "main", table) for table in kept - MADE_ANEW}
    before = _rows(store, named)
    assert before["stories"]
    assert before["alerts"]
    url = f"sqlite:///{store}"
    engine = connect(url, create=True)
    there = {table: names for table, names in named.items() if table in _tables(store)}
    with closing(sqlite3.connect(store)) as connection:
        there = {table: names & columns(connection, "main", table) for table, names in there.items()}
    assert set(there) == set(named), "a table was dropped"
    same = {table for table in there if there[table] == named[table]}
    if revision < "0007":
        same -= {"story_ids"}  # what an id is known by is made anew there
    after = _rows(store, there)
    assert {table: after[table] for table in same} == {table: before[table] for table in same}
    assert all(len(after[table]) == len(before[table]) for table in named)
    with reading(engine) as connection_:
        assert [found.rule for found in checks.findings(connection_) if not found.ok] == []
    engine.dispose()
    feed = tmp_path / "feed.jsonl"
    feed.write_text("".join(_lines()))
    found = replay(_settings(url), [feed], scorer=WordScorer)
    assert found.counts["stories"] == 600


def _tables(store: Path) -> set[str]:
    with closing(sqlite3.connect(store)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
