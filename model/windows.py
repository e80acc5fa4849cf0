"""Read on in a long text: where its beginning is neutral, a later part may decide.

The one idea: the beginning says what a story is about, so what it says stands. Only where it is neutral, later windows
are read, and the surest of them decides if it is sure enough. The rule was chosen by measurement
(`python -m benchmarks.long_texts`, docs/decisions/0063). A text's windows depend on the text alone, and so does its
score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from foreshock.model.labels import LABELS
from foreshock.model.tokenizing import MAX_TOKENS

READING = 2
"""The version of this rule. Raise it when it changes: the identity holds it."""
WINDOWS = 4
"""Windows of a text, at most, the first one included."""
TITLE = 32
"""Tokens of the title that stand before each later window, at most."""
SURE = 0.8
"""The probability of bad or good news from which a later window decides."""
_NEGATIVE, _NEUTRAL, _POSITIVE = (LABELS.index(label) for label in ("negative", "neutral", "positive"))


def may_read_on(encoding: Encoding, row: NDArray[np.float32]) -> bool:
    """Return whether later windows are read of a text, whose first window has the probabilities `row` (3 or more,)."""
    return bool(encoding.overflowing) and int(row[: len(LABELS)].argmax()) == _NEUTRAL


def later_windows(encoding: Encoding, title: Sequence[int]) -> list[list[int]]:
    """Return the token ids of the windows after the first: the title, then the text from where it was cut.

    encoding: of the whole text, cut at MAX_TOKENS. title: its ids, [CLS] and [SEP] included.
    """
    begin, end = encoding.ids[0], encoding.ids[-1]
    rest = [token for part in encoding.overflowing for token in part.ids[1:-1]]
    head = [begin, *title[1:-1][:TITLE]]
    step = MAX_TOKENS - 1 - len(head)
    return [[*head, *rest[at : at + step], end] for at in range(0, min(len(rest), (WINDOWS - 1) * step), step)]


def deciding(later: NDArray[np.float32]) -> int | None:
    """Return which of the later windows (windows, columns) decides; None where the first one does."""
    surest = later[:, [_NEGATIVE, _POSITIVE]].max(axis=1)
    best = int(surest.argmax())
    return best if surest[best] >= SURE else None
