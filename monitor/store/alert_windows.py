"""Answer what an alert measured: its own quantity, over windows as long as the one that fired.

An alert compares one window with what is usual. So the picture of an alert is that quantity in every window of the same
length, and the range that the alert itself called usual. Where the alert fired, the line is at the alert's number.

Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from foreshock.monitor.kinds import DRIFT, KINDS, SILENCE, SPIKE
from foreshock.monitor.store import schema
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY, HOUR

POINTS = 480
"""The most points of a curve."""
BEFORE = 60 * DAY
"""How far before its window a curve begins at most: a detector looks back as far."""
MARGIN = 12 * HOUR
"""How much a curve shows at least before the window and after the alert."""
DEVIATIONS = 2
"""Standard deviations from the usual to either end of its range."""


@dataclass(frozen=True, slots=True)
class AlertCurve:
    """What an alert measures, in windows of `window` that end at the times `at`.

    `values` are counts (negative stories, events) or mean polarities; NaN where a window has no event to take a mean
    of. `usual`, `low` and `high` are those of the alert when it fired.
    """

    at: npt.NDArray[np.int64]
    step: int
    window: int
    values: npt.NDArray[np.float64]
    events: npt.NDArray[np.int64]
    usual: float
    low: float
    high: float


def window_of(alert: AlertRow) -> int:
    """Return the length of the window that fired. A drift compares whole days, as its sentence does."""
    return alert.window_end - _window_start(alert)


def spread(alert: AlertRow) -> float:
    """Return the standard deviation of what is usual, in the alert's unit.

    Negative stories are counts, so it is the root of the usual number. Drift and volume are measured in standard
    deviations of the feed's own noise: `score` says how many of them lie between `observed` and `baseline`.
    """
    if alert.kind == SPIKE and not was_share(alert):
        return float(np.sqrt(max(alert.baseline, 0.0)))
    return abs(alert.observed - alert.baseline) / max(alert.score, 1e-9)


def was_share(alert: AlertRow) -> bool:
    """Return whether a surge was decided by the negative share, as it was before surges were counted."""
    return alert.kind == SPIKE and alert.observed <= 1


def value_at(connection: Connection, alert: AlertRow, end: int) -> float | None:
    """Return the alert's quantity in the window that ends at `end`; None if that has no event to take a mean of."""
    sums = _Sums(connection, alert.topic, end - window_of(alert), end)
    value = float(_quantity(alert, *sums.between(np.array([end]), window_of(alert)))[0])
    return None if np.isnan(value) else value


def alert_curve(connection: Connection, alert: AlertRow, until: int, *, bucket: int) -> AlertCurve:
    """Return the picture of an alert: from some windows before it to some after its end, or to `until`.

    One of the windows is the one that fired, to the microsecond. `bucket`: the length of the store's buckets.
    """
    window, opened = window_of(alert), _window_start(alert)
    start = opened - min(max(3 * window, MARGIN), BEFORE)
    first = connection.execute(
        select(schema.topics.c.first_story_at).where(schema.topics.c.topic == alert.topic)
    ).scalar()
    start = min(max(start, int(first or start)), opened)
    closed = max(alert.resolved_at or alert.window_end, alert.window_end)
    after = max(2 * window, 2 * MARGIN)
    if alert.resolved_at is None:  # up to now, unless that is so far that steps would be longer than the window
        after = max(after, POINTS * window - (alert.window_end - start))
    end = max(min(closed + after, until), alert.window_end)
    step = bucket * max(1, -(-(end - start) // (POINTS * bucket)))
    back = (alert.window_end - start) // step
    at = alert.window_end + step * np.arange(-back, (end - alert.window_end) // step + 1, dtype=np.int64)
    sums = _Sums(connection, alert.topic, int(at[0]) - window, end)
    events, negative, positive = sums.between(at, window)
    half = DEVIATIONS * spread(alert)
    low = alert.baseline - half
    values = _quantity(alert, events, negative, positive)
    if alert.kind in (SPIKE, DRIFT):
        # The alert's own number: it may hold parts of stories from just before its window, and weighs repeats less.
        values[back] = alert.observed
    return AlertCurve(
        at=at,
        step=step,
        window=window,
        values=values,
        events=events.astype(np.int64),
        usual=alert.baseline,
        low=low if KINDS[alert.kind].quantity == "polarity" else max(low, 0.0),
        high=alert.baseline + half,
    )


class _Sums:
    """Running sums of a topic's buckets, so that any window is a difference of two of them."""

    def __init__(self, connection: Connection, topic: str, start: int, end: int) -> None:
        b = schema.buckets.c
        query = select(b.start, b.events, b.negative, b.positive).order_by(b.start)
        rows = connection.execute(query.where(b.topic == topic, b.start >= start, b.start < end)).all()
        values = np.array([tuple(row) for row in rows], np.int64).reshape(-1, 4)
        self._starts = values[:, 0]
        self._total = np.vstack([np.zeros((1, 3), np.int64), np.cumsum(values[:, 1:], axis=0)])

    def between(self, ends: npt.NDArray[np.int64], window: int) -> tuple[npt.NDArray[np.float64], ...]:
        """Return events, negative and positive mass of the windows that end at `ends`."""
        until, since = (np.searchsorted(self._starts, times) for times in (ends, ends - window))
        found = (self._total[until] - self._total[since]) / [1, 10_000, 10_000]
        return found[:, 0], found[:, 1], found[:, 2]


def _window_start(alert: AlertRow) -> int:
    if alert.kind == DRIFT:
        return alert.started_at - alert.started_at % DAY
    if alert.kind == SILENCE:
        return alert.started_at
    return alert.window_start


def _quantity(
    alert: AlertRow,
    events: npt.NDArray[np.float64],
    negative: npt.NDArray[np.float64],
    positive: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    quantity = KINDS[alert.kind].quantity
    if quantity == "polarity" or was_share(alert):
        mass = positive - negative if quantity == "polarity" else negative
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(events > 0, mass / events, np.nan)
    return negative if quantity == "negative" else events
