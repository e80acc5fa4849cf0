"""The rows of an epoch of training on news: texts, and texts with one company marked.

The one idea: every epoch is drawn anew from (seed, epoch), so that a text is seen with its names now and without them
then, and a large set gives other rows each time. What is held out (every validation text, and a fifth of finentity) is
in no row, nor is anything made of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from foreshock.model.entities import mark
from foreshock.model.errors import UnlabelledDataError
from foreshock.model.heads import LEVELS
from foreshock.model.labels import LABELS
from foreshock.model.tokenizing import tokenize
from foreshock.model.training.augmentation import flip, negate
from foreshock.model.training.contrasts import contrasts
from foreshock.model.training.generated import generate
from foreshock.model.training.guided import NO_SEVERITY, Guided, read_guided, read_labels_by_id
from foreshock.model.training.headlines import headlines
from foreshock.model.training.labelled import fingerprint, validation_fingerprints
from foreshock.model.training.soft_labels import probabilities, read_soft_labels, without
from foreshock.model.training.written import NAME as LINES
from foreshock.model.training.written import names_of, renamed, written

SMOOTHING = 0.05
UNKNOWN = np.full(LEVELS, np.nan, dtype=np.float32)
# The sets of whose texts an epoch has rows, if a mix says nothing else.
SOURCES = ("news", "fpb", "tfns", "fiqa", "sentfin", "finentity")
# Missing grave news costs most.
WEIGHT = {0: 1.0, 1: 1.0, 2: 1.5, 3: 3.0}
# Names replaced by placeholders: the marked one, and all others.
HIDDEN = 0.3
OTHERS_HIDDEN = 0.3
# A text turned round is bad news for good, most of the time; a negated one often says that nothing happened.
FLIPPED = (0.75, 0.15, 0.10)
NEGATED = (0.50, 0.45, 0.05)
# The share of the written lines that get another company name each time they are drawn.
RENAMED = 0.6
# In a longer text, one word turned leaves the rest as it was.
TURNED_WORDS = 20


@dataclass(frozen=True, slots=True)
class Mix:
    """How many rows of each kind an epoch has.

    repeats: how often a set's texts are seen; of a set seen less than once, another part each time. What is labelled
    under the guideline weighs most. alike, differing: the same for rows with a marked company, where the companies of a
    text fare alike, and where they do not. contrasts: texts of contrasts.toml. turned: texts turned round. streams: how
    often stories with a soft label only are seen. variants: the same for variants of labelled texts. sets: the labelled
    sets that are read. headlines, generated: texts of headlines.toml and of generated.toml. lines: with those of
    written.tsv.
    """

    repeats: Mapping[str, float]
    alike: Mapping[str, float]
    differing: Mapping[str, float]
    contrasts: int
    turned: Mapping[str, int]
    streams: float = 0.0
    variants: float = 0.0
    sets: tuple[str, ...] = SOURCES
    headlines: int = 0
    generated: int = 0
    lines: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The sets that its rows are of, as a card of weights names them."""
        made = {"headlines": self.headlines, "generated": self.generated, LINES: self.lines}
        return *self.sets, "contrasts", *(name for name, there in made.items() if there)


STUDENT = Mix(
    {"news": 1.5, "own": 2, "fpb": 1, "tfns": 1.3, "fiqa": 3, "sentfin": 0.5},
    {"news": 0.25, "own": 0.4, "sentfin": 0.3, "finentity": 1.0, "contrasts": 0.3},
    {"news": 3, "own": 3, "sentfin": 1, "finentity": 2, "contrasts": 1},
    contrasts=3_000,
    turned={"flipped": 1_000, "negated": 700},
    streams=1.0,
    variants=1.0,
)
# A large encoder learns from fewer rows, and each costs five times as much.
TEACHER = Mix(
    {"news": 1.7, "own": 2, "fpb": 0.7, "tfns": 0.3, "fiqa": 1.5, "sentfin": 0.15},
    {"news": 0.05, "own": 0.1, "sentfin": 0.03, "finentity": 0.5, "contrasts": 0.1},
    {"news": 2, "own": 2, "sentfin": 0.3, "finentity": 1.5, "contrasts": 0.5},
    contrasts=1_500,
    turned={"flipped": 0, "negated": 0},
)
# Only what anyone may use for any purpose: tfns, labels of our own on it, and texts of our own.
PERMISSIVE = Mix(
    {"tfns": 1.0, "own": 1.2, "headlines": 1, "generated": 1, "lines": 3},
    {"own": 0.5, "headlines": 0.3, "contrasts": 0.3, "lines": 0.5},
    {"own": 3, "headlines": 1, "contrasts": 1, "lines": 1},
    contrasts=1_500,
    turned={"flipped": 500, "negated": 500},
    sets=("tfns",),
    headlines=4_000,
    generated=500,
    lines=True,
)
MIXES = {"student": STUDENT, "teacher": TEACHER, "permissive": PERMISSIVE}


@dataclass(frozen=True, slots=True)
class Soft:
    """What a teacher that has seen the guideline's rows says of a text: a distribution over the classes, and how likely
    it is at least mild, serious, grave bad news (None: it was not asked). company: whom it was asked about.
    """

    text: str
    target: NDArray[np.float32]
    grades: NDArray[np.float32] | None
    company: str | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """All that epochs are drawn from: rows by source, soft labels by (set, text), soft labels of texts without a label
    of their own (stories; variants of labelled texts), and counts for the record.
    """

    rows: Mapping[str, Sequence[Guided]]
    soft: Mapping[tuple[str, str], Soft]
    streams: Sequence[Soft]
    variants: Sequence[Soft]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to train on.

    tokens, and marks: the places of the marks before a company's name, none where the row is about the text as a whole.
    targets (n, 3); grades (n, 3), probabilities of at least mild, serious, grave, NaN where unknown; weights (n,).
    """

    tokens: list[list[int]]
    marks: list[list[int]]
    targets: Tensor
    grades: Tensor
    weights: Tensor


@dataclass(slots=True)
class _Draft:
    texts: list[str] = field(default_factory=list)
    targets: list[NDArray[np.float32]] = field(default_factory=list)
    grades: list[NDArray[np.float32]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, text: str, target: NDArray[np.float32], grades: NDArray[np.float32] | None, weight: float) -> None:
        self.texts.append(text)
        self.targets.append(target)
        self.grades.append(UNKNOWN if grades is None else grades)
        self.weights.append(weight)


def read_material(
    data: Path,
    *,
    soft_labels: Path | None,
    labels: Sequence[Path],
    feeds: Path | None,
    guided_soft: Iterable[Sequence[tuple[str | None, Soft]]] = (),
    mix: Mix = STUDENT,
) -> Material:
    """Read the training parts of the mix's sets in `data`, make its made-up texts, and read what is given beside them.

    soft_labels: a file of `foreshock model teach`. labels: files of labels by id of stories in `feeds`. guided_soft:
    the soft labels of each teacher. Raises LabelledDataError and UnlabelledDataError.
    """
    held = set(validation_fingerprints(data))
    rows = {
        name: [row for row in read_guided(data / f"{name}_train.jsonl.gz") if fingerprint(row.text) not in held]
        for name in mix.sets
        if name != "finentity"
    }
    if "finentity" in mix.sets:
        kept, held_out = split_finentity(data)
        rows["finentity"] = [row for row in kept if fingerprint(row.text) not in held]
        held |= {fingerprint(row.text) for row in held_out}
    rows = {name: [row for row in of if fingerprint(row.text) not in held] for name, of in rows.items()}
    missing = 0
    for file in labels:
        if feeds is None:
            raise UnlabelledDataError(f"{file}: names stories by id; name the folder of the feeds that hold them")
        own, without_story = read_labels_by_id(file, feeds)
        missing += without_story
        rows["own"] = [*rows.get("own", ()), *(row for row in own if fingerprint(row.text) not in held)]
    made = {"contrasts": contrasts(mix.contrasts, seed=0), "headlines": headlines(mix.headlines, seed=0)}
    rows |= {n: [Guided(one.text, one.label, one.severity, one.entities) for one in of] for n, of in made.items() if of}
    if mix.lines:
        rows[LINES] = list(written())
    if mix.generated:
        texts = generate(mix.generated, seed=0)
        rows["generated"] = [
            Guided(text, LABELS[label], NO_SEVERITY, {}) for text, label in zip(texts.texts, texts.labels, strict=True)
        ]
    soft = without(read_soft_labels(soft_labels), held) if soft_labels else []
    shares = probabilities(soft)
    by_text = {
        (row.labelled_set, row.text): Soft(row.text, shares[i], None)
        for i, row in enumerate(soft)
        if row.labelled_set and row.variant_of is None
    }
    variants = [
        Soft(row.text, shares[i], None) for i, row in enumerate(soft) if row.labelled_set and row.variant_of is not None
    ]
    streams: list[Soft] = []
    ours = {row.text for row in rows.get("own", ())}
    for answers in guided_soft:
        for name, one in answers:
            if one.company is None and (name is not None or one.text in ours):
                by_text[name or "own", one.text] = one
            elif fingerprint(one.text) not in held:
                streams.append(one)
    counts = {name: len(of) for name, of in rows.items()} | {"labels_without_story": missing}
    counts |= {"streams": len(streams), "variants": len(variants)}
    return Material(rows, by_text, streams, variants, counts)


def split_finentity(data: Path) -> tuple[list[Guided], list[Guided]]:
    """The passages of finentity to train on, and the fifth that is held out: it has no validation part of its own."""
    rows = read_guided(data / "finentity_train.jsonl.gz")
    out = [hashlib.sha256(fingerprint(row.text).encode()).digest()[0] < 256 // 5 for row in rows]
    return [r for r, o in zip(rows, out, strict=True) if not o], [r for r, o in zip(rows, out, strict=True) if o]


def epoch_rows(material: Material, tokenizer: Tokenizer, seed: int, epoch: int, distillation: float, mix: Mix) -> Rows:
    """Draw an epoch's rows. distillation: the soft label's share of a target, where a text has one."""
    random = np.random.default_rng([seed, epoch])
    draft = _Draft()
    pool = names_of(material.rows.get(LINES, ()))
    for name, repeats in mix.repeats.items():
        rows = [row for row in material.rows.get(name, ()) if row.label is not None]
        for i in _drawn(len(rows), repeats, random):
            row = _renamed_at_times(rows[i], name, pool, random)
            target, grades = _one_hot(row.label), _grades(row.severity)
            soft = material.soft.get((name, row.text))
            if soft is not None:
                target = (1 - distillation) * target + distillation * soft.target
                if soft.grades is not None and grades is not None:
                    grades = (1 - distillation) * grades + distillation * soft.grades
            draft.add(row.text, target, grades, WEIGHT[max(0, row.severity)])
    for row in material.rows["contrasts"]:
        draft.add(row.text, _one_hot(row.label), _grades(row.severity), 1.0)
    alone = [one for one in material.streams if one.company is None]
    for i in _drawn(len(alone), mix.streams, random):
        draft.add(alone[i].text, alone[i].target, alone[i].grades, 1.0)
    for i in _drawn(len(material.variants), mix.variants, random):
        one = material.variants[i]
        draft.add(one.text, one.target, None, 1.0)
    _add_turned(draft, material, random, mix)
    texts = len(draft.texts)
    tokens = tokenize(tokenizer, draft.texts)
    marks: list[list[int]] = [[] for _ in tokens]
    names, others = _add_companies(draft, material, random, mix)
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
        torch.from_numpy(np.array(draft.grades, dtype=np.float32)[kept]),
        torch.tensor(draft.weights)[kept],
    )


def _add_turned(draft: _Draft, material: Material, random: np.random.Generator, mix: Mix) -> None:
    """Add texts turned round, by a word of direction or by a "not", with the label that this most often makes."""
    pool = [
        row
        for name in ("news", "own", "fpb", "tfns", "fiqa", "headlines", LINES)
        for row in material.rows.get(name, ())
        if row.label in ("negative", "positive") and len(row.text.split()) <= TURNED_WORDS
    ]
    for kind, turn, shares in (("flipped", flip, FLIPPED), ("negated", negate, NEGATED)):
        made = 0
        if not mix.turned[kind]:
            continue
        for i in random.permutation(len(pool)):
            row = pool[i]
            text = turn(row.text)
            if text is None:
                continue
            opposite, neutral, same = shares
            good = (opposite, neutral, same) if row.label == "positive" else (same, neutral, opposite)
            draft.add(text, np.array(good, dtype=np.float32), None, 0.7)
            made += 1
            if made == mix.turned[kind]:
                break


def _renamed_at_times(
    row: Guided, name: str, pool: Mapping[bool, Sequence[str]], random: np.random.Generator
) -> Guided:
    """Return a row of the set `name`: RENAMED of the written lines have another company name of `pool`."""
    return renamed(row, pool, random) if name == LINES and random.random() < RENAMED else row


def _add_companies(
    draft: _Draft, material: Material, random: np.random.Generator, mix: Mix
) -> tuple[list[str], list[list[str]]]:
    """Add rows about one company; returns their names, and the other names of their texts that are to be hidden."""
    names: list[str] = []
    others: list[list[str]] = []
    pool = names_of(material.rows.get(LINES, ()))
    for name, share in mix.alike.items():
        for one in material.rows.get(name, ()):
            row = _renamed_at_times(one, name, pool, random)
            often = mix.differing[name] if len(set(row.entities.values())) > 1 else share
            for company, label in row.entities.items():
                for _ in range(int(often) + int(random.random() < often % 1)):
                    draft.add(row.text, _one_hot(label), None, 1.0)
                    names.append(company)
                    hide = random.random() < OTHERS_HIDDEN
                    others.append([other for other in row.entities if other != company] if hide else [])
    for asked in material.streams:
        if asked.company is not None:
            draft.add(asked.text, asked.target, None, 1.0)
            names.append(asked.company)
            others.append([])
    return names, others


def _drawn(count: int, repeats: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers, each `repeats` times, or a share of them where that is no whole number."""
    whole = int(np.ceil(repeats))
    order = [random.permutation(count) for _ in range(whole)]
    return np.concatenate(order)[: round(repeats * count)] if order and count else np.empty(0, dtype=np.int64)


def _one_hot(label: str | None) -> NDArray[np.float32]:
    target = np.full(len(LABELS), SMOOTHING / len(LABELS), dtype=np.float32)
    target[LABELS.index(str(label))] += 1 - SMOOTHING
    return target


def _grades(severity: int) -> NDArray[np.float32] | None:
    """The probabilities of at least mild, serious, grave of a known severity; None of an unknown one."""
    return None if severity < 0 else (np.arange(LEVELS) < severity).astype(np.float32)
