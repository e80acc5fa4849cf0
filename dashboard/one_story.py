"""One story: its text with the words that made it good or bad news, how it counts, and stories like it.

Here a person corrects its label. The address is `Stories?story=OFFSET@PARTITION`.
"""

from __future__ import annotations

import streamlit as st

from foreshock.dashboard import access, desk, frame, similar, text, underlined
from foreshock.dashboard.reader import Look
from foreshock.model.labels import LABELS
from foreshock.monitor.store import labels, story
from foreshock.monitor.store.story import Position, Story
from foreshock.monitor.store.views import StoryRow

WAIT_SECONDS = 0.8
"""How long the page waits for the words. Its next refresh shows them otherwise."""
LONGEST = 6_000
"""The most characters of a body that the page shows."""


def page() -> None:
    frame.note(text.link("Stories", "All stories"), "fs-meta")
    position = asked()
    if position is not None:
        _form(position)
    frame.live(body)


def asked() -> Position | None:
    """Return the position in the address; None if it is none."""
    offset, _, partition = st.query_params.get("story", "").partition("@")
    return (partition, int(offset)) if offset.isdecimal() and len(offset) < 19 and partition else None


def body(look: Look) -> None:
    position = asked()
    found = None if position is None else story.story(look.connection, position)
    if found is None:
        frame.header("No such story", "This store has no story at this address.")
        return
    one = found.text
    words, said = underlined.words_of([one], WAIT_SECONDS) if one.scores is not None else ({}, "")
    explained = words.get(one.position)
    row = StoryRow(
        *(one.title, one.url, one.source, one.published_at, one.scores, one.withdrawn, one.severity, one.position)
    )
    frame.show(
        "story.html",
        story=row,
        found=found,
        counts_at=one.counts_at,
        title=None if explained is None else underlined.title_of(explained, one),
        remark=_remark(found),
        corrections=labels.corrections(look.connection, one.position),
        explained=explained is not None,
        said=said,
        text=one.body if explained is None else underlined.body_of(explained, one, LONGEST),
        cut=text.exceeds(one.body, LONGEST) if explained is None else underlined.exceeds(explained, one, LONGEST),
    )
    similar.draw(look, one)


def _remark(found: Story) -> str:
    if found.ending is None:
        return "Not decided yet."
    if found.ending != "scored":
        return f"It counts as {found.ending}."
    return "It is a copy of an earlier story, and counts with it." if found.first else "It counts as an event."


def _form(position: Position) -> None:
    """Draw the form that corrects a label; nothing where a visitor may not act."""
    if not access.visitor().may_act:
        return
    desk.show_done()
    with st.popover("Correct the label"), st.form("label", border=False):
        label = st.radio("This story is", LABELS, key="label-label", horizontal=True)
        by = desk.name("label-by")
        note = st.text_input("Note (may be empty)", key="label-note", max_chars=desk.NOTE_LENGTH).strip()
        if st.form_submit_button("Save this label", type="primary"):
            desk.write(
                by,
                lambda connection, now: labels.correct(connection, position, label, by=by, note=note, now=now),
                f"Labelled {label}. Scores and alerts stay as they are; foreshock stories --labels exports it.",
            )
