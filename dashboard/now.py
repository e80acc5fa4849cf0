"""*Now*: the firing alerts as sentences; then every topic, the most wrong first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from foreshock.dashboard import formats, frame, text
from foreshock.dashboard.measured import measured
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import configured, desk_actions, topic_views, views
from foreshock.monitor.store.topic_views import TopicRow
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY

EARLIER = 28 * DAY
SHOWN_EARLIER = 4
ROWS = 100
"""Topics shown until a reader asks for all: 200 are slow to draw, and the most wrong come first."""

SORTED = {
    "most wrong": (
        "Most wrong first: firing, silent, pending; then by how many standard deviations the mood of the last 24 hours "
        "is below its usual."
    ),
    "name": "In the order of their names.",
    "polarity": "The lowest polarity of the last 24 hours first.",
    "stories today": "The most stories since midnight UTC first.",
    "last story": "The newest story first.",
}
"""What each order sorts by."""

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
        _unseen(look, "")
        return
    now = look.standing.decided_until
    assert now is not None
    rows = frame.reader().decided(look, "topics", lambda: topic_views.topics(look.connection, now))
    recent = frame.reader().decided(
        look,
        "recent alerts",
        lambda: views.alerts(look.connection, states=("firing", "resolved"), since=now - EARLIER, limit=200),
    )
    # Bad news comes before unusual volume and silence; within each, the newest first.
    firing = sorted((a for a in recent if a.state == "firing"), key=lambda alert: KINDS[alert.kind].rank)
    earlier = [alert for alert in recent if alert.state == "resolved"][:SHOWN_EARLIER]
    _firing(look, firing, rows, earlier)
    if earlier:
        frame.header("Resolved", "Alerts of the last 28 days that have ended.")
        _alerts(look, [(alert, ()) for alert in earlier])
    _table(look, rows)


def _alerts(look: Look, alerts: Sequence[tuple[AlertRow, Sequence[dict[str, Any]]]]) -> None:
    """Draw alerts with who acknowledged them."""
    lines = [(alert, measured(look, alert), acts) for alert, acts in alerts]
    frame.show("now_alerts.html", alerts=lines, kinds=KINDS, now=frame.clock(look))


def _firing(look: Look, firing: Sequence[AlertRow], rows: Sequence[TopicRow], earlier: Sequence[AlertRow]) -> None:
    if firing:
        frame.header(f"Firing now: {len(firing)}", tone="fs-now")
        alerts = [
            (alert, desk_actions.actions(look.connection, alert_id=alert.id, action="acknowledge", limit=1))
            for alert in firing
        ]
        _alerts(look, alerts)
        return
    learning = [row for row in rows if row.state == "learning"]
    if rows and len(learning) == len(rows):
        dates = sorted({row.learning_until for row in rows if row.learning_until})
        when = " There are too few events so far."
        if dates:
            when = f" The first topic finishes learning around {formats.zoned(dates[0], year=True)}"
            when += f", the last around {formats.zoned(dates[-1], year=True)}." if len(dates) > 1 else "."
        frame.header(
            "Learning",
            f"No topic has a baseline yet, so no alert can fire.{when} "
            "Until then the table shows the stories that arrived.",
        )
        frame.show("learning.html", until=look.standing.decided_until)
        return
    frame.header("No alert is firing", "" if earlier else "No alert has fired in the last 28 days.")


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
    frame.note(SORTED[order or "most wrong"], "fs-sub")
    shown = [row for row in rows if (wanted or "").casefold() in text.named(row.topic).casefold()]
    shown = sorted(shown, key=ORDERS[order or "most wrong"])  # stable: the most wrong first where equal
    if not shown:
        if not _unseen(look, wanted or ""):
            frame.show("now_no_topic.html", wanted=wanted or "")
        return
    every = len(shown) <= ROWS or st.toggle(f"Show all {len(shown)}", key="every", bind="query-params")
    drawn = shown if every else shown[:ROWS]
    names = [row.topic for row in drawn]
    sparks = frame.reader().decided(
        look, ("sparklines", *names), lambda: topic_views.sparklines(look.connection, names, now)
    )
    frame.show("now_topics.html", rows=drawn, sparks=sparks, now=frame.clock(look))
    columns = ["topic", "state", "polarity_24h", "usual", "change", "negative_24h", "stories_today", "last_story_at"]
    frame.download(
        "Download as CSV",
        "foreshock-topics.csv",
        columns,
        [
            [
                r.topic,
                r.state,
                r.polarity,
                r.usual,
                r.change,
                r.negative,
                r.stories_today,
                formats.moment(r.last_story_at),
            ]
            for r in shown
        ],
    )
    _unseen(look, wanted or "")


def _unseen(look: Look, wanted: str) -> bool:
    """Draw the configured topics that have no story yet and whose names contain `wanted`. Return whether any has."""
    unseen = configured.unseen(look.connection)
    own = {name: configured.WORDS[state] for name, state in unseen.own.items() if wanted.casefold() in name.casefold()}
    built_in = [name for name in unseen.built_in if wanted.casefold() in name.casefold()]
    if not own and not built_in:
        return False
    frame.header("No story yet" if not own else f"No story yet: {formats.count(len(own), 'topic')} of yours")
    frame.show("now_unseen.html", own=own, built_in=built_in, named=bool(wanted))
    return True
