"""A large teacher that learned from permitted rows alone tells a small encoder what it makes of permitted texts.

The one idea: the large encoder was pretrained on more text, so it errs elsewhere than the small one. The mean of both
is better than each on news that neither has seen. The small one learns that mean, and, through a map that is thrown
away, where the large one places a text. No text of anyone's news is read but tfns.

    python -m foreshock.model.training.wide_teacher tell --data DIR --teacher DIR --base DIR --labels FILE --out FILE
    python -m foreshock.model.training.wide_teacher learn --data DIR --told FILE --base DIR --labels FILE --out DIR
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder
from foreshock.model.heads import Heads, split_heads
from foreshock.model.storage import open_weights, read_tensors
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.news_rows import PERMISSIVE, UNKNOWN, epoch_rows, read_material
from foreshock.model.training.quick import hidden, padded, pooled
from foreshock.model.training.steps import (
    batches,
    by_depth,
    finite,
    load_checkpoint,
    save_checkpoint,
    schedule,
    seed_step,
)
from foreshock.model.training.wide import moved, read_teacher

# What is told of: texts alone, each drawn once. Of tfns and the lines all; the frames repeat themselves.
PART = 1024
TEXTS = replace(
    PERMISSIVE,
    repeats={"tfns": 1.0, "own": 0.0, "headlines": 1, "lines": 1},
    alike={},
    differing={},
    contrasts=100,
    turned={"flipped": 300, "negated": 100},
    headlines=300,
    generated=0,
)
COMPANIES = replace(PERMISSIVE, repeats={}, contrasts=1_000, turned={"flipped": 0, "negated": 0}, headlines=3_000)


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """All that decides the result beside the data. teacher: the share of the teacher's logits in what is learned; told:
    the share of that in a target, beside the label. placed: the weight of the distance to the teacher's embedding.
    """

    steps: int = 450
    batch: int = 40
    companies: int = 12
    learning_rate: float = 1.2e-4
    layer_decay: float = 0.9
    teacher: float = 0.45
    told: float = 0.7
    placed: float = 1.0
    averaging: float = 0.99
    seed: int = 0


def tell(data: Path, teacher: Path, base: str, labels: Sequence[Path], out: Path, limit: float) -> None:
    torch.set_grad_enabled(False)
    folder = open_weights(base)
    tokenizer = load_tokenizer(folder.tokenizer)
    material = read_material(data, soft_labels=None, labels=labels, feeds=data, mix=TEXTS)
    rows = epoch_rows(material, tokenizer, 77, 0, 0.0, TEXTS)
    wide, its = read_teacher(teacher)
    small = Encoder(Architecture(**folder.card["architecture"]))
    body, _ = split_heads(read_tensors(folder))
    small.load_state_dict(body)
    small.eval()
    # Rows in random order, so that any first part of them is a fair draw; sorted by length within a part.
    order = np.random.default_rng(5).permutation(len(rows.tokens))
    kept: list[tuple[NDArray[Any], ...]] = []
    began = time.process_time()
    for start in range(0, len(order), PART):
        part = order[start : start + PART]
        part = part[np.argsort([len(rows.tokens[i]) for i in part], kind="stable")]
        for at in range(0, len(part), 64):
            chosen = part[at : at + 64]
            tokens = [rows.tokens[i] for i in chosen]
            ids, there = padded(moved(tokens))
            place = pooled(hidden(wide, ids, there), there)
            ids, there = padded(tokens)
            ours = pooled(hidden(small, ids, there), there)
            kept.append(
                (
                    chosen,
                    wide.classify(place).numpy(),
                    its.grade(place).numpy(),
                    place.half().numpy(),
                    small.classify(ours).numpy(),
                )
            )
        names = ("row", "logits", "grades", "places", "ours")
        found = {name: np.concatenate([one[k] for one in kept]) for k, name in enumerate(names)}
        row = found["row"]
        found |= {
            "targets": rows.targets[row].numpy(),
            "given": rows.grades[row].numpy(),
            "weights": rows.weights[row].numpy(),
        }
        found["lengths"] = np.array([len(rows.tokens[i]) for i in row])
        found["tokens"] = np.concatenate([np.array(rows.tokens[i]) for i in row])
        save_file(found, out)
        print(len(row), "of", len(order), round(time.process_time() - began), "s", flush=True)
        if time.process_time() - began > limit:
            break


def learn(data: Path, told: Path, base: str, labels: Sequence[Path], out: Path, settings: LearnSettings) -> None:
    folder = open_weights(base)
    tokenizer = load_tokenizer(folder.tokenizer)
    known = load_file(told)
    ends = np.cumsum(known["lengths"])
    tokens = [one.tolist() for one in np.split(known["tokens"], ends[:-1])]
    mixed = settings.teacher * known["logits"] + (1 - settings.teacher) * known["ours"]
    soft = torch.softmax(torch.from_numpy(mixed).float(), dim=1)
    targets = settings.told * soft + (1 - settings.told) * torch.from_numpy(known["targets"])
    given = known["given"]
    grades = torch.from_numpy(
        np.where(np.isnan(given), UNKNOWN, 0.5 * given + 0.5 / (1 + np.exp(-known["grades"].astype(np.float32))))
    )
    weights = torch.from_numpy(known["weights"])
    places = torch.from_numpy(known["places"]).float()
    places = functional.normalize(places - places.mean(dim=0), dim=1)
    bound = asdict(settings) | {"base": folder.sha256}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    torch.manual_seed(settings.seed)
    encoder = Encoder(Architecture(**folder.card["architecture"]), 0.1)
    heads = Heads(encoder.architecture.width)
    body, extra = split_heads(read_tensors(folder))
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)
    placing = nn.Linear(encoder.architecture.width, places.shape[1])
    encoder.words.requires_grad_(False)
    encoder.positions.requires_grad_(False)
    groups = by_depth(encoder, encoder.architecture.layers, settings.learning_rate, settings.layer_decay)
    groups.append({"params": list(heads.parameters()), "lr": 3 * settings.learning_rate})
    groups.append({"params": list(placing.parameters()), "lr": 10 * settings.learning_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    rates = schedule(optimiser, settings.steps)
    names = [n for n, p in (*encoder.named_parameters(), *((f"heads.{k}", p) for k, p in heads.named_parameters()))]
    live = [p for _, p in (*encoder.named_parameters(), *heads.named_parameters())]
    average = [p.detach().clone() for p in live]
    step = 0
    if checkpoint.is_file():
        saved = load_checkpoint(checkpoint, bound)
        with torch.no_grad():
            for one, value in zip([*live, *placing.parameters()], saved["weights"], strict=True):
                one.copy_(value)
        optimiser.load_state_dict(saved["optimiser"])
        rates.load_state_dict(saved["schedule"])
        average, step = saved["average"], saved["step"]
    material = read_material(data, soft_labels=None, labels=labels, feeds=data, mix=COMPANIES)
    rows = epoch_rows(material, tokenizer, settings.seed, 0, 0.0, COMPANIES)
    about = np.flatnonzero([bool(marks) for marks in rows.marks])
    asked = batches([len(rows.tokens[i]) for i in about], settings.companies, settings.seed, 0)
    lengths = [len(one) for one in tokens]
    per = len(batches(lengths, settings.batch, settings.seed, 0))
    encoder.train()
    while step < settings.steps:
        epoch, place = divmod(step, per)
        for chosen in batches(lengths, settings.batch, settings.seed, epoch)[place : place + settings.steps - step]:
            seed_step(settings.seed, step)
            ids, there = padded([tokens[i] for i in chosen])
            embedded = functional.dropout(pooled(hidden(encoder, ids, there), there), 0.1)
            logits = functional.linear(embedded, encoder.head.weight, encoder.head.bias)
            loss = (functional.cross_entropy(logits, targets[chosen], reduction="none") * weights[chosen]).mean()
            rated = ~grades[chosen][:, 0].isnan()
            if rated.any():
                found = functional.linear(embedded[rated], heads.severity.weight, heads.severity.bias)
                each = functional.binary_cross_entropy_with_logits(found, grades[chosen][rated], reduction="none")
                loss = loss + 0.3 * (each * torch.tensor((1.0, 1.0, 2.0))).sum() / len(chosen)
            near = functional.cosine_similarity(placing(embedded), places[chosen], dim=1).mean()
            loss = loss + settings.placed * (1 - near)
            which = about[asked[step % len(asked)]]
            ids, there = padded([rows.tokens[i] for i in which])
            states = hidden(encoder, ids, there)
            at = torch.stack([states[n, rows.marks[i]].mean(dim=0) for n, i in enumerate(which)])
            towards = functional.linear(at, heads.entity.weight, heads.entity.bias)
            loss = loss + 0.2 * functional.cross_entropy(towards, rows.targets[which])
            value = finite(loss, step + 1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([*live, *placing.parameters()], 1.0)
            optimiser.step()
            rates.step()
            step += 1
            if step % 5 == 0:
                decay = min(settings.averaging**5, (1 + step / 5) / (10 + step / 5))
                torch._foreach_lerp_(average, [p.detach() for p in live], 1 - decay)
            if step % 20 == 0:
                print(f"step {step} of {settings.steps}: loss {value:.3f} near {float(near.detach()):.3f}", flush=True)
            if step % 50 == 0 or step == settings.steps:
                state: dict[str, Any] = {
                    "weights": [p.detach() for p in (*live, *placing.parameters())],
                    "average": average,
                    "step": step,
                }
                state |= {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict()}
                save_checkpoint(checkpoint, bound, state)
    torch.save(dict(zip(names, average, strict=True)), out / "average.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tell", "learn"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--told", type=Path)
    parser.add_argument("--base", default="permissive")
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=1e9, help="processor seconds of telling")
    parser.add_argument("--steps", type=int, default=450)
    parser.add_argument("--learning-rate", type=float, default=1.2e-4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "tell":
        tell(given.data, given.teacher, given.base, given.labels, given.out, given.limit)
    else:
        settings = LearnSettings(steps=given.steps, learning_rate=given.learning_rate, seed=given.seed)
        learn(given.data, given.told, given.base, given.labels, given.out, settings)


if __name__ == "__main__":
    main()
