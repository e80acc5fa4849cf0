"""Headlines of our own that differ in the decisive word, and pairs of companies whose roles are swapped.

The one idea: "loss narrows" and "loss widens" share all words but one, and so do "A sues B" and "B sues A". A model
that has seen both sides of each cannot go by the words that they share. The labels follow the guideline for news: good
or bad for the company that the text is about. Templates stand in contrasts.toml; everything follows from the seed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

WORDS = Path(__file__).with_name("contrasts.toml")
NAME = "contrasts"

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
# A denial is bad news, but mild.
_SIDES = {"good": "positive", "bad": "negative", "mild": "negative", "even": "neutral"}


@dataclass(frozen=True, slots=True)
class Contrast:
    """A made text: its label, its severity (0 to 3), and what it says of each company in it."""

    text: str
    label: str
    severity: int
    entities: dict[str, str]
    kind: str


def contrasts(count: int, seed: int) -> list[Contrast]:
    """Make about `count` different texts. Four fifths name one company, as many on the good side of a pair as on
    the bad one. The others name two, and come twice, the second time with the names swapped. The same arguments give
    the same texts.
    """
    random = np.random.default_rng([seed, count])
    words = read_words()
    made: dict[str, Contrast] = {}
    while len(made) < count * 4 // 5:
        for pair in words["pair"]:
            shared = linked(words["slots"], random)
            for side in ("good", "bad", *(side for side in ("mild", "even") if side in pair)):
                row = _one(pair, side, shared, words["slots"], random)
                made.setdefault(row.text, row)
    while len(made) < count:
        for roles in words["roles"]:
            for row in both(roles, words["slots"], random):
                made.setdefault(row.text, row)
    rows = list(made.values())
    return [rows[i] for i in random.permutation(len(rows))]


@cache
def read_words() -> dict[str, Any]:
    """Read contrasts.toml: templates by kind, and the slots."""
    return tomllib.loads(WORDS.read_text(encoding="utf-8"))


def _one(
    pair: dict[str, Any], side: str, values: dict[str, str], slots: dict[str, list[str]], random: np.random.Generator
) -> Contrast:
    template = pair[side][random.integers(len(pair[side]))]
    label = _SIDES[side]
    text = fill(template, values, slots, random)
    severity = {"bad": pair["severity"], "mild": 1}.get(side, 0)
    named = [name for name in (values["company"], values["ticker"]) if name in text]
    return Contrast(text, label, severity, dict.fromkeys(named, label), pair["kind"])


def both(roles: dict[str, Any], slots: dict[str, list[str]], random: np.random.Generator) -> tuple[Contrast, Contrast]:
    """Make a sentence about two companies, and the same with their names swapped."""
    values = linked(slots, random)
    template = fill(
        roles["text"][random.integers(len(roles["text"]))], values | {"a": "{a}", "b": "{b}"}, slots, random
    )
    first, second = values["company"], values["other"]

    def one(a: str, b: str) -> Contrast:
        text = template.replace("{a}", a).replace("{b}", b)
        return Contrast(text, roles["label"], roles.get("severity", 0), {a: roles["a"], b: roles["b"]}, "roles")

    return one(first, second), one(second, first)


def fill(template: str, values: dict[str, str], slots: dict[str, list[str]], random: np.random.Generator) -> str:
    """Choose one of each [a|b] and fill each {slot}, from `values` where it is there, else from `slots`."""

    def chosen(match: re.Match[str]) -> str:
        options = match[1].split("|")
        return str(options[random.integers(len(options))])

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        return values[name] if name in values else slots[name][random.integers(len(slots[name]))]

    text = template
    # Choices first, from the innermost: a slot stands for a whole word and holds no choice.
    while _CHOICE.search(text):
        text = _CHOICE.sub(chosen, text)
    text = " ".join(_SLOT.sub(filled, text).split())
    return text if text.startswith(("{", "$")) else text[0].upper() + text[1:]


def linked(slots: dict[str, list[str]], random: np.random.Generator) -> dict[str, str]:
    """Slots whose values go together: the larger figure and the smaller, a company and another."""

    def one(name: str) -> str:
        return slots[name][random.integers(len(slots[name]))]

    def company() -> str:
        return one("stem") + one("end") + one("form")

    first = second = company()
    while second.split()[0] == first.split()[0]:
        second = company()
    low = int(random.integers(2, 90))
    high = low + int(random.integers(2, 90))
    return {
        "company": first,
        "other": second,
        "ticker": one("ticker"),
        "code": first.split()[0][:4].upper(),
        "low": str(low),
        "high": str(high),
        "low2": f"{low / 60:.2f}",
        "high2": f"{high / 60:.2f}",
        "pct": str(int(random.integers(2, 40))),
        "count": str(int(random.integers(3, 99)) * 10),
        "digit": str(int(random.integers(2, 10))),
        "quarter": str(int(random.integers(1, 5))),
    }
