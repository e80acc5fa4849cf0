"""Calibration: making a score of 0.8 right in eight cases of ten. Fitted on validation data, after training.

The one idea: how far logits are to be trusted depends on the text. Contrastive training pulls texts into clusters, so
that clear cases all have about the same logits and doubtful ones lie far apart; and sources draw the line between
neutral and the rest at different places. So the scale of the logits depends on how clear the case is (Tomani et al.
2022, "Parameterized Temperature Scaling"), and it and a shift (vector scaling; Guo et al. 2017, "On Calibration of
Modern Neural Networks") on which source the text reads like, guessed from its embedding: nobody has to say it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foreshock.model.errors import LabelledDataError
from foreshock.model.labelled import LABELS
from foreshock.model.probing import fit_head

_ONE = math.log(math.e - 1)  # softplus of it is 1
PRIOR = 0.48
"""Standard deviation of each number's Gaussian prior, around those of a plain softmax."""
FOLDS, REPEATS = 5, 4


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """softmax(logits * softplus((1, margin, guess) @ scale) + guess @ shift).

    margin is a text's highest logit less the second, guess (k,) how much it reads like each of k sources:
    softmax(unit embedding @ weight.T + bias). With embeddings of d: scale (2 + k,), shift (k, 3), weight (k, d),
    bias (k,). k may be 0; then no decision changes.
    """

    scale: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def none(cls, width: int) -> Calibration:
        """The calibration that changes nothing, for embeddings of `width`."""
        return cls(torch.tensor([_ONE, 0.0]), torch.zeros(0, len(LABELS)), torch.zeros(0, width), torch.zeros(0))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Calibration:
        """What `tensors` gave. Raises KeyError (one is missing) and ValueError (they do not fit together)."""
        found = cls(*(tensors[name].float() for name in ("scale", "shift", "weight", "bias")))
        k, width = found.bias.numel(), found.width
        shapes = (2 + k,), (k, len(LABELS)), (k, width), (k,)
        if tuple(tuple(tensor.shape) for tensor in found.tensors.values()) != shapes:
            raise ValueError("its tensors do not fit together")
        if not all(bool(tensor.isfinite().all()) for tensor in found.tensors.values()):
            raise ValueError("not all its numbers are finite")
        return found

    @property
    def width(self) -> int:
        """Of the embeddings that it is for."""
        return self.weight.shape[1] if self.weight.ndim == 2 else 0

    @property
    def sources(self) -> tuple[Tensor, Tensor]:
        """What `fit_sources` gave."""
        return self.weight, self.bias

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By name, to be stored."""
        return {"scale": self.scale, "shift": self.shift, "weight": self.weight, "bias": self.bias}

    def to(self, device: torch.device) -> Calibration:
        """The same on a device."""
        return Calibration(*(tensor.to(device) for tensor in self.tensors.values()))


def calibrated(logits: Tensor, embedded: Tensor, calibration: Calibration) -> Tensor:
    """Probabilities (n, 3) of logits (n, 3) and the embeddings (n, d) that they were made of."""
    x, guess = _features(logits, embedded, calibration.weight, calibration.bias)
    trust = functional.softplus((x * calibration.scale).sum(dim=-1))
    return torch.softmax(logits * trust[:, None] + (guess[:, :, None] * calibration.shift).sum(dim=1), dim=-1)


def fit_sources(embedded: Tensor, sources: NDArray[np.int64], count: int) -> tuple[Tensor, Tensor]:
    """Weight (k, d) and bias (k,) by which embeddings (n, d) guess their sources (n,), of which there are `count`.

    Of less than two sources nothing can be guessed: k is 0.
    """
    if count < 2:
        return Calibration.none(embedded.shape[1]).sources
    return fit_head(embedded, torch.from_numpy(sources), count)


def fit_calibration(
    logits: Tensor, embedded: Tensor, labels: NDArray[np.int64], sources: tuple[Tensor, Tensor]
) -> Calibration:
    """The likeliest calibration, given logits (n, 3), embeddings (n, d) and labels (n,).

    `sources`: weight and bias of `fit_sources`. Raises LabelledDataError for less than two classes, of which nothing
    can be learned.
    """
    _check(labels)
    return _fit(logits, embedded, labels, sources)


def cross_fitted(
    logits: Tensor, embedded: Tensor, labels: NDArray[np.int64], sources: tuple[Tensor, Tensor]
) -> NDArray[np.float32]:
    """Probabilities (n, 3), each row's by calibrations that were fitted on other rows only.

    So what they say of these rows is about what a calibration on all of them says of others. Of each row the mean of
    `REPEATS` such calibrations, each on four fifths. Raises LabelledDataError as `fit_calibration` does.
    """
    _check(labels)
    n = len(labels)
    total = np.zeros((n, len(LABELS)), dtype=np.float32)
    for repeat in range(REPEATS):
        fold = np.random.default_rng([n, repeat]).permutation(n) % FOLDS
        for left_out in range(min(FOLDS, n)):
            rows, others = np.flatnonzero(fold == left_out), np.flatnonzero(fold != left_out)
            made = _fit(logits[others], embedded[others], labels[others], sources)
            total[rows] += calibrated(logits[rows], embedded[rows], made).numpy()
    total /= REPEATS
    return total


def _check(labels: NDArray[np.int64]) -> None:
    if len(np.unique(labels)) < 2:
        raise LabelledDataError("calibration needs rows of at least two classes")


def _fit(logits: Tensor, embedded: Tensor, labels: NDArray[np.int64], sources: tuple[Tensor, Tensor]) -> Calibration:
    scores, truth = logits.double(), torch.from_numpy(labels)
    x, guess = (found.double() for found in _features(logits, embedded, *sources))
    plain = torch.zeros(x.shape[1], dtype=torch.float64)
    plain[0] = _ONE
    scale = plain.clone().requires_grad_()
    shift = torch.zeros(guess.shape[1], len(LABELS), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([scale, shift], max_iter=1_000, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        adjusted = scores * functional.softplus(x @ scale)[:, None] + guess @ shift
        prior = ((scale - plain).square().sum() + shift.square().sum()) / (2 * PRIOR**2)
        value = (functional.cross_entropy(adjusted, truth, reduction="sum") + prior) / len(truth)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return Calibration(scale.detach().float(), shift.detach().float(), *sources)


def _features(logits: Tensor, embedded: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """(1, margin, guess), (n, 2 + k), and guess alone, (n, k)."""
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    unit = functional.normalize(embedded, dim=-1)
    # Multiplied out, as in `Encoder.classify`: the shape of a matrix product would decide how it is rounded.
    guess = torch.softmax((unit[:, None, :] * weight).sum(dim=-1) + bias, dim=-1)
    return torch.cat([torch.ones_like(first)[:, None], (first - second)[:, None], guess], dim=-1), guess
