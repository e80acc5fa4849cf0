"""The small signs of the pages as values: a state's sign and word, a story's scores, a topic's sparkline.

Templates draw them. A state always has a word and a sign beside its colour.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.dashboard import words
from foreshock.model.labels import LABELS
from foreshock.monitor.kinds import KINDS, MARKS
from foreshock.monitor.store.incident_cards import Step
from foreshock.monitor.store.topic_views import TopicRow
from foreshock.monitor.store.views import AlertRow, StoryRow

RUST, TEAL = "#c2693f", "#2f978e"
"""Colours of sparklines. An image knows no theme, so they are legible on both."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A state: the sign, the word, and the class of style.css that colours both."""

    sign: str
    word: str
    tone: str


@dataclass(frozen=True, slots=True)
class Scores:
    """A story's scores in percent, and the label with the highest."""

    negative: str
    positive: str
    label: str
    value: str
    tone: str
    words: str
    """All three scores, for a reader who does not see the bar."""


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A polarity over time as an image."""

    address: str
    """The image itself, as a `data:` address."""
    width: int
    height: int
    last: float


def topic(row: TopicRow) -> Mark:
    """Return the mark of a topic's state."""
    if row.state == "firing":
        sign = row.mark or MARKS[row.direction]
        return Mark(sign, f"{row.word or row.direction}, firing", "fs-now")
    if row.state == "silent":
        return Mark("○", "silent, firing", "fs-now")
    if row.state == "pending":
        return Mark("◇", f"{row.word or row.direction}, pending", f"fs-{row.direction}")
    if row.state == "learning":
        return Mark("…", "learning", "fs-faint")
    return Mark("·", "as usual", "fs-faint")


def unseen(words: str) -> Mark:
    """Return the mark of a topic without a series. `words`: its state in words."""
    return Mark("…", words, "fs-faint")


def alert(row: AlertRow) -> Mark:
    """Return the mark of an alert's state."""
    kind = KINDS[row.kind]
    word, sign = kind.word or row.direction, kind.mark or MARKS[row.direction]
    tone = {"firing": "fs-now", "pending": f"fs-{row.direction}"}.get(row.state, "fs-faint")
    return Mark(sign, f"{word}, {words.state(row)}", tone)


def scores(story: StoryRow) -> Scores | None:
    """Return a story's scores as the pages draw them; None without scores."""
    if story.scores is None:
        return None
    negative, neutral, positive = (f"{value / 100:.0f}" for value in story.scores)
    highest = max(story.scores)
    label, value, tone = next(
        (label, value, tone)
        for label, value, tone, raw in (
            ("neg", negative, "fs-worse", story.scores[0]),
            ("neu", neutral, "fs-faint", story.scores[1]),
            ("pos", positive, "fs-better", story.scores[2]),
        )
        if raw == highest
    )
    words = f"negative {negative} %, neutral {neutral} %, positive {positive} %"
    if story.severity is not None:
        words += f", severity {story.severity / 100:.1f} of 3"
    return Scores(negative, positive, label, value, tone, words)


def mood_words(scores: tuple[int, int, int]) -> str:
    """Write the highest of three scores in 1/10,000: `negative 80 %`."""
    highest = max(range(3), key=lambda place: scores[place])
    return f"{LABELS[highest]} {scores[highest] / 100:.0f} %"


def trend(steps: Sequence[Step], *, width: int = 132, height: int = 24) -> Sparkline | None:
    """Draw a bar for each step, its negative part rust. None without events."""
    most = max((step.events for step in steps), default=0)
    if not most:
        return None
    wide = (width - 6) / len(steps)
    bars = []
    for place, step in enumerate(steps):
        x, tall = round(3 + place * wide, 1), step.events / most * (height - 4)
        bad = min(step.negative / most * (height - 4), tall)
        for part, from_below, color in ((bad, 0.0, RUST), (tall - bad, bad, "#9aa0a6")):
            y = round(height - 2 - from_below - part, 1)
            bars.append(f'<rect x="{x}" y="{y}" width="{wide - 1:.1f}" height="{part:.1f}" fill="{color}"/>')
    base = f'<path d="M3 {height - 1.5}H{width - 3}" stroke="#9a9a9a" stroke-opacity=".55"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{base}{"".join(bars)}</svg>'
    return Sparkline(_address(svg), width, height, steps[-1].events)


def sparkline(
    values: Sequence[float | None], usual: float | None, *, width: int = 132, height: int = 24
) -> Sparkline | None:
    """Draw a line, the usual level behind it, and the last value as a dot in its colour. None without values."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    low, high = min(*known, usual or 0.0, -0.2), max(*known, usual or 0.0, 0.2)

    def y(value: float) -> float:
        return round(2.5 + (high - value) / (high - low) * (height - 5), 1)

    step = (width - 6) / max(len(values) - 1, 1)
    points = [(round(3 + i * step, 1), y(v)) for i, v in enumerate(values) if v is not None]
    line = " ".join(f"{a},{b}" for a, b in points)
    level = y(usual if usual is not None else 0.0)
    tone = RUST if known[-1] < (usual or 0.0) else TEAL
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<path d="M3 {level}H{width - 3}" stroke="#9a9a9a" stroke-opacity=".55" stroke-dasharray="2 2"/>'
        f'<polyline points="{line}" fill="none" stroke="#85898d" stroke-width="1.3" stroke-linejoin="round"/>'
        f'<circle cx="{points[-1][0]}" cy="{points[-1][1]}" r="2.4" fill="{tone}"/></svg>'
    )
    return Sparkline(_address(svg), width, height, known[-1])


def _address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
