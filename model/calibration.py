"""Calibrate probabilities after training, on validation rows, so that a score of 0.8 is right in eight cases of ten.

The one idea: temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") with a temperature that
depends on how clear the case is (Tomani et al. 2022, "Parameterized Temperature Scaling"). Contrastive training pulls
texts into clusters: clear cases get almost equal logits, and doubtful cases lie far apart. One temperature for both
would leave the clear cases underconfident and the doubtful cases overconfident.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError

if TYPE_CHECKING:
    import torch

FOLDS = 5
"""Folds of `cross_fitted`."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two parameters of softmax(logits * softplus(offset + slope * margin)).

    `margin` is the highest logit minus the second highest. The predicted class never changes. With `slope` 0 this is
    plain temperature scaling; the defaults leave the softmax unchanged.
    """

    offset: float = math.log(math.e - 1)
    slope: float = 0.0


def fit_calibration(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64] | None = None
) -> Calibration:
    """Fit the calibration with the lowest negative log-likelihood on logits (n, 3) and labels (n,).

    `sources` (n,): the set of each row. Each set gets the same weight, however many rows it has. Default: each row
    gets the same weight. Raises LabelledDataError for fewer than two classes: the likelihood has no maximum there.
    """
    check_classes(labels)
    return _fit(logits, labels, np.zeros(len(labels), dtype=np.int64) if sources is None else sources)


def cross_fitted(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return probabilities (n, 3), each row calibrated by a fit on the other four fifths of the rows.

    Metrics of these probabilities estimate how a calibration on all rows does on unseen rows. The arguments are those
    of `fit_calibration`. Raises LabelledDataError as `fit_calibration` does.
    """
    check_classes(labels)
    import torch

    n = len(labels)
    fold = np.random.default_rng(n).permutation(n) % FOLDS
    found = np.empty((n, logits.shape[1]), dtype=np.float32)
    for left_out in range(min(FOLDS, n)):
        rows, others = np.flatnonzero(fold == left_out), np.flatnonzero(fold != left_out)
        made = _fit(logits[others], labels[others], sources[others])
        found[rows] = calibrated(torch.from_numpy(logits[rows]), made).numpy()
    return found


def check_classes(labels: NDArray[np.int64]) -> None:
    """Check that validation labels (n,) have two classes or more. Raises LabelledDataError where they do not."""
    if len(np.unique(labels)) < 2:
        raise LabelledDataError(
            f"calibration needs validation rows of at least two classes; these {len(labels)} rows have fewer: "
            "add a set with rows of other classes"
        )


def _fit(logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64]) -> Calibration:
    import torch
    from torch.nn import functional

    _, place, rows = np.unique(sources, return_inverse=True, return_counts=True)
    weight = torch.from_numpy(1 / (rows[place] * len(rows)))
    scores = torch.from_numpy(logits.astype(np.float64))
    truth = torch.from_numpy(labels)
    values = torch.tensor([Calibration().offset, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        # A weak pull towards zero: without it, separable data would send both parameters to infinity.
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
    """Return the calibrated probabilities (n, 3) of logits (n, 3)."""
    import torch

    return torch.softmax(logits * _scale(logits, calibration.offset, calibration.slope), dim=-1)


def _scale(logits: torch.Tensor, offset: torch.Tensor | float, slope: torch.Tensor | float) -> torch.Tensor:
    from torch.nn import functional

    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return functional.softplus(offset + slope * (first - second))[:, None]
