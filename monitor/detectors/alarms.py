"""The alarm machines of one direction of change: one whose alarms are reported, and its shadows.

A shadow fires when its score reaches its level. It is armed again a day later, once the window that raised it no longer
shows the change; from then on it looks only at what came since. Shadow alarms are counted and never reported.

The reporting machine is slower to arm again. After it fires, it compares with the level that it reported, until what
came since speaks for the old level. So a lasting change is reported once, and shadows fire no more rarely than it does.
See docs/detection.md, "3. The threshold that calibrates itself" and "4. An alert's life".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.monitor.alerts import Alert
from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors import Found, Seen, Watched
from foreshock.monitor.detectors.calibration import HISTORY, LEVELS, K, ShadowCounts
from foreshock.monitor.detectors.windows import AGES, DAY_SCALE, FIRST_WEEK, LENGTHS, NONE, SCALES, S, in_use
from foreshock.monitor.findings import Finding, Level

DROP, COOL = 1.0, 24
"""A shadow is armed again when its score is this far below its level, and this many hours have passed."""
NEVER = -(10**6)
LOUDER = 1.0
"""What each alarm adds to its topic's own threshold. It decays at the rate that the budget gives the topic."""
NEARER = 1.5
"""A score at most this far below its threshold is near it. A pending alert is dropped twice as far below."""
OVER: FloatArray = np.maximum(3.0 - np.log(LENGTHS), 0.0)
"""Log-likelihood ratio of the old level over the reported one beyond which a change is over, by window of a day or
more: one good hour ends no crisis. As in scores, a window's ratio weighs by its length. A window of a day needs e^3, a
longer one so many days less, and any window must speak for the old level."""
SHADOW_HOURS = FIRST_WEEK + 3 * 24
"""Running hours from a topic's first story after which its shadow alarms count."""


class Change(NamedTuple):
    """A change that a detector describes."""

    finding: Finding
    level: float
    """The level to report: what came since is compared with it."""
    confirmed: bool
    """Whether the evidence is enough to fire."""


class Alarms(TopicArrays):
    """The reporting machine and the shadows of one direction, over topics."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "peak": ((), (S,), np.float32, NONE),
        "since": ((), (K,), np.int32, NEVER),
        "armed": ((), (K,), np.bool_, True),
        "raised": ((), (K,), np.int8, 0),
        "reported_since": ((), (), np.int32, NEVER),
        "reported_level": ((), (), np.float64, np.nan),
        "offset": ((), (), np.float64, 0.0),
    }
    PLAIN = ("threshold", "slope", *ShadowCounts.ARRAYS)
    peak: npt.NDArray[np.float32]
    """(topic, window): the open hour's largest score of windows up to each."""
    since: npt.NDArray[np.int32]
    """(topic, level): running hour in which a shadow last fired or was armed."""
    armed: BoolArray
    """(topic, level): whether a shadow is armed."""
    raised: npt.NDArray[np.int8]
    """(topic, level): the window that last made a shadow fire."""
    reported_since: npt.NDArray[np.int32]
    """Running hour in which the machine last fired or its change was over. It looks only at what came since."""
    reported_level: FloatArray
    """What it reported, until that is over: a negative share, or how many times the usual number; nan for nothing."""
    offset: FloatArray
    """What earlier alarms add to the topic's threshold."""

    def __init__(
        self,
        capacity: int,
        kind: str,
        direction: str,
        *,
        leave_out_rare: bool,
        errors: float = 1.0,
        first: int | None = None,
    ) -> None:
        """Make the machines of alerts of a `kind` in one `direction`.

        `leave_out_rare`, `errors`: see `calibration.read_off`. `first`: the first of the windows that look, if a young
        feed cannot use them all.
        """
        super().__init__(capacity)
        self.first = first
        self.kind, self.direction, self.leave_out_rare, self.errors = kind, direction, leave_out_rare, errors
        self.reports = 0  # how often the machine fired since it was made; not remembered
        self.counts = ShadowCounts()
        self.threshold: FloatArray = np.full(1, np.inf)
        self.slope: FloatArray = np.ones(1)
        for name in ShadowCounts.ARRAYS:
            setattr(self, name, getattr(self.counts, name))

    def look(
        self,
        seen: Seen,
        topics: IntArray,
        ratio: FloatArray,
        mixed: FloatArray,
        watched: Watched,
        describe: Callable[[int, int], Change],
        same_news: Sequence[str] = (),
    ) -> list[Found]:
        """Return findings on topics with news, and note which of them fire.

        `ratio`: (window, topic) likelihood ratios. `mixed`: (topic, window) scores of windows up to each.
        `describe(place, window)` describes the change that a window shows at a place in `topics`. `same_news`: other
        kinds that are the same news. While one of them, or of the own kind, fires in the same direction, nothing is
        reported.
        """
        k = seen.history.hours
        threshold = self.thresholds(topics, seen.weights[topics])
        score = self.standing(topics, mixed, k)
        near: BoolArray = (score >= threshold - NEARER) & seen.learned(topics)
        interesting = near
        if watched:
            interesting = near.copy()
            interesting[[place for place, t in enumerate(topics.tolist()) if t in watched]] = True
        found: list[Found] = []
        for place in interesting.nonzero()[0].tolist():
            topic = int(topics[place])
            if near[place]:
                age = min(k + 1 - int(self.reported_since[topic]), int(SCALES[-1]))
                window = int(ratio[: AGES[age] + 1, place].argmax())
                change = describe(place, window)
                met = bool(score[place] >= threshold[place]) and change.confirmed
                firing = {
                    a.kind for a in watched.get(topic, ()) if a.fired_at is not None and a.direction == self.direction
                }
                new = firing.isdisjoint((self.kind, *same_news))
                if met:
                    self.report(topic, k, change.level, new=new)
                if new:
                    level = Level.MET if met else Level.NEAR
                    sure, wanted = float(score[place]), float(threshold[place])
                    finding = change.finding._replace(level=level, statistic=sure, threshold=wanted)
                    found.append((self.kind, finding))
            elif score[place] < threshold[place] - 2 * NEARER:
                found += [calm(topic, a) for a in self._mine(watched.get(topic, ())) if a.fired_at is None]
        return found

    def awaited(self, n: int, k: int, watched: Watched) -> BoolArray:
        """Return which of the first `n` topics have scores that decide something at the end of running hour `k`.

        Those of which a shadow may be armed again, a change is reported, or an alert is pending.
        """
        found: BoolArray = ~np.isnan(self.reported_level[:n])
        found[self._unarmed(n, k)[0]] = True
        found[self._waiting(watched)] = True
        return found

    def look_back(
        self,
        seen: Seen,
        topics: IntArray,
        mixed: FloatArray,
        watched: Watched,
        is_over: Callable[[int, int, int], bool],
    ) -> list[Found]:
        """Close the hour for the shadows, and return findings on what is over.

        `topics`: those that are `awaited`, or more, ascending. `mixed`: their (topic, window) scores as they stand.
        `is_over(place, topic, k)` says whether a reported change is over by the end of running hour `k`.
        """
        n, k = len(seen.history.names), seen.history.hours - 1
        self.close_hour(k, topics, mixed, seen.ripe(slice(0, n), SHADOW_HOURS))
        found: list[Found] = []
        for place in np.flatnonzero(~np.isnan(self.reported_level[topics])).tolist():
            topic = int(topics[place])
            if is_over(place, topic, k):
                self.end(topic, k)
                found += [calm(topic, a) for a in self._mine(watched.get(topic, ())) if a.fired_at is not None]
        waiting = np.array(self._waiting(watched), np.int64)
        if len(waiting):
            floor = self.thresholds(waiting, seen.weights[waiting]) - 2 * NEARER
            low = self.standing(waiting, mixed[np.searchsorted(topics, waiting)], k) < floor
            for topic in waiting[low].tolist():
                found += [calm(topic, a) for a in self._mine(watched[topic]) if a.fired_at is None]
        return found

    def _waiting(self, watched: Watched) -> list[int]:
        """Return the topics with a pending alert of this machine, ascending."""
        return sorted(t for t, alerts in watched.items() if any(a.fired_at is None for a in self._mine(alerts)))

    def _mine(self, alerts: Sequence[Alert]) -> list[Alert]:
        return [a for a in alerts if a.direction == self.direction and a.kind == self.kind]

    def see(self, topics: IntArray, mixed: FloatArray, windows: slice = slice(None)) -> None:
        """Keep the (topic, window) scores of some windows of topics with news for the shadows."""
        peak = self.peak[:, windows]
        peak[topics] = np.maximum(peak[topics], mixed)

    def standing(self, topics: IntArray, mixed: FloatArray, k: int) -> FloatArray:
        """Return the scores that the reporting machine sees, which looks only at what came since it last fired."""
        found: FloatArray = np.take_along_axis(mixed, self.longest(topics, k)[..., None], axis=-1)[..., 0]
        return found

    def longest(self, topics: IntArray, k: int) -> IntArray:
        """Return the longest window of each topic that holds only what came since the machine last fired."""
        found: IntArray = AGES[np.minimum(np.maximum(k + 1 - self.reported_since[topics], 0), SCALES[-1])]
        return found

    def pending(self, watched: Watched, topics: IntArray) -> list[int]:
        """Return the places of topics with a pending alert of this machine."""
        return [
            place
            for place, topic in enumerate(topics.tolist())
            if topic in watched and any(a.fired_at is None for a in self._mine(watched[topic]))
        ]

    def report(self, topic: int, k: int, level: float, *, new: bool) -> None:
        """Note that the machine fired in running hour `k` and reported `level`; `new`: as an alert of its own."""
        self.reports += 1
        self.reported_since[topic], self.reported_level[topic] = k, level
        self.offset[topic] += LOUDER * new

    def end(self, topic: int, k: int) -> None:
        """Note that what was reported is over."""
        self.reported_since[topic], self.reported_level[topic] = k, np.nan

    def close_hour(self, k: int, topics: IntArray, mixed: FloatArray, ripe: BoolArray) -> None:
        """End running hour `k`: shadows fire on its peaks, and are armed by the scores `mixed` of `topics` as they
        stand.

        Only alarms of `ripe` topics count.
        """
        n, counts = len(ripe), self.counts
        rows = (self.peak[:n, S - 1] >= LEVELS[0]).nonzero()[0]
        if len(rows):
            age = np.minimum(np.maximum(k + 1 - self.since[rows], 0), SCALES[-1])
            peak = self.peak[rows]
            score = peak[np.arange(len(rows))[:, None], AGES[age]]
            fires = self.armed[rows] & (score >= LEVELS)
            counts.now += fires[ripe[rows]].sum(axis=0)
            place, level = np.nonzero(fires)
            topic = rows[place]
            self.armed[topic, level], self.since[topic, level] = False, k
            self.raised[topic, level] = (peak[place, : S - 1] < LEVELS[level][:, None]).sum(axis=1)
        topic, level = self._unarmed(n, k)
        if len(topic):
            window = np.maximum(self.raised[topic, level], DAY_SCALE)
            over = mixed[np.searchsorted(topics, topic), window] < LEVELS[level] - DROP
            topic, level = topic[over], level[over]
            self.armed[topic, level], self.since[topic, level] = True, k
        counts.exposure_now += np.count_nonzero(ripe)
        self.peak[:n] = NONE

    def _unarmed(self, n: int, k: int) -> tuple[IntArray, IntArray]:
        """Return topics, ascending, and levels of shadows that may be armed again at the end of running hour `k`."""
        unarmed = (~self.armed[:n]).ravel().nonzero()[0]
        return np.divmod(unarmed[self.since[:n].ravel()[unarmed] <= k - COOL], K)

    def calibrate(self, days: int, rate: float) -> None:
        """Set the threshold at which a topic of weight 1 fires `rate` times a day by chance."""
        looked = None if self.first is None else _looked(days, self.first)
        self.threshold[0], self.slope[0] = self.counts.threshold(
            days, rate, leave_out_rare=self.leave_out_rare, errors=self.errors, looked=looked
        )

    def thresholds(self, topics: IntArray, weights: FloatArray) -> FloatArray:
        """Return each topic's own threshold. `weights`: how many times another topic's budget each has."""
        own: FloatArray = self.offset[topics] - np.log(weights) / self.slope
        return self.threshold + own

    def close_day(self, days: int, rate: float, weights: FloatArray) -> None:
        """Put the day's shadow alarms away, and let what alarms added to their topics' thresholds decay.

        `days`: running days that the history has closed. `rate`: the budget of a topic of weight 1.
        """
        if days:
            self.counts.close_day(days - 1)
        n = len(weights)
        self.offset[:n] = np.maximum(self.offset[:n] - LOUDER * rate * weights, 0.0)


def _looked(days: int, first: int) -> FloatArray:
    """Return how many windows from the one at `first` on looked on each day of `ShadowCounts`, over those of today.

    `days`: running days of the feed.
    """
    past = days - 1 - (days - 1 - np.arange(HISTORY)) % HISTORY
    found: FloatArray = in_use(past, first) / np.maximum(in_use(np.array([days]), first), 1)
    return found


def calm(topic: int, alert: Alert) -> Found:
    """Return the finding that an open alert is over, with what it said."""
    said = alert.score, alert.observed, alert.baseline, alert.started_at, alert.window_start
    sure = alert.statistic, alert.threshold
    return alert.kind, Finding(topic, alert.direction, Level.CALM, *said, *sure)


def samples_are_due(hours: int) -> bool:
    """Return whether residuals are sampled after so many running hours: once a day, at another hour each day."""
    return hours % 24 == 7 * (hours // 24) % 24
