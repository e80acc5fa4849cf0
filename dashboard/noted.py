"""Notes on a time of a topic: drawn on its charts, and the form that adds and takes back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from foreshock.dashboard import access, axes, desk, formats, frame, text, vega, zones
from foreshock.dashboard.spans import WORDS_IN_CHART
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store import notes
from foreshock.monitor.store.notes import Note

SHORT = 22
"""The most characters of a note on a chart."""


def onto(chart: Picture, standing: Sequence[Note], first: int, last: int, *, dark: bool, words: bool) -> Picture:
    """Draw the notes of [first, last] on a chart. With `words`, also what they say, where there is room."""
    shown = [note for note in standing if first <= note.at <= last]
    if not shown:
        return chart
    ink, room, free = axes.ink(dark), (last - first) // WORDS_IN_CHART, first
    labels, lefts = [], []
    for note in shown:
        left = note.at > last - room
        begins = note.at - room if left else note.at
        labels.append(text.clean(note.words, SHORT) if begins >= free else "")
        lefts.append(left)
        free = max(free, begins + room) if labels[-1] else free
    found = pd.DataFrame({"at": axes.times([note.at for note in shown]), "label": labels, "left": lefts})
    layers = [vega.layer(found, vega.mark("rule", color=ink.line, strokeWidth=1.1), x="at:T")]
    style: dict[str, Any] = {"baseline": "bottom", "dy": -3, "color": ink.line, "fontSize": 11, "fontStyle": "italic"}
    for left, align, dx in ((False, "left", 4), (True, "right", -4)):
        if words and left in lefts:
            said = vega.mark("text", align=align, dx=dx, **style)
            at_foot = vega.value("height")
            layers.append(vega.layer(found[found["left"] == left], said, x="at:T", y=at_foot, text="label:N"))
    # The pointer must reach the columns that say what is under it.
    return chart.below_top(layers)


def form(topic: str) -> None:
    """Draw the form for notes on a topic: one more, or one taken back. Nothing where a visitor may not act."""
    if not access.visitor().may_act:
        return
    if "done" in st.session_state:
        st.session_state["note-words"] = ""  # not on submit: a note that was refused stays
    desk.show_done()
    asked = frame.once(lambda look: (notes.notes(look.connection, topic), frame.clock(look)))
    standing: list[Note] = asked[0] if isinstance(asked, tuple) else []
    clock: int = asked[1] if isinstance(asked, tuple) else time.time_ns() // 1_000
    with st.popover("Note on a time"):
        with st.form("note", border=False):
            now = zones.wall(clock).replace(second=0, microsecond=0)
            limits: Any = {"min_value": datetime(1970, 1, 1), "max_value": datetime(2199, 12, 31)}
            at = st.datetime_input(
                f"When, {formats.zone()}", value=now, key="note-at", step=timedelta(minutes=5), **limits
            )
            words = st.text_input("Note, such as: our press conference", key="note-words", max_chars=notes.LONGEST)
            by = desk.name("note-by")
            if st.form_submit_button("Add this note", type="primary"):
                if not words.strip() or not isinstance(at, datetime):
                    st.error("Write what happened, and when.")
                else:
                    about = zones.of_wall(at)
                    desk.write(
                        by,
                        lambda connection, now: notes.add(connection, topic, about, words, by=by, now=now),
                        f"Noted at {formats.zoned(about, year=True)}. This does not change detection.",
                    )
        if standing:
            with st.form("note-back", border=False):
                chosen = st.selectbox("Take a note back", standing, format_func=_line, key="note-chosen")
                by = desk.name("note-back-by")
                if st.form_submit_button("Take this note back") and chosen is not None:
                    number = chosen.number
                    desk.write(
                        by,
                        lambda connection, now: notes.take_back(connection, number, by=by, now=now),
                        "The note was taken back.",
                    )


def _line(note: Note) -> str:
    return f"{formats.clock(note.at, year=True)}: {text.clean(note.words, 60)}"
