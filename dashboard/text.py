"""Text from outside, made fit to be shown: every story's words pass through here on their way into a page.

    html(f"<b>{safe(story.title)}</b>")

Pages are built of HTML in which everything from a feed is escaped, so markup and markdown are shown as they were
written. Characters that steer the direction of text are taken out, and what is left is isolated, so that a headline
cannot turn the words around it. Only http and https addresses become links.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from urllib.parse import quote, urlencode, urlsplit

# Controls, bidirectional overrides, embeddings, isolates and marks, zero-width and line separators.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str, limit: int = 400) -> str:
    """`text` on one line, without characters that steer what is around it, cut at `limit` characters."""
    text = " ".join(_STEERING.sub("", text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def safe(text: str, limit: int = 400) -> str:
    """`text` as HTML, isolated in its direction."""
    return f'<bdi dir="auto">{escape(clean(text, limit))}</bdi>'


def headline(title: str, url: str, limit: int = 400) -> str:
    """A story's title as HTML: a link to its source where the address is http or https."""
    shown = safe(title, limit) if title.strip() else '<span class="fs-faint">(no title)</span>'
    if not is_web(url):
        return shown
    return (
        f'<a class="fs-out" href="{escape(url.strip())}" target="_blank" rel="noopener noreferrer nofollow">{shown}</a>'
    )


def is_web(url: str) -> bool:
    """Whether an address is one that a page may link to."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and not _STEERING.search(url)


def page(name: str, label: str, **query: str) -> str:
    """A link to one of our pages; `label` is HTML."""
    return f'<a class="fs-in" href="{escape(address(name, **query))}" target="_self">{label}</a>'


def address(name: str, **query: str) -> str:
    return f"{name}?{urlencode(query, quote_via=quote)}" if query else name


def named(topic: str) -> str:
    """A topic's name as people read it."""
    return "all stories" if topic == "_all" else clean(topic, 80)


def clock(time: int, *, year: bool = False) -> str:
    """`14:10, 2 April` (UTC)."""
    at = moment(time)
    return f"{at:%H:%M}, {at.day} {at:%B}" + (f" {at.year}" if year else "")


def moment(time: int) -> datetime:
    """An aware datetime of microseconds."""
    return _EPOCH + timedelta(microseconds=time)


def ago(span: int) -> str:
    """A span in microseconds as people say it: `3 min`, `5 h`, `2 days`."""
    seconds = max(span, 0) // 1_000_000
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def count(number: int, thing: str) -> str:
    plural = thing[:-1] + "ies" if thing.endswith("y") and thing[-2] not in "aeiou" else thing + "s"
    return f"{number:,} {thing if number == 1 else plural}"


def signed(value: float | None, digits: int = 2) -> str:
    """`+0.12`, `−0.08` with a real minus; a dash for None."""
    return "–" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def share(value: float | None) -> str:
    return "–" if value is None else f"{value * 100:.0f} %"


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV in which no cell is a formula: texts that a spreadsheet would run begin with a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()


def cell(value: object) -> object:
    """A value for CSV. A text that begins like a formula, be it after spaces, gets a leading quote."""
    if isinstance(value, str) and (value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)):
        return "'" + value
    return "" if value is None else value
