"""Tools that the training stages share: batches, learning rates, checkpoints, progress bar, log, record.

The one idea: everything random follows from (seed, epoch) or (seed, step). So an interrupted training resumes exactly
as if it had never stopped. Each stage has its own loop in its own file.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from foreshock.model.errors import Diverged, ModelError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

WARMUP = 0.06
"""The share of the steps in which the learning rate rises."""
POOLED_BATCHES = 40
"""So many batches at a time are sorted by length and cut, so that texts of similar length share a batch."""
REPEATS = {"fpb": 2, "fiqa": 5}
"""How often an epoch repeats a set's rows; other sets: once. Small sets and the most relevant sets get more."""
BIAS_DROPOUT = 0.3
"""The share of training rows whose source's bias is left out, so that the logits are right without it too."""


def batches(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return an epoch's batches: arrays (batch,) of row numbers. The rows of a batch have similar lengths.

    `lengths`: tokens of each row. Rows that do not fill the last batch are left out.
    """
    random = np.random.default_rng([seed, epoch])
    sizes = np.array(lengths)
    order = random.permutation(len(sizes))[: len(sizes) // batch * batch]
    pools = [order[i : i + batch * POOLED_BATCHES] for i in range(0, len(order), batch * POOLED_BATCHES)]
    cut = [pool[np.argsort(sizes[pool], kind="stable")].reshape(-1, batch) for pool in pools]
    whole = np.concatenate(cut)
    return list(whole[random.permutation(len(whole))])


def by_length(tokens: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """Yield the places of rows of token ids, the shortest rows first, `batch` at a time."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), batch):
        yield order[start : start + batch]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the probabilities (n, classes) of logits (n, classes), computed in float32."""
    shares: NDArray[np.float32] = torch.softmax(torch.from_numpy(logits.astype(np.float32)), dim=-1).numpy()
    return shares


def seed_step(seed: int, step: int) -> None:
    """Seed a step's dropout with (seed, step) alone, so that a checkpoint needs no generator's state."""
    torch.manual_seed(seed * 1_000_003 + step)


def finite(loss: Tensor, step: int, remedy: str = "give a smaller --learning-rate and another --out") -> float:
    """Return the loss of a step as a number.

    Raises Diverged, with `remedy` in its message, where the loss is not finite: no later step could repair that.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise Diverged(f"the training diverged: the loss of step {step} is {value}; {remedy}")
    return value


def schedule(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a schedule in which the learning rate rises over the first 6 % of steps and then falls to 0 linearly."""
    warm = max(1, int(WARMUP * steps))

    def rate(step: int) -> float:
        return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def by_depth(network: nn.Module, depth: int, rate: float, decay: float) -> list[dict[str, Any]]:
    """Group the trainable parameters by depth, each group with its learning rate.

    Embeddings are at the bottom, `layers.N` above them, and everything else at the top. The top layer learns at `rate`,
    each layer at `decay` times the rate of the layer above it. `depth`: how many layers there are.
    """
    by_level: dict[int, list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        first, *rest = name.split(".")
        level = depth if first in ("words", "positions", "norm") else 0
        if first == "layers":
            level = depth - int(rest[0]) - 1
        by_level.setdefault(level, []).append(parameter)
    return [{"params": group, "lr": rate * decay**level} for level, group in by_level.items()]


def save_checkpoint(path: Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a checkpoint beside the old one, then replace the old one. An interruption leaves no partial file."""
    beside = path.with_suffix(".new")
    torch.save({"settings": json.dumps(settings)} | state, beside)
    beside.replace(path)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the saved state. Raises ModelError where it cannot be read or was saved under other settings."""
    try:
        saved = dict(torch.load(path, weights_only=True))  # tensors and numbers only: runs no pickled code
        theirs = json.loads(saved.pop("settings"))
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{path}: not a checkpoint of Foreshock ({error}); remove it to start again") from error
    differing = _differing(theirs, settings)
    if differing:
        raise ModelError(
            f"{path}: belongs to a training with other {', '.join(differing)}; "
            "remove it to start again, or give another --out"
        )
    print(f"resuming {path} at step {saved['step']}", file=sys.stderr)
    return saved


def bind(path: Path, settings: Mapping[str, Any], made: Collection[Path]) -> None:
    """Write the settings of a folder's results to the file `path`, or compare them with those already there.

    `made`: results that the folder already holds. Raises ModelError where they were made with other settings, or where
    the file of their settings is missing.
    """
    remedy = f"give another --out, or remove {path.parent} to start again"
    if not path.is_file():
        if made:
            raise ModelError(f"{path}: is missing, so the settings of {min(made)} are unknown; {remedy}")
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        write_record(beside, dict(settings))
        beside.replace(path)
        return
    try:
        differing = _differing(dict(json.loads(path.read_text(encoding="utf-8"))), settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); {remedy}") from error
    if differing:
        raise ModelError(f"{path}: belongs to a training with other {', '.join(differing)}; {remedy}")


def _differing(theirs: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ."""
    ours = json.loads(json.dumps(settings))
    return [key for key in ours if theirs.get(key) != ours[key]]


def progress() -> Progress:
    """Return a progress bar for stderr that shows the remaining time."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def open_board(folder: Path | None, step: int) -> Iterator[Callable[[str, float, int], None]]:
    """Yield a function (name, value, step) that logs for TensorBoard into `folder`. For None it does nothing.

    Everything is written when the context ends. Values that an interrupted training logged from `step` on are dropped,
    because the training logs them again. Raises ModelError where TensorBoard is not installed.
    """
    if folder is None:
        yield lambda name, value, step: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModelError("--board needs TensorBoard: pip install 'foreshock[train]'") from error
    writer: SummaryWriter
    with SummaryWriter(str(folder), purge_step=step) as writer:
        yield writer.add_scalar


def versions() -> dict[str, str]:
    """Return the versions for a record: Python, torch, tokenizers, numpy."""
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in ("torch", "tokenizers", "numpy")
    }


def write_record(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write a training's record as JSON and return it as JSON reads it back.

    Raises ValueError for nan and infinity, which JSON cannot hold.
    """
    text = json.dumps(record, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return dict(json.loads(text))
