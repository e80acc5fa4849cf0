"""What the stages of training share: batches, learning rates, checkpoints, the progress bar, the log, the record.

The one idea: everything random follows from (seed, epoch) or (seed, step), so a training that was interrupted goes on
exactly as if it had not been. Each stage has its own loop, in its own file; here are only its tools.
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

# The part of the training in which the learning rate rises.
WARMUP = 0.06
# Batches are cut from this many, sorted by length, so that texts of one length meet.
POOLED_BATCHES = 40

# How often a set's rows are seen in an epoch: small sets and those whose conventions matter most are seen more often.
REPEATS = {"fpb": 2, "fiqa": 5}
# The bias of the source is left out for this share of the training's rows, so that the logits stand without it.
UNTOLD = 0.3


def batches(lengths: Sequence[int], batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """An epoch's batches of row numbers, each of about one length; what does not fill the last batch is left out."""
    random = np.random.default_rng([seed, epoch])
    sizes = np.array(lengths)
    order = random.permutation(len(sizes))[: len(sizes) // batch * batch]
    pools = [order[i : i + batch * POOLED_BATCHES] for i in range(0, len(order), batch * POOLED_BATCHES)]
    cut = [pool[np.argsort(sizes[pool], kind="stable")].reshape(-1, batch) for pool in pools]
    whole = np.concatenate(cut)
    return list(whole[random.permutation(len(whole))])


def seed_step(seed: int, step: int) -> None:
    """Makes a step's dropout follow from (seed, step) alone, so that resuming needs no generator's state."""
    torch.manual_seed(seed * 1_000_003 + step)


def finite(loss: Tensor, step: int, remedy: str = "give a smaller --learning-rate, and another --out") -> float:
    """The loss of a step. Raises Diverged where it is not finite: no further step mends that."""
    value = loss.item()
    if not math.isfinite(value):
        raise Diverged(f"the training diverged: the loss of step {step} is {value}; {remedy}")
    return value


def schedule(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate rises over the first 6 % of steps and falls to 0 linearly."""
    warm = max(1, int(WARMUP * steps))

    def rate(step: int) -> float:
        return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def by_depth(network: nn.Module, depth: int, rate: float, decay: float) -> list[dict[str, Any]]:
    """Trainable parameters with the learning rate of their depth: `layers.N`, embeddings below, everything else on top.

    The top learns at `rate`, each layer below at `decay` times the rate of the one above.
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
    """Whole or not at all: written beside the old checkpoint, then moved over it."""
    beside = path.with_suffix(".new")
    torch.save({"settings": json.dumps(settings)} | state, beside)
    beside.replace(path)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The state that was saved under the same settings. Raises ModelError where it cannot be read or they differ."""
    try:
        saved = dict(torch.load(path, weights_only=True))  # plain tensors and numbers: no pickled code is run
        theirs = json.loads(saved.pop("settings"))
    except Exception as error:  # the library's errors share no class
        raise ModelError(f"{path}: not a checkpoint of Foreshock ({error}); remove it to start anew") from error
    differing = _differing(theirs, settings)
    if differing:
        raise ModelError(
            f"{path}: belongs to a training with other {', '.join(differing)}; "
            "remove it to start anew, or give another --out"
        )
    print(f"resuming {path} at step {saved['step']}", file=sys.stderr)
    return saved


def bind(path: Path, settings: Mapping[str, Any], made: Collection[Path]) -> None:
    """Keep in the file `path` the settings of all that is made in its folder; `made`: what is there already.

    Raises ModelError where that was made with other settings, or with none that are known.
    """
    remedy = f"give another --out, or remove {path.parent} to start anew"
    if not path.is_file():
        if made:
            raise ModelError(f"{path}: is missing, so the settings of {min(made)} are not known; {remedy}")
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
    ours = json.loads(json.dumps(settings))
    return [key for key in ours if theirs.get(key) != ours[key]]


def progress() -> Progress:
    """A progress bar on stderr, with the time that is left."""
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
    """A function (name, value, step) that logs for TensorBoard into `folder`; one that does nothing for None.

    At the end all of it is written. What an interrupted training logged after its last checkpoint is dropped, as it is
    logged again from `step` on. Raises ModelError where TensorBoard is not installed.
    """
    if folder is None:
        yield lambda name, value, step: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ModelError("logs for TensorBoard need it: pip install 'foreshock[train]'") from error
    writer: SummaryWriter
    with SummaryWriter(str(folder), purge_step=step) as writer:
        yield writer.add_scalar


def versions() -> dict[str, str]:
    """The versions a record names: Python's and those of the libraries that compute."""
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in ("torch", "tokenizers", "numpy")
    }


def write_record(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write a training's record as JSON, and return it as it reads back. Raises ValueError for nan: no JSON."""
    text = json.dumps(record, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return dict(json.loads(text))
