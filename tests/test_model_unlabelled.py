"""Texts without labels are read once each; which are held out depends on the texts alone."""

import gzip
import json
from pathlib import Path

import pytest

from foreshock.model.errors import LabelledDataError, UnlabelledDataError
from foreshock.model.training.labelled import validation_fingerprints
from foreshock.model.training.unlabelled import WORDS, read_sentences, read_unlabelled


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_titles_come_first_and_bodies_are_cut(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", [{"title": "Oil rises", "body": " ".join(f"w{i}" for i in range(100))}])
    read = read_unlabelled(tmp_path)
    (text,) = read.texts + read.held_out
    assert text.split()[:3] == ["Oil", "rises", "w0"]
    assert len(text.split()) == WORDS


def test_each_text_is_taken_once_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl.gz", [{"title": "Oil rises"}, {"title": "  ...  "}, {"headline": "Gold falls"}])
    _write(tmp_path / "b.jsonl", [{"text": "OIL RISES!"}, {"title": "", "body": None}, {"title": None}])
    read = read_unlabelled(tmp_path)
    assert sorted(read.texts + read.held_out) == ["Gold falls", "Oil rises"]
    assert (read.duplicates, read.empty) == (1, 3)
    assert list(read.sha256) == ["a.jsonl.gz", "b.jsonl"]


def test_which_texts_are_held_out_follows_from_the_texts_alone(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"title": f"Story number {i}"} for i in range(1_000)]
    for name, part in (("one", rows), ("two", rows[::-1][:500])):
        (tmp_path / name).mkdir()
        _write(tmp_path / name / "a.jsonl", part)
    one, two = read_unlabelled(tmp_path / "one"), read_unlabelled(tmp_path / "two")
    assert 20 < len(one.held_out) < 65
    assert set(two.held_out) < set(one.held_out)
    assert not set(one.held_out) & set(one.texts)


def test_sentences_of_bodies_are_taken_once_and_neither_short_nor_long(tmp_path: Path) -> None:
    rise = "Net profit of the group rose to 5.2 mln dlrs from 1.1 mln."
    body = (
        f"{rise} It rose again. The U.S. unit of Alda Corp. said it will cut 300 jobs in Texas. " + "Long " * 41 + "."
    )
    rows: list[dict[str, object]] = [{"title": "A rise that has many words in it", "body": body}, {"title": "No body"}]
    _write(tmp_path / "a.jsonl", rows)
    _write(tmp_path / "b.jsonl.gz", [{"title": "Again", "body": f'"{rise}"'}])
    assert read_sentences(tmp_path) == [rise, "The U.S. unit of Alda Corp. said it will cut 300 jobs in Texas."]
    (tmp_path / "c.jsonl").write_text("[]\n")
    with pytest.raises(UnlabelledDataError, match=r"c\.jsonl, line 1: not a story"):
        read_sentences(tmp_path)


@pytest.mark.parametrize(
    ("line", "says"),
    [("{", "line 2: not JSON"), ("[]", "line 2: not a story"), ('{"title": 3}', "line 2: not a story")],
)
def test_a_line_that_is_not_a_story_is_an_error_that_names_the_line(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"title": "Oil"}\n' + line + "\n")
    with pytest.raises(UnlabelledDataError, match=says):
        read_unlabelled(tmp_path)


def test_a_cut_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl.gz", [{"title": f"Story {i * i}"} for i in range(200)])
    data = (tmp_path / "a.jsonl.gz").read_bytes()
    for damaged in (data[: len(data) // 2], data[:10] + b"\xff" * 20):
        (tmp_path / "a.jsonl.gz").write_bytes(damaged)
        with pytest.raises(UnlabelledDataError, match="is the file whole"):
            read_unlabelled(tmp_path)


def test_a_folder_without_feeds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnlabelledDataError, match="holds no"):
        read_unlabelled(tmp_path)


def test_validation_texts_of_labelled_sets_are_left_out_and_counted(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", [{"title": title} for title in ("Oil rises", "Gold falls", "Tin rises, lead falls")])
    (tmp_path / "labelled").mkdir()
    rows: list[dict[str, object]] = [
        {"text": "OIL rises.", "label": "positive"},
        {"text": "Tin rises, lead falls", "label": "mixed"},
    ]
    _write(tmp_path / "labelled" / "one_valid.jsonl.gz", rows)
    read = read_unlabelled(tmp_path, validation_fingerprints(tmp_path / "labelled"))
    assert read.texts + read.held_out == ["Gold falls"]
    assert (read.labelled, read.duplicates) == (2, 0)
    with pytest.raises(LabelledDataError, match="has no SET_valid"):
        validation_fingerprints(tmp_path)
