"""Why a text is scored as it is: what each of its words contributes.

The one idea: random halves of the words are left out, and a ridge regression says how much the balance is higher with a
word than without it (Petsiuk et al. 2018, "RISE", for random masks; Ribeiro et al. 2016, "LIME", for the regression).
Leaving out one word at a time is cheaper and finds nothing where several words say the same: in "plunge after fraud
probe" no single one is needed.

What is claimed can be checked: without the words named first the score moves faster than without random ones
(`deletion_area`). The halves follow from the text alone, so the same text and weights always give the same words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock.model.entities import mentions
from foreshock.model.tokenizing import clean

# Of Han characters each is a word: nobody says where a Chinese word ends.
WORD = re.compile("[\u3400-\u9fff]|[^\\s\u3400-\u9fff]+")
WORDS = 48
"""The first words of a text, which are explained, even if a later window decides its score (windows.py). The others are
always there."""
PASSES_A_WORD, LEAST, MOST = 4, 48, 192
"""How many halves are scored: so many a word, and within these bounds."""
RIDGE = 1.0


class Scores(Protocol):
    """What is needed of a scorer."""

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Word:
    """A word at [start, end) of the text. contribution: by how much the balance, positive less negative probability
    (-2 to 2), is higher with it than without it; below 0 where it makes the text worse news.
    """

    word: str
    start: int
    end: int
    contribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The text that was read (links left out), its probabilities (negative, neutral, positive), and its words in order.

    entity: the company whose sentiment was asked, None for the text as a whole.
    """

    text: str
    entity: str | None
    scores: tuple[float, float, float]
    words: tuple[Word, ...]

    def top(self, count: int) -> list[Word]:
        """The `count` words that move the score most, whichever way."""
        return sorted(self.words, key=lambda word: -abs(word.contribution))[:count]


def explain(scorer: Scores, text: str, entity: str | None = None) -> Explanation:
    """Score a text with random halves of its words, and say what each of its first `WORDS` words contributes.

    The words of the entity's own name stay, and contribute 0. It costs as much as scoring 50 to 190 texts, and fewer
    for a text of up to five words. Raises what `Scorer.score` raises.
    """
    text = clean(text)
    found = list(WORD.finditer(text))[:WORDS]
    named = mentions(text, entity, unspaced=True) if entity is not None else []
    asked = [m for m in found if not any(m.start() < end and start < m.end() for start, end in named)]
    masks = _masks(text, len(asked)) if asked else np.empty((0, 0))
    spans = [match.span() for match in asked]
    texts = [without(text, [span for span, kept in zip(spans, row, strict=True) if not kept]) for row in masks.tolist()]
    scores = _scored(scorer, [text, *texts], entity)
    solved = np.empty(0)
    if asked:
        moved = balance(scores[1:])
        centred = masks - masks.mean(axis=0)
        solved = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(len(asked)), centred.T @ (moved - moved.mean()))
    contributions = {m.start(): float(by) for m, by in zip(asked, solved, strict=True)}
    words = tuple(Word(m[0], *m.span(), contributions.get(m.start(), 0.0)) for m in found)
    negative, neutral, positive = scores[0].tolist()
    return Explanation(text, entity, (negative, neutral, positive), words)


def _scored(scorer: Scores, texts: Sequence[str], entity: str | None) -> NDArray[np.float64]:
    """Return the scores (n, 3) of texts, of which each different one is scored once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    scores = scorer.score([*places], None if entity is None else [entity] * len(places)).astype(np.float64)
    found: NDArray[np.float64] = scores[[places[text] for text in texts]]
    return found


def _masks(text: str, words: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return which words are kept (halves, words): each half, then what it left out."""
    halves = min(max(PASSES_A_WORD * words, LEAST), MOST) // 2
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    kept = np.random.default_rng(seed).random((halves, words)) < 0.5
    return np.vstack([kept, ~kept]).astype(np.float64)


def deletion_area(scorer: Scores, explained: Explanation, order: Sequence[Word], share: float = 0.5) -> float:
    """The mean probability of the text's label while words are taken out one by one in `order`, up to `share` of them.

    The lower, the sooner the score goes: so the order names words that matter. 1 at most.
    """
    label = int(np.argmax(explained.scores))
    count = max(1, round(share * len(order)))
    texts = [without(explained.text, [(word.start, word.end) for word in order[: n + 1]]) for n in range(count)]
    entities = None if explained.entity is None else [explained.entity] * len(texts)
    return float(scorer.score(texts, entities)[:, label].mean())


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return the text without these stretches (start, end), its words one space apart.

    The end of the title stays: later windows of a long text begin with the title (windows.py).
    """
    kept = []
    place = 0
    for start, end in sorted(spans):
        kept.append(text[place:start])
        place = end
    title, newline, body = "".join([*kept, text[place:]]).partition("\n")
    return newline.join(" ".join(part.split()) for part in ((title, body) if newline else (title,)))


def balance(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positive less negative probability (n,) of scores (n, 3)."""
    found: NDArray[np.float64] = scores[:, 2] - scores[:, 0]
    return found
