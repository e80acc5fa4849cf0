"""Refuse feeds that are dear to parse, before a parser of feeds sees them.

The parser's work can grow with the square of an element's attributes, and with the depth of the nesting. So a first
pass with expat, which is linear, counts both. It stops where the text is no XML: there the lenient parser takes over,
and only the length of a tag is bounded. What is left is bounded by the time and memory of the parser's process
(`feed_parser`).
"""

from __future__ import annotations

import re
from xml.parsers import expat

from foreshock.ingest.errors import FeedUnavailable

MOST_TAGS = 300_000
"""The most angle brackets in an answer, with escaped ones. They determine the cost of parsing. A thousand full articles
have fewer."""
MOST_ATTRIBUTES = 200
"""The most attributes of one element."""
DEEPEST = 200
"""How deep elements may be nested. Articles in XHTML rarely pass 30."""
MOST_NAMESPACES = 1_000
"""The most declarations of namespaces."""
LONGEST_TAG = 1 << 14
"""Characters of a tag in a feed that is no XML."""

_BRACKET = re.compile(rb"<|&(?:lt|#0*60|#[xX]0*3[cC])\b")
_LONG_TAG = re.compile(rb"<[^<>]{%d}" % LONGEST_TAG)


def refuse_what_is_dear(text: bytes) -> None:
    """Raise `FeedUnavailable` if the bytes of a feed (UTF-8) break a limit, or declare entities."""
    # News feeds do not need entities, and nested ones can expand without limit.
    if b"<!entity" in text.lower():
        raise FeedUnavailable("declares XML entities, which Foreshock does not expand")
    if sum(1 for _ in _BRACKET.finditer(text)) > MOST_TAGS:
        raise FeedUnavailable(f"has more than {MOST_TAGS:,} tags")
    if not _is_xml(text) and _LONG_TAG.search(text):
        raise FeedUnavailable(f"has a tag of more than {LONGEST_TAG:,} characters")


def _is_xml(text: bytes) -> bool:
    depth = namespaces = 0

    def start(_: str, attributes: list[str]) -> None:
        nonlocal depth, namespaces
        depth += 1
        if depth > DEEPEST:
            raise FeedUnavailable(f"is nested more than {DEEPEST} elements deep")
        if len(attributes) > 2 * MOST_ATTRIBUTES:
            raise FeedUnavailable(f"has an element with more than {MOST_ATTRIBUTES} attributes")
        namespaces += sum(name.startswith("xmlns") for name in attributes[::2])
        if namespaces > MOST_NAMESPACES:
            raise FeedUnavailable(f"declares more than {MOST_NAMESPACES:,} namespaces")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        return False
    return True
