"""Up to five topics on one chart, each a line of its own colour and dashes with its name at the end.

picture = compared.draw({"Banks": curve, "Oil": curve}, "polarity", dark=False)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from foreshock.dashboard import axes, formats, text, vega
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store.curves import Curve

MOST = 5
"""How many topics one chart shows at most. More lines would be hard to distinguish."""
MEASURES = ("polarity", "negative share", "independent events")
HEIGHT = 230
LABEL = 16
"""The most characters of a name beside its line. The table below the chart has the whole name."""
_LIGHT = ("#1f2328", "#2563a8", "#8a5a00", "#7a3b8f", "#3f7a2b")
_DARK = ("#e4e2dc", "#79b4f0", "#e0b34d", "#d39ae0", "#9bd07f")
"""Neither rust nor teal: those say worse and better."""
_DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 4))
_STYLES = ("solid", "dashed", "dotted", "dashed", "dotted")


@dataclass(frozen=True, slots=True)
class Line:
    """One topic of the comparison: its colour and kind of line, and its values at the end of the chart."""

    topic: str
    color: str
    style: str
    """For CSS, such as `dashed`."""
    polarity: float | None
    usual: tuple[float, float] | None
    negative: float | None
    events: int
    """In the whole of the chart."""


def lines(curves: Mapping[str, Curve], *, dark: bool) -> list[Line]:
    """Return what the table below the chart says of each topic. Values are those of the last window with an event."""
    found = []
    for place, (topic, curve) in enumerate(curves.items()):
        known = np.flatnonzero(np.isfinite(curve.polarity))
        last = int(known[-1]) if len(known) else None
        low = float("nan") if last is None else float(curve.polarity_low[last])
        found.append(
            Line(
                topic,
                (_DARK if dark else _LIGHT)[place],
                _STYLES[place],
                None if last is None else float(curve.polarity[last]),
                None if last is None or np.isnan(low) else (low, float(curve.polarity_high[last])),
                None if last is None else float(curve.negative[last]),
                int(curve.events.sum()),
            )
        )
    return found


def draw(curves: Mapping[str, Curve], measure: str, *, dark: bool) -> Picture:
    """Draw one of `MEASURES` of these topics, whose curves have the same steps.

    Raises:
        ValueError: there are more than `MOST` topics, or none.
    """
    if not 0 < len(curves) <= MOST:
        raise ValueError(f"a chart compares 1 to {MOST} topics, not {len(curves)}")
    ink, first = axes.ink(dark), next(iter(curves.values()))
    values = {topic: _values(curve, measure) for topic, curve in curves.items()}
    bottom, top = _range(measure, list(values.values()))
    begin, end = int(first.start[0]), int(first.start[-1]) + first.step
    form = {"negative share": ".0%", "independent events": "d"}.get(measure, "+.2f")
    y = vega.field(
        "value:Q",
        title=None,
        scale={"domain": [bottom, top], "clamp": True},
        axis={"format": form, "tickCount": 5},
    )
    room = (end - begin) // 7
    layers = [axes.time_layer(begin, end + room)]
    if measure == "polarity":
        rule = vega.mark("rule", color=ink.faint, strokeWidth=0.6, strokeDash=[2, 3])
        layers.append(vega.layer(pd.DataFrame({"value": [0.0]}), rule, y=y))
    ends = first.start + first.step
    labels = []
    for place, (topic, line) in enumerate(values.items()):
        known = np.isfinite(line)
        frame = pd.DataFrame({"at": axes.times(ends), "value": line, "run": np.cumsum(~known)})[known]
        color = (_DARK if dark else _LIGHT)[place]
        stroke = vega.mark("line", color=color, strokeWidth=2.2 if place == 0 else 1.6, strokeDash=list(_DASHES[place]))
        layers.append(vega.layer(frame, stroke, x="at:T", y=y, detail="run:N"))
        if known.any():
            labels.append((float(line[known][-1]), topic, color))
    for value, topic, color in _apart(labels, bottom, top):
        name = text.clean(text.named(topic), LABEL)
        beside = pd.DataFrame({"at": axes.times([end]), "value": [value], "label": [name]})
        word = vega.mark("text", align="left", baseline="middle", dx=6, color=color, fontSize=11, fontWeight=600)
        layers.append(vega.layer(beside, word, x="at:T", y=y, text="label:N"))
    write = {"negative share": formats.share, "independent events": formats.whole}.get(measure, formats.signed)
    words = {"until": [formats.zoned(int(t)) for t in ends]}
    for topic, line in values.items():
        words[_field(topic, words)] = ["–" if np.isnan(v) else write(float(v)) for v in line]
    half = first.step // 2
    layers.append(axes.pointed(ends - half, ends + half, words, top, bottom, params=[axes.zoom()]))
    return Picture(layers, HEIGHT)


def _values(curve: Curve, measure: str) -> npt.NDArray[np.float64]:
    if measure == "negative share":
        return curve.negative
    return curve.seen.astype(np.float64) if measure == "independent events" else curve.polarity


def _range(measure: str, values: list[npt.NDArray[np.float64]]) -> tuple[float, float]:
    if measure == "negative share":
        return 0.0, 1.0
    seen = np.concatenate(values)
    seen = seen[np.isfinite(seen)]
    if measure == "independent events":
        return 0.0, max(float(seen.max()) if len(seen) else 0.0, 4.0)
    top = min(1.0, max(0.4, float(np.ceil(np.abs(seen).max() * 5) / 5))) if len(seen) else 1.0
    return -top, top


def _apart(labels: list[tuple[float, str, str]], bottom: float, top: float) -> list[tuple[float, str, str]]:
    """Move names apart that would cover each other: downwards by their values, and up again at the edge."""
    room = (top - bottom) * 13 / HEIGHT
    placed: list[tuple[float, str, str]] = []
    for value, topic, color in sorted(labels, key=lambda label: -label[0]):
        at = min(value, top) if not placed else min(value, placed[-1][0] - room)
        placed.append((at, topic, color))
    for place in range(len(placed) - 1, -1, -1):
        least = bottom if place == len(placed) - 1 else placed[place + 1][0] + room
        placed[place] = (max(placed[place][0], least), *placed[place][1:])
    return placed


def _field(topic: str, taken: Mapping[str, object]) -> str:
    """Return a name for a topic's column. In Vega-Lite `.`, `[`, `\\` and `:` in a field's name mean something."""
    name = text.clean(text.named(topic), 40)
    for sign in ".[]\\:'\"":
        name = name.replace(sign, " ")
    while name in taken or name in ("start", "end", "top", "bottom"):
        name += " "
    return name
