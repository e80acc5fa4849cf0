"""The charts of a topic. Each shows one quantity; all share one time axis.

    polarity(curve, alerts, dark=False, until=now)

The usual range is a pale band behind the line. An alert is shaded from when it fired to when it resolved. The estimated
start of a change is a dashed line with its date. Colours are those of style.css; only firing alerts are red.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from foreshock.dashboard import axes, formats, spans, vega
from foreshock.dashboard.axes import HEIGHT
from foreshock.dashboard.spans import WORDS_IN_CHART
from foreshock.dashboard.vega import Layer, Picture
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.views import AlertRow

SURGE_HEIGHT, VOLUME_HEIGHT = 120, 96


def polarity(curve: Curve, alerts: Sequence[AlertRow], *, dark: bool, until: int) -> Picture:
    """Draw the mean polarity, -1 to 1, against its usual range."""
    frame = _frame(curve, curve.polarity, curve.polarity_low, curve.polarity_high)
    return _lines(frame, curve, alerts, dark=dark, until=until, y=_polarity_range(curve), form="+.2f", name="polarity")


def negative_share(curve: Curve, alerts: Sequence[AlertRow], *, dark: bool, until: int) -> Picture:
    """Draw the negative share, 0 to 1, against its usual range."""
    frame = _frame(curve, curve.negative, curve.negative_low, curve.negative_high)
    return _lines(frame, curve, alerts, dark=dark, until=until, y=(0.0, 1.0), form=".0%", name="negative share")


def surge(curve: Curve, alerts: Sequence[AlertRow], *, dark: bool, until: int) -> Picture:
    """Draw how much bad news each window has, against what is usual for as long a time."""
    spread = 2 * np.sqrt(curve.bad_usual)
    low, high = np.maximum(curve.bad_usual - spread, 0), curve.bad_usual + spread
    values = np.where(curve.seen > 0, curve.bad_seen, 0.0)
    frame = _frame(curve, values, low, high)
    seen = np.concatenate([values, high[np.isfinite(high)]])
    y = (0.0, max(float(np.ceil(seen.max() * 1.1)), 4.0))
    return _lines(
        frame, curve, alerts, dark=dark, until=until, y=y, form="d", name="negative stories", height=SURGE_HEIGHT
    )


def volume(curve: Curve, alerts: Sequence[AlertRow] = (), *, dark: bool, until: int = 0) -> Picture:
    """Draw the stories of each step: the copies pale, independent events darker, the negative among them rust."""
    ink = axes.ink(dark)
    ends = curve.start + curve.step
    seen = curve.stories > 0
    frame = pd.DataFrame(
        {
            "start": axes.times(curve.start),
            "end": axes.times(ends),
            "zero": 0,
            "stories": curve.stories,
            "events": curve.events,
            "bad": curve.bad,
        }
    )[seen]
    top = max(int(curve.stories.max()) if len(curve.stories) else 1, 4)
    y = vega.field("stories:Q", title=None, scale={"domain": [0, top]}, axis={"tickCount": 3, "format": "d"})
    layers = [axes.time_layer(*_ends(curve)), *spans.market_bands(*_ends(curve), ink)]
    layers += [
        vega.layer(frame, vega.mark("bar", color=color), x="start:T", x2="end:T", y=height, y2="zero:Q")
        for color, height in ((ink.bar, y), (ink.faint, "events:Q"), (ink.rust, "bad:Q"))
    ]
    # A click counts anywhere in the step's column: a bar of one story is only a few pixels high.
    pick = {"name": "at", "select": {"type": "point", "encodings": ["x"], "on": "click"}}
    words = {
        "time": [formats.between(int(a), int(b)) for a, b in zip(curve.start, ends, strict=True)],
        "stories": [formats.number(int(n)) for n in curve.stories],
        "independent events": [formats.number(int(n)) for n in curve.events],
        "negative among them": [f"{n:.0f}" for n in curve.bad],
        "alert": spans.during(alerts, curve.start.tolist(), ends.tolist(), until),
    }
    steps = pd.DataFrame({"start": axes.times(curve.start), "end": axes.times(ends), "zero": 0, "top": top, **words})
    columns = vega.layer(
        steps[seen],
        vega.mark("bar", color=ink.teal, cursor="pointer"),
        params=[pick],
        x="start:T",
        x2="end:T",
        y="top:Q",
        y2="zero:Q",
        tooltip=[vega.field(f"{name}:N") for name in words],
        opacity=vega.selected("at", 0.25, 0.0),
    )
    return Picture([*layers, columns], VOLUME_HEIGHT)


def _lines(
    frame: pd.DataFrame,
    curve: Curve,
    alerts: Sequence[AlertRow],
    *,
    dark: bool,
    until: int,
    y: tuple[float, float],
    form: str,
    name: str,
    height: int = HEIGHT,
) -> Picture:
    ink, (first, last) = axes.ink(dark), _ends(curve)
    is_mood = form.startswith("+")
    write = {"d": _about, ".0%": formats.share}.get(form, formats.signed)
    layers = spans.shading(alerts, first, last, ink, until)
    layers.append(
        vega.layer(
            frame.dropna(subset=["low"]),
            vega.mark("area", color=ink.band, interpolate="step-after", opacity=0.9),
            x=axes.time_axis("at", first, last),
            y=vega.field(
                "low:Q",
                scale={"domain": list(y), "clamp": True},
                axis={"format": form, "tickCount": 5 if height == HEIGHT else 3},
                title=None,
            ),
            y2="high:Q",
            detail="run_band:N",
        )
    )
    if is_mood:
        rule = vega.mark("rule", color=ink.faint, strokeWidth=0.6, strokeDash=[2, 3])
        layers.append(vega.layer(pd.DataFrame({"y": [0.0]}), rule, y="y:Q"))
    line = frame.dropna(subset=["value"])
    stroke = vega.mark("line", color=ink.line, strokeWidth=1.6)
    layers.append(vega.layer(line, stroke, x="at:T", y="value:Q", detail="run:N"))
    layers += spans.turns(alerts, first, last, ink, y[1])
    if len(line):
        row = line.iloc[[-1]].assign(label=[write(float(line.iloc[-1]["value"]))])
        low, high, seen = (float(row.iloc[0][column]) for column in ("low", "high", "value"))
        bad, good = (seen < low, seen > high) if is_mood else (seen > high, seen < low)
        color = ink.rust if bad else ink.teal if good else ink.line
        point = vega.mark("point", color=color, filled=True, size=42, opacity=1)
        said = vega.mark("text", align="left", dx=8, fontWeight=600, fontSize=13, color=color)
        layers.append(vega.layer(row, point, x="at:T", y="value:Q"))
        layers.append(vega.layer(row, said, x="at:T", y="value:Q", text="label:N"))
    if height == HEIGHT:
        layers += _usual_label(frame, alerts, first, last, ink)
    layers.append(_under_the_pointer(frame, curve, alerts, until, name, write, y))
    return Picture(layers, height)


def _about(value: float | None) -> str:
    """Write how much bad news there is: `0.3`, `12`."""
    return "–" if value is None else f"{value:.1f}" if value < 10 else formats.whole(value)


def _usual_label(frame: pd.DataFrame, alerts: Sequence[AlertRow], first: int, last: int, ink: axes.Ink) -> list[Layer]:
    """Write "usual" where the line leaves most room, in the first half, and away from the words of a change."""
    banded = frame.dropna(subset=["low"])
    half = banded.iloc[: max(len(banded) // 2, 1)]
    taken = spans.labelled(alerts, first, last)
    room = (last - first) // (2 * WORDS_IN_CHART)
    free = half[[all(at + room < begin or at > end for begin, end in taken) for at in half["end"]]]
    if not len(free):
        return []
    place = free.iloc[[int((free["high"] - free["value"]).fillna(0.0).to_numpy().argmax())]]
    word = vega.mark("text", align="left", baseline="top", dx=4, dy=3, color=ink.faint, fontSize=11)
    return [vega.layer(place.assign(label="usual"), word, x="at:T", y="high:Q", text="label:N")]


def _under_the_pointer(
    frame: pd.DataFrame,
    curve: Curve,
    alerts: Sequence[AlertRow],
    until: int,
    name: str,
    write: Callable[[float | None], str],
    y: tuple[float, float],
) -> Layer:
    """Return the columns that say what a point of the line is. A point stands at the end of its step."""
    ends = curve.start + curve.step
    words = {f"{formats.long(curve.window)} until": [formats.zoned(int(t)) for t in ends]}
    words |= {
        name: [write(None if np.isnan(v) else v) for v in frame["value"]],
        "usual": [
            "not known yet" if np.isnan(a) else f"{write(a)} to {write(b)}"
            for a, b in zip(frame["low"], frame["high"], strict=True)
        ],
        "independent events": [formats.number(int(n)) for n in curve.seen],
        "alert": spans.during(alerts, curve.start.tolist(), ends.tolist(), until),
    }
    half = curve.step // 2
    return axes.pointed(ends - half, ends + half, words, y[1], y[0], params=[axes.zoom()])


def _frame(
    curve: Curve, value: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> pd.DataFrame:
    """Return one row per step, at its end. `run` numbers the stretches without a gap, so that gaps stay visible."""
    known, banded = np.isfinite(value), np.isfinite(low)
    return pd.DataFrame(
        {
            "at": axes.times(curve.start + curve.step),
            "end": curve.start + curve.step,
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


def _ends(curve: Curve) -> tuple[int, int]:
    return (int(curve.start[0]), int(curve.start[-1]) + curve.step) if len(curve.start) else (0, 0)
