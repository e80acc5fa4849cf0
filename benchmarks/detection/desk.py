"""Run Foreshock's own detectors on a made feed: the same code as live, with buckets of an hour."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.detection.feeds import HOUR, UNIT, Feed
from foreshock.monitor import deciding
from foreshock.monitor.deciding import BucketCounts, DetectionRules, State, decide_counts, pass_time

SHARES = {"worse": 0.7, "better": 0.1, "volume": 0.1, "silence": 0.1}
"""Share of the budget by what an alert is about: the default of `[alerts] shares`."""


SOURCES = 8


class Fired(NamedTuple):
    """An alert that fired: its topic, what it is about (a key of `SHARES`), and hours since the feed began."""

    topic: int
    about: str
    hour: float


@dataclass(frozen=True, slots=True)
class Run:
    """The alerts that a desk's detectors raised on a feed."""

    fired: list[Fired]
    running: np.ndarray[tuple[int], np.dtype[np.int64]]
    """(hour,): running hours passed before each hour of the feed. Budgets count these: where nothing at all comes for
    three hours, time stands still."""


@cache
def version() -> str:
    """Return a hash of the code that decides, so that measurements of different versions are not mixed."""
    digest = hashlib.sha256()
    monitor = Path(deciding.__file__).parent
    for path in [*sorted(monitor.glob("detectors/*.py")), monitor / "repeats.py", monitor / "deciding.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def per_topic(days: float) -> DetectionRules:
    """Return rules with a budget of one false alarm per topic in `days` days."""
    return DetectionRules(bucket=HOUR, false_alarms=1 / days, per_topic=True)


def watch(feed: Feed, rules: DetectionRules) -> Run:
    """Return all alerts that fire."""
    state = State.fresh(rules)
    known = np.full(feed.topics, -1)
    sources = tuple(f"s{place}" for place in range(SOURCES))
    fired: list[Fired] = []
    running = np.empty(feed.hours, np.int64)
    for hour in range(feed.hours):
        running[hour] = state.history.hours
        there = np.flatnonzero(feed.events[hour])
        start = feed.start + hour * HOUR
        for topic in there[known[there] < 0].tolist():
            known[topic] = state.history.topic(f"t{topic:05d}")
        if len(there):
            sums = (feed.events[hour, there] * UNIT, feed.negative[hour, there], feed.positive[hour, there])
            # The events of an hour come from as many sources, up to all of them; which ones changes from hour to hour.
            turned = sources[hour % SOURCES :] + sources[: hour % SOURCES]
            whose = tuple(turned[:events] for events in feed.events[hour, there].tolist())
            counts = BucketCounts(
                start, known[there], np.column_stack(sums), np.zeros((len(there), 2), np.int64), whose
            )
            decision = decide_counts(state, counts, snapshot=False)
        else:
            decision = pass_time(state, start + HOUR)
        for change in decision.changes:
            if change.event == "firing" and change.alert.fired_at is not None:
                a = change.alert
                about = a.kind if a.kind in ("volume", "silence") else a.direction
                fired.append(Fired(int(a.topic[1:]), about, (change.alert.fired_at - feed.start) / HOUR))
    return Run(fired, running)
