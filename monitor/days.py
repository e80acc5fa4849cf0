"""Days of research: in a time zone, ending at a stated hour, or the sessions of an exchange.

    Days(tz="Europe/London", ends="16:30").steps(first, last)
    Days(exchange="XNYS").steps(first, last)

A step is a stretch of time with the date that it counts for. Steps follow one another without a gap, so every bucket
with stories is in exactly one. All that counts in a step was known at its end (plus the allowed lateness).

Invariants: steps do not overlap and leave nothing out; a step ends on its day, at the stated local time, also across a
change to or from summer time; its day is later than that of the step before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from foreshock.ingest.meant import did_you_mean

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OPEN, CLOSE = "open", "close"


class BadDays(ValueError):
    """Days that cannot be. `field` of `Days` is what to change."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field


class Step(NamedTuple):
    """A stretch of time, and the day for which it counts. Times in microseconds."""

    begin: int
    end: int
    day: date


@dataclass(frozen=True)
class Days:
    """How days end.

    Parameters:
        tz: an IANA time zone. Default: UTC.
        ends: the local time at which a day ends, `HH:MM`; default midnight. With `exchange`: `open` (the default) or
            `close`, of its sessions.
        exchange: the ISO 10383 code of an exchange (`XNYS`), as the package exchange_calendars has it. Then a day is a
            session, and what comes while the exchange is closed counts for the next one. A step ends so early that it
            is known at the open, or at the close: `lead` before it.
        lead: microseconds; the allowed lateness.

    Raises `BadDays` for a zone, time or exchange that does not exist.
    """

    tz: str | None = None
    ends: str | None = None
    exchange: str | None = None
    lead: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be used."""
        if self.exchange is None:
            self._zone, self._time  # noqa: B018
        elif self.tz is not None:
            raise BadDays("tz", f"the sessions of {self.exchange} are in its own time zone: leave tz out")
        elif self.ends not in (None, OPEN, CLOSE):
            raise BadDays("ends", f"a session ends at its {OPEN} or its {CLOSE}, not at {self.ends!r}")
        else:
            self._sessions  # noqa: B018

    def steps(self, first: int, last: int, bucket: int) -> list[Step]:
        """Return the steps from that of `first` on that end by `last` (microseconds).

        Raises `BadDays` where a step would cut a bucket in two.
        """
        if self.exchange is not None:
            ends = self._session_ends(first, last, bucket)
        else:
            ends = self._local_ends(first, last)
            if cut := next((end for end, _ in ends if end % bucket), None):
                raise BadDays(
                    "ends",
                    f"a day that ends at {EPOCH + timedelta(microseconds=cut):%H:%M} UTC cuts a bucket of "
                    f"{bucket // 60_000_000} minutes in two; choose another time",
                )
        return [Step(a, b, day) for (a, _), (b, day) in pairwise(ends) if b > first and b <= last]

    @cached_property
    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.tz or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadDays(
                "tz",
                f"there is no time zone {self.tz!r}; write one such as Europe/London."
                + did_you_mean(self.tz or "", available_timezones()),
            ) from None

    @cached_property
    def _time(self) -> clock_time:
        try:
            found = clock_time.fromisoformat(self.ends or "00:00")
        except ValueError:
            found = None
        if found is None or found.tzinfo is not None or found.second or found.microsecond:
            raise BadDays("ends", f"{self.ends!r} is not a time of day; write one such as 16:00")
        return found

    def _local_ends(self, first: int, last: int) -> list[tuple[int, date]]:
        """Return when days end, with the day that ends then. Midnight ends the day before."""
        day = (EPOCH + timedelta(microseconds=first)).date() - timedelta(days=3)
        stop = (EPOCH + timedelta(microseconds=last)).date() + timedelta(days=3)
        found = list[tuple[int, date]]()
        while day <= stop:
            at = datetime.combine(day, self._time, self._zone)
            end = _microseconds(at)
            if found and found[-1][0] == end:  # a day that a country left out
                found.pop()
            found.append((end, day if self._time != clock_time() else day - timedelta(days=1)))
            day += timedelta(days=1)
        return found

    @cached_property
    def _sessions(self) -> Any:
        try:
            import exchange_calendars
        except ImportError:
            raise BadDays(
                "exchange",
                "sessions of exchanges need the package exchange_calendars: pip install 'foreshock[research]'",
            ) from None
        from exchange_calendars.errors import InvalidCalendarName

        try:
            return exchange_calendars.get_calendar(self.exchange, start="1970-01-01")
        except InvalidCalendarName:
            raise BadDays(
                "exchange",
                f"exchange_calendars knows no exchange {self.exchange!r}; write one such as XNYS."
                + did_you_mean(self.exchange or "", exchange_calendars.get_calendar_names()),
            ) from None

    def _session_ends(self, first: int, last: int, bucket: int) -> list[tuple[int, date]]:
        calendar = self._sessions
        times = calendar.closes if self.ends == CLOSE else calendar.opens
        at = (
            (times.dt.tz_convert(None).to_numpy().astype("datetime64[us]").astype("int64") - self.lead)
            // bucket
            * bucket
        )
        begin = max(bisect_right(at, first) - 1, 0)
        end = bisect_right(at, last)
        if len(at) and last > at[-1]:
            said = f"the calendar of {self.exchange} ends at {times.index[-1]:%Y-%m-%d}; set an earlier end"
            raise BadDays("exchange", said)
        return [(int(at[i]), times.index[i].date()) for i in range(begin, end)]


def _microseconds(at: datetime) -> int:
    return (at.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
