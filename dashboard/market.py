"""The sessions and holidays of the exchange in `[dashboard] exchange`, as faint bands behind the charts.

    market.bands(start, end)          # what is drawn: sessions, or on longer charts what lies between them
    market.said(start, end)           # the same in words

Calendars come from `exchange_calendars`, which knows the hours, half days and holidays of a hundred exchanges. Breaks
at noon are not drawn.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from foreshock.dashboard import formats
from foreshock.dashboard.settings import served
from foreshock.monitor.units import DAY, HOUR

if TYPE_CHECKING:
    import numpy.typing as npt

SESSIONS_UP_TO = 16 * DAY
"""The longest chart on which each session is a band."""
CLOSED_UP_TO = 200 * DAY
"""The longest chart on which weekends and holidays are bands. On a longer one they would only be stripes."""
NIGHT = 36 * HOUR
"""Longer than an exchange is closed between two days of trading, shorter than over a holiday."""
HOLIDAYS_SAID = 3


def bands(start: int, end: int) -> list[tuple[int, int]]:
    """Return the bands of a chart from `start` to `end`, in microseconds since 1970. None without an exchange."""
    code = _chosen()
    if code is None or not 0 < end - start <= CLOSED_UP_TO:
        return []
    opens, closes = _sessions(code)
    if end - start > SESSIONS_UP_TO:
        long = opens[1:] - closes[:-1] > NIGHT
        opens, closes = closes[:-1][long], opens[1:][long]
    seen = (closes > start) & (opens < end)
    return [(max(int(a), start), min(int(b), end)) for a, b in zip(opens[seen], closes[seen], strict=True)]


def said(start: int, end: int) -> str:
    """Say what the bands are, and name the holidays among the days that are shown. Empty without bands."""
    code = _chosen()
    if code is None or not bands(start, end):
        return ""
    name = f"Faint columns: {code} is {'open' if end - start <= SESSIONS_UP_TO else 'closed'}"
    closed = _holidays(code, start, end)
    if not closed:
        return f"{name}."
    more = f" and {len(closed) - HOLIDAYS_SAID} more" if len(closed) > HOLIDAYS_SAID else ""
    shown = ", ".join(closed[:HOLIDAYS_SAID]) + more
    return f"{name}. {'Holiday' if len(closed) == 1 else 'Holidays'}: {shown}."


def load(code: str) -> None:
    """Load the calendar of an exchange, so that no reader waits for it."""
    _sessions(code)


def refusal(code: str) -> str | None:
    """Return why an exchange cannot be used; None if it can."""
    from difflib import get_close_matches

    from exchange_calendars import get_calendar_names

    names = get_calendar_names()
    if code in names:
        return None
    near = get_close_matches(code.upper(), names, 1, 0.5)
    meant = f"; did you mean {near[0]}?" if near else ", such as XNYS, XLON, XETR or XTKS."
    return f"{code!r} is not the code of an exchange{meant}"


def _chosen() -> str | None:
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    return None if get_script_run_ctx(suppress_warning=True) is None else served().exchange


@lru_cache(maxsize=4)
def _calendar(code: str) -> Any:
    from exchange_calendars import get_calendar

    with warnings.catch_warnings(category=DeprecationWarning, action="ignore"):  # what it calls of pandas
        return get_calendar(code)


@lru_cache(maxsize=4)
def _sessions(code: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return when each session of an exchange begins and ends, in microseconds since 1970."""
    calendar = _calendar(code)
    opens, closes = (pd.DatetimeIndex(times).as_unit("us").asi8 for times in (calendar.opens, calendar.closes))
    return opens, closes


def _holidays(code: str, start: int, end: int) -> list[str]:
    """Return the days on which the exchange is closed although its week has a session on such a day."""
    calendar = _calendar(code)
    dates = np.array(calendar.sessions, "datetime64[D]")
    first, last = (np.datetime64(formats.moment(time).astimezone(calendar.tz).date(), "D") for time in (start, end))
    days = np.arange(max(first, dates[0]), min(last, dates[-1]) + 1)
    weekdays = set(((dates[-260:].astype(int) + 3) % 7).tolist())  # day 0 of 1970 was a Thursday
    traded = set(dates[np.searchsorted(dates, first) : np.searchsorted(dates, last, "right")].tolist())
    closed = [day for day in days.tolist() if day not in traded and day.weekday() in weekdays]
    return [f"{day.day} {day:%B}" for day in closed]
