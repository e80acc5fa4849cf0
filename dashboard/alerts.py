"""*Alerts*: incidents with their alerts, by the alerts' state.

With `?alert=ID` in its address the page shows that one alert, and with `?incident=ID` that one incident.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from foreshock.dashboard import alert, desk, formats, frame, text, words
from foreshock.dashboard.measured import Measured, measured
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store import views
from foreshock.monitor.store.views import AlertRow, IncidentRow

STATES = {"firing": ("firing",), "pending": ("pending",), "resolved": ("resolved",), words.NEVER_FIRED: ("dropped",)}
SHOWN = 100
COLUMNS = [
    *("id", "topic", "kind", "direction", "state", "started_at", "fired_at", "resolved_at"),
    *("observed", "baseline", "events", "sources", "sentence", "severity", "incident"),
]


def page() -> None:
    if "alert" in st.query_params:
        frame.note(text.link("Alerts", "All alerts"), "fs-meta")
        desk.forms(st.query_params["alert"])
        frame.live(alert.body)
    elif "incident" in st.query_params:
        frame.note(text.link("Alerts", "All alerts"), "fs-meta")
        frame.live(incident)
    else:
        st.segmented_control(
            "State",
            list(STATES),
            selection_mode="multi",
            default=["firing", "pending", "resolved"],
            key="state",
            label_visibility="collapsed",
            bind="query-params",
        )
        frame.live(body)


def body(look: Look) -> None:
    if frame.undecided(look):
        return
    now, live = frame.clock(look), frame.is_live(look)
    chosen = st.session_state.get("state") or list(STATES)
    states = tuple(state for name in chosen for state in STATES[name])
    rows = views.alerts(look.connection, states=states, limit=SHOWN)
    rows.sort(key=lambda row: ({"firing": 0, "pending": 1}.get(row.state, 2), _silent(row)))
    if not rows:
        frame.header("No such alert", f"No alert in this store is {' or '.join(chosen)}.")
        return
    more = f", the newest {SHOWN}" if len(rows) == SHOWN else ""
    frame.header(f"{formats.count(len(rows), 'alert')}{more}", "Firing first, then pending, then the newest.")
    grouped = views.incidents(look.connection, [row.group_id for row in rows if row.group_id])
    alone = [row for row in rows if not row.group_id]
    frame.show(
        "alerts.html", incidents=grouped, alerts=alone, measured=_measured(look, grouped, alone), now=now, live=live
    )
    frame.download("Download as CSV", "foreshock-alerts.csv", COLUMNS, [_row(row) for row in rows])


def incident(look: Look) -> None:
    """Show one incident with its alerts."""
    if frame.undecided(look):
        return
    found = views.incidents(look.connection, [st.query_params.get("incident", "")])
    if not found:
        frame.header("No such incident", "The store has no incident of this id.")
        return
    frame.show(
        "alerts.html",
        incidents=found,
        alerts=[],
        measured=_measured(look, found, ()),
        now=frame.clock(look),
        live=frame.is_live(look),
    )


def _measured(look: Look, incidents: Sequence[IncidentRow], alone: Sequence[AlertRow]) -> dict[str, Measured]:
    """Return what the open alerts measured then, and what it is now, by their ids."""
    rows = [*alone, *(row for incident in incidents for row in incident.alerts)]
    return {row.id: measured(look, row) for row in rows if row.resolved_at is None}


def _silent(row: AlertRow) -> bool:
    """Return whether an open alert is of silence. Those come after the open alerts of bad news."""
    return not KINDS[row.kind].has_stories and row.state in ("firing", "pending")


def _row(row: AlertRow) -> list[object]:
    moments = [None if t is None else formats.moment(t) for t in (row.started_at, row.fired_at, row.resolved_at)]
    return [
        *(row.id, row.topic, row.kind, row.direction, words.state(row), *moments),
        *(row.observed, row.baseline, row.events, row.sources, row.sentence, row.severity, row.group_id),
    ]
