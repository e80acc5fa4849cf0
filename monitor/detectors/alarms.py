"""The alarm machines of all topics: one whose alarms are told, and its shadows, whose alarms are only counted.

A shadow fires when its score reaches its level, and is armed again a day later, once the window that raised it no
longer shows the change; from then on it looks only at what came since. The told machine is slower to arm again: having
fired, it compares with the level that it told, until what came since speaks for the old one (`change.over`). So a
lasting change is told once, and shadows ring no more rarely than it does.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray, TopicArrays
from foreshock.monitor.detectors.calibration import LEVELS, Counts, K
from foreshock.monitor.detectors.shares import DAY_SCALE, NONE, SCALES, S

CHANNELS = ("worse", "better", "volume")
"""What is looked for: a rise of the negative share, a fall of it, a rise of the number of events. Axis 0 of arrays."""
SPARES = (True, True, False)
"""Whether rare peaks far beyond the everyday ones are taken as changes, and spared, when a channel's threshold is read
off. Of the number of events none are: whatever the feed brings, it brings by habit."""
C = len(CHANNELS)
WORSE, BETTER, MORE = range(C)
DIRECTIONS = ("worse", "better", "worse")
"""Direction of an alert, by channel."""
DROP, COOL = 1.0, 24
"""A shadow is armed again when its score is this far below its level, and this many hours have passed."""
NEVER = -(10**6)
LOUDER = 1.0
"""What each alarm adds to its topic's own threshold; it decays at the rate that the budget gives the topic."""

AGES: IntArray = np.searchsorted(SCALES, np.arange(SCALES[-1] + 1), side="right") - 1
"""Index of the longest window that fits in so many hours."""


class Alarms(TopicArrays):
    """Shadows and told machines, over topics."""

    ARRAYS: ClassVar[dict[str, tuple[tuple[int, ...], tuple[int, ...], type[np.generic], float]]] = {
        "peak": ((C,), (S,), np.float32, NONE),
        "since": ((C,), (K,), np.int32, NEVER),
        "armed": ((C,), (K,), np.bool_, True),
        "raised": ((C,), (K,), np.int8, 0),
        "told_since": ((C,), (), np.int32, NEVER),
        "told_level": ((C,), (), np.float64, np.nan),
        "offset": ((C,), (), np.float64, 0.0),
    }
    PLAIN = ("threshold", "slope", *(f"{c}_{name}" for c in CHANNELS for name in Counts.ARRAYS))
    peak: npt.NDArray[np.float32]
    """(channel, topic, window): the open hour's largest mixture over windows up to each."""
    since: npt.NDArray[np.int32]
    armed: BoolArray
    raised: npt.NDArray[np.int8]
    """(channel, topic, level): running hour of the last firing or arming; whether armed; the window that fired."""
    told_since: npt.NDArray[np.int32]
    """Running hour at which the told machine last fired or was over: it looks only at what came since."""
    told_level: FloatArray
    """What it told, while that is not over: a negative share, or how many times the usual number; nan for nothing."""
    offset: FloatArray

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.counts = tuple(Counts() for _ in CHANNELS)
        self.threshold: FloatArray = np.full(C, np.inf)
        self.slope: FloatArray = np.ones(C)
        for channel, counts in zip(CHANNELS, self.counts, strict=True):
            for name in Counts.ARRAYS:
                setattr(self, f"{channel}_{name}", getattr(counts, name))

    def see(self, topics: IntArray, mixed: FloatArray) -> None:
        """Keeps (channel, topic, window) mixtures of topics with news for the shadows."""
        self.peak[:, topics] = np.maximum(self.peak[:, topics], mixed)

    def standing(self, topics: IntArray, mixed: FloatArray, k: int) -> FloatArray:
        """(channel, topic): the mixtures that the told machines see, which look only at what came since."""
        age = np.clip(k + 1 - self.told_since[:, topics], 0, SCALES[-1])
        found: FloatArray = np.take_along_axis(mixed, AGES[age][..., None], axis=-1)[..., 0]
        return found

    def tell(self, channel: int, topic: int, k: int, level: float, *, rate: bool) -> None:
        """The told machine fired in running hour `k` and told `level`; `rate`: it is an alert of its own."""
        self.told_since[channel, topic], self.told_level[channel, topic] = k, level
        self.offset[channel, topic] += LOUDER * rate

    def end(self, channel: int, topic: int, k: int) -> None:
        """What was told is over."""
        self.told_since[channel, topic], self.told_level[channel, topic] = k, np.nan

    def close_hour(self, k: int, mixed: FloatArray, ripe: BoolArray) -> None:
        """Ends running hour `k`: shadows fire on its peaks, and are armed by `mixed` as it stands. Only `ripe` topics
        count."""
        n = len(ripe)
        for channel, counts in enumerate(self.counts):
            rows = np.flatnonzero(self.peak[channel, :n, S - 1] >= LEVELS[0])
            if len(rows):
                age = np.clip(k + 1 - self.since[channel, rows], 0, SCALES[-1])
                peak = self.peak[channel, rows]
                score = np.take_along_axis(peak, AGES[age], axis=1)
                fires = self.armed[channel, rows] & (score >= LEVELS)
                counts.now += fires[ripe[rows]].sum(axis=0)
                place, level = np.nonzero(fires)
                topic = rows[place]
                self.armed[channel, topic, level], self.since[channel, topic, level] = False, k
                self.raised[channel, topic, level] = (peak[place, : S - 1] < LEVELS[level][:, None]).sum(axis=1)
            waiting = np.flatnonzero(~self.armed[channel, :n])
            since = self.since[channel, :n].ravel()[waiting]
            topic, level = np.divmod(waiting[k - since >= COOL], K)
            window = np.maximum(self.raised[channel, topic, level], DAY_SCALE)
            over = mixed[channel, topic, window] < LEVELS[level] - DROP
            topic, level = topic[over], level[over]
            self.armed[channel, topic, level], self.since[channel, topic, level] = True, k
            counts.exposure_now += int(ripe.sum())
        self.peak[:, :n] = NONE

    def calibrate(self, days: int, rates: FloatArray) -> None:
        """Sets each channel's threshold so that a topic of weight 1 rings `rates` times a day."""
        for channel, counts in enumerate(self.counts):
            found = counts.threshold(days, float(rates[channel]), spare=SPARES[channel])
            self.threshold[channel], self.slope[channel] = found

    def thresholds(self, topics: IntArray, weights: FloatArray) -> FloatArray:
        """(channel, topic): each topic's own. `weights`: how many times another topic's budget it has."""
        own: FloatArray = self.offset[:, topics] - np.log(weights) / self.slope[:, None]
        return self.threshold[:, None] + own

    def decay(self, rates: FloatArray, weights: FloatArray) -> None:
        """A day has passed: what alarms added to their topics' thresholds becomes less."""
        n = len(weights)
        self.offset[:, :n] = np.maximum(self.offset[:, :n] - LOUDER * rates[:, None] * weights, 0.0)
