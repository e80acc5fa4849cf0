"""What lies behind charts: the sessions of an exchange, alerts shaded while they fired, and where changes began."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from foreshock.dashboard import axes, formats, market, vega, words
from foreshock.dashboard.axes import Ink
from foreshock.dashboard.vega import Layer
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store.views import AlertRow

WORDS_IN_CHART = 3
"""How many labels such as "changed 12:35, 2 April" fit side by side in the narrowest chart, that of a phone."""


def market_bands(first: int, last: int, ink: Ink) -> list[Layer]:
    """Return the layer of the exchange's sessions or closed days; none without an exchange."""
    bands = market.bands(first, last)
    if not bands:
        return []
    frame = pd.DataFrame({"from": axes.times([a for a, _ in bands]), "to": axes.times([b for _, b in bands])})
    return [vega.layer(frame, vega.mark("rect", color=ink.market, opacity=0.55), x="from:T", x2="to:T")]


def shading(alerts: Sequence[AlertRow], first: int, last: int, ink: Ink, until: int) -> list[Layer]:
    """Return what lies behind a chart: the exchange's sessions, and alerts from when they fired to when they resolved.

    `until`: where the shading of an alert that fires now ends.
    """
    behind = market_bands(first, last, ink)
    rows = [
        {
            "from": max(alert.fired_at, first),
            "to": min(alert.resolved_at or until, last),
            "now": alert.state == "firing",
        }
        for alert in alerts
        if alert.fired_at is not None and alert.fired_at < last and (alert.resolved_at or until) > first
    ]
    if not rows:
        return behind
    frame = pd.DataFrame(rows)
    for name in ("from", "to"):
        frame[name] = axes.times(frame[name].to_numpy(np.int64))
    color = vega.where("now", ink.red, ink.rust)
    rect = vega.layer(frame, vega.mark("rect"), x="from:T", x2="to:T", color=color, opacity=vega.value(0.12))
    return [*behind, rect]


def during(alerts: Sequence[AlertRow], starts: Sequence[int], ends: Sequence[int], until: int) -> list[str]:
    """Return in words which alerts fired in each step; "none" where none did."""
    fired = [(a.fired_at, a.resolved_at or until, words.kind(a)) for a in alerts if a.fired_at is not None]
    return [
        ", ".join(dict.fromkeys(word for fire, over, word in fired if fire < end and over > start)) or "none"
        for start, end in zip(starts, ends, strict=True)
    ]


def turns(alerts: Sequence[AlertRow], first: int, last: int, ink: Ink, top: float) -> list[Layer]:
    """Mark the estimated start of each alert's change. A label is left out where it would cover the one before."""
    fired = _changed(alerts, first, last)
    if not fired:
        return []
    fired.sort(key=lambda alert: alert.started_at)
    when = [f"changed {formats.clock(alert.started_at)}" for alert in fired]
    room, free = (last - first) // WORDS_IN_CHART, first
    labels, lefts = [""] * len(fired), [False] * len(fired)
    for place, alert in enumerate(fired):
        at, follows = alert.started_at, fired[place + 1].started_at if place + 1 < len(fired) else last + room
        # At the right edge, and where another line would cross the words, they stand left of their line.
        lefts[place] = at > last - room or (at < follows < at + room and at - room >= free)
        begins = at - room if lefts[place] else at
        if begins >= free:
            labels[place] = when[place]
            free = begins + room
    frame = pd.DataFrame(
        {
            "at": axes.times([alert.started_at for alert in fired]),
            "when": when,
            "label": labels,
            "top": [top] * len(fired),
            "left": lefts,
        }
    )
    layers = [vega.layer(frame, vega.mark("rule", color=ink.rust, strokeDash=[4, 3], strokeWidth=1.2), x="at:T")]
    for left, align, dx in ((False, "left", 4), (True, "right", -4)):
        if left in lefts:
            said = vega.mark("text", align=align, baseline="top", dx=dx, dy=2, color=ink.rust, fontSize=11)
            layers.append(vega.layer(frame[frame["left"] == left], said, x="at:T", y="top:Q", text="label:N"))
    return layers


def labelled(alerts: Sequence[AlertRow], first: int, last: int) -> list[tuple[int, int]]:
    """Return the stretches of time that the labels of `turns` may cover."""
    room = (last - first) // WORDS_IN_CHART
    begun = [alert.started_at for alert in _changed(alerts, first, last)]
    return [(at - room, at + room) for at in begun]


def _changed(alerts: Sequence[AlertRow], first: int, last: int) -> list[AlertRow]:
    """Return the alerts that fired for a change which began in [first, last). A rule estimates no change."""
    fired = [alert for alert in alerts if alert.fired_at is not None and not KINDS[alert.kind].by_rule]
    return [alert for alert in fired if first <= alert.started_at < last]
