"""Measure the shipped weights on the validation parts: a table in docs/model.md.

    python -m benchmarks.accuracy [--labelled DIR]

*shipped* is the result of `foreshock model evaluate`. The calibration was fitted on these same rows. `cross_fitted` is
the calibration error if no row is scored by a calibration that has seen it (a style is fitted on training texts), and
`uncalibrated` the error without calibration. Exact copies of validation rows are never trained on;
`without_near_copies` leaves out near copies, too.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.architecture import Architecture
from foreshock.model.calibration import cross_fitted
from foreshock.model.encoder import Encoder
from foreshock.model.evaluation import ece, measure
from foreshock.model.heads import split_heads
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_tensors
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.finetuning import predict
from foreshock.model.training.labelled import find_sets, fingerprint, read_sets
from foreshock.model.training.recalibrating import read_validation

SETS = ("news", "fpb", "tfns", "fiqa", "sentfin")
CALIBRATED_ON = {"default": SETS, "permissive": ("tfns",)}
# Two texts are near copies if they share at least this part of their words.
NEAR = 0.8
COMMAND = "python -m benchmarks.accuracy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    given = parser.parse_args()
    train, valid, _ = read_sets(find_sets(given.labelled, SETS), SETS)
    truth = {s: valid[s].labels for s in SETS}
    near = {s: near_copies(valid[s].texts, train[s].texts) for s in SETS}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, sets in CALIBRATED_ON.items():
        scorer, folder = load_scorer(name, "cpu"), open_weights(name)
        found[name] = {s: measure(scorer.score(valid[s].texts), valid[s].labels) for s in SETS}
        encoder = Encoder(Architecture(**folder.card["architecture"]))
        encoder.load_state_dict(split_heads(read_tensors(folder))[0])
        tokenizer = load_tokenizer(folder.tokenizer)
        by_set = {s: predict(encoder, tokenize(tokenizer, valid[s].texts)) for s in SETS}
        logits, labels = (np.concatenate([of[s] for s in sets]) for of in (by_set, truth))
        sources = np.repeat(np.arange(len(sets)), [len(by_set[s]) for s in sets])
        styled = None
        if folder.card["calibration"].get("style") is not None:
            styled = read_validation(name, given.labelled, sets).styled
        scores = cross_fitted(logits, labels, sources, styled)
        for i, s in enumerate(sets):
            found[name][s]["ece_cross_fitted"] = ece(scores[sources == i], valid[s].labels)
            others = measure(by_set[s][~near[s]], truth[s][~near[s]])
            found[name][s]["weighted_f1_without_near_copies"] = others["weighted_f1"]
        for s in SETS:
            plain = torch.softmax(torch.from_numpy(by_set[s]), dim=1).numpy()
            found[name][s]["ece_uncalibrated"] = ece(plain, valid[s].labels)
    rows = {s: len(valid[s].texts) for s in SETS}
    copies = {s: int(near[s].sum()) for s in SETS}
    print(json.dumps(record("accuracy", COMMAND, {"rows": rows, "near_copies": copies, "weights": found}), indent=2))


def near_copies(texts: Sequence[str], among: Sequence[str]) -> NDArray[np.bool_]:
    """Return which texts are near copies of one text of `among`: the Jaccard index of their words is NEAR or more.

    Case, punctuation and links are ignored.
    """
    bags = [set(fingerprint(text).split()) for text in among]
    sizes = np.array([len(bag) for bag in bags])
    having: dict[str, list[int]] = defaultdict(list)
    for i, bag in enumerate(bags):
        for word in bag:
            having[word].append(i)
    near = np.zeros(len(texts), dtype=np.bool_)
    for i, text in enumerate(texts):
        words = set(fingerprint(text).split())
        shared = np.bincount([place for word in words for place in having.get(word, ())], minlength=len(bags))
        near[i] = (shared >= NEAR * np.maximum(1, len(words) + sizes - shared)).any()
    return near


if __name__ == "__main__":
    main()
