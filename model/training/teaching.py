"""The teacher: a larger encoder (all-mpnet-base-v2, 110 M parameters), trained on the same labels, never shipped.

The one idea: sources label by different conventions (a "neutral" tweet differs from a "neutral" release), so the
teacher learns a bias per source on its logits. It passes soft labels on to the small encoder: for a labelled text with
the bias of its source, for any other text without one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from foreshock.model.encoder import load_tokenizer, tokenize
from foreshock.model.errors import LabelledDataError, ModelError
from foreshock.model.evaluation import measure
from foreshock.model.labels import LABELS, Labelled, file_sha256
from foreshock.model.training.labelled import find_sets, fingerprint, read_sets
from foreshock.model.training.losses import cross_entropy
from foreshock.model.training.soft_labels import SoftLabel, write_soft_labels
from foreshock.model.training.steps import (
    REPEATS,
    UNTOLD,
    batches,
    finite,
    load_checkpoint,
    open_board,
    progress,
    save_checkpoint,
    schedule,
    seed_step,
    versions,
    write_record,
)
from foreshock.model.training.teacher import Teacher, TeacherBase, all_mpnet, by_depth, empty_encoder, read_encoder
from foreshock.model.training.unlabelled import read_sentences, read_unlabelled
from foreshock.model.training.variants import places, variant

CHECKPOINT_EVERY = 150
LOGITS = "soft-labels.safetensors"

_Wanted = tuple[str, str | None, str | None]
"""A text to label, the set whose convention holds for it, and the fingerprint of the text that it is a variant of."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person chooses. A checkpoint of other settings is not resumed.

    Parameters
    ----------
    learning_rate
        The peak, of the head and the top layer; each layer below learns at `layer_decay` times that of the one above.
    frozen
        How many of the lowest layers are not trained, which saves time.
    smoothing
        Label smoothing.
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
) -> dict[str, Any]:
    """Train the teacher on `<set>_train.jsonl.gz` in the folder `data`, and write it to `out`, after the last epoch.

    Matrix products run in bfloat16. Run again after an interruption, it resumes from `out/checkpoint.pt` to the same
    result; the checkpoint is removed at the end.

    Parameters
    ----------
    base
        The encoder to start from. Default: all-mpnet-base-v2 as the installed packages have it.
    board
        Folder for TensorBoard's logs.

    Returns the record that is written to `out/record.json`. Raises LabelledDataError and ModelError.
    """
    with nullcontext(base) if base else all_mpnet() as start:
        return _teach(data, out, settings or Settings(), start, board)


def _teach(data: Path, out: Path, settings: Settings, base: TeacherBase, board: Path | None) -> dict[str, Any]:
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
            # Three numbers a source, which Adam moves by about the rate each step, however large the gradient.
            {"params": [teacher.bias], "lr": 25 * settings.learning_rate},
        ]
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        per_epoch = len(tokens) // batch
        if per_epoch == 0:
            raise LabelledDataError(f"{data}: {len(tokens)} training rows do not fill one batch of {batch}")
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
                    known = torch.where(torch.rand(len(rows)) < UNTOLD, -1, sources[rows])
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
                    if step % CHECKPOINT_EVERY == 0 and step % per_epoch:
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


def label(
    data: Path,
    teacher: Path,
    *,
    texts: Path | None = None,
    count: int = 20_000,
    sentences: int = 0,
    variants: int = 2,
    seed: int = 0,
) -> dict[str, int]:
    """Write `soft-labels.jsonl.gz` into the folder `teacher`, which `teach` wrote, and the logits alone beside it.

    Labelled are the training texts of the sets that it learned from, `variants` variants of each (times the set's
    repeats), and `count` stories and `sentences` sentences of bodies of the folder `texts` (unlabelled.py), chosen by
    `seed`. Returns how many rows of each kind. Raises LabelledDataError, UnlabelledDataError, ModelError (no teacher).
    """
    network, record = read_teacher(teacher)
    settings = record["settings"]
    choice = _Choice(
        settings["sets"], {s: variants * settings["repeats"][s] for s in settings["sets"]}, count, sentences, seed
    )
    wanted = _wanted(data, texts, choice)
    tokens = tokenize(load_tokenizer(teacher / "tokenizer.json"), [text for text, _, _ in wanted])
    sources = np.array([-1 if s is None else choice.sets.index(s) for _, s, _ in wanted])
    logits = predict(network, tokens, sources, show=True)
    save_file(
        {"logits": torch.from_numpy(logits)},
        teacher / LOGITS,
        {"choice": json.dumps(asdict(choice)), "texts": _digest(wanted)},
    )
    return _write(teacher, wanted, logits)


def recall(data: Path, kept: Path, out: Path, *, texts: Path | None = None) -> dict[str, int]:
    """Write `soft-labels.jsonl.gz` into `out` from `kept`, the logits that `label` wrote, and the same texts again.

    So soft labels can be kept and passed on without the texts, which are others'. Needs no teacher. Returns as `label`
    does. Raises LabelledDataError and UnlabelledDataError; ModelError where `kept` is no such file, or of other texts.
    """
    try:
        with safe_open(kept, "pt") as file:
            logits, meta = file.get_tensor("logits").numpy(), file.metadata()
        choice, digest = _Choice(**json.loads(meta["choice"])), meta["texts"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{kept}: holds no soft labels ({error}); `foreshock model teach` writes {LOGITS}") from error
    wanted = _wanted(data, texts, choice)
    if _digest(wanted) != digest or logits.shape != (len(wanted), len(LABELS)):
        given = f"{data} and {texts}" if texts else f"{data} (and no --texts)"
        raise ModelError(f"{kept}: was made of other texts than those in {given}, or by another version of Foreshock")
    out.mkdir(parents=True, exist_ok=True)
    return _write(out, wanted, logits)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which texts are labelled: training texts of sets, so many variants of each text of a set, stories, sentences."""

    sets: list[str]
    variants: dict[str, int]
    count: int
    sentences: int
    seed: int


def _wanted(data: Path, texts: Path | None, choice: _Choice) -> list[_Wanted]:
    """The texts to label, always the same and in the same order."""
    train, _, _ = read_sets(find_sets(data, choice.sets), choice.sets)
    random = np.random.default_rng([choice.seed, len(LABELS)])
    others: list[str] = []
    if texts is not None:
        sentences = read_sentences(texts) if choice.sentences else []
        for found, wish in ((read_unlabelled(texts).texts, choice.count), (sentences, choice.sentences)):
            others += [found[i] for i in sorted(random.permutation(len(found))[:wish])]
    known = places([text for s in choice.sets for text in train[s].texts] + others)
    wanted: list[_Wanted] = []
    for s in choice.sets:
        wanted += [(text, s, None) for text in train[s].texts]
        seen = {fingerprint(text) for text in train[s].texts}
        for text in train[s].texts:
            for _ in range(choice.variants[s]):
                made = variant(text, known, random)
                if fingerprint(made) not in seen:
                    seen.add(fingerprint(made))
                    wanted.append((made, s, fingerprint(text)))
    return wanted + [(text, None, None) for text in others]


def _digest(wanted: Sequence[_Wanted]) -> str:
    return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()


def _write(folder: Path, wanted: Sequence[_Wanted], logits: NDArray[np.float32]) -> dict[str, int]:
    rows = [
        SoftLabel(text, (row[0], row[1], row[2]), s, of)
        for (text, s, of), row in zip(wanted, logits.tolist(), strict=True)
    ]
    write_soft_labels(folder / "soft-labels.jsonl.gz", rows)
    varied = sum(row.variant_of is not None for row in rows)
    labelled = sum(row.labelled_set is not None for row in rows) - varied
    return {"labelled": labelled, "variants": varied, "unlabelled": len(rows) - labelled - varied}


def read_teacher(folder: Path) -> tuple[Teacher, dict[str, Any]]:
    """The teacher in a folder and its record. Raises ModelError: none there, or damaged (SHA-256)."""
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        if file_sha256(folder / "teacher.safetensors") != record["sha256"]:
            raise ModelError(
                f"{folder / 'teacher.safetensors'}: its SHA-256 is not the one in record.json: train again"
            )
        settings = record["settings"]
        encoder = empty_encoder(folder, settings["dropout"])
        network = Teacher(encoder, len(settings["sets"]), frozen=0, dropout=settings["dropout"])
        network.load_state_dict(load_file(folder / "teacher.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{folder}: holds no teacher ({error}); `foreshock model teach` writes one") from error
    return network, record


@torch.inference_mode()
def predict(
    teacher: Teacher, tokens: list[list[int]], sources: NDArray[np.int64], batch: int = 64, *, show: bool = False
) -> NDArray[np.float32]:
    """Logits (n, 3) in the order of `tokens`, each with the bias of its source; -1: with none."""
    teacher.eval()
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    logits = np.empty((len(tokens), len(LABELS)), dtype=np.float32)
    with progress() if show else nullcontext() as bars:
        bar = bars.add_task("soft labels", total=len(order)) if bars else None
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            part = teacher([tokens[i] for i in rows], torch.from_numpy(sources[rows]))
            logits[rows] = part.float().numpy()
            if bars and bar is not None:
                bars.update(bar, advance=len(rows))
    return logits


def _weighted_f1(teacher: Teacher, tokens: list[list[int]], source: int, rows: Labelled) -> float:
    scores = _softmax(predict(teacher, tokens, np.full(len(tokens), source)))
    return float(measure(scores, rows.labels)["weighted_f1"])


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return torch.softmax(torch.from_numpy(logits), dim=-1).numpy()
