"""One alert: its sentence, its chart, its timeline and its evidence. The page *Alerts* shows it."""

from __future__ import annotations

import time

import numpy as np
import streamlit as st

from foreshock.dashboard import alert_chart, charts, explained, formats, frame, history, market, markup, text, words
from foreshock.dashboard.measured import measured, odds
from foreshock.dashboard.reader import Look
from foreshock.monitor import kinds
from foreshock.monitor.kinds import DRIFT, KINDS, SILENCE, VOLUME
from foreshock.monitor.store import alert_windows, curves, desk_actions, feedback, incident_history, views
from foreshock.monitor.store.alert_windows import AlertCurve
from foreshock.monitor.store.curves import Curve
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
    silenced_until = desk_actions.silenced_until(look.connection, alert.topic) or 0
    frame.show(
        "alert.html",
        alert=alert,
        measured=measured(look, alert),
        odds=odds(look, alert),
        acknowledged_by=acknowledged[0]["by"] if acknowledged else None,
        silenced_until=silenced_until if silenced_until > time.time_ns() // 1_000 else None,
        verdict=verdict,
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        chart(look, alert, now)
        _evidence(look, alert, now)
    with right:
        frame.header("Timeline", f"Messages stand at the time at which they were decided. Times in {formats.zone()}.")
        entries = history.of_alert(alert, named=False)
        entries += history.of_messages(incident_history.messages(look.connection, [alert.id], of_incident=False))
        until = alert.resolved_at if frame.is_live(look) else None  # else the clock is not the feed's
        acts = incident_history.acts(look.connection, [alert.id], [alert.topic], alert.pending_at, until)
        entries += history.of_acts(acts)
        frame.show("timeline.html", entries=history.in_order(entries))
        if alert.group_id:
            frame.note(
                text.link("Alerts", "Its incident, with the messages about it", incident=alert.group_id), "fs-meta"
            )
        explained.draw_why(look, alert)
        explained.draw_moved(look, alert.fired_at or alert.pending_at, topics=[alert.topic], alerts=[alert.id])


def chart(look: Look, alert: AlertRow, now: int) -> None:
    """Draw what the alert measured, in windows as long as the one that fired."""
    if KINDS[alert.kind].of_names:
        frame.note("This name has no series yet. Put it on the watchlist, and its past is drawn.", "fs-meta")
        return
    if alert.kind == SILENCE:
        curve = silence_curve(look, alert, now)
        over = formats.long(curve.step)
        frame.header(f"Independent events in {over}", "The dashed box is what would be usual in the gap.")
        ends = int(curve.start[0]), int(curve.start[-1]) + curve.step
        picture = alert_chart.gap(curve, alert, dark=frame.dark(), until=now)
    elif KINDS[alert.kind].by_rule:
        start, end = alert.window_start - 3 * DAY, min((alert.resolved_at or now) + DAY, now)
        curve = curves.curve(look.connection, alert.topic, start, end, step=2 * HOUR, window=DAY)
        frame.header(
            "Negative share of the last 24 hours", "The band is the usual range, with two standard deviations."
        )
        ends = start, end
        picture = charts.negative_share(curve, [alert], dark=frame.dark(), until=now)
    else:
        drawn = frame.reader().decided(
            look,
            ("alert curve", alert.id, alert.state, alert.window_end),
            lambda: alert_windows.alert_curve(look.connection, alert, now, bucket=look.standing.bucket),
        )
        thing = words.thing(alert)
        frame.header(
            f"{thing[0].upper()}{thing[1:]} in windows of {kinds.span(drawn.window)}",
            f"The line is at {words.measured(alert, _at_firing(drawn, alert))} where the alert "
            f"{'fired' if alert.fired_at else 'became pending'}; the rust bar below is that window. "
            f"The pale band is what the alert called usual: {alert_chart.usual_range(drawn, alert)}, with two standard "
            "deviations either way.",
        )
        ends = int(drawn.at[0]), int(drawn.at[-1])
        picture = alert_chart.draw(drawn, alert, dark=frame.dark(), until=now)
    st.vega_lite_chart(picture.specification(), key="alert-chart", alt=f"{text.named(alert.topic)} around the alert")
    frame.note(f"{_remark(alert)} {market.said(*ends)}".strip(), "fs-meta")


def silence_curve(look: Look, alert: AlertRow, now: int) -> Curve:
    """Return a topic's events before and in its silence, in steps of about an eighth of the gap that fired."""
    gap = max(alert.window_end - alert.started_at, HOUR)
    bucket = look.standing.bucket
    end = min(max(alert.resolved_at or now, alert.window_end) + gap, now)
    step = max(gap // 8, (end - alert.started_at) // 150, HOUR)
    step = max(step - step % HOUR, bucket)
    start = alert.started_at - 3 * gap
    return curves.curve(look.connection, alert.topic, start, end, step=step, window=step)


def _at_firing(drawn: AlertCurve, alert: AlertRow) -> float:
    return float(drawn.values[int(np.searchsorted(drawn.at, alert.window_end))])


def _remark(alert: AlertRow) -> str:
    """Say where the detector's number is another than the one that is drawn."""
    if alert.kind == VOLUME and round(alert.observed) != alert.events:
        return (
            f"{formats.whole(alert.observed)} of the {alert.events} events count: further ones of one hour or of one "
            "source count less."
        )
    if alert.kind == DRIFT:
        return (
            "A drift is judged by the negative share of windows of up to eight weeks. Its sentence gives the polarity."
        )
    return ""


def _evidence(look: Look, alert: AlertRow, now: int) -> None:
    window = f"{formats.between(alert.window_start, alert.window_end, year=True)}."
    if not KINDS[alert.kind].has_stories:
        frame.header("Evidence", f"{window} The evidence is that no story arrived.")
        return
    if KINDS[alert.kind].by_rule:
        rows = views.shown_with(alert)
        if not rows:
            frame.header("Evidence", "Its stories are older than [store] keep_evidence and were deleted.")
            return
        frame.header("Evidence", f"{formats.count(len(rows), 'story')} as read when the alert fired.")
        frame.show("events.html", rows=rows, total=None)
        return
    order = "negative" if alert.direction == "worse" else "positive"
    rows, total = views.events(
        look.connection, alert.topic, alert.window_start, alert.window_end, known=now, order=order, limit=EVENTS
    )
    more = f", the {len(rows)} most {order} shown" if total > len(rows) else ""
    # A copy of an event that began before the window, or under another topic, stands for its event here.
    elsewhere = f", and {total - alert.events} whose first story lies elsewhere" if total > alert.events else ""
    events = formats.count(min(alert.events, total), "independent event")
    frame.header("Evidence", f"{window} {events}{elsewhere}{more}, one per line.")
    frame.show("events.html", rows=rows, total=None)
