"""Measure `foreshock model adapt` on labelled sets whose convention the weights do not know: a table in docs/model.md.

    python -m benchmarks.adapt [--labelled DIR] [--only WEIGHTS:SET] [--rows N]

For each set of weights and labelled set, 20 to 2,000 rows are drawn that play a desk's labels. The gain that the
command states (`stated`) stands beside the gain on rows of the same set that were never drawn (`fresh`), on the built-
in check, and on the validation rows of a set that the weights know (`elsewhere`). A refused head is judged, too, where
there is one: a refusal is right if the head does not help. Where no pull was chosen, there is no head and nothing to
judge.

Copies whose labels differ are not drawn, because the command refuses them. Fresh rows that are near copies of drawn
ones are left out. Cells that are done are kept, as long as the texts and the choices that they depend on stay.

The pulls, the anchors and the rule that chooses were settled on fpb with `permissive`, which is not in the table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.ablation import SHARED
from benchmarks.recording import RESULTS, record
from foreshock.model.evaluation import measure
from foreshock.model.labels import Labelled, read_labelled
from foreshock.model.training.adapting import MOST_LOST, OFFSETS, STRENGTHS, Adapting, anchors
from foreshock.model.training.check import built_in_check
from foreshock.model.training.desk_labels import DeskLabels, group_near_copies, row_key

COMMAND = "python -m benchmarks.adapt"
FRESH = 400
"""Rows of the same set that judge, at most."""


@dataclass(frozen=True, slots=True)
class Case:
    """Weights, the set whose rows are drawn, the set that they know, and how often each number of rows is drawn."""

    weights: str
    drawn: str
    known: str
    draws: dict[int, int]


CASES = (
    Case("permissive", "news", "tfns", {100: 3, 500: 1, 20: 3, 2_000: 1}),
    Case("default", "stockemotions", "news", {100: 2, 500: 1, 20: 3}),
    Case("permissive", "sentfin", "tfns", {100: 2, 500: 1, 20: 3}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    parser.add_argument("--only", help="one case, for example permissive:news")
    parser.add_argument("--rows", type=int, help="only draws of that many rows")
    given = parser.parse_args()
    file = RESULTS / "adapt.json"
    made_with = depends_on()
    stored: list[dict[str, Any]] = json.loads(file.read_text())["cells"] if file.exists() else []
    cells = [cell for cell in stored if cell.get("made_with") == made_with]
    for case in CASES:
        if given.only in (None, f"{case.weights}:{case.drawn}"):
            for cell in run(case, given.labelled, cells, given.rows):
                cells.append({**cell, "made_with": made_with})
                record("adapt", COMMAND, {"cells": cells, "rows": table(cells)})
    print(json.dumps(table(cells), indent=2))


def run(case: Case, labelled: Path, done: list[dict[str, Any]], only: int | None) -> Iterator[dict[str, Any]]:
    """Yield the cells of a case that are not done. only: of that many rows."""
    have = {(one["weights"], one["set"], one["n"], one["draw"]) for one in done}
    left = [
        (n, draw)
        for n, draws in case.draws.items()
        for draw in range(draws)
        if only in (None, n) and (case.weights, case.drawn, n, draw) not in have
    ]
    if not left:
        return
    begun = time.process_time()
    task = Adapting(case.weights, {"device": "cpu", "threads": 1})
    loading = time.process_time() - begun
    pool, fresh = parts(case.drawn, labelled)
    known = read_labelled(labelled / f"{case.known}_valid.jsonl.gz")
    known = Labelled(known.texts[:FRESH], known.labels[:FRESH], 0)
    for n, draw in left:
        desk = drawn(pool, n, draw)
        others = apart(fresh, desk.texts)
        base = {name: f1(task, rows, None) for name, rows in (("fresh", others), ("elsewhere", known))}
        begun = time.process_time()
        task.read(desk.texts)
        found = task.adapt(desk)
        seconds = loading + time.process_time() - begun
        yield {
            "weights": case.weights,
            "set": case.drawn,
            "n": n,
            "draw": draw,
            "refused": list(found.refused),
            "pull": found.head.pull,
            "stated": round(found.gain[0], 4),
            "low": round(found.gain[1], 4),
            "check": round(found.check_after["weighted_f1"] - found.check_before["weighted_f1"], 4),
            "base": {name: round(value, 4) for name, value in base.items()},
            "fresh_rows": len(others.texts),
            "fresh": round(f1(task, others, found.head) - base["fresh"], 4),
            "elsewhere": round(f1(task, known, found.head) - base["elsewhere"], 4),
            "ece": [round(figures["ece"], 4) for figures in (found.before, found.after)],
            "processor_seconds": round(seconds, 1),
        }


def parts(set_: str, labelled: Path) -> tuple[Labelled, Labelled]:
    """Return the rows to draw from, and the fresh ones: the validation part, or a third of a set that has none."""
    train = agreeing(read_labelled(labelled / f"{set_}_train.jsonl.gz"))
    valid = labelled / f"{set_}_valid.jsonl.gz"
    if valid.is_file():
        rows = read_labelled(valid)
        return train, Labelled(rows.texts[:FRESH], rows.labels[:FRESH], 0)
    order = np.random.default_rng(0).permutation(len(train.texts))
    cut = len(order) // 3
    pool, fresh = (Labelled([train.texts[i] for i in of], train.labels[of], 0) for of in (order[cut:], order[:cut]))
    return pool, fresh


def agreeing(rows: Labelled) -> Labelled:
    """Return each text once, and none whose copies have different labels."""
    labels: dict[str, set[int]] = {}
    first: dict[str, int] = {}
    for place, (text, label) in enumerate(zip(rows.texts, rows.labels.tolist(), strict=True)):
        key = row_key(text)
        labels.setdefault(key, set()).add(label)
        first.setdefault(key, place)
    kept = [place for key, place in first.items() if len(labels[key]) == 1]
    return Labelled([rows.texts[i] for i in kept], rows.labels[kept], 0)


def apart(fresh: Labelled, texts: Sequence[str]) -> Labelled:
    """Return the fresh rows that share no group of near copies with texts that were drawn."""
    groups = group_near_copies([*texts, *fresh.texts])
    kept = np.flatnonzero(~np.isin(groups[len(texts) :], groups[: len(texts)]))
    return Labelled([fresh.texts[i] for i in kept], fresh.labels[kept], 0)


def depends_on() -> str:
    """Return a hash of what all cells depend on: the anchors, the built-in check, and what can be chosen."""
    check = built_in_check()
    said = [anchors(), check.texts, check.labels.tolist(), STRENGTHS, OFFSETS, MOST_LOST]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]


def drawn(pool: Labelled, n: int, draw: int) -> DeskLabels:
    """Draw rows as a desk's labels, in the order in which the command reads them."""
    chosen = np.random.default_rng([draw, n]).permutation(len(pool.texts))[:n]
    places = sorted(chosen.tolist(), key=lambda i: row_key(pool.texts[i]))
    texts = [pool.texts[i] for i in places]
    return DeskLabels(texts, pool.labels[places], group_near_copies(texts))


def f1(task: Adapting, rows: Labelled, head: Any) -> float:
    """Return the weighted F1 of a head on rows."""
    return measure(task.scores(rows.texts, head), rows.labels)["weighted_f1"]


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each case and number of rows: how often it was accepted, and what that gave."""
    lines = []
    for key in sorted({(one["weights"], one["set"], one["n"]) for one in cells}):
        of = [one for one in cells if (one["weights"], one["set"], one["n"]) == key]
        kept, refused = ([one for one in of if bool(one["refused"]) is state] for state in (False, True))
        line: dict[str, Any] = dict(zip(("weights", "set", "n"), key, strict=True))
        base = round(mean(one["base"]["fresh"] for one in of), 4)
        line |= {"draws": len(of), "accepted": len(kept), "base": base}
        for name in ("stated", "fresh", "check", "elsewhere"):
            line[name] = round(mean(one[name] for one in kept), 4) if kept else None
        line["accepted_and_lost"] = sum(one["fresh"] < 0 for one in kept)
        line["refused_and_judged"] = sum(one["pull"] is not None for one in refused)
        line["refused_and_would_have_gained"] = sum(one["pull"] is not None and one["fresh"] > 0 for one in refused)
        line["processor_seconds"] = round(mean(one["processor_seconds"] for one in of), 1)
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
