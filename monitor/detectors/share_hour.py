"""What a look at shares needs of a topic, and holds for the whole open hour: worked out once, and used by each look.

The one idea: within an hour only the sums of the open hour change. The closed hours, the baseline, its share and the
logarithms of the likelihood ratios do not. So a look at a bucket adds what is new to the closed hours of each window
and weighs it, in a few array operations. It yields the same numbers as `Shares.sums_now`, `Shares.effective` and
`shares.ratios`, bit for bit.

Nothing here is remembered: a snapshot does not hold it.
"""

from __future__ import annotations

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray
from foreshock.monitor.detectors import Seen
from foreshock.monitor.detectors.alarms import NEARER, Alarms
from foreshock.monitor.detectors.shares import (
    EFFECTS,
    FEWEST,
    FEWEST_BEFORE,
    WEEKS,
    WINDOWS,
    Shares,
    Sums,
    expected,
    limits,
    logarithms,
)
from foreshock.monitor.detectors.windows import DAY_SCALE, LARGEST, LENGTHS, LONG, NONE, NOTHING, S, believe_less
from foreshock.monitor.units import UNIT

RISES, FALLS = WINDOWS, WINDOWS - WEEKS
"""Windows that look for rises, and those that look for falls: the longest ones, again."""
R = RISES + FALLS
AGAIN = slice(WEEKS, RISES)
"""The places of the windows of falls among those of rises."""
ALL_AT_ONCE = 64
"""Topics up to which the whole table is filled at once. Beyond, only the topics of a bucket are."""

_LENGTHS: FloatArray = np.concatenate([LENGTHS[DAY_SCALE:], LENGTHS[LONG:]])[:, None]
_NUMBER: FloatArray = np.array([float(RISES)] * RISES + [float(FALLS)] * FALLS)[:, None]
_EFFECTS: FloatArray = np.array(EFFECTS)[:, None, None]

# Rows of the table.
_EVENTS, _NEGATIVE, _ABOUT, _WANDERS, _NEEDED, _LOW, _HIGH, _NOISE = (
    slice(r * RISES, (r + 1) * RISES) for r in range(8)
)
_OWN = 8 * RISES
_BAD, _GOOD = (slice(_OWN + 1 + r * 3 * R, _OWN + 1 + (r + 1) * 3 * R) for r in range(2))
_ROWS = _OWN + 1 + 6 * R


class ShareHour:
    """The table of one open hour. Scores are (row, topic): of the windows of rises, then of falls, then `NONE`."""

    def __init__(self, capacity: int) -> None:
        """Make an empty table."""
        self.capacity = capacity
        self.any = False
        self.known: BoolArray = np.zeros(capacity, bool)
        self.held: BoolArray = np.zeros(capacity, bool)
        """Topics of which a change is reported, so that more is needed to fire."""
        self.reach: IntArray = np.zeros((2, capacity), np.int64)
        """(direction, topic): the row with the score that the reporting machine sees."""
        self.floor: FloatArray = np.zeros((2, capacity))
        """(direction, topic): the score from which on a topic is near its threshold; inf for one that is learning."""
        self._table: FloatArray = np.zeros((_ROWS, capacity))
        self._reported: FloatArray = np.zeros((6 * R, capacity))

    def begin(self) -> None:
        """Begin another hour, or the same with other noise or thresholds."""
        self.any, self.known[:] = False, False

    def fill(self, seen: Seen, shares: Shares, worse: Alarms, better: Alarms, topics: IntArray) -> None:
        """Work out what is not known yet of the topics of a bucket."""
        if np.count_nonzero(self.known.take(topics)) == len(topics):
            return
        n = len(seen.history.names)
        at: IntArray = topics[~self.known[topics]] if self.any or n > ALL_AT_ONCE else np.arange(n)
        self.any = True
        h, k = seen.history, seen.history.hours
        table, usual = _work_out(seen, shares, at, *shares.closed(at, k, k + 1, k - h.first_hour[at]))
        self._table[:, at] = table
        risen, fallen = worse.reported_level[at], better.reported_level[at]
        held = ~(np.isnan(risen) & np.isnan(fallen))
        self.held[at] = held
        if np.count_nonzero(held):
            u = usual[:, held]
            levels = np.fmax(u, risen[held]), np.fmin(u[AGAIN], fallen[held])
            self._reported[:, at[held]] = np.concatenate(_logarithms(*levels))
        learned = seen.learned(at)
        for row, (alarms, first, rows) in enumerate(((worse, DAY_SCALE, 0), (better, LONG, RISES))):
            longest = alarms.longest(at, k) - first
            self.reach[row, at] = np.where(longest >= 0, longest + rows, R)
            self.floor[row, at] = np.where(learned, alarms.thresholds(at, seen.weights[at]) - NEARER, np.inf)
        self.known[at] = True

    def forget(self, topics: IntArray) -> None:
        """Work these topics out again: something was reported of them."""
        self.known[topics] = False

    def look(self, topics: IntArray, opened: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the windows of topics that are known here: likelihood ratios, their scores, and those that count.

        `opened`: (topics, 2) weighted events and negative of the open hour. Ratios and scores are those beyond what is
        usual; the ones that count, beyond what was reported as well. The ratios are the latter, too.
        """
        table = self._table.take(topics, axis=1)
        bad, good, says = _worth(table, opened.T)
        ratio = _ratios(bad, good, says, table[_BAD], table[_GOOD])
        scores = _scores(ratio)
        counted = scores
        held = self.held.take(topics)
        if np.count_nonzero(held):
            at = held.nonzero()[0]
            logs = self._reported.take(topics[at], axis=1)
            ratio[:, at] = beyond = _ratios(bad[:, at], good[:, at], says[:, at], logs[: 3 * R], logs[3 * R :])
            counted = scores.copy()
            counted[:, at] = _scores(beyond)
        return ratio, scores, counted


def scores_at_the_end(seen: Seen, shares: Shares, topics: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the (topic, window) scores of rises and of falls, beyond what is usual, once an hour is closed."""
    k = seen.history.hours
    worse, better = np.full((len(topics), S), NONE), np.full((len(topics), S), NONE)
    if len(topics):
        closed = shares.closed(topics, k, k, k - seen.history.first_hour[topics])
        table, _ = _work_out(seen, shares, topics, *closed)
        ratio = _ratios(*_worth(table, np.zeros((2, 1))), table[_BAD], table[_GOOD])
        scores = _scores(ratio)
        worse[:, DAY_SCALE:], better[:, LONG:] = scores[:RISES].T, scores[RISES:R].T
    return worse, better


def _work_out(
    seen: Seen, shares: Shares, topics: IntArray, closed: IntArray, sums: Sums
) -> tuple[FloatArray, FloatArray]:
    """Return the columns of the table of some topics, and the usual share, (window, topic)."""
    weight = seen.pool.weight
    usual = expected(sums, seen.pool.share, weight)
    own = shares.dispersion[topics]
    noise = shares.noise
    c, t = np.where(np.isnan(noise[:, :1]), 1.0, noise[:, :1]), np.where(np.isnan(noise[:, 1:]), 0.0, noise[:, 1:])
    old = (sums.before >= FEWEST_BEFORE) & sums.old_enough & ~np.isnan(noise[:, :1])
    table = np.empty((_ROWS, len(topics)))
    table[_EVENTS], table[_NEGATIVE], table[_ABOUT] = closed[..., 0], closed[..., 1], 1 / (sums.before + weight)
    table[_WANDERS], table[_NEEDED] = own * t, np.where(old, FEWEST, np.inf)
    table[_LOW], table[_HIGH] = limits(usual)
    table[_NOISE], table[_OWN] = c, np.maximum(own, 1.0)
    table[_BAD], table[_GOOD] = _logarithms(usual, usual[AGAIN])
    return table, usual


def _worth(table: FloatArray, now: IntArray | FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return the independent events, negative and other, that each row is worth, and whether it says anything.

    `now`: (sum, topic) weighted events and negative of the open hour.
    """
    events = (table[_EVENTS] + now[0]) / UNIT
    some = np.maximum(events, 1.0)
    share = np.minimum(np.maximum((table[_NEGATIVE] + now[1]) / UNIT / some, table[_LOW]), table[_HIGH])
    variance = table[_OWN] * (table[_NOISE] * (1 / some + table[_ABOUT])) + table[_WANDERS]
    worth = np.where(events >= table[_NEEDED], 1 / variance, 0.0)
    worth = np.concatenate([worth, worth[AGAIN]])
    share = np.concatenate([share, 1 - share[AGAIN]])
    return worth * share, worth * (1 - share), worth > 0


def _logarithms(rise: FloatArray, fall: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what a negative event and another one say for each effect and row, (effect and row, topic).

    `rise`, `fall`: the share with which windows of rises and of falls are compared.
    """
    of_bad, of_good = logarithms(np.concatenate([rise, 1 - fall]), _EFFECTS)
    return of_bad.reshape(3 * R, -1), of_good.reshape(3 * R, -1)


def _ratios(bad: FloatArray, good: FloatArray, says: BoolArray, of_bad: FloatArray, of_good: FloatArray) -> FloatArray:
    """Return the likelihood ratios, (row, topic), as `shares.ratios` does."""
    shape = 3, *bad.shape
    each = np.exp(np.minimum(bad * of_bad.reshape(shape) + good * of_good.reshape(shape), LARGEST))
    return np.where(says, (each[0] + each[1] + each[2]) / len(EFFECTS), NOTHING)


def _scores(ratio: FloatArray) -> FloatArray:
    """Return the scores of all windows up to each, as `windows.mixtures` does."""
    weighed = ratio * _LENGTHS
    found = np.empty((R + 1, ratio.shape[1]))
    np.add.accumulate(weighed[:RISES], out=found[:RISES])
    np.add.accumulate(weighed[RISES:], out=found[RISES:R])
    mixed = found[:R]
    np.log(np.divide(mixed, _NUMBER, out=mixed), out=mixed)
    believe_less(mixed)
    found[R] = NONE
    return found
