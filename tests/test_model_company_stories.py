"""Stories that nobody labelled as rows about companies: whom they name, what is held out, how readings are mixed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from foreshock.model.training import company_stories
from foreshock.model.training.company_stories import named_in, story_rows

NAMES = frozenset({"Alda", "Alda Bank", "Bero", "$BERO", "Cima & Co."})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Alda Bank sues Bero", ["Alda Bank", "Bero"]),  # not Alda, which is a part of the first
        ("Bero's loss, Bero says", ["Bero"]),
        ("bero rises, Aldana falls", []),
        ("Buy $BERO.", ["$BERO"]),
        ("", []),
    ],
)
def test_a_name_is_found_as_it_is_written_and_the_longest_first(text: str, found: list[str]) -> None:
    assert list(named_in(text, NAMES)) == found


class Reader:
    """Says positive of every company."""

    def score(self, texts: Sequence[str], names: Sequence[str]) -> NDArray[np.float32]:
        assert all(name in text for text, name in zip(texts, names, strict=True))
        return np.tile(np.float32([0, 0, 1]), (len(texts), 1))


def test_a_story_s_label_is_half_the_text_s_where_it_names_one_company_and_nothing_held_out_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = [
        "Alda falls",
        "Alda sues Bero",
        "Nobody rises",
        "Bero is held out",
        "Alda is labelled",
        "Bero | Alda | Cima",
    ]
    stories = [{"id": f"cnbc-{i}", "title": title} for i, title in enumerate(titles)]

    def write(path: Path, rows: list[dict[str, Any]]) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    write(tmp_path / "feeds" / "cnbc.jsonl.gz", stories)
    write(tmp_path / "data" / "news_train.jsonl.gz", [{"id": "cnbc-4", "text": "Alda is labelled", "label": "neutral"}])
    write(tmp_path / "data" / "news_valid.jsonl.gz", [{"text": "bero is held out", "label": "neutral"}])
    write(tmp_path / "data" / "finentity_train.jsonl.gz", [])
    logits = np.tile(np.float16([20, 0, 0]), (len(stories), 1))
    meta = {"ids": "\n".join(story["id"] for story in stories)}
    save_file({"logits": logits, "grades": logits}, tmp_path / "told", meta)
    monkeypatch.setattr(company_stories, "load_scorer", lambda *_: Reader())
    monkeypatch.setattr(company_stories, "MOST", 2)
    rows = story_rows(tmp_path / "data", tmp_path / "feeds", tmp_path / "told", "default", {*NAMES, "Cima"}, seed=1)
    assert {(row.text, row.company, *row.target.round(3).tolist()) for row in rows} == {
        ("Alda falls", "Alda", 0.5, 0, 0.5),
        ("Alda sues Bero", "Alda", 0.25, 0, 0.75),
        ("Alda sues Bero", "Bero", 0.25, 0, 0.75),
    }
