"""The shipped weights on invented sentences: changes that keep the meaning keep the label, flips change it.

The changes and the bounds are those of `python -m benchmarks.robustness`, which measures them on validation texts.
"""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import robustness
from benchmarks.robustness import KEEPS, TURNS, changed
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.training.augmentation import flip, negate

pytestmark = pytest.mark.slow

COMPANIES = ("Apple", "Microsoft", "Boeing", "Nokia", "Siemens", "Toyota")
SAID = (
    "{} profit rises sharply in the third quarter",
    "{} shares plunge after the company cuts its outlook",
    "{} beats estimates and raises its dividend",
    "{} misses forecasts as sales fall",
    "{} names a new chief financial officer",
    "{} wins a large order from a shipyard",
    "{} reports a wider loss than expected",
    "Analysts upgrade {} on strong demand",
    "Analysts downgrade {} on weak demand",
    "{} will hold its annual meeting in Helsinki on Thursday",
    "{} margins improved thanks to lower costs",
    "{} warns that sales will fall this year",
)
TEXTS = [said.format(company) for said in SAID for company in COMPANIES]


@pytest.fixture(scope="module", params=["default", "permissive"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return load_scorer(request.param, "cpu")


@pytest.mark.parametrize("name", KEEPS)
def test_changes_that_keep_the_meaning_alter_at_most_the_stated_share_of_labels(scorer: Scorer, name: str) -> None:
    change, bound = KEEPS[name]
    share, n = changed(scorer, TEXTS, change)
    assert n >= len(TEXTS) / 2
    assert share <= bound


def test_a_flipped_text_changes_its_label(scorer: Scorer) -> None:
    share, n = changed(scorer, TEXTS, flip, clear=True)
    assert n >= 30
    assert share >= TURNS["flipped"][1]


def test_each_change_does_what_its_name_says() -> None:
    text = "Apple will raise prices https://t.co/aB ."
    assert robustness.upper_case(text) == "APPLE WILL RAISE PRICES https://t.co/aB ."
    assert robustness.final_stop(text) == "Apple will raise prices https://t.co/aB"
    assert robustness.final_stop("Sales rise") == "Sales rise."
    assert robustness.final_exclamation("Sales rise.") == "Sales rise!"
    other = robustness.other_company(text)
    assert other is not None
    assert other.split()[0] in robustness.OTHERS
    assert robustness.other_company("Sales rise") is None
    assert negate(text) == "Apple will not raise prices https://t.co/aB ."


class _Fixed:
    """Score 1 for the label whose number is the first character of the text."""

    def score(self, texts: Sequence[str]) -> np.ndarray:
        return np.eye(3, dtype=np.float32)[[int(text[0]) for text in texts]]


def test_shares_count_only_texts_that_can_be_changed_and_on_request_only_clear_ones() -> None:
    texts = ["0 a", "1 b", "2 c", "0 d"]
    turned = {"0 a": "2 a", "1 b": "0 b", "2 c": "2 c"}
    assert changed(_Fixed(), texts, turned.get) == (pytest.approx(2 / 3), 3)
    assert changed(_Fixed(), texts, turned.get, clear=True) == (pytest.approx(1 / 2), 2)


ODD = {
    "empty": "",
    "blanks": " \n\t ",
    "emoji": "🚀🚀 $ACME to the moon 😱",
    "chinese": "公司第三季度净利润大幅增长",
    "ten thousand words": "profit rises " * 5_000,
    "control characters": "profit\x00 rises\x07",
    "half of a pair": "profit \ud83d rises",
    "one long word": "a" * 100_000,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_texts_score_without_error(scorer: Scorer, name: str) -> None:
    (row,) = scorer.score([ODD[name]])
    assert np.isfinite(row).all()
    assert row.sum() == pytest.approx(1, abs=1e-5)


@settings(max_examples=10)
@given(st.binary(max_size=300))
def test_random_bytes_score_without_error(scorer: Scorer, data: bytes) -> None:
    scores = scorer.score([data.decode("utf-8", "replace"), data.decode("latin-1")])
    assert np.isfinite(scores).all()
