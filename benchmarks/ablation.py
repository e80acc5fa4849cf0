"""Measure the effect of each training choice on a small fixed budget: a table in docs/model.md.

    python -m benchmarks.ablation [--streams DIR] [--labelled DIR] [--soft-labels FILE] [--only 'ROW; ...'] [--cells N]

A cell is one row of the table with one seed. It pretrains on TEXTS texts for STEPS steps, fine-tunes for one pass over
SUBSET, and measures on labelled rows that neither step saw: the validation parts, and training rows left over, because
the 61 validation rows of fiqa are too few. Each finished cell is written to benchmarks/results/ablation.json at once,
and a run skips the cells that are there. So the table can be made in pieces: seed 0 of every row first.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import RESULTS, record
from foreshock.model.labels import LABELS, Labelled
from foreshock.model.training.base import Base, read_base
from foreshock.model.training.finetuning import Settings as Finetuning
from foreshock.model.training.finetuning import finetune
from foreshock.model.training.labelled import find_sets, fingerprint, read_sets
from foreshock.model.training.pretraining import Settings, pretrain
from foreshock.model.training.soft_labels import read_soft_labels, write_soft_labels

SHARED = Path("../shared/data")
TEXTS, STEPS, BATCH = 10_000, 150, 32
SUBSET = {"fpb": 800, "tfns": 1_600, "fiqa": 320}
"""Rows to fine-tune on. fpb is repeated twice and fiqa five times, so that the three sets get equal shares."""
JUDGED = {"fpb": 1_000, "tfns": 1_000, "fiqa": 400}
"""Rows to measure on, at most."""
SEEDS = 3

REFERENCE = Settings(texts=TEXTS, steps=STEPS, batch=BATCH)
NONE, PLAIN, DISTILLED, BIASED = "no pretraining", "reference", "reference, distilled", "reference, source bias"
ROWS: dict[str, Settings | None] = {
    NONE: None,
    PLAIN: REFERENCE,
    "similarity euclidean": replace(REFERENCE, similarity="euclidean"),
    "similarity manhattan": replace(REFERENCE, similarity="manhattan"),
    "similarity angular": replace(REFERENCE, similarity="angular"),
    "loss triplet": replace(REFERENCE, loss="triplet"),
    "loss mse": replace(REFERENCE, loss="mse"),
    "hard negatives 1:0": replace(REFERENCE, negatives=0),
    "hard negatives 1:2": replace(REFERENCE, negatives=2),
    "hard negatives 1:4": replace(REFERENCE, negatives=4),
    "positives matched": replace(REFERENCE, positives="matched"),
    "positives both": replace(REFERENCE, positives="both"),
    "temperature learned": replace(REFERENCE, learned=True),
    "masked-language modelling 0.1": replace(REFERENCE, masked=0.1),
    "no pretraining, distilled": None,
    DISTILLED: REFERENCE,
    BIASED: REFERENCE,
}
COMMAND = "python -m benchmarks.ablation"


def cell(row: str, seed: int, streams: Path, labelled: Path, soft_labels: Path | None) -> dict[str, Any]:
    """Train and measure one row of the table with one seed."""
    settings = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        probes: dict[str, Any] = {}
        base: Base | None = None
        if settings is not None:
            made = pretrain(streams, place / "base", replace(settings, seed=seed), labelled=labelled)
            probes = {key: made["held_out"]["after"][key] for key in ("alignment", "uniformity", "flip_probe")}
            base = read_base(place / "base")
        cut(labelled, place / "labelled")
        soft = None
        if "distilled" in row and soft_labels is not None:
            soft = place / "soft-labels.jsonl.gz"
            seen = {text for rows in split(labelled)[0].values() for text in rows.texts}
            own = [
                r for r in read_soft_labels(soft_labels) if r.variant_of is None and r.labelled_set and r.text in seen
            ]
            write_soft_labels(soft, own)
        tuning = Finetuning(sets=tuple(SUBSET), epochs=1, seed=seed, source_bias=row == BIASED)
        done = finetune(place / "labelled", place / "out", tuning, base=base, soft_labels=soft)
    f1 = {s: done["validation"][s]["weighted_f1"] for s in SUBSET}
    return {"row": row, "seed": seed, "weighted_f1": f1, "mean": statistics.mean(f1.values()), **probes}


def split(labelled: Path) -> tuple[dict[str, Labelled], dict[str, Labelled]]:
    """Return, for each set, the rows to fine-tune on and the rows to judge by: the same in every call."""
    train, valid, _ = read_sets(find_sets(labelled, tuple(SUBSET)), tuple(SUBSET))
    subset: dict[str, Labelled] = {}
    judged: dict[str, Labelled] = {}
    for s, count in SUBSET.items():
        order = np.random.default_rng(0).permutation(len(train[s].texts))
        subset[s] = _take(train[s], order[:count])
        seen = {fingerprint(text) for text in subset[s].texts}
        more = [i for i in order[count:] if fingerprint(train[s].texts[i]) not in seen]
        more = more[: max(0, JUDGED[s] - len(valid[s].texts))]
        left = _take(train[s], np.array(more, dtype=np.int64))
        judged[s] = Labelled([*valid[s].texts, *left.texts], np.concatenate([valid[s].labels, left.labels]), 0)
    return subset, judged


def cut(labelled: Path, into: Path) -> None:
    """Write the rows of `split` as files that `finetune` reads."""
    into.mkdir()
    for part, sets in zip(("train", "valid"), split(labelled), strict=True):
        for s, rows in sets.items():
            lines = [
                json.dumps({"text": text, "label": LABELS[label]}) + "\n"
                for text, label in zip(rows.texts, rows.labels, strict=True)
            ]
            (into / f"{s}_{part}.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def table(cells: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a line for each row that has a cell: means over its seeds, standard deviation, and whether it differs.

    A row differs from the reference if the difference has the same sign with three seeds or more, and its mean is more
    than twice its standard error.
    """
    by_row: dict[str, dict[int, dict[str, Any]]] = {row: {} for row in ROWS}
    for one in cells:
        by_row[one["row"]][one["seed"]] = one
    for row, seeds in by_row.items():
        if not seeds:
            continue
        means = [one["mean"] for one in seeds.values()]
        against = [one["mean"] - by_row[PLAIN][s]["mean"] for s, one in seeds.items() if s in by_row[PLAIN]]
        differs = None
        if row != PLAIN and len(against) >= 3:
            error = statistics.stdev(against) / len(against) ** 0.5
            one_way = all(d > 0 for d in against) or all(d < 0 for d in against)
            differs = one_way and abs(statistics.mean(against)) > 2 * error
        line = {"row": row, "seeds": len(seeds), "mean": statistics.mean(means), "differs": differs}
        line["spread"] = statistics.stdev(means) if len(means) > 1 else None
        line["against"] = statistics.mean(against) if against and row != PLAIN else None
        for s in SUBSET:
            line[s] = statistics.mean(one["weighted_f1"][s] for one in seeds.values())
        for key in ("alignment", "uniformity", "flip_probe"):
            known = [one[key] for one in seeds.values() if one.get(key) is not None]
            line[key] = statistics.mean(known) if known else None
        yield line


def _take(rows: Labelled, chosen: np.ndarray[Any, Any]) -> Labelled:
    return Labelled([rows.texts[i] for i in chosen], rows.labels[chosen], 0)


def _budget() -> dict[str, Any]:
    return {"pretraining": asdict(REFERENCE), "fine_tuning_rows": SUBSET, "judged_rows": JUDGED}


def _kept() -> list[dict[str, Any]]:
    """Return the stored cells, or none if they were made with another budget."""
    file = RESULTS / "ablation.json"
    result = json.loads(file.read_text()) if file.exists() else {}
    return list(result["cells"]) if result.get("budget") == _budget() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=Path, default=SHARED / "streams")
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    parser.add_argument(
        "--soft-labels",
        type=Path,
        help="written by `foreshock model teach`; without it, distilled rows are left out",
    )
    parser.add_argument("--only", default="", help="make only these rows, separated by semicolons")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--cells", type=int, default=len(ROWS) * SEEDS, help="stop after this many cells")
    given = parser.parse_args()
    only = [row.strip() for row in given.only.split(";") if row.strip()]
    wanted = [
        (row, seed)
        for seed in range(given.seeds)
        for row in ROWS
        if (not only or row in only) and ("distilled" not in row or given.soft_labels is not None)
    ]
    there = {(one["row"], one["seed"]) for one in _kept()}
    for row, seed in [one for one in wanted if one not in there][: given.cells]:
        done = cell(row, seed, given.streams, given.labelled, given.soft_labels)
        print(json.dumps(done), flush=True)
        cells = [*_kept(), done]
        record("ablation", COMMAND, {"budget": _budget(), "cells": cells, "rows": list(table(cells))})


if __name__ == "__main__":
    main()
