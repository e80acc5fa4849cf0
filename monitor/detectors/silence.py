"""Silence: topics that stopped, against their own rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, GAP_DAYS, History
from foreshock.monitor.detectors import BucketCounts, Detector, Found, Seen, Watched
from foreshock.monitor.detectors.alarms import SHADOW_HOURS
from foreshock.monitor.detectors.calibration import LEVELS, K, ShadowCounts
from foreshock.monitor.findings import Finding, Level, Standing
from foreshock.monitor.kinds import SILENCE, WORSE
from foreshock.monitor.units import UNIT


class Silence(TopicArrays, Detector):
    """Find topics that have stopped.

    It counts the events that should have come, not hours. Nights and weekends weigh as little as they usually bring,
    and so does a holiday on which the whole feed is quiet (`History.close_hour`). If events were independent, a gap of
    g expected events would have the chance e^-g, so a gap is its own log-likelihood. Where events come in bursts, the
    gap is divided by their size. Each gap is its own shadow alarm, from which the threshold is calibrated.

    Reads: the gap of each topic, each whole hour, for topics with news on most days.

    Parameters, all measured from the feed's own past: the size of bursts (`bursts`), the threshold (`threshold`).
    Chosen: `silence`, a share of the budget; `silence_near`; `silence_hours`.

    Source: docs/detection.md#5-volume-and-silence; Fano's index for the size of bursts.

    Example:
        >>> from foreshock.monitor.made_feed import fired, quiet, steady
        >>> state = steady(topics=6, events=12, negative=0.2, days=30)
        >>> fired(state, *quiet(state, "t3", hours=48))
        [('t3', 'silence', 'worse')]
    """

    KINDS: ClassVar[tuple[str, ...]] = (SILENCE,)
    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "passed": ((), (), np.int16, 0),
        "bursts": ((), (), np.float64, 1.0),
        "retired": ((), (), np.bool_, 0),
    }
    PLAIN = ("threshold", "slope", *ShadowCounts.ARRAYS)
    passed: npt.NDArray[np.int16]
    """Levels that the open gap has passed: each is a shadow alarm."""
    bursts: FloatArray
    """How many events come at once (`fano`)."""
    retired: BoolArray
    """Topics that the settings no longer have. Until news of them comes again they are not silent."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.counts = ShadowCounts()
        self.threshold: FloatArray = np.full(1, np.inf)
        self.slope: FloatArray = np.ones(1)
        for name in ShadowCounts.ARRAYS:
            setattr(self, name, getattr(self.counts, name))

    def parts(self) -> Mapping[str, TopicArrays]:
        return {"silence": self}

    def take(self, seen: Seen, counts: BucketCounts, watched: Watched) -> None:
        h, topics = seen.history, counts.topics
        for topic in topics.tolist() if watched else ():
            for alert in watched.get(topic, ()):
                if alert.kind == SILENCE and alert.fired_at is not None:
                    # A reported silence is not a habit: it counts as a gap only up to where it fired.
                    h.gap[topic] = min(int(h.gap[topic]), round(alert.baseline * UNIT))
        retired = self.retired.take(topics)
        if np.count_nonzero(retired):
            h.gap[topics[retired]] = 0  # nor is one while the settings had no such topic
            self.retired[topics] = False
        self.passed[topics] = 0

    def look(self, seen: Seen, counts: BucketCounts, watched: Watched) -> list[Found]:
        return [
            (
                SILENCE,
                Finding(topic, WORSE, Level.CALM, 0.0, 0.0, alert.baseline, alert.started_at, alert.window_start),
            )
            for topic in (counts.topics.tolist() if watched else ())
            for alert in watched.get(topic, ())
            if alert.kind == SILENCE
        ]

    def look_back(self, seen: Seen, watched: Watched, *, stalled: bool) -> list[Found]:
        if stalled:
            return []
        h, rules, n = seen.history, seen.rules, len(seen.history.names)
        gap, everyone = h.gap[:n] / UNIT, slice(0, n)
        ripe = seen.ripe(everyone, SHADOW_HOURS)
        present = h.steady[:n] & ~self.retired[:n]
        steady = present & (h.hours - h.last_hour[:n] >= rules.silence_hours)
        late = steady.nonzero()[0]
        steady[late] = gap[late] > np.maximum(h.gap_ring[:, late].max(axis=0), h.gap_now[late]) / UNIT
        score = np.where(steady, gap / self.bursts[:n], 0.0)
        levels = np.minimum(np.searchsorted(LEVELS, score, side="right"), K).astype(np.int16)
        for topic in np.flatnonzero((levels > np.maximum(self.passed[:n], 1)) & ripe).tolist():
            self.counts.now[self.passed[topic] : levels[topic]] += 1
        self.passed[:n] = np.maximum(self.passed[:n], levels)
        self.counts.exposure_now += np.count_nonzero(ripe & present)
        needed = self.threshold[0] - np.log(seen.weights[:n]) / self.slope[0]
        near = seen.learned(everyone) & (score >= rules.silence_near * needed) & (score > 0)
        found: list[Found] = []
        for topic in near.nonzero()[0].tolist():
            last = int(h.last_story[topic])
            level = Level.MET if score[topic] >= needed[topic] else Level.NEAR
            sure, wanted = float(score[topic]), float(needed[topic])
            finding = Finding(topic, WORSE, level, sure, 0.0, float(gap[topic]), last, last, sure, wanted)
            found.append((SILENCE, finding))
        return found

    def stand(self, seen: Seen, topics: IntArray, part: float) -> list[Standing]:
        h = seen.history
        gap, needed = h.gap[topics] / UNIT, self.threshold[0] - np.log(seen.weights[topics]) / self.slope[0]
        judged = seen.learned(topics) & h.steady[topics] & ~self.retired[topics]
        hours = h.hours - h.last_hour[topics]
        return [
            Standing(
                *(topic, SILENCE, WORSE, float(gap[place] / self.bursts[topic]), float(needed[place])),
                *(0.0, float(gap[place]), "missing events", float(hours[place]), bool(judged[place])),
            )
            for place, topic in enumerate(topics.tolist())
        ]

    def close_day(self, seen: Seen) -> None:
        h = seen.history
        if h.days:
            self.counts.close_day(h.days - 1)
        self.bursts[: len(h.names)] = fano(h)

    def calibrate(self, seen: Seen) -> None:
        h, n = seen.history, len(seen.history.names)
        rate = seen.rules.silence * seen.rate(seen.learned(slice(0, n)) & h.steady[:n])
        each = h.base[:n, EVENTS][h.steady[:n]] / UNIT / 28 / self.bursts[:n][h.steady[:n]]
        looks = max(float(each.mean()), 1.0) if len(each) else 1.0
        self.threshold[0], self.slope[0] = self.counts.threshold(h.days, rate, looks)

    def adopt(self, seen: Seen, gone: Sequence[int], back: Sequence[int]) -> Sequence[str]:
        self.retired[list(gone)] = True
        for topic in back:
            if self.retired[topic]:
                self.retired[topic], seen.history.gap[topic] = False, 0
        return self.KINDS


def fano(h: History) -> FloatArray:
    """Return how many events of each topic come at once, at least 1.

    That is the variance of its days over their mean (Fano's index), over 28 running days, weekdays and weekends each
    about their own mean. Independent events give 1. Where three sources report each thing, 3 of their events say no
    more than one, and a gap must be three times as long.
    """
    n, rows = len(h.names), h.last_days(GAP_DAYS)
    events, weekend = h.day_ring[rows, :n, EVENTS] / UNIT, (h.day_number[rows] + 3) % 7 >= 5
    squares, freedom = np.zeros(n), np.zeros(n)
    for days in (events[weekend], events[~weekend]):
        if len(days) > 1:
            mean = days.mean(axis=0)
            there = mean > 0
            squares[there] += (((days - mean) ** 2).sum(axis=0)[there]) / mean[there]
            freedom[there] += len(days) - 1
    found: FloatArray = np.maximum(squares / np.maximum(freedom, 1), 1.0)
    return found
