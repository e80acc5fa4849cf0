"""What people do about an alert: acknowledge it, silence its topic, or say whether it was useful.

The forms stand outside the part of the page that refreshes, so a refresh never clears what a person is typing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import streamlit as st
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from foreshock.dashboard import access, adding, frame, text
from foreshock.dashboard.settings import served
from foreshock.ingest.redaction import without_secrets
from foreshock.monitor.errors import MonitorError
from foreshock.monitor.store import desk_actions, feedback, name_adding, views
from foreshock.monitor.topics.rules import WatchlistError
from foreshock.monitor.units import DAY, HOUR, is_new

SPANS = {"1 hour": HOUR, "4 hours": 4 * HOUR, "1 day": DAY, "7 days": 7 * DAY, "28 days": 28 * DAY}
NAME_LENGTH, NOTE_LENGTH = 60, 500
READ_ONLY = (
    "Read-only: other machines can reach this dashboard, and it has no login. To acknowledge, silence or judge, use "
    "foreshock alerts ack, silence and feedback, or set [sign_in] or [dashboard] allow_anonymous_actions = true."
)
NO_ROLE = "Read-only: to acknowledge, silence or judge, sign in with a role that [sign_in] operators names."


def forms(identity: str) -> None:
    """Draw the forms for one alert; nothing while the alert cannot be read."""
    topic = frame.once(lambda look: (found := views.alert(look.connection, identity)) and found.topic)
    if not isinstance(topic, str):
        return
    if not access.visitor().may_act:
        frame.note(read_only())
        return
    show_done()
    with st.container(key="fs-desk", horizontal=True):
        with st.popover("Acknowledge"):
            _acknowledge(identity)
        with st.popover("Silence"):
            _silence(topic)
        with st.popover("Useful?"):
            _judge(identity)
        if is_new(topic):
            with st.popover("Add to the watchlist"):
                _watch(topic)
    if served().exposed and not served().sign_in.on:
        frame.note("Anyone who reaches this page can do this, under any name.")


def show_done() -> None:
    """Say what this person has just done."""
    if (done := st.session_state.pop("done", None)) is not None:
        frame.note(done, "fs-loud fs-calm", role="status")


def name(key: str, **options: Any) -> str:
    """Return who acts: the person who signed in, otherwise the name that a form asks for.

    `options`: of the text input.
    """
    given = access.visitor().name
    if given is not None:
        return given
    typed: str = st.text_input("Your name", key=key, max_chars=NAME_LENGTH, autocomplete="name", **options)
    return typed.strip()


def _acknowledge(identity: str) -> None:
    with st.form("acknowledge", border=False):
        by = name("ack-by")
        note = st.text_input("Note (may be empty)", key="ack-note", max_chars=NOTE_LENGTH).strip()
        if st.form_submit_button("Acknowledge this alert", type="primary"):
            write(
                by,
                lambda connection, now: desk_actions.acknowledge(connection, identity, by=by, note=note, now=now),
                "Acknowledged. This does not change detection.",
            )


def _silence(topic: str) -> None:
    with st.form("silence", border=False):
        span = st.selectbox("No messages for", list(SPANS), index=2, key="silence-span")
        by = name("silence-by")
        note = st.text_input("Note (may be empty)", key="silence-note", max_chars=NOTE_LENGTH).strip()
        if st.form_submit_button("Silence this topic", type="primary"):
            until = time.time_ns() // 1_000 + SPANS[span]
            write(
                by,
                lambda connection, now: desk_actions.silence(connection, topic, until=until, by=by, note=note, now=now),
                f"Silenced: no messages about this topic for {span}. Detection continues.",
            )


def _judge(identity: str) -> None:
    with st.form("feedback", border=False):
        verdict = st.radio("This alert was", feedback.VERDICTS, key="feedback-verdict", horizontal=True)
        by = name("feedback-by")
        note = st.text_input("Note (may be empty)", key="feedback-note", max_chars=NOTE_LENGTH).strip()
        if st.form_submit_button("Save", type="primary"):
            write(
                by,
                lambda connection, now: feedback.give(connection, identity, verdict, by=by, note=note, now=now),
                f"Called {verdict}. This does not change detection.",
            )


def _watch(topic: str) -> None:
    """Ask who puts a name that no topic has on the watchlist."""
    known_by = frame.once(lambda look: name_adding.added_by(look.connection, topic) or "")
    known = known_by if isinstance(known_by, str) and known_by else None
    adding.button(topic, "" if known else name("watch-by"), known)


def read_only() -> str:
    """Say why this person cannot act, and what to do."""
    return NO_ROLE if served().sign_in.on else READ_ONLY


def write(by: str, act: Callable[[Connection, int], object], done: str) -> None:
    """Write what a person did, say `done`, and draw the page again. Say why where nothing was written."""
    person = access.visitor()
    if not person.may_act:  # a form that was drawn before, or that a visitor made up
        st.error(read_only())
        return
    if served().sign_in.on and by != person.name:  # the form is that of a person who has signed out
        st.error("Nothing was saved: another person has signed in since. Look at the page again.")
        return
    if not by:
        st.error("Enter your name, so that others know who did this.")
        return
    try:
        now = time.time_ns() // 1_000

        def checked(connection: Connection) -> None:
            frame.reader().check(connection)
            act(connection, now)

        desk_actions.record(frame.reader().engine(), checked)
    except (MonitorError, WatchlistError, DBAPIError) as error:
        said = without_secrets(str(getattr(error, "orig", None) or error))
        st.error(text.clean(f"Nothing was saved: {said}"))
        return
    st.session_state["done"] = done
    st.rerun()
