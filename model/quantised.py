"""Weights in 8 bits: how they are rounded, and the file that `foreshock model export` writes.

The one idea: the 8-bit weights are a function of the weights that were trained, value by value, so that each machine
makes the same ones. An exported file saves the time of making them; it changes no score.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import ModelError
from foreshock.model.storage import WeightsFolder

RECIPE = 2
"""The version of the rounding and of the graph (graph.py). Raise it when either changes: the identity holds it."""
_TENSORS = "int8.safetensors"
_CARD = "int8.json"
# The word embeddings, and the weights of all products but one. Queries, keys and values stay in floats: their
# products add most to the error of the rounding for the time that they take (docs/decisions/0040). The rest is small.
_ROUNDED = re.compile(r"words\.weight|layers\.\d+\.(attention_out|inner|outer)\.weight")


@dataclass(frozen=True, slots=True)
class Rounded:
    """A matrix in 8 bits: `values` (rows, columns) int8, times `scales` (rows, 1) float32."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


Tensors = Mapping[str, "NDArray[np.float32] | Rounded"]
"""The tensors of an encoder by name, some of them rounded."""


def round_rows(matrix: NDArray[np.float32]) -> Rounded:
    """Round each row to integers from -127 to 127, with a scale of its own: its largest value becomes 127.

    A row whose scale would be subnormal, less than 1.2e-38, becomes zeros: such a number has hardly any digits.
    """
    scales = np.abs(matrix).max(axis=1, keepdims=True) / np.float32(127)
    scales[scales < np.finfo(np.float32).tiny] = 1
    return Rounded(np.rint(matrix / scales).astype(np.int8), scales)


def rounded(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32] | Rounded]:
    """Return the tensors of an encoder with those rounded that are computed in 8 bits. Heads stay in floats."""
    return {name: round_rows(tensor) if _ROUNDED.fullmatch(name) else tensor for name, tensor in tensors.items()}


def export(folder: WeightsFolder, tensors: Mapping[str, NDArray[np.float32]]) -> Path:
    """Write int8.safetensors and int8.json beside the weights, and return the path of the first."""
    from safetensors.numpy import save

    flat: dict[str, NDArray[np.generic]] = {}
    for name, tensor in rounded(tensors).items():
        if isinstance(tensor, Rounded):
            flat |= {f"{name}.values": tensor.values, f"{name}.scales": tensor.scales}
        else:
            flat[name] = np.ascontiguousarray(tensor)
    data = save(flat)
    path = folder.path / _TENSORS
    card = {"recipe": RECIPE, "made_from": _made_from(folder), "sha256": hashlib.sha256(data).hexdigest()}
    path.write_bytes(data)
    (folder.path / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def exported(folder: WeightsFolder) -> Path | None:
    """Return the path of the exported file; None where there is none."""
    path = folder.path / _TENSORS
    return path if path.is_file() else None


def read_exported(folder: WeightsFolder) -> dict[str, NDArray[np.float32] | Rounded]:
    """Check the SHA-256 of the exported file and return its tensors.

    Raises ModelError where the file is damaged, was made from other weights, or by another version of Foreshock.
    """
    from safetensors.numpy import load

    path, remedy = folder.path / _TENSORS, "write it again with `foreshock model export`, or delete it"
    try:
        card = json.loads((folder.path / _CARD).read_text(encoding="utf-8"))
        stated = card["recipe"], card["made_from"], card["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder.path / _CARD}: cannot be read ({error}); {remedy}") from error
    if stated[0] != RECIPE:
        raise ModelError(f"{path}: was made by another version of Foreshock; {remedy}")
    if stated[1] != _made_from(folder):
        raise ModelError(f"{path}: was made from other weights than {folder.tensors.name} beside it; {remedy}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != stated[2]:
        raise ModelError(f"{path}: its SHA-256 is not the one in {_CARD}, so it is damaged or changed; {remedy}")
    try:
        flat = load(data)
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{path}: not a safetensors file ({error}); {remedy}") from error
    tensors: dict[str, NDArray[np.float32] | Rounded] = {}
    for name, tensor in flat.items():
        if name.endswith(".values"):
            whole = name.removesuffix(".values")
            tensors[whole] = Rounded(tensor, flat[f"{whole}.scales"])
        elif not name.endswith(".scales"):
            tensors[name] = tensor
    return tensors


def _made_from(folder: WeightsFolder) -> str:
    return folder.sha256[folder.tensors.name]
