"""What all charts share: the colours of both themes, the axis of time, and the words under the pointer.

Every chart shows its values in words wherever the pointer is, also over the shading of an alert: a transparent column
for each step lies on top of all marks, and it alone has a tooltip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from foreshock.dashboard import formats, ticks, vega, zones
from foreshock.dashboard.vega import Layer

HEIGHT = 190
ZOOM = "zoom"
"""The name of the selection that a reader draws to zoom."""


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of one theme."""

    line: str
    faint: str
    band: str
    rust: str
    teal: str
    bar: str
    red: str
    market: str


LIGHT = Ink("#1f2328", "#5e646a", "#e9e5da", "#a8461f", "#0f6b66", "#b9b6ae", "#c4122f", "#dfe7ea")
DARK = Ink("#e4e2dc", "#9aa0a6", "#2b3238", "#e08a62", "#4fb8ae", "#565c62", "#ff6b6b", "#24303a")


def ink(dark: bool) -> Ink:
    """Return the colours of a theme."""
    return DARK if dark else LIGHT


def times(microseconds: npt.NDArray[np.int64] | Sequence[int]) -> pd.Series[Any]:
    """Return times as a column that Vega-Lite reads."""
    return pd.Series(pd.to_datetime(np.asarray(microseconds, np.int64), unit="us", utc=True))


def time_axis(field: str, first: int, last: int) -> dict[str, Any]:
    """Return the axis of time from `first` to `last`. One layer of a chart sets it; the other layers follow.

    The ticks are at whole hours and days of the viewer's clock. Vega knows only UTC and the browser's own zone, so it
    is given each tick and its label.
    """
    last += (last - first) // 22  # room for the label of the last value, in every chart alike
    ends = [formats.moment(first).isoformat(), formats.moment(last).isoformat()]
    zone = zones.viewer()
    at = ticks.within(first, last, zone)
    labels = {str(time // 1_000): ticks.label(time, zone) for time in at}
    return vega.field(
        f"{field}:T",
        scale={"type": "utc", "domain": ends},
        axis={
            "title": None,
            "grid": False,
            "values": [formats.moment(time).isoformat() for time in at],
            "labelOverlap": True,
            "labelFlush": True,
            "labelExpr": f"{json.dumps(labels)}[toString(time(datum.value))]",
        },
    )


def time_layer(first: int, last: int) -> Layer:
    """Return the axis of time as a layer of its own: Vega-Lite warns when bars with two ends set a scale's domain."""
    ends = pd.DataFrame({"at": times([first, last])})
    return vega.layer(ends, vega.mark("tick", opacity=0), x=time_axis("at", first, last))


def pointed(
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    words: Mapping[str, Sequence[str]],
    top: float,
    bottom: float,
    *,
    params: Sequence[dict[str, Any]] = (),
) -> Layer:
    """Return the transparent columns that say what is under the pointer.

    `words`: for each line of the tooltip its name, and a text for each column. `top` and `bottom`: the ends of the axis
    of values. `params`: further selections that a reader makes on the columns.
    """
    frame = pd.DataFrame({"start": times(start), "end": times(end), "top": top, "bottom": bottom, **words})
    over = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": False}
    return vega.layer(
        frame,
        vega.mark("bar", color="#888"),
        params=[{"name": "pointer", "select": over}, *params],
        x="start:T",
        x2="end:T",
        y="top:Q",
        y2="bottom:Q",
        opacity=vega.selected("pointer", 0.16, 0.0),
        tooltip=[vega.field(f"{name}:N", title=name) for name in words],
    )


def zoom() -> dict[str, Any]:
    """Return the selection of a stretch of time, which the page zooms to."""
    brush = {"fill": "#888", "fillOpacity": 0.25}
    return {"name": ZOOM, "select": {"type": "interval", "encodings": ["x"], "mark": brush}}
