"""Losses of the training stages.

The one idea: a similarity is a function of two arrays (similarity.py), a loss a function of a similarity matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def supervised_contrastive(similarity: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss, L_out of Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2.

    similarity (n, n), its diagonal (a row with itself) ignored; labels (n,). The mean is over the rows that have
    another of their label in the batch; 0 where none has.
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
    """Mean cross-entropy of logits (n, k) and labels (n,), with label smoothing (Szegedy et al. 2016)."""
    return functional.cross_entropy(logits, labels, label_smoothing=smoothing)


def infonce(similarity: Tensor, temperature: Tensor | float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4).

    similarity (n, m), m >= n, of n anchors with m candidates: an anchor's positive stands in the column of its own
    number, all others are its negatives; columns from n on are hard negatives, of whichever anchor.
    """
    return functional.cross_entropy(similarity / temperature, _own(similarity))


def triplet(similarity: Tensor, margin: float) -> Tensor:
    """Triplet loss with the hardest negative of the batch (Hermans et al. 2017, "In Defense of the Triplet Loss").

    similarity as for `infonce`; 0 for an anchor whose positive is more alike than any negative by at least `margin`.
    """
    positive = similarity.gather(1, _own(similarity)[:, None]).squeeze(1)
    itself = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, _own(similarity)[:, None], True)
    hardest = similarity.masked_fill(itself, float("-inf")).amax(dim=1)
    return functional.relu(margin - positive + hardest).mean()


def mse(similarity: Tensor, hard_of: Tensor) -> Tensor:
    """Mean squared error against what similarities ought to be: 1 for the positive, 0 for all others.

    similarity (n, n + h) as for `infonce`; hard_of (h,) says which anchor each hard negative was made of. Positives,
    the others' positives and an anchor's own hard negatives weigh the same, however many each are: an anchor has one
    hard negative or four among a batch of others (pairs as in Reimers & Gurevych 2019, "Sentence-BERT").
    """
    n = len(similarity)
    own = torch.eye(n, dtype=torch.bool, device=similarity.device)
    parts = [(1 - similarity[:, :n][own]).square(), similarity[:, :n][~own].square()]
    if len(hard_of):
        parts.append(similarity[hard_of, torch.arange(n, n + len(hard_of), device=similarity.device)].square())
    return torch.stack([part.mean() for part in parts if part.numel()]).mean()


def _own(similarity: Tensor) -> Tensor:
    return torch.arange(len(similarity), device=similarity.device)
