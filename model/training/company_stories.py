"""The companies that stories name which nobody labelled: what a teacher for companies is asked about.

The one idea: a company is found by the names that labelled texts gave it, as they are written there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.news_teacher import place, stories
from foreshock.model.training.towards import Pair

MOST = 4
"""A story that names more companies is a list."""
LONGEST = 4
"""The most words of a name that is looked for."""
ALONE = 0.5
"""The share of the stories' pairs whose story names no other company; there the whole text says as much."""
SHARES = {"stocknet": 0.05, "reuters21578": 0.25}
"""The shares of feeds that few stories are taken from: most posts of several tickers are lists, and wires of 1987 are
long."""
_WORD = re.compile(r"\$?\w[\w&.-]*")


def story_pairs(data: Path, feeds: Path, names: Collection[str], seen: Collection[str], seed: int) -> list[Pair]:
    """Return pairs of the feeds' stories and the companies that they name, in random order.

    names: the companies to look for. seen: fingerprints of texts to leave out, which are labelled or held out. All
    companies of a story that names two to MOST come; of those named alone so many that they are ALONE of all.
    """
    known = frozenset(name for name in names if len(name) > 2 and (name[0] == "$" or name[0].isupper()))
    alone: list[Pair] = []
    together: list[list[Pair]] = []
    for name, text in stories(data, feeds).items():
        if place("company" + name) >= SHARES.get(name.rpartition("-")[0], 1.0):
            continue
        found = named_in(text, known)
        if not found or len(found) > MOST or fingerprint(text) in seen:
            continue
        if len(found) == 1:
            alone.append((text, found[0]))
        else:
            together.append([(text, name) for name in found])
    random = np.random.default_rng([seed, len(alone), len(together), 6])
    count = round(sum(map(len, together)) * ALONE / (1 - ALONE))
    groups = [*together, *([alone[i]] for i in random.permutation(len(alone))[:count])]
    return [pair for i in random.permutation(len(groups)) for pair in groups[i]]


def named_in(text: str, names: Collection[str]) -> Sequence[str]:
    """Return which names stand in a text, as they are written; the longest first where one is a part of another."""
    words = [match.span() for match in _WORD.finditer(text)]
    found: dict[str, None] = {}
    start = 0
    while start < len(words):
        for end in range(min(start + LONGEST, len(words)), start, -1):
            candidate = text[words[start][0] : words[end - 1][1]].rstrip(".-")
            if candidate in names:
                found[candidate] = None
                start = end - 1
                break
        start += 1
    return list(found)
