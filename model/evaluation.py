"""How good scores are: accuracy, F1 and calibration error against labels.

Pure functions over arrays, and one over a file. A scorer is anything with `score(texts) -> (n, 3)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foreshock.model.labels import read_labelled

BINS = 15


class Scores(Protocol):
    """What `evaluate` needs of a scorer."""

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


def evaluate(scorer: Scores, path: Path) -> dict[str, float | int]:
    """Score a labelled file (.jsonl or .jsonl.gz with `text` and `label`) and compare.

    Returns `n` (rows compared), `skipped` (rows of labels other than the three), `accuracy`, `weighted_f1`, `macro_f1`
    and `ece`. Raises LabelledDataError naming file and line.
    """
    data = read_labelled(Path(path))
    return {**measure(scorer.score(data.texts), data.labels), "n": len(data.texts), "skipped": data.skipped}


def measure(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """accuracy, weighted_f1, macro_f1 and ece of probabilities (n, k) against labels (n,)."""
    predicted = probabilities.argmax(axis=1)
    f1, support = _f1(predicted, labels, probabilities.shape[1])
    return {
        "accuracy": float((predicted == labels).mean()),
        "weighted_f1": float((f1 * support).sum() / support.sum()),
        "macro_f1": float(f1[(support > 0) | _among(predicted, len(f1))].mean()),
        "ece": ece(probabilities, labels),
    }


def ece(probabilities: NDArray[Any], labels: NDArray[np.int64], bins: int = BINS) -> float:
    """Expected calibration error of the top label, in equal-mass bins, debiased.

    The plain estimate adds up |confidence - accuracy| over bins, and is too large because each bin's accuracy is
    noisy: a perfectly calibrated model would not get 0. The noise's share is what the estimate grows by when the
    bins' accuracies are drawn again from their normal approximation; it is subtracted (Kumar, Liang & Ma 2019,
    "Verified Uncertainty Calibration"; Bröcker 2012 for the same correction of squared errors). In closed form, by
    the mean of a folded normal, so that it needs no random numbers. Not below 0.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    order = np.argsort(confidence, kind="stable")
    plain = drawn_again = 0.0
    for rows in np.array_split(order, min(bins, len(order))):
        share = len(rows) / len(order)
        accuracy = float(correct[rows].mean())
        gap = accuracy - float(confidence[rows].mean())
        deviation = math.sqrt(accuracy * (1 - accuracy) / len(rows))
        plain += share * abs(gap)
        drawn_again += share * _folded_normal_mean(gap, deviation)
    return float(np.maximum(0.0, 2 * plain - drawn_again))  # max would make 0 of nan


def _folded_normal_mean(mean: float, deviation: float) -> float:
    """E|X| of a normal X (Leone, Nelson & Nottingham 1961)."""
    if deviation == 0:
        return abs(mean)
    ratio = mean / deviation
    tail = deviation * math.sqrt(2 / math.pi) * math.exp(-ratio * ratio / 2)
    return tail + mean * math.erf(ratio / math.sqrt(2))


def _f1(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """F1 and support of each class; a class that is neither predicted nor there has F1 0."""
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    support = np.bincount(labels, minlength=classes)
    total = support + np.bincount(predicted, minlength=classes)
    return 2 * hits / np.maximum(total, 1), support


def _among(predicted: NDArray[Any], classes: int) -> NDArray[Any]:
    return np.bincount(predicted, minlength=classes) > 0
