"""What the encoder does otherwise where it reads for one company: small matrices that are added to its own.

The one idea: reading for a company needs layers of its own, and half the size of the weights is too much for that. A
matrix of a layer has a change of low rank, up times down (Hu et al. 2022, "LoRA"). It is added once, when the layers
are made, so a pass costs what it costs without it. The encoder of whole texts stays as it is.

Factors are float16 and below one half, so in float64 a sum of up to 32 of their products loses no bit, whatever the
order in which a library adds them up. Every machine makes the same layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture, products

Change = Mapping[str, NDArray[np.float16]]
"""`layers.N.PART.up` (outputs, rank) and `.down` (rank, inputs) of each PART that changes; `heads.entity.weight` and
`.bias`: the head that is read at the marks before a name."""
MOST = 32
"""The highest rank whose sums are exact."""
BELOW = 0.5
_FACTOR = re.compile(r"(layers\.\d+\.\w+)\.(up|down)")


def check_change(change: Change, architecture: Architecture) -> None:
    """Check names, shapes and sizes of a change against the encoder. Raises ValueError, or KeyError of what is missing.

    A factor of one half or more, or a rank over 32, is refused: with it the sums would not be exact.
    """
    sizes = products(architecture)
    named = {"heads.entity.weight", "heads.entity.bias"}
    for name in matrices(change):
        _, layer, part = name.split(".")
        if int(layer) >= architecture.layers or part not in sizes:
            continue  # named below
        up, down = change[f"{name}.up"], change[f"{name}.down"]
        named |= {f"{name}.up", f"{name}.down"}
        outputs, inputs = sizes[part]
        rank = len(down)
        if rank > MOST or up.shape != (outputs, rank) or down.shape != (rank, inputs):
            raise ValueError(f"{name}: up {up.shape} and down {down.shape} do not fit")
        # Written so that NaN is refused, too.
        if not all((np.abs(factor) < BELOW).all() for factor in (up, down)):
            raise ValueError(f"{name}: holds numbers that are not below {BELOW}")
    for name, shape in (("heads.entity.weight", (3, architecture.width)), ("heads.entity.bias", (3,))):
        if change[name].shape != shape or not np.isfinite(change[name]).all():
            raise ValueError(f"{name}: expected {shape} finite numbers, found shape {change[name].shape}")
    if unknown := sorted(set(change) - named):
        raise ValueError(f"unknown tensors: {', '.join(unknown)}")


def changed(tensors: Mapping[str, NDArray[np.float32]], change: Change) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of the encoder that reads for one company; those given stay as they are."""
    made = dict(tensors)
    for name in matrices(change):
        up, down = (change[f"{name}.{factor}"].astype(np.float64) for factor in ("up", "down"))
        made[f"{name}.weight"] = (tensors[f"{name}.weight"] + up @ down).astype(np.float32)
    return made | heads(change)


def heads(change: Change) -> dict[str, NDArray[np.float32]]:
    """Return the head that is read at the marks."""
    return {name: tensor.astype(np.float32) for name, tensor in change.items() if name.startswith("heads.")}


def matrices(change: Change) -> set[str]:
    """Return the names of the matrices that a change changes: `layers.N.PART`."""
    return {match[1] for match in map(_FACTOR.fullmatch, change) if match}
