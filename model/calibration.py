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


@dataclass(frozen=True, slots=True)
class Calibration:
    """softmax(logits * softplus(offset + slope * margin)), where margin is the highest logit less the second.

    No decision changes. With slope 0 it is temperature scaling; the defaults change nothing.
    """

    offset: float = math.log(math.e - 1)
    slope: float = 0.0


def fit_calibration(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """The calibration of least negative log-likelihood on logits (n, 3) and labels (n,).

    Raises LabelledDataError for less than two classes, on which the likelihood has no maximum.
    """
    if len(np.unique(labels)) < 2:
        raise LabelledDataError("calibration needs rows of at least two classes")
    scores = torch.from_numpy(logits.astype(np.float64))
    truth = torch.from_numpy(labels)
    values = torch.tensor([Calibration().offset, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        # A touch of pull towards zero: without it separable data would send both to infinity.
        penalty = 1e-4 * values.square().sum()
        value = functional.cross_entropy(scores * _scale(scores, values[0], values[1]), truth) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(5):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    offset, slope = values.detach().tolist()
    return Calibration(offset, slope)


def calibrated(logits: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Probabilities (n, 3) of logits (n, 3)."""
    offset, slope = (logits.new_tensor(value) for value in (calibration.offset, calibration.slope))
    return torch.softmax(logits * _scale(logits, offset, slope), dim=-1)


def _scale(logits: torch.Tensor, offset: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return functional.softplus(offset + slope * (first - second))[:, None]
