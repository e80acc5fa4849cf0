"""The three classes, and a reader of texts that are labelled with them.

A file is JSON lines with `text` and `label`, plain or `.gz`. The reader skips and counts rows with other labels. Any
other kind of file is an error that names the line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError

LABELS = ("negative", "neutral", "positive")
"""The order of the classes in every array of scores."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and their labels (n,) int64, indices into LABELS. `skipped` counts rows with other labels."""

    texts: list[str]
    labels: NDArray[np.int64]
    skipped: int


def read_labelled(path: Path) -> Labelled:
    """Read one labelled file.

    Raises LabelledDataError where the file is missing or damaged, a line is not JSON or lacks a column, or no row has
    one of the three labels.
    """
    texts: list[str] = []
    labels: list[int] = []
    skipped = 0
    for row in _rows(path):
        if row["label"] in LABELS:
            texts.append(row["text"])
            labels.append(LABELS.index(row["label"]))
        else:
            skipped += 1
    if not texts:
        raise LabelledDataError(
            f"{path}: no row is labelled {', '.join(LABELS)} ({skipped} rows have other labels); rename the labels"
        )
    return Labelled(texts, np.array(labels, dtype=np.int64), skipped)


def read_texts(path: Path) -> list[str]:
    """Return the texts of a labelled file, also of rows with other labels. Raises LabelledDataError."""
    return [row["text"] for row in _rows(path)]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal. Raises OSError where the file cannot be read."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise LabelledDataError(
            f"{path}: no such file; give a .jsonl or .jsonl.gz file with `text` and `label` on each line"
        )
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise LabelledDataError(f"{path}: unknown kind of file; give a .jsonl or .jsonl.gz file")
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as error:  # not gzip, cut off, or damaged
        raise LabelledDataError(f"{path}, after line {number}: cannot be read ({error}); is the file whole?") from error


def _row(line: bytes, where: str) -> dict[str, str]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise LabelledDataError(
            f"{where}: not JSON ({error}); each line is one object with `text` and `label`"
        ) from error
    if not isinstance(row, dict):
        raise LabelledDataError(
            f"{where}: a JSON {type(row).__name__}; each line must be one object with `text` and `label`"
        )
    for column in ("text", "label"):
        if column not in row:
            found = ", ".join(f"`{name}`" for name in row) or "none"
            raise LabelledDataError(f"{where}: no column `{column}`; the row has {found}: rename one to `{column}`")
        if not isinstance(row[column], str):
            raise LabelledDataError(f"{where}: `{column}` is {row[column]!r}, not text; write it as a JSON string")
    return row
