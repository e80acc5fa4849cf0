"""Measure how much memory each kind of process takes at most.

    python -m benchmarks.memory          # a minute; --small: quick, and nothing is recorded

Each process is one of its own, and its peak is what the kernel says when it has ended (`ru_maxrss`). A replay does what
a worker and a monitor do. A monitor alone decides stories that others wrote, in SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import monitor
from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.demo import generator
from foreshock.monitor.closing import Closer
from foreshock.monitor.store import settings_versions
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.topics.matching import Matcher
from foreshock.processes import wiring
from foreshock.processes.batches import Worker
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

TOPICS = (100, 10_000)
STORIES = 20_000
HEADLINES = 4_000
REQUESTS = 50


def peak_mb(*arguments: str, during: Any = None) -> float:
    """Run `python ARGUMENTS`, and return the most memory that it took, in MB."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    if during is not None:
        during(process)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, -15}:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return round(usage.ru_maxrss / 1024, 1)


def measure(topics: tuple[int, ...], stories: int, headlines: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as name:
        folder = Path(name)
        feed = folder / "feed.jsonl"
        with feed.open("w") as out:
            for story in islice(generator.generate(3), headlines):
                out.write(json.dumps(story) + "\n")
        store = f"sqlite:///{folder}/replay.db"
        replay = ("-m", "foreshock", "replay", str(feed), "--store", store, "--no-score-cache", "--json")
        return {
            "headlines": headlines,
            "stories": stories,
            "requests": REQUESTS,
            "replay_with_encoder_mb": peak_mb(*replay),
            "monitor_mb_by_topics": {str(count): _monitor(folder, count, stories) for count in topics},
            "serve_mb": _serve(folder),
        }


def _monitor(folder: Path, topics: int, stories: int) -> float:
    """Write two days of stories as `benchmarks.monitor` does, and let another process decide them."""
    url, settings = f"sqlite:///{folder}/{topics}.db", Settings()
    engine = connect(url, create=True)
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(settings), resuming=None)
    worker = Worker(Matcher([]), monitor._no_scorer, wiring.time_rules(settings), settings=number)
    monitor._write(engine, worker, settings, "before", monitor._first_day(topics))
    monitor._write(engine, worker, settings, "then", monitor._second_day(topics, stories))
    engine.dispose()
    return peak_mb("-m", "benchmarks.memory", "--decide", url)


def _decide(url: str) -> None:
    engine = connect(url, create=True)
    for _ in Closer(engine, wiring.time_rules(Settings()), settings=1).close():
        pass
    engine.dispose()


def _serve(folder: Path) -> float:
    """Start `foreshock serve`, and ask for `REQUESTS` passes of 64 texts."""
    import httpx

    def ask(process: subprocess.Popen[bytes]) -> None:
        with httpx.Client(base_url="http://127.0.0.1:8617", timeout=60) as client:
            for _ in range(240):
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.HTTPError:
                    pass
                time.sleep(0.25)
            for pass_ in range(REQUESTS):
                texts = [f"Company {pass_} number {n} warns that profits fall after a fire" for n in range(64)]
                client.post("/score", json={"texts": texts}).raise_for_status()
        process.terminate()

    store = f"sqlite:///{folder}/replay.db"
    return peak_mb("-m", "foreshock", "serve", "--port", "8617", "--store", store, during=ask)


if __name__ == "__main__":
    arguments = parser(__doc__, small=True)
    arguments.add_argument("--decide", metavar="URL", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.decide is not None:
        _decide(given.decide)
    elif given.small:
        print(json.dumps(measure((100,), 2_000, 1_000), indent=2))
    else:
        print(
            json.dumps(record("memory", "python -m benchmarks.memory", measure(TOPICS, STORIES, HEADLINES)), indent=2)
        )
