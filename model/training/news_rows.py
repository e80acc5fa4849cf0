"""The rows of an epoch of training on news: texts, and texts with one company marked.

The one idea: every epoch is drawn anew from (seed, epoch), so that a text is seen with its names now and without them
then, and a large set gives other rows each time. What is held out (every validation text, and a fifth of finentity) is
in no row, nor is anything made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from foreshock.model.entities import mark
from foreshock.model.labels import LABELS
from foreshock.model.tokenizing import tokenize
from foreshock.model.training.augmentation import flip, negate
from foreshock.model.training.contrasts import contrasts
from foreshock.model.training.guided import NO_SEVERITY, Guided, read_guided, read_labels_by_id
from foreshock.model.training.labelled import fingerprint, validation_fingerprints
from foreshock.model.training.soft_labels import probabilities, read_soft_labels

SMOOTHING = 0.05
# How often a set's texts are seen in an epoch; of a set seen less than once, another part each time. What is labelled
# under the guideline weighs most.
REPEATS: Mapping[str, float] = {"news": 1.5, "own": 2, "fpb": 1, "tfns": 0.8, "fiqa": 3, "sentfin": 0.3}
# The source whose convention the score follows, and the others, which have a bias of their own.
SOURCES = ("news", "fpb", "tfns", "fiqa", "sentfin", "finentity")
# Missing grave news costs most.
WEIGHT = {0: 1.0, 1: 1.0, 2: 1.5, 3: 3.0}
# The share of rows with a marked company in an epoch, where the companies of the text fare alike.
ALIKE = {"news": 0.25, "own": 0.4, "sentfin": 0.15, "finentity": 1.0, "contrasts": 0.3}
# Names replaced by placeholders: the marked one, and all others.
HIDDEN = 0.3
OTHERS_HIDDEN = 0.3
# A text turned round is bad news for good, most of the time; a negated one often says that nothing happened.
FLIPPED = (0.75, 0.15, 0.10)
NEGATED = (0.50, 0.45, 0.05)
TURNED = {"flipped": 1_000, "negated": 700}
# In a longer text, one word turned leaves the rest as it was.
TURNED_WORDS = 20
CONTRASTS = 4_000


@dataclass(frozen=True, slots=True)
class Material:
    """All that epochs are drawn from: rows by source, soft labels by (set, text), and counts for the record."""

    rows: Mapping[str, Sequence[Guided]]
    soft: Mapping[tuple[str, str], NDArray[np.float32]]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to train on.

    tokens, and marks: the places of the marks before a company's name, none where the row is about the text as a whole.
    targets (n, 3); severity (n,) int64, NO_SEVERITY where unknown; sources (n,) int64 of SOURCES; weights (n,).
    """

    tokens: list[list[int]]
    marks: list[list[int]]
    targets: Tensor
    severity: Tensor
    sources: Tensor
    weights: Tensor


@dataclass(slots=True)
class _Draft:
    texts: list[str] = field(default_factory=list)
    targets: list[NDArray[np.float32]] = field(default_factory=list)
    severity: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, text: str, target: NDArray[np.float32], source: str, severity: int, weight: float) -> None:
        self.texts.append(text)
        self.targets.append(target)
        # What is labelled under the guideline has no bias: it is what a score means.
        self.sources.append(SOURCES.index(source) if source in SOURCES else 0)
        self.severity.append(severity)
        self.weights.append(weight)


def read_material(data: Path, *, soft_labels: Path | None, labels: Path | None, feeds: Path | None) -> Material:
    """Read the training parts of news, fpb, tfns, fiqa, sentfin and finentity in `data`, and what is given beside them.

    soft_labels: a file of `foreshock model teach`. labels: labels by id of stories in `feeds`. Raises LabelledDataError
    and UnlabelledDataError.
    """
    held = set(validation_fingerprints(data))
    rows = {
        name: [row for row in read_guided(data / f"{name}_train.jsonl.gz") if fingerprint(row.text) not in held]
        for name in SOURCES
        if name != "finentity"
    }
    kept, held_out = split_finentity(data)
    rows["finentity"] = [row for row in kept if fingerprint(row.text) not in held]
    held |= {fingerprint(row.text) for row in held_out}
    rows = {name: [row for row in of if fingerprint(row.text) not in held] for name, of in rows.items()}
    missing = 0
    if labels is not None and feeds is not None:
        own, missing = read_labels_by_id(labels, feeds)
        rows["own"] = [row for row in own if fingerprint(row.text) not in held]
    rows["contrasts"] = [
        Guided(made.text, made.label, made.severity, made.entities) for made in contrasts(CONTRASTS, seed=0)
    ]
    soft = [row for row in read_soft_labels(soft_labels) if row.variant_of is None] if soft_labels else []
    shares = probabilities(soft)
    by_text = {(row.labelled_set, row.text): shares[i] for i, row in enumerate(soft) if row.labelled_set}
    counts = {name: len(of) for name, of in rows.items()} | {"labels_without_story": missing}
    return Material(rows, by_text, counts)


def split_finentity(data: Path) -> tuple[list[Guided], list[Guided]]:
    """The passages of finentity to train on, and the fifth that is held out: it has no validation part of its own."""
    rows = read_guided(data / "finentity_train.jsonl.gz")
    out = [hashlib.sha256(fingerprint(row.text).encode()).digest()[0] < 256 // 5 for row in rows]
    return [r for r, o in zip(rows, out, strict=True) if not o], [r for r, o in zip(rows, out, strict=True) if o]


def epoch_rows(material: Material, tokenizer: Tokenizer, seed: int, epoch: int, distillation: float) -> Rows:
    """Draw an epoch's rows. distillation: the soft label's share of a target, where a text has one."""
    random = np.random.default_rng([seed, epoch])
    draft = _Draft()
    for name, repeats in REPEATS.items():
        rows = [row for row in material.rows.get(name, ()) if row.label is not None]
        for i in _drawn(len(rows), repeats, random):
            row = rows[i]
            target = _one_hot(row.label)
            soft = material.soft.get((name, row.text))
            if soft is not None:
                target = (1 - distillation) * target + distillation * soft
            draft.add(row.text, target, name, row.severity, WEIGHT[max(0, row.severity)])
    for row in material.rows["contrasts"]:
        draft.add(row.text, _one_hot(row.label), "contrasts", row.severity, 1.0)
    _add_turned(draft, material, random)
    texts = len(draft.texts)
    tokens = tokenize(tokenizer, draft.texts)
    marks: list[list[int]] = [[] for _ in tokens]
    names, others = _add_companies(draft, material, random)
    hidden = (random.random(len(names)) < HIDDEN).tolist()
    kept = list(range(texts))
    for i, marked in enumerate(mark(tokenizer, draft.texts[texts:], names, hidden=hidden, others=others)):
        if marked is not None:
            kept.append(texts + i)
            tokens.append(marked.ids)
            marks.append(marked.marks)
    return Rows(
        tokens,
        marks,
        torch.from_numpy(np.array(draft.targets, dtype=np.float32)[kept]),
        torch.tensor(draft.severity)[kept],
        torch.tensor(draft.sources)[kept],
        torch.tensor(draft.weights)[kept],
    )


def _add_turned(draft: _Draft, material: Material, random: np.random.Generator) -> None:
    """Add texts turned round, by a word of direction or by a "not", with the label that this most often makes."""
    pool = [
        (name, row)
        for name in ("news", "own", "fpb", "tfns", "fiqa")
        for row in material.rows.get(name, ())
        if row.label in ("negative", "positive") and len(row.text.split()) <= TURNED_WORDS
    ]
    for kind, turn, shares in (("flipped", flip, FLIPPED), ("negated", negate, NEGATED)):
        made = 0
        for i in random.permutation(len(pool)):
            name, row = pool[i]
            text = turn(row.text)
            if text is None:
                continue
            opposite, neutral, same = shares
            good = (opposite, neutral, same) if row.label == "positive" else (same, neutral, opposite)
            draft.add(text, np.array(good, dtype=np.float32), name, NO_SEVERITY, 0.7)
            made += 1
            if made == TURNED[kind]:
                break


def _add_companies(draft: _Draft, material: Material, random: np.random.Generator) -> tuple[list[str], list[list[str]]]:
    """Add rows about one company; returns their names, and the other names of their texts that are to be hidden."""
    names: list[str] = []
    others: list[list[str]] = []
    for name, share in ALIKE.items():
        for row in material.rows.get(name, ()):
            differing = len(set(row.entities.values())) > 1
            for company, label in row.entities.items():
                for _ in range(2 if differing and name != "contrasts" else 1):
                    if not differing and random.random() >= share:
                        continue
                    draft.add(row.text, _one_hot(label), name, NO_SEVERITY, 1.0)
                    names.append(company)
                    hide = random.random() < OTHERS_HIDDEN
                    others.append([other for other in row.entities if other != company] if hide else [])
    return names, others


def _drawn(count: int, repeats: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers, each `repeats` times, or a share of them where that is no whole number."""
    whole = int(np.ceil(repeats))
    order = [random.permutation(count) for _ in range(whole)]
    return np.concatenate(order)[: round(repeats * count)] if count else np.empty(0, dtype=np.int64)


def _one_hot(label: str | None) -> NDArray[np.float32]:
    target = np.full(len(LABELS), SMOOTHING / len(LABELS), dtype=np.float32)
    target[LABELS.index(str(label))] += 1 - SMOOTHING
    return target
