"""The sizes of the encoder. They are apart from the network, so that what scores on a CPU need not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of a BERT encoder. The defaults are those of all-MiniLM-L6-v2."""

    vocabulary: int = 30_522
    width: int = 384
    layers: int = 6
    heads: int = 12
    inner: int = 1_536
    positions: int = 512


def check_shapes(shapes: Mapping[str, tuple[int, ...]], architecture: Architecture) -> None:
    """Check that these are the shapes of an encoder's tensors by name; heads are not looked at.

    Raises ValueError, which names the first tensor that is missing, superfluous or of another shape.
    """
    expected = _shapes(architecture)
    found = {name: shape for name, shape in shapes.items() if not name.startswith(("head.", "heads."))}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name} has the shape {found.get(name)}, not {expected.get(name)}")


def products(a: Architecture) -> dict[str, tuple[int, int]]:
    """Return the matrices of a layer by name: (outputs, inputs)."""
    return {
        "query_key_value": (3 * a.width, a.width),
        "attention_out": (a.width, a.width),
        "inner": (a.inner, a.width),
        "outer": (a.width, a.inner),
    }


def _shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    norms = ["norm", *(f"layers.{i}.{norm}" for i in range(a.layers) for norm in ("attention_norm", "outer_norm"))]
    shapes: dict[str, tuple[int, ...]] = {
        "words.weight": (a.vocabulary, a.width),
        "positions.weight": (a.positions, a.width),
    }
    for norm in norms:
        shapes |= {f"{norm}.weight": (a.width,), f"{norm}.bias": (a.width,)}
    for i in range(a.layers):
        for name, shape in products(a).items():
            shapes |= {f"layers.{i}.{name}.weight": shape, f"layers.{i}.{name}.bias": shape[:1]}
    return shapes
