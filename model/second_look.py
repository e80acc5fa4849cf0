"""Look a second time at a text that is not called bad: is it news of a crisis all the same?

The one idea: what the encoder computes of a text says more than its head reads off it. Of kinds of crisis that its
training texts hardly had (accounts that were made up, a coupon that does not come), the head says "neutral"; a small
network of one hidden layer, which learned such kinds, reads the same embeddings and knows better. It only ever calls a
text worse, and only where it finds bad news likely. Every other score stays the same to the bit, and so do the
embeddings and the layers for companies.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from foreshock.model.labels import LABELS
from foreshock.model.rowwise import Floats, row_logits

FROM, SURE = 0.65, 0.8
"""From which probability of bad news the second look has a part in the answer, and from which it is the answer. Between
them its part rises evenly, so a small difference in rounding makes a small difference in the answer (decision 98).
Raise storage.FORMAT when they change: the identity holds it, and not these."""
LEVELS = 3
"""As in heads.py, which needs torch."""
_NEGATIVE = LABELS.index("negative")


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
        """Change rows of texts that are probably bad news all the same; return which ones, (n,).

        rows: probabilities and severity (n, 4), as `Answers.of_texts` gives them. A row becomes a mean of what it was
        and of what the network says; in the latter, "neutral" and "positive" keep their proportion.
        """
        asked = np.flatnonzero(rows[:, : len(LABELS)].argmax(axis=1) != _NEGATIVE)
        levels = self.levels(last[asked], middle[asked])
        found = np.zeros(len(rows), dtype=bool)
        for i, (bad, serious, grave) in zip(asked.tolist(), levels.tolist(), strict=True):
            if bad > FROM:
                part = min(1.0, (bad - FROM) / (SURE - FROM))
                negative, neutral, positive, severity = rows[i].tolist()
                rest = (1 - bad) / (neutral + positive)
                said = bad, rest * neutral, rest * positive, bad + serious + grave
                rows[i] = [
                    (1 - part) * old + part * new
                    for old, new in zip((negative, neutral, positive, severity), said, strict=True)
                ]
                found[i] = True
        return found
