"""Measure the detectors: `python -m benchmarks.detection PART`, where each part can be stopped and continued.

Each measurement is written to a file of cells as soon as it is done (`--cells`). `report` turns the cells into
benchmarks/results/detection.json and its picture. `quiet` counts false alarms on more company feeds than `surges` has
(benchmarks/results/surges_quiet.json). `brief` writes what there is so far of `null` and `planted`, without rivals, to
benchmarks/results/detection_brief.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.detection import cost, crises, desk, feeds, null, planted, quiet, real, report, surges

RESULTS = Path(__file__).parents[1] / "results"
SURGES, QUIET = RESULTS / "surges.json", RESULTS / "surges_quiet.json"
BRIEF = RESULTS / "detection_brief.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection")
    parser.add_argument("part", choices=("null", "planted", "surges", "quiet", "real", "cost", "report", "brief"))
    parser.add_argument("--cells", type=Path, default=Path("runs/detection"), help="folder of what was measured")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--topics", type=int, nargs="*", default=sorted(null.DAYS))
    parser.add_argument("--budgets", type=int, nargs="*", default=null.BUDGETS)
    parser.add_argument("--kinds", nargs="*", help="kinds of made feeds, or names of real ones")
    args = parser.parse_args()
    args.cells.mkdir(parents=True, exist_ok=True)
    if args.part == "null":
        cells = null.cells(args.seeds, args.topics, args.budgets, args.kinds or feeds.KINDS)
        null.run(cells, args.cells / "null.jsonl")
    elif args.part == "planted":
        planted.run(planted.cells(args.seeds, args.kinds or planted.KINDS), args.cells / "planted.jsonl")
    elif args.part == "surges":
        rows = surges.run(args.seeds, args.kinds or crises.KINDS, args.cells / "surges.jsonl")
        found = {
            "command": f"python -m benchmarks.detection surges --seeds {args.seeds}",
            "feeds": surges.summary(rows),
        }
        SURGES.write_text(json.dumps(found, indent=2) + "\n")
    elif args.part == "quiet":
        seeds = range(quiet.FIRST_SEED, quiet.FIRST_SEED + args.seeds)
        rows = quiet.run(seeds, args.kinds or crises.KINDS, args.cells / "quiet.jsonl")
        kinds = f" --kinds {' '.join(args.kinds)}" if args.kinds else ""
        command = f"python -m benchmarks.detection quiet --seeds {args.seeds}{kinds}"
        QUIET.write_text(json.dumps({"command": command, "feeds": quiet.summary(rows)}, indent=2) + "\n")
    elif args.part == "real":
        real.run(args.cells, args.kinds or real.FEEDS)
        feed = {f"weeks of {name}": real.counts(args.cells, name) for name in args.kinds or real.FEEDS}
        cells = null.cells(args.seeds, (real.BUSIEST,), args.budgets, feed)
        null.run(cells, args.cells / "null.jsonl", lambda cell: real.resampled(feed[cell.kind], cell.seed))
    elif args.part == "cost":
        cost.run(args.cells)
    elif args.part == "brief":
        still = null.summary(null.kept(args.cells / "null.jsonl"))
        brief: dict[str, Any] = {
            "command": "python -m benchmarks.detection null ...; ... planted ...; ... brief",
            "detectors": desk.version(),
            "alarms_over_budget": still,
            "found_of_planted": planted.found(null.kept(args.cells / "planted.jsonl")),
        }
        BRIEF.write_text(json.dumps(brief, indent=2) + "\n")
    else:
        print(json.dumps(report.write(args.cells), indent=2))


if __name__ == "__main__":
    main()
