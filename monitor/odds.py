"""How often chance alone would give an alert that is as sure as this one.

The one idea: a threshold is set where chance alone meets it as often as the budget allows. Beyond it, chance becomes
rarer by a factor of e^slope for each unit of the statistic (docs/detection.md#how-sure-an-alert-is). So the excess over
the threshold and the budget of the kind give the odds.
"""

from __future__ import annotations

import math

from foreshock.monitor.detectors import DetectionRules
from foreshock.monitor.kinds import BETTER, DRIFT, NEW_NAME, SILENCE, SPIKE, VOLUME

SLOPE, SLOPE_OF_SURGES = 1.0, 0.65
"""Slopes of the tails before any alarm is counted: of a likelihood ratio, and of surges in made feeds."""
RAREST = 3650.0
"""Days. Nothing rarer is said: no feed is long enough to know the tail so far out."""


def share(kind: str, direction: str, rules: DetectionRules, names: float = 0.0) -> float:
    """Return the part of `rules.false_alarms` that an alert's detector spends.

    `names`: the part of the whole budget that names which no topic has may spend; the rules have the rest.
    """
    if kind == NEW_NAME:
        return names / (1 - names)
    if kind == SPIKE:
        return rules.bad_news * rules.surges
    if kind == DRIFT:
        return rules.better if direction == BETTER else rules.bad_news * (1 - rules.surges)
    return {VOLUME: rules.volume, SILENCE: rules.silence}.get(kind, 0.0)


def days_between(
    kind: str,
    direction: str,
    statistic: float,
    threshold: float,
    rules: DetectionRules,
    topics: float,
    names: float = 0.0,
) -> float | None:
    """Return in how many days chance alone gives the desk one alert of this kind that is as sure, at most `RAREST`.

    `statistic`, `threshold`: those of the alert. `topics`: the watched topics, by weight; they count if the budget is
    one for each topic. `names`: see `share`. None if the kind has no budget, or if there is no finite threshold.

    >>> weekly = DetectionRules(bucket=1, stall_after=1, false_alarms=1 / 7, bad_news=0.7, surges=0.3)
    >>> round(days_between("negativity_spike", "worse", 3.0, 3.0, weekly, 50))
    33
    >>> round(days_between("negativity_spike", "worse", 4.0, 3.0, weekly, 50))
    64
    """
    rate = rules.false_alarms * (topics if rules.per_topic else 1.0) * share(kind, direction, rules, names)
    if rate <= 0 or not (math.isfinite(statistic) and math.isfinite(threshold)):
        return None
    excess = (SLOPE_OF_SURGES if kind in (SPIKE, NEW_NAME) else SLOPE) * (statistic - threshold)
    return math.exp(min(excess - math.log(rate), math.log(RAREST)))
