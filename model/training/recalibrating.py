"""Fit the calibration of weights anew, with the style of texts, and write it into their `model.json`.

The one idea: a calibration changes no decision and no tensor, so it costs a minute and not a training. The style is
fitted on training texts, the calibration on validation rows; figures are cross-fitted. Both are of sets that the
weights learned from: weights that anyone may use must have nothing of sets for research.

    python -m foreshock.model.training.recalibrating --data DIR --weights NAME_OR_FOLDER [--write]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import Styled, cross_fitted, fit_calibration
from foreshock.model.encoder import Encoder, pack
from foreshock.model.errors import ModelError
from foreshock.model.evaluation import ece
from foreshock.model.heads import split_heads
from foreshock.model.labels import LABELS
from foreshock.model.storage import open_weights, read_tensors
from foreshock.model.style import fit_style
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.guided import read_guided
from foreshock.model.training.news_figures import VALID
from foreshock.model.training.steps import by_length

TEXTS = 3_000
"""Training texts of each set that a style is fitted on, at most."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Validation rows of all sets: logits (n, 3), labels (n,), sources (n,), and the style with their embeddings."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    sources: NDArray[np.int64]
    styled: Styled


def read_validation(weights: str, data: Path, sets: Sequence[str] = VALID) -> Validation:
    """Embed the validation rows of the sets in `data`, and training texts for the style.

    Raises LabelledDataError and ModelError.
    """
    folder = open_weights(weights)
    encoder = Encoder(Architecture(**folder.card["architecture"]))
    encoder.load_state_dict(split_heads(read_tensors(folder))[0])
    encoder.eval()
    tokenizer = load_tokenizer(folder.tokenizer)

    def embedded(name: str, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows = [row for row in read_guided(data / f"{name}_{part}.jsonl.gz") if row.label is not None]
        rows = rows[:TEXTS] if part == "train" else rows
        labels = np.array([LABELS.index(str(row.label)) for row in rows])
        return embed(encoder, tokenize(tokenizer, [row.text for row in rows])), labels

    style = fit_style([embedded(name, "train")[0] for name in sets])
    valid = [embedded(name, "valid") for name in sets]
    states = np.concatenate([of for of, _ in valid])
    with torch.inference_mode():
        logits = encoder.classify(torch.from_numpy(states)).numpy()
    sources = np.repeat(np.arange(len(sets)), [len(of) for of, _ in valid])
    return Validation(logits, np.concatenate([labels for _, labels in valid]), sources, (style, states))


def recalibrate(weights: str, data: Path, *, write: bool = False) -> dict[str, Any]:
    """Return the cross-fitted `ece` of the calibration by margin and of the one with a style, by set.

    With `write`, fit the one with a style on all rows and put it into `model.json`. Raises LabelledDataError and
    ModelError, also where the card says that the weights learned from none of the sets with validation rows.
    """
    learned_from = open_weights(weights).card.get("trained_on", VALID)
    sets = [s for s in VALID if s in learned_from]
    if not sets:
        raise ModelError(f"{weights}: learned from none of the sets {', '.join(VALID)}, so it keeps its calibration")
    made = read_validation(weights, data, sets)
    rows = made.logits, made.labels, made.sources
    figures = {
        name: {s: round(ece(scores[made.sources == i], made.labels[made.sources == i]), 4) for i, s in enumerate(sets)}
        for name, scores in (("margin", cross_fitted(*rows)), ("styled", cross_fitted(*rows, made.styled)))
    }
    if write:
        file = open_weights(weights).path / "model.json"
        card = json.loads(file.read_text(encoding="utf-8"))
        card["calibration"] = asdict(fit_calibration(*rows, made.styled))
        file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return figures


@torch.inference_mode()
def embed(encoder: Encoder, tokens: Sequence[list[int]], batch: int = 64) -> NDArray[np.float32]:
    """Embeddings (n, width) in the order of `tokens`, computed in float32."""
    found = np.empty((len(tokens), encoder.architecture.width), dtype=np.float32)
    for chosen in by_length(tokens, batch):
        found[chosen] = encoder.embed(pack([tokens[i] for i in chosen])).numpy()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--write", action="store_true", help="write it into model.json")
    given = parser.parse_args()
    print(json.dumps(recalibrate(given.weights, given.data, write=given.write), indent=2))


if __name__ == "__main__":
    main()
