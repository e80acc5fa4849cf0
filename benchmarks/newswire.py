"""Measure a replay of a complete newswire of 1987 with the real model: 20,423 stories with long bodies.

    python -m benchmarks.newswire

It needs the shared data beside the checkout.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.model.settings import ModelSettings
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import open_store
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

FEED = Path(__file__).parents[2] / "shared" / "data" / "streams" / "reuters21578_1987.jsonl.gz"


def measure() -> dict[str, Any]:
    """Replay the feed twice into one store, and return both results, the rate, and the store's size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'reuters.db'}"
        settings = Settings(store=StoreSettings(url=url), model=ModelSettings(score_cache="off"))
        first = replay(settings, [FEED])
        again = replay(settings, [FEED])
        store = open_store(url)
        topics = list(store.topics())
        store.close()
        size = (Path(folder) / "reuters.db").stat().st_size
    return {
        "first": first.to_json(),
        "again": again.to_json(),
        "stories_per_second": round(first.counts["stories"] / first.seconds, 1),
        "topics": len(topics),
        "store_bytes": size,
        "store_bytes_per_story": round(size / first.counts["stories"]),
    }


if __name__ == "__main__":
    parser(__doc__).parse_args()
    print(json.dumps(record("newswire", "python -m benchmarks.newswire", measure()), indent=2))
