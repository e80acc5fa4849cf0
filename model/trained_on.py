"""The years of the texts that the shipped weights were trained on, as their card says them.

A backtest over these years is judged by a model that has read what came after.
"""

from __future__ import annotations

import re
from pathlib import Path

from foreshock.model.adapted import NAMES, read_adapted

CARD = Path(__file__).parent / "weights" / "card.md"
_SAID = re.compile(r"Backtests over ([^:]+): it was trained on texts of these years")


def years(weights: str) -> list[tuple[int, int]] | None:
    """Return the first and last years of training texts, or None for weights that are not shipped: nobody knows.

    The years of a desk's labels, to which a head was adapted, are not known: those of the weights are returned.
    """
    if weights not in NAMES and (path := Path(weights).expanduser()).is_file():
        weights = read_adapted(path).weights
    if weights not in NAMES:
        return None
    found = _SAID.search(CARD.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{CARD} does not say the years of its training texts")
    spans = [re.findall(r"\d{4}", span) for span in re.split(r",| and ", found[1])]
    return [(int(span[0]), int(span[-1])) for span in spans if span]


def overlaps(weights: str, first: int, last: int) -> list[tuple[int, int]] | None:
    """Return the spans of years that `first` to `last` share with the training texts; None where nobody knows."""
    known = years(weights)
    return None if known is None else [(max(a, first), min(b, last)) for a, b in known if a <= last and b >= first]
