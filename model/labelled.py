"""Reading labelled texts: JSON lines with `text` and `label`, plain or `.gz`. Used to train and to evaluate.

The one idea: a row whose label is not one of the three is skipped and counted; a file that is not of this kind is an
error that names the line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError

LABELS = ("negative", "neutral", "positive")


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and their labels (n,) int64, indices into LABELS; `skipped` counts rows of other labels."""

    texts: list[str]
    labels: NDArray[np.int64]
    skipped: int


def read_labelled(path: Path) -> Labelled:
    """Read one file. Raises LabelledDataError: not there, not JSON lines, no such column, no known label."""
    if not path.is_file():
        raise LabelledDataError(
            f"{path}: no such file; give a .jsonl or .jsonl.gz file with `text` and `label` on each line"
        )
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise LabelledDataError(f"{path}: unknown kind of file; give a .jsonl or .jsonl.gz file")
    texts: list[str] = []
    labels: list[int] = []
    skipped = 0
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = _row(line, f"{path}, line {number}")
                if row["label"] in LABELS:
                    texts.append(row["text"])
                    labels.append(LABELS.index(row["label"]))
                else:
                    skipped += 1
    except (OSError, EOFError, zlib.error) as error:  # no gzip file, a cut one, a damaged one
        raise LabelledDataError(f"{path}, after line {number}: cannot be read ({error}); is the file whole?") from error
    if not texts:
        raise LabelledDataError(f"{path}: no row is labelled {', '.join(LABELS)} ({skipped} rows have other labels)")
    return Labelled(texts, np.array(labels, dtype=np.int64), skipped)


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(text: str) -> str:
    """What two copies of a text have in common: letters and digits, lower-cased, links left out."""
    return " ".join(re.findall(r"\w+", re.sub(r"https?://\S+", " ", text.casefold())))


def _row(line: bytes, where: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise LabelledDataError(
            f"{where}: not JSON ({error}); each line is one object with `text` and `label`"
        ) from error
    if not isinstance(row, dict):
        raise LabelledDataError(f"{where}: a JSON {type(row).__name__}, not an object with `text` and `label`")
    for column in ("text", "label"):
        if column not in row:
            found = ", ".join(f"`{name}`" for name in row) or "none"
            raise LabelledDataError(f"{where}: no column `{column}`; it has {found}: rename one to `{column}`")
        if not isinstance(row[column], str):
            raise LabelledDataError(f"{where}: `{column}` is {row[column]!r}, not text")
    return row
