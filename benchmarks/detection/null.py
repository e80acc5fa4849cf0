"""False alarms: how often alerts fire on feeds in which nothing changes, over the number that the budget gives.

    python -m benchmarks.detection null --cells cells.jsonl

A cell is one feed under one budget. Each is written when it is done, and not repeated.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import gamma

from benchmarks.detection import desk, feeds

SETTLED = 45
"""Days after which a desk is settled; the month before, in which it has just begun to ring, is told apart."""
DAYS = {10: 225, 30: 165, 120: 135, 1000: 105}
"""Length of a feed by its topics."""
BUDGETS = (90, 30, 365)
"""One false alarm per topic in so many days."""


POISSON = ((0.025, 0), (0.975, 1))
"""The points of an exact interval, and what is added to the count."""


class Cell(NamedTuple):
    kind: str
    topics: int
    budget: int
    seed: int


def cells(seeds: int, topics: Iterable[int], budgets: Iterable[int], kinds: Iterable[str]) -> Iterator[Cell]:
    """List the cells seed by seed, so that an interrupted run has about as many of each kind."""
    budgets, topics, kinds = tuple(budgets), tuple(topics), tuple(kinds)
    for seed in range(seeds):
        for size in topics:
            for kind in kinds:
                yield from (Cell(kind, size, budget, seed) for budget in budgets)


def made(cell: Cell) -> feeds.Feed:
    return feeds.make(cell.kind, 100 + cell.seed, cell.topics, DAYS[cell.topics])


def measure(cell: Cell, feed: feeds.Feed) -> dict[str, Any]:
    """Count one feed's alarms by share of the budget, in the settled time and before, with the topic-days of both."""
    run = desk.watch(feed, desk.per_topic(cell.budget))
    settled = SETTLED * 24
    found: dict[str, dict[str, int]] = {"first": defaultdict(int), "settled": defaultdict(int)}
    for alarm in run.fired:
        found["settled" if alarm.hour >= settled else "first"][alarm.about] += 1
    passed = int(run.running[settled]), int(run.running[-1]) + 1
    return {
        **cell._asdict(),
        "first": found["first"],
        "settled": found["settled"],
        "first_topic_days": max(passed[0] / 24 - 14, 0) * feed.topics,
        "settled_topic_days": (passed[1] - passed[0]) / 24 * feed.topics,
    }


def run(wanted: Iterable[Cell], file: Path, feed_of: Callable[[Cell], feeds.Feed] = made) -> list[dict[str, Any]]:
    """Measure the cells that are missing in `file`. Return all cells of today's detectors."""
    done = kept(file)
    have = {Cell(*(row[name] for name in Cell._fields)) for row in done}
    with file.open("a") as out:
        for cell in wanted:
            if cell not in have:
                row = {**measure(cell, feed_of(cell)), "detectors": desk.version()}
                out.write(json.dumps(row) + "\n")
                out.flush()
                done.append(row)
    return done


def kept(file: Path) -> list[dict[str, Any]]:
    """Return the measurements of today's detectors, without those of other versions."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [row for row in rows if row["detectors"] == desk.version()]


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the alarms over the budget by (kind, topics, budget), with a 95 % interval over seeds."""
    groups: dict[tuple[str, int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["kind"], row["topics"], row["budget"]].append(row)
    told = []
    for (kind, topics, budget), same in sorted(groups.items(), key=lambda g: (g[0][2], g[0][1], g[0][0])):
        entry: dict[str, Any] = {"kind": kind, "topics": topics, "one_per_topic_in_days": budget, "seeds": len(same)}
        entry["all"] = ratio([sum(r["settled"].values()) for r in same], _allowed(same, "settled", budget, 1.0))
        for about, part in desk.SHARES.items():
            entry[about] = ratio([r["settled"].get(about, 0) for r in same], _allowed(same, "settled", budget, part))
        if sum(early := _allowed(same, "first", budget, 1.0)):
            entry["first_month"] = ratio([sum(r["first"].values()) for r in same], early)
        told.append(entry)
    return told


def _allowed(rows: list[dict[str, Any]], when: str, budget: int, part: float) -> list[float]:
    return [row[f"{when}_topic_days"] / budget * part for row in rows]


def ratio(counts: list[int], allowed: list[float]) -> list[float]:
    """Return the sum of counts over the sum allowed, and its 95 % interval: that of the spread over seeds, or that of a
    Poisson count if it is wider (few alarms)."""
    n, c, a = len(counts), np.array(counts, float), np.array(allowed)
    r = c.sum() / a.sum()
    error = 1.96 * float((c - r * a).std(ddof=1)) * math.sqrt(n) / a.sum() if n > 1 else 0.0
    low, high = (gamma.ppf(q, c.sum() + extra) / a.sum() if c.sum() + extra else 0.0 for q, extra in POISSON)
    return [round(float(x), 3) for x in (r, min(max(r - error, 0.0), low), max(r + error, high))]
