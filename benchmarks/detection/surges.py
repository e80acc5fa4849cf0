"""Surges: how soon the desk notices crises, what decoys it falls for, and how often it rings where nothing happens.

    python -m benchmarks.detection surges --seeds 4

Crises and decoys are planted into made company feeds (`crises.py`) that the very code decides that decides live, in
buckets of five minutes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.detection import crises
from foreshock.monitor.deciding import Counts, DetectionRules, State, decide_counts
from foreshock.monitor.units import ALL, DAY, UNIT

MINUTE = 60_000_000
BUCKET = 5


class Fired(NamedTuple):
    topic: int
    """Of the feed; -1 for the series of all stories."""
    kind: str
    direction: str
    minute: int
    ended: int | None


def watch(feed: crises.Feed, rules: DetectionRules) -> list[Fired]:
    """All alerts that fire."""
    stories, state = feed.stories, State.fresh(rules)
    whose = {ALL: -1}
    names = [f"t{topic:05d}" for topic in range(feed.topics)]
    whose |= {name: topic for topic, name in enumerate(names)}
    fired: dict[str, Fired] = {}
    bucket = stories.minute // BUCKET
    begins = np.flatnonzero(np.diff(bucket, prepend=-1))
    for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(bucket)], strict=True):
        topic, source, negative = stories.topic[first:last], stories.source[first:last], stories.negative[first:last]
        there, place = np.unique(topic, return_inverse=True)
        sources = [{f"s{s}" for s in source[place == at].tolist()} for at in range(len(there))]
        sources.append(set().union(*sources))
        events = np.append(np.bincount(place), last - first)
        bad = np.append(np.bincount(place, weights=negative), negative.sum())
        state.grow()
        index = np.array([state.history.topic(names[t]) for t in there.tolist()] + [state.history.topic(ALL)])
        values = np.rint(np.column_stack([events, bad, (events - bad) * 0.4]) * UNIT).astype(np.int64)
        start = crises.START_DAY * DAY + int(bucket[first]) * BUCKET * MINUTE
        counts = Counts(
            start, index, values, np.zeros((len(index), 2), np.int64), tuple(tuple(sorted(names)) for names in sources)
        )
        for change in decide_counts(state, counts).changes:
            alert = change.alert
            if change.event == "firing" and alert.fired_at is not None:
                at = (alert.fired_at - crises.START_DAY * DAY) // MINUTE
                fired[alert.id] = Fired(whose[alert.topic], alert.kind, alert.direction, at, None)
            elif change.event == "resolved" and alert.resolved_at is not None and alert.id in fired:
                ended = (alert.resolved_at - crises.START_DAY * DAY) // MINUTE
                fired[alert.id] = fired[alert.id]._replace(ended=ended)
    return list(fired.values())
