"""Train the layers that read for one company, and nothing that a text's own score is computed from.

The one idea: the encoder of whole texts stays as it is, to the bit. What a pass for one company does otherwise is a
change of low rank to its upper layers (low_rank.py), and the head that is read at the marks. So rows about companies
can be seen as often as they teach something, without a text's score paying for it.

    python -m foreshock.model.training.companies --data DIR --out DIR --labels FILES --feeds DIR [--base default]
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model import low_rank
from foreshock.model.architecture import Architecture, products
from foreshock.model.calibration import read_calibration
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, split_heads
from foreshock.model.labels import file_sha256
from foreshock.model.low_rank import BELOW, Change
from foreshock.model.storage import open_weights, read_arrays, read_change, write_change
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.company_rows import LINES, MIXES, WORDS, company_material, company_rows, sets_of
from foreshock.model.training.news_figures import judge_companies
from foreshock.model.training.news_rows import Rows
from foreshock.model.training.quick import hidden, padded
from foreshock.model.training.steps import (
    batches,
    finite,
    load_checkpoint,
    save_checkpoint,
    schedule,
    seed_step,
    versions,
    write_record,
)

COMMAND = "python -m foreshock.model.training.companies"
CHECKPOINT_EVERY = 50


@dataclass(frozen=True, slots=True)
class CompanySettings:
    """All that decides the result beside the data; a checkpoint of other settings is not resumed.

    steps: of the schedule of rates. stop: where the training ends, be it in the midst of the schedule; 0: with it. An
    average over steps at a high rate knows the training rows less by heart. rank: of the changes, at most 32.
    unchanged: how many of the lowest layers stay as they are, which saves a third of the time. averaging: decay of the
    exponential average over the steps that is kept. mix: whose texts it learns from, of MIXES. fresh: begin without
    the layers for companies that the base has.
    """

    steps: int = 900
    stop: int = 0
    batch: int = 32
    learning_rate: float = 1e-3
    rank: int = 32
    unchanged: int = 2
    dropout: float = 0.15
    averaging: float = 0.99
    seed: int = 0
    mix: str = "research"
    fresh: bool = False


class LowRank(nn.Module):
    """A linear layer that is not trained, plus a change of low rank that is: zero at first."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)

    def forward(self, rows: Tensor) -> Tensor:
        moved: Tensor = self.linear(rows) + functional.linear(functional.linear(rows, self.down), self.up)
        return moved


def train_companies(
    data: Path, out: Path, settings: CompanySettings, *, base: str, labels: Sequence[Path], feeds: Path | None
) -> dict[str, Any]:
    """Write to `out` the weights `base` with layers for companies, and `companies.json`, the record, which it returns.

    Where `base` has such layers, they are trained further (rank and layers are theirs), unless the settings say
    `fresh`. The arguments are those of
    `train_news`, and so is what it raises. Given again after an interruption, it resumes
    from `out/checkpoint.pt` to the same result.
    """
    started = time.monotonic()
    folder = open_weights(base)
    if "heads" not in folder.card:
        raise ModelError(
            f"{folder.path}: has no head for companies to start from; train it with "
            "`python -m foreshock.model.training.news` first"
        )
    tokenizer = load_tokenizer(folder.tokenizer)
    arrays = read_arrays(folder)
    architecture = Architecture(**folder.card["architecture"])
    before = {} if settings.fresh else read_change(folder) or {}
    material = company_material(data, labels, feeds, settings.seed, settings.mix)
    files = {f"{s}_train": data / f"{s}_train.jsonl.gz" for s in MIXES[settings.mix].sets}
    files |= {file.name: file for file in (*labels, WORDS, LINES)}
    bound = {key: value for key, value in asdict(settings).items() if key != "stop"} | {"base": folder.sha256}
    bound |= {"data_sha256": {name: file_sha256(file) for name, file in files.items()}}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder, heads = _prepared(arrays, architecture, settings, before)
        average = _train(
            encoder,
            heads,
            partial(company_rows, material, tokenizer, settings.seed, settings.mix),
            settings,
            checkpoint,
            bound,
        )
    change = _stored(average)
    validation, entity = judge_companies(*loaded(low_rank.changed(arrays, change), architecture), tokenizer, data)
    if settings.mix == "permissive":  # what anyone may use is not calibrated on texts that are for research
        entity = read_calibration(folder.card["heads"]["entity"])
    for file in (folder.tensors, folder.path / "model.json", folder.tokenizer):
        if file.parent != out:
            shutil.copy(file, out)
    write_change(out, change, entity, sets_of(settings.mix))
    record = {
        "command": _command(settings, folder.name),
        "settings": bound | {"stop": settings.stop},
        "data": dict(material.counts),
        "calibration": asdict(entity),
        "validation": validation,
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    record = write_record(out / "companies.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def _train(
    encoder: Encoder,
    heads: Heads,
    rows_of: Callable[[int], tuple[Rows, NDArray[np.int64]]],
    settings: CompanySettings,
    checkpoint: Path,
    bound: dict[str, Any],
) -> dict[str, Tensor]:
    """Train what `encoder` and `heads` leave to be trained; returns its average over the steps, by name.

    rows_of: the rows of an epoch, and which of them are about a company.
    """
    trained = {name: one for name, one in encoder.named_parameters() if one.requires_grad}
    trained |= {f"heads.entity.{name}": one for name, one in heads.entity.named_parameters()}
    optimiser = torch.optim.AdamW(trained.values(), lr=settings.learning_rate, weight_decay=0.0, fused=True)
    rates = schedule(optimiser, settings.steps)
    average = [one.detach().clone() for one in trained.values()]
    step = seen = epoch = 0
    if checkpoint.is_file():
        saved = load_checkpoint(checkpoint, bound)
        with torch.no_grad():
            for one, value in zip(trained.values(), saved["weights"], strict=True):
                one.copy_(value)
        optimiser.load_state_dict(saved["optimiser"])
        rates.load_state_dict(saved["schedule"])
        average, step = saved["average"], saved["step"]
    last = settings.stop or settings.steps
    while step < last:
        rows, about = rows_of(epoch)
        for place in batches([len(rows.tokens[i]) for i in about], settings.batch, settings.seed, epoch):
            seen += 1
            if seen <= step or step == last:
                continue
            seed_step(settings.seed, step)
            loss = _loss(encoder, heads, rows, about[place])
            value = finite(loss, step + 1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimiser.step()
            rates.step()
            step += 1
            decay = min(settings.averaging, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [one.detach() for one in trained.values()], 1 - decay)
            if step % 10 == 0:
                print(f"step {step} of {settings.steps}: loss {value:.3f}", flush=True)
            if step % CHECKPOINT_EVERY == 0:
                state = {"weights": [one.detach() for one in trained.values()], "average": average, "step": step}
                state |= {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict()}
                save_checkpoint(checkpoint, bound, state)
        epoch += 1
    return dict(zip(trained, average, strict=True))


def _prepared(
    arrays: Mapping[str, NDArray[np.float32]], architecture: Architecture, settings: CompanySettings, change: Change
) -> tuple[Encoder, Heads]:
    """The encoder with nothing to train but changes of low rank in its upper layers, from `change` on, and heads."""
    encoder, heads = loaded({**arrays, **low_rank.heads(change)}, architecture)
    encoder.requires_grad_(False)
    for number, layer in list(enumerate(encoder.layers))[settings.unchanged :]:
        for name in products(architecture):
            made = LowRank(getattr(layer, name), settings.rank)
            if f"layers.{number}.{name}.up" in change:
                made.up.data, made.down.data = (
                    torch.from_numpy(change[f"layers.{number}.{name}.{factor}"]).float() for factor in ("up", "down")
                )
            setattr(layer, name, made)
    encoder.dropout = settings.dropout
    return encoder.train(), heads


def loaded(arrays: Mapping[str, NDArray[np.float32]], architecture: Architecture) -> tuple[Encoder, Heads]:
    """Return the encoder and the heads of tensors by name."""
    encoder, heads = Encoder(architecture), Heads(architecture.width)
    body, extra = split_heads({name: torch.from_numpy(array) for name, array in arrays.items()})
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)
    return encoder, heads


def _loss(encoder: Encoder, heads: Heads, rows: Rows, chosen: NDArray[np.int64]) -> Tensor:
    ids, there = padded([rows.tokens[i] for i in chosen])
    states = hidden(encoder, ids, there)
    at = torch.stack([states[n, rows.marks[i]].mean(dim=0) for n, i in enumerate(chosen)])
    logits = functional.linear(at, heads.entity.weight, heads.entity.bias)
    return functional.cross_entropy(logits, rows.targets[chosen])


def _stored(trained: Mapping[str, Tensor]) -> dict[str, NDArray[np.float16]]:
    """The trained tensors as they are stored; the sums of larger factors would not be exact."""
    edge = BELOW - 2e-4
    return {
        name: (tensor.clamp(-edge, edge) if name.startswith("layers.") else tensor).half().numpy()
        for name, tensor in trained.items()
    }


def _command(settings: CompanySettings, base: str) -> str:
    words = [
        f"{COMMAND} --data DIR --out DIR --labels FILES --feeds DIR --base {base}",
        f"--steps {settings.steps} --stop {settings.stop}",
    ]
    words.append(f"--learning-rate {settings.learning_rate:g} --rank {settings.rank}")
    words.append(f"--unchanged {settings.unchanged} --seed {settings.seed} --mix {settings.mix}")
    words += ["--fresh"] * settings.fresh
    return " ".join(words)


def main() -> None:
    settings = CompanySettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="default")
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--steps", type=int, default=settings.steps)
    parser.add_argument("--stop", type=int, default=settings.stop)
    parser.add_argument("--learning-rate", type=float, default=settings.learning_rate)
    parser.add_argument("--rank", type=int, default=settings.rank)
    parser.add_argument("--unchanged", type=int, default=settings.unchanged)
    parser.add_argument("--seed", type=int, default=settings.seed)
    parser.add_argument("--mix", choices=tuple(MIXES), default=settings.mix, help="whose texts to learn from")
    parser.add_argument("--fresh", action="store_true", help="begin without the base's layers for companies")
    given = parser.parse_args()
    if bool(given.labels) != (given.feeds is not None):
        parser.error("--labels name stories by id, and --feeds the folder that holds them: give both")
    chosen = replace(
        settings,
        steps=given.steps,
        stop=given.stop,
        learning_rate=given.learning_rate,
        rank=given.rank,
        unchanged=given.unchanged,
        seed=given.seed,
        mix=given.mix,
        fresh=given.fresh,
    )
    train_companies(given.data, given.out, chosen, base=given.base, labels=given.labels, feeds=given.feeds)


if __name__ == "__main__":
    main()
