"""Name stretches of the week by the wall clock of a place: `[[time_intervals]]`, for routes and quiet hours.

The one idea: a time is in an interval if its local weekday and local time are. So an hour that does not exist, where
clocks go forward, is in no interval, and an hour that exists twice is in it twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, field_validator

from foreshock.ingest.settings import zone
from foreshock.monitor.delivery.settings import Name
from foreshock.monitor.units import MINUTE, SECOND

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
OF_DAY = 24 * 60
OF_WEEK = 7 * OF_DAY
"""Minutes of a day and of a week."""

LONGEST = 8 * OF_DAY
"""How far `end` looks, in minutes. What holds longer than a week holds for ever."""

_TIMES = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_WEEKS = (datetime(2026, 1, 12, tzinfo=UTC), datetime(2026, 7, 13, tzinfo=UTC))
"""Mondays of a winter and a summer week in which no clocks change, for `weekly`."""

Span = tuple[int, int]
"""Minutes of the local week from Monday 00:00: from the first up to the second."""


class TimeIntervalSettings(BaseModel):
    """A stretch of the week with a name, by the wall clock of a place. Routes and quiet hours name it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Name
    """What routes and quiet hours call it."""
    times: tuple[str, ...] = ()
    """From when to when: "09:00-17:30". "22:00-07:00" ends on the next day. Default: the whole day."""
    weekdays: tuple[str, ...] = ()
    """The days on which it begins: "monday:friday", "sunday". Default: every day."""
    location: str = "UTC"
    """The zone of these times, by its IANA name, such as Europe/Berlin."""

    @field_validator("times")
    @classmethod
    def _are_times(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _times(text)
        return value

    @field_validator("weekdays")
    @classmethod
    def _are_weekdays(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            _weekdays(text)
        return value

    @field_validator("location")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        zone(value)
        return value

    def interval(self) -> TimeInterval:
        """Return the interval that these settings describe."""
        days = sorted({day for text in self.weekdays for day in _weekdays(text)}) or range(7)
        spans: list[Span] = []
        for start, end in [_times(text) for text in self.times] or [(0, OF_DAY)]:
            for day in days:
                begin = day * OF_DAY + start
                spans += _wrapped(begin, begin + (end - start if end > start else end - start + OF_DAY))
        return TimeInterval(self.name, _joined(spans), zone(self.location))


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A stretch of the week. `spans` are sorted, do not touch, and lie within the week."""

    name: str
    spans: tuple[Span, ...]
    zone: ZoneInfo

    def active(self, at: int) -> bool:
        """Return whether a time (microseconds since 1970) is in the interval.

        >>> night = TimeIntervalSettings(name="night", times=("22:00-07:00",), location="Europe/Berlin").interval()
        >>> night.active(1_772_485_200_000_000)  # 22:00 in Berlin on 2 March 2026
        True
        """
        local = datetime.fromtimestamp(at // SECOND, self.zone)
        minute = local.weekday() * OF_DAY + local.hour * 60 + local.minute
        return any(start <= minute < end for start, end in self.spans)


def end(active: Callable[[int], bool], at: int) -> int | None:
    """Return the first whole minute after `at` at which `active` does not hold; None if it holds for `LONGEST`."""
    minute = at - at % MINUTE
    return next((minute + n * MINUTE for n in range(1, LONGEST + 1) if not active(minute + n * MINUTE)), None)


def weekly(interval: TimeInterval) -> tuple[tuple[Span, ...], ...]:
    """Return the spans in minutes of the week in UTC: of a winter week, and of a summer week."""
    return tuple(_in_utc(interval, monday) for monday in _WEEKS)


def never_ends(intervals: Sequence[TimeInterval]) -> bool:
    """Return whether intervals together cover a whole week, so that what they mute stays muted."""
    weeks = [weekly(interval) for interval in intervals]
    return any(
        _joined([span for week in weeks for span in week[season]]) == ((0, OF_WEEK),) for season in range(len(_WEEKS))
    )


@lru_cache(maxsize=1_000)
def _in_utc(interval: TimeInterval, monday: datetime) -> tuple[Span, ...]:
    ahead = (monday + timedelta(days=3)).astimezone(interval.zone).utcoffset() or timedelta()
    minutes = round(ahead.total_seconds() / 60)
    return _joined([part for start, end in interval.spans for part in _wrapped(start - minutes, end - minutes)])


def _wrapped(start: int, end: int) -> list[Span]:
    """Return a span of at most a week, which may begin before or end after the week, as spans within it."""
    if end - start >= OF_WEEK:
        return [(0, OF_WEEK)]
    start, end = start % OF_WEEK, (end - 1) % OF_WEEK + 1
    return [(start, end)] if start < end else [(start, OF_WEEK), (0, end)]


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans in order, those that overlap or touch as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return tuple(found)


def _times(text: str) -> Span:
    """Return the minutes of the day of a text such as "22:00-07:00". Raises ValueError."""
    found = _TIMES.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'{text!r}: expected two times, such as "09:00-17:30" or "22:00-07:00"')
    hours = [int(found[1]), int(found[3])]
    start, end = hours[0] * 60 + int(found[2]), hours[1] * 60 + int(found[4])
    if start >= OF_DAY or end > OF_DAY or int(found[2]) > 59 or int(found[4]) > 59:
        raise ValueError(f"{text!r}: a day has the times 00:00 to 24:00")
    if start == end:
        raise ValueError(f'{text!r} is empty; for a whole day, write "00:00-24:00"')
    return start, end


def _weekdays(text: str) -> list[int]:
    """Return the numbers of the days of "friday" or "monday:friday"; "friday:monday" goes over the weekend."""
    names = [part.strip().lower() for part in text.split(":")]
    if len(names) > 2 or any(name not in WEEKDAYS for name in names):
        raise ValueError(f'{text!r}: expected a weekday or two, such as "sunday" or "monday:friday"')
    first, last = WEEKDAYS.index(names[0]), WEEKDAYS.index(names[-1])
    return [(first + n) % 7 for n in range((last - first) % 7 + 1)]
