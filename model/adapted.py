"""A head that was adapted to a desk's labels: a small file beside the weights whose encoder it reads.

The one idea: an adapted head is a change that is added to the head of other weights, and a shift of how sure they are.
The encoder stays as it is, so a pass costs what it costs without it. A change of zero is the head of the weights, bit
for bit.

    {"format": 1, "kind": "adapted head", "name": "desk", "base": {"weights": "default", "identity": "default-1f0c..."},
     "change": {"weight": BASE64, "bias": BASE64}, "calibration": {"offset": 0.1}, ..., "sha256": ...}

Numbers are float32, little-endian, row by row. `sha256` is of the rest, as `json.dumps(rest, sort_keys=True)`.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import ModelError
from foreshock.model.labels import LABELS

FORMAT = 1
KIND = "adapted head"
NAMES = ("default", "permissive", "chinese")
"""The weights that ship with Foreshock have these names. No file or folder of such a name is taken for them."""
_LARGEST = 4 * 2**20
_REMEDY = "make it again with `foreshock model adapt`, or restore the file"


@dataclass(frozen=True, slots=True)
class AdaptedHead:
    """What a file says. `weights`: whose head it changes, a name in NAMES or a folder.

    made_for: the identity of those weights without a runtime. weight (3, width), bias (3,): what is added to the head.
    offset: what is added to the calibration's. sha256: of all that the file says beside `weights`, because scores do
    not depend on where those lie. card: the file, for those who ask what it learned from.
    """

    name: str
    weights: str
    made_for: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    offset: float
    sha256: str
    card: dict[str, Any]

    def head(self, tensors: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Return the changed head of the weights' tensors. Raises ValueError where it is of another width."""
        found = {}
        for part, change in (("weight", self.weight), ("bias", self.bias)):
            theirs = np.asarray(tensors[f"head.{part}"], dtype=np.float64)
            if theirs.shape != change.shape:
                raise ValueError(f"the change of head.{part} has the shape {change.shape}, the head {theirs.shape}")
            found[f"head.{part}"] = theirs + change
        return found


def write_adapted(path: Path, card: Mapping[str, Any]) -> None:
    """Write a card, with its hash, to a new file. It gets its name only once it is whole.

    Raises FileExistsError where there is one with other content, and OSError where it cannot be written.
    """
    data = to_bytes(card)
    if path.exists():
        if path.read_bytes() != data:
            raise FileExistsError(errno.EEXIST, "it already exists", str(path))
        return
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def to_bytes(card: Mapping[str, Any]) -> bytes:
    """Return a card as the file that holds it."""
    return (json.dumps({**card, "sha256": _hash(card)}, indent=2) + "\n").encode()


def to_card(
    *,
    name: str,
    weights: str,
    made_for: str,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    offset: float,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the card of an adapted head. `about`: what it learned from, and how it does."""
    return {
        "format": FORMAT,
        "kind": KIND,
        "name": name,
        "base": {"weights": weights, "identity": made_for},
        "change": {"weight": _encoded(weight), "bias": _encoded(bias)},
        "calibration": {"offset": offset},
        **about,
    }


def read_adapted(path: Path) -> AdaptedHead:
    """Read an adapted head. Raises ModelError, which names the file and the remedy."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"{path}: too large for an adapted head; name a folder of weights, or such a file")
        card = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path}: not an adapted head ({error}); name a folder of weights, or a file that `foreshock model adapt` "
            "wrote"
        ) from error
    if not isinstance(card, dict) or card.get("kind") != KIND:
        raise ModelError(f"{path}: not a file that `foreshock model adapt` wrote; name such a file, or a folder")
    if card.get("format") != FORMAT:
        raise ModelError(f"{path}: an adapted head of another version of Foreshock; {_REMEDY}")
    rest = {key: value for key, value in card.items() if key != "sha256"}
    if card.get("sha256") != _hash(rest):
        raise ModelError(f"{path}: its SHA-256 is not the one that it states, so it is damaged or changed; {_REMEDY}")
    try:
        weight = _decoded(card["change"]["weight"]).reshape(len(LABELS), -1)
        bias = _decoded(card["change"]["bias"]).reshape(len(LABELS))
        offset = float(card["calibration"]["offset"])
        if not (np.isfinite(weight).all() and np.isfinite(bias).all() and math.isfinite(offset)):
            raise ValueError("it holds numbers that are not finite")
        name, weights, made_for = str(card["name"]), str(card["base"]["weights"]), str(card["base"]["identity"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    content = {**rest, "base": {"identity": made_for}}
    return AdaptedHead(name, weights, made_for, weight, bias, offset, _hash(content), rest)


def _hash(card: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()


def _encoded(array: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode()


def _decoded(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").astype(np.float32)
