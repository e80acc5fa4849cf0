"""*Alerts*: incidents that unfold to their alerts, with filters and pages that the address keeps.

With `?alert=ID` in its address the page shows that one alert, and with `?incident=ID` that one incident.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from foreshock.dashboard import alert, alert_filter, desk, formats, frame, here, incident, text, words
from foreshock.dashboard.measured import measured
from foreshock.dashboard.reader import Look
from foreshock.monitor.store import alert_search, views
from foreshock.monitor.store.alert_search import Wanted
from foreshock.monitor.store.views import AlertRow, IncidentRow
from foreshock.monitor.units import shown

SHOWN = 25
"""Incidents of one page."""
MOST = 100_000
"""Alerts of one download."""
OPEN = "open"
"""The name in the address of the incident that is unfolded."""
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
        frame.live(incident.body)
    else:
        alert_filter.controls()
        frame.live(body)


def body(look: Look) -> None:
    here.links(OPEN, alert_filter.PAGE)
    if frame.undecided(look):
        return
    wanted = alert_filter.wanted()
    number = alert_filter.page_number()
    found = alert_search.search(look.connection, wanted, limit=SHOWN, offset=(number - 1) * SHOWN)
    pages = max(-(-found.count // SHOWN), 1)
    if number > pages:
        number = pages
        found = alert_search.search(look.connection, wanted, limit=SHOWN, offset=(number - 1) * SHOWN)
    if not found.count:
        frame.header("No such alert", "No alert in this store is like this. Use fewer filters.")
        return
    sub = "By incident, each of which unfolds to its alerts. Firing first, then pending, then the newest."
    frame.header(formats.count(found.alerts, "alert"), sub)
    incidents = {one.id: one for one in views.incidents(look.connection, found.groups)}
    alone = {one.id: one for one in alert_search.alone(look.connection, found.groups)}
    opened = st.query_params.get(OPEN) or (found.groups[0] if len(found.groups) == 1 else None)
    rows = [incidents.get(group) or alone[group] for group in found.groups]
    unfolded = [row for one in rows if one.id == opened and isinstance(one, IncidentRow) for row in one.alerts]
    frame.show(
        "alerts.html",
        rows=[(one, _alerts_of(one)) for one in rows],
        opened=opened,
        measured={row.id: measured(look, row) for row in unfolded},
        page=number,
        pages=pages,
        now=frame.clock(look),
        live=frame.is_live(look),
    )
    frame.download("Download as CSV", "foreshock-alerts.csv", COLUMNS, lambda: _rows(wanted))


def _alerts_of(one: IncidentRow | AlertRow) -> Sequence[AlertRow]:
    return one.alerts if isinstance(one, IncidentRow) else ()


def _rows(wanted: Wanted) -> list[list[object]]:
    """Return all alerts that match, for a download. It is asked for later, so it takes a snapshot of its own."""
    with frame.reader().look() as look:
        return [_row(row) for row in alert_search.matching(look.connection, wanted, limit=MOST)]


def _row(row: AlertRow) -> list[object]:
    moments = [None if t is None else formats.moment(t) for t in (row.started_at, row.fired_at, row.resolved_at)]
    return [
        *(row.id, shown(row.topic), row.kind, row.direction, words.state(row), *moments),
        *(row.observed, row.baseline, row.events, row.sources, row.sentence, row.severity, row.group_id),
    ]
