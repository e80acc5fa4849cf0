"""Bad news, recoveries and volume: topics that have changed, as surely as the false-alarm budget asks.

A rise of the negative share that is not a surge is `drift`. A fall is looked for by the longer windows alone: that a
bad day is over is said by its alert's end. More events than usual are `volume`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreshock.monitor.arrays import BoolArray, FloatArray, IntArray
from foreshock.monitor.baseline import DAYS, EVENTS, NEGATIVE, POSITIVE
from foreshock.monitor.detectors import Seen, shares
from foreshock.monitor.detectors.alarms import AGES, BETTER, COOL, DIRECTIONS, MORE, WORSE, C
from foreshock.monitor.detectors.shares import (
    BASELINE,
    DAY_SCALE,
    HOUR_SCALE,
    HOURS_KEPT,
    LENGTHS,
    LONG,
    SCALES,
    some,
)
from foreshock.monitor.detectors.windows import View, view, view_now, weigh
from foreshock.monitor.findings import Finding, Level
from foreshock.monitor.units import DAY, HOUR, UNIT

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert

DRIFT, VOLUME = "drift", "volume"
KINDS = (DRIFT, VOLUME)
NEARER = 1.5
"""A score this far below its threshold is worth watching: twice this, and it no longer is."""
FEWEST_SOURCES = 2
"""Where a topic ever had so many: one source's bad mood is not news where there are others to confirm it."""
OVER = np.maximum(3.0 - np.log(LENGTHS), 0.0)
"""Log-likelihood ratio of the old level over the told one beyond which a change is over, by a window of a day or more:
a good hour ends no crisis. As with scores, a window's ratio weighs by its length: e^3 is asked of a day's, of longer
ones so many days less; of any, that it speaks for the old level."""
ABSORBED = (BASELINE, BASELINE, 28 * 24)
"""Running hours after which a told level is what is usual: the baseline then lies wholly after the change."""
TAKEN, STEP_TOLD = 0.7, 0.05
"""Of the step that was seen so much counts as told (it is seen at its luckiest moment), and at least the second."""


def look(
    seen: Seen,
    topics: IntArray,
    timed: IntArray,
    watched: Mapping[int, Sequence[Alert]],
) -> list[tuple[str, Finding]]:
    """Findings by kind, of topics that have news; the machines of those that are met count as having fired.

    `timed`: (topics, 2) events and negative mass of the bucket that have a time of day, as they weigh.
    """
    alarms, k = seen.alarms, seen.history.hours
    v = view_now(seen, topics, timed)
    ratio, mixed = weigh(v)
    alarms.see(topics, mixed)
    told = alarms.told_level[:, topics]
    held = np.flatnonzero(~np.isnan(told).all(axis=0))
    if len(held):
        part = view(seen, topics[held], some(v.sums, held), (v.events[:, held], v.expected[:, held]))
        ratio[..., held], mixed[:, held] = weigh(part, told[:, held])
    threshold = alarms.thresholds(topics, seen.weights[topics])
    score = alarms.standing(topics, mixed, k)
    near = (score >= threshold - NEARER) & seen.learned(topics)
    interesting: BoolArray = np.logical_or.reduce(near)
    if watched:
        interesting[[place for place, t in enumerate(topics.tolist()) if t in watched]] = True
    found: list[tuple[str, Finding]] = []
    for place in np.flatnonzero(interesting).tolist():
        topic = int(topics[place])
        for channel in range(C):
            mine = [a for a in watched.get(topic, ()) if of_channel(a) == channel]
            pending = [a for a in mine if a.fired_at is None]
            firing = {a.kind for a in mine if a.fired_at is not None}
            if near[channel, place]:
                age = min(k + 1 - int(alarms.told_since[channel, topic]), int(SCALES[-1]))
                window = int(ratio[channel, : AGES[age] + 1, place].argmax())
                kind = VOLUME if channel == MORE else DRIFT
                finding, level = _finding(seen, v, place, topic, channel, window, kind)
                met = bool(score[channel, place] >= threshold[channel, place]) and _confirmed(seen, topic, finding)
                # While bad news surge, a fallen share is the same news; a surge on top of a drift is not.
                new = kind not in firing and not (channel == WORSE and bool(seen.surge_alarms.firing[topic]))
                if met:
                    alarms.tell(channel, topic, k, level, rate=new)
                if new:
                    found.append((kind, finding._replace(level=Level.MET if met else Level.NEAR)))
            elif score[channel, place] < threshold[channel, place] - 2 * NEARER:
                found += [(a.kind, standing(topic, a, Level.CALM)) for a in pending]
    return found


def ended(seen: Seen, v: View, mixed: FloatArray, watched: Mapping[int, Sequence[Alert]]) -> list[tuple[str, Finding]]:
    """At the end of an hour, with the `view_of_hour` and its mixtures: findings of what is over."""
    alarms, k = seen.alarms, seen.history.hours - 1
    found: list[tuple[str, Finding]] = []
    for channel, topic in np.argwhere(~np.isnan(alarms.told_level[:, : len(seen.history.names)])).tolist():
        if is_over(seen, v, channel, topic, k):
            alarms.end(channel, topic, k)
            found += [
                (a.kind, standing(topic, a, Level.CALM))
                for a in watched.get(topic, ())
                if a.fired_at is not None and of_channel(a) == channel
            ]
    waiting = sorted(t for t, alerts in watched.items() if any(a.fired_at is None for a in alerts))
    if waiting:
        topics = np.array(waiting)
        floor = alarms.thresholds(topics, seen.weights[topics]) - 2 * NEARER
        calm = alarms.standing(topics, mixed[:, topics], k) < floor
        for place, topic in enumerate(waiting):
            found += [
                (a.kind, standing(topic, a, Level.CALM))
                for a in watched[topic]
                if a.fired_at is None and calm[of_channel(a), place]
            ]
    return found


def is_over(seen: Seen, v: View, channel: int, topic: int, k: int) -> bool:
    """Whether what came since a change was told speaks for the level before it, or has become what is usual."""
    age = k + 1 - int(seen.alarms.told_since[channel, topic])
    if age < COOL:
        return False
    if age >= ABSORBED[channel]:
        return True
    windows, level = slice(DAY_SCALE, int(AGES[age]) + 1), float(seen.alarms.told_level[channel, topic])
    if channel == MORE:
        n, mu = v.events[windows, topic], v.expected[windows, topic]
        c, t = seen.volume.noise[windows][: len(n)].T
        worth = 1 / np.maximum((c + t * mu) * seen.volume.dispersion[topic], 1.0)
        back = worth * (mu * (level - 1) - n * np.log(level))
        return bool((back > OVER[windows][: len(back)]).any())
    if v.sums.events[LONG - 1, topic] < 1:  # three days without news: nothing is left to go on
        return True
    b, q = v.usual[windows, topic], v.share[windows, topic]
    back = v.worth[windows, topic] * (q * np.log(b / level) + (1 - q) * np.log((1 - b) / (1 - level)))
    still = b < level if channel == WORSE else b > level
    return bool((np.where(still, back, 0.0) > OVER[windows]).any())


def of_channel(alert: Alert) -> int:
    """The channel that an alert of these kinds is of."""
    if alert.kind == VOLUME:
        return MORE
    return WORSE if alert.direction == "worse" else BETTER


def standing(topic: int, alert: Alert, level: Level) -> Finding:
    """An open alert as it was, at another level."""
    said = alert.score, alert.observed, alert.baseline, alert.started_at, alert.window_start
    return Finding(topic, alert.direction, level, *said)


def _confirmed(seen: Seen, topic: int, finding: Finding) -> bool:
    h = seen.history
    if h.several_sources[topic] and h.other_source_at[topic] <= finding.started_at:
        return False
    fell = finding.observed < finding.baseline
    # A share may rise while polarity does too, where neutral news gives way to both: that is no decline.
    return finding.polarity is None or fell == (finding.direction == "worse")


def _finding(
    seen: Seen, v: View, place: int, topic: int, channel: int, window: int, kind: str
) -> tuple[Finding, float]:
    """What is said, and the level that counts as told: by the window that speaks most surely, and since when."""
    h = seen.history
    opens = h.hours if window <= HOUR_SCALE else min(seen.shares.start_of(window, h.hours + 1), h.hours)
    window_start = _time_of(seen, opens)
    if channel == MORE:
        events, mu = float(v.events[window, place]), float(v.expected[window, place])
        noise = float(seen.volume.noise[window] @ (1.0, mu)) * float(seen.volume.dispersion[topic])
        sd = (mu * max(noise, 1.0)) ** 0.5
        said = (events - mu) / sd, events, mu, window_start, window_start
        return Finding(topic, "worse", Level.HOLD, *said), max(events / mu, 1.5)
    usual, observed = float(v.usual[window, place]), float(v.share[window, place])
    rise = observed - usual
    spread = (usual * (1 - usual) / max(float(v.worth[window, place]), 1e-9)) ** 0.5
    direction, sign = DIRECTIONS[channel], 1 if channel == WORSE else -1
    if SCALES[window] <= SCALES[DAY_SCALE] and channel == WORSE:
        started = seen.recent.onset(topic, rise, window_start)
    else:
        started = _onset(seen, topic, opens, usual + rise / 2, sign)
    value, base, polarity = observed, usual, None
    if kind == DRIFT:
        polarity = value, base = _polarities(seen, topic, started)
        window_start = started
    level = min(max(usual + sign * max(TAKEN * sign * rise, STEP_TOLD), 0.02), 0.95)
    return Finding(topic, direction, Level.HOLD, rise / spread, value, base, started, window_start, polarity), level


def _time_of(seen: Seen, k: int) -> int:
    """Start of running hour `k`; of the open one, if it is that."""
    h = seen.history
    return h.hour * HOUR if k >= h.hours else seen.shares.hour_of(k, h.hours) * HOUR


def _onset(seen: Seen, topic: int, opens: int, level: float, sign: int) -> int:
    """Start of the hour (of the day, beyond a week) from which on the share was beyond `level` by most: where a CUSUM
    left its minimum."""
    k, past = seen.history.hours, seen.shares
    recent = np.arange(max(opens, k + 1 - HOURS_KEPT, 0), k + 1)
    days = np.arange(-(-opens // 24), recent[0] // 24 + 1)
    days = days[days * 24 < recent[0]]
    at = np.concatenate([days * 24, recent])
    totals = np.concatenate([past.past_days[days % shares.DAYS_KEPT, topic], past.past[recent % HOURS_KEPT, topic]])
    since = (totals[-1] - totals).astype(np.int64)
    excess = sign * (since[:, NEGATIVE] - level * since[:, EVENTS])
    return _time_of(seen, int(at[int(excess.argmax())]))


def _polarities(seen: Seen, topic: int, since: int) -> tuple[float, float]:
    """Mean polarity since the UTC day of a change, and on the days of the last eight weeks before it."""
    h = seen.history
    rows = h.last_days(DAYS)
    after = h.day_number[rows] >= since // DAY
    now = h.day_ring[rows[after], topic].sum(axis=0) + h.day_now[topic]
    return _polarity(now), _polarity(h.day_ring[rows[~after], topic].sum(axis=0))


def _polarity(total: IntArray) -> float:
    return float((total[POSITIVE] - total[NEGATIVE]) / max(float(total[EVENTS]), UNIT / 100))
