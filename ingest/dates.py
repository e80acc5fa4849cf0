"""Convert the dates of any feed to microseconds since 1970, UTC. A date is read exactly or not at all, never guessed.

Accepted are ISO 8601, epoch seconds and milliseconds (numbers from 1e11 on are milliseconds), and every other form in
which the month is a word or the year comes first and the zone has one meaning (`date_text`; RFC 2822 is one of them).
Digits that spell a calendar date of 8, 12, 14 or 17 places (20240506, 202405061330, 20240506133000) are that date,
whether they come as text or as a number. Days such as 01/02/2020 are ambiguous: the user says how to read them
(`date_formats`). Rejected are numbers that would lie before 1980 as an epoch: they are years, days of Excel or
stand-ins, and no news of that time counts seconds.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from typing import Any

from foreshock.ingest.date_formats import by_format
from foreshock.ingest.date_text import Day, from_words
from foreshock.ingest.errors import BadRecord

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = 4_133_980_800_000_000
"""2101-01-01T00:00:00Z in microseconds: the first time that is out of range."""
END_OF_SEVENTIES = 315_532_800_000_000
"""1980-01-01T00:00:00Z in microseconds. No number before it is an epoch."""

FORMS = ("with zone", "without zone", "bare day", "epoch seconds", "epoch milliseconds", "unreadable", "missing")

_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]*)?")
_SEPARATED = re.compile("[Tt ]")
_WEEK = re.compile(r"[0-9]{4}-?W[0-9]{2}")
_MILLISECONDS_FROM = 100_000_000_000
_DAY = 86_400_000_000
_PLACES = frozenset((8, 12, 14, 17))
_YEARS = range(1900, 2101)


def read_date(
    value: Any,
    zone: tzinfo | None,
    *,
    microseconds: bool = False,
    midnight_is_day: bool = False,
    date_format: str | None = None,
) -> tuple[int, bool]:
    """Return microseconds since 1970, and whether the date was a bare day. A bare day means its end (23:59:59.999999).

    `zone` is assumed where a time has none. In a gap of daylight saving the offset before the gap counts; in a repeated
    hour the first one. A bare day is in `zone`, otherwise in UTC. With `microseconds`, numbers from 1e14 on are
    microseconds. With `midnight_is_day`, a time of exactly 00:00:00 as written is a bare day. `date_format`: the user's
    form (`date_formats`). Raises `BadRecord`: bad_date, date_without_zone, date_out_of_range.
    """
    found = _understood(value, microseconds, date_format)[0]
    day = False
    try:
        if isinstance(found, datetime):
            day = type(found) is Day or (midnight_is_day and is_midnight(found))
            if day:
                # fold: of a day that ends twice, the second end.
                found = datetime(found.year, found.month, found.day, 23, 59, 59, 999_999, found.tzinfo, fold=1)
                zone = zone or UTC
            elif found.tzinfo is None and zone is None:
                raise BadRecord(
                    "date_without_zone", f"{_shown(value)} has no zone. Set assume_zone, for all sources or by source."
                )
            when = _instant(found, zone)
        else:
            day = midnight_is_day and is_midnight(found)
            when = found + _DAY - 1 if day else found
    except OverflowError:
        raise _out_of_range(value) from None
    if not is_in_range(when):
        raise _out_of_range(value)
    return when, day


def is_in_range(when: int) -> bool:
    """Whether a story may have this event time (microseconds since 1970)."""
    return 0 <= when < END


def is_midnight(found: datetime | int) -> bool:
    """Whether a time as written, or microseconds since 1970, is 00:00:00."""
    if isinstance(found, int):
        return found % _DAY == 0
    return not (found.hour or found.minute or found.second or found.microsecond)


def date_form(value: Any, date_format: str | None = None) -> tuple[str, bool]:
    """Return which of `FORMS` a value has, and whether it has a time that is midnight: for `foreshock check`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "missing", False
    try:
        found, form = _understood(value, False, date_format)
    except BadRecord:
        return "unreadable", False
    return form, form != "bare day" and is_midnight(found)


def _understood(value: Any, microseconds: bool, date_format: str | None) -> tuple[datetime | int, str]:
    """Return a date as written (a `Day` if it has no time) or microseconds since 1970, and which of `FORMS` it has."""
    kind = type(value)
    if kind not in (str, int, float):
        raise BadRecord("bad_date", f"A date cannot be a {kind.__name__}.")
    if date_format is not None and (when := by_format(value, date_format)) is not None:
        return _formed(when)
    return _from_text(value.strip(), microseconds) if kind is str else _from_number(value, microseconds)


def _from_number(number: int | float, microseconds: bool) -> tuple[datetime | int, str]:
    if not math.isfinite(number):
        raise BadRecord("bad_date", "A date cannot be NaN or infinite.")
    size = abs(number)
    if size == (whole := int(size)) and len(digits := str(whole)) in _PLACES and number > 0:
        spelt = _calendar(digits)
        if spelt is not None:
            return _formed(spelt)
    if size >= END:  # in any unit; times a thousand, it might even be too large for a float
        raise _out_of_range(number)
    scale, form = 1_000_000, "epoch seconds"
    if size >= _MILLISECONDS_FROM:
        scale, form = 1 if microseconds and size >= 10**14 else 1_000, "epoch milliseconds"
    when = round(number * scale)
    if 0 <= when < END_OF_SEVENTIES:
        # Reading 2020, 202001, 20201332 or Excel's 43902 as seconds would be wrong by fifty years, without a word.
        raise BadRecord(
            "bad_date", f"{_shown(number)} is neither a calendar date nor an epoch: as one it would lie before 1980."
        )
    return when, form


def _calendar(digits: str) -> datetime | None:
    """Return the calendar date that 8, 12, 14 or 17 digits spell (year, month, day, hour, ...); None if they do not."""
    if int(digits[:4]) not in _YEARS:
        return None
    try:
        if len(digits) == 8:
            return Day(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        seconds, thousandths = digits[12:14] or "0", digits[14:] or "0"
        parts = digits[:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12], seconds
        year, month, day, hour, minute, second = map(int, parts)
        return datetime(year, month, day, hour, minute, second, int(thousandths) * 1_000)
    except ValueError:
        return None


def _from_text(text: str, microseconds: bool) -> tuple[datetime | int, str]:
    # Test for digits first: fromisoformat accepts any separator and reads some epoch milliseconds as a day.
    if text[4:5] != "-" and _NUMBER.fullmatch(text):
        digits, _, fraction = text.partition(".")
        return _from_number(float(text) if fraction.strip("0") else int(digits), microseconds)
    # fromisoformat takes a week for its Monday.
    if (when := None if _WEEK.fullmatch(text) else _iso(text)) is not None:
        # A date with a time has more than ten characters; a bare day does not.
        return _formed(Day(when.year, when.month, when.day) if len(text) <= 10 else when)
    if (when := from_words(text)) is not None:
        return _formed(when)
    raise BadRecord(
        "bad_date",
        f"{_shown(text)} cannot be read as a date: expected a day that exists, as ISO 8601 with zone, or epoch "
        "seconds. For other forms, set --date-format.",
    )


def _formed(when: datetime) -> tuple[datetime, str]:
    if type(when) is Day:
        return when, "bare day"
    return when, "without zone" if when.tzinfo is None else "with zone"


def _instant(when: datetime, zone: tzinfo | None) -> int:
    since = (when if when.tzinfo is not None else when.replace(tzinfo=zone)) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _iso(text: str) -> datetime | None:
    if len(text) > 10 and not _SEPARATED.search(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _out_of_range(value: Any) -> BadRecord:
    return BadRecord("date_out_of_range", f"{_shown(value)} lies outside the years 1970 to 2100.")


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
