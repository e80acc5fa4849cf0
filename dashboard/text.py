"""Text from feeds and people, made fit for a page.

Templates escape every value. That stops markup, but not characters that change the direction of text: a headline could
still reorder the words around it. So each text that Foreshock did not write passes through the filter `outside`, which
removes such characters and isolates the rest. Only http and https addresses become links.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote, urlencode, urlsplit

from markupsafe import Markup, escape

from foreshock.monitor.units import is_new, shown

LONGEST_URL = 2_000

# Controls, bidirectional overrides, embeddings, isolates and marks, zero-width and line separators.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
# Words in Hebrew, Arabic and the scripts beside them, with the spaces between.
_LETTERS = "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+"
_RIGHT_TO_LEFT = re.compile(rf"{_LETTERS}(?: {_LETTERS})*")


def clean(text: str, limit: int = 400) -> str:
    """Return `text` on one line, without characters that change direction, cut at `limit` characters."""
    text = " ".join(_STEERING.sub("", text[: 4 * limit + 400]).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def exceeds(text: str, limit: int) -> bool:
    """Return whether `clean` cuts `text` at this limit."""
    return len(clean(text, len(text))) > limit


def outside(text: str, limit: int = 400) -> Markup:
    """Return `text` as HTML: cleaned, escaped, and isolated from the direction of the text around it.

    Words from right to left within a sentence from left to right are isolated too: a number behind them would otherwise
    be drawn before them ("Bad news on NAME: 17 stories").
    """
    cleaned = clean(text, limit)
    escaped = str(escape(cleaned))
    if next((kind for kind in map(unicodedata.bidirectional, cleaned) if kind in ("L", "R", "AL")), "L") == "L":
        escaped = _RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", escaped)
    return Markup(f'<bdi dir="auto">{escaped}</bdi>')  # noqa: S704  # escaped here


def is_web(url: str) -> bool:
    """Return whether a page may link to `url`. Browsers and servers refuse longer ones, and a page would weigh them."""
    if len(url) > LONGEST_URL:
        return False
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not _STEERING.search(url)


def address(page: str, /, **query: str) -> str:
    """Return the address of one of the pages."""
    return f"{page}?{urlencode(query, quote_via=quote)}" if query else page


def link(page: str, label: str, /, **query: str) -> Markup:
    """Return a link to one of the pages. A `label` that is not Markup is escaped.

    A name that no topic has has no page of its own: the link leads to its alerts.
    """
    if page == "Topic" and is_new(query.get("topic", "")):
        page, query = "Alerts", {key: query[key] for key in ("alert", "topic") if key in query}
    href = escape(address(page, **query))
    return Markup(f'<a class="fs-in" href="{href}" target="_self">{escape(label)}</a>')  # noqa: S704  # escaped here


def open_story(position: tuple[str, int]) -> Markup:
    """Return the link to the page of one story. `position`: its partition and offset."""
    return link("Stories", "open", story=f"{position[1]}@{position[0]}")


def named(topic: str) -> str:
    """Return a topic's name as the pages write it."""
    return "all stories" if topic == "_all" else clean(shown(topic), 80)


def labels(names: Sequence[str]) -> dict[str, str]:
    """Return a label for each topic. No two are equal, or Streamlit would take one for the other."""
    return _labels(tuple(names))


@lru_cache(maxsize=4)  # a page asks several times, for thousands of names that hardly ever change
def _labels(names: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    taken = set[str]()
    for name in names:
        label, n = named(name), 2
        while label in taken:
            label, n = f"{named(name)} ({n})", n + 1
        taken.add(label)
        found[name] = label
    return found
