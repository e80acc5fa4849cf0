"""What a block of a source's stories says about the scorer: how sure it is, of which classes, how new the words are.

The one idea: how sure a scorer is depends on the class. So a block is compared with what is expected of its own
classes, and bad news alone, however much, moves no figure but the shares.

Sums are sums of integers of 1/10,000, so their order does not matter. Figures are ratios from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foreshock.monitor.units import UNIT

CLASSES = 3
"""Negative, neutral, positive."""
PRIOR = 100
"""For how many stories of a class the card's confidence counts, beside the source's own past."""
REMEMBERED = 20_000
"""The past is halved beyond so many stories, so that a habit of years ago fades."""


@dataclass(slots=True)
class Sums:
    """Sums over stories: how many of each class, how sure of them, and the novelty of those that have one."""

    counts: list[int] = field(default_factory=lambda: [0] * CLASSES)
    sure: list[int] = field(default_factory=lambda: [0] * CLASSES)
    novelty: int = 0
    read: int = 0
    """Stories whose novelty is known."""

    @property
    def stories(self) -> int:
        return sum(self.counts)

    def take(self, scores: Sequence[int], novelty: int | None) -> None:
        """Add a story with its scores and novelty."""
        highest = max(scores)
        chosen = scores.index(highest)
        self.counts[chosen] += 1
        self.sure[chosen] += highest
        if novelty is not None:
            self.novelty += novelty
            self.read += 1

    def add(self, other: Sums) -> None:
        """Add the stories of other sums."""
        for c in range(CLASSES):
            self.counts[c] += other.counts[c]
            self.sure[c] += other.sure[c]
        self.novelty += other.novelty
        self.read += other.read

    def fade(self) -> None:
        """Halve everything once it is more than what is remembered."""
        if self.stories > REMEMBERED:
            self.counts = [n // 2 for n in self.counts]
            self.sure = [n // 2 for n in self.sure]
            self.novelty, self.read = self.novelty // 2, self.read // 2

    def share(self, c: int) -> float:
        """Return the share of a class."""
        return self.counts[c] / self.stories

    @property
    def confidence(self) -> float:
        """Return the mean probability of the class that was chosen."""
        return sum(self.sure) / UNIT / self.stories

    @property
    def words(self) -> float | None:
        """Return the mean novelty, or None if no story has one."""
        return self.novelty / UNIT / self.read if self.read else None

    def to_json(self) -> list[Any]:
        return [self.counts, self.sure, self.novelty, self.read]

    @classmethod
    def of_json(cls, found: Sequence[Any]) -> Sums:
        return cls(list(found[0]), list(found[1]), found[2], found[3])


@dataclass(frozen=True, slots=True)
class Usual:
    """What a model's card says of its labelled sets.

    confidence: of each class, the mean over the sets; None where no set has the class. doubt, words: the largest of any
    set, beyond which a source is like none of them.
    """

    confidence: tuple[float | None, ...]
    doubt: float
    words: float

    @classmethod
    def of_card(cls, reference: Mapping[str, Any] | None) -> Usual | None:
        """Take the figures of a card (`foreshock.model.reference`); None where it has none."""
        if reference is None or not reference["sets"]:
            return None
        sets = reference["sets"]
        known = [[one["confidence"][c] for one in sets if one["confidence"][c] is not None] for c in range(CLASSES)]
        confidence = tuple(sum(values) / len(values) / UNIT if values else None for values in known)
        usual = cls(confidence, 0.0, max(one["novelty"] for one in sets) / UNIT)
        doubts = []
        for one in sets:
            counts = list(one["shares"])
            sure = [n * (level or 0) for n, level in zip(counts, one["confidence"], strict=True)]
            doubts.append(usual.doubt_of(Sums(counts, sure)))
        return cls(confidence, max(doubts), usual.words)

    def doubt_of(self, sums: Sums) -> float:
        """Return by how much the scorer is less sure than the card says of the same classes."""
        return _expected(sums, self.confidence) - sums.confidence


def doubt(block: Sums, past: Sums, usual: Usual | None) -> float:
    """Return by how much the scorer is less sure of a block than of the same classes in the source's past.

    A class of which the past has few stories is taken half and half from the card, which counts as PRIOR stories.
    """
    levels: list[float | None] = []
    for c in range(CLASSES):
        card = None if usual is None else usual.confidence[c]
        prior = 0 if card is None else PRIOR
        weight = past.counts[c] + prior
        levels.append((past.sure[c] / UNIT + prior * (card or 0.0)) / weight if weight else None)
    return _expected(block, levels) - block.confidence


def _expected(block: Sums, levels: Sequence[float | None]) -> float:
    """Return the mean confidence that these levels of the classes give a block; its own where a level is not known."""
    total = 0.0
    for c in range(CLASSES):
        level = levels[c]
        total += block.sure[c] / UNIT if level is None else block.counts[c] * level
    return total / block.stories
