"""Compute how similar two embeddings are: each row of one array with each row of another.

The one idea: all four similarities depend on directions only and share one scale. So a temperature, a margin or a
target means the same for each: 1 for two rows with the same direction, 0 for two rows at a right angle. Manhattan
distance depends on the axes; there, 0 is the average over random directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# 0.01 radians from the same direction. Beyond this, arccos is so steep that its gradient would swamp all others.
_STEEP = math.cos(0.01)


def cosine(left: Tensor, right: Tensor) -> Tensor:
    """Return the cosine similarity of each row of left (n, d) with each row of right (m, d): (n, m), in -1..1."""
    return functional.normalize(left, dim=-1) @ functional.normalize(right, dim=-1).T


def angular(left: Tensor, right: Tensor) -> Tensor:
    """Return 1 minus the angle in right angles: (n, m), in -1..1. Unlike the cosine, it still separates near copies.

    This is the similarity of Cer et al. 2018, "Universal Sentence Encoder", on this module's scale. It is constant
    within 0.01 radians of the same or the opposite direction.
    """
    return 1 - torch.acos(cosine(left, right).clamp(-_STEEP, _STEEP)) * (2 / math.pi)


def euclidean(left: Tensor, right: Tensor) -> Tensor:
    """Return 1 minus the Euclidean distance of the normalised rows, in units of sqrt(2): (n, m).

    sqrt(2) is the distance at a right angle.
    """
    # Computed from the cosine: the gradient of cdist is nan where two rows are equal.
    squared = (2 - 2 * cosine(left, right)).clamp(min=1e-6)
    return 1 - squared.sqrt() / math.sqrt(2)


def manhattan(left: Tensor, right: Tensor) -> Tensor:
    """Return 1 minus the Manhattan distance of the normalised rows, in units of that of random directions: (n, m).

    The unit is 2 * sqrt(d / pi): d times the mean absolute difference of two normal variables with variance 1 / d.
    """
    unit = 2 * math.sqrt(left.shape[-1] / math.pi)
    distance = torch.cdist(functional.normalize(left, dim=-1), functional.normalize(right, dim=-1), p=1)
    return 1 - distance / unit


Similarity = Callable[[Tensor, Tensor], Tensor]
"""Two arrays (n, d) and (m, d) to similarities (n, m)."""
SIMILARITIES: dict[str, Similarity] = {
    "cosine": cosine,
    "euclidean": euclidean,
    "manhattan": manhattan,
    "angular": angular,
}
