"""What a teacher says of companies in texts, kept without the texts and the names.

The one idea: a pair of a text and a company is known by a hash. Whoever has the same texts finds the pairs again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS

Pair = tuple[str, str]
"""A text, and the name of a company as it stands in it."""


def key(pair: Pair) -> int:
    """Return the number below 2**64 by which a pair is known: the head of a SHA-256."""
    text, company = pair
    return int.from_bytes(hashlib.sha256(f"{company}\n{text}".encode()).digest()[:8], "little")


def add_towards(file: Path, pairs: Sequence[Pair], logits: NDArray[np.float32]) -> int:
    """Add logits (n, 3) towards the company of each pair to a file, in float16; returns how many it then holds."""
    keys = np.array([key(pair) for pair in pairs], dtype=np.uint64)
    found = logits.astype(np.float16)
    if file.is_file():
        before_keys, before = _read(file)
        keys, found = np.concatenate([before_keys, keys]), np.concatenate([before, found])
    beside = file.with_suffix(".new")
    save_file({"keys": keys, "logits": found}, beside)
    beside.replace(file)
    return len(keys)


def read_towards(file: Path) -> dict[int, NDArray[np.float32]]:
    """Return what `add_towards` wrote, as probabilities (3,) by key. Raises LabelledDataError for any other file."""
    keys, logits = _read(file)
    wide = logits.astype(np.float32)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return dict(zip(keys.tolist(), powers / powers.sum(axis=1, keepdims=True), strict=True))


def _read(file: Path) -> tuple[NDArray[np.uint64], NDArray[np.float16]]:
    try:
        kept = load_file(file)
        keys, logits = kept["keys"], kept["logits"]
        if logits.shape != (len(keys), len(LABELS)) or not np.isfinite(logits).all():
            raise ValueError(f"not three finite logits for each of {len(keys)} keys")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LabelledDataError(f"{file}: not a file of a teacher for companies ({error})") from error
    return keys, logits


def said(towards: Mapping[int, NDArray[np.float32]], pair: Pair) -> NDArray[np.float32] | None:
    """Return the teacher's probabilities for a pair, if it was asked about it."""
    return towards.get(key(pair)) if towards else None
