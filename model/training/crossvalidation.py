"""Cross-validation of a training: how good it is where a validation part alone is too small to say (fiqa: 61 rows).

The one idea: each fold is a training like any other, on files of its own in `out/fold-K`, so what was interrupted goes
on, and a fold that is done is not done again. `out/folds.json` holds the settings that all of them are of.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS, Labelled, read_labelled
from foreshock.model.training.generated import NAME as GENERATED
from foreshock.model.training.labelled import find_sets, fingerprint
from foreshock.model.training.steps import bind, versions, write_record


def cross_validate(
    train: Callable[[Path, Path], dict[str, Any]],
    data: Path,
    out: Path,
    *,
    folds: int,
    sets: Sequence[str],
    seed: int,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Train `folds` times on the training and validation rows of the sets together, each time less one fold of each.

    train(data, out) trains on the files in a folder and returns its record. A text and its copies are in one fold; the
    set `generated`, which `train` makes, is in none and not reported. settings: all that decides what
    `train` makes of a folder, with the files' `data_sha256`.
    Returns the record written to `out/cross-validation.json`: mean and standard deviation over the folds of each set's
    weighted F1, and the folds' own. Raises LabelledDataError, also where a set has too few rows; ModelError where `out`
    holds folds of other settings.

    Warning: where the training distils a teacher that learned from the rows of all folds, the figures are too good;
    only those of the teacher's own validation rows are not.
    """
    sets = [s for s in sets if s != GENERATED]
    files = find_sets(data, sets)
    parts = {s: [read_labelled(files[f"{s}_{part}"]) for part in ("train", "valid")] for s in sets}
    places = {s: _folds([text for part in parts[s] for text in part.texts], folds, seed) for s in sets}
    bind(out / "folds.json", {**settings, "folds": folds, "seed": seed}, [*out.glob("fold-*")])
    done: list[dict[str, Any]] = []
    for fold in range(folds):
        folder = out / f"fold-{fold}"
        if not (folder / "record.json").is_file():
            (folder / "data").mkdir(parents=True, exist_ok=True)
            for s in sets:
                _write(folder / "data" / f"{s}_train.jsonl.gz", parts[s], places[s] != fold)
                _write(folder / "data" / f"{s}_valid.jsonl.gz", parts[s], places[s] == fold)
            train(folder / "data", folder)
        done.append(json.loads((folder / "record.json").read_text(encoding="utf-8")))
    by_set = {s: [record["validation"][s]["weighted_f1"] for record in done] for s in sets}
    record = {
        "command": f"{done[0]['command']} --folds {folds}",
        "settings": done[0]["settings"] | {"data_sha256": settings["data_sha256"]},
        "weighted_f1": {
            s: {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)), "folds": values}
            for s, values in by_set.items()
        },
        "seconds": sum(record["seconds"] for record in done),
        "versions": versions(),
    }
    return write_record(out / "cross-validation.json", record)


def _folds(texts: list[str], folds: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The fold of each text; copies share one, and the folds differ in size by one text (and its copies) at most."""
    marks = [fingerprint(text) for text in texts]
    different = list(dict.fromkeys(marks))
    if len(different) < folds:
        raise LabelledDataError(f"{len(different)} different texts are too few for {folds} folds")
    order = np.random.default_rng([seed, folds]).permutation(len(different))
    fold = dict(zip((different[i] for i in order), (i % folds for i in range(len(different))), strict=True))
    return np.array([fold[mark] for mark in marks], dtype=np.int64)


def _write(path: Path, parts: Sequence[Labelled], chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    rows = [(text, LABELS[label]) for part in parts for text, label in zip(part.texts, part.labels, strict=True)]
    lines = [
        json.dumps({"text": text, "label": label}) for (text, label), take in zip(rows, chosen, strict=True) if take
    ]
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0))
