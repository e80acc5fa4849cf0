"""Silence: a topic that stopped, against its own rate.

What is counted is not hours but events that should have come: nights and weekends weigh as little as they usually
bring, a holiday on which the whole feed is quiet likewise (`History.close_hour`). And what is long is said by the
topic itself: twice the largest such gap it had in 28 days, which is what a bursty topic's events are worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreshock.monitor.baseline import EVENTS, GAP_DAYS, UNIT, History, IntArray
from foreshock.monitor.detectors import Finding, Level, Seen

if TYPE_CHECKING:
    from foreshock.monitor.alerts import Alert


def bursts(h: History, topic: int) -> float:
    """How many events of a topic come at once, by the variance of its days over their mean (Fano's index), at least 1.

    Over 28 running days, weekdays and weekends each about their own mean. Independent events give 1; where three
    sources report each thing, 3 of their events say no more than one, and a gap must be three times as long.
    """
    rows = h.last_days(GAP_DAYS)
    events, weekend = h.day_ring[rows, topic, EVENTS] / UNIT, (h.day_number[rows] + 3) % 7 >= 5
    squares, freedom = 0.0, 0
    for days in (events[weekend], events[~weekend]):
        if len(days) > 1 and days.sum() > 0:
            squares += float(((days - days.mean()) ** 2).sum() / days.mean())
            freedom += len(days) - 1
    return max(1.0, squares / freedom) if freedom else 1.0


class Silence:
    """Looks at every topic each hour. Its score is the gap over the gap that is required: it fires at 1."""

    kind = "silence"

    def look(self, seen: Seen, topics: IntArray, at: int, watched: Mapping[int, Sequence[Alert]]) -> list[Finding]:
        """Findings of topics that miss news; that a story came is for the caller to say (`came`)."""
        h, rules = seen.history, seen.rules
        gap = h.gap[topics] / UNIT
        own = np.maximum(h.gap_ring[:, topics].max(axis=0), h.gap_now[topics]) / UNIT
        required = np.maximum(rules.silence_floor, rules.silence_factor * own)
        steady = h.steady[topics] & seen.learned(topics) & (h.hours - h.last_hour[topics] >= rules.silence_hours)
        score = gap / required
        near = steady & (score >= rules.silence_near)
        found = []
        for place in np.flatnonzero(near).tolist():
            topic = int(topics[place])
            needed = max(rules.silence_floor * bursts(h, topic), float(required[place]))
            reached = float(gap[place]) / needed
            if reached < rules.silence_near:
                continue
            last = int(h.last_story[topic])
            level = Level.MET if reached >= 1 else Level.NEAR
            found.append(Finding(topic, "worse", level, reached, 0.0, float(gap[place]), last, last))
        return found

    def came(self, topic: int, alert: Alert) -> Finding:
        """The finding that a watched topic has a story again."""
        return Finding(topic, "worse", Level.CALM, 0.0, 0.0, alert.baseline, alert.started_at, alert.window_start)
