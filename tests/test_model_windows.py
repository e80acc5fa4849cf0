"""Long texts: a neutral beginning yields to a later window that is sure, and short texts are scored as ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.model import windows as module
from foreshock.model.bench import headlines
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import SHIPPED
from foreshock.model.tokenizing import MAX_TOKENS, load_tokenizer, tokenize
from foreshock.model.windows import WINDOWS, deciding, later_windows

PLAIN = "The annual general meeting will be held in Helsinki on 4 May in the congress hall. "
BAD = "The company filed for bankruptcy and its shares collapsed after the fraud."
TITLE = "Aldmont to hold its annual general meeting"
TOKENIZER = load_tokenizer(SHIPPED / "tokenizer.json")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_scorer(device="cpu", cached=0)


def _alone(scorer: Scorer, text: str) -> np.ndarray:
    """The score of the first 128 tokens, which is what was scored before windows."""
    return scorer._answers.of_texts(scorer._engine.embed(tokenize(scorer._tokenizer, [text])))[0, :3]


@given(st.lists(st.sampled_from(["profit", "falls", "unanswerable", "42", "."]), max_size=900), st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_windows_follow_each_other_without_a_gap_and_begin_with_the_title(words: list[str], title_words: int) -> None:
    """Invariant: first window + what the later ones hold after the title = the text, up to the cap."""
    title = " ".join(["earnings"] * title_words)
    (encoding,) = TOKENIZER.encode_batch_fast([f"{title}\n{' '.join(words)}"])
    head = tokenize(TOKENIZER, [title])[0]
    found = later_windows(encoding, head)
    kept = head[1:-1][: module.TITLE]
    assert len(found) <= WINDOWS - 1
    assert all(len(row) <= MAX_TOKENS for row in found)
    assert all(row[: 1 + len(kept)] == [head[0], *kept] and row[-1] == head[-1] for row in found)
    TOKENIZER.no_truncation()
    whole = TOKENIZER.encode(f"{title}\n{' '.join(words)}").ids
    TOKENIZER.enable_truncation(MAX_TOKENS)
    read = encoding.ids[1:-1] + [token for row in found for token in row[1 + len(kept) : -1]]
    assert read == whole[1:-1][: len(read)]
    assert len(read) == len(whole) - 2 or len(found) == WINDOWS - 1
    assert bool(found) == (len(whole) > MAX_TOKENS)


@pytest.mark.parametrize(
    ("later", "which"),
    [
        ([[0.5, 0.4, 0.1], [0.1, 0.9, 0.0]], None),
        ([[0.1, 0.8, 0.1], [0.81, 0.1, 0.09]], 1),
        ([[0.0, 0.1, 0.9], [0.85, 0.1, 0.05]], 0),
    ],
)
def test_the_surest_later_window_decides_if_it_is_sure(later: list[list[float]], which: int | None) -> None:
    rows = np.array([[*row, 2.0] for row in later], dtype=np.float32)
    assert deciding(rows) == which


def test_a_fact_that_stands_after_a_neutral_beginning_decides(scorer: Scorer) -> None:
    late = PLAIN * 7 + BAD
    assert _alone(scorer, f"{TITLE}\n{late}").argmax() == 1
    pairs = [(TITLE, late), (TITLE, PLAIN * 10)]
    with_fact, without = scorer.score_stories(pairs)
    graded = scorer.grade_stories(pairs)
    assert graded is not None
    grave, mild = graded
    assert with_fact[0] >= 8_000
    assert without.argmax() == 1
    assert grave > mild + 50, "the severity is that of the window that decides"


def test_a_beginning_that_is_not_neutral_stands(scorer: Scorer) -> None:
    text = f"{BAD}\n" + PLAIN * 10 + "Profit rose to a record and the company raised its outlook."
    assert scorer.score([text])[0].tobytes() == _alone(scorer, text).tobytes()


def test_what_stands_after_the_last_window_is_not_read(scorer: Scorer) -> None:
    filled = PLAIN * 40
    assert scorer.score([f"{TITLE}\n{filled}{BAD}"]).tobytes() == scorer.score([f"{TITLE}\n{filled}"]).tobytes()


def test_short_texts_have_the_scores_of_one_window(scorer: Scorer) -> None:
    texts = [*headlines(60, seed=5), "", f"{TITLE}\n{PLAIN}", "a\n\nb"]
    found = scorer.score(texts)
    assert all(found[i].tobytes() == _alone(scorer, text).tobytes() for i, text in enumerate(texts))


LONG = [f"{TITLE}\n{PLAIN * n}{end}" for n in (6, 8, 11, 14, 25) for end in (BAD, "", "Profit rose to a record.")]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sampled_from([*LONG, *headlines(20, seed=6)]), min_size=1, max_size=20))
def test_a_long_text_is_scored_the_same_in_each_batch(scorer: Scorer, texts: list[str]) -> None:
    """Invariant: score(texts)[i] == score([texts[i]])[0] to the bit, whatever windows the others have."""
    alone = {text: scorer.score([text])[0].tobytes() for text in texts}
    assert [row.tobytes() for row in scorer.score(texts)] == [alone[text] for text in texts]


def test_the_version_of_the_rule_is_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    from foreshock.model.storage import open_weights

    before = open_weights("default").identity("same")
    monkeypatch.setattr("foreshock.model.storage.READING", module.READING + 1)
    assert open_weights("default").identity("same") != before
