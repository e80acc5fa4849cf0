"""The encoder: BERT with mean pooling and a linear head of three classes, in plain torch.

The one idea: we control each step of the forward pass. The network is the same as `transformers.BertModel` (a test
compares them). It is written out for two reasons: each command that scores would wait seconds for the import of
transformers, and this encoder reads texts laid end to end, where transformers pads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.labels import LABELS


@dataclass(frozen=True, slots=True)
class Packed:
    """Texts laid end to end without padding: the encoder's input.

    Parameters
    ----------
    ids
        (tokens,) int64: the tokens of all texts. Tokens after the last run are filler; no text attends to them.
    places
        (tokens,) int64: the place of each token in its text.
    lengths
        (texts,) int64: how many tokens each text has.
    runs
        (rows, length) for each run of neighbouring texts of one length, in order. It repeats `lengths`, but always on
        the host, so that a forward pass never waits for a GPU.
    """

    ids: Tensor
    places: Tensor
    lengths: Tensor
    runs: tuple[tuple[int, int], ...]


def pack(rows: Sequence[Sequence[int]], total: int | None = None) -> Packed:
    """Lay token rows end to end and fill up to `total` tokens. Sort the rows by length first: long runs are fast."""
    ids = [token for row in rows for token in row]
    places = [place for row in rows for place in range(len(row))]
    filler = [0] * (0 if total is None else total - len(ids))
    lengths = [len(row) for row in rows]
    runs = tuple((len(list(run)), length) for length, run in groupby(lengths))
    return Packed(torch.tensor(ids + filler), torch.tensor(places + filler), torch.tensor(lengths), runs)


class Encoder(nn.Module):
    """Turn token ids into a pooled embedding and into logits.

    Texts are laid end to end. Products with weights run over all tokens at once; attention runs over all texts of one
    length together. So no time goes to padding, and a text's result does not depend on the length of its neighbours.
    An embedding is the mean over a text's tokens, as in the pretraining of all-MiniLM-L6-v2.

    Parameters
    ----------
    architecture
        The sizes of the network.
    dropout
        The probability of dropout. It applies in training mode only.
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.1) -> None:
        super().__init__()
        self.architecture = architecture
        width = architecture.width
        self.words = nn.Embedding(architecture.vocabulary, width)
        self.positions = nn.Embedding(architecture.positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(Layer(architecture, dropout) for _ in range(architecture.layers))
        self.head = nn.Linear(width, len(LABELS))
        self.dropout = dropout

    def embed(self, packed: Packed) -> Tensor:
        """Return embeddings (texts, width) in the order of the texts."""
        return self.pool(self.hidden(packed), packed)

    def hidden(self, packed: Packed) -> Tensor:
        """Return the last layer's output for each token, filler included: (tokens, width)."""
        return self.last_and_middle(packed)[0]

    def last_and_middle(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Return the outputs of the last and of the middle layer for each token, filler included: (tokens, width)."""
        hidden: Tensor = self.norm(self.words(packed.ids) + self.positions(packed.places))
        hidden = functional.dropout(hidden, self.dropout, self.training)
        middle = hidden
        for number, layer in enumerate(self.layers, 1):
            hidden = layer(hidden, packed.runs)
            if number == len(self.layers) // 2:
                middle = hidden
        return hidden, middle

    def pool(self, hidden: Tensor, packed: Packed) -> Tensor:
        """Return the mean over each text's tokens in float32: (texts, width)."""
        texts = hidden[: sum(rows * length for rows, length in packed.runs)].float()
        # This adds up each text's tokens in their order, whatever its neighbours are; a matrix product would not.
        # unsafe=True: torch does not read the lengths back from the device to check them.
        return torch.segment_reduce(texts, "mean", lengths=packed.lengths, axis=0, unsafe=True)

    def classify(self, embedded: Tensor) -> Tensor:
        """Return logits (texts, 3) of embeddings (texts, width), in the order of LABELS."""
        # Multiplied out by hand: a matrix product adds up few rows in another order than many rows.
        return (embedded[:, None, :] * self.head.weight).sum(dim=-1) + self.head.bias

    def forward(self, packed: Packed) -> Tensor:
        """Return logits (texts, 3) in the order of the texts."""
        return self.classify(self.embed(packed))


class Layer(nn.Module):
    """One transformer block with a normalisation after each half, as in BERT."""

    def __init__(self, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        width = architecture.width
        self.heads = architecture.heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.inner = nn.Linear(width, architecture.inner)
        self.outer = nn.Linear(architecture.inner, width)
        self.outer_norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = dropout

    def forward(self, hidden: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        """Return the block's output (tokens, width) for `hidden` (tokens, width)."""
        return self.after_attention(hidden, self._attend(self.query_key_value(hidden), runs))

    def after_attention(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """Return the block's output (tokens, width) of its input and of what each token has seen, (tokens, width).

        It works token by token. So its shapes are those of the pass, whatever texts are in it, and it can be compiled.
        """
        seen = functional.dropout(self.attention_out(seen), self.dropout, self.training)
        hidden = self.attention_norm(hidden + seen)
        moved = functional.dropout(self.outer(functional.gelu(self.inner(hidden))), self.dropout, self.training)
        normed: Tensor = self.outer_norm(hidden + moved)
        return normed

    def _attend(self, joined: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        tokens, width = joined.shape[0], joined.shape[1] // 3
        dropout = self.dropout if self.training else 0.0
        sizes = [rows * length for rows, length in runs]
        filler = tokens - sum(sizes)
        seen = []
        # One split for all runs: with one slice for each run, the backward pass would add up a full gradient each.
        for part, (rows, length) in zip(torch.split(joined, [*sizes, filler]), runs, strict=False):
            heads = part.view(rows, length, 3, self.heads, width // self.heads)
            query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
            out = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            seen.append(out.transpose(1, 2).reshape(rows * length, width))
        seen.append(joined.new_zeros(filler, width))
        return torch.cat(seen)
