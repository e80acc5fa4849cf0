"""Cross-validate a training, where a validation part alone is too small to measure with (fiqa: 61 rows).

The one idea: each fold is a training like any other, with its own files in `out/fold-K`. So an interrupted fold
resumes, and a finished fold is not trained again. `out/folds.json` holds the settings that all folds share.
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
    """Train `folds` times on the training and validation rows of all sets, and hold out one fold each time.

    A text and its copies are in one fold. The set `generated`, which `train` makes itself, is in no fold and is not
    reported.

    Parameters
    ----------
    train
        train(data, out) trains on the files in the folder `data` and returns its record.
    data, out
        The folder of the labelled sets, and the folder for the folds and the record.
    folds
        How many folds.
    sets
        The labelled sets.
    seed
        Decides which text is in which fold.
    settings
        All that decides what `train` makes of a folder, with the files' `data_sha256`.

    Returns the record that is written to `out/cross-validation.json`: for each set the mean and the standard deviation
    of the weighted F1 over the folds, and each fold's. Raises LabelledDataError, also where a set has fewer texts than
    folds, and ModelError where `out` holds folds with other settings.

    Warning: where the training distils a teacher that learned from the rows of all folds, the figures are too high.
    Only figures on the teacher's own validation rows are not.
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
    """Return the fold of each text (n,). Copies share a fold; fold sizes differ by at most one text and its copies."""
    marks = [fingerprint(text) for text in texts]
    different = list(dict.fromkeys(marks))
    if len(different) < folds:
        raise LabelledDataError(f"{len(different)} different texts are too few for {folds} folds; give fewer --folds")
    order = np.random.default_rng([seed, folds]).permutation(len(different))
    fold = dict(zip((different[i] for i in order), (i % folds for i in range(len(different))), strict=True))
    return np.array([fold[mark] for mark in marks], dtype=np.int64)


def _write(path: Path, parts: Sequence[Labelled], chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
    """Write those rows of the parts, laid one after the other, for which `chosen` is true."""
    rows = [(text, LABELS[label]) for part in parts for text, label in zip(part.texts, part.labels, strict=True)]
    lines = [
        json.dumps({"text": text, "label": label}) for (text, label), take in zip(rows, chosen, strict=True) if take
    ]
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode(), mtime=0))
