"""Make labelled sentences: a training set of this project's own that anyone may use for any purpose.

The one idea: we wrote the templates, so we know their labels. A template speaks as a company release, a headline or a
trader's post; its slots turn it into many sentences. generated.toml holds templates and words. Figures make sense: a
figure that rose is higher than before. The seed decides everything.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from foreshock.model.labels import LABELS, Labelled

NAME = "generated"
"""The name of the set."""
WORDS = Path(__file__).with_name("generated.toml")
"""The file of templates and words."""
KINDS = {"release": 60, "headline": 25, "post": 15}
"""How many of 100 texts are releases, headlines and posts."""

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


def generate(count: int, seed: int) -> Labelled:
    """Make `count` different texts in random order, a third with each label.

    The same count and seed give the same texts.
    """
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
    """Return a sentence of the template: choose one of each [a|b] and fill each {slot}, until none is left."""
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
    """Draw the slots whose values depend on each other, such as a higher and a lower sum in one currency."""

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
    """Write a number without a needless ".0"."""
    return f"{value:g}" if value >= 1_000_000 or value != int(value) else f"{int(value)}"
