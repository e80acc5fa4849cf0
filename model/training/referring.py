"""Write into a model's card what is usual for it: `foreshock.model.reference`.

The one idea: which tokens are familiar follows from the training texts, the figures from held-out ones, so that the
confidence is not that of texts learned by heart. Only figures and bits are written.

    python -m foreshock.model.training.referring --data DIR --weights NAME_OR_FOLDER [--write]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import read_labelled
from foreshock.model.reference import Familiar, Reference, figures_of
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.contrasts import contrasts
from foreshock.model.training.generated import generate
from foreshock.model.training.headlines import headlines
from foreshock.model.training.written import NAME as LINES
from foreshock.model.training.written import written

MADE = 3_000
"""Texts of each set that is made and not read."""


def refer(weights: Path | str, train: Sequence[str], valid: Mapping[str, Sequence[str]], *, write: bool) -> Reference:
    """Measure weights on their training texts and on held-out texts by set. With `write`, put it into `model.json`.

    Raises ModelError, and LabelledDataError where a set has no held-out text.
    """
    if empty := [name for name, texts in valid.items() if not texts]:
        raise LabelledDataError(f"{', '.join(empty)}: no held-out text; the card says what is usual of these")
    folder = open_weights(str(weights))
    tokenizer = load_tokenizer(folder.tokenizer)
    vocabulary, unknown = folder.card["architecture"]["vocabulary"], tokenizer.token_to_id("[UNK]")
    familiar = Familiar.of_texts(tokenize(tokenizer, train), vocabulary, unknown)
    scorer = load_scorer(str(weights), "cpu")
    figures = []
    for name, texts in sorted(valid.items()):
        scores = scorer.score_stories([(text, "") for text in texts])
        figures.append(figures_of(name, scores, familiar.novelty(tokenize(tokenizer, texts))))
    reference = Reference(tuple(figures), familiar.to_card())
    if write:
        file = folder.path / "model.json"
        card = json.loads(file.read_text(encoding="utf-8"))
        card["reference"] = reference.to_json()
        file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return reference


def texts_of(sets: Sequence[str], data: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the training texts of sets, and the held-out texts of those that have a validation part.

    Raises LabelledDataError where a set is neither in `data` nor made by this program.
    """
    train: list[str] = []
    valid: dict[str, list[str]] = {}
    for name in sets:
        if name in ("contrasts", "headlines"):
            made = contrasts(MADE, seed=0) if name == "contrasts" else headlines(MADE, seed=0)
            train += [row.text for row in made]
        elif name == LINES:
            train += [row.text for row in written()]
        elif name == "generated":
            train += generate(MADE, seed=0).texts
        else:
            train += read_labelled(data / f"{name}_train.jsonl.gz").texts
            if (held_out := data / f"{name}_valid.jsonl.gz").is_file():
                valid[name] = read_labelled(held_out).texts
    return train, valid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of labelled sets")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--write", action="store_true", help="write it into model.json")
    given = parser.parse_args()
    sets = open_weights(given.weights).card.get("trained_on")
    if not sets:
        parser.error(f"{given.weights}: its card does not say what it was trained on; train it again")
    train, valid = texts_of(sets, given.data)
    reference = refer(given.weights, train, valid, write=given.write)
    print(json.dumps(reference.without_tokens(), indent=2))


if __name__ == "__main__":
    main()
