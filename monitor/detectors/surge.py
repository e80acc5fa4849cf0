"""How surely bad news surges: more independent negative events than are usual, beyond what their number explains.

The one idea: two explanations of what a window holds compete. *Ordinary*: negative events come at the topic's usual
rate, and a burst of any size brings its usual share of them. *Wrong*: there are many times as many. The likelihood
ratio of the second over the first, averaged over sizes and over windows from one bucket to four days, is the score.
What is usual is the topic's own past, drawn to what is usual in the pool, so that a quiet or new company is judged from
its first day.

Everything here is a pure function of arrays of shape (window, topic). `surges.py` holds what is remembered.
"""

from __future__ import annotations

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.detectors.windows import believe_less

WINDOWS = (0, 1, 3, 6, 12, 24, 48, 96)
"""Closed hours of each window, which also holds the open hour; the first is the bucket that was just decided."""
W = len(WINDOWS)
AGES: IntArray = np.searchsorted(np.array(WINDOWS), np.arange(WINDOWS[-1] + 1), side="right") - 1
"""Index of the longest window that fits in so many hours."""
TIMES = (3.0, 8.0, 25.0)
"""How many times the usual number of negative events is looked for."""
LEAST_SHARE, MOST_SHARE = 0.03, 0.9
"""Bounds of the usual share. What is nearly always negative is no surge by that."""
FEWEST, LEAST_NEGATIVE = 2.0, 1.5
"""Weighed events of a window, and their negative mass, below which it says nothing: one story is not a surge."""
LARGEST = 60.0
"""Logarithm above which a likelihood ratio is not believed."""
NOTHING = 1e-12
WEIGHTS: FloatArray = np.cbrt(np.maximum(np.array(WINDOWS), 1 / 12) / 24) / W
"""Weights of the windows. A short one looks more often than a long one, but not in proportion: it looks at events."""
FACTORS: FloatArray = np.array(TIMES)[:, None, None]
LOGARITHMS: FloatArray = np.log(FACTORS)


def ratios(
    events: FloatArray,
    negative: FloatArray,
    expected: FloatArray,
    usual: FloatArray,
    burst: FloatArray,
    known: FloatArray,
) -> FloatArray:
    """Return the logarithms of the likelihood ratios of windows.

    `events`, `negative`: weighed events of a window and their negative mass. `expected`: events that are usual in it.
    `usual`: the usual negative share. `burst`: the share that an ordinary burst may well have. `known`: negative events
    that the usual rate is known from (the shape of its gamma distribution).

    A burst of ordinary mood brings `events * burst` negative events. Those beyond are compared with the usual number,
    and with one that is three, eight or twenty-five times as large. Both are Poisson counts whose rate is uncertain
    (negative binomial), so that a topic of which little is known surprises less.
    """
    share, mood = (np.minimum(np.maximum(some, LEAST_SHARE), MOST_SHARE) for some in (usual, burst))
    beyond = np.maximum(np.minimum(negative, MOST_SHARE * events) - events * mood, 0) / (1 - mood)
    mean = expected * share
    more = np.log((known + FACTORS * mean) / (known + mean))
    each = beyond * (LOGARITHMS - more) - known * more
    found: FloatArray = np.log(np.add.reduce(np.exp(np.minimum(each, LARGEST)), axis=0) / len(TIMES) + NOTHING)
    found[(events < FEWEST) | (negative < LEAST_NEGATIVE)] = -LARGEST
    return found


def mixtures(factors: FloatArray) -> FloatArray:
    """(window, topic): the score of all windows up to each, from logarithms of their likelihood ratios."""
    found: FloatArray = np.log(np.add.accumulate(np.exp(factors) * WEIGHTS[:, None]) + NOTHING)
    believe_less(found)
    return found
