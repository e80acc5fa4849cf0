"""Draw a backtest's sweep: the alerts, and the events that they find, under each budget.

The result is plain SVG. A browser shows it without loading anything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from foreshock.analysis.backtest import BacktestResult

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 620, 250, 62, 150, 40, 46
INK, PALE, GRID = "#33383d", "#8a9096", "#dfe3e6"
COLOURS = ("#b4532a", "#1f7a7a", "#6b5b95", "#a07a1f", "#4a6fa5")


class Line(NamedTuple):
    """One line: its label and points (x > 0, y). A `pale` line is dashed: the others are compared with it."""

    label: str
    points: Sequence[tuple[float, float]]
    pale: bool = False


class Panel(NamedTuple):
    """A chart with a logarithmic x axis. `share`: y runs from 0 to 1; otherwise y is logarithmic, too."""

    title: str
    x: str
    lines: Sequence[Line]
    share: bool = False


def draw(result: BacktestResult) -> str:
    """Return a result's sweep as SVG. Its watched time must not be 0."""
    days = result.watched_days
    weekly = [(7 * s.allowed / days, s) for s in result.sweep]
    x = "budget: false alarms a week"
    fired = [(budget, 7 * s.alerts / days) for budget, s in weekly]
    panels = [
        Panel("Alerts a week", x, (Line("alerts", fired), Line("chance alone", [(b, b) for b, _ in weekly], pale=True)))
    ]
    if result.judged is not None:
        recall = [(b, s.judged.recall) for b, s in weekly if s.judged is not None and s.judged.recall is not None]
        precise = [
            (b, s.judged.precision) for b, s in weekly if s.judged is not None and s.judged.precision is not None
        ]
        panels.append(
            Panel(
                "Share of events found, and of alerts with an event",
                x,
                (Line("found", recall), Line("with event", precise)),
                share=True,
            )
        )
    return svg(panels)


def svg(panels: Sequence[Panel]) -> str:
    """Return panels as one SVG, one below the other."""
    body = "".join(f'<g transform="translate(0 {i * HEIGHT})">{_panel(panel)}</g>' for i, panel in enumerate(panels))
    height = HEIGHT * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}"><rect width="100%" height="100%" fill="#ffffff"/>'
        f"{body}</svg>\n"
    )


def _panel(panel: Panel) -> str:
    points = [p for line in panel.lines for p in line.points]
    xs = [x for x, _ in points] or [1.0]
    low_x, high_x = math.log10(min(xs)) - 0.05, math.log10(max(xs)) + 0.05
    floor = min((y for _, y in points if y > 0), default=1.0) / 1.3
    low_y, high_y = (
        (0.0, 1.0) if panel.share else (math.log10(floor), math.log10(max([y for _, y in points] + [floor * 2]) * 1.3))
    )
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at_x(x: float) -> float:
        return LEFT + (math.log10(x) - low_x) / (high_x - low_x) * (right - LEFT)

    def at_y(y: float) -> float:
        value = y if panel.share else math.log10(max(y, floor))
        return bottom - (value - low_y) / (high_y - low_y) * (bottom - TOP)

    parts = [f'<text x="{LEFT}" y="22" font-weight="bold">{escape(panel.title)}</text>']
    for y in (0, 0.25, 0.5, 0.75, 1) if panel.share else ticks(10**low_y, 10**high_y):
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{at_y(y):.1f}" y2="{at_y(y):.1f}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at_y(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(10**low_x, 10**high_x):
        parts.append(f'<text x="{at_x(x):.1f}" y="{bottom + 18}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(panel.x)}</text>')
    taken: list[float] = []
    for number, line in enumerate(panel.lines):
        if not line.points:
            continue
        colour = PALE if line.pale else COLOURS[number % len(COLOURS)]
        dashes = ' stroke-dasharray="5 4"' if line.pale else ""
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        label = at_y(line.points[-1][1]) + 4
        while any(abs(label - other) < 14 for other in taken):
            label += 14
        taken.append(label)
        parts.append(f'<text x="{right + 8}" y="{label:.1f}" fill="{colour}">{escape(line.label)}</text>')
    return "".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in [low, high]; over many powers, 1 and 3 times or only 1."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1, 3) if len(decades) <= 5 else (1,)
    return [
        round(step * 10.0**decade, 12) for decade in decades for step in steps if low <= step * 10.0**decade <= high
    ]
