"""Cut what is nested in the items of a feed, so that it cannot replace the item's own title and text.

An item may hold a picture with a title (`<image><title>`), media with captions (`media:description`) or related items.
Lenient parsers take the last title they meet, wherever it stands. Here the bytes of nested elements are cut before the
feed is parsed. A caption of media stays where the item has no such element of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

_ITEMS = {"item", "entry"}
_KINDS = {
    "title": "title", "description": "text", "summary": "text", "content": "text", "encoded": "text",
    "subtitle": "text", "item": "item", "entry": "item", "link": "link", "guid": "id", "id": "id",
    "pubdate": "date", "published": "date", "updated": "date", "date": "date",
}  # fmt: skip
"""What an element of this name is for an item, in any namespace."""
_MARKED_UP = {"title", "description", "summary", "content", "encoded", "body", "source"}
"""Elements whose own markup is left alone: XHTML may hold elements of any name, and a source has a title."""
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*+>""")


@dataclass(slots=True)
class _Item:
    depth: int
    prefix: str
    own: set[str] = field(default_factory=set)
    foreign: list[tuple[str, int, int]] = field(default_factory=list)
    """Kind, first and last byte of what may have to be cut."""


def without_nested(text: bytes) -> bytes:
    """Return a feed (UTF-8) without the nested elements of its items. What is no XML is returned unchanged."""
    parser = expat.ParserCreate("utf-8")
    path: list[tuple[str, str]] = []
    cut: list[tuple[int, int]] = []
    item: _Item | None = None
    begun: tuple[int, str, int, bool] | None = None
    """Of the outermost nested element that is open: its depth, kind, first byte, and whether it is of media."""

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal item, begun
        prefix, _colon, local = name.rpartition(":")
        local = local.lower()
        path.append((prefix, local))
        if item is None:
            if local in _ITEMS:
                item = _Item(len(path), prefix)
            return
        kind = _KINDS.get(local)
        if begun is not None or kind is None:
            return
        inside = path[item.depth : -1]
        if any(part in _MARKED_UP and above == item.prefix for above, part in inside) or (
            inside and inside[0] == ("content", "encoded")
        ):
            return
        own = not inside and (
            prefix in (item.prefix, "content", "dc", "atom", "dcterms") and not _doubles(prefix, local)
        )
        if own:
            item.own.add(kind)
        else:
            media = "media" in {prefix, *(above for above, _ in inside)} or not inside
            begun = (len(path), kind, parser.CurrentByteIndex, media)

    def end(name: str) -> None:
        nonlocal item, begun
        if begun is not None and len(path) == begun[0] and item is not None:
            _, kind, first, media = begun
            # At the end of an empty element the parser stands behind it, and at that of any other before its end tag.
            tag = _TAG.match(text, first)
            if tag is not None and tag[0].endswith(b"/>"):
                last = tag.end()
            else:
                last = text.find(b">", parser.CurrentByteIndex) + 1
            if media:
                item.foreign.append((kind, first, last))
            else:
                cut.append((first, last))
            begun = None
        if item is not None and len(path) == item.depth:
            cut.extend((first, last) for kind, first, last in item.foreign if kind in item.own)
            item = None
        path.pop()

    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        return text
    kept, at = [], 0
    for first, last in sorted(cut):
        kept.append(text[at:first])
        at = last
    return b"".join([*kept, text[at:]])


def _doubles(prefix: str, local: str) -> bool:
    """Whether Dublin Core says again what the item says itself."""
    return prefix in ("dc", "dcterms") and local in ("title", "description")
