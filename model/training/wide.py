"""Read all-mpnet-base-v2 as an encoder of ours, so that the teacher learns with the same heads as the student.

The one idea: MPNet is BERT with a bias by distance in its attention. Its vocabulary is BERT's, moved on by four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from foreshock.model.architecture import Architecture
from foreshock.model.checkpoints import blocks
from foreshock.model.encoder import Encoder
from foreshock.model.heads import PREFIX, Heads, split_heads
from foreshock.model.training.quick import Wide

_WRITTEN = "teacher.safetensors"
_MOVED = 4
# [CLS], [SEP] and [UNK] of BERT are <s>, </s> and [UNK] of MPNet.
_SPECIAL = {101: 0, 102: 2}


def read_wide(folder: Path) -> Wide:
    """The encoder in the folder of all-mpnet-base-v2; its head is new."""
    state = load_file(folder / "model.safetensors")
    state = {name.removeprefix("mpnet."): tensor for name, tensor in state.items()}
    attention = "attention.attn.q", "attention.attn.k", "attention.attn.v"
    ours = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        # Its places count from 2.
        "positions.weight": state["embeddings.position_embeddings.weight"][2:],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
        "distances.weight": state["encoder.relative_attention_bias.weight"],
    }
    body = blocks(state, lambda name: state[name].float().numpy(), attention, "attention.attn.o", "attention.LayerNorm")
    ours |= {name: torch.from_numpy(array) for name, array in body.items()}
    encoder = Wide(_architecture(ours))
    encoder.load_state_dict(encoder.head.state_dict(prefix="head.") | ours)
    return encoder


def moved(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """Token ids of our vocabulary in that of MPNet."""
    return [[_SPECIAL.get(token, token + _MOVED) for token in row] for row in tokens]


def write_wide(folder: Path, encoder: Encoder, heads: Heads) -> None:
    """Write a trained teacher as `teacher.safetensors` in float16."""
    state = encoder.state_dict() | {f"{PREFIX}{key}": value for key, value in heads.state_dict().items()}
    save_file({key: value.half().contiguous() for key, value in state.items()}, folder / _WRITTEN)


def read_teacher(folder: Path) -> tuple[Wide, Heads]:
    """The teacher that `write_wide` wrote."""
    state = {key: value.float() for key, value in load_file(folder / _WRITTEN).items() if key != "bias"}
    body, extra = split_heads(state)
    architecture = _architecture(body)
    encoder, heads = Wide(architecture), Heads(architecture.width)
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)
    return encoder.eval(), heads


def _architecture(state: Mapping[str, Tensor]) -> Architecture:
    vocabulary, width = state["words.weight"].shape
    layers = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))
    heads, inner = state["distances.weight"].shape[1], state["layers.0.inner.weight"].shape[0]
    return Architecture(vocabulary, width, layers, heads, inner, len(state["positions.weight"]))
