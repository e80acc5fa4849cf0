"""Measure where the processor's time goes when stories that carry scores are replayed into SQLite.

    python -m benchmarks.replay_profile

Seconds are processor seconds of the thread that does all the work, so they do not depend on what else the machine does
as much as wall clock time does. A step's time is without that of the steps inside it.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arguments import parser
from benchmarks.recording import record
from benchmarks.replay import BUCKET, scored_feed
from foreshock.model.settings import ModelSettings
from foreshock.monitor import closing, novelty
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import bulk, memory
from foreshock.processes import batches, loop
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

DENSE, SPARSE = 20_000, 6_000
STEPS: tuple[tuple[str, Any, str], ...] = (
    ("read, parse and judge records", batches.Worker, "take"),
    ("match topics", batches.Worker, "encode"),
    ("sign for near-copies", novelty, "signatures"),
    ("make rows", batches, "batch"),
    ("insert rows", bulk, "insert_tuples"),
    ("read stories of closed buckets", closing, "stories_to_decide"),
    ("look up ids and near-copies", memory, "load"),
    ("count", closing, "count_bucket"),
    ("decide", closing, "decide"),
    ("write what was decided", memory, "save"),
    ("write what was decided", closing, "write_buckets"),
    ("write what was decided", closing, "write_rulings"),
    ("write what was decided", closing, "write_changes"),
)
"""What is timed: the step, and where its function is."""
REST = "transactions and the rest"


class Steps:
    """Measures the processor seconds of steps, which may lie within each other."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose time goes to a step."""

        @functools.wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            begun = time.thread_time()
            self._inside.append(0.0)
            try:
                return function(*given, **named)
            finally:
                took, inside = time.thread_time() - begun, self._inside.pop()
                self.seconds[step] += took - inside
                if self._inside:
                    self._inside[-1] += took

        return run


def measure(stories: int, every: float) -> dict[str, Any]:
    """Replay stories that come `every` so many seconds. Returns rates a processor second, and microseconds by step."""
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder, pytest.MonkeyPatch.context() as patch:
        feed = Path(folder) / "feed.jsonl"
        scored_feed(feed, stories, every)
        for step, where, name in STEPS:
            patch.setattr(where, name, steps.timed(step, getattr(where, name)))
        patch.setattr(loop.Loop, "turn", steps.timed(REST, loop.Loop.turn))
        store = StoreSettings(url=f"sqlite:///{folder}/store.db")
        counts = replay(Settings(store=store, model=ModelSettings(score_cache="off")), [feed]).counts
    whole = sum(steps.seconds.values())
    return {
        "stories": counts["stories"],
        "buckets": counts["buckets"],
        "stories_per_processor_second": round(counts["stories"] / whole),
        "buckets_per_processor_second": round(counts["buckets"] / whole),
        "microseconds_a_story": {
            step: round(1e6 * took / counts["stories"], 1)
            for step, took in sorted(steps.seconds.items(), key=lambda item: -item[1])
        },
    }


def main() -> None:
    measure(2_000, BUCKET / 20)  # the first run in a process also imports and compiles
    figures = {"20 stories a bucket": measure(DENSE, BUCKET / 20), "one or two": measure(SPARSE, BUCKET * 1.5)}
    print(json.dumps(record("replay_profile", "python -m benchmarks.replay_profile", figures), indent=2))


if __name__ == "__main__":
    parser(__doc__).parse_args()
    main()
