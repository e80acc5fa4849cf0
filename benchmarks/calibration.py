"""How far the calibration of `default` is from what chance alone makes, and what other weights of the rows would give.

    python -m benchmarks.calibration [--labelled DIR]

*as used*: the scores of the product on the validation rows, on which the calibration was fitted. *by chance*: labels
are drawn from these scores, so a perfect calibration would show this error: the mean, and what 19 of 20 draws stay
below. *cross-fitted*: each row is scored by a calibration that was fitted on four fifths of the other rows, averaged
over ways to draw the folds; each set counts alike, as in what ships, or each row.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.calibration import calibrated, fit_calibration, read_calibration
from foreshock.model.evaluation import ece, ece_by_chance
from foreshock.model.labels import read_labelled
from foreshock.model.rowwise import row_logits
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_arrays
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.news_figures import VALID

COMMAND = "python -m benchmarks.calibration"
BINS = (10, 12, 15, 18, 20)
FOLDS, WAYS = 5, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = {s: read_labelled(given.labelled / f"{s}_valid.jsonl.gz") for s in VALID}
    scorer, folder = load_scorer("default", "cpu"), open_weights("default")
    shipped, tensors = read_calibration(folder.card["calibration"]), read_arrays(folder)
    assert shipped.style is not None
    tokens = tokenize(load_tokenizer(folder.tokenizer), [text for of in data.values() for text in of.texts])
    states = scorer._engine.embed(tokens)
    logits = row_logits(states, *(tensors[f"head.{part}"].astype(np.float64) for part in ("weight", "bias")))
    labels = np.concatenate([of.labels for of in data.values()])
    sources = np.repeat(np.arange(len(data)), [len(of.labels) for of in data.values()])
    rows = logits.astype(np.float32), labels, states, shipped.style
    found: dict[str, dict[str, Any]] = {}
    for s, of in data.items():
        scores = scorer.score(of.texts)
        chance = ece_by_chance(scores, draws=500)
        found[s] = {"rows": len(of.labels), "as_used": _figures(scores, of.labels)}
        found[s]["by_chance"] = _rounded({"mean": chance.mean(), "most": np.quantile(chance, 0.95)})
    for name, counted in (("sets_alike", sources), ("rows_alike", np.zeros_like(sources))):
        ways = [_cross_fitted(*rows, counted, seed) for seed in range(WAYS)]
        for i, s in enumerate(data):
            each = [_figures(scores[sources == i], labels[sources == i]) for scores in ways]
            found[s][name] = _rounded({key: np.mean([one[key] for one in each]) for key in each[0]})
    print(json.dumps(record("calibration", COMMAND, {"bins": BINS, "ways": WAYS, "sets": found}), indent=2))


def _cross_fitted(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    states: NDArray[np.float32],
    style: Any,
    counted: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float64]:
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    found = np.empty((len(labels), logits.shape[1]))
    for left_out in range(FOLDS):
        held, fitted = fold == left_out, fold != left_out
        made = fit_calibration(logits[fitted], labels[fitted], counted[fitted], (style, states[fitted]))
        found[held] = calibrated(torch.from_numpy(logits[held]), made, states[held]).numpy()
    return found


def _figures(scores: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """`ece` in 15 bins and its mean over BINS; how much higher the confidence is than the accuracy; log-likelihood."""
    right = scores.argmax(axis=1) == labels
    return _rounded(
        {
            "ece": ece(scores, labels),
            "ece_of_several_bins": np.mean([ece(scores, labels, bins) for bins in BINS]),
            "too_sure": scores.max(axis=1).mean() - right.mean(),
            "negative_log_likelihood": -np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-9)).mean(),
        }
    )


def _rounded(figures: dict[str, Any]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in figures.items()}


if __name__ == "__main__":
    main()
