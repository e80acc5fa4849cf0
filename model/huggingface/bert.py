"""Read a BERT or RoBERTa classifier for our own engine, so that it runs without transformers and torch.

The one idea: both are the encoder that Foreshock has, with another head. They differ in the row at which the places
begin, in the smallest variance of a norm, and in the names of the head's two layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture
from foreshock.model.checkpoints import Floats, from_bert
from foreshock.model.engine import Engine
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import Folder, dtypes
from foreshock.model.labels import LABELS

_READ_BY_NUMPY = {"F32", "F16", "I64"}
_KINDS = {
    "bert": ("bert", "bert.pooler.dense", "classifier"),
    "roberta": ("roberta", "classifier.dense", "classifier.out_proj"),
    "xlm-roberta": ("roberta", "classifier.dense", "classifier.out_proj"),
    "camembert": ("roberta", "classifier.dense", "classifier.out_proj"),
}
"""By `model_type`: what the encoder's names begin with, and the two layers of the head."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """An encoder's tensors under our names, and its head: logits = out (tanh (dense (first token)))."""

    tensors: dict[str, Floats]
    architecture: Architecture
    epsilon: float
    dense: tuple[NDArray[np.float64], NDArray[np.float64]]
    out: tuple[NDArray[np.float64], NDArray[np.float64]]

    def logits(self, embedded: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits (n, labels) of the last layer's output at the first token, (n, width).

        Row by row and without a matrix product, which would add up few rows in another order than many.
        """
        rows = []
        for row in embedded.astype(np.float64):
            pooled = np.tanh(np.einsum("kw,w->k", self.dense[0], row) + self.dense[1])
            rows.append(np.einsum("kw,w->k", self.out[0], pooled) + self.out[1])
        return np.array(rows, dtype=np.float64).reshape(len(embedded), len(self.out[1]))


class FirstTokens:
    """An engine that returns the last layer's output at each text's first token. The interface of `EncoderEngine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.threads = engine.threads
        self.runtime = engine.runtime

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        """Return the output at the first token of each text, (texts, width); `marks` are not looked at."""
        return self._engine.embed(rows, [[0]] * len(rows))


def fits(folder: Folder) -> bool:
    """Return whether our engine computes what the folder's config describes."""
    config = folder.config
    return (
        config.get("model_type") in _KINDS
        and config.get("hidden_act", "gelu") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
        and isinstance(config.get("layer_norm_eps", 1e-12), float)
        and dtypes(folder) <= _READ_BY_NUMPY
    )


def read(folder: Folder) -> Classifier:
    """Read the tensors of a folder that `fits`. Raises ModelError where one is missing or damaged."""
    from safetensors.numpy import load_file

    prefix, dense, out = _KINDS[folder.config["model_type"]]
    state: dict[str, NDArray[Any]] = {}
    for file in folder.tensors:
        try:
            state |= load_file(file)
        except Exception as error:  # the library's errors share no class
            raise ModelError(f"{file}: not a safetensors file ({error}); copy it again") from error
    missing = [
        f"{part}.{kind}" for part in (dense, out) for kind in ("weight", "bias") if f"{part}.{kind}" not in state
    ]
    if missing:
        raise ModelError(
            f"{folder.path}: has no {missing[0]}, so it was not trained to classify texts; fine-tune it first, or "
            "choose a model for sequence classification"
        )
    body = {name.removeprefix(f"{prefix}."): array for name, array in state.items() if name.startswith(f"{prefix}.")}
    config = folder.config
    try:
        tensors = from_bert(body, first_place=folder.first_place)
    except ModelError as error:
        raise ModelError(f"{folder.path}: {error}") from error
    architecture = Architecture(
        vocabulary=tensors["words.weight"].shape[0],
        width=tensors["words.weight"].shape[1],
        layers=sum(name.endswith(".inner.weight") for name in tensors),
        heads=folder.whole("num_attention_heads", 0),
        inner=tensors["layers.0.inner.weight"].shape[0],
        positions=tensors["positions.weight"].shape[0],
    )
    layers = [
        (state[f"{part}.weight"].astype(np.float64), state[f"{part}.bias"].astype(np.float64)) for part in (dense, out)
    ]
    _check(folder, architecture, len(layers[1][1]))
    return Classifier(tensors, architecture, float(config.get("layer_norm_eps", 1e-12)), layers[0], layers[1])


def _check(folder: Folder, sizes: Architecture, outputs: int) -> None:
    """Compare the sizes of the tensors with the config. A token or place without a row would get any score."""
    for what, stated, real in (
        ("tokens (vocab_size)", folder.whole("vocab_size", sizes.vocabulary), sizes.vocabulary),
        ("places (max_position_embeddings)", folder.places, sizes.positions),
        ("labels (id2label)", len(LABELS), outputs),
    ):
        if stated != real:
            raise ModelError(
                f"{folder.path}: config.json states {stated:,} {what}, but the tensors have {real:,}; copy both from "
                "one model"
            )
    if sizes.heads < 1 or sizes.width % sizes.heads:
        raise ModelError(
            f"{folder.path}: config.json states {sizes.heads} heads (num_attention_heads), which do not divide a "
            f"width of {sizes.width}; restore the file"
        )
