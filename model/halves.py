"""Which words make a text what it is, where several say the same: each word's part in many halves of the text.

The one idea: in "plunge after fraud probe" no single word is needed, so taking out one at a time (`explain.py`) moves
nothing and names words that say nothing. Here random halves of the words are taken out, and a ridge regression says
how much the balance is higher with a word than without it. (Petsiuk et al. 2018, "RISE", for random masks; Ribeiro et
al. 2016, "LIME", for the regression.)

The halves follow from the text alone, so the same text and weights always give the same words.
"""

from __future__ import annotations

import hashlib

import numpy as np

from foreshock.model.explain import WORD, Explanation, Scores, Word, balance, without
from foreshock.model.tokenizing import clean

WORDS = 48
"""The first words of a text, which are explained; the others are always there."""
PASSES_A_WORD, LEAST, MOST = 4, 48, 192
"""How many halves are scored: so many a word, and within these bounds."""
RIDGE = 1.0


def explain_by_halves(scorer: Scores, text: str) -> Explanation:
    """Score a text with random halves of its words, and say what each word contributes (-2 to 2).

    It costs as much as scoring 50 to 190 texts. Raises what `Scorer.score` raises.
    """
    text = clean(text)
    found = list(WORD.finditer(text))[:WORDS]
    masks = _masks(text, len(found))
    spans = [match.span() for match in found]
    texts = [without(text, [span for span, kept in zip(spans, row, strict=True) if not kept]) for row in masks.tolist()]
    scores = scorer.score([text, *texts]).astype(np.float64)
    moved = balance(scores[1:])
    centred = masks - masks.mean(axis=0)
    solved = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(len(found)), centred.T @ (moved - moved.mean()))
    words = tuple(Word(m[0], *m.span(), float(by)) for m, by in zip(found, solved, strict=True))
    negative, neutral, positive = scores[0].tolist()
    return Explanation(text, None, (negative, neutral, positive), words)


def _masks(text: str, words: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return which words are kept (halves, words): each half, then what it left out."""
    halves = min(max(PASSES_A_WORD * words, LEAST), MOST) // 2
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    kept = np.random.default_rng(seed).random((halves, words)) < 0.5
    return np.vstack([kept, ~kept]).astype(np.float64)
