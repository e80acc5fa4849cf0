"""Variants of labelled texts for the teacher to label: words swapped for others that are seen in the same place.

The one idea: where the corpus has "profit rose to" and "profit fell to", either may stand for the other. What the
variant then means is the teacher's to say, so a word may change the polarity, and it is good that some do: the small
encoder sees pairs that differ in the word that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from foreshock.model.training.augmentation import flip, swap_synonyms

# Of the words that have others in their place, how many are swapped; and how many texts are turned round first.
SWAPPED = 0.3
FLIPPED = 0.25

_EDGE = "\0"

Places = Mapping[tuple[str, str], tuple[str, ...]]


def places(texts: Iterable[str]) -> Places:
    """By the words before and after a place (lower-cased): the words seen there, as often as they were seen.

    Places in which one word alone was seen are left out.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        words = text.split()
        edged = [_EDGE, *(word.lower() for word in words), _EDGE]
        for i, word in enumerate(words):
            found.setdefault((edged[i], edged[i + 2]), []).append(word)
    return {place: tuple(words) for place, words in found.items() if len(set(words)) > 1}


def variant(text: str, known: Places, random: np.random.Generator) -> str:
    """A text like `text`: perhaps turned round, synonyms swapped, words swapped for others seen in their place.

    May be the text itself.
    """
    turned = flip(text) if random.random() < FLIPPED else None
    words = swap_synonyms(turned or text, random).split()
    for i in range(len(words)):
        if random.random() < SWAPPED:
            before = words[i - 1].lower() if i else _EDGE
            after = words[i + 1].lower() if i + 1 < len(words) else _EDGE
            others = known.get((before, after))
            if others:
                words[i] = others[random.integers(len(others))]
    return " ".join(words)
