"""Read and write weights: a folder with `model.safetensors` (fp16), `model.json` and `tokenizer.json`, and where they
read for companies with layers of their own `companies.safetensors`, and where they look a second time at texts
`second_look.safetensors`.

The one idea: no file is used before its SHA-256 is compared with the one in `model.json`, and nothing is ever
unpickled. `describe_weights` does not import torch, so `doctor` is quick.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreshock.ingest.meant import nearest
from foreshock.model.adapted import NAMES, AdaptedHead, read_adapted
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import PREFIX, describe, label_order, open_folder
from foreshock.model.labels import LABELS, file_sha256
from foreshock.model.windows import READING

if TYPE_CHECKING:
    from torch import Tensor

    from foreshock.model.architecture import Architecture
    from foreshock.model.calibration import Calibration
    from foreshock.model.heads import HeadsCard

FORMAT = 1
"""The version of the format. Raise it too when texts are cleaned or cut differently: the identity holds it."""
SHIPPED = Path(__file__).parent / "weights"
"""The folder of the weights that ship with Foreshock."""
_TENSORS = "model.safetensors"
_TOKENIZER = "tokenizer.json"
_COMPANIES = "companies.safetensors"
_SECOND_LOOK = "second_look.safetensors"
_SCALE = ".scale"
"""Behind the name of a matrix in 8 bits: what each of its rows is multiplied by (rows, 1), float32."""
_REMEDY = 'restore the folder, or choose [model] weights = "default"'


@dataclass(frozen=True, slots=True)
class WeightsFolder:
    """A folder of weights whose files exist and whose `model.json` was read. `sha256` is by file, as stated there.

    adapted: what a desk's labels change of their head (adapted.py); the card says what then holds. None: nothing.
    """

    name: str
    path: Path
    tensors: Path
    tokenizer: Path
    card: dict[str, Any]
    sha256: dict[str, str]
    adapted: AdaptedHead | None = None

    @property
    def languages(self) -> frozenset[str]:
        """Return the languages (ISO 639-1) whose texts the weights can score."""
        return frozenset(self.card["languages"])

    @property
    def companies(self) -> Path | None:
        """Return the file of what is read otherwise for one company (low_rank.py); None where there is none."""
        return self.path / _COMPANIES if _COMPANIES in self.sha256 else None

    def identity(self, runtime: str) -> str:
        """A short text that changes with what could change a score: tensors, tokenizer, calibration, `runtime`."""
        stated = [FORMAT, READING, self.sha256, self.card["architecture"], self.card["calibration"], runtime]
        if "heads" in self.card:
            stated.append(self.card["heads"])
        if self.adapted is not None:
            stated.append(self.adapted.sha256)
        parts = json.dumps(stated, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def describe_weights(weights: str) -> dict[str, Any]:
    """Describe weights (as `open_weights` takes them, or `hf:FOLDER`) for `doctor`: name, licence, size, check...

    `bytes` is the size of the tensors' file. `sha256_ok` is false where a file differs from its SHA-256 in
    `model.json`. `adapted_from`: the weights whose head was adapted; only of an adapted head. Raises ModelError where a
    file is missing.
    """
    if weights.startswith(PREFIX):
        return describe(weights)
    folder = open_weights(weights)
    size = folder.tensors.stat().st_size
    return {
        "name": folder.name,
        "path": str(folder.path),
        "licence": folder.card["licence"],
        "languages": sorted(folder.languages),
        "parameters": folder.card["parameters"],
        "precision": "float16 stored" if size >= 2 * folder.card["parameters"] else "8 bits stored",
        "bytes": size,
        "sha256": folder.sha256[_TENSORS],
        "sha256_ok": all(_matches(folder, name) for name in folder.sha256),
        **({} if folder.adapted is None else {"adapted_from": folder.adapted.weights}),
    }


def check_weights(weights: str, labels: Sequence[str] | None = None) -> None:
    """Check that weights can be found and their card or config is sound, without loading them. Raises ModelError.

    labels: `[model] labels`, for `hf:FOLDER`.
    """
    if weights.startswith(PREFIX):
        label_order(open_folder(weights), labels)
    else:
        open_weights(weights)


def check_also(weights: str, also: Sequence[str]) -> None:
    """Check that further weights can stand beside `weights`: they read other languages. Raises ModelError."""
    if not also:
        return
    if weights.startswith(PREFIX):
        raise ModelError(f"[model] also = {list(also)}: goes with weights of Foreshock only, and not with {weights}")
    first, *others = (open_weights(name) for name in (weights, *also))
    for other in others:
        if shared := first.languages & other.languages:
            raise ModelError(
                f"[model] also: {first.name} reads {', '.join(sorted(shared))} already; leave out {other.name}"
            )
        if first.card["architecture"]["width"] != other.card["architecture"]["width"]:
            raise ModelError(f"[model] also: {first.name} and {other.name} have embeddings of different widths")
        if any(key.startswith("heads") for key in other.card) and "heads" not in first.card:
            raise ModelError(
                f"[model] also: {first.name} has no heads for severity and companies, as {other.name} has; train it "
                "with `python -m foreshock.model.training.news`, or leave out the other"
            )


def open_weights(weights: str) -> WeightsFolder:
    """Find weights by name or folder, or by the file of an adapted head, and read their `model.json`.

    Raises ModelError, which names the file and the remedy.
    """
    path = SHIPPED / weights if weights in NAMES else Path(weights).expanduser()
    if path.is_file():
        return _adapted(path)
    if not path.is_dir():
        raise ModelError(
            f"{path}: no such folder of weights; set [model] weights to `default`, `permissive`, `chinese`, a folder "
            f"of weights, or a file that `foreshock model adapt` wrote{_meant(path)}"
        )
    card = _read_card(path / "model.json")
    # The two shipped folders share the tokenizer beside them.
    tokenizer = path / _TOKENIZER if (path / _TOKENIZER).is_file() else path.parent / _TOKENIZER
    others = [path / name for name in card["sha256"] if name != _TOKENIZER]
    for file in (*others, tokenizer):
        if not file.is_file():
            raise ModelError(f"{path}: has no {file.name}; {_REMEDY}")
    return WeightsFolder(card["name"], path, path / _TENSORS, tokenizer, card, card["sha256"])


def open_adaptable(weights: str) -> WeightsFolder:
    """Find weights whose head can be adapted: those of Foreshock that are no adapted head. Raises ModelError."""
    if weights.startswith(PREFIX):
        raise ModelError(
            f"{weights}: only the head of Foreshock's own weights can be adapted; give --weights default, or fine-tune "
            "that model with its own tools"
        )
    folder = open_weights(weights)
    if folder.adapted is not None:
        raise ModelError(
            f"{weights}: is an adapted head itself; adapt what it was made from, with all labels together: --weights "
            f"{folder.adapted.weights}"
        )
    return folder


def open_exportable(weights: str) -> WeightsFolder:
    """Find weights that can be exported in 8 bits: those of Foreshock. Raises ModelError."""
    if weights.startswith(PREFIX):
        raise ModelError(
            f"{weights}: only Foreshock's own weights can be exported; give --weights default, or a folder of them. A "
            "Hugging Face model needs no export: it is rounded each time it is loaded"
        )
    return open_weights(weights)


def _meant(path: Path) -> str:
    """Return which weights were probably meant: shipped ones, or those beside where `path` would be."""
    beside: list[str] = []
    with suppress(OSError):
        beside = [p.name for p in path.parent.iterdir() if p.suffix == ".json" or (p / "model.json").is_file()]
    near = nearest(path.name, [*beside, *NAMES])
    return "" if near is None else f"; did you mean {near if near in NAMES else path.with_name(near)}?"


def _adapted(path: Path) -> WeightsFolder:
    """Open the weights that a head was adapted from, with what the adapted head changes of their card."""
    adapted = read_adapted(path)
    if adapted.weights not in NAMES and Path(adapted.weights).expanduser().is_file():
        raise ModelError(f"{path}: was adapted from {adapted.weights}, a file; adapt the weights that it names itself")
    try:
        base = open_weights(adapted.weights)
    except ModelError as error:
        raise ModelError(f"{path}: was adapted from {adapted.weights}, which cannot be used: {error}") from error
    if base.identity("") != adapted.made_for:
        raise ModelError(
            f"{path}: was adapted from {adapted.made_for}, and {adapted.weights} is {base.identity('')} now; adapt it "
            "again with the same labels"
        )
    theirs = base.card["calibration"]
    card = {
        **base.card,
        "name": adapted.name,
        "calibration": {**theirs, "offset": theirs["offset"] + adapted.offset},
    }
    if "trained_on" in base.card:
        card["trained_on"] = [*base.card["trained_on"], *adapted.card.get("trained_on", ())]
    return replace(base, name=adapted.name, card=card, adapted=adapted)


def read_tensors(folder: WeightsFolder) -> dict[str, Tensor]:
    """Return what `read_arrays` returns, as tensors of torch."""
    import torch

    return {name: torch.from_numpy(array) for name, array in read_arrays(folder).items()}


def read_arrays(folder: WeightsFolder) -> dict[str, NDArray[np.float32]]:
    """Check the SHA-256 of all files and return the tensors as float32.

    Raises ModelError where a file is damaged or is not a safetensors file.
    """
    from safetensors.numpy import load

    for name in folder.sha256:
        check_file(folder, name)
    try:
        stored = load(folder.tensors.read_bytes())
        return {
            name: array * stored[name + _SCALE] if array.dtype == np.int8 else array.astype(np.float32)
            for name, array in stored.items()
            if not name.endswith(_SCALE)
        }
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{folder.tensors}: not a safetensors file ({error}); {_REMEDY}") from error


def read_change(folder: WeightsFolder) -> dict[str, NDArray[np.float16]] | None:
    """Check the SHA-256 of what is read otherwise for one company and return it as stored; None where there is none.

    Raises ModelError where the file is damaged or is not a safetensors file.
    """
    from safetensors.numpy import load

    if folder.companies is None:
        return None
    check_file(folder, _COMPANIES)
    try:
        return dict(load(folder.companies.read_bytes()))
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{folder.companies}: not a safetensors file ({error}); {_REMEDY}") from error


def read_second_look(folder: WeightsFolder) -> dict[str, NDArray[np.float16]] | None:
    """Check the SHA-256 of what looks a second time at texts and return it as stored; None where there is none.

    An adapted head has none: what a desk's labels call neutral should stay so.

    Raises ModelError where the file is damaged or is not a safetensors file.
    """
    from safetensors.numpy import load

    if _SECOND_LOOK not in folder.sha256 or folder.adapted is not None:
        return None
    check_file(folder, _SECOND_LOOK)
    file = folder.path / _SECOND_LOOK
    try:
        return dict(load(file.read_bytes()))
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{file}: not a safetensors file ({error}); {_REMEDY}") from error


def check_file(folder: WeightsFolder, name: str) -> None:
    """Check the SHA-256 of one of the files. Raises ModelError where it is not the one that the card states."""
    if not _matches(folder, name):
        raise ModelError(
            f"{folder.path / name}: its SHA-256 is not the one in model.json, so the file is damaged or changed; "
            f"{_REMEDY}"
        )


def write_weights(
    path: Path,
    *,
    name: str,
    tensors: dict[str, Tensor],
    architecture: Architecture,
    tokenizer: Path,
    calibration: Calibration,
    licence: str,
    heads: HeadsCard | None = None,
    trained_on: Sequence[str] | None = None,
    languages: Sequence[str] = ("en",),
    eight_bits: bool = False,
) -> None:
    """Write a folder that `open_weights` reads; existing files are replaced. Tensors are stored as float16.

    languages: those (ISO 639-1) whose texts it can score. eight_bits: the matrices of the encoder are stored in 8 bits,
    each row with a scale of its own, in half the space; what is computed with are these rounded ones.
    heads: what was fitted for the heads of severity and of companies, where `tensors` have them (heads.py).
    trained_on: the labelled sets that they were trained on; None where that is not known.
    """
    import torch
    from safetensors.torch import save_file

    path.mkdir(parents=True, exist_ok=True)
    halves = {key: tensor.detach().to(torch.float16).contiguous() for key, tensor in tensors.items()}
    save_file(_in_eight_bits(halves) if eight_bits else halves, path / _TENSORS)
    (path / _TENSORS).chmod(0o644)  # the library lets only the owner read it
    (path / _TOKENIZER).write_bytes(tokenizer.read_bytes())
    card = {
        "format": FORMAT,
        "name": name,
        "licence": licence,
        "languages": list(languages),
        "labels": list(LABELS),
        "parameters": sum(tensor.numel() for tensor in halves.values()),
        "architecture": asdict(architecture),
        "calibration": asdict(calibration),
        "sha256": {file: file_sha256(path / file) for file in (_TENSORS, _TOKENIZER)},
    }
    if trained_on is not None:
        card["trained_on"] = list(trained_on)
    if heads is not None:
        card["heads"] = asdict(heads)
    (path / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _in_eight_bits(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "words.weight" or (name.startswith("layers.") and tensor.dim() == 2):
            rows = tensor.float()
            scale = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
            found |= {name: (rows / scale).round().char(), name + _SCALE: scale}
        else:
            found[name] = tensor
    return found


def write_change(
    path: Path, change: Mapping[str, NDArray[np.float16]], entity: Calibration, trained_on: Iterable[str] = ()
) -> None:
    """Write what is read otherwise for one company into a folder of weights, and its calibration into `model.json`.

    trained_on: the sets that it was trained on. They are added to those of the weights, where these are known.
    """
    from safetensors.numpy import save

    (path / _COMPANIES).write_bytes(save(dict(change)))
    card = json.loads((path / "model.json").read_text(encoding="utf-8"))
    card["sha256"][_COMPANIES] = file_sha256(path / _COMPANIES)
    card["heads"]["entity"] = asdict(entity)
    if "trained_on" in card:
        card["trained_on"] = list(dict.fromkeys([*card["trained_on"], *trained_on]))
    (path / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def write_second_look(path: Path, tensors: Mapping[str, NDArray[np.float16]], trained_on: Iterable[str] = ()) -> None:
    """Write what looks a second time at texts into a folder of weights.

    trained_on: the sets that it was trained on. They are added to those of the weights, where these are known.
    """
    from safetensors.numpy import save

    (path / _SECOND_LOOK).write_bytes(save(dict(tensors)))
    card = json.loads((path / "model.json").read_text(encoding="utf-8"))
    card["sha256"][_SECOND_LOOK] = file_sha256(path / _SECOND_LOOK)
    if "trained_on" in card:
        card["trained_on"] = list(dict.fromkeys([*card["trained_on"], *trained_on]))
    (path / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _matches(folder: WeightsFolder, name: str) -> bool:
    return file_sha256(folder.tokenizer if name == _TOKENIZER else folder.path / name) == folder.sha256[name]


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent}: has no model.json, so it has no weights of Foreshock; {_REMEDY}") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ModelError(f"{path}: not a weights card of format {FORMAT}; {_REMEDY}")
    needed = ("name", "licence", "languages", "labels", "parameters", "architecture", "calibration", "sha256")
    missing = [key for key in needed if key not in card]
    if missing or sorted({*card["sha256"]} - {_COMPANIES, _SECOND_LOOK}) != [_TENSORS, _TOKENIZER]:
        raise ModelError(f"{path}: {', '.join(missing) or 'sha256'} missing or incomplete; {_REMEDY}")
    if wrong := _unusable(card["architecture"], path.parent / _TENSORS):
        raise ModelError(f"{path}: architecture: {wrong}; {_REMEDY}")
    if card["labels"] != list(LABELS):
        raise ModelError(f"{path}: its labels are {card['labels']}, not {list(LABELS)}; {_REMEDY}")
    return card


_SIZES = {"vocabulary": 1_000_000, "width": 8_192, "layers": 128, "heads": 256, "inner": 65_536, "positions": 65_536}
"""The sizes that an architecture must have, and the largest of each."""

_LARGE = 64 * 2**20


def _unusable(architecture: Any, tensors: Path) -> str | None:
    """Return why no encoder should be built of these sizes, or None: it is built before the tensors are compared."""
    if not isinstance(architecture, dict) or set(architecture) != set(_SIZES):
        return f"expected {', '.join(_SIZES)}"
    for name, largest in _SIZES.items():
        value = architecture[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            return f"{name} must be a whole number from 1 to {largest:,}"
    if architecture["width"] % architecture["heads"]:
        return "width must be a multiple of heads"
    width, layers = architecture["width"], architecture["layers"]
    table = (architecture["vocabulary"] + architecture["positions"]) * width
    parameters = table + layers * (4 * width * width + 2 * width * architecture["inner"])
    stored = 2 * parameters  # bytes: float16
    if stored > _LARGE and tensors.is_file() and stored > tensors.stat().st_size:
        return f"it needs more than {parameters:,} parameters, and {tensors.name} is too small for that"
    return None
