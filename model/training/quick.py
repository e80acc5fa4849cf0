"""A forward pass for training that is several times as fast on a processor as the one that scores.

The one idea: scores must not depend on their neighbours, bit for bit, and training need not. So a batch is padded,
products run in bfloat16 (autocast; processors with AMX multiply it many times as fast as float32), and attention is
written out as two batched products: for texts of 20 tokens this takes a third of the time of the fused kernel. Dropout
is on the embeddings and once a layer: drawing the masks of all places costs as much as a fifth of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder, Layer

BUCKETS = 32


class Wide(Encoder):
    """An encoder whose attention also has a learned bias by distance, as all-mpnet-base-v2 has: the teacher's."""

    def __init__(self, architecture: Architecture, dropout: float = 0.1) -> None:
        super().__init__(architecture, dropout)
        self.distances = nn.Embedding(BUCKETS, architecture.heads)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids (texts, longest) int64, filled up with 0, and which of them are tokens (bool)."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *([0] * (longest - len(row)))] for row in rows])
    there = torch.arange(longest)[None, :] < torch.tensor([len(row) for row in rows])[:, None]
    return ids, there


def hidden(encoder: Encoder, ids: Tensor, there: Tensor) -> Tensor:
    """The last layer's output (texts, longest, width) in float32; what is no token holds numbers without meaning."""
    texts, longest = ids.shape
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = encoder.norm(encoder.words(ids) + encoder.positions(torch.arange(longest))).to(torch.bfloat16)
        states = functional.dropout(states, encoder.dropout, encoder.training)
        # Added to the products of queries and keys: minus infinity for what is no token.
        mask = torch.zeros(texts, 1, 1, longest).masked_fill_(~there[:, None, None, :], -1e9).to(torch.bfloat16)
        if isinstance(encoder, Wide):
            mask = mask + _by_distance(encoder, longest).to(torch.bfloat16)
        layers = cast(Iterable[Layer], encoder.layers)
        for layer in layers:
            joined = layer.query_key_value(states).view(texts, longest, 3, layer.heads, -1)
            query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)
            scores = torch.matmul(query * (1 / math.sqrt(query.shape[-1])), key.transpose(-1, -2)) + mask
            seen = torch.matmul(torch.softmax(scores, dim=-1, dtype=torch.bfloat16), value)
            seen = seen.transpose(1, 2).reshape(texts, longest, -1)
            states = layer.attention_norm(states + layer.attention_out(seen))
            moved = layer.outer(functional.gelu(layer.inner(states)))
            states = layer.outer_norm(states + functional.dropout(moved, encoder.dropout, encoder.training))
    last: Tensor = states.float()
    return last


def pooled(states: Tensor, there: Tensor) -> Tensor:
    """The mean over each text's tokens: (texts, width)."""
    shares = there.float() / there.sum(dim=1, keepdim=True)
    return (states * shares[:, :, None]).sum(dim=1)


def _by_distance(encoder: Wide, longest: int) -> Tensor:
    """The bias (1, heads, longest, longest) by distance (Raffel et al. 2020, T5, section 2.1): near ones exactly."""
    places = torch.arange(longest)
    distance = places[:, None] - places[None, :]
    half, exact = BUCKETS // 2, BUCKETS // 4
    away = distance.abs()
    far = exact + (torch.log(away.clamp(min=1) / exact) / math.log(128 / exact) * (half - exact)).long()
    bucket = (distance < 0) * half + torch.where(away < exact, away, far.clamp(max=half - 1))
    bias: Tensor = encoder.distances(bucket).permute(2, 0, 1)[None]
    return bias
