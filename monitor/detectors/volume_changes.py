"""Volume: topics that have many more events than usual, as surely as the false-alarm budget requires."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray, TopicArrays
from foreshock.monitor.baseline import EVENTS, RING, History
from foreshock.monitor.detectors import BucketCounts, Detector, Found, Seen, Watched
from foreshock.monitor.detectors.alarms import COOL, OVER, SHADOW_HOURS, Alarms, Change, samples_are_due
from foreshock.monitor.detectors.volume import V, Volume, ratios
from foreshock.monitor.detectors.volume_hour import VolumeHour
from foreshock.monitor.detectors.windows import (
    AGES,
    DAY_SCALE,
    HOUR_SCALE,
    LENGTHS,
    NONE,
    NOTHING,
    SCALES,
    S,
    by_topic,
    mixtures,
)
from foreshock.monitor.findings import Finding, Level, Standing
from foreshock.monitor.kinds import VOLUME, WORSE
from foreshock.monitor.units import HOUR

ABSORBED = 28 * 24
"""Running hours after which a reported number is what is usual: the profile then lies wholly after the change."""
LEAST_TIMES = 1.5
"""How many times the usual number counts as reported, at least."""


_UP_TO: IntArray = np.minimum(np.arange(S), V - 1)
"""For each window, the longest one that is used up to it."""


class View(NamedTuple):
    """What the windows of some topics hold, and what it is worth. Arrays are (window, topic)."""

    events: FloatArray
    expected: FloatArray
    worth: FloatArray


class VolumeChanges(Detector):
    """Find topics that have many more events than usual, whatever their mood.

    Reads: events of each topic and hour that have a time of day.

    Warning: where bursts of ten times the usual events are a habit of the feed, the threshold is above nearly all of
    them, and this detector says little.

    Parameters, all measured from the feed's own past: the noise of each window (`Volume.noise`), the topic's own noise
    (`Volume.dispersion`), the threshold (`Alarms.threshold`). Chosen: `volume`, a share of the budget.

    Source: docs/detection.md#5-volume-and-silence.

    Example:
        >>> from foreshock.monitor.made_feed import fired, hour, steady
        >>> state = steady(topics=6, events=12, negative=0.2, days=30)
        >>> fired(state, hour(state, t3=(300, 0.2)))
        [('t3', 'volume', 'worse')]
    """

    KINDS: ClassVar[tuple[str, ...]] = (VOLUME,)

    def __init__(self, capacity: int) -> None:
        self.volume = Volume(capacity)
        self.alarms = Alarms(capacity, VOLUME, WORSE, leave_out_rare=False)
        self._hour = VolumeHour(capacity)  # derived; of the open hour
        self._usual: tuple[tuple[int, int, int], FloatArray] | None = None  # derived; of this hour and these topics

    def parts(self) -> Mapping[str, TopicArrays]:
        return {"volume": self.volume, "volume_alarms": self.alarms}

    def look(self, seen: Seen, counts: BucketCounts, watched: Watched) -> list[Found]:
        h, topics, alarms = seen.history, counts.topics, self.alarms
        hour, usual = self._hour, self.usual(h)
        if hour.capacity < self.volume.capacity:
            hour = self._hour = VolumeHour(self.volume.capacity)
        if hour.usual is not usual:
            hour.begin(usual)
        hour.fill(seen, self.volume, alarms, topics)
        timed = h.hour_now.take(topics, axis=0)[:, EVENTS] - h.dated_now.take(topics, axis=0)[:, 0]
        ratio, scores, counted = hour.look(topics, timed)
        # The windows of more than three days are not used: the score of those up to them is that of three days.
        alarms.see(topics, scores[_UP_TO].T)
        near = counted[hour.reach.take(topics), np.arange(len(topics))] >= hour.floor.take(topics)
        # An alert that fires stays as it is until it is over, which `look_back` finds.
        waiting = alarms.pending(watched, topics) if watched else []
        if not waiting and not np.count_nonzero(near):
            return []
        at = np.array(sorted({*waiting, *near.nonzero()[0].tolist()}), np.int64)
        some, reports = topics[at], alarms.reports
        whole = np.full((S, len(at)), NOTHING)
        whole[:V] = ratio[:, at]
        mixed = counted[_UP_TO][:, at].T
        view = self._view(some, *self.volume.sums_now(some, h.hours, timed[at], usual[some]))
        found = alarms.look(seen, some, whole, mixed, watched, partial(self._change, seen, view, some))
        if alarms.reports != reports:
            hour.forget(some)
        return found

    def stand(self, seen: Seen, topics: IntArray, part: float) -> list[Standing]:
        h, k, alarms = seen.history, seen.history.hours, self.alarms
        timed = h.hour_now[topics, EVENTS] - h.dated_now[topics, 0]
        view = self._view(topics, *self.volume.sums_now(topics, k, timed, self.usual(h)[topics]))
        ratio, scores = weigh(view, alarms.reported_level[topics])
        score, judged = alarms.standing(topics, scores, k), seen.learned(topics)
        threshold, found = alarms.thresholds(topics, seen.weights[topics]), list[Standing]()
        for place, topic in enumerate(topics.tolist()):
            age = min(max(k + 1 - int(alarms.reported_since[topic]), 0), int(SCALES[-1]))
            window = min(max(int(ratio[: AGES[age] + 1, place].argmax()), HOUR_SCALE), V - 1)
            numbers = float(score[place]), float(threshold[place])
            counts = float(view.events[window, place]), float(view.expected[window, place])
            hours, learned = float(SCALES[window]), bool(judged[place])
            found.append(Standing(topic, VOLUME, WORSE, *numbers, *counts, "events", hours, learned))
        return found

    def close_hour(self, seen: Seen) -> None:
        self._hour.begin()
        h, n = seen.history, len(seen.history.names)
        self.volume.close_hour(h.hours, h.hour_now[:n, EVENTS] - h.dated_now[:n, 0], self.usual(h))

    def look_back(self, seen: Seen, watched: Watched, *, stalled: bool) -> list[Found]:
        h, n = seen.history, len(seen.history.names)
        if samples_are_due(h.hours):
            everyone = slice(0, n)
            self.volume.sample(*self.volume.sums(everyone, h.hours), h.hours, seen.ripe(everyone, SHADOW_HOURS))
        topics = np.flatnonzero(self.alarms.awaited(n, h.hours - 1, watched))
        if not len(topics):
            return self.alarms.look_back(seen, topics, np.full((0, S), NONE), watched, lambda *_: False)
        view = self._view(topics, *self.volume.sums(topics, h.hours))
        _, scores = weigh(view)
        return self.alarms.look_back(seen, topics, scores, watched, partial(self.is_over, view))

    def close_day(self, seen: Seen) -> None:
        h, n = seen.history, len(seen.history.names)
        self.volume.estimate(n, h.hours)
        rate = seen.rules.volume * seen.rate(seen.learned(slice(0, n)))
        self.alarms.close_day(h.days, rate, seen.weights)

    def calibrate(self, seen: Seen) -> None:
        self._hour.begin()  # also at a day's end, when the noise is new
        self._usual = None  # also where topics were filled: the same names have another past
        h = seen.history
        self.alarms.calibrate(h.days, seen.rules.volume * seen.rate(seen.learned(slice(0, len(h.names)))))

    def usual(self, h: History) -> FloatArray:
        """Return the events that are expected of each topic in the open hour."""
        now = h.hour, h.hours, len(h.names)
        if self._usual is None or self._usual[0] != now:
            self._usual = now, self.volume.usual(h)
        return self._usual[1]

    def is_over(self, view: View, place: int, topic: int, k: int) -> bool:
        """Return whether what came since a change was reported speaks for the usual number, or is now usual.

        `view`: at the end of running hour `k`; the topic is at a `place` in it.
        """
        age = k + 1 - int(self.alarms.reported_since[topic])
        if age < COOL:
            return False
        if age >= ABSORBED:
            return True
        windows, level = slice(DAY_SCALE, int(AGES[age]) + 1), float(self.alarms.reported_level[topic])
        n, mu = view.events[windows, place], view.expected[windows, place]
        c, t = self.volume.noise[windows][: len(n)].T
        worth = 1 / np.maximum((c + t * mu) * self.volume.dispersion[topic], 1.0)
        back = worth * (mu * (level - 1) - n * np.log(level))
        return bool((back > OVER[windows][: len(back)]).any())

    def _view(self, topics: IntArray | slice, events: FloatArray, expected: FloatArray) -> View:
        return View(events, expected, self.volume.effective(topics, events, expected))

    def _change(self, seen: Seen, view: View, topics: IntArray, place: int, window: int) -> Change:
        """Describe the change that a window shows: how many events for how many usual, and since when."""
        h, topic = seen.history, int(topics[place])
        start = h.hour * HOUR
        if window > HOUR_SCALE and (first := max(h.hours + 1 - int(SCALES[window]), 0)) < h.hours:
            start = int(h.ring_hour[first % RING]) * HOUR
        events, mu = float(view.events[window, place]), float(view.expected[window, place])
        noise = float(self.volume.noise[window] @ (1.0, mu)) * float(self.volume.dispersion[topic])
        sd = (mu * max(noise, 1.0)) ** 0.5
        finding = Finding(topic, WORSE, Level.HOLD, (events - mu) / sd, events, mu, start, start)
        return Change(finding, max(events / mu, LEAST_TIMES), seen.corroborated(topic, start))


def weigh(view: View, reported: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
    """Return how surely there are more events: (window, topic) likelihood ratios, (topic, window) scores up to each.

    `reported`: how many times the usual number was reported already and must be passed; nan for none.
    """
    usual = view.expected if reported is None else view.expected * np.fmax(reported, 1.0)
    ratio = np.full((S, view.events.shape[1]), NOTHING)
    ratio[:V] = ratios(view.worth, view.events, usual)
    mixed = np.full(ratio.shape, NONE)
    mixed[:V] = mixtures(ratio[:V], LENGTHS[:V])
    mixed[V:] = mixed[V - 1]
    return ratio, by_topic(mixed)
