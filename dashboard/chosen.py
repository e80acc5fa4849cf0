"""Which topics a reader chose: one, and up to four more to compare it with. The address has their names.

Streamlit's own binding puts a label into the address, and labels are cleaned and cut: a name of 300 characters, or
one with signs that steer the direction of text, would not be found again. So the address is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from foreshock.dashboard import frame, text
from foreshock.dashboard.compared import MOST


def topic(names: Sequence[str]) -> str:
    """Draw the control that chooses a topic, and return its name. Says so if the address names an unknown one."""
    asked = st.query_params.get("topic")
    if asked is not None and asked not in names:
        st.query_params.pop("topic")
        frame.show("topic_missing.html", topic=asked)
    elif asked is not None and st.session_state.get("topic") not in names:
        st.session_state["topic"] = asked
    shown = text.labels(names)
    found = st.selectbox(
        "Topic",
        names,
        key="topic",
        format_func=shown.__getitem__,
        label_visibility="collapsed",
        on_change=partial(_to_address, "topic"),
    )
    return str(found)


def others(names: Sequence[str]) -> None:
    """Draw the control that chooses topics to compare with. What the address names and the store does not is left."""
    if "compare" not in st.session_state:
        asked = list(dict.fromkeys(name for name in st.query_params.get_all("compare") if name in names))
        st.session_state["compare"] = asked[: MOST - 1]
    shown = text.labels(names)
    st.multiselect(
        "Compare with",
        names,
        key="compare",
        format_func=shown.__getitem__,
        max_selections=MOST - 1,
        placeholder=f"Compare with up to {MOST - 1} topics",
        label_visibility="collapsed",
        on_change=partial(_to_address, "compare"),
    )


def compared_with(name: str) -> list[str]:
    """Return the topics to compare `name` with."""
    return [other for other in st.session_state.get("compare") or [] if other != name]


def _to_address(key: str) -> None:
    st.query_params[key] = st.session_state[key]
