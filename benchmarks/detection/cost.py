"""Cost: the processor time that deciding takes for a topic and an hour.

python -m benchmarks.detection cost
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.detection import desk, feeds

TOPICS, DAYS, KIND = 10_000, 35, "wandering"


def run(cells: Path) -> None:
    """Measure the cost, and write it to cost.json in the folder of cells."""
    (cells / "cost.json").write_text(json.dumps([measure(TOPICS, DAYS)], indent=2))


def measure(topics: int, days: int) -> dict[str, Any]:
    """Return the processor time to decide a whole feed, including the ends of days, without making the feed."""
    feed = feeds.make(KIND, 1, topics, days)
    begun = time.process_time()
    desk.watch(feed, desk.per_topic(90))
    seconds = time.process_time() - begun
    return {
        "detectors": desk.version(),
        "topics": topics,
        "days": days,
        "events": int(feed.events.sum()),
        "us_a_topic_hour": round(1e6 * seconds / (topics * feed.hours), 2),
    }
