"""Say how grave an alert is: `info`, `warning` or `critical`.

The one idea: four things that a reader would weigh each give 0 to 3 points, and none of them lowers the sum. So an
alert is never less grave because it is larger, surer, about graver stories, or reported by more sources.

Invariant: `points` does not fall, and `severity` does not go down, when any one of the four grows (property-tested).

The points are chosen by reasoning, and not fitted to any feed (docs/decisions/0045-severity-in-points.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from foreshock.monitor.kinds import BETTER, DRIFT, SILENCE
from foreshock.monitor.kinds import CRITICAL as CRITICAL_STORY

INFO, WARNING, CRITICAL = "info", "warning", "critical"
LEVELS = (INFO, WARNING, CRITICAL)
"""All levels, the mildest first."""

MOST = 3.0
"""The most points that each of the four gives."""
DOUBLINGS = 4.0
"""Doublings of the usual number that give all points: sixteen times as many."""
POLARITY = 0.4
"""The move of a topic's polarity that gives all points."""
GRAVEST = 3
"""So many of the gravest stories say how grave the stories are. One story alone may be misread."""
WARNING_FROM, CRITICAL_FROM = 5.0, 9.0
"""Points from which on an alert is a warning, and critical."""
CRITICAL_GRAVE = 1.5
"""A critical alert needs stories at least this grave: between mild (1) and serious (2)."""


class Weighed(NamedTuple):
    """What an alert's severity follows from."""

    kind: str
    direction: str
    observed: float
    baseline: float
    margin: float
    """By how much the statistic passed its threshold (natural logarithm)."""
    grave: float
    """Mean severity of the gravest stories, 0 to 3 (`gravity`)."""
    sources: int


def points(w: Weighed) -> tuple[float, float, float, float]:
    """Return the points of size, sureness, stories and sources, each from 0 to 3."""
    sources = math.log2(max(w.sources, 1))
    return _capped(_size(w)), _capped(w.margin), _capped(w.grave), _capped(sources)


def severity(w: Weighed) -> str:
    """Return `info`, `warning` or `critical`. A change for the better is always `info`, a critical story `critical`."""
    if w.kind == CRITICAL_STORY:
        return CRITICAL
    if w.direction == BETTER:
        return INFO
    total = sum(points(w))
    if total >= CRITICAL_FROM and w.grave >= CRITICAL_GRAVE:
        return CRITICAL
    return WARNING if total >= WARNING_FROM else INFO


def graver(one: str, other: str) -> str:
    """Return the graver of two levels."""
    return max(one, other, key=LEVELS.index)


def gravity(stories: Sequence[tuple[float | None, float]]) -> float:
    """Return how grave stories are: the mean of the three gravest, 0 to 3.

    `stories`: of each, the encoder's severity (0 to 3) or None, and the probability of negative. A story without a
    severity counts twice its probability: surely negative is serious. Fewer than three stories count as three, the
    others of which say nothing, so a further story never lowers the result.
    """
    each = sorted((2 * negative if known is None else known for known, negative in stories), reverse=True)
    return min(sum(max(one, 0.0) for one in each[:GRAVEST]) / GRAVEST, MOST)


def _size(w: Weighed) -> float:
    if w.kind == DRIFT:
        return MOST * abs(w.observed - w.baseline) / POLARITY
    if w.kind == SILENCE:  # the events that did not come
        return MOST * math.log2(1 + max(w.baseline, 0.0)) / DOUBLINGS / 2
    # One more on both sides: 3 events where 0.1 are usual are not thirty times as grave as 3 where 3 are.
    return MOST * math.log2((1 + max(w.observed, 0.0)) / (1 + max(w.baseline, 0.0))) / DOUBLINGS


def _capped(value: float) -> float:
    return min(max(value, 0.0), MOST)
