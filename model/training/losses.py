"""Compute the losses of the training stages.

The one idea: a similarity is a function of two arrays (similarity.py); a loss is a function of a similarity matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def supervised_contrastive(similarity: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrastive loss: L_out of Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2.

    similarity (n, n): of each row with each row; the diagonal is ignored. labels (n,). The loss is a mean over the
    rows for which another row of the batch has the same label; 0 where there are none.
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    scores = (similarity / temperature).masked_fill(itself, float("-inf"))
    log_share = scores - torch.logsumexp(scores, dim=1, keepdim=True)
    alike = (labels[:, None] == labels[None, :]) & ~itself
    count = alike.sum(dim=1)
    loss = -log_share.masked_fill(~alike, 0.0).sum(dim=1) / count.clamp(min=1)
    anchors = count > 0
    return loss[anchors].mean() if bool(anchors.any()) else similarity.sum() * 0.0


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of logits (n, k) with label smoothing (Szegedy et al. 2016).

    `labels` are classes (n,) or distributions over the classes (n, k).
    """
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def infonce(similarity: Tensor, temperature: Tensor | float) -> Tensor:
    """Return InfoNCE (van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4).

    similarity (n, m), m >= n: of n anchors with m candidates. The positive of anchor i is in column i; all other
    columns are its negatives. The columns from n on are hard negatives of any anchor.
    """
    return functional.cross_entropy(similarity / temperature, _own(similarity))


def triplet(similarity: Tensor, margin: float) -> Tensor:
    """Return the triplet loss with the hardest negative of the batch (Hermans et al. 2017, "In Defense of the Triplet
    Loss").

    similarity: as for `infonce`. An anchor adds 0 where its positive is more similar than each negative by at least
    `margin`.
    """
    positive = similarity.gather(1, _own(similarity)[:, None]).squeeze(1)
    itself = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, _own(similarity)[:, None], True)
    hardest = similarity.masked_fill(itself, float("-inf")).amax(dim=1)
    return functional.relu(margin - positive + hardest).mean()


def mse(similarity: Tensor, hard_of: Tensor) -> Tensor:
    """Return the mean squared error of the similarities; the target is 1 for the positive and 0 for all others.

    similarity (n, n + h): as for `infonce`. hard_of (h,): the anchor that each hard negative was made of. Three groups
    get the same weight, whatever their sizes: positives, positives of other anchors, and an anchor's own hard
    negatives, which are few among many (pairs as in Reimers & Gurevych 2019, "Sentence-BERT").
    """
    n = len(similarity)
    own = torch.eye(n, dtype=torch.bool, device=similarity.device)
    parts = [(1 - similarity[:, :n][own]).square(), similarity[:, :n][~own].square()]
    if len(hard_of):
        parts.append(similarity[hard_of, torch.arange(n, n + len(hard_of), device=similarity.device)].square())
    return torch.stack([part.mean() for part in parts if part.numel()]).mean()


def _own(similarity: Tensor) -> Tensor:
    """Return the column of each anchor's positive: (n,)."""
    return torch.arange(len(similarity), device=similarity.device)
