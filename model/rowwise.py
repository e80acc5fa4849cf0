"""Linear logits and their softmax, each row on its own.

The one idea: a text's score must not depend on the texts beside it, to the last bit. So sums run over a row's own
numbers, in 64-bit floats and in their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def row_logits(embedded: NDArray[np.float32], weight: Floats, bias: Floats) -> Floats:
    """Return embedded (n, width) times the transpose of weight (k, width) plus bias (k,): logits (n, k).

    Raises ValueError where the widths differ.
    """
    # Multiplied out by hand: a matrix product adds up few rows in another order than many.
    logits: Floats = (embedded.astype(np.float64)[:, None, :] * weight).sum(axis=-1) + bias
    return logits


def row_softmax(logits: Sequence[float]) -> list[float]:
    """Return the probabilities of one row."""
    highest = max(logits)
    parts = [math.exp(logit - highest) for logit in logits]
    whole = math.fsum(parts)
    return [part / whole for part in parts]
