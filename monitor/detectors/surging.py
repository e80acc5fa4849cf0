"""Surges of bad news: topics whose negative events come in numbers and a mood that ordinary bursts do not explain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, NEGATIVE, RING, History, hour_class
from foreshock.monitor.detectors import BucketCounts, Detector, Found, Seen, Watched, surge
from foreshock.monitor.detectors.alarms import calm
from foreshock.monitor.detectors.surge import LEAST_NEGATIVE, WEIGHTS, WINDOWS
from foreshock.monitor.detectors.surge_alarms import SurgeAlarms
from foreshock.monitor.detectors.surges import Look, Surges
from foreshock.monitor.findings import Finding, Level, Standing
from foreshock.monitor.kinds import SPIKE, WORSE
from foreshock.monitor.recent import SHORT
from foreshock.monitor.units import ALL, HOUR, UNIT

NEARER = 1.5
"""A score this far below its threshold is worth watching: twice this, and it no longer is."""
FIRST_DAY = 24
"""Running hours of a feed before which nothing is judged."""
SHAPE_PRIOR = 20.0
"""Events by which the profile of the hours is drawn to a flat one."""
LEAST_NEW = 0.25 * UNIT
"""Negative mass of a bucket, in 1/10,000, below which a topic is not looked at: it brings no bad news."""
FIRST_DAYS = 72
"""Running hours of a feed in which each hour tells more of what is usual, and not only each day."""
BAD = UNIT // 2
"""Negative mass of a bucket that holds a negative event."""


class Surging(Detector):
    """Find topics of which bad news surge.

    For each topic with bad news in a bucket, two explanations of the last hours and days compete: the usual rate of
    negative events, and many times as much. `surge.py` weighs a window, `surges.py` remembers what is usual, and
    `surge_alarms.py` fires.

    Reads: events and negative sums as they weigh by their sources (`Counts.weight`), and the feed's profile of hours.

    Parameters, measured from the feed's own past: each topic's rate and share, drawn to those of all topics
    (`Surges.pool`); the threshold, which all topics share (`SurgeAlarms.threshold`). Chosen: a part of `bad_news`.

    Source: docs/detection.md#6-surges.

    Example:
        >>> from foreshock.monitor.made_feed import fired, hour, steady
        >>> state = steady(topics=6, events=12, negative=0.2, days=30)
        >>> fired(state, hour(state, t3=(40, 0.95)))
        [('t3', 'negativity_spike', 'worse')]
    """

    KINDS: ClassVar[tuple[str, ...]] = (SPIKE,)

    def __init__(self, capacity: int) -> None:
        self.surges = Surges(capacity)
        self.alarms = SurgeAlarms(capacity)
        self._over: list[int] = []  # between the close of an hour and the look back at it
        self._shape = (-1, -1, 1.0)  # derived: running hour, hour, and how busy such hours are

    def parts(self) -> Mapping[str, TopicArrays]:
        return {"surges": self.surges, "surge_alarms": self.alarms}

    def look(self, seen: Seen, counts: BucketCounts, watched: Watched) -> list[Found]:
        h, alarms, topics, k = seen.history, self.alarms, counts.topics, seen.history.hours
        weight = np.ones((len(topics), 3)) if counts.weight is None else counts.weight
        # A story may have several topics. In the sum of topics, a crisis would be its own market.
        feed = topics == h.index.get(ALL, -1)
        values = self._unexplained(topics, feed, counts.values, weight)
        bucket = self.surges.add(topics, values[:, :2], counts.dated, weight, k, feed)
        if k < FIRST_DAY:  # nothing is usual yet
            return []
        alarms.looks[0] += counts.values[:, EVENTS].sum() / UNIT
        bad = (weight[:, NEGATIVE] * counts.values[:, NEGATIVE] >= LEAST_NEW).nonzero()[0]
        bad = bad[self.surges.recent(topics[bad], k) >= LEAST_NEGATIVE]
        if not len(bad):
            return []
        topics, end = topics[bad], counts.start + seen.rules.bucket
        view = self._windows(seen, topics, (end - h.hour * HOUR) / HOUR, bucket[bad])
        mixed = surge.mixtures(view.ratios)
        alarms.see(topics, mixed)
        longest = alarms.allowed(topics, k)
        score = mixed[longest, np.arange(len(topics))]
        threshold = alarms.thresholds(topics, seen.weights[topics])
        found: list[Found] = []
        for place in ((score >= threshold - NEARER) & ~alarms.firing[topics]).nonzero()[0].tolist():
            topic, windows = int(topics[place]), slice(0, int(longest[place]) + 1)
            window = int((view.ratios[windows, place] + np.log(WEIGHTS[windows])).argmax())
            met = bool(score[place] >= threshold[place])
            if met:
                alarms.fire(topic, k)
            finding = _finding(seen, view, place, topic, window, float(score[place]), end)
            level = Level.MET if met else Level.NEAR
            finding = finding._replace(statistic=float(score[place]), threshold=float(threshold[place]))
            found.append((SPIKE, finding._replace(level=level)))
        return found + _no_longer_near(topics, score, threshold, watched)

    def stand(self, seen: Seen, topics: IntArray, part: float) -> list[Standing]:
        view, k = self._windows(seen, topics, part, None), seen.history.hours
        longest = self.alarms.allowed(topics, k)
        score = surge.mixtures(view.ratios)[longest, np.arange(len(topics))]
        threshold = self.alarms.thresholds(topics, seen.weights[topics])
        found = list[Standing]()
        for place, topic in enumerate(topics.tolist()):
            windows = slice(1, max(int(longest[place]), 1) + 1)  # without the bucket's own
            window = 1 + int((view.ratios[windows, place] + np.log(WEIGHTS[windows])).argmax())
            hours = WINDOWS[window] + part
            usual = float(view.daily[window, place]) * hours / 24
            numbers = float(score[place]), float(threshold[place]), float(view.negative[window, place]), usual
            found.append(Standing(topic, SPIKE, WORSE, *numbers, "negative events", hours, k >= FIRST_DAY))
        return found

    def close_hour(self, seen: Seen) -> None:
        h, s, n, k = seen.history, self.surges, len(seen.history.names), seen.history.hours
        s.close_hour(n, k, self._busy(h))
        day = (s.past[(k + 1) % len(s.past), :n, 1] - s.past[max(k + 1 - 24, 0) % len(s.past), :n, 1]) / UNIT
        self._over = self.alarms.close_hour(k, day, s.usual_mass(h.first_hour[:n], k + 1))

    def look_back(self, seen: Seen, watched: Watched, *, stalled: bool) -> list[Found]:
        h = seen.history
        if h.hours < FIRST_DAYS:
            self._estimate(seen)
            self.calibrate(seen)
        mine = {t: spikes for t, alerts in watched.items() if (spikes := [a for a in alerts if a.kind == SPIKE])}
        found = [calm(topic, a) for topic in self._over for a in mine.get(topic, ()) if a.fired_at is not None]
        waiting = np.array(sorted(t for t, some in mine.items() if any(a.fired_at is None for a in some)), np.int64)
        if len(waiting):
            mixed = surge.mixtures(self._windows(seen, waiting, 0.0, None).ratios)
            score = mixed[self.alarms.allowed(waiting, h.hours), np.arange(len(waiting))]
            threshold = self.alarms.thresholds(waiting, seen.weights[waiting])
            found += _no_longer_near(waiting, score, threshold, watched)
        return found

    def close_day(self, seen: Seen) -> None:
        h = seen.history
        if h.days:
            self.surges.close_day(len(h.names), h.days - 1)
            self.alarms.close_day(h.days - 1)
        self._estimate(seen)

    def calibrate(self, seen: Seen) -> None:
        self._shape = (-1, -1, 1.0)  # topics may have been filled: the same hour has another past
        rules = seen.rules
        desk = rules.false_alarms * (max(float(seen.weights.sum()), 1.0) if rules.per_topic else 1.0)
        self.alarms.calibrate(seen.history.days, rules.bad_news * rules.surges * desk, len(seen.history.names))

    def _unexplained(self, topics: IntArray, everything: BoolArray, values: IntArray, weight: FloatArray) -> IntArray:
        """Return the bucket's sums, those of all stories without the topics that fire: their news are reported.

        `everything`: which of `topics` is the series of all stories.
        """
        firing = self.alarms.firing[topics]
        if not np.count_nonzero(firing) or not np.count_nonzero(everything) or firing[everything][0]:
            return values
        left = values.copy()
        theirs = (values[firing] * weight[firing]).sum(axis=0) / np.maximum(weight[everything], 1e-9)
        left[everything] = np.maximum(left[everything] - np.rint(theirs).astype(np.int64), 0)
        return left

    def _estimate(self, seen: Seen) -> None:
        h = seen.history
        self.surges.estimate(h.first_hour[: len(h.names)], h.pooled(), h.hours)

    def _windows(self, seen: Seen, topics: IntArray, part: float, bucket: IntArray | None) -> Look:
        """Return the windows of topics, a `part` of the open hour into it."""
        h, length = seen.history, seen.rules.bucket / HOUR
        return self.surges.look(topics, h.first_hour[topics], h.hours, part, length, self._busy(h), bucket, h.pooled())

    def _busy(self, h: History) -> float:
        """Return `hour_shape`, which changes with the hour, and with a fill of topics, which calls `calibrate`."""
        if self._shape[:2] != (h.hours, h.hour):
            self._shape = h.hours, h.hour, hour_shape(h)
        return self._shape[2]


def hour_shape(h: History) -> float:
    """How busy the feed usually is in the open hour, over the mean of all hours: of weekdays and weekends apart."""
    kind, pooled = hour_class(h.hour), h.pooled()
    n, hours = len(h.names), int(h.class_hours.sum())
    if not hours:
        return 1.0
    total = float(h.base[:n, EVENTS][pooled].sum()) / UNIT
    like = float(h.profile[kind, :n, EVENTS][pooled].sum()) / UNIT
    return (like + SHAPE_PRIOR) / (total * int(h.class_hours[kind]) / hours + SHAPE_PRIOR)


def _no_longer_near(topics: IntArray, score: FloatArray, threshold: FloatArray, watched: Watched) -> list[Found]:
    """Return that pending alerts on these topics are dropped, where the score is far below the threshold."""
    return [
        calm(topic, a)
        for topic in (topics[score < threshold - 2 * NEARER].tolist() if watched else ())
        for a in watched.get(topic, ())
        if a.kind == SPIKE and a.fired_at is None
    ]


def _finding(seen: Seen, v: Look, place: int, topic: int, window: int, score: float, end: int) -> Finding:
    """What is said: the bad news of the window that speaks most surely, from its first one on, and what is usual."""
    h = seen.history
    opens = max(h.hours - WINDOWS[window], 0)
    since = _hour_of(seen, opens) * HOUR if window else end - seen.rules.bucket
    started, mass = end - seen.rules.bucket, 0
    if WINDOWS[window] < 24:
        for row in reversed(seen.recent.rows):
            if row.start < since:
                break
            if (at := row.of(topic)) >= 0:
                negative = int(row.values[at, SHORT][1])
                mass += negative
                started = row.start if negative >= BAD else started
    else:
        mass = int(h.hour_now[topic, NEGATIVE])
        started = h.hour * HOUR if mass >= BAD else started
        for hour in range(h.hours - 1, opens - 1, -1):
            negative = int(h.ring[hour % RING, topic, NEGATIVE])
            mass += negative
            started = _hour_of(seen, hour) * HOUR if negative >= BAD else started
    usual = v.daily[window, place] * (end - started) / (24 * HOUR)
    return Finding(topic, WORSE, Level.HOLD, score, mass / UNIT, float(usual), started, started)


def _hour_of(seen: Seen, k: int) -> int:
    """Hours since 1970 of running hour `k`, which is at most four days back."""
    h = seen.history
    return h.hour if k >= h.hours else int(h.ring_hour[k % RING])
