"""Find and read the labelled sets of a data folder, and recognise texts again by their fingerprints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS, Labelled, read_labelled, read_texts


def find_sets(data: Path, sets: Sequence[str]) -> dict[str, Path]:
    """Return the files of the sets in the folder `data`, by `SET_train` and `SET_valid`.

    Raises LabelledDataError where `sets` is empty or a file is missing.
    """
    if not sets:
        raise LabelledDataError(f"{data}: no set to read is named; name a set with validation rows in --sets")
    return {f"{s}_{part}": _find(data, s, part) for s in sets for part in ("train", "valid")}


def read_sets(
    files: Mapping[str, Path], sets: Sequence[str]
) -> tuple[dict[str, Labelled], dict[str, Labelled], dict[str, dict[str, int]]]:
    """Return training rows, validation rows and counts, each by set.

    Training rows whose text is a validation text of any set are removed and counted. `files` are those of `find_sets`.
    Raises LabelledDataError, also where all training rows have one class.
    """
    read = {key: read_labelled(file) for key, file in files.items()}
    held_out = {fingerprint(text) for s in sets for text in read_texts(files[f"{s}_valid"])}
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
            f"{', '.join(sets)}: the training rows have one class only ({only}); add a set with other classes"
        )
    return train, {s: read[f"{s}_valid"] for s in sets}, counts


def validation_fingerprints(data: Path) -> frozenset[str]:
    """Return the fingerprints of the validation texts of all sets in the folder, whatever their labels.

    Raises LabelledDataError where the folder has no validation part.
    """
    files = sorted(data.glob("*_valid.jsonl.gz"))
    if not files:
        raise LabelledDataError(f"{data}: has no SET_valid.jsonl.gz; give the folder of the labelled sets")
    return frozenset(fingerprint(text) for file in files for text in read_texts(file))


def _find(data: Path, labelled_set: str, part: str) -> Path:
    """Return the file of one part of a set. Raises LabelledDataError where it is missing."""
    path = data / f"{labelled_set}_{part}.jsonl.gz"
    if not path.is_file():
        known = sorted(file.name.removesuffix("_train.jsonl.gz") for file in data.glob("*_train.jsonl.gz"))
        raise LabelledDataError(f"{path}: no such file; the folder has the sets: {', '.join(known) or 'none'}")
    return path


def fingerprint(text: str) -> str:
    """Return what two copies of a text have in common: its words in lower case, without links and punctuation."""
    return " ".join(re.findall(r"\w+", re.sub(r"https?://\S+", " ", text.casefold())))
