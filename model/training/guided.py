"""Texts labelled under the guideline for news: label, severity, and what each text says of the companies in it.

The one idea: one kind of row, wherever it comes from: a file of labelled texts (`news`, `sentfin`, `finentity`), or
labels without texts, which name stories of feeds by id. A row that is not of this kind is an error with its line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshock.model.errors import LabelledDataError, UnlabelledDataError
from foreshock.model.heads import LEVELS
from foreshock.model.labels import LABELS

NO_SEVERITY = -1
# How much of a story's body a reader saw beside its title; see the guideline's data.
LEAD = 220
_SHORT = {"n": "negative", "0": "neutral", "p": "positive"}


@dataclass(frozen=True, slots=True)
class Guided:
    """A text, its label (one of LABELS, or None: its companies fare differently), severity (0 to 3, or NO_SEVERITY) and
    the label of each company that it names.
    """

    text: str
    label: str | None
    severity: int
    entities: Mapping[str, str]


def read_guided(path: Path) -> list[Guided]:
    """Read JSON lines (.jsonl.gz) with `text`, `label`, and where there are any `severity` and `entities`.

    A label that is not one of the three is None: the text is read for its companies only. Raises LabelledDataError
    naming file and line: not JSON, a severity outside 0 to 3, a severity of a text that is not negative, a company with
    an unknown label.
    """
    rows = []
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                rows.append(_guided(json.loads(line)))
    except FileNotFoundError as error:
        raise LabelledDataError(f"{path}: no such file; give a folder that holds it") from error
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise LabelledDataError(f"{path}, line {number}: not a labelled text ({error})") from error
    return rows


def read_labels_by_id(path: Path, feeds: Path) -> tuple[list[Guided], int]:
    """Read labels without texts (id, label, severity, `name=n|0|p;...`, tabs between), whose stories are in `feeds`, a
    folder of feeds or of labelled sets.

    Returns the rows, and how many ids no story has. Raises LabelledDataError naming file and line, and
    UnlabelledDataError where `feeds` holds no feed files.
    """
    wanted: dict[str, tuple[str, int, dict[str, str]]] = {}
    number = 0
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            number += 1
            if not line or line.startswith("#"):
                continue
            name, label, severity, entities = line.split("\t")
            pairs = [pair.rpartition("=") for pair in entities.split(";") if pair]
            wanted[name] = label, int(severity), {company: _SHORT[short] for company, _, short in pairs}
    except FileNotFoundError as error:
        raise LabelledDataError(f"{path}: no such file of labels") from error
    except (KeyError, ValueError) as error:
        raise LabelledDataError(
            f"{path}, line {number}: not `id, label, severity, name=n|0|p;...` with tabs between ({error})"
        ) from error
    rows = []
    for story in _stories(feeds):
        found = wanted.pop(str(story.get("id")), None)
        if found is None:
            continue
        row = dict(zip(("label", "severity", "entities"), found, strict=True)) | {"text": read_text(story)}
        try:
            rows.append(_guided(row))
        except ValueError as error:
            raise LabelledDataError(f"{path}, story {story['id']}: {error}") from error
    return rows, len(wanted)


def read_text(story: Mapping[str, Any]) -> str:
    """What is labelled of a story: its title and the beginning of its body; of a row of a labelled set its text."""
    if "text" in story:
        return str(story["text"])
    body = str(story.get("body") or "")[:LEAD]
    return f"{story['title']} -- {body}" if body else str(story["title"])


def _guided(row: Mapping[str, Any]) -> Guided:
    text, label = row["text"], row["label"]
    severity, entities = row.get("severity", NO_SEVERITY), row.get("entities") or {}
    if not isinstance(text, str):
        raise ValueError(f"`text` is {text!r}, not text")
    if "severity" in row and (not isinstance(severity, int) or not 0 <= severity <= LEVELS):
        raise ValueError(f"`severity` is {severity!r}, not a whole number from 0 to {LEVELS}")
    if severity > 0 and label != "negative":
        raise ValueError(f"`severity` is {severity} of a text labelled {label}; only bad news is grave")
    for name, one in entities.items():
        if one not in LABELS:
            raise ValueError(f"`entities` has {one!r} for {name!r}, not one of {', '.join(LABELS)}")
    return Guided(text, label if label in LABELS else None, severity, entities)


def _stories(feeds: Path) -> Iterator[dict[str, Any]]:
    files = sorted(feeds.glob("*.jsonl.gz"))
    if not files:
        raise UnlabelledDataError(f"{feeds}: holds no .jsonl.gz files of stories; name the folder of the feeds")
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
