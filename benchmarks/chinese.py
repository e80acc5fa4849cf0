"""Measure the Chinese weights on held-out texts, and what they cost beside `default`: a table in docs/model.md.

    python -m benchmarks.chinese [--labelled DIR] [--weights chinese]

*zhfin* is its validation part: company news labelled good or bad, no neutral ones, so whatever is called neutral counts
as wrong; `either` is the share of right labels if only bad and good may be chosen. *lines* are the validation lines of
chinese.tsv: written and labelled by the language model that wrote the training lines, so they are easier than a feed.
Intervals are of 95 %, by 2,000 draws of the rows with replacement.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.ingest.scripts import is_chinese
from foreshock.model.evaluation import ece, measure
from foreshock.model.labels import LABELS, read_labelled
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights
from foreshock.model.training.chinese import lines
from foreshock.model.training.guided import read_guided

DRAWS = 2_000
TURNS = 6
COMMAND = "python -m benchmarks.chinese"
NEGATIVE, NEUTRAL, POSITIVE = range(3)


def weighted_f1(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    return float(measure(scores, truth)["weighted_f1"])


def interval(of: Callable[[NDArray[np.int64]], float], rows: int) -> list[float]:
    """Return the 2.5 % and 97.5 % quantiles of a figure over draws of `rows` rows with replacement."""
    random = np.random.default_rng(0)
    found = [of(random.integers(rows, size=rows)) for _ in range(DRAWS)]
    return [round(float(q), 3) for q in np.quantile(found, [0.025, 0.975])]


def sentiment(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, Any]:
    chosen = scores.argmax(axis=1)
    return {
        "rows": len(truth),
        "weighted_f1": round(weighted_f1(scores, truth), 3),
        "interval": interval(lambda rows: weighted_f1(scores[rows], truth[rows]), len(truth)),
        "right": round(float((chosen == truth).mean()), 3),
        "recall": {
            label: round(float((chosen[truth == i] == i).mean()), 3) for i, label in enumerate(LABELS) if i in truth
        },
        "called_neutral": round(float((chosen == NEUTRAL).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    parser.add_argument("--weights", default="chinese")
    parser.add_argument("--out", default="chinese", help="the name of the result")
    given = parser.parse_args()
    scorer = load_scorer(given.weights, "cpu", threads=1, cached=0)
    zhfin = read_labelled(given.labelled / "zhfin_valid.jsonl.gz")
    scores = scorer.score(zhfin.texts)
    either = (scores[:, NEGATIVE] > scores[:, POSITIVE]) == (zhfin.labels == NEGATIVE)
    found: dict[str, Any] = {"zhfin": sentiment(scores, zhfin.labels) | {"either": round(float(either.mean()), 3)}}

    valid = [one for one in lines() if one.part == "valid"]
    texts = [one.row.text for one in valid]
    truth = np.array([LABELS.index(str(one.row.label)) for one in valid])
    grave = np.array([one.row.severity for one in valid])
    scores = scorer.score(texts)
    chosen = scores.argmax(axis=1)
    found["lines"] = sentiment(scores, truth) | {"ece": round(ece(scores, truth), 3)}
    translated = np.array([one.kind == "translated" for one in valid])
    found["lines"]["written"] = round(weighted_f1(scores[~translated], truth[~translated]), 3)
    found["lines"]["translated"] = round(weighted_f1(scores[translated], truth[translated]), 3)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for one, right in zip(valid, chosen == truth, strict=True):
        by_kind[one.kind].append(bool(right))
    found["kinds"] = {kind: [sum(of), len(of)] for kind, of in sorted(by_kind.items())}
    severity = scorer.severity(texts)
    found["severity"] = {
        "mean_absolute_error": round(float(np.abs(severity - grave).mean()), 3),
        "correlation": round(float(np.corrcoef(severity, grave)[0, 1]), 3),
        "mean_by_level": {int(n): round(float(severity[grave == n].mean()), 2) for n in np.unique(grave)},
        "serious_called_negative": [int((chosen[grave >= 2] == NEGATIVE).sum()), int((grave >= 2).sum())],
        "grave_called_negative": [int((chosen[grave == 3] == NEGATIVE).sum()), int((grave == 3).sum())],
    }
    found["companies"] = companies(scorer, [(one.row.text, dict(one.row.entities)) for one in valid])
    found["default_on_chinese"] = sentiment(load_scorer("default", "cpu", threads=1).score(zhfin.texts), zhfin.labels)
    found["guess"] = guess(given.labelled, texts)
    found["speed"] = speed(given.weights, given.labelled, [*zhfin.texts, *texts])
    folder = open_weights(given.weights)
    found["weights"] = {
        "parameters": folder.card["parameters"],
        "layers": folder.card["architecture"]["layers"],
        "mb": round((folder.tensors.stat().st_size + folder.tokenizer.stat().st_size) / 1e6, 1),
    }
    print(json.dumps(record(given.out, COMMAND, found), indent=2, ensure_ascii=False))


def companies(scorer: Any, rows: list[tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """How often the head for companies would be right, and the text's own score; also where fates differ in a text."""
    asked = [(text, name, fate, len(set(of.values())) > 1) for text, of in rows for name, fate in of.items()]
    truth = np.array([LABELS.index(fate) for *_, fate, _ in asked])
    differ = np.array([of for *_, of in asked])
    texts = [text for text, *_ in asked]
    scorer.answers.reads_companies = True  # it is not used, and this says why
    towards = scorer.score(texts, [name for _, name, *_ in asked]).argmax(axis=1) == truth
    scorer.answers.reads_companies = False
    whole = scorer.score(texts).argmax(axis=1) == truth
    return {
        "asked": len(asked),
        "towards": round(float(towards.mean()), 3),
        "text": round(float(whole.mean()), 3),
        "differ": {"asked": int(differ.sum()), "towards": int(towards[differ].sum()), "text": int(whole[differ].sum())},
    }


def guess(labelled: Path, texts: list[str]) -> dict[str, Any]:
    """How often the script says what a text is: Chinese sets, and English ones."""
    zhfin = [row.text for part in ("train", "valid") for row in read_guided(labelled / f"zhfin_{part}.jsonl.gz")]
    english = [
        row.text
        for name in ("news", "tfns", "fpb", "sentfin")
        for row in read_guided(labelled / f"{name}_train.jsonl.gz")
    ]
    return {
        "zhfin": [sum(map(is_chinese, zhfin)), len(zhfin)],
        "lines": [sum(map(is_chinese, texts)), len(texts)],
        "english_called_chinese": [sum(map(is_chinese, english)), len(english)],
    }


def speed(weights: str, labelled: Path, chinese: list[str]) -> dict[str, Any]:
    """Texts a processor second of these weights and of `default`, each on its own language, in turns on one thread."""
    english = read_labelled(labelled / "news_valid.jsonl.gz").texts[: 2 * len(chinese)]
    both = {name: load_scorer(name, "cpu", threads=1, cached=0) for name in ("default", weights)}
    texts = {"default": english, weights: chinese}
    for name, scorer in both.items():
        scorer.score(texts[name][:64])
    spent = dict.fromkeys(both, 0.0)
    for turn in range(TURNS):
        for name, scorer in both.items():
            begun = time.process_time()
            scorer.score([f"{text} {turn}" for text in texts[name]])
            spent[name] += time.process_time() - begun
    rates = {name: round(TURNS * len(texts[name]) / spent[name]) for name in both}
    return {
        "default_texts_a_cpu_second": rates["default"],
        "chinese_texts_a_cpu_second": rates[weights],
        "ratio": round(rates[weights] / rates["default"], 2),
    }


if __name__ == "__main__":
    main()
