"""How surely bad news surges: the number of independent events and their mood, weighed together.

The one idea: two explanations of what a window holds compete. *Ordinary*: news come in bursts, large ones rarely, and
their mood is the usual one. *Wrong*: the same bursts, large ones less rarely, and most of it is negative. The Bayes
factor of the second over the first, averaged over windows from one bucket to four days, is the score. What is usual is
the topic's own past, drawn to what is usual in the pool, so that a quiet or new company is judged from its first day.

Everything here is a pure function of arrays of shape (window, topic). `surges.py` holds what is remembered.
"""

from __future__ import annotations

import numpy as np

from foreshock.monitor.arrays import FloatArray

WINDOWS = (0, 1, 3, 6, 12, 24, 48, 96)
"""Closed hours of each window, which also holds the open hour; the first is the bucket that was just decided."""
W = len(WINDOWS)
BURSTS: FloatArray = np.exp2(np.arange(8.0))
"""An ordinary burst multiplies a topic's rate by one of these."""
ORDINARY: FloatArray = BURSTS**-2 / (BURSTS**-2).sum()
WRONG: FloatArray = BURSTS**-0.5 / (BURSTS**-0.5).sum()
"""Prior weights of the bursts. Results and product news come to every topic, a hundred times its rate hardly ever."""
SHARES = (0.5, 0.7, 0.85, 0.95)
"""Negative shares of what is wrong. Those not above the usual share by `ABOVE` say nothing."""
ABOVE = 0.05
PRECISION = 30.0
"""Events by which the mood of an ordinary burst varies about the usual share (a beta distribution's precision): stories
of one burst share their mood a little."""
TIMES = (3.0, 8.0, 25.0)
"""How many times the usual number of negative events is looked for."""
LEAST_SHARE, MOST_SHARE = 0.03, 0.9
LARGEST = 60.0
"""Logarithm above which a Bayes factor is not believed."""
NOTHING = 1e-12
WEIGHTS: FloatArray = np.sqrt(np.maximum(np.array(WINDOWS), 1 / 12) / 24) / W
"""Weights of the windows. A short one looks more often than a long one, but not in proportion: it looks at events."""
BELIEVED = 5.0
"""A score beyond this counts by its logarithm, as the scores of shares do."""


def bayes_factors(events: FloatArray, negative: FloatArray, expected: FloatArray, usual: FloatArray) -> FloatArray:
    """Return the logarithms of the Bayes factors of windows.

    `events`, `negative`: weighed events of a window and their negative mass. `expected`: events that are usual in it.
    `usual`: the usual negative share.
    """
    rate = np.log(np.maximum(expected, 1e-9))[..., None] + np.log(BURSTS)
    like = events[..., None] * rate - expected[..., None] * BURSTS
    like -= like.max(axis=-1, keepdims=True)
    like = np.exp(like)
    burst = np.log(like @ WRONG) - np.log(np.maximum(like @ ORDINARY, 1e-300))
    b, good = np.clip(usual, LEAST_SHARE, MOST_SHARE), events - negative
    moods = np.stack(
        [np.where(share > b + ABOVE, negative * np.log(share) + good * np.log1p(-share), -np.inf) for share in SHARES]
    )
    best = np.maximum(moods.max(axis=0), -1e9)
    wrong = best + np.log(np.maximum(np.exp(moods - best).sum(axis=0) / len(SHARES), 1e-300))
    p, q = PRECISION * b, PRECISION * (1 - b)
    ordinary = (
        log_gamma(negative + p)
        - log_gamma(p)
        + log_gamma(np.maximum(good, 0) + q)
        - log_gamma(q)
        - log_gamma(events + PRECISION)
        + log_gamma(np.full_like(events, PRECISION))
    )
    found = np.minimum(burst + wrong - ordinary, LARGEST)
    found = np.logaddexp(found, np.minimum(more_bad(events, negative, expected, b), LARGEST))
    factors: FloatArray = np.where(events > 0, np.minimum(found, LARGEST), -LARGEST)
    return factors


def more_bad(events: FloatArray, negative: FloatArray, expected: FloatArray, usual: FloatArray) -> FloatArray:
    """The logarithm of the Bayes factor of more negative events, beyond those that the usual share explains.

    A Poisson count of twice the variance, three, eight or twenty-five times as large. It sees what the mood alone does
    not: many more negative events where the share is high anyway.
    """
    # What is nearly always negative is no surge by that: beyond the limit, a window's share is taken to be at it.
    beyond = np.maximum(np.minimum(negative, MOST_SHARE * events) - events * usual, 0) / (1 - usual)
    factors = [np.minimum((beyond * np.log(k) - expected * usual * (k - 1)) / 2, LARGEST) for k in TIMES]
    total = factors[0]
    for factor in factors[1:]:
        total = np.logaddexp(total, factor)
    mean: FloatArray = total - np.log(len(TIMES))
    return mean


def mixtures(factors: FloatArray) -> FloatArray:
    """(window, topic): the score of all windows up to each, from logarithms of their Bayes factors."""
    found: FloatArray = np.log(np.cumsum(np.exp(factors) * WEIGHTS[:, None], axis=0) + NOTHING)
    far = found > BELIEVED
    found[far] = BELIEVED + BELIEVED * np.log(found[far] / BELIEVED)
    return found


def log_gamma(x: FloatArray) -> FloatArray:
    """The logarithm of the gamma function for x > 0, to about 1e-9 (Stirling's series at x + 6)."""
    shift = x * (x + 1) * (x + 2) * (x + 3) * (x + 4) * (x + 5)
    y = x + 6
    series = 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5)
    found: FloatArray = (y - 0.5) * np.log(y) - y + 0.5 * np.log(2 * np.pi) + series - np.log(shift)
    return found
