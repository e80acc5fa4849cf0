"""Make variants of labelled texts for the teacher to label: swap words for others that occur in the same place.

The one idea: where the corpus has "profit rose to" and "profit fell to", one word may replace the other. The teacher
decides what the variant means, so a swap may change the polarity. Such swaps help: they give the small encoder pairs
that differ only in the word that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from foreshock.model.training.augmentation import flip, swap_synonyms

SWAPPED = 0.3
"""The share of words that are swapped, among those for which other words occur in their place."""
FLIPPED = 0.25
"""The share of texts that are flipped first."""

_EDGE = "\0"

Places = Mapping[tuple[str, str], tuple[str, ...]]
"""By the words before and after a place (lower-cased): the words that occur there, as often as they occur."""


def places(texts: Iterable[str]) -> Places:
    """Collect the words that occur between each two words of the texts.

    Places with only one word are left out.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        words = text.split()
        edged = [_EDGE, *(word.lower() for word in words), _EDGE]
        for i, word in enumerate(words):
            found.setdefault((edged[i], edged[i + 2]), []).append(word)
    return {place: tuple(words) for place, words in found.items() if len(set(words)) > 1}


def variant(text: str, known: Places, random: np.random.Generator) -> str:
    """Return a text like `text`: perhaps flipped, with swapped synonyms, and with words that occur in the same places.

    It may be the text itself.
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
