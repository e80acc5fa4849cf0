"""The chart of an alert: what it measured, in windows as long as the one that fired, against what it called usual.

The sentence gives one number. The line passes through it where the alert fired, and goes on to what it is now.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from foreshock.dashboard import axes, formats, spans, vega, words
from foreshock.dashboard.axes import HEIGHT
from foreshock.dashboard.vega import Layer, Picture
from foreshock.monitor import kinds
from foreshock.monitor.kinds import KINDS, WORSE
from foreshock.monitor.store.alert_windows import AlertCurve, was_share
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.views import AlertRow

ROOM = 1.35
"""The height of the chart over that of the line: the label of the change stands above all numbers."""


def draw(curve: AlertCurve, alert: AlertRow, *, dark: bool, until: int) -> Picture:
    """Draw an alert's quantity over time. `until`: decided until."""
    ink, first, last = axes.ink(dark), int(curve.at[0]), int(curve.at[-1])
    low, high = _ends_of_values(curve, alert)
    is_count = KINDS[alert.kind].quantity != "polarity"
    y = vega.field(
        "low:Q",
        scale={"domain": [low, high], "clamp": True},
        axis={"format": "d" if is_count and high >= 4 else ".1f" if is_count else "+.2f", "tickCount": 5},
        title=None,
    )
    band = pd.DataFrame({"at": axes.times([first, last]), "low": curve.low, "high": curve.high, "usual": curve.usual})
    line = pd.DataFrame(
        {"at": axes.times(curve.at), "value": curve.values, "run": np.cumsum(~np.isfinite(curve.values))}
    ).dropna(subset=["value"])
    layers = spans.shading([alert], first, last, ink, until)
    x = axes.time_axis("at", first, last)
    stroke = vega.mark("line", color=ink.line, strokeWidth=1.6, interpolate="step-after" if is_count else "linear")
    level = vega.mark("line", color=ink.faint, strokeWidth=0.8, strokeDash=[2, 3])
    layers += [
        vega.layer(band, vega.mark("area", color=ink.band, opacity=0.9), x=x, y=y, y2="high:Q"),
        vega.layer(band, level, x="at:T", y="usual:Q"),
        vega.layer(line, stroke, x="at:T", y="value:Q", detail="run:N"),
    ]
    layers += (
        spans.turns([alert], first, last, ink, high)
        + _window(alert, curve, ink, low)
        + _points(curve, alert, ink, until)
    )
    words_of_step = {
        f"{kinds.span(curve.window)} until": [formats.zoned(int(t)) for t in curve.at],
        words.thing(alert): [words.measured(alert, None if np.isnan(v) else float(v)) for v in curve.values],
        "usual": [usual_range(curve, alert)] * len(curve.at),
        "independent events": [formats.number(int(n)) for n in curve.events],
        "alert": spans.during([alert], (curve.at - curve.step).tolist(), curve.at.tolist(), until),
    }
    half = curve.step // 2
    layers.append(axes.pointed(curve.at - half, curve.at + half, words_of_step, high, low))
    return Picture(layers, HEIGHT + 30)


def gap(curve: Curve, alert: AlertRow, *, dark: bool, until: int) -> Picture:
    """Draw a silence: the independent events of each step, and in the gap the number that would be usual."""
    ink, first = axes.ink(dark), int(curve.start[0])
    last = int(curve.start[-1]) + curve.step
    ends = curve.start + curve.step
    usual = usual_in_step(alert, curve.step)
    top = max(int(curve.events.max()), usual * 1.3, 4)
    bars = pd.DataFrame({"start": axes.times(curve.start), "end": axes.times(ends), "zero": 0, "events": curve.events})
    begun, over = alert.started_at, min(alert.resolved_at or until, last)
    missed = pd.DataFrame(
        {
            "start": axes.times([begun]),
            "middle": axes.times([(begun + over) // 2]),
            "end": axes.times([over]),
            "zero": 0,
            "usual": usual,
            "label": "usual",
        }
    )
    y = vega.field("events:Q", title=None, scale={"domain": [0, top]}, axis={"tickCount": 4, "format": "d"})
    layers = [axes.time_layer(first, last), *spans.shading([alert], first, last, ink, until)]
    gap_of = vega.mark("bar", color=ink.band, stroke=ink.faint, strokeDash=[2, 3], strokeWidth=0.8)
    label = vega.mark("text", baseline="bottom", dy=-2, color=ink.faint, fontSize=11)
    bar, shown = vega.mark("bar", color=ink.faint), bars[curve.events > 0]
    layers += [
        vega.layer(missed, gap_of, x="start:T", x2="end:T", y="usual:Q", y2="zero:Q"),
        vega.layer(missed, label, x="middle:T", y="usual:Q", text="label:N"),
        vega.layer(shown, bar, x="start:T", x2="end:T", y=y, y2="zero:Q"),
    ]
    said = {
        "time": [formats.between(int(a), int(b)) for a, b in zip(curve.start, ends, strict=True)],
        "independent events": [formats.number(int(n)) for n in curve.events],
        "usual in as much time": [f"{usual:.2g}"] * len(curve.start),
        "alert": spans.during([alert], curve.start.tolist(), ends.tolist(), until),
    }
    layers.append(axes.pointed(curve.start, ends, said, top, 0))
    return Picture(layers, HEIGHT)


def usual_range(curve: AlertCurve, alert: AlertRow) -> str:
    """Write the range that the alert called usual, and what lies in its middle."""
    if KINDS[alert.kind].quantity != "polarity" and curve.usual < 0.95 and not was_share(alert):
        return words.usual(alert)  # a range about less than one says nothing
    low, high = (words.measured(alert, value) for value in (curve.low, curve.high))
    return f"{words.usual(alert)} ({low} to {high})"


def usual_in_step(alert: AlertRow, step: int) -> float:
    """Return the events that would be usual in a step of a silence, evenly spread over the gap that fired."""
    return alert.baseline * step / max(alert.window_end - alert.started_at, 1)


def _window(alert: AlertRow, curve: AlertCurve, ink: axes.Ink, low: float) -> list[Layer]:
    """Draw the window that fired as a bar on the axis of time."""
    start = max(alert.window_end - curve.window, int(curve.at[0]))
    frame = pd.DataFrame({"start": axes.times([start]), "end": axes.times([alert.window_end]), "low": low})
    rule = vega.mark("rule", color=ink.rust, strokeWidth=4, opacity=0.8)
    return [vega.layer(frame, rule, x="start:T", x2="end:T", y="low:Q")]


def _points(curve: AlertCurve, alert: AlertRow, ink: axes.Ink, until: int) -> list[Layer]:
    """Mark the value that fired and the one of now, with their numbers."""
    known = np.flatnonzero(np.isfinite(curve.values))
    fired = int(np.searchsorted(curve.at, alert.window_end))
    # A line that falls comes from above its point, a line that rises from below.
    below = KINDS[alert.kind].quantity == "polarity" and alert.direction == WORSE
    rows: list[tuple[int, str, Any, int]] = [(fired, ink.rust, "center", 0)]
    # Two labels side by side would cover each other where the alert has only just fired.
    if len(known) and until - curve.at[-1] < curve.step and known[-1] - fired > len(curve.at) // 20:
        rows.append((int(known[-1]), ink.line, "left", 9))
    layers = []
    for place, color, align, dx in rows:
        value = float(curve.values[place])
        if np.isnan(value):
            continue
        text = words.measured(alert, value)
        frame = pd.DataFrame({"at": axes.times([int(curve.at[place])]), "value": value, "label": text})
        point = vega.mark("point", color=color, filled=True, size=46, opacity=1)
        dy = 0 if dx else 14 if below else -11
        label = vega.mark("text", align=align, dx=dx, dy=dy, fontWeight=600, fontSize=13, color=color)
        layers.append(vega.layer(frame, point, x="at:T", y="value:Q"))
        layers.append(vega.layer(frame, label, x="at:T", y="value:Q", text="label:N"))
    return layers


def _ends_of_values(curve: AlertCurve, alert: AlertRow) -> tuple[float, float]:
    """Return the ends of the axis: from 0 for counts, about 0 for polarities, with room for the line and the band."""
    seen = curve.values[np.isfinite(curve.values)]
    most = max([curve.high, *seen.tolist()])
    if KINDS[alert.kind].quantity != "polarity":
        return 0.0, max(most * ROOM, 2.0)
    widest = max(abs(most), *[abs(v) for v in [curve.low, *seen.tolist()]])
    top = max(0.4, float(np.ceil(widest * ROOM * 5) / 5))
    return -top, top
