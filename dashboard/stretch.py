"""The stretch of time that *Topic* shows: one of five ranges that end now, or any from and to, which the address keeps.

    controls()                          # draws them
    chosen(look, topic, now)            # the stretch, with a step and a window that fit its length

A reader sets "from" and "to", draws across a chart to zoom, or follows a link from an alert. Choosing a range
clears both. The inputs are in the viewer's zone. The address is in UTC, so that it means the same to everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st
from markupsafe import Markup

from foreshock.dashboard import axes, formats, text, zones
from foreshock.dashboard.reader import Look
from foreshock.monitor.kinds import SILENCE
from foreshock.monitor.store import alert_windows, rolling, topic_views
from foreshock.monitor.store.times import microseconds
from foreshock.monitor.store.views import AlertRow
from foreshock.monitor.units import DAY, HOUR

MINUTE = HOUR // 60


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a range goes, its step, and the window over which each point is a mean. In microseconds."""

    back: int | None
    step: int
    window: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is shown: [start, end), its step and its window. In microseconds."""

    start: int
    end: int
    step: int
    window: int
    own: bool
    """Whether a reader set its ends. Otherwise it is a range that ends now."""


RANGES = {
    "day": Range(DAY, 15 * MINUTE, 3 * HOUR),
    "week": Range(7 * DAY, HOUR, 24 * HOUR),
    "month": Range(28 * DAY, 3 * HOUR, 24 * HOUR),
    "quarter": Range(91 * DAY, 12 * HOUR, 3 * DAY),
    "all": Range(None, DAY, 7 * DAY),
}
DEFAULT = "month"
STEPS = tuple(n * MINUTE for n in (5, 15, 30, 60, 120, 180, 360, 720, 1440))
POINTS = 240
"""The most points of a chart whose ends a reader set, unless steps of a day are too many."""
WINDOWS = ((36 * HOUR, 3 * HOUR), (45 * DAY, 24 * HOUR), (120 * DAY, 3 * DAY))
"""The window of each point, up to these lengths; beyond them it is a week."""
SHORTEST = HOUR
INPUT = 216
"""The width of an input in pixels: a time, and the buttons that clear and choose it."""
FIRST, LAST = datetime(1970, 1, 1), datetime(2199, 12, 31)


def controls() -> None:
    """Draw the ranges, and the inputs of "from" and "to"."""
    hidden: Any = {"label_visibility": "collapsed", "bind": "query-params"}
    st.segmented_control("Range", list(RANGES), default=DEFAULT, key="range", required=True, on_change=clear, **hidden)
    ends: Any = {"min_value": FIRST, "max_value": LAST, "step": timedelta(minutes=5), "width": INPUT}
    for name, label in (("from", "From"), ("to", "To")):
        end = _asked(name)
        # A viewer's clock may show a time before FIRST or after LAST, and an input refuses it.
        st.session_state[_input(name)] = None if end is None else min(max(zones.wall(end), FIRST), LAST)
        st.datetime_input(f"{label}, {formats.zone()}", key=_input(name), on_change=_take, args=(name,), **ends)


def range_name() -> str:
    """Return the range that the reader chose."""
    return str(st.session_state.get("range") or DEFAULT)


def clear() -> None:
    """Show the chosen range again, up to now."""
    for name in ("from", "to"):
        st.query_params.pop(name, None)


def take_zoom(key: str) -> None:
    """Take over the stretch that a reader has drawn on the chart of this key."""
    state = st.session_state.get(key)
    drawn = state["selection"].get(axes.ZOOM) if state else None
    ends = next(iter(drawn.values()), None) if drawn else None
    if not ends or len(ends) != 2:
        return
    start, end = sorted(round(float(time) * 1000) for time in ends)
    start, end = start - start % (5 * MINUTE), end + -end % (5 * MINUTE)
    if end - start < SHORTEST:
        end = start + SHORTEST
    st.query_params["from"], st.query_params["to"] = _address(start), _address(end)
    st.session_state["zoomed"] = True


def redraw_if_zoomed() -> None:
    """Draw the whole page again if a reader has just zoomed: its controls are outside of what refreshes in place."""
    if st.session_state.pop("zoomed", False):
        st.rerun()


def chosen(look: Look, topic: str, now: int) -> Stretch:
    """Return what is shown. An end that lies before its start, or after now, is not used."""
    first = topic_views.first_story_at(look.connection, topic)
    first = now - DAY if first is None else min(first, now - DAY)
    start, end = _asked("from"), _asked("to")
    end = now if end is None else min(end, now)
    span, grain = RANGES[range_name()], rolling.grain(look.connection)
    if start is None and end < now:
        start = end - (span.back or end - first)
    if start is None or end - start < SHORTEST:
        begin = first if span.back is None else max(now - span.back, first)
        step = _whole(grain.of(begin, span.step), look)
        return Stretch(begin, now, step, max(span.window, step), False)
    length = end - start
    step = next((step for step in STEPS if length <= step * POINTS and step >= look.standing.bucket), STEPS[-1])
    window = next((window for until, window in WINDOWS if length <= until), 7 * DAY)
    step = _whole(grain.of(start, step), look)
    return Stretch(start, end, step, max(window - window % step, step), True)


def coarse(look: Look, span: Stretch) -> str:
    """Return that rows of this stretch are of hours or days, where they are; else ""."""
    grain = rolling.grain(look.connection)
    if span.start >= grain.hours_until:
        return ""
    days = f"of days up to {formats.zoned(grain.days_until, year=True)}, and " if span.start < grain.days_until else ""
    hours = f"of hours up to {formats.zoned(grain.hours_until, year=True)}"
    return f"Old rows are {days}{hours}: those of buckets are no longer kept."


def around(alert: AlertRow) -> dict[str, str]:
    """Return the "from" and "to" of a link that shows an alert: some windows before it, and some after."""
    window = alert_windows.window_of(alert)
    begins = alert.started_at if alert.kind == SILENCE else min(alert.window_start, alert.started_at)
    start = begins - min(max(2 * window, DAY), 60 * DAY)
    end = max(alert.resolved_at or alert.window_end, alert.window_end) + min(max(window, DAY), 60 * DAY)
    return {name: _address(time - time % HOUR) for name, time in (("from", start), ("to", end))}


def alert_topic(alert: AlertRow, label: str | Markup) -> Markup:
    """Return the link from an alert to its topic, at the time at which the alert can be seen."""
    return text.link("Topic", label, topic=alert.topic, alert=alert.id, **around(alert))


def _whole(step: int, look: Look) -> int:
    """Return a step as a whole number of buckets."""
    bucket = look.standing.bucket
    return max(step - step % bucket, bucket)


def _input(name: str) -> str:
    return f"{name}-shown"


def _take(name: str) -> None:
    """Put what a reader chose, in the viewer's zone, into the address, in UTC."""
    shown = st.session_state.get(_input(name))
    if isinstance(shown, datetime):
        st.query_params[name] = _address(zones.of_wall(shown))
    else:
        st.query_params.pop(name, None)


def _asked(name: str) -> int | None:
    """Return an end from the address, where it is in UTC or with a zone of its own. None if there is none."""
    try:
        value = datetime.fromisoformat(st.query_params.get(name, ""))
    except ValueError:
        return None
    time = value if value.tzinfo else value.replace(tzinfo=UTC)
    return microseconds(time) if FIRST <= time.replace(tzinfo=None) <= LAST else None


def _address(time: int) -> str:
    return f"{formats.moment(time):%Y-%m-%dT%H:%M}"
