"""How alike two embeddings are: functions of two arrays, each row of the one with each row of the other.

The one idea: all four look at directions only, and share a scale, so that a temperature, a margin or a target means the
same whichever is chosen: 1 for two rows of one direction, 0 for two at a right angle (for Manhattan distance, which
depends on the axes: on average over random directions).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# Beyond this arccos is so steep that its gradient would drown every other; 0.01 radians from the same direction.
_STEEP = math.cos(0.01)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Cosine similarity of each row of left (n, d) with each row of right (m, d): (n, m), in -1..1."""
    return functional.normalize(left, dim=-1) @ functional.normalize(right, dim=-1).T


def angular(left: Tensor, right: Tensor) -> Tensor:
    """1 less the angle in right angles: (n, m), in -1..1. Unlike the cosine it still tells near copies apart.

    The similarity of Cer et al. 2018, "Universal Sentence Encoder", on this module's scale. Within 0.01 radians of the
    same or the opposite direction it stays put.
    """
    return 1 - torch.acos(cosine(left, right).clamp(-_STEEP, _STEEP)) * (2 / math.pi)


def euclidean(left: Tensor, right: Tensor) -> Tensor:
    """1 less the Euclidean distance of the normalised rows in units of sqrt(2), that of a right angle: (n, m)."""
    # From the cosine rather than by cdist, whose gradient is not a number where two rows are the same.
    squared = (2 - 2 * cosine(left, right)).clamp(min=1e-6)
    return 1 - squared.sqrt() / math.sqrt(2)


def manhattan(left: Tensor, right: Tensor) -> Tensor:
    """1 less the Manhattan distance of the normalised rows, in units of what random directions have: (n, m).

    That unit is 2 * sqrt(d / pi): d times the mean absolute difference of two normal variables of variance 1 / d.
    """
    unit = 2 * math.sqrt(left.shape[-1] / math.pi)
    distance = torch.cdist(functional.normalize(left, dim=-1), functional.normalize(right, dim=-1), p=1)
    return 1 - distance / unit


Similarity = Callable[[Tensor, Tensor], Tensor]
SIMILARITIES: dict[str, Similarity] = {
    "cosine": cosine,
    "euclidean": euclidean,
    "manhattan": manhattan,
    "angular": angular,
}
