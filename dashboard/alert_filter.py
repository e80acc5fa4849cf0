"""The filters of *Alerts*: controls whose values the address keeps, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import partial
from typing import Any

import streamlit as st

from foreshock.dashboard import frame, text, words, zones
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store import alert_search
from foreshock.monitor.store.alert_search import Wanted

STATES = {"firing": "firing", "pending": "pending", "resolved": "resolved", words.NEVER_FIRED: "dropped"}
SHOWN_FIRST = ["firing", "pending", "resolved"]
ANY_TOPIC, ANY_RECEIVER = "any topic", "any receiver"
PAGE = "page"
_FIRST = date(1970, 1, 1)


def controls() -> None:
    """Draw the controls. They stand outside of what refreshes in place."""
    topics, receivers = list[str](), list[str]()

    def ask(look: Look) -> None:
        topics.extend(alert_search.topics(look.connection))
        receivers.extend(alert_search.receivers(look.connection))

    frame.once(ask)
    hidden: Any = {"label_visibility": "collapsed", "bind": "query-params", "on_change": to_first_page}
    with st.container(key="fs-filters", horizontal=True, vertical_alignment="bottom", gap="small"):
        placeholder = "Words in alerts and their stories"
        st.text_input("Words", key="words", placeholder=placeholder, type="search", width=220, **hidden)
        _take("topic", topics)
        names = {ANY_TOPIC: ANY_TOPIC, **text.labels(topics)}
        kept: Any = {"label_visibility": "collapsed", "on_change": partial(_keep, "topic")}
        st.selectbox("Topic", list(names), key="topic", format_func=names.__getitem__, width=190, **kept)
        st.selectbox("Receiver", [ANY_RECEIVER, *receivers], key="receiver", width=160, **hidden)
        days: Any = {
            "value": None,
            "min_value": _FIRST,
            "bind": "query-params",
            "on_change": to_first_page,
            "width": 160,
        }
        st.date_input("From, UTC", key="from", **days)
        st.date_input("To, UTC (inclusive)", key="to", **days)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.pills("State", STATES, selection_mode="multi", default=SHOWN_FIRST, key="state", **hidden)
        _take("kind", list(KINDS), many=True)
        kept = {"label_visibility": "collapsed", "on_change": partial(_keep, "kind")}
        st.pills("Kind", list(KINDS), selection_mode="multi", key="kind", format_func=words.of_kind, **kept)
        st.pills("Severity", LEVELS[::-1], selection_mode="multi", key="severity", **hidden)


def wanted() -> Wanted:
    """Return what the controls ask for."""
    state = st.session_state
    topic, receiver = state.get("topic"), state.get("receiver")
    return Wanted(
        topic=None if topic in (None, ANY_TOPIC) else topic,
        kinds=tuple(state.get("kind") or ()),
        severities=tuple(state.get("severity") or ()),
        states=tuple(STATES[name] for name in state.get("state") or STATES),
        start=zones.utc_midnight(state.get("from")),
        end=zones.utc_midnight(state.get("to"), days=1),
        receiver=None if receiver in (None, ANY_RECEIVER) else receiver,
        words=state.get("words") or "",
    )


def page_number() -> int:
    """Return the page in the address, from 1."""
    asked = st.query_params.get(PAGE, "1")
    return max(int(asked), 1) if asked.isdecimal() and len(asked) < 7 else 1


def _take(key: str, options: Sequence[str], *, many: bool = False) -> None:
    """Take over what the address names. Streamlit's own binding puts labels there: they are cleaned and cut."""
    asked = [value for value in st.query_params.get_all(key) if value in options]
    if key not in st.session_state and asked:
        st.session_state[key] = asked if many else asked[-1]


def _keep(key: str) -> None:
    """Put what was chosen into the address."""
    chosen = st.session_state[key]
    if chosen in (None, [], ANY_TOPIC):
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = chosen
    to_first_page()


def to_first_page() -> None:
    """Leave the page in the address: another filter has other pages."""
    st.query_params.pop(PAGE, None)
