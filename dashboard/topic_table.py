"""The table of topics on *Now*: filters, pages, and a row that opens in place. The address has all of it.

Only what is drawn is asked of the store: the sparklines of one page, and the stories of the row that is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from foreshock.dashboard import formats, frame, topic_filter
from foreshock.dashboard.measured import measured
from foreshock.dashboard.reader import Look
from foreshock.dashboard.topic_filter import CHANGED, NO_STORY, ORDERS, SORTED, STATES, WATCHLISTS, Wanted
from foreshock.monitor.store import configured, incident_cards, topic_labels, topic_views, views
from foreshock.monitor.store.moved import NOTABLE
from foreshock.monitor.store.topic_labels import UNLABELLED, Labels
from foreshock.monitor.store.topic_views import TopicRow
from foreshock.monitor.units import ALL, DAY

ROWS = 50
"""Topics of one page."""
OPEN, PAGE = "open", "page"
"""The names in the address of the row that is open, and of the page."""
EVENTS = 5
"""Events that an open row shows."""
UNSEEN = 50
"""Topics without a story that are listed."""
UNSEEN_SECONDS = 30
EVERY_LIST = "any watchlist"
COLUMNS = ["topic", "state", "polarity_24h", "usual", "change", "negative_24h", "stories_today", "last_story_at"]


def draw(look: Look, rows: Sequence[TopicRow]) -> None:
    """Draw the topics that match what the reader asks for, one page of them."""
    now = look.standing.decided_until
    assert now is not None
    rows = [row for row in rows if row.topic != ALL]
    known = frame.reader().decided(look, "labels", lambda: topic_labels.load(look.connection))
    frame.header(formats.count(len(rows), "topic") if len(rows) != 1 else "One topic")
    wanted, order = _controls(rows, known)
    found = topic_filter.chosen(rows, known, wanted, order)
    first = _first(len(found))
    shown = found[first : first + ROWS]
    if found:
        _table(look, shown, first, len(found), order, now)
        frame.download("Download as CSV", "foreshock-topics.csv", COLUMNS, lambda: [_row(row) for row in found])
    if first == 0 and (not wanted.states or NO_STORY in wanted.states):
        unseen(look, wanted, known)
    elif not found:
        frame.note("No topic is like this. Use fewer filters.")


def unseen(look: Look, wanted: Wanted, known: dict[str, Labels]) -> None:
    """Draw the configured topics without a story that match by their names and labels."""
    reader = frame.reader()
    found = reader.for_seconds("unseen", UNSEEN_SECONDS, lambda: configured.unseen(look.connection))
    own = {name: configured.WORDS[state] for name, state in found.own.items() if wanted.named(name, known)}
    built_in = [name for name in found.built_in if wanted.named(name, known)]
    if not own and not built_in:
        if wanted.find:
            frame.show("now_no_topic.html", wanted=wanted.find)
        return
    frame.header("No story yet" if not own else f"No story yet: {formats.count(len(own), 'topic')} of yours")
    listed = dict(list(own.items())[:UNSEEN])
    frame.show("now_unseen.html", own=listed, more=len(own) - len(listed), built_in=built_in, named=bool(wanted.find))


def _controls(rows: Sequence[TopicRow], known: dict[str, Labels]) -> tuple[Wanted, str]:
    hidden: Any = {"label_visibility": "collapsed", "bind": "query-params", "on_change": _to_first_page}
    lists = {known.get(row.topic, UNLABELLED).watchlist for row in rows} | {one.watchlist for one in known.values()}
    here = [name for name in WATCHLISTS if name in lists]
    tags = sorted({tag for one in known.values() for tag in one.tags})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        find = st.text_input("Find a topic", key="find", placeholder="Find a topic", width=220, **hidden)
        order = st.selectbox("Order", list(ORDERS), index=0, key="order", width=170, **hidden)
        watchlist = EVERY_LIST
        if len(here) > 1:
            options = [EVERY_LIST, *(WATCHLISTS[name] for name in here)]
            watchlist = st.selectbox("Watchlist", options, key="watchlist", width=200, **hidden)
        some = st.multiselect("Tags", tags, key="tag", placeholder="any tag", width=260, **hidden) if tags else []
        states = st.pills("State", STATES, selection_mode="multi", key="is", **hidden)
    by_words = {words: name for name, words in WATCHLISTS.items()}
    return Wanted(find or "", tuple(states or ()), by_words.get(watchlist or ""), tuple(some)), order or CHANGED


def _to_first_page() -> None:
    st.query_params.pop(PAGE, None)


def _first(count: int) -> int:
    """Return the place of the first topic of the page in the address. A page after the last is the last."""
    asked = st.query_params.get(PAGE, "1")
    page = int(asked) if asked.isdecimal() and len(asked) < 7 else 1
    return (min(max(page, 1), max(-(-count // ROWS), 1)) - 1) * ROWS


def _table(look: Look, shown: Sequence[TopicRow], first: int, count: int, order: str, now: int) -> None:
    names = [row.topic for row in shown]
    sparks = frame.reader().decided(
        look, ("sparklines", *names), lambda: topic_views.sparklines(look.connection, names, now)
    )
    opened = next((row for row in shown if row.topic == st.query_params.get(OPEN)), None)
    frame.show(
        "now_topics.html",
        rows=shown,
        sparks=sparks,
        sorted_by=SORTED[order],
        opened=None if opened is None else _opened(look, opened, now),
        first=first,
        count=count,
        page=first // ROWS + 1,
        pages=-(-count // ROWS),
        now=frame.clock(look),
        notable=NOTABLE,
    )


def _opened(look: Look, row: TopicRow, now: int) -> dict[str, Any]:
    """Return what an open row shows: its open alerts, the events of each of the last hours, and the gravest ones."""
    reader, topic = frame.reader(), row.topic
    opened = views.alerts(look.connection, topic=topic, states=("firing", "pending"), limit=3)
    shown, total = reader.decided(
        look,
        ("opened", topic),
        lambda: views.events(look.connection, topic, now - DAY, now, known=now, order="negative", limit=EVENTS),
    )
    trend = reader.decided(look, ("trend", topic), lambda: incident_cards.trend(look.connection, topic, now))
    return {
        "row": row,
        "alerts": [(alert, measured(look, alert)) for alert in opened],
        "events": shown,
        "total": total,
        "trend": trend,
    }


def _row(r: TopicRow) -> list[object]:
    return [
        *(r.topic, r.state, r.polarity, r.usual, r.change, r.negative, r.stories_today),
        formats.moment(r.last_story_at),
    ]
