"""The chart of a topic with few stories: each event is a mark, higher the better its mood, larger the more copies.

A mean over one or two events jumps between -1 and +1, and its usual range is as wide as the chart. The events
themselves say more.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from foreshock.dashboard import axes, formats, marks, spans, text, vega
from foreshock.dashboard.axes import HEIGHT
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store.views import AlertRow, EventRow

FEW = 10
"""Events a day below which a topic's events are drawn one by one."""
MOST = 600
"""The most dots."""
EDGE = 1.12
"""The end of the axis: marks at -1 and +1 are whole."""


def draw(
    rows: Sequence[EventRow], alerts: Sequence[AlertRow], start: int, end: int, *, dark: bool, until: int
) -> Picture:
    """Draw the events of [start, end). Those without scores lie on the middle line, in grey."""
    ink = axes.ink(dark)
    frame = pd.DataFrame([_dot(row, ink) for row in rows if start <= row.first.published_at < end])
    y = vega.field(
        "polarity:Q",
        title=None,
        scale={"domain": [-EDGE, EDGE], "clamp": True},
        axis={"values": [-1, -0.5, 0, 0.5, 1], "format": "+.2f"},
    )
    middle = pd.DataFrame({"at": axes.times([start, end]), "polarity": [0.0, 0.0]})
    level = vega.mark("line", color=ink.faint, strokeWidth=0.6, strokeDash=[2, 3])
    layers = spans.shading(alerts, start, end, ink, until)
    layers.append(vega.layer(middle, level, x=axes.time_axis("at", start, end), y=y))
    # Drawn below the dots: the pointer must reach a dot, and a drag may begin anywhere.
    ground = pd.DataFrame({"start": axes.times([start]), "end": axes.times([end]), "low": [-EDGE], "high": [EDGE]})
    layers.append(
        vega.layer(
            *(ground, vega.mark("rect", opacity=0)),
            params=[axes.zoom()],
            x="start:T",
            x2="end:T",
            y="low:Q",
            y2="high:Q",
        )
    )
    layers += spans.turns(alerts, start, end, ink, EDGE)
    if len(frame):
        frame["at"] = axes.times(frame["at"].tolist())
        layers.append(
            vega.layer(
                *(frame, vega.mark("point", filled=True, opacity=0.75)),
                x="at:T",
                y="polarity:Q",
                size=vega.field("size:Q", scale=None),
                color=vega.field("color:N", scale=None),
                shape=vega.field("shape:N", scale=None),
                tooltip=[vega.field(f"{name}:N") for name in ("time", "event", "source", "mood", "copies")],
            )
        )
    return Picture(layers, HEIGHT, resolve={"scale": {"y": "shared"}})


def _dot(row: EventRow, ink: axes.Ink) -> dict[str, object]:
    story, scores = row.first, marks.scores(row.first)
    polarity = 0.0 if story.scores is None else (story.scores[2] - story.scores[0]) / 10_000
    label = "" if scores is None else scores.label
    return {
        "at": story.published_at,
        "polarity": polarity,
        "size": 70 + 40 * min(len(row.copies), 20),
        "color": {"neg": ink.rust, "pos": ink.teal}.get(label, ink.faint),
        "shape": {"neg": "triangle-down", "pos": "triangle-up"}.get(label, "circle"),
        "time": formats.zoned(story.published_at),
        "event": text.clean(story.title, 90),
        "source": text.clean(story.source, 40),
        "mood": "not scored" if scores is None else scores.words,
        "copies": formats.number(len(row.copies)),
    }
