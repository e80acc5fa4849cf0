"""Score texts in several languages: each by the weights that read it.

The one idea: which weights read a text follows from its characters (`foreshock.ingest.scripts`), not from what a feed
says of it. So a score still depends on the text and the model's identity alone, bit for bit, and whoever scores need
not say a language. The identity names all weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from foreshock.ingest.scripts import is_chinese
from foreshock.model.scorer import EncoderEngine, Scorer, TextAnswers, joined

Answer = TypeVar("Answer")


class RoutedScorer(Scorer):
    """Two scorers as one: `chinese` for Chinese texts, `first` for all others. The methods are those of `Scorer`.
    `scorers` are these two.

    What one of the two cannot say is None for both, where texts of both are asked. The signs of embeddings are of two
    encoders: a Chinese story is similar to Chinese ones only.
    """

    def __init__(self, first: Scorer, chinese: Scorer) -> None:
        self.identity = f"{first.identity}+{chinese.identity}"
        self.languages = first.languages | chinese.languages
        self.choice = first.choice
        self.threads = first.threads
        self.reference = first.reference
        if first.reference is not None and chinese.reference is not None:
            # What is usual is judged by source: it lies within what any of the sets shows.
            self.reference = replace(first.reference, sets=(*first.reference.sets, *chinese.reference.sets))
        self.scorers = first, chinese

    @property
    def engine(self) -> EncoderEngine:
        """The engine of the first weights."""
        return self.scorers[0].engine

    @property
    def answers(self) -> TextAnswers:
        """The heads of the first weights."""
        return self.scorers[0].answers

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._each(texts, texts, lambda scorer, some: scorer.read(some))

    def read_by(self, answers: TextAnswers, engine: EncoderEngine | None = None) -> Scorer:
        """Return a scorer that reads the first encoder with other heads. It reads its languages only."""
        return self.scorers[0].read_by(answers, engine)

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> NDArray[np.float32]:
        if entities is None:
            return self._each(texts, texts, lambda scorer, some: scorer.score(some))
        if len(entities) != len(texts):
            raise ValueError(f"{len(entities)} entities for {len(texts)} texts; give one (or None) for each text")
        asked = list(zip(texts, entities, strict=True))
        return self._each(texts, asked, lambda scorer, some: scorer.score([t for t, _ in some], [e for _, e in some]))

    def severity(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._each(texts, texts, lambda scorer, some: scorer.severity(some))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._each(texts, texts, lambda scorer, some: scorer.embed(some))

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        return self._each(_texts(pairs), pairs, lambda scorer, some: scorer.score_stories(some))

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[Any] | None:
        return self._each(_texts(pairs), pairs, lambda scorer, some: scorer.grade_stories(some))

    def sign_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.uint8] | None:
        return self._each(_texts(pairs), pairs, lambda scorer, some: scorer.sign_stories(some))

    def novel_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[Any] | None:
        return self._each(_texts(pairs), pairs, lambda scorer, some: scorer.novel_stories(some))

    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> NDArray[np.int32] | None:
        """As `Scorer.score_companies`; None too where one of the weights has no head for companies."""
        return self._each(
            [joined(title, body) for title, body, _ in asked], asked, lambda scorer, some: scorer.score_companies(some)
        )

    def _each(
        self, texts: Sequence[str], items: Sequence[Any], ask: Callable[[Scorer, Sequence[Any]], Answer]
    ) -> Answer:
        """Ask each scorer about the items whose texts it reads, and return the answers in the items' order."""
        which = np.array([is_chinese(text) for text in texts], dtype=bool)
        if not which.any():
            return ask(self.scorers[0], items)
        if which.all():
            return ask(self.scorers[1], items)
        found: NDArray[Any] | None = None
        for scorer, places in zip(self.scorers, (np.flatnonzero(~which), np.flatnonzero(which)), strict=True):
            answer: Any = ask(scorer, [items[place] for place in places.tolist()])
            if answer is None:
                return cast(Answer, None)
            if found is None:
                found = np.empty((len(items), *answer.shape[1:]), dtype=answer.dtype)
            found[places] = answer
        return cast(Answer, found)


def _texts(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return [joined(title, body) for title, body in pairs]
