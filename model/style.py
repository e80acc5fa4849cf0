"""Guess from a text's embedding which labelled set it resembles: a release, a headline, a trader's post.

The one idea: linear discriminant analysis (Fisher 1936) over the embeddings of training texts. The guess is soft and
serves only to say how sure a score may be; it changes no decision. Every row is computed on its own (rowwise.py).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock.model.rowwise import row_logits, row_softmax

SHRINKAGE = 0.1
"""How much of the covariance's mean diagonal is added to it: 384 widths, a few hundred texts in the smallest set."""


@dataclass(frozen=True, slots=True)
class Style:
    """The linear guess: logits of the sets are `weight` (sets, width) times the embedding plus `bias` (sets,).

    weight: base64 of float16, little-endian, row by row, so that a model's card stays short.
    """

    weight: str
    bias: tuple[float, ...]

    def shares(self, embedded: NDArray[np.float32]) -> NDArray[np.float64]:
        """How much each text resembles each set, (n, sets), rows that sum to 1, of embeddings (n, width).

        Raises ValueError where the weights are not of that width.
        """
        flat = np.frombuffer(base64.b64decode(self.weight), dtype="<f2").astype(np.float64)
        weight = flat.reshape(len(self.bias), embedded.shape[1])
        logits = row_logits(embedded, weight, np.array(self.bias))
        return np.array([row_softmax(row) for row in logits.tolist()], dtype=np.float64).reshape(-1, len(self.bias))


def fit_style(embedded: Sequence[NDArray[np.float32]]) -> Style:
    """Fit the guess on the embeddings (n, width) of texts of each set. Sets count alike."""
    means = np.array([of.mean(axis=0, dtype=np.float64) for of in embedded])
    spread = np.mean([np.cov(of.T.astype(np.float64)) for of in embedded], axis=0)
    width = spread.shape[0]
    spread += SHRINKAGE * np.trace(spread) / width * np.eye(width)
    weight = np.linalg.solve(spread, means.T).T.astype("<f2")
    bias = -0.5 * (means * weight.astype(np.float64)).sum(axis=1)
    return Style(base64.b64encode(weight.tobytes()).decode(), tuple(np.round(bias, 4).tolist()))
