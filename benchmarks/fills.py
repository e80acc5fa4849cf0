"""Measure what it costs to fill a topic that is added to a store: by step, and how long one step holds the closing up.

    python -m benchmarks.fills            # some minutes; --small: quick, and nothing is recorded

A made-up feed of 120 days is read and decided under the default topics. Then two topics are added, one after the
other: a company that 1 story in 200 names, and a theme of every fifth story. Steps run one after another, with nothing
else to do. Processor seconds are of this process. Stories carry scores, so the encoder does nothing.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.monitor.closing import Closer
from foreshock.monitor.store import fills, schema, settings_versions
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.processes import wiring
from foreshock.processes.fills import Fills
from foreshock.processes.replay import replay
from foreshock.settings.load import load
from foreshock.settings.models import Settings
from foreshock.settings.versions import shaping

STORIES, DAYS = 100_000, 120
START = 1_770_000_000
COMPANY = {"name": "Zorvex", "names": ["Zorvex"], "tickers": ["ZRVX"]}
THEME = {"name": "gloom", "names": ["gloom"]}


def measure(stories: int, days: int) -> dict[str, Any]:
    """Fill both topics in a new store, and return the seconds of their steps."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        url, path = f"sqlite:///{folder}/store.db", Path(folder) / "news.jsonl"
        with path.open("w") as file:
            file.writelines(_stories(stories, days))
        begun = time.process_time()
        replay(_settings(url), [path])
        replayed = time.process_time() - begun
        added: list[dict[str, Any]] = []
        found = {}
        for name, rule in (("a company of 1 story in 200", COMPANY), ("a theme of 1 story in 5", THEME)):
            added.append(rule)
            found[name] = _fill(url, _settings(url, added))
    return {"stories": stories, "days": days, "cpu_seconds_of_the_replay": round(replayed, 1), "fills": found}


def _settings(url: str, topics: list[dict[str, Any]] | None = None) -> Settings:
    return load(None, flags={"store.url": url, "topics": topics or []}, environ={}).settings


def _fill(url: str, settings: Settings) -> dict[str, Any]:
    engine, rules = connect(url, create=False), wiring.time_rules(settings)
    with writing(engine) as connection:
        number = settings_versions.adopt(connection, shaping(settings), resuming=None)
    worker = wiring.worker(settings, engine, number, None)
    steps = Fills(engine, rules, Closer(engine, rules, settings=number))
    spent: dict[str, list[tuple[float, float]]] = {"reading": [], "counting": [], "deciding": []}
    while True:
        with reading(engine) as connection:
            under_way = fills.under_way(connection)
        wall, cpu = time.perf_counter(), time.process_time()
        if not steps.step(worker):
            break
        spent[under_way[0]["step"]].append((time.perf_counter() - wall, time.process_time() - cpu))
    with reading(engine) as connection:
        fill = fills.done(connection)[-1]
        mine = schema.buckets.c.filled == fill.number
        rows = len(connection.execute(select(schema.buckets.c.start).where(mine)).all())
    engine.dispose()
    return {
        "stories_found": fill.found,
        "rows": rows,
        **{
            step: {
                "steps": len(taken),
                "cpu_seconds": round(sum(cpu for _, cpu in taken), 2),
                "longest_step_seconds": round(max(wall for wall, _ in taken), 3),
                "longest_step_cpu_seconds": round(max(cpu for _, cpu in taken), 3),
            }
            for step, taken in spent.items()
        },
    }


def _stories(count: int, days: int) -> Iterator[str]:
    rng = random.Random(4)
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=6)) for _ in range(5_000)]
    for number in range(count):
        name = "Zorvex" if rng.random() < 1 / 200 else "gloom" if rng.random() < 1 / 5 else ""
        negative = round(rng.random(), 3)
        story = {
            "id": f"s{number}",
            "title": " ".join([*rng.choices(words, k=6), name, *rng.choices(words, k=4)]),
            "body": " ".join(rng.choices(words, k=80)),
            "published_at": round(START + days * 86_400 * number / count, 3),
            "source": rng.choice("abcdef"),
            "topics": [f"topic {rng.randrange(100)}"],
            "scores": {"negative": negative, "neutral": 0, "positive": round(1 - negative, 3)},
        }
        yield json.dumps(story) + "\n"


if __name__ == "__main__":
    small = parser(__doc__, small=True).parse_args().small
    result = measure(2_000, 20) if small else measure(STORIES, DAYS)
    print(json.dumps(result, indent=1))
    if not small:
        record("fills", "python -m benchmarks.fills", result)
