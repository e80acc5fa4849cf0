"""Remember the embeddings of recent texts, and find the most similar other text among them.

The one idea: the positive of a text can be another text that says nearly the same (Dwibedi et al. 2021, "With a Little
Help from My Friends").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from foreshock.model.training.similarity import Similarity


class RecentTexts:
    """The embeddings and numbers of the `size` texts that were added last. `width`: of an embedding."""

    def __init__(self, size: int, width: int) -> None:
        self.embedded = torch.zeros(size, width)
        self.numbers = torch.full((size,), -1)
        self.next = 0

    def nearest(self, embedded: Tensor, numbers: Tensor, similarity: Similarity) -> Tensor:
        """Return for each row the most similar remembered embedding of another text: (n, width).

        `embedded` (n, width) are the rows, `numbers` (n,) the numbers of their texts. A row is returned itself where
        no other text is remembered.
        """
        with torch.no_grad():
            alike = similarity(embedded, self.embedded)
            barred = (self.numbers < 0) | (self.numbers == numbers[:, None])
            best, place = alike.masked_fill(barred, float("-inf")).max(dim=1)
            return torch.where(best[:, None].isfinite(), self.embedded[place], embedded)

    def add(self, embedded: Tensor, numbers: Tensor) -> None:
        """Remember rows (n, width) of the texts `numbers` (n,), in place of the oldest."""
        places = (self.next + torch.arange(len(numbers))) % len(self.numbers)
        self.embedded[places] = embedded.detach()
        self.numbers[places] = numbers
        self.next = (self.next + len(numbers)) % len(self.numbers)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"embedded": self.embedded, "numbers": self.numbers, "next": self.next}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.embedded, self.numbers, self.next = state["embedded"], state["numbers"], state["next"]
