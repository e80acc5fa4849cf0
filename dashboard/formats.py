"""How the pages write times, spans, counts and shares. `markup` offers these functions to templates as filters.

Times are in the zone of the person who looks. No page names a zone itself: these functions do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from foreshock.dashboard import zones

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time: int) -> datetime:
    """Return the aware datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time)


def local(time: int) -> datetime:
    """Return the datetime of microseconds since 1970 in the viewer's zone."""
    return moment(time).astimezone(zones.viewer())


def clock(time: int, *, year: bool = False) -> str:
    """Write a time in the viewer's zone, without naming it: `14:10, 2 April`."""
    at = local(time)
    return f"{at:%H:%M}, {at.day} {at:%B}" + (f" {at.year}" if year else "")


def zoned(time: int, *, year: bool = False) -> str:
    """Write a time as `clock` does, and its zone: `14:10, 2 April CEST`."""
    return f"{clock(time, year=year)} {zone_at(time)}"


def zone_at(time: int) -> str:
    """Name the viewer's zone at a time: `UTC`, `CEST`, or `UTC+05:45` where the zone has no short name."""
    at = local(time)
    name = at.strftime("%Z")
    return name if name.isalpha() else f"UTC{at.isoformat(timespec='minutes')[-6:]}"


def zone() -> str:
    """Name the viewer's zone: `UTC`, `Europe/Berlin`."""
    return zones.viewer().key


def between(start: int, end: int, *, year: bool = False) -> str:
    """Write both ends of a stretch of time: `14:10, 2 April to 15:00, 2 April UTC`.

    Both have their zone if summer time begins or ends between them.
    """
    first = clock(start, year=year) if zone_at(start) == zone_at(end) else zoned(start, year=year)
    return f"{first} to {zoned(end, year=year)}"


def clock_of_iso(time: str, *, year: bool = False) -> str:
    """Write a time that is given in ISO 8601, as `clock` does."""
    return clock((datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1), year=year)


def second(time: int) -> str:
    """Write the time of day to the second, and its zone: `14:32:05 CEST`."""
    return f"{local(time):%H:%M:%S} {zone_at(time)}"


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
