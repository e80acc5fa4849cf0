"""False alarms of bad news on company feeds in which nothing is planted.

    python -m benchmarks.detection quiet --seeds 12 --kinds bursty

`surges` compares crises, so it has few quiet feeds of each kind. The budget gives a feed four alarms, so how often they
fire shows only over many feeds. These are of other seeds, and each is measured with all detectors, as live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.detection import crises, null, surges

FIRST_SEED = 10
"""Earlier seeds belong to `surges`."""


def run(seeds: Iterable[int], kinds: Iterable[str], file: Path) -> list[dict[str, Any]]:
    """Measure the feeds that are missing in `file`, and return all that it has of today's detectors and feeds."""
    done = surges.kept(file)
    have = {(row["kind"], row["seed"]) for row in done}
    with file.open("a") as out:
        for kind in kinds:
            for seed in seeds:
                if (kind, seed) not in have:
                    fired = surges.watch(surges.made(surges.Cell(kind, seed, planted=False)), surges.BUDGET)
                    row = {"kind": kind, "seed": seed, "version": surges.version(), "fired": fired}
                    out.write(json.dumps(row) + "\n")
                    out.flush()
                    done.append(row)
    return done


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the false alarms of settled days over what the budget gives, with 95 % intervals, by kind of feed."""
    days = surges.LENGTH - crises.SETTLED
    bad_news = days * surges.BUDGET.false_alarms * surges.BUDGET.bad_news
    part = {"negativity_spike": surges.BUDGET.surges, "drift": 1 - surges.BUDGET.surges}
    found = []
    for kind in sorted({row["kind"] for row in rows}):
        same = [row for row in rows if row["kind"] == kind]
        late = [
            [f for f in map(surges.Fired._make, row["fired"]) if f.minute >= crises.SETTLED * crises.DAY]
            for row in same
        ]
        counts = {
            name: [sum(f.kind == name and f.direction == "worse" for f in alerts) for alerts in late] for name in part
        }
        both = [sum(numbers) for numbers in zip(*counts.values(), strict=True)]
        entry: dict[str, Any] = {"kind": kind, "seeds": [row["seed"] for row in same], "alerts": sum(both)}
        entry["bad_news"] = null.ratio(both, [bad_news] * len(same))
        for name, numbers in counts.items():
            entry[name] = null.ratio(numbers, [bad_news * part[name]] * len(same))
        found.append(entry)
    return found
