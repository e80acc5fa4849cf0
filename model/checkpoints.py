"""Rename the tensors of a BERT checkpoint to those of our encoder. Arrays of numpy, so that serving needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import ModelError

Floats = NDArray[np.float32]


def from_bert(state: Mapping[str, NDArray[np.floating]], *, first_place: int = 0) -> dict[str, Floats]:
    """Return a BERT checkpoint's tensors under the names of `Encoder`, without the head's.

    The embedding of token type 0 is added to the position embeddings: the encoder uses no other type. first_place: the
    row of the position embeddings for the first token; RoBERTa's is 2.
    Raises ModelError where a tensor is missing.
    """

    def get(name: str) -> Floats:
        if name not in state:
            raise ModelError(f"the base model has no tensor {name!r}: it is not a BERT encoder; use all-MiniLM-L6-v2")
        return state[name].astype(np.float32)

    ours = {
        "words.weight": get("embeddings.word_embeddings.weight"),
        "positions.weight": get("embeddings.position_embeddings.weight")[first_place:]
        + get("embeddings.token_type_embeddings.weight")[0],
        "norm.weight": get("embeddings.LayerNorm.weight"),
        "norm.bias": get("embeddings.LayerNorm.bias"),
    }
    attention = "attention.self.query", "attention.self.key", "attention.self.value"
    return ours | blocks(state, get, attention, "attention.output.dense", "attention.output.LayerNorm")


def blocks(
    names: Mapping[str, object], get: Callable[[str], Floats], attention: Sequence[str], out: str, norm: str
) -> dict[str, Floats]:
    """Return the tensors of all transformer blocks under the names of `Encoder`.

    Parameters
    ----------
    names
        The checkpoint's tensors by name; they say how many blocks there are.
    get
        Returns the tensor of a name.
    attention, out, norm
        The checkpoint's names for query, key and value, for the projection after them, and for the norm after that.
    """
    ours: dict[str, Floats] = {}
    count = 1 + max((int(n.split(".")[2]) for n in names if n.startswith("encoder.layer.")), default=-1)
    for i in range(count):
        theirs, mine = f"encoder.layer.{i}", f"layers.{i}"
        for kind in ("weight", "bias"):
            joined = [get(f"{theirs}.{part}.{kind}") for part in attention]
            ours[f"{mine}.query_key_value.{kind}"] = np.concatenate(joined)
            ours[f"{mine}.attention_out.{kind}"] = get(f"{theirs}.{out}.{kind}")
            ours[f"{mine}.attention_norm.{kind}"] = get(f"{theirs}.{norm}.{kind}")
            ours[f"{mine}.inner.{kind}"] = get(f"{theirs}.intermediate.dense.{kind}")
            ours[f"{mine}.outer.{kind}"] = get(f"{theirs}.output.dense.{kind}")
            ours[f"{mine}.outer_norm.{kind}"] = get(f"{theirs}.output.LayerNorm.{kind}")
    return ours
