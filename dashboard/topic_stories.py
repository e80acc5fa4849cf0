"""The stories beside a topic's charts, and who drives the topic: its sources, and companies in the same stories."""

from __future__ import annotations

from typing import Any

import streamlit as st

from foreshock.dashboard import formats, frame, here, text, underlined
from foreshock.dashboard.reader import Look
from foreshock.dashboard.stretch import Stretch
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import drivers, evidence, story, views
from foreshock.monitor.store.views import AlertRow, EventRow
from foreshock.monitor.units import DAY

ORDERS = {"most negative": "negative", "most positive": "positive", "newest": "newest"}
EVENTS, EXPLAINED = 40, 12
"""How many events are listed, and for how many of them the words are worked out."""
WAIT_SECONDS = 0.8
"""How long a page waits for the words. The next refresh shows the others."""
SOURCES = 8
HIDDEN: Any = {"label_visibility": "collapsed", "bind": "query-params"}


def stories(look: Look, topic: str, span: Stretch, chosen: AlertRow | None) -> None:
    """List the events of the clicked bar, behind the alert, of the stretch that a reader set, or of the last day."""
    now = look.standing.decided_until
    assert now is not None
    at, sub = clicked(), ""
    if at is not None:
        start, end = at, at + span.step
        title = f"Stories from {formats.between(start, end)}"
        label = "Show the stories of the whole time" if span.own else "Show the latest stories"
        sub = here.link(label, at=None, alert=None, topic=topic)
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
    with st.container(horizontal=True, vertical_alignment="center"):
        by = st.segmented_control(
            "Order of stories", list(ORDERS), default="most negative", key="by", required=True, **HIDDEN
        )
        wanted = st.toggle("Underline the words", key="underline", bind="query-params")
    order = ORDERS[by or "most negative"]
    rows, total = frame.reader().decided(
        look,
        ("events", topic, start, end, order),
        lambda: views.events(look.connection, topic, start, end, known=now, order=order, limit=EVENTS),
    )
    if total > evidence.MOST:
        frame.note(f"These are among the newest {evidence.MOST:,} stories of this time. To see others, choose a bar.")
    if not rows:
        frame.note("No stories in this period. Choose a bar of the chart, or a longer range.")
        return
    _list(look, topic, rows, total, wanted)
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


def who_drives(look: Look, topic: str, span: Stretch) -> None:
    """Draw how much each source moves the mood of the stretch, and what its stories say of other companies."""

    def ask() -> tuple[drivers.Drivers | None, list[drivers.OtherCompany], bool]:
        found = drivers.drivers(look.connection, topic, span.start, span.end)
        first = evidence.newest_part(look.connection, topic, span.start, span.end)
        return found, drivers.other_companies(look.connection, topic, first, span.end), first > span.start

    found, others, part = frame.reader().decided(look, ("drivers", topic, span), ask)
    if found is None:
        return
    frame.header("Who drives it", "How much each source moves the mood of the time shown. The parts add up.")
    frame.show("drivers.html", topic=topic, found=found, shown=found.sources[:SOURCES], days=drivers.USUAL_DAYS)
    if others:
        among = f", among the newest {evidence.MOST:,} stories" if part else ""
        frame.header(
            "Companies in the same stories", f"The mean mood towards each, of the events that name both{among}."
        )
        frame.show("other_companies.html", topic=topic, rows=others)


def clicked() -> int | None:
    """Return the start of the chosen bar from the address, where it is in seconds since 1970."""
    value = st.query_params.get("at", "")
    return int(value) * 1_000_000 if value.isdecimal() and len(value) < 12 else None


def _list(look: Look, topic: str, rows: list[EventRow], total: int, wanted: bool) -> None:
    positions = [row.first.position for row in rows if row.first.position is not None]
    shown, said = {}, ""
    if wanted:
        texts = story.texts(look.connection, positions[:EXPLAINED])
        words, said = underlined.words_of([texts[p] for p in positions[:EXPLAINED] if p in texts], WAIT_SECONDS)
        shown = {position: underlined.title_of(one, texts[position]) for position, one in words.items()}
        first = f"Of the first {EXPLAINED} stories. " if len(rows) > EXPLAINED else ""
        frame.show("words_key.html", said=f"{first}{said}")
    towards = story.towards(look.connection, positions)
    frame.show("topic_stories.html", topic=topic, rows=rows, total=total, words=shown, towards=towards)
