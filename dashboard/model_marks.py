"""Marks of a change of the model: a line on a topic's charts at the bucket from which on another model scores."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from foreshock.dashboard import axes, vega
from foreshock.dashboard.spans import WORDS_IN_CHART
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store.switches import Change


def onto(chart: Picture, changes: Sequence[Change], first: int, last: int, *, dark: bool, words: bool) -> Picture:
    """Draw the changes of the model in [first, last] on a chart. With `words`, also say what they are."""
    shown = [change for change in changes if first <= change.at <= last]
    if not shown:
        return chart
    ink, room = axes.ink(dark), (last - first) // WORDS_IN_CHART
    found = pd.DataFrame(
        {
            "at": axes.times([change.at for change in shown]),
            "label": "another model",
            "left": [change.at > last - room for change in shown],
        }
    )
    layers = [vega.layer(found, vega.mark("rule", color=ink.line, strokeWidth=1.1, strokeDash=[1, 3]), x="at:T")]
    for left, align, dx in ((False, "left", 4), (True, "right", -4)):
        some = found[found["left"] == left]
        if words and len(some):
            # Above the notes at the foot; the beginnings of changes are written at the top.
            style = {"baseline": "bottom", "dy": -17, "color": ink.line, "fontSize": 11}
            said = vega.mark("text", align=align, dx=dx, **style)
            layers.append(vega.layer(some, said, x="at:T", y=vega.value("height"), text="label:N"))
    # The pointer must reach the columns that say what is under it.
    return chart.below_top(layers)


def sentence(change: Change) -> str:
    """Return what a change means for who reads the chart."""
    return (
        f"{change.after} scores from here on, before it {change.before}: compare levels on one side of the line only."
    )
