"""Read a local Hugging Face folder: its files, its labels, its identity. It imports neither torch nor transformers.

The one idea: nothing in the folder is run. Weights are read from safetensors alone, never from a pickle, and a folder
whose model is code of its own is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshock.model.errors import ModelError
from foreshock.model.labels import LABELS, file_sha256

PREFIX = "hf:"
"""What a name of weights begins with that is such a folder."""
TOKENS = 512
"""Tokens that are read of a text, at most; fewer where the model has fewer places."""
CUT = 1
"""How texts are cleaned, cut and scored. Raise it when that changes: the identity holds it."""
_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_OF_TOKENIZERS = (*_VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_MEANINGS = {
    "negative": "negative",
    "neg": "negative",
    "bearish": "negative",
    "neutral": "neutral",
    "neu": "neutral",
    "none": "neutral",
    "positive": "positive",
    "pos": "positive",
    "bullish": "positive",
}
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder whose files exist and whose `config.json` was read. `tensors` and `tokenizer`: the files of each."""

    path: Path
    config: dict[str, Any]
    tensors: tuple[Path, ...]
    tokenizer: tuple[Path, ...]

    def whole(self, key: str, default: int) -> int:
        """Return a whole number of the config, or `default` where it has none. Raises ModelError."""
        value = self.config.get(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelError(f"{self.path / _CONFIG}: {key} is {value!r}, not a whole number; restore the file")
        return value

    @property
    def first_place(self) -> int:
        """The row of the first token's place. RoBERTa's places begin after that of padding."""
        kind = str(self.config.get("model_type"))
        return self.whole("pad_token_id", 1) + 1 if "roberta" in kind or kind == "camembert" else 0

    @property
    def places(self) -> int:
        """How many places for tokens the config states."""
        return self.whole("max_position_embeddings", TOKENS) - self.first_place

    @property
    def name(self) -> str:
        return "hf-" + (re.sub(r"[^A-Za-z0-9.]+", "-", self.path.resolve().name).strip("-") or "folder")

    def sha256(self) -> dict[str, str]:
        """Return the SHA-256 of each file that is read, by name."""
        return {file.name: file_sha256(file) for file in (self.path / _CONFIG, *self.tensors, *self.tokenizer)}

    def identity(self, order: Sequence[int], runtime: str) -> str:
        """A short text that changes with what could change a score: each file, the order of the labels, `runtime`."""
        parts = json.dumps([CUT, self.sha256(), list(order), runtime], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def open_folder(weights: str) -> Folder:
    """Find what `hf:FOLDER` names and read its config.

    Raises ModelError where there is no such folder, a file is missing or damaged, the weights are pickled only, or the
    model is code in the folder.
    """
    path = Path(weights.removeprefix(PREFIX)).expanduser()
    if not path.is_dir():
        raise ModelError(f"{path}: no such folder; set [model] weights to hf:FOLDER, a local folder")
    config = _json(path / _CONFIG)
    if "auto_map" in config:
        raise ModelError(
            f"{path / _CONFIG}: the model is code in the folder (auto_map), and Foreshock runs no code from a folder; "
            "choose a model whose kind transformers knows"
        )
    if any("_implementation" in key and "/" in str(value) for key, value in config.items()):
        raise ModelError(
            f"{path / _CONFIG}: its model is computed by code of another place (attn_implementation), and Foreshock "
            "runs no such code; remove that line"
        )
    if not isinstance(config.get("model_type", ""), str):
        raise ModelError(f"{path / _CONFIG}: does not say of which kind the model is (model_type); restore the file")
    if config.get("problem_type") == "multi_label_classification":
        raise ModelError(
            f"{path / _CONFIG}: its labels do not exclude each other (problem_type), so its scores do not sum to 1; "
            "choose a model that gives each text one label"
        )
    tokenizer = tuple(path / name for name in _OF_TOKENIZERS if (path / name).is_file())
    if not any(file.name in _VOCABULARIES for file in tokenizer):
        raise ModelError(
            f"{path}: has no tokenizer ({', '.join(_VOCABULARIES[:3])}, ...); copy the tokenizer's files of the model "
            "into it"
        )
    return Folder(path, config, _tensors(path), tokenizer)


def label_order(folder: Folder, labels: Sequence[str] | None = None) -> tuple[int, int, int]:
    """Return which of the model's outputs is negative, which neutral, which positive.

    labels: the meaning of the outputs in their order; None: as the config says (`id2label`). Raises ModelError where
    they are not these three, each once.
    """
    stated = list(labels) if labels is not None else _id2label(folder)
    outputs = len(_id2label(folder))
    if outputs != len(LABELS):
        raise ModelError(
            f"{folder.path / _CONFIG}: the model has {outputs} labels ({', '.join(_id2label(folder)[:8])}), but "
            "sentiment needs three: negative, neutral, positive; choose a model with these three"
        )
    meanings = [_MEANINGS.get(label.strip().casefold()) for label in stated]
    if sorted(str(meaning) for meaning in meanings) != sorted(LABELS):
        where = "[model] labels" if labels is not None else f"{folder.path / _CONFIG}"
        raise ModelError(
            f"{where}: the labels are {', '.join(stated)}, not negative, neutral and positive, each once; say what the "
            'outputs mean in their order, for example [model] labels = ["positive", "negative", "neutral"]'
        )
    first, second, third = (meanings.index(label) for label in LABELS)
    return first, second, third


def describe(weights: str) -> dict[str, Any]:
    """Describe a folder as `describe_weights` does. Raises ModelError as `open_folder`."""
    folder = open_folder(weights)
    headers = [_header(file) for file in folder.tensors]
    shapes = [of["shape"] for header in headers for of in header.values()]
    sums = hashlib.sha256("".join(file_sha256(file) for file in folder.tensors).encode()).hexdigest()
    return {
        "name": folder.name,
        "path": str(folder.path),
        "licence": (stated(folder.path, "license") or ["not stated in the folder"])[0],
        "languages": stated(folder.path, "language") or [],
        "parameters": sum(_product(shape) for shape in shapes),
        "precision": f"{', '.join(sorted(dtypes(folder)))} stored",
        "bytes": sum(file.stat().st_size for file in folder.tensors),
        "sha256": file_sha256(folder.tensors[0]) if len(folder.tensors) == 1 else sums,
        "sha256_ok": True,  # a folder of Hugging Face states no sums
    }


def dtypes(folder: Folder) -> set[str]:
    """Return the kinds of numbers of the tensors, as safetensors names them: F32, F16, BF16..."""
    return {str(of["dtype"]) for file in folder.tensors for of in _header(file).values()}


def stated(path: Path, key: str) -> list[str] | None:
    """Return what the front matter of the folder's README.md states under a key, such as `datasets`; None: nothing."""
    try:
        text = (path / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _FRONT_MATTER.match(text)
    value = found and re.search(rf"^{key}:[ \t]*(.*(?:\n[ \t]*-.*)*)", found[1], re.MULTILINE)
    if not value:
        return None
    words = re.split(r"[\n,\[\]]", value[1])
    return [word for raw in words if (word := re.sub(r"^\s*-\s*", "", raw).strip(" \t\"'"))]


def _tensors(path: Path) -> tuple[Path, ...]:
    whole = path / "model.safetensors"
    if whole.is_file():
        return (whole,)
    if (path / _INDEX).is_file():
        named = _json(path / _INDEX).get("weight_map", {})
        # A name with a folder in it would read a file outside.
        files = tuple(path / Path(str(name)).name for name in sorted(set(named.values())))
        missing = [file.name for file in files if not file.is_file()]
        if files and not missing:
            return files
        raise ModelError(f"{path}: has no {missing[0] if missing else 'tensors'}, which {_INDEX} names; restore it")
    found = {file.name for pattern in _PICKLES for file in path.glob(pattern)}
    pickled = sorted(found - {"training_args.bin"})
    if pickled:
        raise ModelError(
            f"{path}: its weights are pickled only ({', '.join(pickled)}), and loading a pickle can run "
            "any code; if you trust it, write model.safetensors with transformers: model.save_pretrained(FOLDER)"
        )
    raise ModelError(f"{path}: has no model.safetensors; copy the model's weights into it")


def _header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: dtype and shape of each tensor by name. Raises ModelError."""
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > file.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(size))
        return {name: of for name, of in header.items() if name != "__metadata__"}
    except (OSError, ValueError, struct.error, AttributeError) as error:
        raise ModelError(f"{file}: not a safetensors file ({error}); copy it again") from error


def _id2label(folder: Folder) -> list[str]:
    found = folder.config.get("id2label")
    try:
        if found:
            return [str(found[key]) for key in sorted(found, key=int)]
        return [f"LABEL_{i}" for i in range(int(folder.config.get("num_labels", 2)))]
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{folder.path / _CONFIG}: id2label cannot be read ({error}); restore the file") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent}: has no {path.name}, so it is no folder of a Hugging Face model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); restore the file") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: not a JSON object; restore the file")
    return found


def _product(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
