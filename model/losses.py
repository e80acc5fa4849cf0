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
