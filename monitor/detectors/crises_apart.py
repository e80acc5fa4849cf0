"""Read a threshold off a tail of alarms in which chance and crises are mixed.

The one idea: the two leave different traces. Alarms that chance raises become rarer by a factor with each level. The
scores of crises lie anywhere: crises are of all sizes, and a score grows with the logarithm of its evidence. So the
alarms beyond chance's reach show how many crises there were, and further down as many at each level are taken for
crises. Where no alarm lies far out, hardly any alarm is taken for a crisis.

See docs/detection.md#the-threshold. This is a mixture of an exponential and a uniform part; a uniform part for what
does not belong is from Banfield and Raftery 1993.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.detectors.calibration import COUNT, FEWEST, LEVELS, MULTIPLE, STEP
from foreshock.monitor.detectors.surge import LARGEST, WEIGHTS
from foreshock.monitor.detectors.windows import believe_less

SLOPES: FloatArray = np.geomspace(0.15, 4.0, 40)
PARTS: FloatArray = np.append(0.0, 1 / (1 + np.exp(-np.linspace(-5.0, 4.0, 31))))
"""The slopes of chance's tail, and the parts of all alarms that are crises (0, and 1 to 98 %), between which the data
decide. Slopes of made feeds lie well inside."""
CELLS: FloatArray = np.gradient(PARTS)
"""How much each of `PARTS` stands for: all parts are alike beforehand."""


def _largest_score() -> float:
    score = np.array([LARGEST + math.log(float(WEIGHTS.sum()))])
    believe_less(score)
    return float(score[0])


TOP = _largest_score()
"""The largest score that a surge can have."""
MIDDLE = int(np.searchsorted(LEVELS, TOP / 2))
"""The first level above half of `TOP`, which nearly half of all crises reach, since their scores lie anywhere."""


def read_off(
    counts: IntArray, days: float, rate: float, *, errors: float, crises: float, prior: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the level at which chance raises `rate` alarms a day, the slope of its tail, and the tail's alarms.

    `counts`: alarms at each of `LEVELS` in `days`. `errors`: standard errors of chance's count that are added to it.
    `crises`: alarms that are taken for crises at most. If more reach `MIDDLE`, they are by and by a habit of the feed:
    fewer are taken for crises, and of twice as many none. `prior`: weight in alarms, and slope, of
    what is known of chance's tail beforehand.

    Level and slope are means over all slopes and parts, weighted by their posterior probability. The most probable pair
    alone would jump from day to day where a slow tail without crises is as likely as a fast one with some. Fewer than
    `FEWEST` alarms give the level -inf.

    Invariants: up to `crises` alarms whose levels are spread evenly up to `TOP` move the level by less than one unit.
    Where alarms lie anywhere by habit, the level is that of an exponential tail.
    Where the tail begins at the same level, a larger `rate` gives a lower level.
    """
    above = np.maximum.accumulate(counts[::-1])[::-1].astype(np.float64)
    most = crises * min(max(2 - above[MIDDLE] / crises, 0.0), 1.0)
    near = above - min(above[MIDDLE], most)  # else the tail would begin amid the crises of a feed with little else
    if near[0] < FEWEST:
        return -math.inf, prior[1], 0.0
    first = int(np.flatnonzero(near >= min(max(MULTIPLE * rate * days, COUNT), 0.6 * near[0]))[-1])
    alarms, beyond = float(above[first]), LEVELS[first:] - LEVELS[first]
    highest = -np.diff(above[first:], append=0.0)  # alarms whose highest level is each
    chance = np.exp(-SLOPES[:, None] * beyond)
    chance[:, :-1] -= chance[:, 1:]
    # No score is above `TOP`, but no alarm may be impossible.
    anywhere = np.clip((TOP - LEVELS[first:]) / STEP, 1e-3, 1.0)
    tried = PARTS * alarms <= most
    parts, weight, usual = PARTS[tried], *prior
    mixed = (1 - parts[:, None]) * chance[:, None] + parts[:, None] * (anywhere / anywhere.sum())
    likelihood = np.log(mixed) @ highest + weight * (np.log(SLOPES) - SLOPES / usual)[:, None]
    posterior = np.exp(likelihood - likelihood.max()) * CELLS[tried]
    posterior /= posterior.sum()
    total = np.maximum(alarms * (1 - parts), 1.0)
    found = np.maximum(total * (1 + errors / np.sqrt(total)), 0.05 * total) / days
    levels = LEVELS[first] + np.log(found / rate) / SLOPES[:, None]
    return float((posterior * levels).sum()), float((posterior * SLOPES[:, None]).sum()), alarms
