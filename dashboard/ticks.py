"""Where the axis of time has its ticks: at whole hours, days and months of the viewer's clock.

    ticks.within(start, end, zone)

Invariant: every tick is a time at which the viewer's clock shows a whole multiple of the step, ticks rise, and none is
before `start` or after `end`. This holds across changes to and from summer time: times lie on the axis as they passed,
so the day of a change is 23 or 25 hours wide, and an hour that the clock skips has no tick.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from foreshock.monitor.store.times import microseconds
from foreshock.monitor.units import DAY, HOUR

MOST = 8
"""The most ticks: as many labels fit side by side in half a page."""
_HOURS = (1 / 12, 1 / 6, 0.25, 0.5, 1, 2, 3, 4, 6, 12)
_DAYS = (1, 2, 4, 7, 14)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)
_FIRST, _LAST = 0, 95_000 * DAY
"""Between 1970 and 2230: a zone's offset can be added to these without leaving the years of `datetime`."""


def within(start: int, end: int, zone: ZoneInfo) -> list[int]:
    """Return the ticks of [start, end], in microseconds since 1970: as many as fit, and at most `MOST`."""
    start, end = max(start, _FIRST), min(end, _LAST)
    if end <= start:
        return []
    length = end - start
    for hours in _HOURS:
        if length <= MOST * hours * HOUR:
            return _clip(_of_hours(start, end, hours, zone), start, end)
    for days in _DAYS:
        if length <= MOST * days * DAY:
            return _clip(_of_days(start, end, days, zone), start, end)
    months = next((n for n in _MONTHS if length <= MOST * n * 30 * DAY), _MONTHS[-1])
    return _clip(_of_months(start, end, months, zone), start, end)


def label(time: int, zone: ZoneInfo) -> str:
    """Write a tick: the day at midnight, `2 Apr`, otherwise the time of day, `14:00`; a year at its beginning."""
    at = datetime.fromtimestamp(time / 1_000_000, zone)
    if (at.hour, at.minute) != (0, 0):
        return f"{at:%H:%M}"
    return f"{at.year}" if (at.month, at.day) == (1, 1) else f"{at.day} {at:%b}"


def _of_hours(start: int, end: int, hours: float, zone: ZoneInfo) -> Iterator[int]:
    step = timedelta(hours=hours)
    for midnight in _midnights(start, end, 1, zone):
        for number in range(round(timedelta(days=1) / step)):
            yield from _at(midnight + number * step, zone)


def _of_days(start: int, end: int, days: int, zone: ZoneInfo) -> Iterator[int]:
    for midnight in _midnights(start, end, days, zone):
        yield from _at(midnight, zone)


def _of_months(start: int, end: int, months: int, zone: ZoneInfo) -> Iterator[int]:
    first, last = (_wall(time, zone) for time in (start, end))
    for number in range(first.year * 12, last.year * 12 + 12, months):
        yield from _at(datetime(number // 12, number % 12 + 1, 1), zone)


def _midnights(start: int, end: int, every: int, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the midnights of the viewer's clock, every so many days, whatever the start: they stay where they are."""
    day, last = _wall(start, zone).date(), _wall(end, zone).date()
    day -= timedelta(days=day.toordinal() % every)
    while day <= last:
        yield datetime(day.year, day.month, day.day)
        day += timedelta(days=every)


def _wall(time: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(time / 1_000_000, zone).replace(tzinfo=None)


def _at(wall: datetime, zone: ZoneInfo) -> Iterator[int]:
    """Yield the time at which the clock shows this, if it does; of two, the first."""
    time = wall.replace(tzinfo=zone).astimezone(UTC)
    if time.astimezone(zone).replace(tzinfo=None) == wall:
        yield microseconds(time)


def _clip(times: Iterator[int], start: int, end: int) -> list[int]:
    return [time for time in times if start <= time <= end]
