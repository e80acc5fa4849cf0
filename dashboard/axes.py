"""What all charts share: the colours of both themes, the axis of time, and the words under the pointer.

Every chart shows its values in words wherever the pointer is, also over the shading of an alert: a transparent column
for each step lies on top of all marks, and it alone has a tooltip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from foreshock.dashboard import formats, ticks, zones

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


def time_axis(field: str, first: int, last: int) -> alt.X:
    """Return the axis of time from `first` to `last`. One layer of a chart sets it; the other layers follow.

    The ticks are at whole hours and days of the viewer's clock. Vega knows only UTC and the browser's own zone, so it
    is given each tick and its label.
    """
    last += (last - first) // 22  # room for the label of the last value, in every chart alike
    ends = [formats.moment(first).isoformat(), formats.moment(last).isoformat()]
    zone = zones.viewer()
    at = ticks.within(first, last, zone)
    labels = {str(time // 1_000): ticks.label(time, zone) for time in at}
    return alt.X(
        f"{field}:T",
        scale=alt.Scale(type="utc", domain=ends),
        axis=alt.Axis(
            title=None,
            grid=False,
            values=[formats.moment(time).isoformat() for time in at],
            labelOverlap=True,
            labelFlush=True,
            labelExpr=f"{json.dumps(labels)}[toString(time(datum.value))]",
        ),
    )


def time_layer(first: int, last: int) -> Any:
    """Return the axis of time as a layer of its own: Vega-Lite warns when bars with two ends set a scale's domain."""
    ends = pd.DataFrame({"at": times([first, last])})
    return alt.Chart(ends).mark_tick(opacity=0).encode(x=time_axis("at", first, last))


def pointed(
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    words: Mapping[str, Sequence[str]],
    y: alt.Y,
    top: float,
    bottom: float,
) -> Any:
    """Return the transparent columns that say what is under the pointer.

    `words`: for each line of the tooltip its name, and a text for each column. `y`: the chart's axis of values, from
    `bottom` to `top`.
    """
    frame = pd.DataFrame({"start": times(start), "end": times(end), "top": top, "bottom": bottom, **words})
    pointer = alt.selection_point(name="pointer", on="pointerover", clear="pointerout", empty=False, nearest=False)
    return (
        alt.Chart(frame)
        .mark_bar(color="#888")
        .encode(
            x=alt.X("start:T"),
            x2="end:T",
            y=y,
            y2="bottom:Q",
            opacity=alt.condition(pointer, alt.value(0.16), alt.value(0.0)),
            tooltip=[alt.Tooltip(f"{name}:N", title=name) for name in words],
        )
        .add_params(pointer)
    )


def zoom() -> Any:
    """Return the selection of a stretch of time, which the page zooms to."""
    return alt.selection_interval(name=ZOOM, encodings=["x"], mark=alt.BrushConfig(fill="#888", fillOpacity=0.25))


class Picture:
    """A finished chart, as Streamlit takes it.

    It is not checked against the schema of Vega-Lite, which takes longer than everything else of a page. The tests
    check each kind of chart.
    """

    def __init__(self, chart: Any) -> None:
        self._chart = chart

    def put(self, layers: Sequence[Any]) -> None:
        """Put layers below the last one: the pointer must reach the columns that say what is under it."""
        self._chart.layer[-1:-1] = layers

    def to_dict(self, *, validate: bool = False) -> dict[str, Any]:
        """Return the chart's specification."""
        specification: dict[str, Any] = self._chart.to_dict(validate=validate)
        return specification


def finished(chart: Any, height: int) -> Picture:
    """Set what all charts have in common: size, margins, and no tooltip but that of `pointed`."""
    sized = chart.properties(height=height, width="container", padding={"left": 2, "right": 6, "top": 4, "bottom": 2})
    sized = sized.configure_view(stroke=None, clip=False).configure_mark(tooltip=None)
    return Picture(sized.configure_axis(labelFontSize=11, minExtent=38, maxExtent=38))
