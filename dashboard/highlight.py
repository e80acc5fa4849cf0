"""The words of a search, marked in the stories that were found.

    title(found.story.title, phrases)      # HTML with <mark>
    excerpt(found.body, phrases)           # the part of a body around its first hit; None without one

A hit is what the search calls one: whole words whatever their case and accents, phrases word by word, and beginnings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from foreshock.dashboard import text

Phrases = Sequence[tuple[list[str], bool]]
"""Consecutive words, and whether the last is only a beginning, as `monitor.store.search.terms` returns them."""
EXCERPT, BEFORE = 220, 60
"""The most characters of an excerpt, and how many of them stand before the hit."""
_WORD = re.compile(r"\w+", re.UNICODE)


def title(words: str, phrases: Phrases, limit: int = 400) -> Markup:
    """Return a title as `text.outside` does, with its hits marked."""
    return _marked(text.clean(words, limit), phrases)


def excerpt(body: str, phrases: Phrases) -> Markup | None:
    """Return the part of a body around its first hit, with hits marked; None if the body has none."""
    cleaned = text.clean(body, len(body))
    found = hits(cleaned, phrases)
    if not found:
        return None
    start = max(found[0][0] - BEFORE, 0)
    if start:
        start = cleaned.find(" ", start, found[0][0]) + 1 or start
    end = start + EXCERPT
    shown = cleaned[start:end].rstrip()
    return _marked(f"{'… ' if start else ''}{shown}{'…' if end < len(cleaned) else ''}", phrases)


def hits(words: str, phrases: Phrases) -> list[tuple[int, int]]:
    """Return where the phrases stand in a text (start, end), in order and without overlap."""
    found = list(_WORD.finditer(words))
    folded = [_folded(match[0]) for match in found]
    spans = []
    for parts, begins in phrases:
        wanted = [_folded(part) for part in parts]
        for place in range(len(found) - len(wanted) + 1):
            here = folded[place : place + len(wanted)]
            last = here[-1].startswith(wanted[-1]) if begins else here[-1] == wanted[-1]
            if last and here[:-1] == wanted[:-1]:
                spans.append((found[place].start(), found[place + len(wanted) - 1].end()))
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _marked(cleaned: str, phrases: Phrases) -> Markup:
    parts, place = [], 0
    for start, end in hits(cleaned, phrases):
        parts += [str(escape(cleaned[place:start])), f"<mark>{escape(cleaned[start:end])}</mark>"]
        place = end
    joined = "".join([*parts, str(escape(cleaned[place:]))])
    return Markup(f'<bdi dir="auto">{joined}</bdi>')  # noqa: S704  # escaped above


@lru_cache(maxsize=20_000)
def _folded(word: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
