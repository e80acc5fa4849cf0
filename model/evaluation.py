"""Measure scores against labels: accuracy, F1 and calibration error.

Pure functions of arrays, and one of a file. A scorer is anything with `score(texts) -> (n, 3)`.
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
"""Bins of the expected calibration error."""


class Scores(Protocol):
    """The part of a scorer that `evaluate` needs."""

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return probabilities (n, 3) in the order of LABELS."""
        ...


def evaluate(scorer: Scores, path: Path) -> dict[str, float | int]:
    """Score a labelled file (.jsonl or .jsonl.gz with `text` and `label`) and compare the scores with the labels.

    Returns `n` (rows compared), `skipped` (rows with a label other than the three), `accuracy`, `weighted_f1`,
    `macro_f1` and `ece`. Raises LabelledDataError, which names file and line.
    """
    data = read_labelled(Path(path))
    return {**measure(scorer.score(data.texts), data.labels), "n": len(data.texts), "skipped": data.skipped}


def measure(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return accuracy, weighted_f1, macro_f1 and ece of probabilities (n, k) against labels (n,), all in 0..1.

    A class that is neither predicted nor present does not count in macro_f1.
    """
    predicted = probabilities.argmax(axis=1)
    f1, support = _f1(predicted, labels, probabilities.shape[1])
    return {
        "accuracy": float((predicted == labels).mean()),
        "weighted_f1": float((f1 * support).sum() / support.sum()),
        "macro_f1": float(f1[(support > 0) | _among(predicted, len(f1))].mean()),
        "ece": ece(probabilities, labels),
    }


def ece(probabilities: NDArray[Any], labels: NDArray[np.int64], bins: int = BINS) -> float:
    """Return the expected calibration error of the top label, in bins of equal mass, debiased, in 0..1.

    The plain estimate adds up |confidence - accuracy| over the bins. It is too large, because each bin's accuracy is
    noisy: a perfectly calibrated model would not get 0. To estimate the noise's share, draw the bins' accuracies again
    from their normal approximation and see how much the estimate grows; then subtract that (Kumar, Liang & Ma 2019,
    "Verified Uncertainty Calibration"; Bröcker 2012 for the same correction of squared errors). The mean of a folded
    normal gives the growth in closed form, without random numbers. Not-a-number probabilities give nan.

    Parameters
    ----------
    probabilities
        (n, k), rows that sum to 1.
    labels
        (n,), indices of columns.
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
    return float(np.maximum(0.0, 2 * plain - drawn_again))  # the built-in max would turn nan into 0


def ece_by_chance(probabilities: NDArray[Any], draws: int = 1_000, seed: int = 0) -> NDArray[np.float64]:
    """Return the calibration errors (draws,) that these scores would have if they were calibrated, in ascending order.

    Labels are drawn from the scores themselves, so nothing but the number of rows and the confidence of the scores
    makes these errors. An `ece` below most of them says nothing against the calibration.

    Parameters
    ----------
    probabilities
        (n, k), rows that sum to 1.
    """
    random = np.random.default_rng(seed)
    top = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1).astype(np.float64)
    other = (top + 1) % probabilities.shape[1]
    labels = (np.where(random.random(len(top)) < confidence, top, other) for _ in range(draws))
    return np.sort([ece(probabilities, drawn) for drawn in labels])


def _folded_normal_mean(mean: float, deviation: float) -> float:
    """Return E|X| for a normal X (Leone, Nelson & Nottingham 1961)."""
    if deviation == 0:
        return abs(mean)
    ratio = mean / deviation
    tail = deviation * math.sqrt(2 / math.pi) * math.exp(-ratio * ratio / 2)
    return tail + mean * math.erf(ratio / math.sqrt(2))


def _f1(predicted: NDArray[Any], labels: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return F1 (classes,) and support (classes,). A class that is neither predicted nor present has F1 0."""
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    support = np.bincount(labels, minlength=classes)
    total = support + np.bincount(predicted, minlength=classes)
    return 2 * hits / np.maximum(total, 1), support


def _among(predicted: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return which classes are predicted at least once: (classes,) bool."""
    return np.bincount(predicted, minlength=classes) > 0
