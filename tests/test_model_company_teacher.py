"""A teacher for companies: which pairs it is asked about, how its answers are kept, and what rows are made of them."""

import gzip
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.model.architecture import Architecture
from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.storage import open_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training import companies, company_rows, company_stories, company_teacher
from foreshock.model.training.companies import CompanySettings
from foreshock.model.training.company_rows import company_material
from foreshock.model.training.company_stories import named_in, story_pairs
from foreshock.model.training.company_teacher import tell_companies, train_teacher
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.news_rows import epoch_rows
from foreshock.model.training.quick import Wide
from foreshock.model.training.towards import add_towards, key, read_towards, said

pytestmark = pytest.mark.slow

KNOWN = frozenset({"Alda", "Alda Bank", "Bero", "$BERO", "Cima & Co."})


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
    assert list(named_in(text, KNOWN)) == found


def test_stories_of_several_companies_all_come_and_as_many_pairs_of_one(tmp_path: Path) -> None:
    titles = ["Alda sues Bero", "Bero | Alda | Cima", "Nobody rises", "alda falls", "Bero is known"]
    titles += [f"Alda falls {n} times" for n in range(10)]
    write(tmp_path / "news_train.jsonl.gz", [])
    write(tmp_path / "cnbc.jsonl.gz", [{"id": f"cnbc-{i}", "title": title} for i, title in enumerate(titles)])
    seen = {fingerprint("Bero is known")}
    pairs = story_pairs(tmp_path, tmp_path, ["Alda", "Bero", "Cima", "falls"], seen, seed=1)
    several = [("Alda sues Bero", "Alda"), ("Alda sues Bero", "Bero")]
    several += [("Bero | Alda | Cima", name) for name in ("Alda", "Bero", "Cima")]
    assert set(several) < set(pairs)
    alone = set(pairs) - set(several)
    assert len(alone) == len(several) == len(pairs) - len(several)
    assert all(text.startswith("Alda falls") and name == "Alda" for text, name in alone)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=9), st.text(max_size=9), st.tuples(*[st.floats(-9, 9)] * 3)),
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 9),
)
def test_what_is_added_in_parts_is_read_back_by_pair(
    rows: list[tuple[str, str, tuple[float, float, float]]], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.safetensors"
        for part in (rows[:cut], rows[cut:]):
            logits = np.array([logit for *_, logit in part], dtype=np.float32).reshape(-1, 3)
            count = add_towards(file, [(text, company) for text, company, _ in part], logits)
        assert count == len(rows)
        told = read_towards(file)
        for text, company, wanted in rows:
            found = said(told, (text, company))
            assert found is not None
            powers = np.exp(np.array(wanted))
            np.testing.assert_allclose(found, powers / powers.sum(), atol=5e-3)
    assert said(told, ("no such text", "nobody at all")) is None


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "told.safetensors").write_bytes(b"not such a file")
    with pytest.raises(LabelledDataError, match=r"told\.safetensors: not a file of a teacher"):
        read_towards(tmp_path / "told.safetensors")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("RIVALS", 5), ("CONTRASTS", 10), ("JOINED", 5)):
        monkeypatch.setattr(company_rows, name, value)
    lines = company_rows.read_lines(company_rows.LINES)[:5]
    monkeypatch.setattr(company_rows, "read_lines", lambda _: lines)
    monkeypatch.setattr(company_stories, "ALONE", 0.3)
    monkeypatch.setattr(companies, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(
        company_teacher, "read_wide", lambda _: Wide(Architecture(30_527, 24, 2, 2, 48, 160))  # a small one
    )  # fmt: skip
    differ = {"text": "Alda sues Bero", "label": "mixed", "entities": {"Alda": "neutral", "Bero": "negative"}}
    rows = [{"id": "cnbc-0", **differ, "severity": 0}]
    rows += [
        {
            "id": f"cnbc-1{i}",
            "text": f"Alda {i} rises",
            "label": "positive",
            "severity": 0,
            "entities": {"Alda": "positive"},
        }
        for i in range(20)
    ]
    for name in ("news", "sentfin"):
        for part, some in (("train", rows), ("valid", rows[:2])):
            texts = [{**row, "text": f"{row['text']} {name} {part}"} for row in some]
            write(tmp_path / "data" / f"{name}_{part}.jsonl.gz", texts)
    write(tmp_path / "data" / "finentity_train.jsonl.gz", [{**differ, "text": f"Alda or {i} Bero"} for i in range(8)])
    held = [
        {"id": "cnbc-3", "title": "Alda sues Bero news valid"},
        {"id": "cnbc-4", "title": "Alda 3 rises news train"},
    ]
    write(tmp_path / "feeds" / "cnbc.jsonl.gz", [{"id": "cnbc-5", "title": "Alda buys Bero"}, *held])
    return tmp_path


SETTINGS = CompanySettings(steps=4, batch=8, unchanged=1, mix="teacher")


def test_a_teacher_learns_in_pieces_and_what_it_says_becomes_rows(data: Path) -> None:
    sources: dict[str, Any] = {"labels": [], "feeds": data / "feeds"}
    for out, stops in (("whole", [4]), ("pieces", [2, 4])):
        for stop in stops:
            record = train_teacher(data, data / "data", data / out, replace(SETTINGS, stop=stop), **sources)
    assert record["validation"]["companies_news"]["companies"] == 3
    weights = [(data / out / "teacher.safetensors").read_bytes() for out in ("whole", "pieces")]
    assert weights[0] == weights[1]
    told = data / "told.safetensors"
    with torch.inference_mode():
        for most, count in ((3, 3), (100, 10)):
            asked = tell_companies(data / "whole", data / "data", told, labelled=8, most=most, **sources)
            assert asked == count  # eight labelled pairs and the two of the story that is neither labelled nor held out
    material = company_material(data / "data", [], data / "feeds", 0, "research", told)
    assert {(one.text, one.company) for one in material.streams} == {
        ("Alda buys Bero", name) for name in ("Alda", "Bero")
    }
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    known = material.towards[key(("Alda sues Bero news train", "Bero"))]
    hard = np.full(3, 0.05 / 3, dtype=np.float32)
    hard[LABELS.index("negative")] += 0.95
    for share in (0.0, 0.5, 1.0):
        targets = epoch_rows(material, tokenizer, 0, 0, share, company_rows.MIXES["research"]).targets.numpy()
        wanted = (1 - share) * hard + share * known
        assert (np.abs(targets - wanted).max(axis=1) < 1e-6).any()
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-3)
