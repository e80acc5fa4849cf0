"""What a scorer is like on the texts that it was made for: the part of a model's card that a live one is held against.

The one idea: three figures of each labelled set say what is usual for these weights, and a bit for each token says
which tokens their training texts hold. Figures are stored, and no text. They change no score, so the identity leaves
them out.

`foreshock.monitor.scorer_watch` compares sources with them.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.labels import LABELS

UNIT = 10_000
"""The units in which shares are stored as integers: the same as of scores."""
LEAST_TEXTS, OF_TEXTS = 3, 1_000
"""A token is familiar if one in OF_TEXTS of the training texts holds it, and at least LEAST_TEXTS. Chosen on held-out
texts of the labelled sets: with three texts alone, letters in disorder look familiar, because their pieces do."""


@dataclass(frozen=True, slots=True)
class SetFigures:
    """What the scorer says of the held-out texts of one set, each figure in 1/10,000.

    shares: of each class, in the order of LABELS. confidence: the mean probability of the class that is chosen, for
    each class; None where no text has it. novelty: the mean share of tokens that are not familiar.
    """

    name: str
    texts: int
    shares: tuple[int, ...]
    confidence: tuple[int | None, ...]
    novelty: int


@dataclass(frozen=True, slots=True)
class Reference:
    """The figures of all sets, and which tokens are familiar: base64 of a bit for each token of the vocabulary."""

    sets: tuple[SetFigures, ...]
    familiar: str

    def to_json(self) -> dict[str, Any]:
        """Return it as `model.json` holds it."""
        return {"sets": [asdict(one) for one in self.sets], "familiar": self.familiar}

    def without_tokens(self) -> dict[str, Any]:
        """Return the figures alone, as a store holds them."""
        return {"sets": [asdict(one) for one in self.sets]}


def read_reference(card: Mapping[str, Any]) -> Reference | None:
    """Return what a card says, or None where it says nothing.

    Raises KeyError, TypeError or ValueError where it is not of this form.
    """
    found = card.get("reference")
    if found is None:
        return None
    sets = []
    for one in found["sets"]:
        shares, confidence = tuple(one["shares"]), tuple(one["confidence"])
        figures = [*shares, *(value for value in confidence if value is not None), one["novelty"], one["texts"]]
        if len(shares) != len(LABELS) or len(confidence) != len(LABELS) or any(int(f) != f or f < 0 for f in figures):
            raise ValueError(f"reference: the figures of {one['name']} are not three classes of whole numbers")
        sets.append(SetFigures(str(one["name"]), int(one["texts"]), shares, confidence, int(one["novelty"])))
    base64.b64decode(found["familiar"], validate=True)
    return Reference(tuple(sets), str(found["familiar"]))


class Familiar:
    """Which tokens the training texts hold. A token beyond the vocabulary is not familiar.

    >>> familiar = Familiar.of_texts([[2, 5, 6, 3], [2, 5, 3], [2, 5, 7, 3]], vocabulary=8)
    >>> familiar.novelty([[2, 5, 7, 3], [2, 3]]).tolist()
    [5000, 0]
    """

    def __init__(self, known: NDArray[np.bool_]) -> None:
        self._known = known

    @classmethod
    def of_texts(cls, rows: Sequence[Sequence[int]], vocabulary: int, unknown: int | None = None) -> Familiar:
        """Take the tokens that enough of the texts hold. `rows`: their token ids. `unknown`: the token that stands for
        what the vocabulary lacks; it is never familiar.
        """
        held = np.fromiter(chain.from_iterable(set(row) for row in rows), np.int64)
        known = np.bincount(held, minlength=vocabulary)[:vocabulary] >= max(LEAST_TEXTS, len(rows) // OF_TEXTS)
        if unknown is not None:
            known[unknown] = False
        return cls(known)

    @classmethod
    def of_card(cls, reference: Reference) -> Familiar:
        """Take the tokens that a card names."""
        bits = np.frombuffer(base64.b64decode(reference.familiar), np.uint8)
        return cls(np.unpackbits(bits).astype(bool))

    def to_card(self) -> str:
        """Return it as a card holds it."""
        return base64.b64encode(np.packbits(self._known).tobytes()).decode()

    def novelty(self, rows: Sequence[Sequence[int]]) -> NDArray[np.uint16]:
        """Return the share of each text's tokens that are not familiar, (n,), in 1/10,000, rounded down.

        rows: token ids of each text, [CLS] and [SEP] included; these two do not count. Without other tokens it is 0.
        """
        lengths = np.array([len(row) for row in rows], np.int64)
        ids = np.fromiter(chain.from_iterable(rows), np.int64, count=int(lengths.sum()))
        strange = ~self._known[np.minimum(ids, len(self._known) - 1)] | (ids >= len(self._known))
        ends = np.cumsum(lengths)
        strange[ends - 1] = strange[ends - lengths] = False
        before = np.concatenate([[0], np.cumsum(strange)])
        counts = before[ends] - before[ends - lengths]
        shares: NDArray[np.uint16] = (counts * UNIT // np.maximum(lengths - 2, 1)).astype(np.uint16)
        return shares


def figures_of(name: str, scores: NDArray[np.integer[Any]], novelty: NDArray[np.integer[Any]]) -> SetFigures:
    """Return the figures of a set from its scores (n, 3) and novelties (n,), both in 1/10,000."""
    chosen, sure = scores.argmax(axis=1), scores.max(axis=1)
    counts = np.bincount(chosen, minlength=len(LABELS))
    confidence = tuple(int(sure[chosen == c].sum()) // int(n) if n else None for c, n in enumerate(counts))
    shares = tuple(int(n) * UNIT // len(scores) for n in counts)
    return SetFigures(name, len(scores), shares, confidence, int(novelty.sum()) // len(novelty))
