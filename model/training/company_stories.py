"""Stories that nobody labelled, as rows about a company: two readings of the same text, put together.

The one idea: the layers for companies see few labelled texts, and they err elsewhere than what reads a text as a whole.
Where a story names one company, both readings are about it, and their mean is right more often than either. So a story
of the feeds that names a known company gets a soft label: half of it is what the news teacher said of the text
(news_teacher.py), half what shipped weights say towards the company. Where it names several, the text counts a quarter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from foreshock.model.scorer import load_scorer
from foreshock.model.training.labelled import fingerprint, validation_fingerprints
from foreshock.model.training.news_rows import Soft, split_finentity
from foreshock.model.training.news_teacher import read_told

OF_TEXT = (0.5, 0.25)
"""The share of the text's own label, where a story names one company, and where it names several."""
STORIES = 16_000
"""So many pairs of a story and a company, drawn at random."""
MOST = 4
"""A story that names more companies is a list."""
LONGEST = 4
"""The most words of a name that is looked for."""
_WORD = re.compile(r"\$?\w[\w&.-]*")


def story_rows(data: Path, feeds: Path, told: Path, weights: str, names: Iterable[str], seed: int) -> list[Soft]:
    """Return at most STORIES soft labels towards the companies that stories name.

    told: the teacher's soft labels (news_teacher.py); only its stories count, and none with a text that is held out.
    weights: which say what a story says of a company. names: the companies to look for. Raises LabelledDataError and
    UnlabelledDataError.
    """
    held = set(validation_fingerprints(data)) | {fingerprint(row.text) for row in split_finentity(data)[1]}
    known = frozenset(name for name in names if len(name) > 2 and (name[0] == "$" or name[0].isupper()))
    stories = [soft for of_set, soft in read_told(told, data, feeds) if of_set is None]
    free = [soft for soft in stories if fingerprint(soft.text) not in held]
    named = [(soft, found) for soft in free if len(found := named_in(soft.text, known)) <= MOST]
    pairs = [(soft, name, len(found) > 1) for soft, found in named for name in found]
    chosen = np.random.default_rng([seed, len(pairs), 6]).permutation(len(pairs))[:STORIES]
    asked = [pairs[i] for i in chosen]
    towards = load_scorer(weights, "cpu").score([soft.text for soft, *_ in asked], [name for _, name, _ in asked])
    shares = np.array([OF_TEXT[several] for *_, several in asked], dtype=np.float32)
    return [
        Soft(soft.text, share * soft.target + (1 - share) * said, None, name)
        for (soft, name, _), share, said in zip(asked, shares, towards, strict=True)
    ]


def named_in(text: str, names: frozenset[str]) -> Sequence[str]:
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
