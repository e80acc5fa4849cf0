"""What weights reach on the validation parts of the sets that news is trained with, and the calibrations fitted there.

The one idea: what is asked of a score in use is what is measured: is grave news called bad, is severity right on the
whole, is each company of a text read right where their fates differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional

from foreshock.model.calibration import Calibration, calibrated, fit_calibration
from foreshock.model.encoder import Encoder, pack
from foreshock.model.entities import mark
from foreshock.model.evaluation import measure
from foreshock.model.heads import LEVELS, Heads, HeadsCard, expected, find_marks, gather
from foreshock.model.labels import LABELS
from foreshock.model.tokenizing import tokenize
from foreshock.model.training.guided import Guided, read_guided
from foreshock.model.training.news_rows import split_finentity
from foreshock.model.training.quick import Wide, padded, pooled
from foreshock.model.training.quick import hidden as quick
from foreshock.model.training.steps import by_length, softmax
from foreshock.model.training.wide import moved

VALID = ("news", "fpb", "tfns", "fiqa", "sentfin")


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted on the validation rows: the calibration of a text's score, and those of the heads."""

    text: Calibration
    heads: HeadsCard


def judge(
    encoder: Encoder, heads: Heads, tokenizer: Tokenizer, data: Path, fitted_on: Sequence[str] = VALID
) -> tuple[dict[str, Any], Fitted]:
    """Measure on the validation parts (and the held-out fifth of finentity), and fit the calibrations on those of
    `fitted_on`. Where news is not one of these, the heads get the calibration of the text.

    F1, accuracy and the shares of bad news need no calibration. Severity is compared as an expected value.
    """
    encoder.eval()
    texts = {s: [row for row in read_guided(data / f"{s}_valid.jsonl.gz") if row.label is not None] for s in VALID}
    truth = {s: np.array([LABELS.index(str(row.label)) for row in rows]) for s, rows in texts.items()}
    logits, grades = {}, {}
    for s, rows in texts.items():
        logits[s], grades[s] = predict(encoder, heads, tokenize(tokenizer, [row.text for row in rows]))
    found: dict[str, Any] = {s: _rounded(measure(softmax(logits[s]), truth[s])) for s in VALID}
    severity = np.array([row.severity for row in texts["news"]])
    called = logits["news"].argmax(axis=1) == 0
    for name, least in (("negative", 1), ("serious", 2), ("grave", 3)):
        found["news"][f"{name}_called_negative"] = _share(called[severity >= least])
    scale = severity_scale(grades["news"], severity) if "news" in fitted_on else 1.0
    values = expected(torch.from_numpy(grades["news"]), scale).numpy()
    found["severity"] = {
        "mean_absolute_error": round(float(np.abs(values - severity).mean()), 4),
        "correlation": round(float(np.corrcoef(values, severity)[0, 1]), 4),
        "bias": round(float((values - severity).mean()), 4),
    }
    companies, towards = judge_companies(encoder, heads, tokenizer, data)
    found |= companies
    sources = np.repeat(np.arange(len(fitted_on)), [len(truth[s]) for s in fitted_on])
    its_logits, its_truth = (np.concatenate([of[s] for s in fitted_on]) for of in (logits, truth))
    text = fit_calibration(its_logits, its_truth, sources)
    for s in VALID:
        scores = calibrated(torch.from_numpy(logits[s]), text).numpy()
        found[s]["ece"] = round(measure(scores, truth[s])["ece"], 4)
    return found, Fitted(text, HeadsCard(scale, towards if "news" in fitted_on else text))


def judge_companies(
    encoder: Encoder, heads: Heads, tokenizer: Tokenizer, data: Path
) -> tuple[dict[str, Any], Calibration]:
    """Measure the sentiment towards companies on held-out rows, and fit its calibration there, each set alike."""
    encoder.eval()
    sets = {s: read_guided(data / f"{s}_valid.jsonl.gz") for s in ("sentfin", "news")}
    sets["finentity"] = split_finentity(data)[1]
    judged = {s: judge_rows(encoder, heads, tokenizer, rows) for s, rows in sets.items()}
    logits, truth = (np.concatenate([of[part] for of in judged.values()]) for part in (1, 2))
    which = np.repeat(np.arange(len(sets)), [len(labels) for *_, labels in judged.values()])
    return {f"companies_{s}": figures for s, (figures, *_) in judged.items()}, fit_calibration(logits, truth, which)


@torch.inference_mode()
def predict(
    encoder: Encoder,
    heads: Heads,
    tokens: Sequence[list[int]],
    marks: Sequence[list[int]] | None = None,
    batch: int = 64,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (n, 3) of the class, and of severity; with marks, logits towards the marked company, and zeros."""
    logits = np.zeros((len(tokens), len(LABELS)), dtype=np.float32)
    grades = np.zeros((len(tokens), LEVELS), dtype=np.float32)
    for chosen in by_length(tokens, batch):
        if isinstance(encoder, Wide):
            ids, there = padded(moved([tokens[i] for i in chosen]))
            states = quick(encoder, ids, there)
            if marks is not None:
                at = torch.stack([states[n, marks[i]].mean(dim=0) for n, i in enumerate(chosen)])
                logits[chosen] = heads.towards(at).numpy()
            else:
                embedded = pooled(states, there)
                logits[chosen], grades[chosen] = encoder.classify(embedded).numpy(), heads.grade(embedded).numpy()
            continue
        packed = pack([tokens[i] for i in chosen])
        hidden = encoder.hidden(packed)
        if marks is not None:
            logits[chosen] = heads.towards(gather(hidden, find_marks(packed, [marks[i] for i in chosen]))).numpy()
        else:
            embedded = encoder.pool(hidden, packed)
            logits[chosen], grades[chosen] = encoder.classify(embedded).numpy(), heads.grade(embedded).numpy()
    return logits, grades


def judge_rows(
    encoder: Encoder, heads: Heads, tokenizer: Tokenizer, rows: Sequence[Guided], *, unspaced: bool = False
) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.int64]]:
    """Figures, logits (n, 3) and labels (n,) of the companies that the rows name. unspaced: as of `mentions`."""
    asked = [
        (row.text, name, LABELS.index(label), len(set(row.entities.values())) > 1)
        for row in rows
        for name, label in row.entities.items()
    ]
    marked = mark(tokenizer, [text for text, *_ in asked], [name for _, name, *_ in asked], unspaced=unspaced)
    there = [(one, *a[2:]) for one, a in zip(marked, asked, strict=True) if one is not None]
    logits, _ = predict(encoder, heads, [one.ids for one, *_ in there], [one.marks for one, *_ in there])
    labels = np.array([label for _, label, _ in there])
    differ = np.array([d for *_, d in there])
    right = logits.argmax(axis=1) == labels
    figures = {
        "companies": len(asked),
        "not_in_the_text": len(asked) - len(there),
        "accuracy": _share(right),
        "macro_f1": round(measure(softmax(logits), labels)["macro_f1"], 4),
        "where_fates_differ": {"companies": int(differ.sum()), "accuracy": _share(right[differ])},
    }
    return figures, logits, labels


def severity_scale(grades: NDArray[np.float32], severity: NDArray[np.int64]) -> float:
    """The factor on the logits of severity that makes the labels likeliest: one number, so no order changes."""
    logits = torch.from_numpy(grades.astype(np.float64))
    answers = (torch.from_numpy(severity)[:, None] > torch.arange(LEVELS)).double()
    candidates = np.geomspace(0.25, 4, 81)
    losses = [float(functional.binary_cross_entropy_with_logits(logits * c, answers)) for c in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def _share(hits: NDArray[np.bool_]) -> float | None:
    """The share of hits; None of none."""
    return round(float(hits.mean()), 4) if len(hits) else None


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in figures.items()}
