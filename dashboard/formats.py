"""How the pages write times, spans, counts and shares. `markup` offers these functions to templates as filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time: int) -> datetime:
    """Return the aware datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time)


def clock(time: int, *, year: bool = False) -> str:
    """Write a time in UTC: `14:10, 2 April`."""
    at = moment(time)
    return f"{at:%H:%M}, {at.day} {at:%B}" + (f" {at.year}" if year else "")


def between(start: int, end: int, *, year: bool = False) -> str:
    """Write both ends of a stretch of time: `14:10, 2 April to 15:00, 2 April UTC`."""
    return f"{clock(start, year=year)} to {clock(end, year=year)} UTC"


def clock_of_iso(time: str, *, year: bool = False) -> str:
    """Write a time that is given in ISO 8601, as `clock` does."""
    return clock((datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1), year=year)


def ago(span: int) -> str:
    """Write a span of microseconds: `3 min`, `5 h`, `2 days`."""
    seconds = max(span, 0) // 1_000_000
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def long(span: int) -> str:
    """Write a length of time exactly: `3 hours`, `24 hours`, `7 days`, `15 minutes`."""
    for unit, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        size = unit * 1_000_000
        if span % size == 0 and (span // size > 1 or word != "day"):
            return count(span // size, word)
    return f"{span // 1_000_000} seconds"


def number(value: int) -> str:
    """Write a whole number with its thousands apart: `12,345`."""
    return f"{value:,}"


def count(value: int, thing: str) -> str:
    """Write a number with its noun: `1 story`, `2,000 stories`."""
    plural = thing[:-1] + "ies" if thing.endswith("y") and thing[-2] not in "aeiou" else thing + "s"
    return f"{number(value)} {thing if value == 1 else plural}"


def whole(value: float) -> str:
    """Write a number without its digits after the point: `37`."""
    return f"{value:.0f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a polarity with its sign, and with a real minus: `+0.12`, `−0.08`. None is a dash."""
    return "–" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def share(value: float | None) -> str:
    """Write a share in percent: `61 %`. None is a dash."""
    return "–" if value is None else f"{value * 100:.0f} %"
