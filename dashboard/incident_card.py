"""The open incidents on *Now*: a card for each, with what a reader needs to judge it and the buttons to act on it.

The cards take less than half of the first screen: only the gravest are drawn, the others on demand.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import streamlit as st
from sqlalchemy import Connection

from foreshock.dashboard import access, adding, desk, formats, frame, text
from foreshock.dashboard.measured import measured, odds
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import desk_actions, feedback, incident_cards
from foreshock.monitor.store.incident_cards import Card, Done, Waiting
from foreshock.monitor.units import is_new

SHOWN = 3
"""Cards that are drawn until a reader asks for more: a row of them."""
MOST = 30
"""Cards that are drawn at most. *Alerts* lists all incidents."""
TOPICS_NAMED = 4
NAME = "by"
MORE = "more"
"""The name in the page's address that shows the other cards."""


def draw(look: Look, waiting: Sequence[Waiting]) -> None:
    """Draw the open incidents: the first `SHOWN`, or up to `MOST` if the address asks for more."""
    firing = sum(one.firing for one in waiting)
    more = MORE in st.query_params
    shown = waiting[: MOST if more else SHOWN]
    by = ""
    with st.container(key="fs-now-head", horizontal=True, vertical_alignment="center"):
        said = f"Firing now: {formats.count(firing, 'incident')}" if firing else "No alert is firing"
        resting = len(waiting) - firing
        rest = f"{formats.count(resting, 'incident')} still open" if resting else ""
        frame.show(
            "now_incidents.html", said=said, firing=firing, rest=rest, waiting=len(waiting), shown=len(shown), more=more
        )
        if access.visitor().may_act:
            by = desk.name(NAME, label_visibility="collapsed", placeholder="Your name, to act", width=220)
    with st.container():  # it keeps the place of what follows: a shift would close an open menu
        desk.show_done()
    for first in range(0, len(shown), SHOWN):
        row = shown[first : first + SHOWN]
        for column, one in zip(st.columns(min(len(shown), SHOWN), gap="medium"), row, strict=False):
            with column:
                _card(look, one, by)


def _card(look: Look, one: Waiting, by: str) -> None:
    now = look.standing.decided_until
    assert now is not None
    card = frame.reader().decided(look, ("card", one), lambda: incident_cards.card(look.connection, one, now))
    wall = time.time_ns() // 1_000
    done = incident_cards.done(look.connection, card.alerts, card.topics, wall)
    frame.show(
        "now_card.html",
        card=card,
        done=done,
        measured=measured(look, card.lead),
        odds=odds(look, card.lead),
        by_rule=KINDS[card.lead.kind].by_rule,
        now=frame.clock(look),
    )
    if access.visitor().may_act:
        actions(card, done, by)


def actions(card: Card, done: Done, by: str) -> None:
    """Draw the buttons of an incident. They need no form: a refresh keeps what is typed where `by` is asked for."""
    key = card.waiting.id or card.waiting.lead
    with st.container(key=f"fs-acts-{key}", horizontal=True, gap="small"):
        if st.button("Acknowledge", key=f"ack-{key}"):
            desk.write(by, partial(_acknowledge, card, by), _acknowledged(done, by))
        with st.popover("Silence"):
            # Named, because another incident may take this card's place while the menu is open.
            topics = _named(card.topics)
            frame.note(f"No messages about {topics} for:", "fs-meta")
            for words, span in desk.SPANS.items():
                if st.button(words, key=f"silence-{words}-{key}", width="stretch"):
                    said = f"Silenced: no messages about {topics} for {words}. Detection continues."
                    desk.write(by, partial(_silence, card, by, span), said)
        for verdict in feedback.VERDICTS:
            if st.button(verdict.capitalize(), key=f"{verdict}-{key}", type="tertiary"):
                said = f"Called {verdict}. This does not change detection."
                desk.write(by, partial(_judge, card, by, verdict), said)
        for topic in filter(is_new, card.topics):
            adding.button(topic, by, done.watched.get(topic))


def _named(topics: Sequence[str]) -> str:
    """Name the topics of an incident, as many as are read at a glance."""
    more = len(topics) - TOPICS_NAMED
    names = ", ".join(text.named(topic) for topic in topics[:TOPICS_NAMED])
    return f"{names} and {more} more" if more > 0 else names


def _acknowledge(card: Card, by: str, connection: Connection, now: int) -> None:
    desk_actions.acknowledge(connection, card.first_alert, by=by, now=now)


def _acknowledged(done: Done, by: str) -> str:
    """Say that an acknowledgement is kept, and who was first."""
    others = [name for name in done.acknowledged_by if name != by]
    before = f" {' and '.join(others)} acknowledged it before you." if others else ""
    return f"Acknowledged.{before} This does not change detection."


def _silence(card: Card, by: str, span: int, connection: Connection, now: int) -> None:
    for topic in card.topics:
        desk_actions.silence(connection, topic, until=now + span, by=by, now=now)


def _judge(card: Card, by: str, verdict: str, connection: Connection, now: int) -> None:
    feedback.give(connection, card.first_alert, verdict, by=by, now=now)
