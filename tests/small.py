"""A very small encoder and short invented headlines, for tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from foreshock.model.architecture import Architecture
from foreshock.model.calibration import Calibration
from foreshock.model.encoder import Encoder
from foreshock.model.storage import open_weights, read_tensors, write_weights
from foreshock.model.training.base import Base

SMALL = Architecture(vocabulary=40, width=32, layers=2, heads=2, inner=64, positions=128)
WORDS = {
    "negative": ("falls", "loss", "cuts"),
    "neutral": ("meets", "names", "says"),
    "positive": ("rises", "gain", "wins"),
}
NAMES = ("alda", "bero", "cima", "dolo", "enta", "fira", "gelo", "hora")
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def small_base(folder: Path, words: Sequence[str]) -> Base:
    """Build a base whose tokenizer, written into `folder`, knows NAMES and `words`."""
    known = {word: i for i, word in enumerate([*MARKS, *NAMES, *words])}
    tokenizer = Tokenizer(models.WordPiece(known, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[CLS]", "[SEP]", "[MASK]"])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    tensors = {name: value for name, value in Encoder(SMALL).state_dict().items() if not name.startswith("head.")}
    return Base(SMALL, tensors, folder / "tokenizer.json", "small")


def without_heads(out: Path) -> str:
    """Write the shipped encoder without heads for severity and companies into `out`; returns what names it."""
    folder = open_weights("default")
    write_weights(
        out,
        name="plain",
        tensors={name: tensor for name, tensor in read_tensors(folder).items() if not name.startswith("heads.")},
        architecture=Architecture(),
        tokenizer=folder.tokenizer,
        calibration=Calibration(),
        licence="none",
    )
    return str(out)


def labelled_rows(n: int, seed: int) -> list[dict[str, str]]:
    """Make rows of a labelled file, equally many with each label: some names, then one word that decides the label."""
    random = np.random.default_rng(seed)
    labels = [sorted(WORDS)[i % 3] for i in range(n)]
    return [
        {
            "text": " ".join([*random.choice(NAMES, random.integers(3, 9)), str(random.choice(WORDS[label]))]),
            "label": label,
        }
        for label in labels
    ]
