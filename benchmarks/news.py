"""What weights make of news: bad news called bad, severity, companies, hard kinds, explanations.

    python -m benchmarks.news [--weights NAMES] [--labelled DIR] [--cases FILE]

The role-swap test has sentences of its own: none is in contrasts.toml, from which texts with two companies are trained.
The 60 further sentences of data/roles.tsv were written after all training, and before any weights read them.
A pair is right where the one who fares worse has the lower balance (positive less negative probability), in the
sentence and in the same sentence with the names swapped. The calibration was fitted on the validation rows, as in
benchmarks/accuracy.py; F1, accuracy and shares do not depend on it.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.errors import ModelError
from foreshock.model.evaluation import measure
from foreshock.model.explain import deletion_area, explain
from foreshock.model.labels import LABELS
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.training.guided import Guided, read_guided
from foreshock.model.training.news_figures import VALID
from foreshock.model.training.news_rows import split_finentity

COMMAND = "python -m benchmarks.news"
CASES = Path("../shared/cases/60-sentiment/texts.tsv")
ROLES = Path(__file__).parent / "data" / "roles.tsv"
EXPLAINED = 60
# Who fares worse: b in the first list, a in the second.
WORSE_B = (
    "{a} drags {b} before a judge over unpaid royalties",
    "{a} edges past {b} in yearly deliveries",
    "{a} poaches {b}'s biggest client",
    "{a} demands 3 billion from {b} for copying its chip",
    "{b} crumbles under competition from {a}",
    "{a} says {b} stole its designs",
    "{b} must compensate {a} for broken contract, panel decides",
    "{a} soars, {b} tumbles after trial results",
    "{a} pulls its money out of troubled {b}",
    "Shoppers desert {b} for {a}",
    "{a} takes the crown from {b} as top seller of tyres",
    "{b} left behind as {a} lands airline's engine order",
    "{a} halts shipments to {b} over unpaid bills",
    "Analysts prefer {a} to {b}",
)
WORSE_A = (
    "{a} is no match for {b} in cloud services",
    "{a} ordered to hand patents to {b}",
    "{a} sheds customers, {b} picks them up",
    "{a} slips to third place behind {b}",
    "Court sides with {b} against {a}",
    "{a} concedes defeat to {b} in race for 5G licence",
    "{a} pays {b} 90 million after losing arbitration",
    "Funds swap {a} for {b}",
    "{a} warns on profit; competitor {b} lifts outlook",
    "{a} fined after tip-off from {b}",
)
NAMES = (("Brindlewick", "Norvane"), ("Castellor Bank", "Tarvale"), ("Pemmond Air", "Ostrale Air"), ("$BRWK", "$NRVN"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default,permissive")
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    parser.add_argument("--cases", type=Path, default=CASES)
    given = parser.parse_args()
    found = {
        Path(name).name: of(load_scorer(name, "cpu"), given.labelled, given.cases) for name in given.weights.split(",")
    }
    print(json.dumps(record("news", COMMAND, {"weights": found}), indent=2))


def of(scorer: Scorer, labelled: Path, cases: Path) -> dict[str, Any]:
    """All figures of one set of weights; those that need a head are None where it has none."""
    rows = [row for row in read_guided(labelled / "news_valid.jsonl.gz") if row.label is not None]
    texts, truth = [row.text for row in rows], np.array([LABELS.index(str(row.label)) for row in rows])
    severity = np.array([row.severity for row in rows])
    scores = scorer.score(texts)
    called = scores.argmax(axis=1) == 0
    figures: dict[str, Any] = {"rows": len(rows), **_rounded(measure(scores, truth))}
    for name, least in (("bad", 1), ("serious", 2), ("grave", 3)):
        figures[f"{name}_rows"] = int((severity >= least).sum())
        figures[f"{name}_called_negative"] = round(float(called[severity >= least].mean()), 4)
    figures["others"] = {}
    for name in VALID[1:]:
        of_set = [row for row in read_guided(labelled / f"{name}_valid.jsonl.gz") if row.label is not None]
        labels = np.array([LABELS.index(str(row.label)) for row in of_set])
        figures["others"][name] = _rounded(measure(scorer.score([row.text for row in of_set]), labels))
    figures["kinds"] = _kinds(scorer, cases) if cases.is_file() else None
    figures["explanations"] = _explanations(scorer, texts[:EXPLAINED])
    try:
        values = scorer.severity(texts)
    except ModelError:
        return figures | {"severity": None, "companies": None, "roles_swapped": None, "roles_written_later": None}
    figures["severity"] = {
        "mean_absolute_error": round(float(np.abs(values - severity).mean()), 3),
        "correlation": round(float(np.corrcoef(values, severity)[0, 1]), 3),
        "mean_by_level": [round(float(values[severity == level].mean()), 2) for level in range(4)],
    }
    figures["companies"] = {
        "sentfin": _companies(scorer, read_guided(labelled / "sentfin_valid.jsonl.gz")),
        "finentity": _companies(scorer, split_finentity(labelled)[1]),
        "news": _companies(scorer, read_guided(labelled / "news_valid.jsonl.gz")),
    }
    figures["roles_swapped"] = _roles(scorer, [(t, 1) for t in WORSE_B] + [(t, 0) for t in WORSE_A])
    figures["roles_written_later"] = _roles(scorer, roles_written_later())
    return figures


def _companies(scorer: Scorer, rows: Sequence[Guided]) -> dict[str, Any]:
    """Accuracy and macro F1 by company, asked towards it and, for comparison, by the text's own score."""
    asked = [
        (row.text, name, label, len(set(row.entities.values())) > 1)
        for row in rows
        for name, label in row.entities.items()
    ]
    truth = np.array([LABELS.index(label) for *_, label, _ in asked])
    differ = np.array([d for *_, d in asked])
    towards = scorer.score([text for text, *_ in asked], [name for _, name, *_ in asked])
    by_text = scorer.score([text for text, *_ in asked])
    figures: dict[str, Any] = {"companies": len(asked), "where_fates_differ": int(differ.sum())}
    for name, scores in (("towards", towards), ("by_text", by_text)):
        right = scores.argmax(axis=1) == truth
        measured = measure(scores, truth)
        figures[name] = {
            "accuracy": round(float(right.mean()), 4),
            "macro_f1": round(measured["macro_f1"], 4),
            "ece": round(measured["ece"], 4),
            "accuracy_where_fates_differ": round(float(right[differ].mean()), 4),
        }
    return figures


def roles_written_later() -> list[tuple[str, int]]:
    """The sentences of data/roles.tsv, each with the one who fares worse (0: a, 1: b)."""
    with ROLES.open(encoding="utf-8") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["text"], "ab".index(row["worse"])) for row in rows]


def _roles(scorer: Scorer, sentences: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """How often the one who fares worse (0: a, 1: b) has the lower balance, with a 95 % interval over sentences."""
    right = np.empty((len(sentences), 2 * len(NAMES)), np.bool_)
    for place, (sentence, worse) in enumerate(sentences):
        for column, (a, b) in enumerate((*NAMES, *(names[::-1] for names in NAMES))):
            text = sentence.format(a=a, b=b)
            balance = _balance(scorer.score([text, text], [a, b]))
            right[place, column] = balance[worse] < balance[1 - worse]
    each = right.mean(axis=1)
    drawn = np.random.default_rng(0).choice(each, (10_000, len(each))).mean(axis=1)
    return {
        "sentences": len(sentences),
        "texts": right.size,
        "right": round(float(right.mean()), 4),
        "interval": [round(float(end), 4) for end in np.percentile(drawn, (2.5, 97.5))],
        "always_right": int(right.all(axis=1).sum()),
    }


def _kinds(scorer: Scorer, cases: Path) -> dict[str, Any]:
    with cases.open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = scorer.score([text for *_, text in rows]).argmax(axis=1)
    kinds: dict[str, list[bool]] = defaultdict(list)
    for (kind, label, _), i in zip(rows, found, strict=True):
        kinds[kind].append(LABELS[i] == label)
    right = [one for each in kinds.values() for one in each]
    return {
        "texts": len(right),
        "right": round(float(np.mean(right)), 4),
        "by_kind": {kind: f"{sum(each)} of {len(each)}" for kind, each in kinds.items()},
    }


def _explanations(scorer: Scorer, texts: Sequence[str]) -> dict[str, Any]:
    """The area under the label's probability while words are taken out: those named first, and random ones."""
    random = np.random.default_rng(0)
    named, others = [], []
    for text in texts:
        explained = explain(scorer, text)
        if len(explained.words) < 4:
            continue
        towards = 1 if np.argmax(explained.scores) == 2 else -1
        words = sorted(explained.words, key=lambda word: -towards * word.contribution)
        named.append(deletion_area(scorer, explained, words))
        shuffled = [[words[i] for i in random.permutation(len(words))] for _ in range(3)]
        others.append(float(np.mean([deletion_area(scorer, explained, order) for order in shuffled])))
    return {
        "texts": len(named),
        "area_named": round(float(np.mean(named)), 3),
        "area_random": round(float(np.mean(others)), 3),
    }


def _balance(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    balance: NDArray[np.float32] = scores[:, 2] - scores[:, 0]
    return balance


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in figures.items()}


if __name__ == "__main__":
    main()
