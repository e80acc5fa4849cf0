"""Read dates that people and programs write in words: month names, zones by name, 12-hour clocks.

    Mon May 06 13:30:00 +0000 2024      Nov 29, 2026 13:22 GMT      29-Nov-2026 1:22 PM EST
    Sun, 29 Nov 26 13:22:00 GMT         13:22 GMT, 29 November 2026 2026/11/29 13:22 GMT+0200 (CEST)
    2026-11-29 13:22 America/New_York   2026-11-29T13:22+01:00[Europe/Berlin]

Weekdays are ignored: they add nothing and are often wrong. AM or PM may repeat what a 24-hour clock says (22:00 PM).
Nothing is guessed: the month is a word or stands behind a year of four digits, and a zone is an offset, UTC, GMT, one
of RFC 2822 (EST, EDT, ... PDT) or an IANA name. Other words such as CEST or BST are not zones, because they mean
different offsets in different places.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo


class Day(datetime):
    """A day without a time. Its time is midnight and means nothing."""


_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep sept september", "oct october", "nov november", "dec december"), 1,
    )
    for name in names.split()
}  # fmt: skip
_HOURS = {"Z": 0, "UTC": 0, "GMT": 0, "UT": 0}
_HOURS |= {f"{place}ST": -5 - number for number, place in enumerate("ECMP")}
_HOURS |= {f"{place}DT": -4 - number for number, place in enumerate("ECMP")}

ZONE = (
    r"(?:[+-]00:?00\s(?i:UTC|GMT)|(?i:UTC|GMT)?\s?[+-][0-9]{1,2}(?::?[0-9]{2})?|\(?(?i:UTC|GMT)\)?|(?i:UT|Z|[ECMP][SD]T)|[A-Z][A-Za-z]+/[A-Za-z_/+-]{2,40})"
    r"(?:\s?\([^()]{0,60}\)|\[[^\[\]]{0,60}\])?"
)
_HALF = r"\s?[AaPp]\.?[Mm]\b\.?"
TIME = rf"[0-9]{{1,2}}:[0-9]{{1,2}}(?::[0-9]{{1,2}}(?:[.,][0-9]{{1,9}})?)?(?:{_HALF})?|[0-9]{{1,2}}{_HALF}"
_AT = r"(?:\s?[,|@T-]\s?|\s(?:at|@)\s|\s)"
_DAY = r"(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?"
_MONTH = r"(?P<b>[A-Za-z]{3,9})\.?"
_DATES = (
    rf"{_DAY}(?:\s(?:of\s)?|[-/.])?{_MONTH}(?:,?\s|[-/.])?(?P<y>[0-9]{{4}}|[0-9]{{2}}(?![0-9:]))",
    rf"{_MONTH}(?:\s|[-/.])?{_DAY}(?:,\s?|\s|[-/.])(?P<y>[0-9]{{4}})",
    rf"(?P<y>[0-9]{{4}})(?:,?\s|[-/.]){_MONTH}(?:\s|[-/.]){_DAY}",
    r"(?P<y>[0-9]{4})(?P<sign>[-/.])(?P<m>[0-9]{1,2})(?P=sign)(?P<d>[0-9]{1,2})",
    r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
)
_FORMS = [
    *(re.compile(rf"{date}(?:{_AT}(?P<t>{TIME})\s?(?P<z>{ZONE})?)?") for date in _DATES),
    *(re.compile(rf"(?P<t>{TIME})\s?(?P<z>{ZONE})?(?:,\s?|\s){date}") for date in _DATES),
    re.compile(rf"{_MONTH}\s{_DAY},?\s(?P<t>{TIME})(?:\s(?P<z>{ZONE}))?,?\s(?P<y>[0-9]{{4}})"),
    re.compile(rf"{_MONTH}\s{_DAY},?\s(?P<t>{TIME}),?\s(?P<y>[0-9]{{4}})\s(?P<z>{ZONE})"),
    re.compile(rf"(?P<y>[0-9]{{4}})(?P<m>[0-9]{{2}})(?P<d>[0-9]{{2}})(?P<t>[0-9]{{4}}(?:[0-9]{{2}})?)\s?(?P<z>{ZONE})"),
]
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}[.,]{0,2}\s?(?=[A-Za-z0-9])", re.IGNORECASE)
_CLOCK = re.compile(
    r"([0-9]{1,2})(?::?([0-9]{1,2}))?(?::?([0-9]{1,2})(?:[.,]([0-9]{1,9}))?)?\s?(?:([AaPp])\.?[Mm]\.?)?"
)
_ZERO = re.compile(r"[+-]00:?00\s(?=(?:UTC|GMT)$)", re.IGNORECASE)
"""An offset that repeats the zone after it. Before GMT, +0200 is none: it may be meant as GMT+0200 or as a mistake."""
_OFFSET = re.compile(r"(?i:UTC|GMT)?\s?([+-])([0-9]{1,2})(?::?([0-9]{2}))?")


def from_words(text: str) -> datetime | None:
    """Return the date in a text as written: a `Day` if it has no time, naive without a zone. None: it is no date."""
    text = " ".join(text.replace("\u2212", "-").split())
    if len(text) > 100:
        return None
    weekday = _WEEKDAY.match(text)
    if weekday is not None:
        text = text[weekday.end() :]
    for form in _FORMS:
        if (match := form.fullmatch(text)) is not None:
            found = match.groupdict()
            try:
                return _date(found)
            except (ValueError, OverflowError):
                return None
    return None


def zone_of(text: str) -> tzinfo:
    """Return the zone that a text names. Raises ValueError if it names none with one meaning."""
    text = re.sub(r"\s?\([^()]*\)$", "", text.strip()) or text.strip("() ")
    if text.endswith("]"):
        text, _, inside = text.rstrip("]").partition("[")
        text = text or inside
    text = _ZERO.sub("", text)
    if (hours := _HOURS.get(text.strip("() ").upper())) is not None:
        return UTC if hours == 0 else timezone(timedelta(hours=hours))
    if match := _OFFSET.fullmatch(text):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if int(match[3] or 0) > 59:
            raise ValueError(f"{text} is not an offset")
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
    return _named(text)


def clock(text: str) -> tuple[int, int, int, int]:
    """Return hour, minute, second and microsecond of a time of day. Raises ValueError."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is not a time")
    hour, half = int(match[1]), match[5]
    written_in_24 = half is not None and (hour in range(13, 24) if half in "pP" else hour == 0)
    if half is not None and not written_in_24:
        if not 1 <= hour <= 12:
            raise ValueError(f"{text} is not a time on a 12-hour clock")
        hour = hour % 12 + (12 if half in "pP" else 0)
    return hour, int(match[2] or 0), int(match[3] or 0), int((match[4] or "0")[:6].ljust(6, "0")) if match[4] else 0


def full_year(digits: str) -> int:
    """Return a year of four digits, or of two by RFC 2822: 50 to 99 are 1950 to 1999."""
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year >= 50 else 2000)


def _date(found: dict[str, str | None]) -> datetime | None:
    digits = found.get("m")
    month = int(digits) if digits else _MONTHS.get((found.get("b") or "").lower(), 0)
    year, day = found["y"] or "", int(found["d"] or 0)
    if not month or (len(year) == 2 and not (found.get("t") and found.get("z"))):
        return None  # a year of two digits is a year only in the full form of RFC 822
    if not found.get("t"):
        return Day(full_year(year), month, day)
    zone = zone_of(found["z"] or "") if found.get("z") else None
    return datetime(full_year(year), month, day, *clock(found["t"] or ""), tzinfo=zone)


@lru_cache(maxsize=256)
def _named(name: str) -> tzinfo:
    if "/" not in name:
        raise ValueError(f"{name} is not a zone")
    try:
        return ZoneInfo(name)
    except (LookupError, OSError) as error:
        raise ValueError(f"{name} is not a zone") from error
