"""The button that puts a name which no topic has on the watchlist."""

from __future__ import annotations

from functools import partial

import streamlit as st
from sqlalchemy import Connection

from foreshock.dashboard import desk, frame, text
from foreshock.dashboard.settings import served
from foreshock.monitor.store import name_adding
from foreshock.monitor.units import shown

NO_FILE = "To put {name} on your list, set [watchlist] file in the settings."


def button(topic: str, by: str, known_by: str | None) -> None:
    """Draw the button of one name. `by`: who acts. `known_by`: who put it on the list before, if anybody did."""
    name = text.named(topic)
    if known_by is not None:
        frame.note(f"{name} is on your list, put there by {text.clean(known_by, 60)}.", "fs-meta")
    elif served().watchlist_file is None:
        frame.note(NO_FILE.format(name=name), "fs-meta")
    elif st.button(f"Add {name} to the watchlist", key=f"watch-{topic}"):
        desk.write(by, partial(_add, topic, by), f"{name} is on the watchlist. Its past is filled within minutes.")


def _add(topic: str, by: str, connection: Connection, now: int) -> None:
    name_adding.add(connection, served().watchlist_file, shown(topic), by=by, now=now)
