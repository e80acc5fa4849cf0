"""Train what a company's sentiment is read with, and nothing that a text's own score is computed from.

The one idea: the marks around a company's name are tokens that no text holds. Their embeddings, and the head that is
read at the marks, can be trained while all else stays as it is, so the score of a text does not change by a bit. What
is learned: sentences about two companies whose fates differ, each also with the names swapped (rivals.toml), and the
rows about companies that news.py trains with.

    python -m foreshock.model.training.companies --data DIR --out DIR --labels FILES --feeds DIR [--base default]
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import read_calibration
from foreshock.model.encoder import Encoder
from foreshock.model.entities import OTHER
from foreshock.model.heads import Heads, split_heads
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.contrasts import Contrast, both, read_words
from foreshock.model.training.guided import Guided
from foreshock.model.training.news_figures import judge
from foreshock.model.training.news_rows import STUDENT, epoch_rows, read_material
from foreshock.model.training.quick import hidden, padded
from foreshock.model.training.steps import batches, finite, schedule, seed_step, write_record

WORDS = Path(__file__).with_name("rivals.toml")
PAIRS = 1_500
"""Sentences about two companies; each comes twice, the second time with the names swapped."""
BATCH = 64


def rivals(count: int, seed: int) -> list[Contrast]:
    """Make `count` sentences about two companies and as many with the names swapped, in random order."""
    random = np.random.default_rng([seed, count, 3])
    roles = tomllib.loads(WORDS.read_text(encoding="utf-8"))["roles"]
    slots = read_words()["slots"]
    made: dict[str, Contrast] = {}
    while len(made) < 2 * count:
        kind = roles[random.integers(len(roles))]
        for row in both({**kind, "label": kind["a"]}, slots, random):
            made.setdefault(row.text, row)
    rows = list(made.values())
    return [rows[i] for i in random.permutation(len(rows))]


def train_companies(
    data: Path, labels: list[Path], feeds: Path | None, base: str, steps: int, rate: float, seed: int
) -> tuple[Encoder, Heads, dict[str, Any]]:
    """Train the marks and the head for companies of the weights `base`; returns encoder, heads and counts."""
    folder = open_weights(base)
    tokenizer = load_tokenizer(folder.tokenizer)
    nothing = dict.fromkeys(STUDENT.repeats, 0.0)
    mix = replace(STUDENT, repeats=nothing, contrasts=1_000, turned={"flipped": 0, "negated": 0}, variants=0, streams=0)
    mix = replace(mix, alike={**mix.alike, "rivals": 1.0}, differing={**mix.differing, "rivals": 1.0})
    material = read_material(data, soft_labels=None, labels=labels, feeds=feeds, mix=mix)
    made = [Guided(one.text, None, -1, one.entities) for one in rivals(PAIRS, seed)]
    material = replace(material, rows={**material.rows, "rivals": made})
    encoder = Encoder(Architecture(**folder.card["architecture"]))
    body, extra = split_heads(read_tensors(folder))
    encoder.load_state_dict(body)
    heads = Heads(encoder.architecture.width)
    heads.load_state_dict(extra)
    encoder.requires_grad_(False)
    encoder.eval()
    table = encoder.words
    words = _Words(table.weight)
    encoder.words = words  # type: ignore[assignment]
    optimiser = torch.optim.AdamW([words.marks, *heads.entity.parameters()], lr=rate, weight_decay=0.0)
    rates = schedule(optimiser, steps)
    step = epoch = 0
    counts: dict[str, Any] = dict(material.counts) | {"rivals": len(made)}
    while step < steps:
        rows = epoch_rows(material, tokenizer, seed, epoch, 0.0, mix)
        about = [i for i, places in enumerate(rows.marks) if places]
        counts["rows"] = len(about)
        for place in batches([len(rows.tokens[i]) for i in about], BATCH, seed, epoch):
            if step == steps:
                break
            seed_step(seed, step)
            chosen = [about[i] for i in place]
            ids, there = padded([rows.tokens[i] for i in chosen])
            states = hidden(encoder, ids, there)
            at = torch.stack([states[n, rows.marks[i]].mean(dim=0) for n, i in enumerate(chosen)])
            logits = functional.linear(at, heads.entity.weight, heads.entity.bias)
            loss = functional.cross_entropy(logits, rows.targets[chosen])
            value = finite(loss, step + 1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rates.step()
            step += 1
            if step % 20 == 0:
                print(f"step {step} of {steps}: loss {value:.3f}", flush=True)
        epoch += 1
    encoder.words = table
    with torch.no_grad():
        table.weight[: OTHER + 1] = words.marks
    return encoder, heads, counts


class _Words(nn.Module):
    """The word embeddings, of which only those of the marks are trained."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table
        self.marks = nn.Parameter(table[: OTHER + 1].detach().clone())

    def forward(self, ids: Tensor) -> Tensor:
        marked = (ids > 0) & (ids <= OTHER)
        found = functional.embedding(ids, self.table)
        return torch.where(marked[:, :, None], functional.embedding(ids.clamp(max=OTHER), self.marks), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="default")
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--feeds", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = open_weights(given.base)
    encoder, heads, counts = train_companies(
        given.data, given.labels, given.feeds, given.base, given.steps, given.learning_rate, given.seed
    )
    validation, fitted = judge(encoder, heads, load_tokenizer(folder.tokenizer), given.data)
    write_weights(
        given.out,
        name=folder.name,
        tensors=encoder.state_dict() | {f"heads.{key}": value for key, value in heads.state_dict().items()},
        architecture=encoder.architecture,
        tokenizer=folder.tokenizer,
        calibration=read_calibration(folder.card["calibration"]),
        heads=replace(fitted.heads, severity_scale=folder.card["heads"]["severity_scale"]),
        licence=folder.card["licence"],
    )
    record = {"base": folder.sha256, "steps": given.steps, "learning_rate": given.learning_rate, "seed": given.seed}
    write_record(given.out / "record.json", record | {"data": counts, "validation": validation})


if __name__ == "__main__":
    main()
