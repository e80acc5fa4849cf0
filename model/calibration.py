"""Calibration: making a score of 0.8 right in eight cases of ten. Fitted on validation data, after training.

The one idea: temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") with a temperature that
depends on how clear the case is (Tomani et al. 2022, "Parameterized Temperature Scaling"). Contrastive training pulls
texts into clusters, so that clear cases all have about the same logits and doubtful ones lie far apart; one temperature
for both leaves the clear ones too unsure and the doubtful ones too sure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from foreshock.model.errors import LabelledDataError

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """softmax(logits * softplus(offset + slope * margin)), where margin is the highest logit less the second.

    No decision changes. With slope 0 it is temperature scaling; the defaults change nothing.
    """

    offset: float = math.log(math.e - 1)
    slope: float = 0.0


def fit_calibration(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64] | None = None
) -> Calibration:
    """The calibration of least negative log-likelihood on logits (n, 3) and labels (n,).

    `sources` (n,): sets of rows that weigh alike, however many rows each has; else all rows do.
    Raises LabelledDataError for less than two classes, on which the likelihood has no maximum.
    """
    check_classes(labels)
    return _fit(logits, labels, np.zeros(len(labels), dtype=np.int64) if sources is None else sources)


def cross_fitted(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Probabilities (n, 3), each row's by a calibration that was fitted on the other four fifths of the rows.

    So what they say of these rows is about what a calibration on all of them says of others. Raises LabelledDataError
    as `fit_calibration` does.
    """
    check_classes(labels)
    n = len(labels)
    fold = np.random.default_rng(n).permutation(n) % FOLDS
    found = np.empty((n, logits.shape[1]), dtype=np.float32)
    for left_out in range(min(FOLDS, n)):
        rows, others = np.flatnonzero(fold == left_out), np.flatnonzero(fold != left_out)
        made = _fit(logits[others], labels[others], sources[others])
        found[rows] = calibrated(torch.from_numpy(logits[rows]), made).numpy()
    return found


def check_classes(labels: NDArray[np.int64]) -> None:
    """Raises LabelledDataError for validation rows (n,) of less than two classes, with which nothing is calibrated."""
    if len(np.unique(labels)) < 2:
        raise LabelledDataError("calibration needs validation rows of at least two classes")


def _fit(logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64]) -> Calibration:
    _, place, rows = np.unique(sources, return_inverse=True, return_counts=True)
    weight = torch.from_numpy(1 / (rows[place] * len(rows)))
    scores = torch.from_numpy(logits.astype(np.float64))
    truth = torch.from_numpy(labels)
    values = torch.tensor([Calibration().offset, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        # A touch of pull towards zero: without it separable data would send both to infinity.
        penalty = 1e-4 * values.square().sum()
        losses = functional.cross_entropy(scores * _scale(scores, values[0], values[1]), truth, reduction="none")
        value = weight @ losses + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(5):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    offset, slope = values.detach().tolist()
    return Calibration(offset, slope)


def calibrated(logits: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Probabilities (n, 3) of logits (n, 3)."""
    return torch.softmax(logits * _scale(logits, calibration.offset, calibration.slope), dim=-1)


def _scale(logits: torch.Tensor, offset: torch.Tensor | float, slope: torch.Tensor | float) -> torch.Tensor:
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return functional.softplus(offset + slope * (first - second))[:, None]
