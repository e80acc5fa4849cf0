"""What a look at volume needs of a topic, and what holds for the whole open hour: as `share_hour.py` for shares.

Only the events of the open hour change within it. What is expected, what an event is worth and what it says for each
multiple do not. The numbers are those of `Volume.sums_now`, `Volume.effective` and `volume.ratios`, bit for bit.
"""

from __future__ import annotations

import math

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray
from foreshock.monitor.detectors import Seen
from foreshock.monitor.detectors.alarms import NEARER, Alarms
from foreshock.monitor.detectors.share_hour import ALL_AT_ONCE
from foreshock.monitor.detectors.volume import FEWEST, TIMES, V, Volume, crowded
from foreshock.monitor.detectors.windows import LARGEST, LENGTHS, NOTHING, mixtures
from foreshock.monitor.units import UNIT

_LENGTHS: FloatArray = LENGTHS[:V]
_SAYS: FloatArray = np.array([math.log(times) for times in TIMES])[:, None, None]

# Rows of the table.
_EVENTS, _WORTH = slice(0, V), slice(V, 2 * V)
_USUAL = 2 * V
_COSTS = slice(2 * V + 1, 5 * V + 1)
_ROWS = 5 * V + 1


class VolumeHour:
    """The table of one open hour. Ratios and scores are (window, topic)."""

    def __init__(self, capacity: int) -> None:
        """Make an empty table."""
        self.capacity = capacity
        self.usual: FloatArray | None = None
        """The expected events of each topic in the open hour (`Volume.usual`)."""
        self.any = False
        self.known: BoolArray = np.zeros(capacity, bool)
        self.held: BoolArray = np.zeros(capacity, bool)
        """Topics of which a number is reported, so that more is needed to fire."""
        self.reach: IntArray = np.zeros(capacity, np.int64)
        """The window with the score that the reporting machine sees."""
        self.floor: FloatArray = np.zeros(capacity)
        """The score from which on a topic is near its threshold; inf for one that is learning."""
        self._table: FloatArray = np.zeros((_ROWS, capacity))
        self._reported: FloatArray = np.zeros((3 * V, capacity))

    def begin(self, usual: FloatArray | None = None) -> None:
        """Begin another hour, or the same with other noise, thresholds or topics."""
        self.usual, self.any, self.known[:] = usual, False, False

    def fill(self, seen: Seen, volume: Volume, alarms: Alarms, topics: IntArray) -> None:
        """Work out what is not known yet of the topics of a bucket."""
        if np.count_nonzero(self.known.take(topics)) == len(topics):
            return
        assert self.usual is not None
        h, n, usual = seen.history, len(seen.history.names), self.usual
        at: IntArray = topics[~self.known[topics]] if self.any or n > ALL_AT_ONCE else np.arange(n)
        self.any = True
        closed, expected = volume.closed_now(at, h.hours, usual[at])
        # The first window is not used: its topics would need more events than there are.
        needed = np.full(expected.shape, FEWEST)
        worth = volume.effective(at, needed, expected)
        self._table[:, at] = np.concatenate([closed, worth, usual[None, at], _costs(expected)])
        level = alarms.reported_level[at]
        held = ~np.isnan(level)
        self.held[at] = held
        if held.any():
            self._reported[:, at[held]] = _costs(expected[:, held] * np.fmax(level[held], 1.0))
        self.reach[at] = np.minimum(alarms.longest(at, h.hours), V - 1)
        floor = alarms.thresholds(at, seen.weights[at]) - NEARER
        self.floor[at] = np.where(seen.learned(at), floor, np.inf)
        self.known[at] = True

    def forget(self, topics: IntArray) -> None:
        """Work these topics out again: something was reported of them."""
        self.known[topics] = False

    def look(self, topics: IntArray, opened: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the windows of topics that are known here: likelihood ratios, their scores, and those that count.

        `opened`: events of the open hour with a time of day, in 1/10,000. Ratios and scores are those beyond what is
        usual; the ones that count, beyond what was reported as well. The ratios are the latter, too.
        """
        table = self._table.take(topics, axis=1)
        events = table[_EVENTS] + crowded(opened / UNIT, table[_USUAL])
        events[0] = 0
        worth = np.where(events >= FEWEST, table[_WORTH], 0.0)
        ratio = _ratios(worth, events, table[_COSTS])
        scores = mixtures(ratio, _LENGTHS)
        counted, held = scores, self.held.take(topics)
        if np.count_nonzero(held):
            at = held.nonzero()[0]
            ratio[:, at] = beyond = _ratios(worth[:, at], events[:, at], self._reported.take(topics[at], axis=1))
            counted = scores.copy()
            counted[:, at] = mixtures(beyond, _LENGTHS)
        return ratio, scores, counted


def _costs(expected: FloatArray) -> FloatArray:
    """Return what the expected events say against each multiple, (multiple and window, topic)."""
    return np.concatenate([expected * (times - 1) for times in TIMES])


def _ratios(worth: FloatArray, events: FloatArray, costs: FloatArray) -> FloatArray:
    """Return the likelihood ratios, as `volume.ratios` does."""
    each = np.exp(np.minimum(worth * (events * _SAYS - costs.reshape(3, *events.shape)), LARGEST))
    return np.where(worth > 0, (each[0] + each[1] + each[2]) / len(TIMES), NOTHING)
