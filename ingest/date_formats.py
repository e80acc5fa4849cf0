"""Read dates whose form only the user knows: `--date-format`.

    dayfirst      31.12.2023, 31/12/2023 17:30, 31-12-23
    monthfirst    12/31/2023 5:30 PM
    excel         45291.729, days since 1899-12-30
    %d.%m.%Y %Hh%M    any form of Python's strptime; %Z at the end takes the zones that `date_text` knows

What a format does not fit is read as without it. No format changes the meaning of what can be read without it but a
strptime format, which comes first.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from foreshock.ingest.date_text import TIME, ZONE, Day, clock, zone_of

WORDS = ("dayfirst", "monthfirst", "excel")
_NUMERIC = re.compile(
    r"(?:[A-Za-z]{2,9}[.,]{0,2}\s)?(?P<one>[0-9]{1,2})(?P<sign>[./-])\s?(?P<two>[0-9]{1,2})(?P=sign)\s?(?P<y>[0-9]{4}|[0-9]{2})"
    rf"(?:(?:,\s?|\s|T)(?P<t>{TIME})(?:\s?(?P<z>{ZONE}))?)?"
)
_TIME_FIRST = re.compile(
    rf"(?P<t>{TIME})(?:\s?(?P<z>{ZONE}))?(?:,\s?|\s)(?P<one>[0-9]{{1,2}})(?P<sign>[./-])(?P<two>[0-9]{{1,2}})(?P=sign)"
    r"(?P<y>[0-9]{4}|[0-9]{2})"
)
_EXCEL_FROM, _EXCEL_TO = 10_000, 80_000
"""Days from 1927 to 2119. Others are no dates of news."""
_EXCEL_EPOCH = datetime(1899, 12, 30)
_ZONE_BEHIND = re.compile(rf"(.*?)\s*({ZONE})")
_ADJACENT = re.compile(r"%[a-zA-Z]%[a-zA-Z]")
_PROBE = datetime(2023, 11, 26, 17, 42, 39, tzinfo=UTC)


def numeric_parts(value: Any) -> tuple[int, int] | None:
    """Return the first two numbers of a date such as 31.12.2023 or 12/31/2023; None if it has another form."""
    match = _numeric(str(value)) if isinstance(value, str) else None
    return None if match is None else (int(match["one"]), int(match["two"]))


def by_format(value: Any, date_format: str) -> datetime | None:
    """Return the date in a value as written: a `Day` if it has no time, naive without a zone. None: it does not fit."""
    try:
        if date_format == "excel":
            return _from_excel(value)
        if type(value) is float and value.is_integer():
            value = int(value)
        text = " ".join(str(value).split())
        if date_format in WORDS:
            return _from_numbers(text, day_first=date_format == "dayfirst")
        return _from_strptime(text, _tidy(date_format))
    except (ValueError, OverflowError, TypeError):
        return None


def check_format(date_format: str) -> str:
    """Return the format if it can be used; otherwise raise ValueError that says why not."""
    word = date_format.strip().lower().replace("-", "").replace("_", "").replace(" ", "")
    if word in WORDS:
        return word
    if "%" not in date_format:
        near = get_close_matches(word, WORDS, 1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else "write dayfirst, monthfirst, excel, or codes such as %d.%m.%Y %H:%M."
        )
        raise ValueError(f"{date_format!r} is not a form of dates; {hint}")
    form = _tidy(date_format)
    if "%Z" in form.removesuffix("%Z"):
        raise ValueError(f"{date_format!r}: %Z must stand at the end; or write %z for an offset.")
    try:
        found = _from_strptime(_PROBE.strftime(form.replace("%Z", "UTC")), form)
    except ValueError as error:
        raise ValueError(f"{date_format!r} is not a form of dates: {error}.") from None
    if (found.year, found.month, found.day) != (_PROBE.year, _PROBE.month, _PROBE.day):
        raise ValueError(f"{date_format!r} does not say year, month and day.")
    return date_format


def _from_numbers(text: str, *, day_first: bool) -> datetime | None:
    match = _numeric(text)
    if match is None:
        return None
    day, month = (match["one"], match["two"]) if day_first else (match["two"], match["one"])
    year = int(match["y"]) if len(match["y"]) == 4 else int(match["y"]) + (1900 if int(match["y"]) >= 69 else 2000)
    if match["t"] is None:
        return Day(year, int(month), int(day))
    zone = None if match["z"] is None else zone_of(match["z"])
    return datetime(year, int(month), int(day), *clock(match["t"]), tzinfo=zone)


def _numeric(text: str) -> re.Match[str] | None:
    text = " ".join(text.split())
    return (_NUMERIC.fullmatch(text) or _TIME_FIRST.fullmatch(text)) if len(text) <= 100 else None


def _from_excel(value: Any) -> datetime | None:
    days = float(value)
    if not _EXCEL_FROM <= days < _EXCEL_TO:
        return None
    when = _EXCEL_EPOCH + timedelta(seconds=round(days * 86_400))  # a double keeps less than a millisecond
    return Day(when.year, when.month, when.day) if days.is_integer() else when


def _from_strptime(text: str, form: str) -> datetime:
    zone = None
    if form.endswith("%Z"):
        match = _ZONE_BEHIND.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} names no zone")
        text, zone, form = match[1], zone_of(match[2]), form.removesuffix("%Z").rstrip()
    found = datetime.strptime(text, form)
    if _ADJACENT.search(form) and found.strftime(form).casefold() != text.casefold():
        # strptime takes fewer digits than a code has, so 31122023 would also fit %d%m%Y%H%M.
        if not text.isdigit() or len(text) % 2 == 0:
            raise ValueError(f"{text} does not have the digits of {form}")
        return _from_strptime("0" + text, form)  # as a number it lost its zero
    if not _has_time(form):
        return Day(found.year, found.month, found.day)
    return found if zone is None else found.replace(tzinfo=zone)


@lru_cache(maxsize=64)
def _tidy(date_format: str) -> str:
    # strptime reads numbers with and without a leading zero; other languages' codes for the latter mean the same.
    return (
        " ".join(date_format.split())
        .replace("%-", "%")
        .replace("%e", "%d")
        .replace("%T", "%H:%M:%S")
        .replace("%R", "%H:%M")
        .replace("%F", "%Y-%m-%d")
        .replace("%D", "%m/%d/%y")
    )


@lru_cache(maxsize=64)
def _has_time(form: str) -> bool:
    return any(code in form for code in ("%H", "%I", "%c", "%X"))
