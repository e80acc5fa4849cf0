"""What a card says is usual: which tokens are familiar, the figures of sets, and cards that are not of this form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import NAMES, SMALL, WORDS, small_base

from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.reference import Familiar, Reference, SetFigures, figures_of, read_reference
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, write_weights
from foreshock.model.training.referring import refer, texts_of

REFERENCE = Reference((SetFigures("news", 2, (5000, 5000, 0), (9000, 8000, None), 100),), "/w==")
Rows = st.lists(st.lists(st.integers(0, 12), min_size=2, max_size=30), min_size=1, max_size=20)


@given(Rows, Rows)
def test_novelty_is_the_share_of_tokens_that_few_training_texts_hold(train: list[Any], rows: list[Any]) -> None:
    known = Familiar.of_texts(train, vocabulary=10)
    again = Familiar.of_card(Reference((), known.to_card()))
    held = {token for token in range(10) if sum(token in row for row in train) >= 3}
    expected = [sum(t not in held for t in row[1:-1]) * 10_000 // max(len(row) - 2, 1) for row in rows]
    assert known.novelty(rows).tolist() == again.novelty(rows).tolist() == expected


def test_a_token_is_familiar_by_its_share_and_what_stands_for_the_unknown_never_is() -> None:
    train = [[0, 4, 5, 1]] * 4 + [[0, 4, 6, 1]] * 9_996
    known = Familiar.of_texts(train, vocabulary=8, unknown=6)
    assert known.novelty([[0, 4, 1], [0, 5, 1], [0, 6, 1]]).tolist() == [0, 10_000, 10_000]


def test_figures_are_of_each_class() -> None:
    scores = np.array([[9000, 500, 500], [8000, 1000, 1000], [1000, 7000, 2000]])
    found = figures_of("news", scores, np.array([0, 100, 200]))
    assert found == SetFigures("news", 3, (6666, 3333, 0), (8500, 7000, None), 100)


def test_a_card_is_read_as_it_was_written() -> None:
    card = json.loads(json.dumps({"reference": REFERENCE.to_json()}))
    assert read_reference(card) == REFERENCE
    assert read_reference({}) is None
    assert "familiar" not in REFERENCE.without_tokens()


@pytest.mark.parametrize(
    "damage",
    [
        {"sets": [{"name": "a"}]},
        {"familiar": "not base64!"},
        {"sets": [{**REFERENCE.to_json()["sets"][0], "shares": [1, 2]}]},
        {"sets": [{**REFERENCE.to_json()["sets"][0], "novelty": 0.5}]},
        {"sets": 7},
    ],
)
def test_a_card_of_another_form_is_an_error(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        read_reference({"reference": REFERENCE.to_json() | damage})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    words = [word for of in WORDS.values() for word in of]
    base = small_base(tmp_path, words)
    out = tmp_path / "weights"
    write_weights(
        out,
        name="small",
        tensors=Encoder(SMALL).state_dict(),
        architecture=SMALL,
        tokenizer=base.tokenizer,
        calibration=Calibration(),
        licence="none",
    )
    return out


def test_a_reference_changes_no_score_and_no_identity_and_a_scorer_says_how_new_texts_are(weights: Path) -> None:
    before = load_scorer(str(weights), "cpu")
    texts = [("alda rises", ""), ("alda rises", "strange words here"), ("", "")]
    assert before.novel_stories(texts) is None
    scores = before.score_stories(texts)
    train = [f"{name} rises" for name in NAMES] * 3
    reference = refer(weights, train, {"set": ["bero falls", "alda rises"]}, write=True)
    after = load_scorer(str(weights), "cpu")
    assert after.identity == before.identity
    assert (after.score_stories(texts) == scores).all()
    assert after.reference == reference == read_reference(open_weights(str(weights)).card)
    assert reference.sets[0].texts == 2
    assert reference.sets[0].novelty == 2500  # "falls" is one of four tokens, and no training text holds it
    novel = after.novel_stories(texts)
    assert novel is not None
    assert novel.tolist() == [0, 6000, 0]
    after.novel_stories([])
    assert [novel[i] for i in (1, 0)] == after.novel_stories([texts[1], texts[0]]).tolist()  # type: ignore[union-attr]


def test_a_set_without_held_out_texts_is_an_error(weights: Path) -> None:
    with pytest.raises(LabelledDataError, match="empty: no held-out text"):
        refer(weights, ["alda rises"], {"empty": []}, write=False)


def test_weights_with_a_damaged_reference_are_refused_by_name(weights: Path) -> None:
    card = json.loads((weights / "model.json").read_text())
    (weights / "model.json").write_text(json.dumps(card | {"reference": {"sets": 7}}))
    with pytest.raises(ModelError, match=r"does not fit its model\.json"):
        load_scorer(str(weights), "cpu")


def test_texts_of_made_sets_need_no_files(tmp_path: Path) -> None:
    train, valid = texts_of(["contrasts", "headlines", "generated"], tmp_path)
    assert len(train) >= 9_000
    assert valid == {}
    with pytest.raises(LabelledDataError, match="no such file"):
        texts_of(["news"], tmp_path)


@pytest.mark.parametrize("weights", ["default", "permissive"])
def test_shipped_cards_say_what_is_usual(weights: str) -> None:
    reference = read_reference(open_weights(weights).card)
    assert reference is not None
    assert all(2 <= one.novelty <= 5_000 and sum(one.shares) >= 9_990 for one in reference.sets)
    familiar = Familiar.of_card(reference)
    assert familiar.novelty([[101, 999999, 102]]).tolist() == [10_000]
