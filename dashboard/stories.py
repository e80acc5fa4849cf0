"""*Stories*: full-text search over all stories, with filters by topic, source, sentiment and time.

With `?story=OFFSET@PARTITION` in its address the page shows that one story.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import streamlit as st

from foreshock.dashboard import formats, frame, highlight, one_story, text, zones
from foreshock.dashboard.reader import Look
from foreshock.model.labels import LABELS
from foreshock.monitor.store import topic_views, views
from foreshock.monitor.store.search import LOOKED_AT, Found, Wanted, search, sources, terms

SHOWN = 50
ANY_TOPIC, ANY_SOURCE, ANY_LABEL = "any topic", "any source", "any sentiment"
SOURCES_FOR_SECONDS = 60
ORDERS = {"newest": "newest", "gravest": "gravest", "most negative": "negative", "relevance": "relevance"}
ORDERED = {
    "newest": "Newest first, by the time at which they count.",
    "gravest": "Gravest first",
    "negative": "Most negative first",
    "relevance": "Most relevant first",
}
SOURCES_SHOWN = 12
PAGE = "page"
"""The name in the address of the page that is shown."""


def page() -> None:
    if "story" in st.query_params:
        one_story.page()
        return
    _controls()
    frame.live(body, redraw=frame.OFTEN)


def _controls() -> None:
    names = frame.once(lambda look: topic_views.topics_with_series(look.connection))
    found = frame.once(
        lambda look: frame.reader().for_seconds(
            "story sources", SOURCES_FOR_SECONDS, lambda: views.story_sources(look.connection)
        )
    )
    topics = [name for name in names if name != "_all"] if isinstance(names, list) else []
    named = [name for name in found if name] if isinstance(found, list) else []
    hidden: Any = {"label_visibility": "collapsed", "bind": "query-params"}
    st.text_input(
        "Words",
        key="words",
        placeholder='Words, "an exact phrase", a prefix*',
        type="search",
        **hidden,
    )
    a, b, c, d, e = st.columns([3, 3, 3, 2, 2], vertical_alignment="bottom")
    a.selectbox("Topic", [ANY_TOPIC, *topics], key="topic", **hidden)
    b.selectbox("Source", [ANY_SOURCE, *named], key="source", **hidden)
    c.selectbox("Sentiment", [ANY_LABEL, *LABELS], key="sentiment", **hidden)
    d.date_input("From, UTC", value=None, key="from", min_value=date(1970, 1, 1), bind="query-params")
    e.date_input("To, UTC (inclusive)", value=None, key="to", min_value=date(1970, 1, 1), bind="query-params")
    st.segmented_control("Order of stories", list(ORDERS), default="newest", key="order", required=True, **hidden)


def body(look: Look) -> None:
    wanted = _wanted()
    before = SHOWN * (_page() - 1)
    order = ORDERS[st.session_state.get("order") or "newest"]
    rows = search(look.connection, wanted, limit=SHOWN + 1, offset=before, order=order)
    if not rows:
        if before:
            frame.header("No further story", "There are fewer stories than this page would need.")
            left, _ = st.columns([1, 5])
            left.button("First page", key="first", width="stretch", on_click=_to_first_page)
        elif wanted == Wanted():
            if not frame.undecided(look):
                frame.empty("No stories", "This store holds no story yet.")
        else:
            frame.header("Nothing found", "No story matches all of this. Use fewer words or filters.")
        return
    shown, more = rows[:SHOWN], len(rows) > SHOWN
    phrases = terms(wanted.words)
    counts = _counts(look, wanted)
    total = sum(n for _, n in counts)
    sub = ORDERED[order]
    if order == "relevance" and not phrases:
        sub = "Write words to sort by relevance. Newest first."
    elif order != "newest":
        sub += f", of the {formats.number(LOOKED_AT)} newest that match." if total >= LOOKED_AT else "."
    frame.header(f"Stories {before + 1} to {before + len(shown)}", sub)
    if wanted.source is None and len(counts) > 1:
        _sources(counts, total)
    rows_shown = [
        (found, _remarks(found), highlight.title(found.story.title, phrases), highlight.excerpt(found.body, phrases))
        if phrases
        else (found, _remarks(found), None, None)
        for found in shown
    ]
    frame.show("stories.html", rows=rows_shown)
    left, middle, right = st.columns([1, 1, 4])
    if before:
        left.button("Newer", key="newer", width="stretch", on_click=_turn, args=(-1,))
    if more:
        middle.button("Older", key="older", width="stretch", on_click=_turn, args=(1,))
    with right:
        scores = ["negative", "neutral", "positive", "severity"]
        columns = ["published_at", "source", "title", "url", *scores, "topics", "ending"]
        frame.download("Download these as CSV", "foreshock-stories.csv", columns, [_row(found) for found in shown])


def _counts(look: Look, wanted: Wanted) -> list[tuple[str, int]]:
    """Return how many stories each source has among those that match."""
    return frame.reader().for_seconds(
        ("counts by source", wanted), SOURCES_FOR_SECONDS, lambda: sources(look.connection, wanted)
    )


def _sources(counts: list[tuple[str, int]], total: int) -> None:
    """Draw the counts by source, each a link that leaves only its own."""
    query = {key: st.query_params[key] for key in st.query_params if key not in ("source", PAGE)}
    links = [
        (text.link("Stories", text.outside(name, 40), **{**query, "source": name}), n)
        for name, n in counts[:SOURCES_SHOWN]
        if name
    ]
    frame.show("sources_found.html", links=links, more=len(counts) - len(links), total=total, most=LOOKED_AT)


def _page() -> int:
    """Return the page in the address, from 1. It has no upper end: how many stories match is not counted for it."""
    asked = st.query_params.get(PAGE, "1")
    return max(int(asked), 1) if asked.isdecimal() and len(asked) < 5 else 1


def _turn(by: int) -> None:
    page = _page() + by
    if page > 1:
        st.query_params[PAGE] = str(page)
    else:
        _to_first_page()


def _to_first_page() -> None:
    st.query_params.pop(PAGE, None)


def _wanted() -> Wanted:
    state = st.session_state

    def chosen(key: str, no_choice: str) -> str | None:
        value = state.get(key)
        return None if value in (None, no_choice) else str(value)

    wanted = Wanted(
        words=state.get("words") or "",
        topic=chosen("topic", ANY_TOPIC),
        source=chosen("source", ANY_SOURCE),
        label=chosen("sentiment", ANY_LABEL),
        start=zones.utc_midnight(state.get("from")),
        end=zones.utc_midnight(state.get("to"), days=1),
    )
    asked = wanted, state.get("order")
    if state.setdefault("asked", asked) != asked:  # another search begins at its first page
        state["asked"] = asked
        _to_first_page()
    return wanted


def _remarks(found: Found) -> list[str]:
    remarks = []
    if found.ending is None:
        remarks.append("not decided yet")
    elif found.ending != "scored":
        remarks.append(found.ending)
    elif found.copy:
        remarks.append("copy of an earlier story")
    return remarks + [word for word, is_so in (("late", found.late), ("stale", found.stale)) if is_so]


def _row(found: Found) -> list[object]:
    story = found.story
    scores = [value / 10_000 for value in story.scores] if story.scores else [None] * 3
    return [
        *(formats.moment(story.published_at), story.source, story.title, story.url, *scores),
        *(None if story.severity is None else story.severity / 100, "|".join(found.topics), found.ending),
    ]
