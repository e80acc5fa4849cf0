"""The labelled sets of a data folder: finding them, reading their parts, and fingerprints of validation texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS, Labelled, read_labelled


def find_sets(data: Path, sets: Sequence[str]) -> dict[str, Path]:
    """`SET_train` and `SET_valid` of each set, and their files in the folder. Raises LabelledDataError."""
    if not sets:
        raise LabelledDataError(f"{data}: no set to read is named; training needs one with validation rows")
    return {f"{s}_{part}": _find(data, s, part) for s in sets for part in ("train", "valid")}


def read_sets(
    files: Mapping[str, Path], sets: Sequence[str]
) -> tuple[dict[str, Labelled], dict[str, Labelled], dict[str, dict[str, int]]]:
    """Training rows, validation rows and counts by set; training rows that are also validation rows of any set are out.

    Raises LabelledDataError, also where all training rows are of one class.
    """
    read = {key: read_labelled(file) for key, file in files.items()}
    held_out = {fingerprint(text) for s in sets for text in read[f"{s}_valid"].texts}
    train: dict[str, Labelled] = {}
    counts: dict[str, dict[str, int]] = {}
    for s in sets:
        rows, valid = read[f"{s}_train"], read[f"{s}_valid"]
        kept = [i for i, text in enumerate(rows.texts) if fingerprint(text) not in held_out]
        train[s] = Labelled([rows.texts[i] for i in kept], rows.labels[kept], rows.skipped)
        counts[s] = {
            "train": len(kept),
            "valid": len(valid.texts),
            "other_labels_skipped": rows.skipped + valid.skipped,
            "duplicates_removed": len(rows.texts) - len(kept),
        }
    seen = np.unique(np.concatenate([train[s].labels for s in sets]))
    if len(seen) < 2:
        only = ", ".join(LABELS[i] for i in seen) or "none"
        raise LabelledDataError(
            f"{', '.join(sets)}: the training rows hold one class only ({only}); add a set with others"
        )
    return train, {s: read[f"{s}_valid"] for s in sets}, counts


def validation_fingerprints(data: Path) -> frozenset[str]:
    """Fingerprints of the validation texts of every set in the folder. Raises LabelledDataError where it has none."""
    files = sorted(data.glob("*_valid.jsonl.gz"))
    if not files:
        raise LabelledDataError(f"{data}: holds no SET_valid.jsonl.gz; name the folder of the labelled sets")
    return frozenset(fingerprint(text) for file in files for text in read_labelled(file).texts)


def _find(data: Path, labelled_set: str, part: str) -> Path:
    path = data / f"{labelled_set}_{part}.jsonl.gz"
    if not path.is_file():
        known = sorted(file.name.removesuffix("_train.jsonl.gz") for file in data.glob("*_train.jsonl.gz"))
        raise LabelledDataError(f"{path}: no such file; the folder has the sets: {', '.join(known) or 'none'}")
    return path


def fingerprint(text: str) -> str:
    """What two copies of a text have in common: letters and digits, lower-cased, links left out."""
    return " ".join(re.findall(r"\w+", re.sub(r"https?://\S+", " ", text.casefold())))
