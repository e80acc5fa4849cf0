"""What the shipped weights reach on the validation parts, and what their calibration brings: tables in docs/model.md.

    python -m benchmarks.accuracy [--labelled DIR]

*shipped* is what `foreshock model evaluate` says. The calibration was fitted on these very rows, so the others are
cross-fitted: no row is scored by a calibration that has seen it (`foreshock.model.calibration.cross_fitted`), once
with the sources guessed, once by the margin alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.calibration import Calibration, cross_fitted
from foreshock.model.encoder import Architecture, Encoder, load_tokenizer, tokenize
from foreshock.model.evaluation import measure
from foreshock.model.finetuning import embed
from foreshock.model.labelled import Labelled, find_sets, read_sets
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_calibration, read_tensors

SETS = ("fpb", "tfns", "fiqa", "sentfin")
CALIBRATED_ON = {"default": SETS, "permissive": ("tfns",)}
COMMAND = "python -m benchmarks.accuracy"


def by_calibration(weights: str, valid: Mapping[str, Labelled]) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of each set, cross-fitted, with no calibration, one by the margin alone, and the shipped kind."""
    folder = open_weights(weights)
    encoder = Encoder(Architecture(**folder.card["architecture"]))
    encoder.load_state_dict(read_tensors(folder))
    sets = CALIBRATED_ON[weights]
    texts = [text for s in sets for text in valid[s].texts]
    embedded = embed(encoder, tokenize(load_tokenizer(folder.tokenizer), texts))
    with torch.inference_mode():
        logits = encoder.classify(embedded)
    labels = np.concatenate([valid[s].labels for s in sets])
    shipped = read_calibration(folder)
    scores = {
        "none": torch.softmax(logits, dim=-1).numpy(),
        "margin": cross_fitted(logits, embedded, labels, Calibration.none(shipped.width).sources),
    }
    if len(shipped.bias):
        scores["margin and source"] = cross_fitted(logits, embedded, labels, shipped.sources)
    ends = np.cumsum([len(valid[s].texts) for s in sets])
    return {
        way: {
            s: measure(found[end - len(valid[s].texts) : end], valid[s].labels)
            for s, end in zip(sets, ends, strict=True)
        }
        for way, found in scores.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    given = parser.parse_args()
    _, valid, _ = read_sets(find_sets(given.labelled, SETS), SETS)
    found: dict[str, Any] = {}
    for name in CALIBRATED_ON:
        scorer = load_scorer(name, "cpu")
        shipped = {s: measure(scorer.score(valid[s].texts), valid[s].labels) for s in SETS}
        found[name] = {"shipped": shipped, "by_calibration": by_calibration(name, valid)}
    rows = {s: len(valid[s].texts) for s in SETS}
    print(json.dumps(record("accuracy", COMMAND, {"rows": rows, "weights": found}), indent=2))


if __name__ == "__main__":
    main()
