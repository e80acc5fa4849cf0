"""Severity, and the sentiment towards a company: the same to the bit in any batch, and sound on odd input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import without_heads

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import Calibration
from foreshock.model.entities import CLOSE, IT, MENTIONS, OPEN, OTHER, mark, mentions
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, HeadsCard, expected
from foreshock.model.scorer import Scorer, load_scorer, quantise
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer

pytestmark = pytest.mark.slow

POOL = [
    ("Norvane sues Castellor over patents", "Castellor"),
    ("Norvane sues Castellor over patents", "Norvane"),
    ("Norvane sues Castellor over patents", None),
    ("Tarvale shares fall 12 percent after a profit warning", "Tarvale"),
    ("$NRVN up, $CSTL down", "NRVN"),
    ("Castellor, Castellor, Castellor, Castellor and Castellor", "Castellor"),
    ("", None),
    ("Pemmond " * 60, "Pemmond"),
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """The shipped encoder with heads of random numbers: what is tested here is how they are computed."""
    folder = open_weights("default")
    out = tmp_path_factory.mktemp("heads")
    torch.manual_seed(1)
    tensors = {name: t for name, t in read_tensors(folder).items() if not name.startswith("heads.")}
    tensors |= {f"heads.{name}": 5 * t for name, t in Heads(384).state_dict().items()}
    write_weights(
        out,
        name="heads",
        tensors=tensors,
        architecture=Architecture(),
        tokenizer=folder.tokenizer,
        calibration=Calibration(),
        licence="none",
        heads=HeadsCard(1.5, Calibration(0.7, 0.1)),
    )
    return load_scorer(str(out), "cpu")


@settings(max_examples=15, deadline=None)
@given(asked=st.lists(st.sampled_from(POOL), min_size=1, max_size=30))
def test_a_score_towards_a_company_is_the_same_to_the_bit_in_any_batch(
    scorer: Scorer, asked: list[tuple[str, str | None]]
) -> None:
    scorer._cache.clear()
    together = scorer.score([text for text, _ in asked], [name for _, name in asked])
    for row, (text, name) in zip(together, asked, strict=True):
        scorer._cache.clear()
        assert scorer.score([text], [name])[0].tobytes() == row.tobytes()


def test_severity_is_the_same_to_the_bit_in_any_batch_and_from_0_to_3(scorer: Scorer) -> None:
    texts = [text for text, _ in POOL]
    scorer._cache.clear()
    together = scorer.severity(texts)
    assert together.shape == (len(texts),)
    assert ((together >= 0) & (together <= 3)).all()
    for row, text in zip(together, texts, strict=True):
        scorer._cache.clear()
        assert scorer.severity([text]).tobytes() == row.tobytes()


def test_heads_change_nothing_of_a_text_s_own_score(scorer: Scorer, tmp_path: Path) -> None:
    texts = [text for text, _ in POOL]
    assert load_scorer(without_heads(tmp_path), "cpu").score(texts).tobytes() == scorer.score(texts).tobytes()


def test_rows_towards_a_company_sum_to_one_and_the_cache_changes_nothing(scorer: Scorer) -> None:
    texts, names = [text for text, _ in POOL], [name for _, name in POOL]
    first = scorer.score(texts, names)
    assert first.shape == (len(POOL), 3)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)
    assert scorer.score(texts, names).tobytes() == first.tobytes()


def test_whom_a_score_is_towards_matters(scorer: Scorer) -> None:
    towards = scorer.score(["Norvane sues Castellor over patents"] * 3, ["Castellor", "Norvane", None])
    assert (towards[0] != towards[1]).any()
    assert (towards[0] != towards[2]).any()


def test_names_that_only_fold_alike_are_remembered_apart(scorer: Scorer) -> None:
    text = "Strauß wins the tender that Strauss had hoped for"
    one, other = (scorer.score([text], [name])[0] for name in ("Strauß", "Strauss"))
    assert (one != other).any()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Profit rises", "Tarvale"),  # not in the text
        ("Applebee's opens a restaurant", "Apple"),  # a part of another word
        ("word " * 200 + "Tarvale", "Tarvale"),  # beyond the tokens that are read
        ("Profit rises", ""),
        ("Profit rises", " $ "),
    ],
)
def test_a_company_that_is_not_read_has_the_text_s_own_score(scorer: Scorer, text: str, name: str) -> None:
    assert scorer.score([text], [name]).tobytes() == scorer.score([text]).tobytes()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Tarvale", "Tarvale"),  # nothing but the name
        ("Tarvale Norvane Castellor Pemmond", "Castellor"),
        ("Tarvale " * 200, "Tarvale"),  # 128 tokens of names
        ("TARVALE rises", "tarvale"),
        ("Quay Bank falls", "Bank"),  # a part of a longer name
        ("$TRNX rips", "TRNX"),
        ("TRNX rips", "$TRNX"),
        ("A+B (x) *falls*", "A+B (x)"),  # signs that mean something in a pattern
        ("损失 扩大 Tarvale", "Tarvale"),
        ("\ud800 Tarvale \x00", "Tarvale"),
    ],
)
def test_odd_texts_and_names_are_scored(scorer: Scorer, text: str, name: str) -> None:
    assert np.isfinite(scorer.score([text], [name])).all()
    assert mentions(text, name)


def test_five_mentions_are_marked_four_times(scorer: Scorer) -> None:
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    (marked,) = mark(tokenizer, ["Norvane " * 5], ["Norvane"])
    assert marked is not None
    assert len(marked.marks) == MENTIONS
    assert [marked.ids[place] for place in marked.marks] == [OPEN] * MENTIONS
    assert marked.ids.count(CLOSE) == MENTIONS


def test_a_text_of_names_keeps_its_end_and_its_marks(scorer: Scorer) -> None:
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    (marked,) = mark(tokenizer, ["Tarvale " * 300], ["Tarvale"])
    assert marked is not None
    assert len(marked.ids) <= 128 + 2 * MENTIONS
    assert marked.ids[-1] == tokenizer.token_to_id("[SEP]")


def test_in_training_names_become_placeholders() -> None:
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    text = "Norvane beats Castellor"
    shown, hidden = mark(
        tokenizer, [text, text], ["Norvane", "Norvane"], hidden=[False, True], others=[[], ["Castellor"]]
    )
    assert shown is not None
    assert hidden is not None
    beats = tokenizer.encode("beats", add_special_tokens=False).ids
    start, end = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    assert hidden.ids == [start, OPEN, IT, CLOSE, *beats, OTHER, end]
    assert hidden.marks == [1]
    assert len(shown.ids) > len(hidden.ids)


def test_weights_without_heads_say_what_is_missing(scorer: Scorer, tmp_path: Path) -> None:
    folder = open_weights("default")
    tensors = {name: t for name, t in read_tensors(folder).items() if not name.startswith("heads.")}
    write_weights(
        tmp_path,
        name="plain",
        tensors=tensors,
        architecture=Architecture(),
        tokenizer=folder.tokenizer,
        calibration=Calibration(),
        licence="none",
    )
    plain = load_scorer(str(tmp_path), "cpu")
    for ask in (lambda: plain.severity(["Profit rises"]), lambda: plain.score(["Tarvale rises"], ["Tarvale"])):
        with pytest.raises(ModelError, match="no heads for severity and companies; train them"):
            ask()
    assert plain.score(["Tarvale rises"], [None]).shape == (1, 3)


def test_a_head_without_its_card_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    import json

    folder = open_weights("default")
    out = tmp_path / "weights"
    write_weights(
        out,
        name="heads",
        tensors=read_tensors(folder) | {f"heads.{n}": t for n, t in Heads(384).state_dict().items()},
        architecture=Architecture(),
        tokenizer=folder.tokenizer,
        calibration=Calibration(),
        licence="none",
        heads=HeadsCard(1.0, Calibration()),
    )
    card = json.loads((out / "model.json").read_text())
    del card["heads"]
    (out / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"does not fit its model\.json \('heads'\)"):
        load_scorer(str(out), "cpu")
    shutil.rmtree(out)


def test_entities_have_to_be_as_many_as_texts(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="2 entities for 1 texts"):
        scorer.score(["Tarvale rises"], ["Tarvale", None])
    with pytest.raises(ValueError, match="0 entities for 1 texts"):
        scorer.score(["Tarvale rises"], [])
    assert scorer.score([], []).shape == (0, 3)


def test_a_graver_level_is_never_likelier_than_a_milder_one() -> None:
    logits = torch.tensor([[-20.0, 20.0, 20.0], [20.0, 20.0, 20.0], [20.0, -20.0, 20.0]])
    assert expected(logits).round().tolist() == [0.0, 3.0, 1.0]


def test_stories_towards_companies_are_whole_numbers_the_same_in_any_batch(scorer: Scorer) -> None:
    asked = [(text, "body", name) for text, name in POOL if name is not None]
    found = scorer.score_companies(asked)
    assert found is not None
    assert (found.sum(axis=1) == 10_000).all()
    for one, row in zip(asked, found, strict=True):
        scorer._cache.clear()
        alone = scorer.score_companies([one])
        assert alone is not None
        assert (alone == row).all()
    assert (found == quantise(scorer.score([f"{t}\n{b}" for t, b, _ in asked], [name for *_, name in asked]))).all()
    unread = ("Profit rises", "", "Tarvale")
    of_the_text = scorer.score_companies([unread])
    assert of_the_text is not None
    assert (of_the_text == scorer.score_stories([unread[:2]])).all()


def test_weights_without_heads_say_nothing_of_companies(tmp_path: Path) -> None:
    assert (
        load_scorer(without_heads(tmp_path), "cpu").score_companies([("Tarvale sues Norvane", "", "Norvane")]) is None
    )
