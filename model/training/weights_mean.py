"""The weighted mean of several sets of weights that were trained from one start.

The one idea: what a further training gains on one set, it often loses on another. Between the weights before and after
it lie weights that keep most of both (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). A mean costs no
training.

    python -m foreshock.model.training.weights_mean --data DIR --out DIR --shares 0.5,0.5 FOLDER FOLDER [...]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, split_heads
from foreshock.model.labels import LABELS
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.news_figures import VALID, judge
from foreshock.model.training.referring import refer, texts_of
from foreshock.model.training.steps import versions, write_record


def mean(weights: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the mean of tensors of the same names and shapes, computed in float64. `shares` add up to 1."""
    return {
        name: torch.stack([share * one[name].double() for share, one in zip(shares, weights, strict=True)])
        .sum(dim=0)
        .to(first.dtype)
        for name, first in weights[0].items()
    }


def write_mean(
    data: Path, out: Path, folders: Sequence[Path | str], shares: Sequence[float], *, lower_neutral: float = 0.0
) -> dict[str, Any]:
    """Write to `out` the mean of the weights in `folders` and `record.json`, the record, which it returns.

    lower_neutral: taken from the logit of "neutral" of every text, for weights whose sets call more texts neutral than
    the guideline does.

    Name and licence are those of the last folder. The calibration is fitted anew on the validation rows of the sets
    that the weights were trained on. Raises ModelError where the folders cannot be averaged, and LabelledDataError.
    """
    opened = [open_weights(str(folder)) for folder in folders]
    if len(shares) != len(opened) or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ModelError(f"expected a share for each of {len(opened)} folders, and 1 as their sum; found {shares}")
    first, last = opened[0], opened[-1]
    alike = {(str(one.card["architecture"]), one.sha256["tokenizer.json"], "heads" in one.card) for one in opened}
    if len(alike) != 1 or "heads" not in first.card:
        raise ModelError("the folders need one architecture and one tokenizer, and heads for severity and companies")
    sets = list(dict.fromkeys(name for one in opened for name in one.card.get("trained_on") or ()))
    train, valid = texts_of(sets, data)
    tensors = mean([read_tensors(one) for one in opened], shares)
    tensors["head.bias"][LABELS.index("neutral")] -= lower_neutral
    architecture = Architecture(**first.card["architecture"])
    encoder, heads = Encoder(architecture), Heads(architecture.width)
    body, extra = split_heads(tensors)
    encoder.load_state_dict(body)
    heads.load_state_dict(extra)
    tokenizer = load_tokenizer(first.tokenizer)
    validation, card = judge(encoder, heads, tokenizer, data, [name for name in VALID if name in valid])
    write_weights(
        out,
        name=last.name,
        tensors=tensors,
        architecture=architecture,
        tokenizer=first.tokenizer,
        calibration=card.text,
        heads=card.heads,
        licence=last.card["licence"],
        trained_on=sets,
    )
    refer(out, train, valid, write=True)
    record = {
        "command": "python -m foreshock.model.training.weights_mean --data DIR --out DIR "
        f"--shares {','.join(f'{share:g}' for share in shares)} --lower-neutral {lower_neutral:g} FOLDERS",
        "mean_of": [
            {"share": share, "sha256": one.sha256["model.safetensors"]}
            for share, one in zip(shares, opened, strict=True)
        ],
        "calibration": asdict(card.text),
        "validation": validation,
        "versions": versions(),
    }
    return write_record(out / "record.json", record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shares", required=True, help="the share of each folder, with commas between")
    parser.add_argument("--lower-neutral", type=float, default=0.0, help="taken from the logit of neutral")
    parser.add_argument("folders", nargs="+", help="folders of weights, or `default` or `permissive`")
    given = parser.parse_args()
    try:
        shares = [float(share) for share in given.shares.split(",")]
    except ValueError:
        parser.error(f"--shares {given.shares}: expected numbers with commas between, such as 0.5,0.5")
    write_mean(given.data, given.out, given.folders, shares, lower_neutral=given.lower_neutral)


if __name__ == "__main__":
    main()
