"""One alert: its sentence, its chart, its timeline and its evidence. The page *Alerts* shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from foreshock.dashboard import charts, formats, frame, markup, text
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import curves, desk_actions, feedback, views
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY, HOUR

EVENTS = 60


def body(look: Look) -> None:
    identity = st.query_params.get("alert", "")
    alert = views.alert(look.connection, identity)
    if alert is None:
        frame.empty("No such alert", markup.render("alert_missing.html", alert=identity), "foreshock alerts list")
        return
    now = look.standing.decided_until or alert.window_end
    about_alert = desk_actions.actions(look.connection, alert_id=alert.id)
    acknowledged = [act for act in about_alert if act["action"] == "acknowledge"]
    verdict = next((act for act in about_alert if act["action"] in feedback.VERDICTS), None)
    about_topic = desk_actions.actions(look.connection, topic=alert.topic)
    silenced = [act for act in about_topic if act["action"] == "silence"]
    _facts(alert, acknowledged, silenced, verdict)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _chart(look, alert, now)
    with right:
        frame.header("Timeline", "All times UTC.")
        acts = sorted(about_alert + silenced, key=lambda act: str(act["at"]))
        frame.show("timeline.html", states=_states(alert), acts=acts)
    _evidence(look, alert, now)


def _facts(
    alert: AlertRow,
    acknowledged: Sequence[dict[str, Any]],
    silenced: Sequence[dict[str, Any]],
    verdict: dict[str, Any] | None,
) -> None:
    kind = KINDS[alert.kind]
    written = {"negative": formats.whole, "polarity": formats.signed, "events": formats.whole}[kind.quantity]
    if kind.quantity == "negative" and alert.observed <= 1:  # decided before surges were counted, when it was a share
        written = formats.share
    frame.show(
        "alert.html",
        alert=alert,
        measure=kind.measure,
        observed=written(alert.observed),
        usual=f"{'needed' if kind.by_rule else 'usual'} {written(alert.baseline)}",
        acknowledged_by=acknowledged[0]["by"] if acknowledged else None,
        silenced_until=silenced[0]["until"] if silenced else None,
        verdict=verdict,
    )


def _chart(look: Look, alert: AlertRow, now: int) -> None:
    """Draw the quantity that the alert is about, from a while before its window to a while after it."""
    end = min(max(alert.resolved_at or now, alert.window_end) + DAY, now)
    start = max(min(alert.window_start, alert.started_at) - 3 * DAY, end - 60 * DAY)
    long = end - start > 21 * DAY
    step, window = (6 * HOUR, 2 * DAY) if long else (2 * HOUR, DAY)
    step = max(step - step % look.standing.bucket, look.standing.bucket)
    curve = curves.curve(look.connection, alert.topic, start, end, step=step, window=window)
    over = "2 days" if long else "24 hours"
    quantity = KINDS[alert.kind].quantity
    if quantity == "negative":
        frame.header(
            f"Negative share of the last {over}",
            "The band is the usual range: two standard deviations for as many events.",
        )
        chart = charts.negative_share(curve, [alert], dark=frame.dark(), until=now)
    elif quantity == "events":
        frame.header(f"Stories in {step // HOUR} hours")
        chart = charts.volume(curve, dark=frame.dark())
    else:
        frame.header(
            f"Polarity, mean of the last {over}",
            "The band is the usual range: two standard deviations for as many events.",
        )
        chart = charts.polarity(curve, [alert], dark=frame.dark(), until=now)
    st.altair_chart(chart, key="alert-chart", alt=f"{text.named(alert.topic)} around the alert")


def _states(alert: AlertRow) -> list[tuple[int, str]]:
    """Return the alert's states with the times at which they began, the earliest first."""
    states = [(alert.started_at, "estimated start of the change"), (alert.pending_at, "pending")]
    if alert.fired_at is not None:
        states.append((alert.fired_at, "fired"))
    if alert.resolved_at is not None:
        states.append((alert.resolved_at, "resolved" if alert.fired_at else "ended without firing"))
    return sorted(states, key=lambda state: state[0])


def _evidence(look: Look, alert: AlertRow, now: int) -> None:
    window = f"{formats.clock(alert.window_start, year=True)} to {formats.clock(alert.window_end, year=True)} UTC."
    if not KINDS[alert.kind].has_stories:
        frame.header("Evidence", f"{window} The evidence is that no story arrived.")
        return
    if KINDS[alert.kind].by_rule:
        rows = views.shown_with(alert)
        frame.header("Evidence", f"{formats.count(len(rows), 'story')} as read when the alert fired.")
        frame.show("events.html", rows=rows, total=None)
        return
    order = "negative" if alert.direction == "worse" else "positive"
    rows, total = views.events(
        look.connection, alert.topic, alert.window_start, alert.window_end, known=now, order=order, limit=EVENTS
    )
    more = f", the {len(rows)} most {order} shown" if total > len(rows) else ""
    frame.header("Evidence", f"{window} {formats.count(total, 'independent event')}{more}, one per line.")
    frame.show("events.html", rows=rows, total=None)
