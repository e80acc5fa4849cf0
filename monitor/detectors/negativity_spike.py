"""Negativity spike: the negative share of the last 3 h or 24 h against what is usual at these hours.

The score is the signed root of the binomial's deviance, which for few events keeps a normal's tail where a z-score
does not, with the events deflated for what else varies: the baseline's own error and the share's daily wandering. It
is then divided by a robust sd of past scores of the same window, pooled over topics: events come in clusters, and
only windows of the same length know how much that adds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from foreshock.monitor.baseline import BIN, BINS, UNIT, BoolArray, FloatArray, History, IntArray
from foreshock.monitor.detectors import Finding, Level, Seen
from foreshock.monitor.recent import EVENTS, EXPECTED, NEGATIVE, WINDOWS

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert

NARROWEST = 0.75


class Scores(NamedTuple):
    """Over (window, topic): score before scaling (binomial sds), observed and expected share, events."""

    raw: FloatArray
    observed: FloatArray
    expected: FloatArray
    events: FloatArray


def score(seen: Seen, topics: IntArray) -> Scores:
    """Scores of both windows for some topics, from `recent.sums` and what is usual now."""
    sums = seen.recent.sums[:, topics] / UNIT
    events = sums[..., EVENTS]
    divisor = np.maximum(events, 1e-9)
    q = np.clip(sums[..., NEGATIVE] / divisor, 1e-9, 1 - 1e-9)
    # Without events in the window there is nothing to compare: the score is 0 whatever p is.
    p = np.clip(np.where(events > 0, sums[..., EXPECTED] / divisor, seen.share[topics]), 0.01, 0.99)
    deviance = 2 * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)))
    known = seen.history.base[topics, 0] / UNIT + seen.pool.weight
    effective = events / (1 + events * (1 / known + seen.pool.share_wander))
    raw = np.sqrt(np.maximum(effective * deviance, 0.0))
    return Scores(np.where(q >= p, raw, -raw), q, p, events)


def remember(history: History, topics: IntArray, scores: Scores, fewest: int) -> None:
    """Keeps the size of each topic's last score of the hour, from which `scale` is estimated."""
    bins = np.minimum(np.abs(scores.raw) / BIN, BINS - 1).astype(np.int16)
    counted = (scores.events >= fewest) & (history.base[topics, 0] >= 10 * UNIT)
    history.residual[:, topics] = np.where(counted, bins, np.int16(-1))


def scale(history: History) -> tuple[float, float]:
    """Robust sd of the past scores of each window: by their median, or by their 95 % point where that is wider.

    The second sees tails that a median does not, and still ignores crises on up to 5 % of the hours. Events are
    counted softly, by probabilities, and vary less than labels drawn at their share (for which it would be 1): how
    much less depends on how sure the scorer is, so it is measured, but not believed below `NARROWEST`. With fewer
    than 200 looks 1.25 is assumed.
    """
    short, long = history.looks.sum(axis=0)
    return _scale(short), _scale(long)


def _scale(counts: IntArray) -> float:
    if counts.sum() < 200:
        return 1.25
    return max(NARROWEST, _quantile(counts, 0.5) / 0.6745, _quantile(counts, 0.95) / 1.96)


def _quantile(counts: IntArray, share: float) -> float:
    below = np.cumsum(counts)
    rank = share * float(below[-1])
    place = int(np.searchsorted(below, rank))
    return BIN * (place + 1 - (float(below[place]) - rank) / float(counts[place]))


class NegativitySpike:
    """Looks at topics that have news, and each hour at those with an open alert."""

    kind = "negativity_spike"

    def look(
        self,
        seen: Seen,
        topics: IntArray,
        at: int,
        watched: Mapping[int, Sequence[Alert]],
        scores: Scores | None = None,
    ) -> list[Finding]:
        """Findings of rises (`worse`); a fall of the negative share is left to drift."""
        rules = seen.rules
        scores = score(seen, topics) if scores is None else scores
        scaled = scores.raw / np.array(seen.pool.scale)[:, None]
        rise = scores.observed - scores.expected >= rules.spike_rise
        ripe = rise & (scores.events >= 2)
        level = np.where(ripe & (scaled >= rules.spike_near), int(Level.NEAR), int(Level.HOLD))
        enough = ripe & (scaled >= rules.spike_fires) & (scores.events >= rules.spike_events)
        level[enough] = Level.MET
        level[scaled < rules.spike_calm] = Level.CALM
        level[scores.events <= 0] = Level.CALM
        interesting: BoolArray = np.logical_or(*(level >= Level.NEAR))
        if watched:
            interesting[[place for place, t in enumerate(topics.tolist()) if t in watched]] = True
        if not interesting.any():
            return []
        learned = seen.learned(topics)
        found = []
        for place in np.flatnonzero(interesting).tolist():
            topic = int(topics[place])
            if not learned[place] and topic not in watched:
                continue
            # The window that says more; of two that say the same, the one with the higher score.
            window = max((0, 1), key=lambda w: (int(level[w, place]), float(scaled[w, place])))
            says = Level(int(level[window, place]))
            if says is Level.MET and seen.history.several_sources[topic]:
                # One source's bad mood is not news where there are others to confirm it.
                with_sources = [
                    w
                    for w in (0, 1)
                    if level[w, place] == Level.MET and seen.recent.sources(topic, w) >= rules.spike_sources
                ]
                if with_sources:
                    window = max(with_sources, key=lambda w: float(scaled[w, place]))
                else:
                    says = Level.NEAR
            if not learned[place] and says > Level.HOLD:
                says = Level.HOLD
            value = float(scaled[window, place])
            opens = at - WINDOWS[window]
            observed, expected = float(scores.observed[window, place]), float(scores.expected[window, place])
            near = says >= Level.NEAR
            found.append(
                Finding(
                    topic=topic,
                    direction="worse",
                    level=says,
                    score=value if math.isfinite(value) else 0.0,
                    observed=observed,
                    baseline=expected,
                    started_at=seen.recent.onset(topic, observed - expected, opens) if near else opens,
                    window_start=opens,
                )
            )
        return found
