"""Measure which kinds of crisis weights misread: accounting fraud, a missed coupon, a bank run, a dam that breaks.

    python -m benchmarks.crisis_kinds [--weights NAMES] [--than NAME]

data/crisis_kinds.tsv has 480 pieces of bad news of 40 kinds and 200 that look like them and are neutral or good: what
was denied with proof, cleared, repaid, or happened to a rival. They were written for this file and labelled under the
guideline before any weights read them. Of each kind, one half at random is the *probe*. The *choice* half may say
which kinds a training should learn; the probe may not, so it alone judges weights that were trained afterwards.

data/crisis_second_writer.tsv has 60 pieces of bad news and 40 look-alikes of another writer, who had read none of
these texts and no training line, only a list of kinds. They were written after the second look was trained, and chose
nothing.

The figures are shares that are called negative: of all bad news, of serious and grave ones, and of the look-alikes
(lower is better). With `--than`, each weights' bad news of the probe are compared with those of other weights: by text,
with a bootstrap over texts.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recording import record
from foreshock.model.labels import LABELS
from foreshock.model.scorer import load_scorer

COMMAND = "python -m benchmarks.crisis_kinds"
TEXTS = Path(__file__).parent / "data" / "crisis_kinds.tsv"
BY_ANOTHER = Path(__file__).parent / "data" / "crisis_second_writer.tsv"
HALVES = ("choice", "probe")
DRAWS = 10_000
Called = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Text:
    """A text: its half, the kind of crisis, its label, and the severity of bad news (1 to 3; of others 0)."""

    half: str
    kind: str
    label: str
    severity: int
    text: str


def read_texts(file: Path = TEXTS) -> list[Text]:
    """Read the texts of `file`, in their order."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Text(half, kind, label, int(severity), text) for half, kind, label, severity, text in rows]


def read_by_another(file: Path = BY_ANOTHER) -> dict[str, list[str]]:
    """Read the second writer's texts: the bad ones, and the look-alikes."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        found: dict[str, list[str]] = {"bad": [], "look_alikes": []}
        for label, text in rows:
            found["bad" if label == "negative" else "look_alikes"].append(text)
    return found


def figures(texts: Sequence[Text], called: Called) -> dict[str, Any]:
    """Return the shares called negative, of both halves and of each, and by kind. called: (n,), of each text."""
    halves = np.array([one.half for one in texts])
    kinds = np.array([one.kind for one in texts])

    def by_half(chosen: Called) -> dict[str, Any]:
        return {"both": shares(texts, called, chosen)} | {
            half: shares(texts, called, chosen & (halves == half)) for half in HALVES
        }

    everywhere = by_half(np.ones(len(texts), dtype=bool))
    return everywhere | {"kinds": {kind: by_half(kinds == kind) for kind in dict.fromkeys(kinds.tolist())}}


def shares(texts: Sequence[Text], called: Called, chosen: Called) -> dict[str, Any]:
    """Return how many chosen texts are bad, serious or worse, grave, and look-alikes, and which share is called bad."""
    severity = np.array([one.severity for one in texts])
    groups = {"bad": severity >= 1, "serious": severity >= 2, "grave": severity == 3, "look_alikes": severity == 0}
    found: dict[str, Any] = {}
    for name, belongs in groups.items():
        hits = called[chosen & belongs]
        found[name] = {"texts": len(hits), "called_negative": round(float(hits.mean()), 4) if len(hits) else None}
    return found


def compared(texts: Sequence[Text], ours: Called, theirs: Called) -> dict[str, Any]:
    """Return by how much `ours` is right more often than `theirs` on the probe, with 95 % of draws of its texts."""
    random = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for name, bad in (("bad", True), ("look_alikes", False)):
        rows = [one.half == "probe" and (one.label == "negative") == bad for one in texts]
        gain = (ours[rows] == bad).astype(float) - (theirs[rows] == bad)
        draws = gain[random.integers(len(gain), size=(DRAWS, len(gain)))].mean(axis=1)
        low, high = np.quantile(draws, (0.025, 0.975))
        found[name] = {
            "gained": int((gain > 0).sum()),
            "lost": int((gain < 0).sum()),
            "difference": round(float(gain.mean()), 4),
            "from": round(float(low), 4),
            "to": round(float(high), 4),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="default,permissive")
    parser.add_argument("--than", help="weights that each of these is compared with")
    given = parser.parse_args()
    texts, by_another = read_texts(), read_by_another()

    def called(name: str, texts: Sequence[str]) -> Called:
        scores = load_scorer(name, "cpu").score(texts)
        return np.asarray(scores.argmax(axis=1) == LABELS.index("negative"))

    def of_another(name: str) -> dict[str, Any]:
        return {
            group: {"texts": len(of), "called_negative": round(float(called(name, of).mean()), 4)}
            for group, of in by_another.items()
        }

    ours = [one.text for one in texts]
    names = given.weights.split(",") + ([given.than] if given.than else [])
    found = {Path(name).name: called(name, ours) for name in given.weights.split(",")}
    result: dict[str, Any] = {
        "weights": {name: figures(texts, of) for name, of in found.items()},
        "by_another_writer": {Path(name).name: of_another(name) for name in names},
    }
    if given.than is not None:
        before = called(given.than, ours)
        result["than"] = {"name": given.than, **{name: compared(texts, of, before) for name, of in found.items()}}
    print(json.dumps(record("crisis_kinds", COMMAND, result), indent=2))


if __name__ == "__main__":
    main()
