"""Made-up news under the guideline: what happens to companies, sectors and markets, for whoever may use no one's texts.

The one idea: each frame in headlines.toml knows its label, how grave it is, and how each company in it fares. Companies
are invented, so nothing is learned about real ones. What a headline begins or ends with (an agency's mark, a source)
says nothing about its label, so it is drawn apart from the frame. The seed decides everything.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foreshock.model.training.contrasts import Contrast, fill, linked

WORDS = Path(__file__).with_name("headlines.toml")
NAME = "headlines"

LABELS = {"neutral": 0.38, "negative": 0.34, "positive": 0.28}
"""The share of each label."""
STYLES = {"headline": 0.66, "post": 0.18, "wire": 0.16}
"""The share of headlines, of traders' posts, and of wires with figures."""
BEFORE = ("Exclusive: ", "UPDATE 1-", "UPDATE 2-", "BRIEF-", "Breaking: ", "RPT-", "Focus: ", "Correction: ")
AFTER = (
    ": sources", " - source", ": CEO", " - FT", ": WSJ", ": Bloomberg", ": report", " - paper", ": minister",
    ": official", ", sources say", " - filing", ": Nikkei", ", analysts say", " - statement",
)  # fmt: skip
MARKED_BEFORE, MARKED_AFTER = 0.12, 0.2
_QUARTERS = ("1ST QTR", "2ND QTR", "3RD QTR", "4TH QTR", "YEAR", "SIX MTHS", "NINE MTHS")


def headlines(count: int, seed: int) -> list[Contrast]:
    """Make `count` different texts in random order. The same arguments give the same texts."""
    random = np.random.default_rng([seed, count, 2])
    frames, slots = _frames()
    made: dict[str, Contrast] = {}
    while len(made) < count:
        label = str(random.choice(list(LABELS), p=list(LABELS.values())))
        style = str(random.choice(list(STYLES), p=list(STYLES.values())))
        choices = frames[label, style]
        frame, template = choices[random.integers(len(choices))]
        row = _one(frame, template, style, slots, random)
        made.setdefault(row.text, row)
    rows = list(made.values())
    return [rows[i] for i in random.permutation(len(rows))]


@cache
def _frames() -> tuple[dict[tuple[str, str], list[tuple[dict[str, Any], str]]], dict[str, list[str]]]:
    """Frames and their templates by label and style; and the slots."""
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    found: dict[tuple[str, str], list[tuple[dict[str, Any], str]]] = {}
    for frame in words["frame"]:
        style = frame["kind"] if frame["kind"] in STYLES else "headline"
        found.setdefault((frame["label"], style), []).extend((frame, template) for template in frame["texts"])
    return found, words["slots"]


def _one(
    frame: dict[str, Any], template: str, style: str, slots: dict[str, list[str]], random: np.random.Generator
) -> Contrast:
    values = slot_values(slots, random)
    text = fill(template, values, slots, random)
    if style == "headline":
        if random.random() < MARKED_BEFORE:
            text = BEFORE[random.integers(len(BEFORE))] + text
        if random.random() < MARKED_AFTER and text[-1] not in "?!":
            text += AFTER[random.integers(len(AFTER))]
    if style == "post" and random.random() < 0.5:
        text = text.lower()
    ours = {name: frame["label"] for name in (values["company"], values["ticker"]) if name.lower() in text.lower()}
    if values["other"] in text:
        ours[values["other"]] = frame.get("other", "neutral")
    return Contrast(text, frame["label"], frame["severity"], ours, frame["kind"])


def slot_values(slots: dict[str, list[str]], random: np.random.Generator) -> dict[str, str]:
    """Draw the slots whose values go together: as `linked`, and what wires write of a company."""
    values = linked(slots, random)
    return values | {
        "COMPANY": values["company"].upper(),
        "code": f"{values['code']}.{'NO'[random.integers(2)]}",
        "qtr": _QUARTERS[random.integers(len(_QUARTERS))],
    }


def read_slots() -> dict[str, list[str]]:
    """Return the words of each slot."""
    return _frames()[1]
