"""*Topic*: one topic over time against its usual range, and the stories behind any part of it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from markupsafe import Markup

from foreshock.dashboard import alert as alert_page
from foreshock.dashboard import (
    axes,
    charts,
    chosen,
    compared,
    dots,
    formats,
    frame,
    here,
    market,
    model_marks,
    noted,
    stretch,
    text,
    topic_stories,
)
from foreshock.dashboard.measured import measured
from foreshock.dashboard.reader import Look
from foreshock.dashboard.stretch import Stretch
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store import configured, curves, notes, switches, topic_views, views
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.notes import Note
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY

HIDDEN: Any = {"label_visibility": "collapsed", "bind": "query-params"}
"""Options of a control that needs no label, and whose value is in the page's address."""


def page() -> None:
    names = frame.once(lambda look: configured.topic_names(look.connection))
    if isinstance(names, list) and names:
        left, right = st.columns([1, 2], vertical_alignment="bottom")
        with left:
            name = chosen.topic(names)
        with right, st.container(horizontal=True, vertical_alignment="bottom"):
            stretch.controls()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen.others(names)
            noted.form(name)
    frame.live(body)


def body(look: Look) -> None:
    now, topic = look.standing.decided_until, st.session_state.get("topic")
    if topic and topic_views.first_story_at(look.connection, topic) is None:
        unseen = configured.unseen(look.connection)
        if topic in unseen.own or topic in unseen.built_in:
            state = unseen.own.get(topic, configured.NO_STORY)
            frame.show("topic_unseen.html", topic=topic, state=configured.WORDS[state])
            return
    if frame.undecided(look):
        return
    assert now is not None
    stretch.redraw_if_zoomed()
    if not topic:
        st.rerun()  # the store came while the page was open: draw its controls
    alerts = [alert for alert in views.alerts(look.connection, topic=topic) if alert.state != "dropped"]
    asked = next((alert for alert in alerts if alert.id == st.query_params.get("alert")), None)
    span = stretch.chosen(look, topic, now)
    curve = frame.reader().decided(
        look,
        ("curve", topic, span),
        lambda: curves.curve(look.connection, topic, span.start, span.end, step=span.step, window=span.window),
    )
    opened = [alert for alert in alerts if alert.state in ("firing", "pending") or alert is asked]
    _summary(look, topic, opened, curve)
    if span.own:
        back = here.link(
            "Show the time up to now", **{"from": None, "to": None, "at": None, "alert": None}, topic=topic
        )
        frame.note(Markup("{}. {}").format(formats.between(span.start, span.end, year=True), back), "fs-meta")
    if coarse := stretch.coarse(look, span):
        frame.note(coarse, "fs-meta")
    if sessions := market.said(span.start, span.end):
        frame.note(sessions, "fs-meta")
    if asked is not None:
        alert_page.chart(look, asked, now)
    standing = notes.notes(look.connection, topic)
    with st.container(key="fs-beside"):
        left, right = st.columns([3, 2], gap="large")
    with left:
        _compared(look, topic, span)
        _charts(look, topic, alerts, span, curve, standing)
        frame.download("Download these series as CSV", f"foreshock-{text.clean(topic, 40)}.csv", COLUMNS, _rows(curve))
        if standing:
            frame.header("Notes", "What people wrote on a time of this topic.")
            frame.show("notes.html", notes=standing)
        topic_stories.who_drives(look, topic, span)
    with right:
        topic_stories.stories(look, topic, span, asked)


def _compared(look: Look, topic: str, span: Stretch) -> None:
    """Draw the topics of the comparison on one chart, if there are others."""
    others = chosen.compared_with(topic)
    if not others:
        return
    dark, found = frame.dark(), {}
    for name in [topic, *others][: compared.MOST]:
        ask = partial(curves.curve, look.connection, name, span.start, span.end, step=span.step, window=span.window)
        found[name] = frame.reader().decided(look, ("curve", name, span), ask)
    frame.header("Compared", f"Windows of {formats.long(span.window)}.")
    measure = st.segmented_control(
        "Compare by", compared.MEASURES, default=compared.MEASURES[0], key="measure", required=True, **HIDDEN
    )
    picture = compared.draw(found, measure or compared.MEASURES[0], dark=dark)
    key = f"compared {measure} {'|'.join(found)}" + (f" {span.start} {span.end}" if span.own else "")
    _zoomable(picture, key, f"{measure} of {', '.join(map(text.named, found))} over time")
    frame.show("compared.html", lines=compared.lines(found, dark=dark))


def _charts(look: Look, topic: str, alerts: list[AlertRow], span: Stretch, curve: Curve, standing: list[Note]) -> None:
    """Draw mood and volume over time. The charts of another stretch are other charts: what was drawn on one is gone."""
    dark, name, now = frame.dark(), text.named(topic), look.standing.decided_until or span.end
    changes = [change for change in switches.changes(look.connection) if span.start <= change.at <= span.end]
    for change in changes:
        frame.note(text.outside(f"{formats.zoned(change.at)}: {model_marks.sentence(change)}", 300), "fs-meta")

    def with_notes(chart: Picture, *, words: bool = False) -> Picture:
        marked = model_marks.onto(chart, changes, span.start, span.end, dark=dark, words=words)
        return noted.onto(marked, standing, span.start, span.end, dark=dark, words=words)

    suffix = f" {span.start} {span.end}" if span.own else ""
    zoomed = "Draw across it to zoom."
    days = max((span.end - span.start) / DAY, 1)
    few, over = int(curve.events.sum()) < min(dots.FEW * days, dots.MOST), formats.long(span.window)
    if few:
        rows, _ = views.events(look.connection, topic, span.start, span.end, known=now, order="newest", limit=dots.MOST)
        frame.header(
            "Events, one by one",
            f"Fewer than {dots.FEW} a day. −1 negative, +1 positive; larger marks have more copies. {zoomed}",
        )
        picture = dots.draw(rows, alerts, span.start, span.end, dark=dark, until=now)
        _zoomable(with_notes(picture, words=True), f"dots{suffix}", f"Events on {name} by mood over time")
    else:
        frame.header(
            f"Polarity, mean of the last {over}",
            "−1 all negative, +1 all positive. The band is the usual range: two standard deviations for as many "
            f"events. {zoomed}",
        )
        picture = charts.polarity(curve, alerts, dark=dark, until=now)
        _zoomable(with_notes(picture, words=True), f"polarity{suffix}", f"Polarity of {name} over time")
        frame.header(
            f"Negative stories in the last {over}",
            "Independent events, each counted by its probability. The band is what is usual for as long a time.",
        )
        picture = charts.surge(curve, alerts, dark=dark, until=now)
        _zoomable(with_notes(picture), f"surge{suffix}", f"Negative stories on {name} over time")
    frame.header(
        f"Stories in {formats.long(curve.step)}",
        "Independent events are darker, the negative among them rust. Click a bar to read its stories.",
    )
    picked = st.vega_lite_chart(
        with_notes(charts.volume(curve, alerts, dark=dark, until=now)).specification(),
        key=f"volume{suffix}",
        on_select="rerun",
        selection_mode="at",
        alt=f"Stories on {name} over time",
    )
    _take(picked)
    if not few:
        frame.header(
            f"Negative share of the last {over}", "The band is the usual range, from the share of the 28 days before."
        )
        picture = charts.negative_share(curve, alerts, dark=dark, until=now)
        _zoomable(with_notes(picture), f"negative{suffix}", f"Negative share of {name} over time")


def _zoomable(chart: Picture, key: str, described: str) -> None:
    taken: Any = {"on_select": lambda: stretch.take_zoom(key), "selection_mode": axes.ZOOM}
    st.vega_lite_chart(chart.specification(), key=key, alt=described, **taken)


COLUMNS = [
    "start",
    "stories",
    "events",
    "polarity",
    "usual_polarity_low",
    "usual_polarity_high",
    "negative_share",
    "usual_negative_low",
    "usual_negative_high",
]


def _summary(look: Look, topic: str, opened: list[AlertRow], curve: Curve) -> None:
    """Draw the open alerts on the topic, or one sentence on how the topic stands."""
    if opened:
        frame.show("topic_alerts.html", alerts=[(row, measured(look, row)) for row in opened])
        return
    known = np.flatnonzero(np.isfinite(curve.polarity))
    if not len(known):
        frame.show("topic_calm.html", topic=topic, polarity=None)
        return
    last = int(known[-1])
    low, high = float(curve.polarity_low[last]), float(curve.polarity_high[last])
    learning = not np.isfinite(low)
    frame.show(
        "topic_calm.html",
        topic=topic,
        polarity=float(curve.polarity[last]),
        learning_until=topic_views.learning_until(look.connection, topic),
        low=None if learning else low,
        high=None if learning else high,
    )


def _take(picked: Any) -> None:
    """Put the clicked bar's start into the page's address."""
    points = picked["selection"].get("at") if picked else None
    if not points:
        return
    clicked = int(points[0]["start"]) * 1000
    if st.query_params.get("at") != str(clicked // 1_000_000) and st.session_state.get("clicked") != clicked:
        st.session_state["clicked"] = clicked
        st.query_params["at"] = str(clicked // 1_000_000)


def _rows(curve: Curve) -> list[list[object]]:
    values = (
        curve.polarity,
        curve.polarity_low,
        curve.polarity_high,
        curve.negative,
        curve.negative_low,
        curve.negative_high,
    )
    return [
        [formats.moment(int(start)), int(curve.stories[i]), int(curve.events[i])]
        + [None if np.isnan(v[i]) else round(float(v[i]), 4) for v in values]
        for i, start in enumerate(curve.start)
    ]
