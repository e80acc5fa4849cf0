"""The time zone of the person who looks: that of the browser, or the one of `[dashboard] timezone`.

    zones.viewer()

Everything inside is in UTC, and so are addresses and exports. Only what a page shows is in the viewer's zone. It is
asked anew each time, because the viewers of one process have different zones.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from foreshock.dashboard.settings import BROWSER, served
from foreshock.monitor.store.times import microseconds

LONGEST = 64
"""The longest name of a zone that is looked at: a browser can send any text."""


def viewer() -> ZoneInfo:
    """Return the zone in which times are shown. It is UTC outside of a page, and if a browser's zone is unknown."""
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    if get_script_run_ctx(suppress_warning=True) is None:
        return named("UTC")
    wanted = served().timezone
    return named((st.context.timezone or "UTC")[:LONGEST] if wanted == BROWSER else wanted)


@lru_cache(maxsize=1024)
def named(name: str) -> ZoneInfo:
    """Return the zone of an IANA name; UTC if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def wall(time: int) -> datetime:
    """Return what the viewer's clock shows at a time (microseconds since 1970), without a zone, as inputs need it."""
    return datetime.fromtimestamp(time / 1_000_000, viewer()).replace(tzinfo=None)


def of_wall(shown: datetime) -> int:
    """Return the time at which the viewer's clock shows this. If an hour comes twice, its first time counts.

    A value with a zone keeps it.
    """
    return microseconds((shown if shown.tzinfo else shown.replace(tzinfo=viewer())).astimezone(UTC))


def utc_midnight(day: object, *, days: int = 0) -> int | None:
    """Return the time at which the UTC day that an input gives begins, or `days` later; None if it gives none."""
    if not isinstance(day, date):
        return None
    return microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=days))
