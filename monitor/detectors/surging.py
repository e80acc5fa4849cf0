"""Surges of bad news: topics whose negative events come in numbers and a mood that ordinary bursts do not explain.

`surge.py` weighs a window, `surges.py` remembers what is usual, `surge_alarms.py` fires. Here they come together: what
a bucket means for the topics that have news in it, and what an alert says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreshock.monitor.arrays import FloatArray, IntArray
from foreshock.monitor.baseline import EVENTS, NEGATIVE, RING, hour_class
from foreshock.monitor.detectors import Seen, surge
from foreshock.monitor.detectors.surge import WEIGHTS, WINDOWS
from foreshock.monitor.detectors.surges import Look
from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.recent import SHORT
from foreshock.monitor.units import ALL, HOUR, UNIT

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert
    from foreshock.monitor.baseline import History

SURGE = "negativity_spike"
NEARER = 1.5
"""A score this far below its threshold is worth watching: twice this, and it no longer is."""
FEWEST, LEAST_NEGATIVE = 2.0, 1.5
"""Weighed events of a window, and their negative mass, below which nothing fires: one story is not a surge."""
FIRST_DAY = 24
"""Running hours of a feed before which nothing is judged."""
SHAPE_PRIOR = 20.0
"""Events by which the profile of the hours is drawn to a flat one."""
LEAST_NEW = 0.25 * UNIT
"""Negative mass of a bucket, in 1/10,000, below which a topic is not looked at: it brings no bad news."""
BAD = UNIT // 2
"""Negative mass of a bucket that holds a negative event."""


def hour_shape(h: History) -> float:
    """How busy the feed usually is in the open hour, over the mean of all hours: of weekdays and weekends apart."""
    kind, pooled = hour_class(h.hour), h.pooled()
    n, hours = len(h.names), int(h.class_hours.sum())
    if not hours:
        return 1.0
    total = float(h.base[:n, EVENTS][pooled].sum()) / UNIT
    like = float(h.profile[kind, :n, EVENTS][pooled].sum()) / UNIT
    return (like + SHAPE_PRIOR) / (total * int(h.class_hours[kind]) / hours + SHAPE_PRIOR)


def look(
    seen: Seen,
    topics: IntArray,
    values: IntArray,
    dated: IntArray,
    sources: tuple[tuple[str, ...], ...],
    end: int,
    watched: Mapping[int, Sequence[Alert]],
) -> tuple[list[Finding], IntArray]:
    """Adds a bucket that ends at `end`: (topics, 3) values, (topics, 2) of those known to the day.

    Returns findings, and what of the bucket has a time of day as it weighs: (topics, 2) events and negative mass.
    """
    h, s, alarms, k = seen.history, seen.surges, seen.surge_alarms, seen.history.hours
    events = values[:, EVENTS] / UNIT
    everything = h.index.get(ALL, -1)
    places = np.flatnonzero(topics == everything)
    minute = k * 60 + (end - h.hour * HOUR) * 60 // HOUR
    weight = s.weigh(
        topics, events, sources, int(places[0]) if len(places) else -1, minute, 60 * (k - h.first_hour[topics])
    )
    bucket = s.add(topics, values[:, :2], dated, weight, minute, h.pooled())
    if k < FIRST_DAY:  # nothing is usual yet
        return [], bucket
    alarms.looks[0] += events.sum()
    bad = np.flatnonzero(weight * values[:, NEGATIVE] >= LEAST_NEW)
    if not len(bad):
        return [], bucket
    topics, bucket_of = topics[bad], bucket[bad]
    v = _windows(seen, topics, (end - h.hour * HOUR) / HOUR, bucket_of)
    mixed = surge.mixtures(v.factors)
    alarms.see(topics, mixed)
    longest = alarms.allowed(topics, k)
    score = mixed[longest, np.arange(len(topics))]
    threshold = alarms.thresholds(topics, seen.weights[topics])
    near = (score >= threshold - NEARER) & ~alarms.firing[topics]
    found: list[Finding] = []
    for place in np.flatnonzero(near).tolist():
        topic = int(topics[place])
        window = int((v.factors[: longest[place] + 1, place] + np.log(WEIGHTS[: longest[place] + 1])).argmax())
        enough = v.events[window, place] >= FEWEST and v.negative[window, place] >= LEAST_NEGATIVE
        met = bool(score[place] >= threshold[place] and enough)
        if met:
            alarms.fire(topic, k)
        found.append(_finding(seen, v, place, topic, window, float(score[place]), end, met=met))
    if watched:
        found += _calm(topics, score, threshold, watched)
    return found, bucket


def close_hour(seen: Seen, shape: float) -> list[int]:
    """Ends the open hour, before the history does. Returns the topics whose surge is over."""
    h, s = seen.history, seen.surges
    n, k = len(h.names), h.hours
    s.close_hour(n, k, shape)
    day = (s.past[(k + 1) % len(s.past), :n, 1] - s.past[max(k + 1 - 24, 0) % len(s.past), :n, 1]) / UNIT
    return seen.surge_alarms.close_hour(k, day, s.usual_mass(h.first_hour[:n], k + 1))


def ended(seen: Seen, over: Sequence[int], watched: Mapping[int, Sequence[Alert]]) -> list[Finding]:
    """When an hour was closed: alerts that are over, and pending ones that no longer come near."""
    found = [standing(topic, a, Level.CALM) for topic in over for a in watched.get(topic, ()) if a.fired_at is not None]
    waiting = np.array(sorted(t for t, alerts in watched.items() if any(a.fired_at is None for a in alerts)), np.int64)
    if len(waiting):
        mixed = surge.mixtures(_windows(seen, waiting, 0.0, None).factors)
        score = mixed[seen.surge_alarms.allowed(waiting, seen.history.hours), np.arange(len(waiting))]
        found += _calm(waiting, score, seen.surge_alarms.thresholds(waiting, seen.weights[waiting]), watched)
    return found


def standing(topic: int, alert: Alert, level: Level) -> Finding:
    """An open alert as it was, at another level."""
    said = alert.score, alert.observed, alert.baseline, alert.started_at, alert.window_start
    return Finding(topic, alert.direction, level, *said)


def _calm(
    topics: IntArray, score: FloatArray, threshold: FloatArray, watched: Mapping[int, Sequence[Alert]]
) -> list[Finding]:
    calm = score < threshold - 2 * NEARER
    return [
        standing(topic, a, Level.CALM)
        for topic in topics[calm].tolist()
        for a in watched.get(topic, ())
        if a.fired_at is None
    ]


def _windows(seen: Seen, topics: IntArray, part: float, bucket: IntArray | None) -> Look:
    h = seen.history
    length = seen.rules.bucket / HOUR
    return seen.surges.look(topics, h.first_hour[topics], h.hours, part, length, seen.shape, bucket, h.pooled())


def _finding(seen: Seen, v: Look, place: int, topic: int, window: int, score: float, end: int, *, met: bool) -> Finding:
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
    level = Level.MET if met else Level.NEAR
    return Finding(topic, "worse", level, score, mass / UNIT, float(usual), started, started)


def _hour_of(seen: Seen, k: int) -> int:
    """Hours since 1970 of running hour `k`, which is at most four days back."""
    h = seen.history
    return h.hour if k >= h.hours else int(h.ring_hour[k % RING])
