"""A view keeps the meaning, a flip reverses it; both are functions of the text and the generator."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.model.training import augmentation
from foreshock.model.training.augmentation import (
    MASK,
    flip,
    flipped_word,
    hard_negatives,
    is_polar,
    lexicon,
    negate,
    swap_synonyms,
    view,
)

WORDS = sorted(lexicon().flips)
PLAIN = ("Acme", "the", "bank", "of", "5%", "+3.1%", "$LOW", "from 3 to 4", "1.2 mln vs 1.4 mln", "will", "is not", ",")
TEXTS = st.lists(st.sampled_from([*WORDS, *(word.title() for word in WORDS), *PLAIN]), max_size=12).map(" ".join)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("text", "flipped"),
    [
        ("Acme beats estimates and raises its outlook", "Acme misses estimates and cuts its outlook"),
        ("ACME SHARES PLUNGE", "ACME SHARES SURGE"),
        ("Profit rose to EUR 1.05 from EUR 0.64", "Profit fell to EUR 0.64 from EUR 1.05"),
        ("Shr loss 22 cts vs loss 18 cts", "Shr profit 22 cts vs profit 18 cts"),
        ("Net 1.2 mln vs 1.4 mln", "Net 1.4 mln vs 1.2 mln"),
        ("$ACME +3.1%", "$ACME -3.1%"),
        ("Profit falls", "Profit rises"),
        ("A quarter of losses", "A quarter of profits"),
    ],
)
def test_a_flip_exchanges_directions_and_figures_and_otherwise_things(text: str, flipped: str) -> None:
    assert flip(text) == flipped


@pytest.mark.parametrize(
    "text", ["", "Acme names a new chairman", "$LOW and a high-tech firm", "In 2015-05-26 trading"]
)
def test_a_text_that_cannot_be_flipped_has_no_flip_and_no_hard_negatives(text: str) -> None:
    assert flip(text) is None
    assert hard_negatives(text, 4, random()) == []


@given(TEXTS | st.text(max_size=60))
def test_a_flip_flips_back_and_never_equals_the_text(text: str) -> None:
    turned = flip(text)
    if turned is not None:
        assert turned != text
        assert flip(turned) == text


@given(TEXTS)
def test_a_negation_taken_twice_is_the_text(text: str) -> None:
    negated = negate(text)
    if negated is not None:
        assert negated != text
        assert negate(negated) == text


def test_negate_adds_not_after_the_auxiliary_and_removes_it_again() -> None:
    assert negate("Profit will rise") == "Profit will not rise"
    assert negate("PROFIT WILL RISE") == "PROFIT WILL NOT RISE"
    assert negate("Profit will not rise") == "Profit will rise"
    assert negate("Acme will name a chairman") is None
    assert negate("Profit rises") is None


@given(TEXTS, st.integers(0, 4), st.integers(0, 5))
def test_hard_negatives_are_different_texts_and_follow_from_the_seed(text: str, count: int, seed: int) -> None:
    flips = hard_negatives(text, count, random(seed))
    assert flips == hard_negatives(text, count, random(seed))
    assert len(flips) == len(set(flips)) <= count
    assert text not in flips
    if count and flip(text) is not None:
        assert flips[0] == flip(text)


@given(TEXTS, st.integers(0, 50))
def test_a_view_follows_from_the_seed_and_keeps_each_polar_word(text: str, seed: int) -> None:
    seen = view(text, random(seed))
    assert seen == view(text, random(seed))
    assert _sides(seen) == _sides(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("There is no sign that earnings will rise", "no"),
        ("Acme doesn't see how its earnings could rise", "doesn't"),
        ("Cut jobs are Not what the board of the bank is after", "Not"),
        ("Rise it will, but Don’t count on that for long", "Don’t"),
    ],
)
def test_a_view_keeps_negations(text: str, kept: str) -> None:
    assert all(kept in view(text, random(seed)).split() for seed in range(100))


def _sides(text: str) -> list[int]:
    words = lexicon()
    found = [word.lower() for word in augmentation._WORD.findall(text)]
    return [(words.directions | words.things)[word] for word in found if word in words.flips]


def test_views_crop_mask_and_swap() -> None:
    text = "Yesterday the board of Acme said that sales of its 12 plants climbed as demand from Bolivia was there"
    views = {view(text, random(seed)) for seed in range(40)}
    assert len(views) > 30
    assert any(MASK in seen for seen in views)
    assert any("12" not in seen for seen in views)
    assert any("rose" in seen or "gained" in seen for seen in views)
    assert any(not seen.startswith("Yesterday") for seen in views)
    assert min(len(seen.split()) for seen in views) >= 11  # 60 % of 19 words


def test_synonyms_keep_their_case() -> None:
    swapped = {swap_synonyms("Shares RISE", random(seed)) for seed in range(60)}
    assert "Stock RISE" in swapped
    assert "Shares CLIMB" in swapped


def test_each_word_of_the_lexicon_is_on_one_side_only() -> None:
    data = tomllib.loads((Path(augmentation.__file__).parent / "lexicon.toml").read_text())
    pairs = [pair for table in ("directions", "things") for pair in data[table].items()]
    words = [word for pair in pairs for word in pair]
    assert sorted(word for word in set(words) if words.count(word) > 1) == []
    assert all(word.islower() and word.isalpha() for word in words)


def test_synonyms_are_of_one_side_and_in_one_group() -> None:
    words = lexicon()
    sides = words.directions | words.things
    for word, others in words.synonyms.items():
        assert word not in others
        assert {sides.get(other) for other in others} == {sides.get(word)}
        assert all(word in words.synonyms[other] for other in others)


def test_the_only_word_of_direction_is_named_by_the_better_of_its_pair() -> None:
    assert flipped_word("Profit falls") == ("rises", -1)
    assert flipped_word("Profit Rises") == ("rises", 1)
    assert flipped_word("Sales rise, profit falls") is None
    assert flipped_word("Profit") is None
    assert is_polar("Profit")
