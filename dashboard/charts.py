"""The charts of a topic. Each shows one quantity; all share one time axis.

    polarity(curve, alerts, dark=False, until=now)

The usual range is a pale band behind the line. An alert is shaded from when it fired to when it resolved. The estimated
start of a change is a dashed line with its date. Colours are those of style.css; only firing alerts are red.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from foreshock.dashboard import formats
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.views import AlertRow

HEIGHT = 190
WORDS_IN_CHART = 7
"""How many labels such as "changed 12:35, 2 April" fit side by side in the narrowest chart."""


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


LIGHT = Ink("#1f2328", "#646a70", "#e9e5da", "#a8461f", "#0f6b66", "#b9b6ae", "#c4122f")
DARK = Ink("#e4e2dc", "#9aa0a6", "#2b3238", "#e08a62", "#4fb8ae", "#565c62", "#ff6b6b")


def polarity(curve: Curve, alerts: Sequence[AlertRow], *, dark: bool, until: int) -> Any:
    """Draw the mean polarity, -1 to 1, against its usual range."""
    frame = _frame(curve, curve.polarity, curve.polarity_low, curve.polarity_high)
    return _lines(frame, curve, alerts, dark=dark, until=until, y=_polarity_range(curve), form="+.2f", zero=True)


def negative_share(curve: Curve, alerts: Sequence[AlertRow], *, dark: bool, until: int) -> Any:
    """Draw the negative share, 0 to 1, against its usual range."""
    frame = _frame(curve, curve.negative, curve.negative_low, curve.negative_high)
    return _lines(frame, curve, alerts, dark=dark, until=until, y=(0.0, 1.0), form=".0%", zero=False)


def volume(curve: Curve, *, dark: bool) -> Any:
    """Draw the stories of each step, with the independent events among them darker."""
    ink = DARK if dark else LIGHT
    frame = pd.DataFrame(
        {
            "start": _times(curve.start),
            "end": _times(curve.start + curve.step),
            "zero": 0,
            "stories": curve.stories,
            "events": curve.events,
            "when": [f"{formats.clock(int(t))} UTC" for t in curve.start],
        }
    )
    frame = frame[frame["stories"] > 0]
    top = int(curve.stories.max()) if len(curve.stories) else 1
    y = alt.Y("stories:Q", title=None, scale=alt.Scale(domain=[0, max(top, 4)]), axis=alt.Axis(tickCount=3, format="d"))
    tip = [alt.Tooltip("when:N", title="from"), alt.Tooltip("stories:Q"), alt.Tooltip("events:Q", title="events")]
    x = alt.X("start:T")
    stories = alt.Chart(frame).mark_bar(color=ink.bar).encode(x=x, x2="end:T", y=y, y2="zero:Q")
    events = alt.Chart(frame).mark_bar(color=ink.faint).encode(x=x, x2="end:T", y=alt.Y("events:Q"), y2="zero:Q")
    # A click counts anywhere in the step's column: a bar of one story is only a few pixels high.
    pick = alt.selection_point(name="at", encodings=["x"], on="click", empty=False)
    steps = (
        alt.Chart(frame.assign(top=max(top, 4)))
        .mark_bar(color=ink.teal, cursor="pointer")
        .encode(x=x, x2="end:T", y=alt.Y("top:Q"), y2="zero:Q", tooltip=tip)
        .encode(opacity=alt.condition(pick, alt.value(0.25), alt.value(0.0)))
        .add_params(pick)
    )
    # The axis is a separate layer: Vega-Lite warns when bars with two ends set a scale's domain.
    ends = pd.DataFrame({"at": _times(np.array(_ends(curve), np.int64))})
    axis = alt.Chart(ends).mark_tick(opacity=0).encode(x=_x("at", curve))
    return _finished(alt.layer(axis, stories, events, steps), 96)


def _lines(
    frame: pd.DataFrame,
    curve: Curve,
    alerts: Sequence[AlertRow],
    *,
    dark: bool,
    until: int,
    y: tuple[float, float],
    form: str,
    zero: bool,
) -> Any:
    ink = DARK if dark else LIGHT
    x = alt.X("at:T")
    axis = alt.Axis(format=form, tickCount=5)
    scale = alt.Scale(domain=list(y), clamp=True)
    layers: list[Any] = _spans(curve, alerts, ink, until)
    layers.append(
        alt.Chart(frame.dropna(subset=["low"]))
        .mark_area(color=ink.band, interpolate="step-after", opacity=0.9)
        .encode(
            x=_x("at", curve), y=alt.Y("low:Q", scale=scale, axis=axis, title=None), y2="high:Q", detail="run_band:N"
        )
    )
    if zero:
        rule = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(color=ink.faint, strokeWidth=0.6, strokeDash=[2, 3])
        layers.append(rule.encode(y=alt.Y("y:Q")))
    line = frame.dropna(subset=["value"])
    tip = [
        alt.Tooltip("when:N", title="until"),
        alt.Tooltip("value:Q", format=form, title="observed"),
        alt.Tooltip("low:Q", format=form, title="usual from"),
        alt.Tooltip("high:Q", format=form, title="usual to"),
    ]
    value = alt.Y("value:Q")
    layers.append(
        alt.Chart(line).mark_line(color=ink.line, strokeWidth=1.6).encode(x=x, y=value, detail="run:N", tooltip=tip)
    )
    layers += _turns(curve, alerts, ink, y)
    if len(line):
        last = line.iloc[[-1]].assign(label=[_written(float(line.iloc[-1]["value"]), form)])
        low, high = float(last.iloc[0]["low"]), float(last.iloc[0]["high"])
        seen = float(last.iloc[0]["value"])
        bad = seen < low if zero else seen > high
        good = seen > high if zero else seen < low
        color = ink.rust if bad else ink.teal if good else ink.line
        layers.append(
            alt.Chart(last).mark_point(color=color, filled=True, size=42, opacity=1).encode(x=x, y=value, tooltip=tip)
        )
        layers.append(
            alt.Chart(last)
            .mark_text(align="left", dx=8, fontWeight=600, fontSize=13, color=color)
            .encode(x=x, y=value, text="label:N")
        )
    banded = frame.dropna(subset=["low"])
    if len(banded):
        # The label "usual" goes where the line leaves most room, in the first half.
        room = (banded["high"] - banded["value"]).fillna(0.0).iloc[: max(len(banded) // 2, 1)]
        place = banded.iloc[[int(room.to_numpy().argmax())]]
        layers.append(
            alt.Chart(place.assign(label="usual"))
            .mark_text(align="left", baseline="top", dx=4, dy=3, color=ink.faint, fontSize=11)
            .encode(x=x, y=alt.Y("high:Q"), text="label:N")
        )
    return _finished(alt.layer(*layers), HEIGHT)


def _spans(curve: Curve, alerts: Sequence[AlertRow], ink: Ink, until: int) -> list[Any]:
    first, last = _ends(curve)
    rows = [
        {
            "from": max(alert.fired_at, first),
            "to": min(alert.resolved_at or until, last),
            "now": alert.state == "firing",
            "alert": f"{alert.kind.replace('_', ' ')}, {alert.state}",
        }
        for alert in alerts
        if alert.fired_at is not None and alert.fired_at < last and (alert.resolved_at or until) > first
    ]
    if not rows:
        return []
    frame = pd.DataFrame(rows)
    for name in ("from", "to"):
        frame[name] = _times(frame[name].to_numpy(np.int64))
    rect = (
        alt.Chart(frame)
        .mark_rect()
        .encode(
            x=alt.X("from:T"),
            x2="to:T",
            color=alt.condition(alt.datum.now, alt.value(ink.red), alt.value(ink.rust)),
            opacity=alt.value(0.12),
            tooltip=[alt.Tooltip("alert:N")],
        )
    )
    return [rect]


def _turns(curve: Curve, alerts: Sequence[AlertRow], ink: Ink, y: tuple[float, float]) -> list[Any]:
    """Mark the estimated start of each alert's change. A label is left out where it would cover the one before."""
    first, last = _ends(curve)
    fired = [alert for alert in alerts if alert.fired_at is not None and first <= alert.started_at < last]
    if not fired:
        return []
    fired.sort(key=lambda alert: alert.started_at)
    when = [f"changed {formats.clock(alert.started_at)}" for alert in fired]
    labels, free = [""] * len(fired), first
    for place, alert in enumerate(fired):
        if alert.started_at >= free:
            labels[place] = when[place]
            free = alert.started_at + (last - first) // WORDS_IN_CHART
    frame = pd.DataFrame(
        {
            "at": _times(np.array([alert.started_at for alert in fired], np.int64)),
            "when": when,
            "label": labels,
            "top": [y[1]] * len(fired),
        }
    )
    x = alt.X("at:T")
    rule = (
        alt.Chart(frame).mark_rule(color=ink.rust, strokeDash=[4, 3], strokeWidth=1.2).encode(x=x, tooltip=["when:N"])
    )
    word = (
        alt.Chart(frame)
        .mark_text(align="left", baseline="top", dx=4, dy=2, color=ink.rust, fontSize=11)
        .encode(x=x, y=alt.Y("top:Q"), text="label:N")
    )
    return [rule, word]


def _frame(
    curve: Curve, value: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> pd.DataFrame:
    """Return one row per step, at its end. `run` numbers the stretches without a gap, so that gaps stay visible."""
    known, banded = np.isfinite(value), np.isfinite(low)
    return pd.DataFrame(
        {
            "at": _times(curve.start + curve.step),
            "when": [f"{formats.clock(int(t) + curve.step)} UTC" for t in curve.start],
            "value": value,
            "low": low,
            "high": high,
            "run": np.cumsum(~known),
            "run_band": np.cumsum(~banded),
        }
    )


def _polarity_range(curve: Curve) -> tuple[float, float]:
    """Return an axis symmetric about 0, only as wide as needed, in fifths: small changes stay visible."""
    seen = np.concatenate([curve.polarity, curve.polarity_low, curve.polarity_high])
    seen = np.abs(seen[np.isfinite(seen)])
    top = min(1.0, max(0.4, float(np.ceil(np.quantile(seen, 0.95) * 5) / 5))) if len(seen) else 1.0
    return -top, top


def _written(value: float, form: str) -> str:
    return formats.share(value) if form.endswith("%") else formats.signed(value)


def _ends(curve: Curve) -> tuple[int, int]:
    return (int(curve.start[0]), int(curve.start[-1]) + curve.step) if len(curve.start) else (0, 0)


def _times(microseconds: npt.NDArray[np.int64]) -> pd.Series[Any]:
    return pd.Series(pd.to_datetime(microseconds, unit="us", utc=True))


def _x(field: str, curve: Curve) -> alt.X:
    """Return the time axis. One layer of a chart sets it; the other layers follow."""
    first, last = _ends(curve)
    last += (last - first) // 22  # room for the label of the last value, in every chart alike
    return alt.X(
        f"{field}:T",
        scale=alt.Scale(type="utc", domain=[_iso(first), _iso(last)]),
        axis=alt.Axis(title=None, grid=False, tickCount=7, labelOverlap=True, labelFlush=True),
    )


def _iso(time: int) -> str:
    return formats.moment(time).isoformat()


def _finished(chart: Any, height: int) -> Any:
    sized = chart.properties(height=height, width="container", padding={"left": 2, "right": 6, "top": 4, "bottom": 2})
    return sized.configure_view(stroke=None, clip=False).configure_axis(labelFontSize=11, minExtent=38, maxExtent=38)
