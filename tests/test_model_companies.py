"""Training layers that read for one company: the rows, and a small training from end to end."""

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import NAMES, SMALL, WORDS, labelled_rows, small_base, without_heads

from benchmarks.news import WORSE_A, WORSE_B, roles_written_later
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.heads import Heads, HeadsCard
from foreshock.model.labels import LABELS
from foreshock.model.low_rank import changed
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_arrays, read_change, write_weights
from foreshock.model.training import companies, company_rows
from foreshock.model.training.check import built_in_check
from foreshock.model.training.companies import CompanySettings, train_companies
from foreshock.model.training.company_mean import write_mean
from foreshock.model.training.company_rows import PAIRS, filled, joined, read_lines, rivals, swapped
from foreshock.model.training.guided import Guided, read_guided
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.news_rows import split_finentity

pytestmark = pytest.mark.slow

LINES = read_lines(company_rows.LINES)


def test_rivals_are_filled_come_in_both_orders_and_are_the_same_again() -> None:
    made = rivals(300, seed=3)
    assert made == rivals(300, seed=3)
    assert len({row.text for row in made}) == len(made) >= 600
    for row in made:
        assert not set("{}[]|") & set(row.text)
        assert len(row.entities) == 2
        assert len(set(row.entities.values())) == 2
        assert all(name in row.text and label in LABELS for name, label in row.entities.items())


def test_no_rival_is_a_sentence_of_the_test_of_swapped_roles() -> None:
    def shape(text: str, first: str, second: str) -> str:
        return fingerprint(text.replace(first, "Alda").replace(second, "Bero"))

    later = roles_written_later()
    assert [worse for _, worse in later] == [1] * 30 + [0] * 30
    sentences = (*WORSE_A, *WORSE_B, *(text for text, _ in later))
    assert all("{a}" in text and "{b}" in text for text in sentences)
    judged = {shape(one.format(a=a, b=b), a, b) for one in sentences for a, b in (("X1", "X2"), ("X2", "X1"))}
    made = [(one.text, one.entities) for one in rivals(1_000, seed=0)]
    made += [(one.text, dict(one.entities)) for one in filled(LINES, seed=0)]
    for text, (first, second) in made:
        assert not judged & {shape(text, first, second), shape(text, second, first)}


def test_written_lines_share_no_four_words_with_the_test_of_swapped_roles_and_no_five_with_the_built_in_check() -> None:
    def runs(texts: Iterable[str], length: int) -> set[str]:
        words = [re.findall(r"\w+", re.sub(r"\{[ab]\}", " x ", text).lower()) for text in texts]
        return {" ".join(one[i : i + length]) for one in words for i in range(len(one) - length + 1)}

    texts = [text for *_, text in LINES]
    assert len(LINES) > 800
    assert not runs(texts, 4) & runs((*WORSE_A, *WORSE_B), 4)
    assert not runs(texts, 5) & runs(built_in_check().texts, 5)


def test_a_written_line_comes_with_each_pair_of_names_in_both_orders() -> None:
    lines = [("negative", "positive", "{b} gains what {a} loses"), ("neutral", "neutral", "{a}, {b}")]
    made = filled(lines, seed=1)
    assert made == filled(lines, seed=1)
    for first, second in zip(made[::2], made[1::2], strict=True):
        (a, of_a), (b, of_b) = first.entities.items()
        assert second.entities == {b: of_a, a: of_b}
    (a, b) = made[0].entities
    assert made[0] == Guided(f"{b} gains what {a} loses", None, -1, {a: "negative", b: "positive"})
    assert len(made) == 4 * PAIRS


@pytest.mark.parametrize(
    "line",
    [
        "negative\t{a} and {b}",
        "bad\tneutral\t{a} and {b}",
        "neutral\tneutral\t{a} and {place}",
        "neutral\tneutral\t{a}",
        "neutral\tneutral\t{b} and {a}",  # is there twice
    ],
)
def test_a_written_line_that_cannot_be_filled_is_refused_with_its_place(line: str, tmp_path: Path) -> None:
    (tmp_path / "lines.tsv").write_text(f"# of a, of b, text\nneutral\tneutral\t{{b}} and {{a}}\n{line}\n")
    with pytest.raises(LabelledDataError, match=r"lines\.tsv, line 3"):
        read_lines(tmp_path / "lines.tsv")


def test_names_are_exchanged_wherever_they_stand() -> None:
    row = Guided("$ALD sues Bero; Bero's shares fall", None, -1, {"$ALD": "neutral", "Bero": "negative"})
    assert swapped(row) == Guided(
        "Bero sues $ALD; $ALD's shares fall", None, -1, {"$ALD": "negative", "Bero": "neutral"}
    )


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("Alda and Bero fall", {"Alda": "negative", "Bero": "negative"}),  # alike
        ("Alda falls", {"Alda": "negative"}),
        ("Alda beats Bero, Cima waits", {"Alda": "positive", "Bero": "negative", "Cima": "neutral"}),
        ("Alda Bank beats Bero", {"Alda": "positive", "Alda Bank": "neutral"}),  # one name is a part of the other
        ("Alda falls", {"Alda": "negative", "Bero": "neutral"}),  # not in the text
    ],
)
def test_other_rows_are_not_exchanged(text: str, entities: dict[str, str]) -> None:
    assert swapped(Guided(text, None, -1, entities)) is None


def test_two_headlines_are_joined_where_neither_names_a_company_of_the_other() -> None:
    rows = [
        Guided("Alda falls.", "negative", 1, {"Alda": "negative"}),
        Guided("Bero rises", "positive", 0, {"Bero": "positive"}),
        Guided("Alda falls again", "negative", 1, {"Alda": "negative"}),
        Guided("word " * 20 + "Cima", "neutral", 0, {"Cima": "neutral"}),
        Guided("Dolo beats Bero", None, -1, {"Dolo": "positive", "Bero": "negative"}),
    ]
    made = joined(rows, 30, seed=1)
    assert made == joined(rows, 30, seed=1)
    assert 2 <= len(made) <= 30
    for row in made:
        assert row.entities == {"Alda": "negative", "Bero": "positive"}
        assert "falls" in row.text
        assert "rises" in row.text
        assert not set("|;") - set("".join(company_rows.BETWEEN)) & set(row.text)
    assert joined(rows[:1], 30, seed=1) == []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for i, name in enumerate(("news", "sentfin", "finentity")):
        for part, n in (("train", 80), ("valid", 30)):
            rows: list[dict[str, Any]] = []
            for row in labelled_rows(n, 10 * i + (part == "train")):
                severity = {"severity": 2 * (row["label"] == "negative")} if name == "news" else {}
                rows.append({**row, **severity, "entities": {row["text"].split()[0]: row["label"]}})
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (tmp_path / "data" / f"{name}_{part}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path / "data"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(company_rows, "RIVALS", 10)
    monkeypatch.setattr(company_rows, "CONTRASTS", 20)
    monkeypatch.setattr(company_rows, "JOINED", 20)
    monkeypatch.setattr(company_rows, "read_lines", lambda _: LINES[:10])
    base = small_base(tmp_path, [word for words in WORDS.values() for word in words])
    torch.manual_seed(1)
    write_weights(
        tmp_path / "start",
        name="start",
        tensors=Encoder(SMALL).state_dict()
        | base.tensors
        | {f"heads.{k}": v for k, v in Heads(32).state_dict().items()},
        architecture=SMALL,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
        heads=HeadsCard(1.0, Calibration()),
    )
    return str(tmp_path / "start")


SETTINGS = CompanySettings(steps=90, batch=24, learning_rate=2e-2, rank=8, unchanged=0, averaging=0.8)
ASKED = ["alda bero cima hora loss", "cima dolo gelo alda meets", "enta fira bero dolo rises"], ["alda", "cima", "enta"]


def test_it_learns_and_leaves_a_text_s_own_score_as_it_was(data: Path, start: str, tmp_path: Path) -> None:
    before = load_scorer(start, "cpu").score(ASKED[0])
    record = train_companies(data, tmp_path / "out", SETTINGS, base=start, labels=[], feeds=None)
    assert record == json.loads((tmp_path / "out" / "companies.json").read_text())
    assert record["validation"]["companies_news"]["accuracy"] > 0.7
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    scorer = load_scorer(str(tmp_path / "out"), "cpu")
    assert scorer.score(*ASKED).argmax(axis=1).tolist() == [0, 1, 2]
    assert scorer.score(ASKED[0]).tobytes() == before.tobytes()


def test_an_interrupted_training_goes_on_to_the_same_layers(
    data: Path, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        pass

    def train(out: str, steps: int = 40) -> None:
        short = CompanySettings(steps=steps, batch=24, learning_rate=5e-3, rank=4, unchanged=1)
        train_companies(data, tmp_path / out, short, base=start, labels=[], feeds=None)

    train("whole")
    monkeypatch.setattr(companies, "CHECKPOINT_EVERY", 5)
    real = companies.finite  # type: ignore[attr-defined]

    def stopping(loss: Any, step: int) -> float:
        if step == 24:
            raise Stopped
        return real(loss, step)

    monkeypatch.setattr(companies, "finite", stopping)
    with pytest.raises(Stopped):
        train("cut")
    monkeypatch.setattr(companies, "finite", real)
    with pytest.raises(ModelError, match="belongs to a training with other steps"):
        train("cut", steps=41)
    train("cut")
    whole, cut = ((tmp_path / name / "companies.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == cut


def test_the_mean_of_two_trainings_lies_between_them_and_needs_one_encoder(
    data: Path, start: str, tmp_path: Path
) -> None:
    folders = []
    for seed in (1, 2):
        settings = CompanySettings(steps=20, batch=24, learning_rate=1e-2, rank=4, unchanged=1, seed=seed)
        folders.append(tmp_path / f"seed{seed}")
        train_companies(data, folders[-1], settings, base=start, labels=[], feeds=None)
    record = write_mean(data, tmp_path / "mean", folders)
    assert len(set(record["mean_of"])) == 2
    before = open_weights(str(folders[0])).card["heads"]["entity"]
    assert record["calibration"] != before
    for sets, kept in ((["tfns", "rivals"], True), (["tfns", "news"], False)):
        for folder, said in zip(folders, (["tfns", "lines"], sets), strict=True):
            card = json.loads((folder / "model.json").read_text())
            (folder / "model.json").write_text(json.dumps(card | {"trained_on": said}))
        found = write_mean(data, tmp_path / "any", folders)
        card = open_weights(str(tmp_path / "any")).card
        assert found["calibration"] == card["heads"]["entity"]
        assert (found["calibration"] == before) == kept
        assert card["trained_on"] == list(dict.fromkeys(["tfns", "lines", *sets]))
    weights = [read_arrays(open_weights(str(folder))) for folder in folders]
    first, second, both = (
        changed(weights[0], read_change(open_weights(str(folder))) or {}) for folder in (*folders, tmp_path / "mean")
    )
    # Two changes of rank 4 have a mean of rank 8 at most: nothing is cut, only rounded.
    for name in ("layers.1.inner.weight", "layers.1.query_key_value.weight", "heads.entity.bias"):
        np.testing.assert_allclose(both[name], (first[name] + second[name]) / 2, atol=2e-3)
    assert load_scorer(str(tmp_path / "mean"), "cpu").score(*ASKED).shape == (3, 3)
    with pytest.raises(ModelError, match="need layers for companies"):
        write_mean(data, tmp_path / "none", [folders[0], Path(start)])


def test_weights_without_a_head_for_companies_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no head for companies to start from"):
        train_companies(data, tmp_path / "out", SETTINGS, base=without_heads(tmp_path / "plain"), labels=[], feeds=None)


def test_no_row_holds_a_text_that_is_held_out(data: Path, start: str) -> None:
    held = {row.text for name in ("news", "sentfin") for row in read_guided(data / f"{name}_valid.jsonl.gz")}
    held |= {row.text for row in split_finentity(data)[1]}
    material = company_rows.company_material(data, [], None, 0, "research")
    names = {name for name, rows in material.rows.items() if rows}
    assert {"news", "sentfin", "finentity", "rivals", "joined"} <= names
    assert not held & {row.text for rows in material.rows.values() for row in rows}
    for row in material.rows["joined"]:
        ends = [row.text.split(between) for between in company_rows.BETWEEN if between in row.text]
        assert not held & {part for parts in ends for part in parts}
    assert np.unique([name in NAMES for row in material.rows["joined"] for name in row.entities]).tolist() == [True]
