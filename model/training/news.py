"""Training on news: sentiment by the guideline, severity, and the sentiment towards a company, in one encoder.

The one idea: one pass serves three questions. A batch mixes texts whose class and severity are asked with texts in
which a company is marked, where the question is how it fares. What other sets mean by "neutral" differs from the
guideline. The encoder is never told the source: it learns to read the convention off the style of a text.

    python -m foreshock.model.training.news --data DIR --out DIR [--base default] [--soft-labels FILE]
        [--labels FILE --feeds DIR] [--epochs N] [--steps N] [--learning-rate R] [--seed N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder
from foreshock.model.heads import Heads, split_heads
from foreshock.model.labels import file_sha256, read_labelled
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.contrasts import WORDS
from foreshock.model.training.generated import WORDS as GENERATED_WORDS
from foreshock.model.training.headlines import WORDS as HEADLINES_WORDS
from foreshock.model.training.news_figures import VALID, judge
from foreshock.model.training.news_rows import MIXES, Mix, Rows, epoch_rows, read_material
from foreshock.model.training.news_teacher import read_told
from foreshock.model.training.quick import Wide, hidden, padded, pooled
from foreshock.model.training.referring import refer
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
from foreshock.model.training.wide import moved, read_wide, write_wide
from foreshock.model.training.written import NAME as LINES
from foreshock.model.training.written import WORDS as WRITTEN_WORDS

COMMAND = "python -m foreshock.model.training.news"
CHECKPOINT_EVERY = 150
DROPOUT = 0.1
SEVERITY_SHARE = 0.3
COMPANY_SHARE = 0.7
# Grave news is rare; its question weighs double.
LEVEL_WEIGHT = (1.0, 1.0, 2.0)
# The average over the weights is moved every so many steps; it costs as much as a part of the step.
AVERAGE_EVERY = 5
LICENCE = (
    "research and non-commercial use only; trained on news (labels ours, texts research use), fpb (CC BY-NC-SA 3.0), "
    "tfns (MIT), fiqa (research use), sentfin (research use), finentity (ODC-By), contrasts and rivals (Apache-2.0)"
)
"""It names rivals too, which the layers for companies learn from: they are put beside the weights later."""
PERMISSIVE_LICENCE = (
    "Apache-2.0; trained on tfns (MIT), labels of our own on it, and contrasts, headlines, generated, lines and rivals "
    "(Apache-2.0)"
)


@dataclass(frozen=True, slots=True)
class NewsSettings:
    """All that decides the result beside the data; a checkpoint of other settings is not resumed.

    learning_rate: the peak, at the top; each layer below learns at `layer_decay` times the rate of the one above.
    distillation: the soft label's share of a target. averaging: decay of the exponential average that is kept. steps:
    where the training ends, be it in the midst of an epoch; 0: with the last epoch. mix: which rows an epoch has, of
    MIXES. frozen: the embeddings are not trained, nor so many of the lowest layers; -1: all are trained.
    """

    name: str = "default"
    epochs: int = 2
    steps: int = 0
    batch: int = 64
    learning_rate: float = 1.5e-4
    layer_decay: float = 0.9
    distillation: float = 0.5
    averaging: float = 0.997
    seed: int = 0
    mix: str = "student"
    frozen: int = 0


def train_news(
    data: Path,
    out: Path,
    settings: NewsSettings,
    *,
    base: str = "default",
    soft_labels: Path | None = None,
    labels: Sequence[Path] = (),
    feeds: Path | None = None,
    wide: Path | None = None,
    guided_soft: Sequence[Path] = (),
) -> dict[str, Any]:
    """Train the weights `base` (a name or a folder) further on news; write weights and `record.json` to `out`.

    data: the folder of the labelled sets. labels: files of labels by id of stories in the folder `feeds`. wide: the
    folder of all-mpnet-base-v2, from which a teacher is trained in place of `base`. guided_soft: the answers of
    teachers, files of news_teacher.py. Given again after an interruption, it resumes from `out/checkpoint.pt` to the
    same result. Returns the record. Raises LabelledDataError, UnlabelledDataError and ModelError.
    """
    started = time.monotonic()
    folder = open_weights(base)
    tokenizer = load_tokenizer(folder.tokenizer)
    mix = MIXES[settings.mix]
    teachers = [read_told(file, data, feeds) for file in guided_soft]
    material = read_material(data, soft_labels=soft_labels, labels=labels, feeds=feeds, guided_soft=teachers, mix=mix)
    bound = asdict(settings) | {"base": folder.sha256 if wide is None else wide.name}
    bound |= {"data_sha256": _hashes(data, mix, soft_labels, labels, guided_soft)}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if wide is None:
            encoder = Encoder(Architecture(**folder.card["architecture"]), DROPOUT)
            body, extra = split_heads(read_tensors(folder))
            encoder.load_state_dict(body)
        else:
            encoder, extra = read_wide(wide), {}
        architecture = encoder.architecture
        heads = Heads(architecture.width)
        if extra:
            heads.load_state_dict(extra)
        # The words are half of the small encoder's parameters; most rows of the table are seen once or never.
        if settings.frozen >= 0:
            for part in (encoder.words, encoder.positions, *encoder.layers[: settings.frozen]):
                part.requires_grad_(False)
        groups = by_depth(encoder, architecture.layers, settings.learning_rate, settings.layer_decay)
        groups.append({"params": list(heads.parameters()), "lr": 3 * settings.learning_rate})
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        rows = epoch_rows(material, tokenizer, settings.seed, 0, settings.distillation, mix)
        # Later epochs have a few rows more or less; each is cut to this many batches.
        per_epoch = int(0.99 * len(rows.tokens)) // settings.batch
        steps = settings.steps or settings.epochs * per_epoch
        rates = schedule(optimiser, steps)
        averaged = settings.averaging > 0
        average = state_of(encoder, heads)
        if averaged:
            average = {key: value.detach().clone() for key, value in average.items()}
        step = 0
        history: list[dict[str, Any]] = []
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, bound)
            load_state(encoder, heads, saved["weights"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            step, history = saved["step"], saved["history"]
            average = saved["average"] if averaged else average

        def save() -> None:
            state = {"weights": state_of(encoder, heads), "average": average if averaged else {}, "step": step}
            state |= {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict(), "history": history}
            save_checkpoint(checkpoint, bound, state)

        with progress() as bars:
            bar = bars.add_task("news", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, per_epoch)
                if epoch:
                    rows = epoch_rows(material, tokenizer, settings.seed, epoch, settings.distillation, mix)
                lengths = [len(ids) for ids in rows.tokens]
                encoder.train()
                for chosen in batches(lengths, settings.batch, settings.seed, epoch)[
                    place : min(per_epoch, place + steps - step)
                ]:
                    seed_step(settings.seed, step)
                    loss = batch_loss(encoder, heads, rows, chosen)
                    value = finite(loss, step + 1)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    torch.nn.utils.clip_grad_norm_([*encoder.parameters(), *heads.parameters()], 1.0)
                    optimiser.step()
                    rates.step()
                    step += 1
                    if averaged and step % AVERAGE_EVERY == 0:
                        moved = step / AVERAGE_EVERY
                        decay = min(settings.averaging**AVERAGE_EVERY, (1 + moved) / (10 + moved))
                        ours = list(state_of(encoder, heads).values())
                        torch._foreach_lerp_(list(average.values()), ours, 1 - decay)
                    bars.update(bar, completed=step, description=f"news, loss {value:.3f}")
                    if step % 20 == 0:
                        bars.console.print(f"step {step} of {steps}: loss {value:.3f}")
                    if step % CHECKPOINT_EVERY == 0 and step % per_epoch and step < steps:
                        save()
                if step < steps:
                    save()
    load_state(encoder, heads, average)
    # What anyone may use is calibrated on the sets that it learned from, not on texts that are for research.
    permissive = settings.mix == "permissive"
    before = folder.card.get("trained_on")
    validation, card = judge(encoder, heads, tokenizer, data, mix.sets if permissive else VALID)
    if wide is not None:
        write_wide(out, encoder, heads)
        return write_record(
            out / "record.json", {"settings": bound, "data": dict(material.counts), "validation": validation}
        )
    write_weights(
        out,
        name=settings.name,
        tensors=state_of(encoder, heads),
        architecture=architecture,
        tokenizer=folder.tokenizer,
        calibration=card.text,
        heads=card.heads,
        licence=PERMISSIVE_LICENCE if permissive else LICENCE,
        trained_on=None if before is None else list(dict.fromkeys([*before, *mix.names])),
    )
    held_out = mix.sets if permissive else VALID
    refer(
        out,
        [row.text for of in material.rows.values() for row in of],
        {s: read_labelled(data / f"{s}_valid.jsonl.gz").texts for s in held_out},
        write=True,
    )
    record = {
        "command": _command(settings, soft_labels, labels, guided_soft),
        "settings": bound,
        "data": dict(material.counts),
        "rows_an_epoch": {"texts": sum(not marks for marks in rows.marks), "all": len(rows.tokens)},
        "epochs": history,
        "calibration": asdict(card.text),
        "validation": validation,
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    record = write_record(out / "record.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def batch_loss(encoder: Encoder, heads: Heads, rows: Rows, chosen: NDArray[np.int64]) -> Tensor:
    """The mean over a batch's rows of what each asks: class and severity, or the class towards a company."""
    tokens = [rows.tokens[i] for i in chosen]
    ids, there = padded(moved(tokens) if isinstance(encoder, Wide) else tokens)
    states = hidden(encoder, ids, there)
    embedded = functional.dropout(pooled(states, there), DROPOUT)
    targets, grades, weights = (of[chosen] for of in (rows.targets, rows.grades, rows.weights))
    marked = torch.tensor([bool(rows.marks[i]) for i in chosen])
    logits = functional.linear(embedded, encoder.head.weight, encoder.head.bias)
    total = (_cross_entropy(logits, targets) * weights)[~marked].sum()
    graded = ~grades[:, 0].isnan() & ~marked
    if graded.any():
        found = functional.linear(embedded[graded], heads.severity.weight, heads.severity.bias)
        each = functional.binary_cross_entropy_with_logits(found, grades[graded], reduction="none")
        total = total + SEVERITY_SHARE * (each * torch.tensor(LEVEL_WEIGHT)).sum()
    if marked.any():
        at = torch.stack([states[n, rows.marks[i]].mean(dim=0) for n, i in enumerate(chosen) if rows.marks[i]])
        towards = functional.linear(at, heads.entity.weight, heads.entity.bias)
        total = total + COMPANY_SHARE * (_cross_entropy(towards, targets[marked]) * weights[marked]).sum()
    return total / len(chosen)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def state_of(encoder: Encoder, heads: Heads) -> dict[str, Tensor]:
    """Return the tensors of an encoder and its heads, as weights hold them."""
    return encoder.state_dict() | {f"heads.{key}": value for key, value in heads.state_dict().items()}


def load_state(encoder: Encoder, heads: Heads, state: dict[str, Tensor]) -> None:
    """Give an encoder and its heads the tensors that `state_of` returned."""
    body, extra = split_heads(state)
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)


def _hashes(
    data: Path, mix: Mix, soft_labels: Path | None, labels: Sequence[Path], guided_soft: Sequence[Path]
) -> dict[str, str]:
    files = {s: data / f"{s}_train.jsonl.gz" for s in mix.sets} | {"contrasts": WORDS}
    made = {"headlines": HEADLINES_WORDS, "generated": GENERATED_WORDS, LINES: WRITTEN_WORDS}
    files |= {name: file for name, file in made.items() if name in mix.names}
    files |= {file.name: file for file in (soft_labels, *labels, *guided_soft) if file is not None}
    return {name: file_sha256(file) for name, file in files.items()}


def _command(
    settings: NewsSettings, soft_labels: Path | None, labels: Sequence[Path], guided_soft: Sequence[Path]
) -> str:
    words = [f"{COMMAND} --data DIR --out DIR --base DIR"]
    if soft_labels is not None:
        words.append("--soft-labels FILE")
    if labels:
        words.append("--labels FILES --feeds DIR")
    if guided_soft:
        words.append("--told FILE")
    words.append(f"--epochs {settings.epochs} --steps {settings.steps} --batch {settings.batch}")
    words.append(f"--learning-rate {settings.learning_rate:g} --distillation {settings.distillation:g}")
    words.append(f"--averaging {settings.averaging:g} --frozen {settings.frozen} --seed {settings.seed}")
    if settings.mix == "permissive":
        words.append("--mix permissive")
    return " ".join(words)


def main() -> None:
    settings = NewsSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="default")
    parser.add_argument("--soft-labels", type=Path)
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--name", default=settings.name)
    parser.add_argument("--mix", choices=tuple(MIXES), help="which rows to learn from")
    parser.add_argument("--epochs", type=int, default=settings.epochs)
    parser.add_argument("--steps", type=int, default=settings.steps)
    parser.add_argument("--learning-rate", type=float, default=settings.learning_rate)
    parser.add_argument("--seed", type=int, default=settings.seed)
    parser.add_argument("--wide", type=Path, help="the folder of all-mpnet-base-v2: train a teacher")
    parser.add_argument(
        "--told", type=Path, nargs="*", default=[], help="the answers of teachers (files of news_teacher.py)"
    )
    parser.add_argument("--batch", type=int, default=settings.batch)
    parser.add_argument("--distillation", type=float, default=settings.distillation)
    parser.add_argument("--averaging", type=float, default=settings.averaging)
    parser.add_argument("--frozen", type=int, default=settings.frozen)
    given = parser.parse_args()
    if bool(given.labels or given.told) != (given.feeds is not None):
        parser.error("--labels and --told name stories by id, and --feeds the folder that holds them: give both")
    chosen = NewsSettings(
        given.name,
        given.epochs,
        given.steps,
        given.batch,
        given.learning_rate,
        distillation=given.distillation,
        averaging=given.averaging,
        seed=given.seed,
        mix=given.mix or ("student" if given.wide is None else "teacher"),
        frozen=given.frozen,
    )
    train_news(
        given.data,
        given.out,
        chosen,
        base=given.base,
        soft_labels=given.soft_labels,
        labels=given.labels,
        feeds=given.feeds,
        wide=given.wide,
        guided_soft=given.told,
    )


if __name__ == "__main__":
    main()
