"""*Now*: what fires, as sentences; then every topic, the most wrong first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from foreshock.dashboard import frame, marks, text
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import desk_actions, views
from foreshock.monitor.store.views import AlertRow, TopicRow

EARLIER = 28 * views.DAY
SHOWN_EARLIER = 4
ROWS = 100
"""Topics shown before one asks for all: a page of 200 is slow to draw, and nobody reads beyond the wrong ones."""

ORDERS: dict[str, Callable[[TopicRow], Any]] = {
    "most wrong": lambda row: 0,
    "name": lambda row: row.topic.lower(),
    "polarity": lambda row: (row.polarity is None, row.polarity),
    "stories today": lambda row: -row.stories_today,
    "last story": lambda row: -row.last_story_at,
}


def page() -> None:
    frame.live(body)


def body(look: Look) -> None:
    if frame.undecided(look):
        return
    now = look.standing.decided_until
    assert now is not None
    rows = frame.reader().decided(look, "topics", lambda: views.topics(look.connection, now))
    told = frame.reader().decided(
        look,
        "told",
        lambda: views.alerts(look.connection, states=("firing", "resolved"), since=now - EARLIER, limit=200),
    )
    # What turned bad before what is busy or fell silent, each the newest first.
    firing = sorted((a for a in told if a.state == "firing"), key=lambda alert: KINDS[alert.kind].rank)
    earlier = [alert for alert in told if alert.state == "resolved"][:SHOWN_EARLIER]
    _firing(look, firing, rows, earlier)
    if earlier:
        frame.header("Over", "Alerts of the last 28 days that are resolved.")
        st.html(f'<div class="fs-alerts">{"".join(_sentence(alert, [], now) for alert in earlier)}</div>')
    _table(look, rows)


def _firing(look: Look, firing: Sequence[AlertRow], rows: Sequence[TopicRow], earlier: Sequence[AlertRow]) -> None:
    now = look.standing.decided_until
    assert now is not None
    if firing:
        frame.header(f'<span class="fs-now">Firing now: {len(firing)}</span>')
        done = [desk_actions.actions(look.connection, alert_id=alert.id, limit=1) for alert in firing]
        items = "".join(_sentence(alert, acts, now) for alert, acts in zip(firing, done, strict=True))
        st.html(f'<div class="fs-alerts">{items}</div>')
        return
    learning = [row for row in rows if row.state == "learning"]
    if rows and len(learning) == len(rows):
        dates = sorted({row.learning_until for row in rows if row.learning_until})
        when = " There are too few events so far."
        if dates:
            when = f" The first will have learned by about {text.clock(dates[0], year=True)} UTC"
            when += f", the last by {text.clock(dates[-1], year=True)} UTC." if len(dates) > 1 else "."
        frame.header(
            "Learning",
            f"No topic has a baseline yet, so nothing can fire.{when} Until then the table shows what came in.",
        )
        return
    frame.header("Nothing is firing", "" if earlier else "No alert in the last 28 days either.")


def _sentence(alert: AlertRow, acts: Sequence[dict[str, Any]], now: int) -> str:
    parts = [marks.alert_state(alert)]
    if alert.state == "firing" and alert.fired_at is not None:
        parts.append(f"fired {text.ago(now - alert.fired_at)} ago")
    for act in acts:
        parts.append(f"acknowledged by {text.safe(act['by'], 40)}")
    parts.append(text.page("Topic", "chart", topic=alert.topic, alert=alert.id))
    story = ""
    if alert.evidence and KINDS[alert.kind].has_stories:
        first = alert.evidence[0]
        story = (
            f'<p class="fs-meta">{text.headline(first["title"], first["url"] or "", 140)} '
            f"{text.safe(first['source'], 40)}</p>"
        )
    said = text.page("Alerts", text.safe(alert.sentence), alert=alert.id)
    return (
        f'<article class="fs-alert fs-{alert.state}"><p class="fs-say">{said}</p>'
        f'{story}<p class="fs-meta">{" · ".join(parts)}</p></article>'
    )


def _table(look: Look, rows: Sequence[TopicRow]) -> None:
    now = look.standing.decided_until
    assert now is not None
    whole = [row for row in rows if row.topic != "_all"]
    frame.header(f"{len(whole)} topics" if len(whole) != 1 else "One topic")
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    wanted = left.text_input(
        "Find a topic", key="find", placeholder="Find a topic", label_visibility="collapsed", bind="query-params"
    )
    order = right.segmented_control(
        "Order",
        list(ORDERS),
        default="most wrong",
        key="order",
        label_visibility="collapsed",
        required=True,
        bind="query-params",
    )
    shown = [row for row in rows if (wanted or "").casefold() in text.named(row.topic).casefold()]
    shown = sorted(shown, key=ORDERS[order or "most wrong"])  # stable: the most wrong first where equal
    if not shown:
        st.html(f'<p class="fs-faint">No topic is called like {text.safe(wanted or "", 60)}.</p>')
        return
    every = len(shown) <= ROWS or st.toggle(f"Show all {len(shown)}", key="every", bind="query-params")
    drawn = shown if every else shown[:ROWS]
    names = [row.topic for row in drawn]
    sparks = frame.reader().decided(look, ("sparklines", *names), lambda: views.sparklines(look.connection, names, now))
    st.html(_topics(drawn, sparks, now))
    columns = ["topic", "state", "polarity_24h", "usual", "change", "negative_24h", "stories_today", "last_story_at"]
    frame.download(
        "Download as CSV",
        "foreshock-topics.csv",
        columns,
        [
            [r.topic, r.state, r.polarity, r.usual, r.change, r.negative, r.stories_today, text.moment(r.last_story_at)]
            for r in shown
        ],
    )


def _topics(rows: Sequence[TopicRow], sparks: dict[str, list[float | None]], now: int) -> str:
    lines = []
    for row in rows:
        change = row.change if row.state != "learning" else None
        tone = "" if change is None or abs(row.score) < 2 else " fs-worse" if change < 0 else " fs-better"
        word = "" if not tone else " worse" if tone == " fs-worse" else " better"
        lines.append(
            f'<tr><td class="nw">{marks.topic_state(row)}</td>'
            f'<td class="nm">{text.page("Topic", text.safe(text.named(row.topic), 60), topic=row.topic)}</td>'
            f'<td class="fs-mid">{marks.sparkline(sparks[row.topic], row.usual)}</td>'
            f'<td class="r">{text.signed(row.polarity)}</td>'
            f'<td class="r fs-mid fs-faint">{text.signed(row.usual)}</td>'
            f'<td class="r{tone}">{text.signed(change)}{word}</td>'
            f'<td class="r fs-wide">{text.share(row.negative)}</td>'
            f'<td class="r fs-mid">{row.stories_today:,}</td>'
            f'<td class="r fs-mid fs-faint">{text.ago(now - row.last_story_at)} ago</td></tr>'
        )
    return (
        '<table class="fs-table"><thead><tr><th>state</th><th>topic</th><th class="fs-mid">polarity, one week</th>'
        '<th class="r">24 h</th><th class="r fs-mid">usual</th><th class="r">change</th>'
        '<th class="r fs-wide">negative</th><th class="r fs-mid">stories today</th>'
        f'<th class="r fs-mid">last story</th></tr></thead><tbody>{"".join(lines)}</tbody></table>'
    )
