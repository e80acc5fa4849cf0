"""What the shipped weights reach on the validation parts: a table in docs/model.md.

    python -m benchmarks.accuracy [--labelled DIR]

*shipped* is what `foreshock model evaluate` says. The calibration was fitted on these very rows, so `cross_fitted` is
the calibration error where no row is scored by a calibration that has seen it; `uncalibrated` is that of none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.calibration import cross_fitted
from foreshock.model.encoder import Architecture, Encoder, load_tokenizer, tokenize
from foreshock.model.evaluation import ece, measure
from foreshock.model.finetuning import predict
from foreshock.model.labelled import find_sets, read_sets
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_tensors

SETS = ("fpb", "tfns", "fiqa", "sentfin")
CALIBRATED_ON = {"default": SETS, "permissive": ("tfns",)}
COMMAND = "python -m benchmarks.accuracy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    given = parser.parse_args()
    _, valid, _ = read_sets(find_sets(given.labelled, SETS), SETS)
    truth = {s: valid[s].labels for s in SETS}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, sets in CALIBRATED_ON.items():
        scorer, folder = load_scorer(name, "cpu"), open_weights(name)
        found[name] = {s: measure(scorer.score(valid[s].texts), valid[s].labels) for s in SETS}
        encoder = Encoder(Architecture(**folder.card["architecture"]))
        encoder.load_state_dict(read_tensors(folder))
        tokenizer = load_tokenizer(folder.tokenizer)
        by_set = {s: predict(encoder, tokenize(tokenizer, valid[s].texts)) for s in SETS}
        logits, labels = (np.concatenate([of[s] for s in sets]) for of in (by_set, truth))
        sources = np.repeat(np.arange(len(sets)), [len(by_set[s]) for s in sets])
        scores = cross_fitted(logits, labels, sources)
        for i, s in enumerate(sets):
            found[name][s]["ece_cross_fitted"] = ece(scores[sources == i], valid[s].labels)
        for s in SETS:
            plain = torch.softmax(torch.from_numpy(by_set[s]), dim=1).numpy()
            found[name][s]["ece_uncalibrated"] = ece(plain, valid[s].labels)
    rows = {s: len(valid[s].texts) for s in SETS}
    print(json.dumps(record("accuracy", COMMAND, {"rows": rows, "weights": found}), indent=2))


if __name__ == "__main__":
    main()
