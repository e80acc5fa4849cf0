"""Read and write soft labels: the teacher's logits for texts, computed once, from which the small encoder learns.

The one idea: a small encoder learns more from a teacher's doubts about many texts than from hard labels of few (Hinton
et al. 2015, "Distilling the Knowledge in a Neural Network"). The texts are labelled texts, variants of them
(variants.py; Jiao et al. 2020, "TinyBERT", shows how much variants help), and texts like those that will be scored. A
variant names its original, so that both can be held out together.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError
from foreshock.model.training.labelled import fingerprint


@dataclass(frozen=True, slots=True)
class SoftLabel:
    """A text and the teacher's logits for it, in the order of LABELS.

    Parameters
    ----------
    labelled_set
        The set whose bias the teacher used; None: it used no bias.
    variant_of
        The `fingerprint` of the labelled text that this text is a variant of; None: it is not a variant.
    """

    text: str
    logits: tuple[float, float, float]
    labelled_set: str | None = None
    variant_of: str | None = None


def write_soft_labels(path: Path, rows: Sequence[SoftLabel]) -> None:
    """Write compressed JSON lines. The same rows give the same bytes. An interruption leaves no partial file."""
    beside = path.with_suffix(".new")
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    beside.write_bytes(gzip.compress(lines.encode(), mtime=0))
    beside.replace(path)


def read_soft_labels(path: Path) -> list[SoftLabel]:
    """Read a file that `write_soft_labels` wrote. Raises LabelledDataError, which names file and line."""
    rows: list[SoftLabel] = []
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = json.loads(line)
                logits = tuple(float(value) for value in row["logits"])
                if len(logits) != 3 or not np.isfinite(logits).all() or not isinstance(row["text"], str):
                    raise ValueError(f"not a text with three finite logits: {line[:80]!r}")
                rows.append(SoftLabel(row["text"], logits, row["labelled_set"], row["variant_of"]))
    except FileNotFoundError as error:
        raise LabelledDataError(
            f"{path}: no such file; give the soft-labels.jsonl.gz of `foreshock model teach`"
        ) from error
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        raise LabelledDataError(
            f"{path}, line {number}: not a file of soft labels ({error}); write it anew with `foreshock model teach`"
        ) from error
    return rows


def probabilities(rows: Sequence[SoftLabel]) -> NDArray[np.float32]:
    """Return the softmax of the rows' logits: (n, 3)."""
    logits = np.array([row.logits for row in rows], dtype=np.float64).reshape(len(rows), 3)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def without(rows: Sequence[SoftLabel], held_out: set[str]) -> list[SoftLabel]:
    """Leave out the texts whose fingerprint is in `held_out`, and the variants of such texts."""
    return [row for row in rows if fingerprint(row.text) not in held_out and row.variant_of not in held_out]
