"""Explanations: the words that matter come first, which taking them out shows."""

import numpy as np
import pytest

from foreshock.model.explain import WORDS, deletion_area, explain, without
from foreshock.model.scorer import Scorer, load_scorer

pytestmark = pytest.mark.slow

TEXTS = [
    "Wexdale operating profit fell sharply as the company cut its dividend in May",
    "Norvane shares jump to a record after it raised its full-year outlook on Monday",
    "Regulator fines Castellor over a data breach at its unit in the north of the country",
    "Pemmond wins an order worth 40 million to deliver pumps to a customer in Leeds",
]


class Words:
    """A scorer that counts: each "bad" makes a text worse by a tenth, each "good" better."""

    def score(self, texts, entities=None):
        balance = np.array([0.1 * (t.split().count("good") - t.split().count("bad")) for t in texts])
        return np.stack([(1 - balance) / 3, np.full(len(texts), 1 / 3), (1 + balance) / 3], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer(device="cpu")


def test_a_word_contributes_by_how_much_the_score_is_higher_with_it() -> None:
    explained = explain(Words(), "good and bad and bad")
    assert [word.word for word in explained.words] == ["good", "and", "bad", "and", "bad"]
    # The ridge draws each towards 0, by a part in a dozen or so.
    np.testing.assert_allclose([w.contribution for w in explained.words], [0.0667, 0, -0.0667, 0, -0.0667], atol=0.01)
    assert explained.top(1)[0].word in ("good", "bad")
    assert explained.text[explained.words[2].start : explained.words[2].end] == "bad"


@pytest.mark.parametrize(
    ("text", "company", "passes"),
    [("", None, 1), ("Quay Bank", "Quay Bank", 1), ("bad", None, 2), ("bad  good", None, 5), ("Quay bad", "Quay", 2)],
)
def test_no_text_is_scored_twice(text: str, company: str | None, passes: int) -> None:
    class Counting(Words):
        def score(self, texts, entities=None):
            assert len(texts) == len(set(texts))
            seen.extend(texts)
            return super().score(texts)

    seen: list[str] = []
    explained = explain(Counting(), text, company)
    assert len(seen) == passes  # "bad  good" also with one space
    assert [word.word for word in explained.words] == text.split()
    assert {word.word: np.sign(round(word.contribution, 2)) for word in explained.words} == {
        word: {"bad": -1, "good": 1}.get(word, 0) for word in text.split()
    }


def test_a_text_without_some_words_keeps_its_title_apart() -> None:
    assert without("good  news\nfrom the\nbank", [(0, 4)]) == "news\nfrom the bank"
    assert without("good news", [(0, 4)]) == "news"


def test_the_score_explained_is_the_score(scorer: Scorer) -> None:
    for text in TEXTS:
        np.testing.assert_allclose(explain(scorer, text).scores, scorer.score([text])[0], atol=1e-6)


def test_taking_out_the_top_words_moves_the_score_faster_than_random_ones(scorer: Scorer) -> None:
    random = np.random.default_rng(0)
    top, others = [], []
    for text in TEXTS:
        explained = explain(scorer, text)
        top.append(deletion_area(scorer, explained, explained.top(len(explained.words))))
        for _ in range(5):
            shuffled = [explained.words[i] for i in random.permutation(len(explained.words))]
            others.append(deletion_area(scorer, explained, shuffled))
    assert np.mean(top) < np.mean(others) - 0.05


@pytest.mark.parametrize("text", ["", " ", "up", "word " * 400, "https://example.com/a", "🚀 🚀", "\ud800"])
def test_odd_texts_are_explained(scorer: Scorer, text: str) -> None:
    explained = explain(scorer, text)
    assert np.isclose(sum(explained.scores), 1, atol=1e-5)
    assert len(explained.words) <= WORDS
    assert all(explained.text[word.start : word.end] == word.word for word in explained.words)


def test_a_company_s_own_name_contributes_nothing() -> None:
    explained = explain(Words(), "Quay Bank bad good", "Quay Bank")
    assert [w.contribution != 0 for w in explained.words] == [False, False, True, True]
    assert explained.entity == "Quay Bank"


class Redundant:
    """A scorer that finds a text bad as soon as it holds one of two words: neither alone is needed."""

    def score(self, texts, entities=None):
        bad = np.array([0.9 if {"fraud", "probe"} & set(t.split()) else 0.1 for t in texts])
        return np.stack([bad, np.full(len(texts), 0.05), 0.95 - bad], axis=1).astype(np.float32)


def test_words_that_say_the_same_are_both_found() -> None:
    text = "Acme faces a fraud probe over its accounts"
    for company in (None, "Acme"):
        explained = explain(Redundant(), text, company)
        assert {word.word for word in explained.top(2)} == {"fraud", "probe"}
        assert all(word.contribution < -0.2 for word in explained.top(2))
        assert explain(Redundant(), text, company) == explained, "the halves follow from the text"
