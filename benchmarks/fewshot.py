"""Measure the use of 8, 16 or 64 labelled texts a class, with and without pretraining: a table in docs/model.md.

    python -m benchmarks.fewshot --pretrained DIR [--labelled DIR] [--seeds N]

There are two ways, each from the plain all-MiniLM-L6-v2 and from DIR, which `foreshock model pretrain` wrote. *frozen*
trains a logistic head on the unchanged embeddings. *tuned* follows SetFit (Tunstall et al. 2022, "Efficient Few-Shot
Learning Without Prompts"): it first tunes the encoder contrastively on the few examples, here with the supervised
contrastive loss, which uses all pairs of a batch at once, and then trains the head. The examples come from the rows
that the ablation fine-tunes on. Both ways are measured on the first MEASURED rows that the ablation judges by. Finished
cells are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.ablation import SHARED, split
from benchmarks.recording import RESULTS, record
from foreshock.model.encoder import Encoder, pack
from foreshock.model.evaluation import measure
from foreshock.model.labels import LABELS, Labelled
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.base import Base, minilm, read_base
from foreshock.model.training.losses import supervised_contrastive
from foreshock.model.training.probing import embed, fit_head, head_logits
from foreshock.model.training.similarity import cosine

SHOTS = (8, 16, 64)
SEEDS = {"frozen": 10, "tuned": 3}
MEASURED = 400
# The tuning uses SetFit's learning rate, and steps of BATCH examples.
RATE, BATCH, TUNING_STEPS, TEMPERATURE = 2e-5, 24, 30, 0.1
COMMAND = "python -m benchmarks.fewshot --pretrained DIR"


def draw(rows: Labelled, shots: int, seed: int) -> tuple[list[str], Tensor]:
    """Draw `shots` rows of each class, or all if there are fewer."""
    random = np.random.default_rng([seed, shots])
    chosen = np.concatenate([random.permutation(np.flatnonzero(rows.labels == label))[:shots] for label in range(3)])
    return [rows.texts[i] for i in chosen], torch.from_numpy(rows.labels[chosen])


def judge(encoder: Encoder, tokenizer: Any, texts: list[str], labels: Tensor, judged: Labelled) -> float:
    """Return the weighted F1 of a logistic head on the encoder's embeddings."""
    head = fit_head(embed(encoder, tokenizer, texts), labels, len(LABELS))
    logits = head_logits(embed(encoder, tokenizer, judged.texts), head)
    return measure(torch.softmax(logits, dim=1).numpy(), judged.labels)["weighted_f1"]


def tune(encoder: Encoder, tokenizer: Any, texts: list[str], labels: Tensor, seed: int) -> None:
    """Pull the examples of a class together and push the classes apart, in place."""
    tokens = tokenize(tokenizer, texts)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    random = np.random.default_rng([seed, 2])
    torch.manual_seed(seed)
    encoder.train()
    for _ in range(TUNING_STEPS):
        rows = sorted(random.permutation(len(texts))[:BATCH], key=lambda i: len(tokens[i]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded = encoder.embed(pack([tokens[i] for i in rows]))
        loss = supervised_contrastive(cosine(embedded, embedded), labels[torch.tensor(rows)], TEMPERATURE)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def cell(base: Base, way: str, s: str, shots: int, seed: int, pool: Labelled, judged: Labelled) -> float:
    """Return the weighted F1 of one way, from one base, with one draw of examples."""
    torch.manual_seed(seed)
    encoder = Encoder(base.architecture)
    encoder.load_state_dict(base.tensors, strict=False)
    tokenizer = load_tokenizer(base.tokenizer)
    texts, labels = draw(pool, shots, seed)
    if way == "tuned":
        tune(encoder, tokenizer, texts, labels, seed)
    return judge(encoder, tokenizer, texts, labels, judged)


def frozen_cells(base: Base, pool: Labelled, judged: Labelled, seeds: int) -> dict[tuple[int, int], float]:
    """Return the frozen cells for all shots and seeds, by (shots, seed). Each text is embedded once."""
    encoder = Encoder(base.architecture)
    encoder.load_state_dict(base.tensors, strict=False)
    tokenizer = load_tokenizer(base.tokenizer)
    place = {text: i for i, text in enumerate(pool.texts)}
    of_pool, of_judged = (embed(encoder, tokenizer, rows.texts) for rows in (pool, judged))
    cells = {}
    for shots in SHOTS:
        for seed in range(seeds):
            texts, labels = draw(pool, shots, seed)
            head = fit_head(of_pool[torch.tensor([place[text] for text in texts])], labels, len(LABELS))
            scores = torch.softmax(head_logits(of_judged, head), dim=1).numpy()
            cells[shots, seed] = measure(scores, judged.labels)["weighted_f1"]
    return cells


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each way and number of shots: mean over sets and seeds, and the seeds' standard deviation."""
    lines = []
    for way in SEEDS:
        for shots in SHOTS:
            line: dict[str, Any] = {"way": way, "shots": shots}
            for base in ("without", "with"):
                by_seed: dict[int, list[float]] = {}
                for one in cells:
                    if (one["way"], one["shots"], one["base"]) == (way, shots, base):
                        by_seed.setdefault(one["seed"], []).append(one["weighted_f1"])
                whole = [statistics.mean(f1) for f1 in by_seed.values() if len(f1) == 3]
                if whole:
                    spread = statistics.stdev(whole) if len(whole) > 1 else None
                    line[base] = {"mean": statistics.mean(whole), "spread": spread, "seeds": len(whole)}
            if "without" in line and "with" in line:
                lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", type=Path, required=True)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    given = parser.parse_args()
    bases = {"without": minilm(), "with": read_base(given.pretrained)}
    pools, judged = split(given.labelled)
    judged = {s: Labelled(rows.texts[:MEASURED], rows.labels[:MEASURED], 0) for s, rows in judged.items()}
    file = RESULTS / "fewshot.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    cells: list[dict[str, Any]] = kept["cells"] if kept.get("pretrained") == bases["with"].name else []
    done = {(one["base"], one["way"], one["set"], one["shots"], one["seed"]) for one in cells}

    def keep(base: str, way: str, s: str, shots: int, seed: int, f1: float) -> None:
        cells.append({"base": base, "way": way, "set": s, "shots": shots, "seed": seed, "weighted_f1": f1})
        record("fewshot", COMMAND, {"pretrained": bases["with"].name, "cells": cells, "rows": table(cells)})

    for s in pools:
        for name, base in bases.items():
            if (name, "frozen", s, SHOTS[0], 0) not in done:
                for (shots, seed), f1 in frozen_cells(base, pools[s], judged[s], SEEDS["frozen"]).items():
                    keep(name, "frozen", s, shots, seed, f1)
    for seed in range(SEEDS["tuned"]):
        for shots in SHOTS:
            for s in pools:
                for name, base in bases.items():
                    if (name, "tuned", s, shots, seed) not in done:
                        keep(name, "tuned", s, shots, seed, cell(base, "tuned", s, shots, seed, pools[s], judged[s]))
    print(json.dumps(table(cells), indent=2))


if __name__ == "__main__":
    main()
