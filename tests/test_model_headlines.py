"""Made-up news: labelled, filled, nobody's text; labels of our own on tfns; what is trained on for any use."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from foreshock.model.labels import LABELS
from foreshock.model.training import headlines as module
from foreshock.model.training import news_rows
from foreshock.model.training.guided import read_labels_by_id
from foreshock.model.training.headlines import headlines
from foreshock.model.training.labelled import fingerprint

SHARED = Path(__file__).parent.parent.parent / "shared"
CASES = SHARED / "cases" / "60-sentiment" / "texts.tsv"
LABELS_OF_TFNS = Path(module.__file__).parent.parent / "runs" / "tfns-labels.tsv"


def test_headlines_are_filled_labelled_and_the_same_again() -> None:
    made = headlines(1_500, seed=3)
    assert made == headlines(1_500, seed=3)
    assert made != headlines(1_500, seed=4)
    assert len({row.text for row in made}) == len(made) == 1_500
    for row in made:
        assert not set("{}[]|") & set(row.text)
        assert row.label in LABELS
        assert (row.severity > 0) == (row.label == "negative")
        assert all(name.lower() in row.text.lower() and label in LABELS for name, label in row.entities.items())


def test_headlines_cover_the_kinds_of_the_guideline_and_each_label_as_often_as_news() -> None:
    made = headlines(3_000, seed=0)
    kinds = {row.kind for row in made}
    assert kinds >= {"crisis", "law", "safety", "credit", "guidance", "deal", "market", "turn", "post", "wire", "plain"}
    assert {row.severity for row in made} == {0, 1, 2, 3}
    for label, share in module.LABELS.items():
        assert abs(sum(row.label == label for row in made) / len(made) - share) < 0.04


@pytest.mark.skipif(not CASES.is_file(), reason="the cases are not here")
def test_no_made_up_text_is_a_text_that_is_judged() -> None:
    theirs = {fingerprint(line.split("\t")[2]) for line in CASES.read_text().splitlines()}
    assert not theirs & {fingerprint(row.text) for row in headlines(news_rows.PERMISSIVE.headlines, seed=0)}


def test_labels_of_tfns_are_well_formed_and_hold_no_texts() -> None:
    lines = LABELS_OF_TFNS.read_text().splitlines()[1:]
    ids = [line.split("\t")[0] for line in lines]
    assert len(set(ids)) == len(ids) == 3_694
    for line in lines:
        name, label, severity, entities = line.split("\t")
        assert name.startswith("tfns-")
        assert label in LABELS
        assert (int(severity) > 0) == (label == "negative")
        assert all(pair.rpartition("=")[2] in "n0p" for pair in entities.split(";") if pair)


@pytest.mark.skipif(not (SHARED / "data" / "labelled").is_dir(), reason="the labelled sets are not here")
def test_every_label_of_tfns_has_its_text_and_none_is_held_out() -> None:
    rows, missing = read_labels_by_id(LABELS_OF_TFNS, SHARED / "data" / "labelled")
    assert (len(rows), missing) == (3_694, 0)


def test_what_anyone_may_use_is_trained_on_tfns_and_our_own_texts_alone(tmp_path: Path) -> None:
    import gzip

    for part in ("train", "valid"):
        rows = [{"id": f"{part}-{i}", "text": f"{part} {i} rises", "label": "positive"} for i in range(3)]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (tmp_path / f"tfns_{part}.jsonl.gz").write_bytes(gzip.compress(lines))
    labels = tmp_path / "labels.tsv"
    labels.write_text("train-1\tnegative\t1\t\nvalid-2\tneutral\t0\t\n")
    mix = replace(news_rows.PERMISSIVE, headlines=30, generated=20, contrasts=30)
    material = news_rows.read_material(tmp_path, soft_labels=None, labels=[labels], feeds=tmp_path, mix=mix)
    assert set(material.rows) == {"tfns", "own", "contrasts", "headlines", "lines", "generated"}
    assert [row.text for row in material.rows["own"]] == ["train 1 rises"]  # a validation text is left out
