"""Labelled sentences made for this project: a training set that anyone may use, whatever for.

The one idea: a template says one thing in the words of company releases, of headlines or of traders' posts, its slots
make it many, and its label is known because we wrote it. Templates and words stand in generated.toml. What a figure
rose to is always more than what it rose from. Everything follows from the seed.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from foreshock.model.labels import LABELS, Labelled

NAME = "generated"
WORDS = Path(__file__).with_name("generated.toml")
# Of 100 texts, how many are releases, headlines and posts.
KINDS = {"release": 60, "headline": 25, "post": 15}

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


def generate(count: int, seed: int) -> Labelled:
    """`count` different texts in random order, a third of each label. The same count and seed give the same texts."""
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    random = np.random.default_rng([seed, count])
    kinds = [kind for kind, share in KINDS.items() for _ in range(share)]
    made: dict[str, int] = {}
    while len(made) < count:
        label = len(made) % len(LABELS)
        templates = words[LABELS[label]][kinds[random.integers(len(kinds))]]
        text = _fill(templates[random.integers(len(templates))], words["slots"], random)
        made.setdefault(text, label)
    texts = list(made)
    order = random.permutation(count)
    return Labelled([texts[i] for i in order], np.array([made[texts[i]] for i in order], dtype=np.int64), 0)


def _fill(template: str, slots: dict[str, list[str]], random: np.random.Generator) -> str:
    values = _values(slots, random)

    def chosen(match: re.Match[str]) -> str:
        options = match[1].split("|")
        return str(options[random.integers(len(options))])

    def filled(match: re.Match[str]) -> str:
        name = match[1]
        if name in values:
            return values[name]
        return slots[name][random.integers(len(slots[name]))]

    text = template
    while _CHOICE.search(text) or _SLOT.search(text):
        text = _SLOT.sub(filled, _CHOICE.sub(chosen, text))
    text = " ".join(text.split())
    return text[0].upper() + text[1:]


def _values(slots: dict[str, list[str]], random: np.random.Generator) -> dict[str, str]:
    """Slots whose values go together: the larger and the smaller sum in one currency, a company and another."""

    def one(name: str) -> Any:
        return slots[name][random.integers(len(slots[name]))]

    def company() -> str:
        return f"{one('stem')}{one('end')}{one('form')}"

    unit = one("unit")
    low = float(np.round(np.exp(random.uniform(0, 6)), 1))
    high = float(np.round(low * random.uniform(1.05, 2.5) + 0.2, 1))
    price = float(np.round(np.exp(random.uniform(1, 5)), 1))
    share = float(np.round(random.uniform(2, 40), int(random.integers(2))))
    metric, period = one("metric"), one("period")
    return {
        "company": company(),
        "other": company(),
        "metric": metric,
        "Metric": metric[0].upper() + metric[1:],
        "period": period,
        "period_": re.sub(r"^(in|for|during) ", "", period),
        "before_no": "for the year",
        "lead_": one("lead").replace("U.S.", "U.S. "),
        "high": unit.replace("{small}", _number(high)),
        "low": unit.replace("{small}", _number(low)),
        "pct": _number(share),
        "pctlow": _number(round(share / 2, 1)),
        "price": _number(price),
        "pricehigh": _number(round(price * 1.2, 1)),
        "pricelow": _number(round(price * 0.8, 1)),
        "count": str(int(random.integers(3, 99)) * 10),
        "count10": str(int(random.integers(3, 12))),
        "digit": str(int(random.integers(1, 10))),
    }


def _number(value: float) -> str:
    return f"{value:g}" if value >= 1_000_000 or value != int(value) else f"{int(value)}"
