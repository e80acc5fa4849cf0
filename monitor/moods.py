"""The mood of an event that several sources report: the median of theirs.

Near-copies have nearly the same words, and can still say the opposite: "Acme defaults on its bonds" and "Acme defaults
on its bonds and shares rally strongly". So a story whose mood contradicts an event's is not a copy of it. Whoever
appends a few words adds an event of their own, and takes nothing from the event of others.
"""

from __future__ import annotations

from collections.abc import Sequence

from foreshock.monitor.units import UNIT

APART = 3 * UNIT // 4
"""Polarities (-1 to 1, in 1/10,000) that differ by so much contradict each other. Scores of two texts that differ in a
few neutral words mostly differ by less than a quarter of it."""

Scores = tuple[int, int, int]


def polarity(scores: Scores) -> int:
    """Return positive less negative, in 1/10,000."""
    return scores[2] - scores[0]


def agree(a: int, b: int) -> bool:
    """Return whether two polarities may be of one event."""
    return abs(a - b) < APART


def median(voices: Sequence[Scores]) -> Scores:
    """Return the scores in the middle by polarity; of an even number, the mean of the two in the middle.

    The order of `voices` does not matter. One voice among three or more decides nothing alone.

    >>> median([(9000, 500, 500), (100, 900, 9000), (8000, 1500, 500)])
    (8000, 1500, 500)
    """
    if len(voices) == 1:  # as of nearly all events
        return voices[0]
    ordered = sorted(voices, key=lambda scores: (polarity(scores), scores))
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    negative, positive = (low[0] + high[0]) // 2, (low[2] + high[2]) // 2
    return negative, sum(low) - negative - positive, positive
