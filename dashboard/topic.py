"""*Topic*: one topic over time against its usual range, and the stories behind any part of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from markupsafe import Markup

from foreshock.dashboard import alert as alert_page
from foreshock.dashboard import axes, charts, dots, formats, frame, market, stretch, text
from foreshock.dashboard.measured import measured
from foreshock.dashboard.reader import Look
from foreshock.dashboard.stretch import Stretch
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import configured, curves, evidence, topic_views, views
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY

ORDERS = {"most negative": "negative", "most positive": "positive", "newest": "newest"}
EVENTS = 40
HIDDEN: Any = {"label_visibility": "collapsed", "bind": "query-params"}
"""Options of a control that needs no label, and whose value is in the page's address."""


def page() -> None:
    names = frame.once(lambda look: configured.topic_names(look.connection))
    if isinstance(names, list) and names:
        left, right = st.columns([2, 3], vertical_alignment="bottom")
        asked = st.query_params.get("topic")
        if asked is not None and asked not in names:
            st.query_params.pop("topic")
            frame.show("topic_missing.html", topic=asked)
        left.selectbox("Topic", names, key="topic", format_func=text.named, **HIDDEN)
        with right, st.container(horizontal=True, vertical_alignment="bottom"):
            stretch.controls()
    frame.live(body)


def body(look: Look) -> None:
    now, topic = look.standing.decided_until, st.session_state.get("topic")
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
    chosen = next((alert for alert in alerts if alert.id == st.query_params.get("alert")), None)
    span = stretch.chosen(look, topic, now)
    curve = frame.reader().decided(
        look,
        ("curve", topic, span),
        lambda: curves.curve(look.connection, topic, span.start, span.end, step=span.step, window=span.window),
    )
    opened = [alert for alert in alerts if alert.state in ("firing", "pending") or alert is chosen]
    _summary(look, topic, opened, curve)
    if span.own:
        back = text.link("Topic", "Show the time up to now", topic=topic, range=stretch.range_name())
        frame.note(Markup("{}. {}").format(formats.between(span.start, span.end, year=True), back), "fs-meta")
    if sessions := market.said(span.start, span.end):
        frame.note(sessions, "fs-meta")
    if chosen is not None:
        alert_page.chart(look, chosen, now)
    _charts(look, topic, alerts, span, curve)
    frame.download("Download these series as CSV", f"foreshock-{text.clean(topic, 40)}.csv", COLUMNS, _rows(curve))
    _stories(look, topic, span, chosen)


def _charts(look: Look, topic: str, alerts: list[AlertRow], span: Stretch, curve: Curve) -> None:
    """Draw mood and volume over time. The charts of another stretch are other charts: what was drawn on one is gone."""
    dark, name, now = frame.dark(), text.named(topic), look.standing.decided_until or span.end
    suffix = f" {span.start} {span.end}" if span.own else ""
    zoomed = "Draw across it to zoom."
    days = max((span.end - span.start) / DAY, 1)
    if int(curve.events.sum()) < min(dots.FEW * days, dots.MOST):
        rows, _ = views.events(look.connection, topic, span.start, span.end, known=now, order="newest", limit=dots.MOST)
        frame.header(
            "Events, one by one",
            f"Fewer than {dots.FEW} a day. −1 negative, +1 positive; larger marks have more copies. {zoomed}",
        )
        picture = dots.draw(rows, alerts, span.start, span.end, dark=dark, until=now)
        _zoomable(picture, f"dots{suffix}", f"Events on {name} by mood over time")
    else:
        over = formats.long(span.window)
        frame.header(
            f"Polarity, mean of the last {over}",
            "−1 all negative, +1 all positive. The band is the usual range: two standard deviations for as many "
            f"events. {zoomed}",
        )
        _zoomable(
            charts.polarity(curve, alerts, dark=dark, until=now), f"polarity{suffix}", f"Polarity of {name} over time"
        )
        frame.header(
            f"Negative share of the last {over}", "The band is the usual range, from the share of the 28 days before."
        )
        _zoomable(
            charts.negative_share(curve, alerts, dark=dark, until=now),
            f"negative{suffix}",
            f"Negative share of {name} over time",
        )
    frame.header(
        f"Stories in {formats.long(curve.step)}",
        "Independent events are darker, the negative among them rust. Click a bar to read its stories below.",
    )
    picked = st.altair_chart(
        charts.volume(curve, alerts, dark=dark, until=now),
        key=f"volume{suffix}",
        on_select="rerun",
        selection_mode="at",
        alt=f"Stories on {name} over time",
    )
    _take(picked)


def _zoomable(chart: Any, key: str, described: str) -> None:
    st.altair_chart(chart, key=key, on_select=lambda: stretch.take_zoom(key), selection_mode=axes.ZOOM, alt=described)


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


def _stories(look: Look, topic: str, span: Stretch, chosen: AlertRow | None) -> None:
    now = look.standing.decided_until
    assert now is not None
    at, sub = _at(), ""
    if at is not None:
        start, end = at, at + span.step
        title = f"Stories from {formats.between(start, end)}"
        sub = text.link("Topic", "Show the latest stories", topic=topic, range=stretch.range_name())
    elif chosen is not None and KINDS[chosen.kind].by_rule:
        at_firing = chosen.fired_at or chosen.window_end
        frame.header(f"Stories behind the alert, {formats.zoned(at_firing)}", "As read when the alert fired.")
        frame.show("events.html", rows=views.shown_with(chosen), total=None)
        return
    elif chosen is not None:
        start, end = chosen.window_start, chosen.window_end
        title = f"Stories behind the alert, {formats.between(start, end)}"
    elif span.own:
        start, end = span.start, span.end
        title = f"Stories from {formats.between(start, end)}"
    else:
        start, end = now - max(span.window, DAY), now
        title = f"Stories of the last {formats.long(end - start)}"
    frame.header(title, sub)
    by = st.segmented_control(
        "Order of stories", list(ORDERS), default="most negative", key="by", required=True, **HIDDEN
    )
    order = ORDERS[by or "most negative"]
    rows, total = frame.reader().decided(
        look,
        ("events", topic, start, end, order),
        lambda: views.events(look.connection, topic, start, end, known=now, order=order, limit=EVENTS),
    )
    if total > evidence.MOST:
        frame.note(
            f"These are among the newest {evidence.MOST:,} stories of this time. To see others, choose a bar above."
        )
    if not rows:
        frame.note("No stories in this period. Choose a bar above, or a longer range.")
        return
    frame.show("events.html", rows=rows, total=total)
    frame.download(
        "Download these stories as CSV",
        f"foreshock-{text.clean(topic, 40)}-stories.csv",
        ["published_at", "source", "title", "url", "negative", "neutral", "positive", "severity", "copies"],
        [
            [
                formats.moment(r.first.published_at),
                r.first.source,
                r.first.title,
                r.first.url,
                *[v / 10_000 for v in r.first.scores or ()],
                *[None] * (0 if r.first.scores else 3),
                None if r.first.severity is None else r.first.severity / 100,
                len(r.copies),
            ]
            for r in rows
        ],
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


def _at() -> int | None:
    """Return the chosen bar's start from the address, where it is in seconds since 1970."""
    value = st.query_params.get("at", "")
    return int(value) * 1_000_000 if value.isdecimal() and len(value) < 12 else None


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
