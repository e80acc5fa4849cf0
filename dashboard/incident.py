"""One incident: its sentence, what people can do, its stories, its alerts, its timeline, why, and what else moved.

The page *Alerts* shows it, at the address that messages link to.
"""

from __future__ import annotations

import time

import streamlit as st

from foreshock.dashboard import access, desk, explained, formats, frame, history, incident_card
from foreshock.dashboard import alert as alert_page
from foreshock.dashboard.measured import measured, odds
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import incident_cards, incident_history, incidents, views
from foreshock.monitor.store.views import EventRow


def body(look: Look) -> None:
    if frame.undecided(look):
        return
    identity = views.followed(look.connection, st.query_params.get("incident", ""))
    found = views.incidents(look.connection, [identity]) if identity else []
    if not found:
        frame.header("No such incident", "The store has no incident of this id.")
        return
    (one,) = found
    now = look.standing.decided_until
    assert now is not None
    waiting = incident_cards.Waiting(
        one.id, one.lead, any(a.state == "firing" for a in one.alerts), one.severity, one.fired_at
    )
    end = min(one.ended_at or now, now)
    card = frame.reader().decided(
        look, ("card", waiting, end), lambda: incident_cards.card(look.connection, waiting, end)
    )
    done = incident_cards.done(look.connection, card.alerts, card.topics, time.time_ns() // 1_000)
    frame.show(
        "incident.html",
        incident=one,
        card=card,
        done=done,
        measured=measured(look, card.lead),
        odds=odds(look, card.lead),
        now=frame.clock(look),
        live=frame.is_live(look),
    )
    if access.visitor().may_act:
        by = desk.name(incident_card.NAME, label_visibility="collapsed", placeholder="Your name, to act", width=220)
        incident_card.actions(card, done, by)
    else:
        frame.note(desk.read_only())
    with st.container():
        desk.show_done()
    left, right = st.columns([3, 2], gap="large")
    with left:
        _stories(look, one, end)
        alert_page.chart(look, card.lead, now)
    with right:
        frame.header("Timeline", f"Messages stand at the time at which they were decided. Times in {formats.zone()}.")
        entries = [entry for alert in one.alerts for entry in history.of_alert(alert, named=True)]
        messages = incident_history.messages(look.connection, [card.first_alert], of_incident=True)
        until = one.ended_at if frame.is_live(look) else None  # else the clock is not the feed's
        acts = incident_history.acts(look.connection, card.alerts, card.topics, one.fired_at, until)
        entries += history.of_messages(messages) + history.of_acts(acts)
        frame.show("timeline.html", entries=history.in_order(entries))
        explained.draw_why(look, card.lead)
        explained.draw_moved(look, one.fired_at, topics={a.topic for a in one.alerts}, alerts=card.alerts)
    frame.header(f"Its {formats.count(len(one.alerts), 'alert')}", "In the order in which they fired.")
    rows = {row.id: measured(look, row) for row in one.alerts}
    frame.show("alerts_of.html", alerts=one.alerts, measured=rows, now=frame.clock(look), live=frame.is_live(look))


def _stories(look: Look, one: views.IncidentRow, end: int) -> None:
    """Draw the gravest stories of the incident in order of time, as messages have them."""
    rows = frame.reader().decided(
        look, ("incident stories", one.id, end), lambda: incidents.stories_shown(look.connection, one.id, end)
    )
    frame.header(
        "Stories", f"The gravest of the {formats.long(incidents.SHOWN_FOR)} up to its end or now, in order of time."
    )
    if not rows:
        silent = not any(KINDS[alert.kind].has_stories for alert in one.alerts)
        frame.note("The evidence is that no story arrived." if silent else "No story in this time.")
        return
    shown = [EventRow(views.story_of_evidence(story), ()) for story in rows]
    frame.show("events.html", rows=shown, total=None)
