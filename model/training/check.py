"""The built-in check: labelled headlines of our own, to see whether an adapted head still reads other news.

The one idea: the lines in check.toml are our own, follow the guideline, and no shipped weights were trained on them. So
a loss on them is a loss on news that a desk did not label. They are the same texts for everybody, and each time.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np

from foreshock.model.labels import LABELS, Labelled
from foreshock.model.training.contrasts import fill
from foreshock.model.training.headlines import read_slots, slot_values

WORDS = Path(__file__).with_name("check.toml")
TIMES = {"negative": 1, "neutral": 2, "positive": 2}
"""How often a line of each label is filled: then the labels are about as frequent as in news."""


@cache
def built_in_check() -> Labelled:
    """Return the texts of the built-in check with their labels."""
    random, slots = np.random.default_rng(1), read_slots()
    made: dict[str, int] = {}
    for frame in tomllib.loads(WORDS.read_text(encoding="utf-8"))["frame"]:
        for template in frame["texts"]:
            for _ in range(TIMES[frame["label"]]):
                text = fill(template, slot_values(slots, random), slots, random)
                made.setdefault(text.lower() if frame["kind"] == "post" else text, LABELS.index(frame["label"]))
    return Labelled(list(made), np.array(list(made.values()), dtype=np.int64), 0)
