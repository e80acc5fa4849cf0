"""Notes on a time and corrected labels: desk actions that are added, taken back, and exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from foreshock.cli import main
from foreshock.model.labels import read_labelled
from foreshock.monitor.errors import NoSuchNote, NoSuchStory
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import desk_actions, labels, notes, schema
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

pytestmark = pytest.mark.slow

FEED = [
    {"id": "a", "title": "Acme probed for fraud", "body": "Police came.", "source": "Wire"},
    {"id": "b", "title": "Acme opens a plant", "source": "Desk"},
]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, quick_scorer: Any) -> str:
    store = request.getfixturevalue("postgres") if request.param == "postgres" else f"sqlite:///{tmp_path / 'news.db'}"
    feed = tmp_path / "news.jsonl"
    feed.write_text("".join(json.dumps({**row, "published_at": "2026-03-02T10:00:00Z"}) + "\n" for row in FEED))
    replay(Settings.model_validate({"store": StoreSettings(url=store)}), [feed], scorer=quick_scorer)
    return str(store)


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    engine = connect(url, create=False)
    with writing(engine) as opened:
        yield opened
    engine.dispose()


def test_a_note_stands_until_it_is_taken_back_and_both_rows_stay(connection: Connection) -> None:
    first = notes.add(connection, "Acme", 2_000, "  our press \n conference ", by="Ada", now=10)
    notes.add(connection, "Acme", 1_000, "results", by="Ben", now=11)
    notes.add(connection, "Oil", 1_500, "OPEC", by="Ben", now=12)
    assert [(note.at, note.words, note.by) for note in notes.notes(connection, "Acme")] == [
        (1_000, "results", "Ben"),
        (2_000, "our press conference", "Ada"),
    ]
    notes.take_back(connection, first, by="Ben", now=13)
    assert [note.words for note in notes.notes(connection, "Acme")] == ["results"]
    for unknown in (first, 999):
        with pytest.raises(NoSuchNote):
            notes.take_back(connection, unknown, by="Ben", now=14)
    assert connection.execute(select(func.count()).select_from(schema.desk_actions)).scalar_one() == 4
    assert desk_actions.silenced_until(connection, "Acme") is None


@pytest.mark.parametrize("words", ["", " \n ", "x" * 201])
def test_a_note_without_words_or_with_too_many_is_refused(connection: Connection, words: str) -> None:
    with pytest.raises(ValueError, match="1 to 200 characters"):
        notes.add(connection, "Acme", 1_000, words, by="Ada", now=10)


def test_the_last_correction_of_a_story_is_exported_as_a_row_that_training_reads(url: str, tmp_path: Path) -> None:
    engine = connect(url, create=False)
    with writing(engine) as connection:
        labels.correct(connection, ("news.jsonl", 0), "neutral", by="Ada", now=1_000_000)
        labels.correct(connection, ("news.jsonl", 1), "positive", by="Ben", note="a plant is good", now=2_000_000)
        labels.correct(connection, ("news.jsonl", 0), "negative", by="Ben", now=3_000_000)
        with pytest.raises(NoSuchStory):
            labels.correct(connection, ("news.jsonl", 7), "negative", by="Ben", now=4)
        with pytest.raises(ValueError, match="a label is"):
            labels.correct(connection, ("news.jsonl", 0), "bad", by="Ben", now=4)
    with reading(engine) as connection:
        found = labels.corrections(connection, ("news.jsonl", 0))
        assert [(one.label, one.by) for one in found] == [("negative", "Ben"), ("neutral", "Ada")]
    engine.dispose()
    file = tmp_path / "desk_train.jsonl"
    assert main(["stories", "--labels", str(file), "--store", url]) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["id"], row["label"], row["by"], row["at"]) for row in rows] == [
        ("b", "positive", "Ben", "1970-01-01T00:00:02Z"),
        ("a", "negative", "Ben", "1970-01-01T00:00:03Z"),
    ]
    assert rows[1]["text"] == "Acme probed for fraud\nPolice came."
    assert rows[0]["note"] == "a plant is good"
    read = read_labelled(file)
    assert (read.texts, read.labels.tolist()) == ([row["text"] for row in rows], [2, 0])
    assert main(["stories", "--labels", str(file), "--store", url]) == 2, "no file is overwritten"
    assert main(["stories", "--labels", str(tmp_path / "x"), "--topic", "Acme", "--store", url]) == 2
