"""Look a second time at a text that is not called bad: is it news of a crisis all the same?

The one idea: what the encoder computes of a text says more than its head reads off it. Of kinds of crisis that its
training texts hardly had (accounts that were made up, a coupon that does not come), the head says "neutral"; a small
network of one hidden layer, which learned such kinds, reads the same embeddings and knows better. It only ever calls a
text bad, and only where it is sure. Every other score stays the same to the bit, and so do the embeddings and the
layers for companies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from foreshock.model.heads import LEVELS
from foreshock.model.labels import LABELS
from foreshock.model.rowwise import Floats, row_logits

SURE = 0.7
"""The probability of bad news from which the second look decides. It was chosen by validation rows (decision 98)."""
_NEGATIVE, _NEUTRAL, _POSITIVE = (LABELS.index(label) for label in ("negative", "neutral", "positive"))


class SecondLook:
    """A network of one hidden layer on what the encoder says of a text.

    Parameters
    ----------
    tensors
        `inner.weight` (hidden, 2 * width), `inner.bias` (hidden,), `outer.weight` (3, hidden), `outer.bias` (3,).
    width
        Of the encoder's embeddings.

    Raises KeyError or ValueError where the tensors are not of these shapes, or not finite.
    """

    def __init__(self, tensors: Mapping[str, NDArray[np.float16]], width: int) -> None:
        hidden = len(tensors["inner.bias"])
        shapes = {
            "inner.weight": (hidden, 2 * width),
            "inner.bias": (hidden,),
            "outer.weight": (LEVELS, hidden),
            "outer.bias": (LEVELS,),
        }
        for name, shape in shapes.items():
            if tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name}: expected {shape} finite numbers, found shape {tensors[name].shape}")
        self._inner, self._outer = (
            (tensors[f"{layer}.weight"].astype(np.float64), tensors[f"{layer}.bias"].astype(np.float64))
            for layer in ("inner", "outer")
        )

    def levels(self, last: NDArray[np.float32], middle: NDArray[np.float32]) -> Floats:
        """Return the probabilities (n, 3) that texts are at least mild, serious, grave bad news.

        last, middle: the embeddings (n, width) of the encoder's last and middle layer.
        """
        found = np.empty((len(last), LEVELS))
        for i in range(len(last)):  # row by row: a row's product with the inner layer takes as much memory as the layer
            row = np.concatenate([last[i : i + 1], middle[i : i + 1]], axis=1)
            inner = np.maximum(row_logits(row, *self._inner), 0)
            found[i] = row_logits(inner, *self._outer)[0]
        # A higher level is never likelier than a lower one.
        return 1 / (1 + np.exp(-np.minimum.accumulate(np.clip(found, -50, 50), axis=1)))

    def look(
        self, last: NDArray[np.float32], middle: NDArray[np.float32], rows: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Replace rows of texts that are bad news all the same; return which ones, (n,).

        rows: probabilities and severity (n, 4), as `Answers.of_texts` gives them. In a row that is replaced, "neutral"
        and "positive" keep their proportion.
        """
        asked = np.flatnonzero(rows[:, : len(LABELS)].argmax(axis=1) != _NEGATIVE)
        levels = self.levels(last[asked], middle[asked])
        found = np.zeros(len(rows), dtype=bool)
        for i, (bad, serious, grave) in zip(asked.tolist(), levels.tolist(), strict=True):
            if bad >= SURE:
                neutral, positive = float(rows[i, _NEUTRAL]), float(rows[i, _POSITIVE])
                rest = (1 - bad) / (neutral + positive)
                rows[i] = bad, rest * neutral, rest * positive, bad + serious + grave
                found[i] = True
        return found
