"""Training on news: sentiment by the guideline, severity, and the sentiment towards a company, in one encoder.

The one idea: one pass serves three questions. A batch mixes texts whose class and severity are asked with texts in
which a company is marked, where the question is how it fares. What other sets mean by "neutral" is learned as a bias of
theirs, which a score leaves out: a score follows the guideline.

    python -m foreshock.model.training.news --data DIR --out DIR [--base default] [--soft-labels FILE]
        [--labels FILE --feeds DIR] [--epochs N] [--steps N] [--learning-rate R] [--seed N]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder, pack
from foreshock.model.heads import LEVELS, Heads, Marks, find_marks, gather, split_heads
from foreshock.model.labels import LABELS, file_sha256
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.contrasts import WORDS
from foreshock.model.training.news_figures import judge
from foreshock.model.training.news_rows import SOURCES, Rows, epoch_rows, read_material
from foreshock.model.training.steps import (
    batches,
    by_depth,
    finite,
    load_checkpoint,
    progress,
    save_checkpoint,
    schedule,
    seed_step,
    versions,
    write_record,
)

COMMAND = "python -m foreshock.model.training.news"
CHECKPOINT_EVERY = 100
DROPOUT = 0.1
# The source's bias is left out for this share of the rows, so that the logits stand without it.
BIAS_DROPPED = 0.5
SEVERITY_SHARE = 0.3
COMPANY_SHARE = 0.7
# Grave news is rare; its question weighs double.
LEVEL_WEIGHT = (1.0, 1.0, 2.0)
# The average over the weights is moved every so many steps; it costs as much as a part of the step.
AVERAGE_EVERY = 5
LICENCE = (
    "research and non-commercial use only; trained on news (labels ours, texts research use), fpb (CC BY-NC-SA 3.0), "
    "tfns (MIT), fiqa (research use), sentfin (research use), finentity (ODC-By), contrasts (Apache-2.0)"
)


@dataclass(frozen=True, slots=True)
class NewsSettings:
    """All that decides the result beside the data; a checkpoint of other settings is not resumed.

    learning_rate: the peak, at the top; each layer below learns at `layer_decay` times the rate of the one above.
    distillation: the soft label's share of a target. averaging: decay of the exponential average that is kept. steps:
    where the training ends, be it in the midst of an epoch; 0: with the last epoch.
    """

    name: str = "default"
    epochs: int = 2
    steps: int = 0
    batch: int = 48
    learning_rate: float = 1.3e-4
    layer_decay: float = 0.9
    distillation: float = 0.5
    averaging: float = 0.997
    seed: int = 0


def train_news(
    data: Path,
    out: Path,
    settings: NewsSettings,
    *,
    base: str = "default",
    soft_labels: Path | None = None,
    labels: Path | None = None,
    feeds: Path | None = None,
) -> dict[str, Any]:
    """Train the weights `base` (a name or a folder) further on news; write weights and `record.json` to `out`.

    data: the folder of the labelled sets. labels: labels by id of stories in the folder `feeds`. Given again after an
    interruption, it resumes from `out/checkpoint.pt` to the same result. Returns the record. Raises LabelledDataError,
    UnlabelledDataError and ModelError.
    """
    started = time.monotonic()
    folder = open_weights(base)
    tokenizer = load_tokenizer(folder.tokenizer)
    material = read_material(data, soft_labels=soft_labels, labels=labels, feeds=feeds)
    bound = asdict(settings) | {"base": folder.sha256, "data_sha256": _hashes(data, soft_labels, labels)}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    architecture = Architecture(**folder.card["architecture"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder, heads = Encoder(architecture, DROPOUT), Heads(architecture.width)
        body, extra = split_heads(read_tensors(folder))
        encoder.load_state_dict(body)
        if extra:
            heads.load_state_dict(extra)
        # Three numbers a source, for texts and for companies.
        bias = torch.zeros(2, len(SOURCES), len(LABELS), requires_grad=True)
        groups = by_depth(encoder, architecture.layers, settings.learning_rate, settings.layer_decay)
        groups.append({"params": list(heads.parameters()), "lr": 3 * settings.learning_rate})
        groups.append({"params": [bias], "lr": 10 * settings.learning_rate})
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        rows = epoch_rows(material, tokenizer, settings.seed, 0, settings.distillation)
        # Later epochs have a few rows more or less; each is cut to this many batches.
        per_epoch = int(0.99 * len(rows.tokens)) // settings.batch
        steps = settings.steps or settings.epochs * per_epoch
        rates = schedule(optimiser, steps)
        average = {key: value.detach().clone() for key, value in _state(encoder, heads).items()}
        step = 0
        history: list[dict[str, Any]] = []
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, bound)
            _load(encoder, heads, saved["weights"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            with torch.no_grad():
                bias.copy_(saved["bias"])
            average, step, history = saved["average"], saved["step"], saved["history"]

        def save() -> None:
            state = {"weights": _state(encoder, heads), "bias": bias.detach(), "average": average, "step": step}
            state |= {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict(), "history": history}
            save_checkpoint(checkpoint, bound, state)

        with progress() as bars:
            bar = bars.add_task("news", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, per_epoch)
                if epoch:
                    rows = epoch_rows(material, tokenizer, settings.seed, epoch, settings.distillation)
                lengths = [len(ids) for ids in rows.tokens]
                encoder.train()
                for chosen in batches(lengths, settings.batch, settings.seed, epoch)[
                    place : min(per_epoch, place + steps - step)
                ]:
                    seed_step(settings.seed, step)
                    loss = _loss(encoder, heads, bias, rows, chosen)
                    value = finite(loss, step + 1)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_([*encoder.parameters(), *heads.parameters()], 1.0)
                    optimiser.step()
                    rates.step()
                    step += 1
                    if step % AVERAGE_EVERY == 0:
                        moved = step / AVERAGE_EVERY
                        decay = min(settings.averaging**AVERAGE_EVERY, (1 + moved) / (10 + moved))
                        ours = list(_state(encoder, heads).values())
                        torch._foreach_lerp_(list(average.values()), ours, 1 - decay)
                    bars.update(bar, completed=step, description=f"news, loss {value:.3f}")
                    if step % CHECKPOINT_EVERY == 0 and step % per_epoch and step < steps:
                        save()
                if step < steps:
                    kept, its_heads = Encoder(architecture), Heads(architecture.width)
                    _load(kept, its_heads, average)
                    found = judge(kept, its_heads, tokenizer, data)[0]
                    history.append({"epoch": epoch + 1, "validation": found})
                    bars.console.print(f"epoch {epoch + 1}: {found}")
                save()
    _load(encoder, heads, average)
    validation, card = judge(encoder, heads, tokenizer, data)
    write_weights(
        out,
        name=settings.name,
        tensors=encoder.state_dict() | {f"heads.{key}": value for key, value in heads.state_dict().items()},
        architecture=architecture,
        tokenizer=folder.tokenizer,
        calibration=card.text,
        heads=card.heads,
        licence=LICENCE,
    )
    record = {
        "command": _command(settings, soft_labels, labels),
        "settings": bound,
        "data": dict(material.counts),
        "rows_an_epoch": {"texts": sum(not marks for marks in rows.marks), "all": len(rows.tokens)},
        "epochs": history,
        "bias": {s: [round(v, 3) for v in bias[0, i].tolist()] for i, s in enumerate(SOURCES)},
        "calibration": asdict(card.text),
        "validation": validation,
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    record = write_record(out / "record.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def _loss(encoder: Encoder, heads: Heads, bias: Tensor, rows: Rows, chosen: NDArray[np.int64]) -> Tensor:
    """The mean over a batch's rows of what each asks: class and severity, or the class towards a company."""
    packed = pack([rows.tokens[i] for i in chosen])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = encoder.hidden(packed)
    embedded = encoder.pool(hidden, packed)
    targets, severity, sources, weights = (
        of[chosen] for of in (rows.targets, rows.severity, rows.sources, rows.weights)
    )
    marked = torch.tensor([bool(rows.marks[i]) for i in chosen])
    biased = (sources > 0) & (torch.rand(len(chosen)) >= BIAS_DROPPED)
    theirs = torch.where(biased[:, None], bias[marked.long(), sources], 0.0)
    logits = encoder.classify(functional.dropout(embedded, DROPOUT)) + theirs
    total = (_cross_entropy(logits, targets) * weights)[~marked].sum()
    graded = (severity >= 0) & ~marked
    if graded.any():
        answers = (severity[graded][:, None] > torch.arange(LEVELS)).float()
        grades = heads.grade(functional.dropout(embedded[graded], DROPOUT))
        each = functional.binary_cross_entropy_with_logits(grades, answers, reduction="none")
        total = total + SEVERITY_SHARE * (each * torch.tensor(LEVEL_WEIGHT)).sum()
    if marked.any():
        marks = find_marks(packed, [rows.marks[i] for i in chosen])
        towards = heads.towards(gather(hidden, Marks(marks.places, marks.counts[marked]))) + theirs[marked]
        total = total + COMPANY_SHARE * (_cross_entropy(towards, targets[marked]) * weights[marked]).sum()
    return total / len(chosen)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def _state(encoder: Encoder, heads: Heads) -> dict[str, Tensor]:
    return encoder.state_dict() | {f"heads.{key}": value for key, value in heads.state_dict().items()}


def _load(encoder: Encoder, heads: Heads, state: dict[str, Tensor]) -> None:
    body, extra = split_heads(state)
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)


def _hashes(data: Path, soft_labels: Path | None, labels: Path | None) -> dict[str, str]:
    files = {s: data / f"{s}_train.jsonl.gz" for s in SOURCES} | {"contrasts": WORDS}
    files |= {name: file for name, file in (("soft_labels", soft_labels), ("labels", labels)) if file is not None}
    return {name: file_sha256(file) for name, file in files.items()}


def _command(settings: NewsSettings, soft_labels: Path | None, labels: Path | None) -> str:
    words = [f"{COMMAND} --data DIR --out DIR --base DIR"]
    if soft_labels is not None:
        words.append("--soft-labels FILE")
    if labels is not None:
        words.append("--labels FILE --feeds DIR")
    words.append(f"--epochs {settings.epochs} --steps {settings.steps}")
    words.append(f"--learning-rate {settings.learning_rate:g} --seed {settings.seed}")
    return " ".join(words)


def main() -> None:
    settings = NewsSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="default")
    parser.add_argument("--soft-labels", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--name", default=settings.name)
    parser.add_argument("--epochs", type=int, default=settings.epochs)
    parser.add_argument("--steps", type=int, default=settings.steps)
    parser.add_argument("--learning-rate", type=float, default=settings.learning_rate)
    parser.add_argument("--seed", type=int, default=settings.seed)
    given = parser.parse_args()
    if (given.labels is None) != (given.feeds is None):
        parser.error("--labels names stories by id, and --feeds the folder that holds them: give both or neither")
    chosen = NewsSettings(given.name, given.epochs, given.steps, learning_rate=given.learning_rate, seed=given.seed)
    train_news(
        given.data,
        given.out,
        chosen,
        base=given.base,
        soft_labels=given.soft_labels,
        labels=given.labels,
        feeds=given.feeds,
    )


if __name__ == "__main__":
    main()
