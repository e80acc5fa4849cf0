"""Bad news and recoveries: topics whose negative share has changed, as surely as the false-alarm budget asks.

Found by a window of up to three days a rise is a `negativity_spike`; found by a longer one it is `drift`. A fall is
looked for by the longer windows alone: that a bad day is over is said by its alert's end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreshock.monitor.baseline import (
    DAY,
    DAYS,
    EVENTS,
    HOUR,
    NEGATIVE,
    POSITIVE,
    UNIT,
    BoolArray,
    FloatArray,
    IntArray,
)
from foreshock.monitor.detectors import Finding, Level, Seen
from foreshock.monitor.detectors.alarms import AGES
from foreshock.monitor.detectors.shares import NONE, RING, SCALES, Sums, expected, mixtures

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert

SPIKE, DRIFT = "negativity_spike", "drift"
DIRECTIONS = ("worse", "better")
LONGEST_SPIKE = 72
"""Hours."""
LONG = int(np.searchsorted(SCALES, LONGEST_SPIKE, side="right"))
"""The first window that finds drift."""
NEARER = 1.5
"""A score this far below its threshold is worth watching: twice this, and it no longer is."""
FEWEST_SOURCES = 2
"""Where a topic ever had so many: one source's bad mood is not news where there are others to confirm it."""


def weigh(seen: Seen, topics: IntArray, sums: Sums) -> tuple[FloatArray, FloatArray]:
    """(direction, topic, window): log-likelihood ratios and their mixtures over windows up to each."""
    ratios = seen.shares.ratios(topics, sums, seen.pool.share, seen.pool.weight)
    ratios[1, :, :LONG] = NONE
    return ratios, mixtures(ratios)


def look(seen: Seen, topics: IntArray, at: int, watched: Mapping[int, Sequence[Alert]]) -> list[tuple[str, Finding]]:
    """Findings by kind, of topics that have news; the machines of those that are met count as having fired."""
    h, alarms = seen.history, seen.alarms
    k = h.hours
    sums = seen.shares.sums(topics, k, h.hour_now[topics], seen.effect[topics])
    ratios, mixed = weigh(seen, topics, sums)
    alarms.see(topics, mixed)
    threshold = alarms.threshold[:, None] + alarms.offset[:, topics]
    score = alarms.standing(topics, mixed, k)
    near = (score >= threshold - NEARER) & alarms.told_armed[:, topics] & seen.learned(topics)
    interesting: BoolArray = np.logical_or(*near)
    if watched:
        interesting[[place for place, t in enumerate(topics.tolist()) if t in watched]] = True
    found: list[tuple[str, Finding]] = []
    for place in np.flatnonzero(interesting).tolist():
        topic = int(topics[place])
        for d, direction in enumerate(DIRECTIONS):
            open_alerts = [a for a in watched.get(topic, ()) if a.direction == direction]
            says = Level.HOLD
            kind = ""
            if near[d, place]:
                met = bool(score[d, place] >= threshold[d, place])
                age = min(k + 1 - int(alarms.told_since[d, topic]), int(SCALES[-1]))
                window = int(ratios[d, place, : AGES[age] + 1].argmax())
                kind = SPIKE if window < LONG else DRIFT
                finding = _finding(seen, sums, ratios[d, place], place, topic, at, direction, window, kind)
                if met and _confirmed(seen, topic, finding):
                    says = Level.MET
                    alarms.tell(d, topic, window, k)
                else:
                    says = Level.NEAR
                found.append((kind, finding._replace(level=says)))
            elif score[d, place] < threshold[d, place] - 2 * NEARER:
                says = Level.CALM
            # Of the other kind's alert, if it is pending: it becomes this one, or is over.
            rest = Level.CALM if says in (Level.CALM, Level.MET) else Level.HOLD
            found += [(a.kind, standing(topic, a, rest)) for a in open_alerts if a.fired_at is None and a.kind != kind]
    return found


def standing(topic: int, alert: Alert, level: Level) -> Finding:
    """An open alert as it was, at another level."""
    return Finding(
        topic,
        alert.direction,
        level,
        alert.score,
        alert.observed,
        alert.baseline,
        alert.started_at,
        alert.window_start,
    )


def _confirmed(seen: Seen, topic: int, finding: Finding) -> bool:
    h = seen.history
    if h.several_sources[topic] and h.other_source_at[topic] <= finding.window_start:
        return False
    fell = finding.observed < finding.baseline
    # A share may rise while polarity does too, where neutral news gives way to both: that is no decline.
    return finding.polarity is None or fell == (finding.direction == "worse")


def _finding(
    seen: Seen,
    sums: Sums,
    ratios: FloatArray,
    place: int,
    topic: int,
    at: int,
    direction: str,
    window: int,
    kind: str,
) -> Finding:
    """What is said: the window that speaks most surely, its share against the baseline's, and since when."""
    h, shares = seen.history, seen.shares
    best = int(ratios[: window + 1].argmax())
    usual = float(expected(sums, seen.pool.share, seen.pool.weight)[best, place])
    events = max(float(sums.events[best, place]), 1e-9)
    observed = min(max(float(sums.negative[best, place]) / events, 0.0), 1.0)
    c, t = np.nan_to_num(shares.noise[best], nan=1.0).tolist()
    before = float(sums.before[best, place]) + seen.pool.weight
    variance = (c * (1 / events + 1 / before) + t) * usual * (1 - usual) * float(shares.dispersion[topic])
    opens = max(h.hours + 1 - int(SCALES[best]), 0)
    window_start = h.hour * HOUR if opens >= h.hours else int(shares.hour_number[opens % RING]) * HOUR
    rise = observed - usual
    if SCALES[best] <= 24 and direction == "worse":
        started = seen.recent.onset(topic, rise, window_start)
    else:
        started = _onset(seen, topic, opens, usual + rise / 2, 1 if direction == "worse" else -1)
    polarity = None
    value, base = observed, usual
    if kind == DRIFT:
        polarity = _polarities(seen, topic, started)
        value, base = polarity
        window_start = started
    return Finding(topic, direction, Level.HOLD, rise / variance**0.5, value, base, started, window_start, polarity)


def _onset(seen: Seen, topic: int, opens: int, level: float, sign: int) -> int:
    """Start of the hour from which on the share was beyond `level` by most: where a CUSUM left its minimum."""
    h, shares = seen.history, seen.shares
    hours = np.arange(opens, h.hours + 1)
    totals = shares.past[hours % RING, topic]
    since = (totals[-1] - totals).astype(np.int64)
    excess = sign * (since[:, NEGATIVE] - level * since[:, EVENTS])
    first = int(hours[int(excess.argmax())])
    return h.hour * HOUR if first >= h.hours else int(shares.hour_number[first % RING]) * HOUR


def _polarities(seen: Seen, topic: int, since: int) -> tuple[float, float]:
    """Mean polarity since the UTC day of a change, and on the days of the last eight weeks before it."""
    h = seen.history
    rows = h.last_days(DAYS)
    after = h.day_number[rows] >= since // DAY
    now = h.day_ring[rows[after], topic].sum(axis=0) + h.day_now[topic]
    return _polarity(now), _polarity(h.day_ring[rows[~after], topic].sum(axis=0))


def _polarity(total: IntArray) -> float:
    return float((total[POSITIVE] - total[NEGATIVE]) / max(float(total[EVENTS]), UNIT / 100))
