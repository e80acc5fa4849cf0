"""Train the teacher: a larger encoder (all-mpnet-base-v2, 110 M parameters) on the same labels. It never ships.

The one idea: sources label by different conventions (a "neutral" tweet differs from a "neutral" release). So the
teacher learns a bias on its logits for each source. It labels a labelled text with the bias of its source, and any
other text without a bias (labelling.py).
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.evaluation import measure
from foreshock.model.labels import LABELS, Labelled, file_sha256
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.labelled import find_sets, read_sets
from foreshock.model.training.losses import cross_entropy
from foreshock.model.training.steps import (
    BIAS_DROPOUT,
    REPEATS,
    batches,
    by_length,
    finite,
    load_checkpoint,
    open_board,
    progress,
    save_checkpoint,
    schedule,
    seed_step,
    softmax,
    versions,
    write_record,
)
from foreshock.model.training.teacher import Teacher, TeacherBase, all_mpnet, by_depth, empty_encoder, read_encoder

CHECKPOINT_EVERY = 150
"""Steps between two checkpoints within an epoch, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a teacher's training. It resumes only from a checkpoint with the same settings.

    Parameters
    ----------
    sets
        Labelled sets to train on; each is a source with a bias of its own.
    epochs
        How often each row is seen.
    batch
        Rows in one step.
    learning_rate
        The peak, for the head and the top layer. It rises over the first 6 % of steps and falls to 0 linearly.
    layer_decay
        Each layer learns at this times the rate of the layer above it.
    frozen
        How many of the lowest layers are not trained, to save time.
    smoothing
        Label smoothing.
    dropout
        The probability of dropout in the layers that are trained.
    seed
        Decides the initial head, the order of rows and the dropout.
    """

    sets: tuple[str, ...] = ("fpb", "tfns", "fiqa")
    epochs: int = 3
    batch: int = 32
    learning_rate: float = 4e-5
    layer_decay: float = 0.9
    frozen: int = 6
    smoothing: float = 0.05
    dropout: float = 0.1
    seed: int = 0


def teach(
    data: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    base: TeacherBase | None = None,
    board: Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> dict[str, Any]:
    """Train the teacher on `<set>_train.jsonl.gz` in the folder `data`, and write it to `out` after the last epoch.

    Matrix products run in bfloat16. After an interruption, run it again: it resumes from `out/checkpoint.pt` and
    reaches the same result. It removes the checkpoint at the end.

    Parameters
    ----------
    data, out
        The folder of the labelled sets, and the folder for the teacher and the record.
    settings
        Default: `Settings()`.
    base
        The encoder to start from. Default: all-mpnet-base-v2 from the installed packages.
    board
        Folder for TensorBoard's logs.
    checkpoint_every
        Steps between two checkpoints within an epoch. Each epoch ends with a checkpoint too.

    Returns the record that is written to `out/record.json`: settings, data hashes and counts, metrics, versions.
    Raises LabelledDataError, which names file and line. Raises ModelError where the base is missing, the checkpoint
    belongs to another training, or the training diverges.
    """
    with nullcontext(base) if base else all_mpnet() as start:
        return _teach(data, out, settings or Settings(), start, board, checkpoint_every)


def _teach(
    data: Path, out: Path, settings: Settings, base: TeacherBase, board: Path | None, checkpoint_every: int
) -> dict[str, Any]:
    started = time.monotonic()
    sets, seed, batch = settings.sets, settings.seed, settings.batch
    files = find_sets(data, sets)
    repeats = {s: REPEATS.get(s, 1) for s in sets}
    binding = asdict(settings) | {
        "base": base.name,
        "repeats": repeats,
        "precision": "bfloat16 autocast",
        "data_sha256": {key: file_sha256(file) for key, file in files.items()},
    }
    train, valid, counts = read_sets(files, sets)
    out.mkdir(parents=True, exist_ok=True)
    encoder = read_encoder(base.folder, settings.dropout)
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(base.folder / name, out / name)
    tokenizer = load_tokenizer(out / "tokenizer.json")
    tokens = [ids for s in sets for ids in tokenize(tokenizer, train[s].texts) for _ in range(repeats[s])]
    labels = torch.from_numpy(np.concatenate([np.repeat(train[s].labels, repeats[s]) for s in sets]))
    sources = torch.cat([torch.full((len(train[s].texts) * repeats[s],), i) for i, s in enumerate(sets)])
    lengths = [len(ids) for ids in tokens]
    valid_tokens = {s: tokenize(tokenizer, valid[s].texts) for s in sets}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        teacher = Teacher(encoder, len(sets), frozen=settings.frozen, dropout=settings.dropout)
        groups = by_depth(encoder, settings.learning_rate, settings.layer_decay)
        groups += [
            {"params": list(teacher.head.parameters()), "lr": settings.learning_rate},
            # Adam moves a parameter by about the rate in each step, however large the gradient is. The three numbers
            # of a source need to move faster than the network.
            {"params": [teacher.bias], "lr": 25 * settings.learning_rate},
        ]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        per_epoch = len(tokens) // batch
        if per_epoch == 0:
            raise LabelledDataError(
                f"{data}: {len(tokens)} training rows do not fill one batch of {batch}; give a smaller --batch"
            )
        steps = settings.epochs * per_epoch
        rates = schedule(optimiser, steps)
        checkpoint = out / "checkpoint.pt"
        step = 0
        history: list[dict[str, Any]] = []
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, binding)
            teacher.load_state_dict(saved["teacher"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            step, history = saved["step"], saved["history"]

        def save() -> None:
            state: dict[str, Any] = {"teacher": teacher.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"schedule": rates.state_dict(), "step": step, "history": history}
            save_checkpoint(checkpoint, binding, state)

        with open_board(board, step) as log, progress() as bars:
            bar = bars.add_task("teacher", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, per_epoch)
                for rows in batches(lengths, batch, seed, epoch)[place:]:
                    seed_step(seed, step)
                    teacher.train()
                    known = torch.where(torch.rand(len(rows)) < BIAS_DROPOUT, -1, sources[rows])
                    logits = teacher([tokens[i] for i in rows], known)
                    loss = cross_entropy(logits, labels[rows], settings.smoothing)
                    value = finite(loss, step + 1, "freeze more layers (--frozen)")
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
                    optimiser.step()
                    rates.step()
                    step += 1
                    log("loss", value, step)
                    bars.update(bar, completed=step, description=f"teacher, loss {value:.3f}")
                    if step % checkpoint_every == 0 and step % per_epoch:
                        save()
                with_source, without = (
                    {
                        s: _weighted_f1(teacher, valid_tokens[s], i if known else -1, valid[s])
                        for i, s in enumerate(sets)
                    }
                    for known in (True, False)
                )
                history.append({"epoch": epoch + 1, "weighted_f1": without, "with_source": with_source})
                for s in sets:
                    log(f"weighted_f1/{s}", without[s], step)
                shown = ", ".join(f"{s} {without[s]:.3f} (with source {with_source[s]:.3f})" for s in sets)
                bars.console.print(f"epoch {epoch + 1}: {shown}")
                save()

    save_file({key: value.contiguous() for key, value in teacher.state_dict().items()}, out / "teacher.safetensors")
    record = {
        "command": f"foreshock model teach --data DIR --out DIR --sets {','.join(sets)} "
        f"--epochs {settings.epochs} --batch {batch} --frozen {settings.frozen} --seed {seed}",
        "settings": binding,
        "sha256": file_sha256(out / "teacher.safetensors"),
        "data": counts,
        "epochs": history,
        "bias": {s: [round(value, 4) for value in teacher.bias[i].tolist()] for i, s in enumerate(sets)},
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    record = write_record(out / "record.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def read_teacher(folder: Path) -> tuple[Teacher, dict[str, Any]]:
    """Read the teacher in a folder and its record. Raises ModelError where it is missing or damaged."""
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        if file_sha256(folder / "teacher.safetensors") != record["sha256"]:
            raise ModelError(
                f"{folder / 'teacher.safetensors'}: its SHA-256 is not the one in record.json, so it is damaged or "
                "changed; restore it or train again"
            )
        settings = record["settings"]
        encoder = empty_encoder(folder, settings["dropout"])
        network = Teacher(encoder, len(settings["sets"]), frozen=0, dropout=settings["dropout"])
        network.load_state_dict(load_file(folder / "teacher.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{folder}: holds no teacher ({error}); give the --out folder of `foreshock model teach`"
        ) from error
    return network, record


@torch.inference_mode()
def predict(
    teacher: Teacher, tokens: list[list[int]], sources: NDArray[np.int64], batch: int = 64, *, show: bool = False
) -> NDArray[np.float32]:
    """Return logits (n, 3) in the order of `tokens`, computed `batch` texts at a time.

    `sources` (n,): the source whose bias is added to a text's logits; -1: none. `show`: show a progress bar.
    """
    teacher.eval()
    logits = np.empty((len(tokens), len(LABELS)), dtype=np.float32)
    with progress() if show else nullcontext() as bars:
        bar = bars.add_task("soft labels", total=len(tokens)) if bars else None
        for rows in by_length(tokens, batch):
            part = teacher([tokens[i] for i in rows], torch.from_numpy(sources[rows]))
            logits[rows] = part.float().numpy()
            if bars and bar is not None:
                bars.update(bar, advance=len(rows))
    return logits


def _weighted_f1(teacher: Teacher, tokens: list[list[int]], source: int, rows: Labelled) -> float:
    """Return the weighted F1 on the rows, with the bias of `source` (-1: without one)."""
    scores = softmax(predict(teacher, tokens, np.full(len(tokens), source)))
    return float(measure(scores, rows.labels)["weighted_f1"])
