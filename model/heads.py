"""Two more heads on the encoder: how grave bad news is, and what a text says of one company in it.

The one idea: both read what the encoder computes anyway. Severity is three questions of a text's embedding (is it at
least mild, serious, grave?), whose probabilities add up to an expected value from 0 to 3. The sentiment towards a
company is read off the marks before its name (entities.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Packed
from foreshock.model.labels import LABELS

LEVELS = 3
"""Severity is 0 (none), 1 (mild), 2 (serious) or 3 (grave)."""


PREFIX = "heads."


@dataclass(frozen=True, slots=True)
class HeadsCard:
    """What was fitted for the heads: a factor on the logits of severity, and the calibration towards a company.

    companies: whether the head for companies is used; where it is worse than the text's own score, it is not.
    """

    severity_scale: float
    entity: Calibration
    companies: bool = True


@dataclass(frozen=True, slots=True)
class Marks:
    """Where a pass has marks: places (marks,) int64 among its tokens, counts (texts,) int64 of marks a text has."""

    places: Tensor
    counts: Tensor


class Heads(nn.Module):
    """Linear heads for severity and for the sentiment towards a company."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.severity = nn.Linear(width, LEVELS)
        self.entity = nn.Linear(width, len(LABELS))

    def grade(self, embedded: Tensor) -> Tensor:
        """Logits (texts, 3) of being at least mild, serious, grave."""
        return _multiplied_out(embedded, self.severity)

    def towards(self, gathered: Tensor) -> Tensor:
        """Logits (texts, 3) towards each text's marked company, of what `gather` found."""
        return _multiplied_out(gathered, self.entity)


def expected(logits: Tensor, scale: float = 1.0) -> Tensor:
    """Expected severity (n,), 0 to 3, of logits (n, 3): the probabilities of at least mild, serious, grave, added up.

    A higher level is never likelier than a lower one.
    """
    return torch.sigmoid(logits * scale).cummin(dim=-1).values.sum(dim=-1)


def split_heads(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The encoder's tensors, and those of these heads by their own names: none where weights have no such heads."""
    heads = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}, heads


def gather(hidden: Tensor, marks: Marks) -> Tensor:
    """The mean over each text's marks, (texts, width), of the last layer's output (tokens, width)."""
    return torch.segment_reduce(hidden[marks.places].float(), "mean", lengths=marks.counts, axis=0, unsafe=True)


def find_marks(packed: Packed, marks: Sequence[Sequence[int]]) -> Marks:
    """The places of marks among the tokens of a pass; marks: for each of its texts the places in that text."""
    starts = [0]
    for rows, length in packed.runs:
        starts += [starts[-1] + length * (row + 1) for row in range(rows)]
    places = [starts[i] + place for i, row in enumerate(marks) for place in row]
    return Marks(torch.tensor(places, dtype=torch.long), torch.tensor([len(row) for row in marks]))


def _multiplied_out(rows: Tensor, head: nn.Linear) -> Tensor:
    # A matrix product of few rows would be added up in another order than one of many (see Encoder.classify).
    return (rows[:, None, :] * head.weight).sum(dim=-1) + head.bias
