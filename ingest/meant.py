"""Say which of the known names a misspelt one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LIKE = 0.65
"""How alike two names must be (0 to 1). difflib's 0.6 takes `nobody` for `good`; `oli` and `oil` are alike by 0.67."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, whatever the case; None if none is."""
    return next(iter(alike(name, known, 1)), None)


def alike(name: str, known: Iterable[str], most: int = 3, like: float = LIKE) -> list[str]:
    """Return up to `most` known names that are like `name`, whatever the case, the most similar first."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[near] for near in get_close_matches(name.lower(), list(by_lower), most, like)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question to put behind a sentence, with the space before it; empty if no known name is like `name`."""
    near = nearest(name, known)
    return "" if near is None else f" Did you mean {near}?"
