"""Cost: the processor time that deciding takes for a topic and an hour, and for an event.

    python -m benchmarks.detection cost

Two feeds of 10,000 topics, one quiet and one busy, are decided in buckets of five minutes. All work is counted, the
ends of hours and of days too; only the daily snapshot is not. The two parts are what explains both totals. Processor
time is counted, so that other processes on the machine matter little.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection import desk, feeds
from benchmarks.recording import record
from foreshock.monitor.deciding import BucketCounts, DetectionRules, State, decide_counts

TOPICS, BEFORE, DAYS = 10_000, 15, 2
"""Topics, days of history in buckets of an hour, and days that are measured."""
KINDS = ("sparse", "wandering")
"""About one event a day and topic, and twelve."""
BUCKETS = 12
"""Buckets an hour."""


def run(cells: Path) -> None:
    """Measure the cost, and write it to cost.json in the folder of cells and to benchmarks/results/cost.json."""
    measured = measure(TOPICS, BEFORE, DAYS)
    (cells / "cost.json").write_text(json.dumps([measured], indent=2))
    record("cost", "python -m benchmarks.detection cost", measured)


def measure(topics: int, before: int, days: int) -> dict[str, Any]:
    """Return the processor time (microseconds) of both feeds, and the two parts that explain it."""
    runs = [_run(kind, topics, before, days) for kind in KINDS]
    hours = topics * days * 24
    used, events = [run["seconds"] * 1e6 for run in runs], [run["events"] for run in runs]
    an_event = (used[1] - used[0]) / (events[1] - events[0])
    return {
        "detectors": desk.version(),
        "topics": topics,
        "days": days,
        "topic_hours": hours,
        "feeds": dict(zip(KINDS, runs, strict=True)),
        "us_an_event": round(an_event, 2),
        "us_a_topic_hour": round((used[0] - an_event * events[0]) / hours, 2),
    }


def _run(kind: str, topics: int, before: int, days: int) -> dict[str, float]:
    """Return the events of the measured days, and the processor time (seconds) that they took."""
    feed = feeds.make(kind, 1, topics, before + days)
    state = State.fresh(DetectionRules())
    places = np.array([state.history.topic(f"t{topic:05d}") for topic in range(topics)])
    rng, seconds = np.random.default_rng(1), 0.0
    for hour in range((before + days) * 24):
        split = BUCKETS if hour >= before * 24 else 1
        # Each event has a bucket of its hour by chance, and its part of the hour's mood.
        events = rng.multinomial(feed.events[hour], [1 / split] * split)
        mood = np.stack([feed.negative[hour], feed.positive[hour]], axis=1) // np.maximum(feed.events[hour], 1)[:, None]
        for bucket in range(split):
            many = events[:, bucket]
            there = np.flatnonzero(many)
            if not len(there):
                continue
            values = np.column_stack([many[there] * feeds.UNIT, mood[there] * many[there, None]])
            start = feed.start + hour * feeds.HOUR + bucket * (feeds.HOUR // BUCKETS)
            sources = tuple((f"s{topic % desk.SOURCES}",) for topic in there.tolist())
            counts = BucketCounts(start, places[there], values, np.zeros((len(there), 2), np.int64), sources)
            begun = time.process_time()
            decide_counts(state, counts, snapshot=False)
            seconds += (time.process_time() - begun) * (split > 1)
    return {"events": int(feed.events[before * 24 :].sum()), "seconds": round(seconds, 3)}
