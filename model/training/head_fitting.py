"""Fit a change of the head to labelled rows: convex, so that the same rows give the same change.

The one idea: a change costs what it does to texts that nobody labelled. The logits of a row are those of the shipped
head plus the change times the row's embedding, times the temperature that the row has already. The loss of the labels
(multinomial logistic regression) is weighed against how much the change moves the logits of ordinary texts: the mean of
the squared moves over the anchors. So the prior's centre is the shipped head, rows teach where their texts lie, and
where rows and anchors lie together a rule needs many rows to move.

Invariants, which tests/test_model_adapting.py checks: no rows, or rows whose labels are as likely as the head says,
give a change of zero; the order of the rows changes no bit; a stronger pull never gives a larger change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from foreshock.model.labels import LABELS

Floats = NDArray[np.float64]
RIDGE = 0.01
"""How much of the anchors' mean square is added to each direction: some directions the anchors hardly have."""
_TURNS, _CLOSE = 400, 1e-7


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to learn from: embedded (n, width), whitened (n, width + 1), the base's logits (n, 3) and scales (n,),
    labels (n,).
    """

    embedded: NDArray[np.float32]
    whitened: Floats
    logits: Floats
    scales: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, places: NDArray[np.int64]) -> Rows:
        """Return some of the rows."""
        return Rows(
            self.embedded[places],
            self.whitened[places],
            self.logits[places],
            self.scales[places],
            self.labels[places],
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to a head: weight (3, width) and bias (3,)."""

    weight: Floats
    bias: Floats


class Whitening:
    """The measure of a change: the mean square of what it adds to the logits of the anchors, whose embeddings are
    (n, width).
    """

    def __init__(self, anchors: NDArray[np.float32]) -> None:
        rows = _with_one(anchors)
        second = rows.T @ rows / len(rows)
        second += RIDGE * np.trace(second) / len(second) * np.eye(len(second))
        self._factor = np.linalg.cholesky(second)

    def rows(self, embedded: NDArray[np.float32]) -> Floats:
        """Return embeddings (n, width) so that the square of a change of whitened rows is its measure."""
        found: Floats = np.linalg.solve(self._factor, _with_one(embedded).T).T
        return found

    def back(self, whitened: Floats) -> Change:
        """Return the change of the head that is `whitened` (3, width + 1) on whitened rows."""
        found = np.linalg.solve(self._factor.T, whitened.T).T
        return Change(found[:, :-1], found[:, -1])


def fit(rows: Rows, strengths: Sequence[float]) -> list[Floats]:
    """Return the change on whitened rows (3, width + 1) at each strength of the pull, given from strong to weak.

    A label that no row has stays where it is: the rows say nothing about it. So only the odds of the others move.
    """
    width = rows.whitened.shape[1]
    have = np.unique(rows.labels)
    if len(have) < 2:
        return [np.zeros((len(LABELS), width)) for _ in strengths]
    order = np.lexsort((rows.labels, *rows.embedded.T[::-1]))  # sums of floats depend on their order
    rows = rows.part(order)
    there = torch.from_numpy(have)
    inputs = torch.from_numpy(rows.whitened)
    base = torch.from_numpy(rows.logits)[:, there]
    scales = torch.from_numpy(rows.scales)[:, None]
    truth = torch.searchsorted(there, torch.from_numpy(rows.labels))
    found = []
    change = torch.zeros(len(have), width, dtype=torch.float64)
    with _one_thread():
        for strength in strengths:
            change = _minimise(inputs, base, scales, truth, strength, change)
            whole = np.zeros((len(LABELS), width))
            whole[have] = change.numpy()
            found.append(whole)
    return found


def _minimise(
    inputs: torch.Tensor,
    base: torch.Tensor,
    scales: torch.Tensor,
    truth: torch.Tensor,
    strength: float,
    start: torch.Tensor,
) -> torch.Tensor:
    change = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [change],
        max_iter=_TURNS,
        max_eval=2 * _TURNS,
        history_size=20,
        tolerance_grad=_CLOSE * len(truth),
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = (base + inputs @ change.T) * scales
        value = torch.nn.functional.cross_entropy(logits, truth, reduction="sum")
        value = value + 0.5 * strength * change.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return change.detach()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: a sum that threads share is added up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _with_one(embedded: NDArray[np.float32]) -> Floats:
    return np.column_stack([embedded.astype(np.float64), np.ones(len(embedded))])
