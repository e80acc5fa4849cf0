"""Drift: a topic's daily polarity that moved slowly, for the worse or the better.

Each day since the topic's last alarm is one number: its polarity, less the topic's mean, in sds of a day with so many
events (the events' noise, and the day-to-day wandering pooled over topics). On these runs river's PageHinkley, once
for each direction. The numbers are few and kept, so it is run anew each day and no state of river's is ever stored;
the same recursion in numpy says how near each topic is, and spares river those that are nowhere near.

Days on which a spike fired are left out: a crisis has been reported, and is no decline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from foreshock.monitor.baseline import (
    DAY,
    DAYS,
    EVENTS,
    NEGATIVE,
    POSITIVE,
    UNIT,
    BoolArray,
    FloatArray,
    IntArray,
    event_noise,
)
from foreshock.monitor.detectors import DetectionRules, Finding, Level, Seen

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert

FEWEST = 3
"""Events of a day that counts: with fewer the day is skipped, not guessed."""
WIDEST = 3.0
"""Daily sds beyond which a day counts no more: one wild day, or two, is no drift."""
BACK_DAYS, NEW_NORMAL_DAYS = 3, 14
"""An alert may end after 3 days if the last week is nearer to before than to after; after 14 days after is usual."""


class DriftTest(Protocol):
    """The shape of river's drift detectors, which come without types."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float) -> None: ...


class Daily(NamedTuple):
    """Over (day, topic): standardised polarity, whether the day counts, and the (day, topic, sum) sums in events."""

    x: FloatArray
    good: BoolArray
    sums: FloatArray
    days: IntArray
    """UTC days since 1970, oldest first."""


def daily(seen: Seen, topics: IntArray) -> Daily:
    """The series that drift is judged by."""
    h = seen.history
    rows = h.last_days(DAYS)
    sums = h.day_ring[rows][:, topics] / UNIT
    number = np.arange(h.days - len(rows), h.days)
    good = (sums[..., EVENTS] >= FEWEST) & ~h.day_aside[rows][:, topics] & (number[:, None] >= h.drift_from[topics])
    kept = np.where(good[..., None], sums, 0.0).sum(axis=0)
    mean = (kept[:, POSITIVE] - kept[:, NEGATIVE]) / np.maximum(kept[:, EVENTS], 1e-9)
    events = np.where(good, sums[..., EVENTS], 1.0)
    polarity = (sums[..., POSITIVE] - sums[..., NEGATIVE]) / events
    sd = np.sqrt(seen.pool.polarity_noise * event_noise(kept) / events + seen.pool.polarity_wander)
    return Daily(np.where(good, np.clip((polarity - mean) / sd, -WIDEST, WIDEST), 0.0), good, sums, h.day_number[rows])


def page_hinkley(x: FloatArray, good: BoolArray, delta: float) -> tuple[FloatArray, FloatArray, IntArray]:
    """Page-Hinkley's test statistics of falls and of rises, and the number of values so far, over (day, series).

    River's recursion with `alpha` 1: deviations from the running mean, less (for rises) or plus (for falls) `delta`,
    summed, against the sum's minimum or maximum so far. Where `good` is false the day does not exist.
    """
    count: IntArray = np.cumsum(good, axis=0, dtype=np.int64)
    mean = np.cumsum(np.where(good, x, 0.0), axis=0) / np.maximum(count, 1)
    deviation = np.where(good, x - mean, 0.0)
    up = np.cumsum(deviation - delta * good, axis=0)
    down = np.cumsum(deviation + delta * good, axis=0)
    rises: FloatArray = up - np.minimum.accumulate(up, axis=0)
    # River's maximum begins at -1, below the first sum (delta), and so without effect.
    falls: FloatArray = np.maximum.accumulate(down, axis=0) - down
    return falls, rises, count


def drifted(x: FloatArray, rules: DetectionRules, direction: str) -> bool:
    """Whether river's PageHinkley finds a drift in a series of standardised values, oldest first."""
    from river.drift import PageHinkley  # slow to import, and needed on few days

    test: DriftTest = PageHinkley(
        min_instances=rules.drift_days,
        delta=rules.drift_delta,
        threshold=rules.drift_fires,
        alpha=1.0,
        mode="down" if direction == "worse" else "up",
    )
    for value in x.tolist():
        test.update(value)
        if test.drift_detected:
            return True
    return False


class Drift:
    """Looks at every topic once a day, at the day's first bucket. Its score is Page-Hinkley's statistic."""

    kind = "drift"

    def look(self, seen: Seen, topics: IntArray, at: int, watched: Mapping[int, Sequence[Alert]]) -> list[Finding]:
        """Findings of falls (`worse`) and rises (`better`) of daily polarity."""
        if not len(topics) or not seen.history.days:
            return []
        rules, series, learned = seen.rules, daily(seen, topics), seen.learned(topics)
        falls, rises, count = page_hinkley(series.x, series.good, rules.drift_delta)
        found = []
        for direction, statistic in (("worse", falls), ("better", rises)):
            judged = np.where(count >= rules.drift_days, statistic, 0.0)
            now, peak = judged[-1], judged.max(axis=0)
            for place, topic in enumerate(topics.tolist()):
                alert = next((a for a in watched.get(topic, ()) if a.direction == direction), None)
                if alert is not None and alert.fired_at is not None:
                    found.append(self._reported(series, place, topic, alert))
                elif learned[place] or alert is not None:
                    good = series.good[:, place]
                    fires = bool(peak[place] > rules.drift_fires) and learned[place]
                    fires = fires and drifted(series.x[good, place], rules, direction)
                    level = Level.MET if fires else Level.NEAR if now[place] >= rules.drift_near else Level.CALM
                    if level is not Level.CALM or alert is not None:
                        score = float(peak[place] if fires else now[place])
                        found.append(
                            self._change(
                                series, place, topic=topic, direction=direction, level=level, score=score, rules=rules
                            )
                        )
        return found

    def _change(
        self,
        series: Daily,
        place: int,
        *,
        topic: int,
        direction: str,
        level: Level,
        score: float,
        rules: DetectionRules,
    ) -> Finding:
        """The change point is where the cumulated deviations turned: polarity before and since are what is said."""
        good = np.flatnonzero(series.good[:, place])
        x = series.x[good, place]
        deviation = x - np.cumsum(x) / np.arange(1, len(x) + 1)
        worse = -np.cumsum(deviation + rules.drift_delta)
        path = np.cumsum(deviation - rules.drift_delta) if direction == "better" else worse
        crossed = path - np.minimum.accumulate(path) > rules.drift_fires
        upto = int(crossed.argmax()) if crossed.any() else len(path)
        turn = int(path[:upto].argmin()) if upto else 0
        before, since = good[: turn + 1], good[turn + 1 :]
        started = series.days[since[0] if len(since) else -1]
        return Finding(
            topic,
            direction,
            level,
            score,
            observed=_polarity(series.sums[since, place]),
            baseline=_polarity(series.sums[before, place]),
            started_at=int(started) * DAY,
            window_start=int(started) * DAY,
        )

    def _reported(self, series: Daily, place: int, topic: int, alert: Alert) -> Finding:
        """A drift that fired: over when the last week is nearer to before than to after, or when after is usual."""
        fired = alert.fired_at if alert.fired_at is not None else alert.pending_at
        passed = int((series.days * DAY >= fired - DAY).sum())
        lately = _polarity(series.sums[-7:, place])
        near_before = abs(lately - alert.baseline) < abs(lately - alert.observed)
        over = passed >= NEW_NORMAL_DAYS or (passed >= BACK_DAYS and near_before)
        level = Level.CALM if over else Level.HOLD
        return Finding(
            topic, alert.direction, level, alert.score, lately, alert.baseline, alert.started_at, alert.window_start
        )


def _polarity(sums: FloatArray) -> float:
    total = sums.sum(axis=0)
    return float((total[POSITIVE] - total[NEGATIVE]) / max(float(total[EVENTS]), 1e-9))


def negative_share(seen: Seen, topic: int, since: int) -> float:
    """A topic's negative share over the closed days from `since` on: what a drift alert has reported."""
    h = seen.history
    rows = h.last_days(DAYS)
    total = h.day_ring[rows[h.day_number[rows] * DAY >= since], topic].sum(axis=0)
    return float(total[NEGATIVE]) / max(float(total[EVENTS]), 1.0)
