"""Calibration: making a score of 0.8 right in eight cases of ten. Fitted on validation data, after training.

Temperature and vector scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"):
logits / temperature + a bias for each class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError


@dataclass(frozen=True, slots=True)
class Calibration:
    """softmax(logits / temperature + bias). The defaults change nothing."""

    temperature: float = 1.0
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)


def fit_calibration(logits: NDArray[np.float32], labels: NDArray[np.int64], *, biases: bool = False) -> Calibration:
    """The calibration of least negative log-likelihood on logits (n, 3) and labels (n,).

    Parameters
    ----------
    biases
        Fit a bias for each class too. Off by default: it moves decisions, not only confidence, so it fits the mix of
        classes of the data at hand.

    Raises LabelledDataError for no rows or only one class, on which the likelihood has no maximum.
    """
    if len(np.unique(labels)) < 2:
        raise LabelledDataError("calibration needs rows of at least two classes")
    scores = torch.from_numpy(logits.astype(np.float64))
    truth = torch.from_numpy(labels)
    log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [log_temperature, bias] if biases else [log_temperature], line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        # A touch of pull towards zero: without it separable data would send the temperature to 0.
        penalty = 1e-4 * (log_temperature.square() + bias.square().sum())
        value = torch.nn.functional.cross_entropy(scores / log_temperature.exp() + bias, truth) + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(20):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    first, second, third = bias.detach().tolist()
    return Calibration(float(log_temperature.detach().exp()), (first, second, third))


def calibrated(logits: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Probabilities (n, 3) of logits (n, 3)."""
    bias = torch.tensor(calibration.bias, dtype=logits.dtype, device=logits.device)
    return torch.softmax(logits / calibration.temperature + bias, dim=-1)
