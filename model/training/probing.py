"""What embeddings are like before any label is seen: alignment, uniformity, and whether a flipped text can be told.

The one idea: pretraining is judged by what a *linear* head can read off frozen embeddings.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def alignment(left: Tensor, right: Tensor) -> float:
    """Mean squared distance of the normalised rows of left (n, d) and right (n, d), views of one text each; 0 is best.

    Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and Uniformity".
    """
    return float((_unit(left) - _unit(right)).square().sum(dim=1).mean())


def uniformity(embedded: Tensor) -> float:
    """log of the mean of exp(-2 * squared distance) over the pairs of rows (n, d), normalised; the lower, the more of
    the sphere is used. Same source. Takes the first 2,000 rows.
    """
    squared = torch.pdist(_unit(embedded[:2_000])).square()
    return float(squared.mul(-2).exp().mean().log())


def flip_probe(better: Tensor, worse: Tensor, group: Tensor) -> float:
    """Share of flipped pairs, better (n, d) and worse (n, d), that a linear head tells apart: gives the better a higher
    score. The head is fitted on the pairs of the other groups (n,), of two, so that it is asked about words it was not
    shown; 0.5 is chance. Nan where a group is empty.
    """
    told = 0
    for held_out in (0, 1):
        asked = group == held_out
        if bool(asked.all()) or not bool(asked.any()):
            return float("nan")
        shown = torch.cat([better[~asked], worse[~asked]])
        labels = torch.arange(2).repeat_interleave(int((~asked).sum()))
        weight, _ = fit_head(shown, labels, classes=2)
        direction = weight[0] - weight[1]
        told += int(((_unit(better[asked]) - _unit(worse[asked])) @ direction > 0).sum())
    return told / len(better)


def fit_head(embedded: Tensor, labels: Tensor, classes: int, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logistic regression on the normalised rows (n, d): weight (classes, d) and bias (classes,).

    Least of the summed cross-entropy plus penalty / 2 times the squared weights, as scikit-learn's C = 1 / penalty.
    """
    rows = _unit(embedded).double()
    weight = torch.zeros(classes, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        fit = functional.cross_entropy(rows @ weight.T + bias, labels, reduction="sum")
        value = fit + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach().float(), bias.detach().float()


def head_logits(embedded: Tensor, head: tuple[Tensor, Tensor]) -> Tensor:
    """Logits (n, classes) of rows (n, d) by a head of `fit_head`."""
    weight, bias = head
    return _unit(embedded) @ weight.T + bias


def _unit(rows: Tensor) -> Tensor:
    return functional.normalize(rows.float(), dim=-1)
