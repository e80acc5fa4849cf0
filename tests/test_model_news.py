"""Training on news: rows by the guideline, made-up contrasts, and a small training from end to end."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import NAMES, WORDS, labelled_rows, small_base

from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import LabelledDataError, ModelError, UnlabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training import news, news_rows, recalibrating
from foreshock.model.training.contrasts import both, contrasts, read_words
from foreshock.model.training.guided import read_guided, read_labels_by_id
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.news import NewsSettings, train_news
from foreshock.model.training.news_figures import VALID
from foreshock.model.training.recalibrating import recalibrate
from foreshock.model.training.weights_mean import write_mean

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent.parent.parent / "shared" / "cases" / "60-sentiment" / "texts.tsv"


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a", "label": "negative", "severity": 4}, "`severity` is 4, not a whole number from 0 to 3"),
        ({"text": "a", "label": "negative", "severity": -1}, "`severity` is -1"),
        ({"text": "a", "label": "negative", "severity": "2"}, "`severity` is '2'"),
        ({"text": "a", "label": "positive", "severity": 2}, "only bad news is grave"),
        ({"text": "a", "label": "neutral", "entities": {"A": "bad"}}, "`entities` has 'bad' for 'A'"),
        ({"text": 3, "label": "neutral"}, "`text` is 3, not text"),
        ({"label": "neutral"}, "'text'"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    file = _write(tmp_path / "x.jsonl.gz", [{"text": "fine", "label": "neutral"}, row])
    with pytest.raises(LabelledDataError, match=r"x\.jsonl\.gz, line 2: not a labelled text") as raised:
        read_guided(file)
    assert says in str(raised.value)


def test_a_label_that_is_none_of_three_leaves_the_companies(tmp_path: Path) -> None:
    row = {"text": "A beats B", "label": "mixed", "entities": {"A": "positive", "B": "negative"}}
    (read,) = read_guided(_write(tmp_path / "x.jsonl.gz", [row]))
    assert read.label is None
    assert read.entities == {"A": "positive", "B": "negative"}


def test_labels_by_id_find_their_stories(tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    _write(
        feeds / "a.jsonl.gz",
        [
            {"id": "1", "title": "Alda falls", "body": "b" * 300},
            {"id": "2", "title": "Bero"},
            {"id": "3", "title": "C"},
        ],
    )
    labels = tmp_path / "labels.tsv"
    labels.write_text("# a comment\n1\tnegative\t2\tAlda=n;A=B=p\n2\tneutral\t0\t\n9\tneutral\t0\t\n")
    rows, missing = read_labels_by_id(labels, feeds)
    assert [row.text for row in rows] == ["Alda falls -- " + "b" * 220, "Bero"]
    assert rows[0].entities == {"Alda": "negative", "A=B": "positive"}
    assert missing == 1
    for line, says in (("1\tnegative\t7\t", "from 0 to 3"), ("1\tneutral\t0\tA=x", "line 1"), ("1 neutral", "line 1")):
        labels.write_text(line + "\n")
        with pytest.raises(LabelledDataError, match=says):
            read_labels_by_id(labels, feeds)
    labels.write_text("")
    with pytest.raises(UnlabelledDataError, match=r"holds no \.jsonl\.gz files"):
        read_labels_by_id(labels, tmp_path / "nowhere")


def test_shipped_labels_are_well_formed_and_hold_no_texts() -> None:
    runs = Path(news.__file__).parent.parent / "runs"
    lines = [line for file in sorted(runs.glob("labels*.tsv")) for line in file.read_text().splitlines()[1:]]
    ids = [line.split("\t")[0] for line in lines]
    assert len(set(ids)) == len(ids) > 3_000
    for line in lines:
        _, label, severity, entities = line.split("\t")
        assert label in LABELS
        assert (int(severity) > 0) == (label == "negative")
        assert all(pair.rpartition("=")[2] in "n0p" for pair in entities.split(";") if pair)


def test_contrasts_are_filled_labelled_and_the_same_again() -> None:
    made = contrasts(1_500, seed=3)
    assert made == contrasts(1_500, seed=3)
    assert len({row.text for row in made}) == len(made) >= 1_500
    for row in made:
        assert not set("{}[]|") & set(row.text)
        assert row.label in LABELS
        assert (row.severity > 0) == (row.label == "negative")
        assert all(name in row.text for name in row.entities)
    counts = {label: sum(row.label == label for row in made) for label in LABELS}
    assert min(counts["negative"], counts["positive"]) > len(made) / 3


def test_swapped_roles_swap_names_and_nothing_else() -> None:
    random = np.random.default_rng(1)
    for roles in (of for of in read_words()["roles"] if of["a"] != of["b"]):
        first, second = both(roles, read_words()["slots"], random)
        (a, b), (c, d) = first.entities, second.entities
        assert (a, b) == (d, c)
        assert first.entities[a] == second.entities[b] != first.entities[b]
        assert first.text.replace(a, "*").replace(b, a).replace("*", b) == second.text
        assert first.label == second.label


@pytest.mark.skipif(not CASES.is_file(), reason="the cases are not here")
def test_no_contrast_is_a_text_that_is_judged() -> None:
    theirs = {fingerprint(line.split("\t")[2]) for line in CASES.read_text().splitlines()}
    assert not theirs & {fingerprint(row.text) for row in contrasts(news_rows.STUDENT.contrasts, seed=0)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    severity = {"negative": 2, "neutral": 0, "positive": 0}
    for i, name in enumerate(("news", "fpb", "tfns", "fiqa", "sentfin", "finentity")):
        for part, n in (("train", 60), ("valid", 24)):
            rows: list[dict[str, Any]] = []
            for number, row in enumerate(labelled_rows(n, 10 * i + (part == "train"))):
                more = {"severity": severity[row["label"]]} if name == "news" else {}
                other = {n: "neutral" for n in NAMES if n in row["text"].split() and number % 3 == 0}
                rows.append(
                    {**row, **more, "entities": {row["text"].split()[0]: row["label"]} | dict([*other.items()][1:])}
                )
            if part == "train" or name != "finentity":
                _write(tmp_path / "data" / f"{name}_{part}.jsonl.gz", rows)
    return tmp_path / "data"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    few = replace(news_rows.STUDENT, contrasts=40, turned={"flipped": 10, "negated": 10})
    monkeypatch.setitem(news_rows.MIXES, "student", few)
    base = small_base(tmp_path, [word for words in WORDS.values() for word in words])
    write_weights(
        tmp_path / "start",
        name="start",
        tensors=base.tensors | {f"head.{k}": v for k, v in Encoder(base.architecture).head.state_dict().items()},
        architecture=base.architecture,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
    )
    return str(tmp_path / "start")


SETTINGS = NewsSettings("small", epochs=8, batch=24, learning_rate=5e-3, layer_decay=1.0, averaging=0.9, frozen=-1)


def test_it_learns_all_three_questions_and_writes_weights_that_answer_them(
    data: Path, start: str, tmp_path: Path
) -> None:
    record = train_news(data, tmp_path / "out", SETTINGS, base=start)
    assert record == json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["validation"]["news"]["weighted_f1"] > 0.8
    assert record["validation"]["severity"]["correlation"] > 0.7
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    scorer = load_scorer(str(tmp_path / "out"), "cpu")
    texts = ["alda bero loss", "cima dolo meets", "enta fira rises"]
    assert scorer.score(texts).argmax(axis=1).tolist() == [0, 1, 2]
    severity = scorer.severity(texts)
    assert severity[0] > 1.2
    assert severity[2] < 0.6
    assert scorer.score(texts, ["alda", "cima", "enta"]).shape == (3, 3)


def test_a_calibration_by_style_is_written_on_demand_and_changes_no_label(data: Path, start: str) -> None:
    card = Path(start) / "model.json"
    texts = [row["text"] for row in labelled_rows(30, 99)]
    before, scores = card.read_bytes(), load_scorer(start, "cpu").score(texts)
    figures = recalibrate(start, data)
    assert card.read_bytes() == before, "nothing is written that nobody asked for"
    assert recalibrate(start, data, write=True) == figures
    assert list(figures) == ["margin", "styled"]
    assert all(tuple(by_set) == VALID for by_set in figures.values())
    calibration = json.loads(card.read_text())["calibration"]
    assert len(calibration["style"]["bias"]) == len(calibration["offsets"]) == len(VALID)
    assert json.loads(card.read_text()) == {**json.loads(before), "calibration": calibration}
    styled = load_scorer(start, "cpu").score(texts)
    assert (styled.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert np.abs(styled - scores).max() > 0.001


def test_weights_are_calibrated_on_nothing_but_sets_that_they_learned_from(
    data: Path, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that anyone may use must have nothing of sets for research."""
    card = Path(start) / "model.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"trained_on": ["contrasts", "tfns"]}))
    read = []
    monkeypatch.setattr(recalibrating, "read_guided", lambda file: (read.append(file.name), read_guided(file))[1])
    figures = recalibrate(start, data, write=True)
    assert sorted(read) == ["tfns_train.jsonl.gz", "tfns_valid.jsonl.gz"]
    assert {tuple(by_set) for by_set in figures.values()} == {("tfns",)}
    assert load_scorer(start, "cpu").score(["alda bero loss"]).shape == (1, 3)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"trained_on": ["lines"]}))
    with pytest.raises(ModelError, match="learned from none of the sets news, fpb"):
        recalibrate(start, data)


class _Stop(Exception):
    pass


def test_a_mean_of_weights_lies_between_them_and_scores(data: Path, start: str, tmp_path: Path) -> None:
    short = replace(SETTINGS, epochs=1, steps=4)
    for name, seed in (("one", 1), ("two", 2)):
        train_news(data, tmp_path / name, replace(short, seed=seed), base=start)
        card = json.loads((tmp_path / name / "model.json").read_text())
        assert not card.get("trained_on")  # as the start says
        (tmp_path / name / "model.json").write_text(json.dumps(card | {"trained_on": ["news", "fpb", "tfns"]}))
    folders = [tmp_path / "one", tmp_path / "two"]
    record = write_mean(data, tmp_path / "mean", folders, [0.25, 0.75], lower_neutral=0.5)
    assert [part["share"] for part in record["mean_of"]] == [0.25, 0.75]
    one, two, made = (read_tensors(open_weights(str(folder))) for folder in (*folders, tmp_path / "mean"))
    made["head.bias"][LABELS.index("neutral")] += 0.5
    for name, tensor in made.items():
        torch.testing.assert_close(tensor, 0.25 * one[name] + 0.75 * two[name], atol=1e-3, rtol=1e-3)
    assert load_scorer(str(tmp_path / "mean"), "cpu").score(["alda loss"]).shape == (1, 3)
    with pytest.raises(ModelError, match="1 as their sum"):
        write_mean(data, tmp_path / "other", folders, [0.25, 0.25])
    with pytest.raises(ModelError, match="heads for severity"):
        write_mean(data, tmp_path / "other", [start, tmp_path / "one"], [0.5, 0.5])


def test_an_interrupted_training_goes_on_to_the_same_result(
    data: Path, start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = NewsSettings("small", epochs=2, batch=24, learning_rate=5e-3, frozen=-1)
    train_news(data, tmp_path / "whole", short, base=start)
    monkeypatch.setattr(news, "CHECKPOINT_EVERY", 5)
    real = news.finite  # type: ignore[attr-defined]

    def stopping(loss: Any, step: int) -> float:
        if step == 14:
            raise _Stop
        return real(loss, step)

    monkeypatch.setattr(news, "finite", stopping)
    with pytest.raises(_Stop):
        train_news(data, tmp_path / "cut", short, base=start)
    monkeypatch.setattr(news, "finite", real)
    with pytest.raises(ModelError, match="belongs to a training with other seed"):
        train_news(
            data,
            tmp_path / "cut",
            NewsSettings("small", epochs=2, batch=24, learning_rate=5e-3, seed=1, frozen=-1),
            base=start,
        )
    train_news(data, tmp_path / "cut", short, base=start)
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_nothing_that_is_held_out_is_trained_on(data: Path, start: str, tmp_path: Path) -> None:
    valid = read_guided(data / "news_valid.jsonl.gz")
    train = [json.loads(line) for line in gzip.decompress((data / "fpb_train.jsonl.gz").read_bytes()).splitlines()]
    _write(data / "fpb_train.jsonl.gz", [*train, {"text": valid[0].text, "label": "neutral"}])
    material = news_rows.read_material(data, soft_labels=None, labels=[], feeds=None, mix=news_rows.MIXES["student"])
    kept, held_out = news_rows.split_finentity(data)
    assert held_out
    assert len(kept) + len(held_out) == 60
    seen = {fingerprint(row.text) for rows in material.rows.values() for row in rows}
    assert not seen & {fingerprint(row.text) for row in [*valid, *held_out]}


def test_epochs_differ_and_follow_from_the_seed(data: Path, start: str) -> None:
    tokenizer = load_tokenizer(Path(start) / "tokenizer.json")
    material = news_rows.read_material(data, soft_labels=None, labels=[], feeds=None, mix=news_rows.MIXES["student"])
    first, again, other = (
        news_rows.epoch_rows(material, tokenizer, 0, epoch, 0.5, news_rows.MIXES["student"]) for epoch in (0, 0, 1)
    )
    assert first.tokens == again.tokens
    assert first.tokens != other.tokens
    assert len(first.tokens) == len(first.marks) == len(first.targets) == len(first.weights)
    np.testing.assert_allclose(first.targets.sum(dim=1).numpy(), 1, atol=1e-5)
    assert first.grades[[bool(marks) for marks in first.marks]].isnan().all()
    known = first.grades[~first.grades[:, 0].isnan()]
    assert (known[:, 1:] <= known[:, :-1]).all()
