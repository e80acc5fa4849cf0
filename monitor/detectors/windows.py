"""The windows in which changes are looked for, and the score that they make together.

Windows of lengths from one bucket to eight weeks end now. Each has a likelihood ratio of its own; the score is the
logarithm of their mean, weighted by length. See docs/detection.md, "2. How sure a difference is".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import FloatArray, IntArray

Kept = TypeVar("Kept", bound=np.generic)

SCALES: IntArray = np.array([0, 1, 3, 6, 12, 24, 48, 72, 168, 336, 672, 1344])
"""Lengths of the windows in hours; the first is the bucket that was just decided."""
S = len(SCALES)
HOUR_SCALE = 1
DAY_SCALE = int(np.searchsorted(SCALES, 24))
WEEK_SCALE = int(np.searchsorted(SCALES, 168))
LONG = int(np.searchsorted(SCALES, 72, side="right"))
"""The first window of more than three days: what it finds is drift."""
BASELINE = 1344
"""Hours before a window that it is compared with."""
FIRST_WEEK = 7 * 24
"""A topic's first running hours are never baseline: a feed that starts in a crisis would make the crisis usual."""
LENGTHS: FloatArray = np.maximum(SCALES, 1 / 12) / 24
"""Lengths of the windows in days, which weigh their ratios. A window half as long looks twice as often. With this
weight each window rings as often by chance, and spends an equal part of the budget (Duembgen and Spokoiny 2001)."""
BEFORE_LONG = 14 * 24
"""Hours of baseline that a window of more than three days needs before it."""
AGES: IntArray = np.searchsorted(SCALES, np.arange(SCALES[-1] + 1), side="right") - 1
"""Index of the longest window that fits in so many hours."""
NEEDED: IntArray = np.where(np.arange(S) < LONG, 0, FIRST_WEEK + BEFORE_LONG + SCALES)[:, None]
"""(window, 1): running hours since a topic's first story from which on a window may be used."""

NOTHING = 1e-13
"""Likelihood ratio of a window that says nothing."""
NONE = math.log(NOTHING)
LARGEST = 600.0
"""Log-likelihood ratio above which nothing is surer."""
FEW = 64
"""Topics up to which one copy of single cells is faster than one of each row."""
BELIEVED = 5.0
"""A score beyond this counts by its logarithm. The model of noise was never checked further out, and with the logarithm
a heavy tail there becomes an everyday one."""


def mixtures(ratio: FloatArray, lengths: FloatArray) -> FloatArray:
    """Return the score of all windows up to each, (window, topic), from their likelihood `ratio`.

    The score is the log of the mean of the windows' ratios, weighted by their `lengths`. If the ratios were true ones,
    a level l would be reached about e^-l times a day. A window that says nothing counts as a ratio of 0.
    """
    found: FloatArray = np.add.accumulate(ratio * lengths[:, None])
    np.log(np.divide(found, len(lengths), out=found), out=found)
    believe_less(found)
    return found


def in_use(days: IntArray, first: int) -> IntArray:
    """Return how many of the windows from the one at `first` on topics of so many `days` can use."""
    found: IntArray = (NEEDED[first:] <= 24 * days).sum(axis=0)
    return found


def believe_less(scores: FloatArray) -> None:
    """Let scores beyond `BELIEVED` count by their logarithm, in place."""
    far = scores > BELIEVED
    if np.count_nonzero(far):
        scores[far] = BELIEVED + BELIEVED * np.log(scores[far] / BELIEVED)


def by_topic(*parts: FloatArray) -> FloatArray:
    """Join (window, topic) scores of all windows, in order, as (topic, window)."""
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return np.ascontiguousarray(whole.T)


def rows(kept: npt.NDArray[Kept], places: Sequence[int], topics: IntArray | slice) -> npt.NDArray[Kept]:
    """Return rows of a ring for some topics, (row, topic, sum).

    The same as `kept[places][:, topics]`, in a third of the time where there are many topics.
    """
    if isinstance(topics, slice):
        return np.stack([kept[place, topics] for place in places])
    if len(topics) <= FEW:
        found: npt.NDArray[Kept] = kept[np.array(places)[:, None], topics]
        return found
    return np.stack([kept[place].take(topics, axis=0) for place in places])
