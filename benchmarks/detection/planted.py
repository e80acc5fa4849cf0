"""Finds: which planted changes are detected, and how soon, beside rivals with their best thresholds.

    python -m benchmarks.detection planted

A cell is one feed with changes in some of its topics. Rivals see the same feeds. Each has the threshold at which
it fires as often as Foreshock on the same feeds without changes. No user could make this trial.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from benchmarks.detection import desk, feeds, null, rivals

TOPICS, DAYS, BUDGET, EACH = 120, null.DAYS[120], 90, 8
"""Topics and days of a feed; one false alarm per topic in so many days; topics a feed into which a change is put."""
KINDS = ("wandering", "busy", "clusters", "trading_days")
FIRST, LAST = 60, 30
"""Changes begin after day 60 and 30 days before the end."""
AFTERWARDS = 24.0
"""Hours after its start until which a shorter change may be noticed."""
LEARNING = "oracle, usual share learned"
"""It is told the size of the change, and has the days before the first of them to learn each topic's share from."""
UNTOLD = "oracle, share and size unknown"
"""It learns the share likewise, and is not told the size: a CUSUM of each that there is."""
ORACLES = {"sudden_10": 0.1, "sudden_20": 0.2, "sudden_40": 0.4, "slow_20": 0.2, "short_40": 0.4}


class Cell(NamedTuple):
    kind: str
    seed: int


class Plant(NamedTuple):
    """A planted change and its place, in hours since the feed began."""

    topic: int
    change: feeds.Change
    begins: float

    @property
    def until(self) -> float:
        return self.begins + max(self.change.length * 24, AFTERWARDS)

    @property
    def about(self) -> str:
        return {"volume_4x": "volume", "silence": "silence"}.get(self.change.name, "worse")


def cells(seeds: int, kinds: Iterable[str]) -> Iterator[Cell]:
    kinds = tuple(kinds)
    for seed in range(seeds):
        yield from (Cell(kind, seed) for kind in kinds)


def plants(cell: Cell) -> list[Plant]:
    """Return what is planted in a cell's feed: each change in `EACH` topics, at times that depend on the seed."""
    rng = np.random.default_rng([cell.seed, 77])
    topics = rng.permutation(TOPICS)[: EACH * len(feeds.CHANGES)].tolist()
    begins = np.floor(rng.uniform(FIRST * 24, (DAYS - LAST) * 24, len(topics))).tolist()
    return [
        Plant(topic, feeds.CHANGES[place % len(feeds.CHANGES)], at)
        for place, (topic, at) in enumerate(zip(topics, begins, strict=True))
    ]


def feed(cell: Cell, planted: Iterable[Plant] = ()) -> feeds.Feed:
    where = {p.topic: (p.change, p.begins / 24) for p in planted}
    return feeds.make(cell.kind, 100 + cell.seed, TOPICS, DAYS, where)


def measure(cell: Cell) -> dict[str, Any]:
    """Return the delay of each plant in hours, in the order of `plants`. None: it was not detected."""
    planted = plants(cell)
    alarms = desk.watch(feed(cell, planted), desk.per_topic(BUDGET)).fired
    delays = [
        _first([a.hour for a in alarms if a.topic == plant.topic and a.about == plant.about], plant)
        for plant in planted
    ]
    return {**cell._asdict(), "delays": delays}


def run(wanted: Iterable[Cell], file: Path) -> None:
    """Measure the cells that are missing in `file`."""
    have = {Cell(row["kind"], row["seed"]) for row in null.kept(file)}
    with file.open("a") as out:
        for cell in wanted:
            if cell not in have:
                out.write(json.dumps({**measure(cell), "detectors": desk.version()}) + "\n")
                out.flush()


def found(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return of each kind of feed and change how many were planted, and the part of them that was detected."""
    delays: dict[str, dict[str, list[float | None]]] = {}
    for row in rows:
        for plant, delay in zip(plants(Cell(row["kind"], row["seed"])), row["delays"], strict=True):
            delays.setdefault(row["kind"], {}).setdefault(plant.change.name, []).append(delay)
    return {
        kind: {
            change: {"of": len(each), "found": round(sum(one is not None for one in each) / len(each), 2)}
            for change, each in changes.items()
        }
        for kind, changes in sorted(delays.items())
    }


def compare(kind: str, rows: list[dict[str, Any]], rate: float) -> dict[str, Any]:
    """Compare Foreshock, its rivals and the oracle on the feeds of `rows` (all of one kind).

    `rate`: Foreshock's alarms for the worse per topic-day where nothing changes. Each rival gets the same rate.
    """
    seeds = [Cell(kind, row["seed"]) for row in rows]
    planted = [plants(cell) for cell in seeds]
    delays = {"Foreshock": [row["delays"] for row in rows]}
    quiet = rivals.stories([feed(cell) for cell in seeds])
    loud = rivals.stories([feed(cell, there) for cell, there in zip(seeds, planted, strict=True)])
    realised = {}
    for name, rival in rivals.RIVALS.items():
        level, realised[name] = _threshold(rival(quiet), len(seeds), rate)
        delays[name] = _delays(rival(loud), level, planted)
    learned = [rivals.learned(there, FIRST * 24) for there in (quiet, loud)]
    for name, (without, with_changes) in {"oracle": (quiet, loud), LEARNING: learned}.items():
        by_effect = {}
        for points in set(ORACLES.values()):
            level, realised[f"{name} {points:g}"] = _threshold(rivals.oracle(without, points), len(seeds), rate)
            by_effect[points] = _delays(rivals.oracle(with_changes, points), level, planted)
        effects = [[ORACLES.get(plant.change.name) for plant in there] for there in planted]
        delays[name] = [
            [None if points is None else by_effect[points][seed][place] for place, points in enumerate(those)]
            for seed, those in enumerate(effects)
        ]
    sizes = sorted(set(ORACLES.values()))
    level, realised[UNTOLD] = _threshold(rivals.oracle(learned[0], *sizes), len(seeds), rate)
    delays[UNTOLD] = _delays(rivals.oracle(learned[1], *sizes), level, planted)
    return {
        "seeds": len(rows),
        "alarms_per_topic_day": {"Foreshock": round(rate, 6), **{k: round(v, 6) for k, v in realised.items()}},
        "changes": {change.name: _changes(change, planted, delays) for change in feeds.CHANGES},
    }


def _changes(
    change: feeds.Change, planted: list[list[Plant]], delays: dict[str, list[list[float | None]]]
) -> dict[str, Any]:
    """Return what each detector found of one change."""
    mine = [[place for place, plant in enumerate(there) if plant.change == change] for there in planted]
    horizon = max(change.length * 24, AFTERWARDS)
    found: dict[str, Any] = {}
    shares: dict[str, npt.NDArray[np.float64]] = {}
    for name, by_seed in delays.items():
        knows = name == "Foreshock" or (change.decoy and name in rivals.RIVALS)
        if not knows and change.name not in ORACLES:
            continue
        mine_of = [[by_seed[s][place] for place in places] for s, places in enumerate(mine)]
        shares[name] = np.array([np.mean([d is not None for d in some]) for some in mine_of])
        flat = [math.inf if d is None else d for some in mine_of for d in some]
        median = float(np.median(flat))
        found[name] = {
            "rang" if change.decoy else "found": round(float(shares[name].mean()), 3),
            "median_hours": round(median, 1) if math.isfinite(median) else None,
            "mean_hours_misses_at_end": round(float(np.minimum(flat, horizon).mean()), 1),
        }
    for name, share in shares.items():
        if name != "Foreshock" and len(share) > 1:
            found[name]["foreshock_more"] = _paired(shares["Foreshock"] - share)
    return found


def _paired(differences: npt.NDArray[np.float64]) -> list[float]:
    """Return the mean over seeds and its 95 % interval (Student's t)."""
    n = len(differences)
    error = float(t.ppf(0.975, n - 1) * differences.std(ddof=1) / math.sqrt(n))
    mean = float(differences.mean())
    return [round(x, 3) for x in (mean, mean - error, mean + error)]


def _threshold(fired: rivals.Firings, feeds_seen: int, rate: float) -> tuple[int, float]:
    """Return the most sensitive threshold that fires at most `rate` times a topic-day once settled, and its rate."""
    settled = fired.hour >= null.SETTLED * 24
    counts = np.bincount(fired.level[settled], minlength=len(fired.levels))
    rates = counts / (feeds_seen * TOPICS * (DAYS - null.SETTLED))
    good = np.flatnonzero(rates <= rate)
    if not len(good):  # no threshold is quiet enough: this rival may not fire at all
        return len(rates), 0.0
    return int(good[0]), float(rates[good[0]])


def _delays(fired: rivals.Firings, level: int, planted: list[list[Plant]]) -> list[list[float | None]]:
    hours: dict[int, list[float]] = defaultdict(list)
    at_level = fired.level == level
    for row, hour in zip(fired.row[at_level].tolist(), fired.hour[at_level].tolist(), strict=True):
        hours[row].append(hour + 1.0)
    return [
        [_first(hours[seed * TOPICS + plant.topic], plant) for plant in there] for seed, there in enumerate(planted)
    ]


def _first(hours: list[float], plant: Plant) -> float | None:
    """Return the delay of the first alarm between a plant's beginning and its end."""
    hits = [hour for hour in hours if plant.begins < hour <= plant.until]
    return min(hits) - plant.begins if hits else None
