"""Convert the dates of any feed to microseconds since 1970, UTC. A date is read exactly or not at all, never guessed.

Accepted are ISO 8601, epoch seconds and milliseconds (numbers from 1e11 on are milliseconds), RFC 2822, and ISO 8601
with common deviations (`2020/01/31`, ` +0000` or ` UTC` after a space). Rejected are ambiguous days such as 01/02/2020,
and zone names that RFC 2822 does not know, such as CEST or BST.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any

from foreshock.ingest.errors import BadRecord

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END = 4_133_980_800_000_000
"""2101-01-01T00:00:00Z in microseconds: the first time that is out of range."""

FORMS = ("with zone", "without zone", "bare day", "epoch seconds", "epoch milliseconds", "unreadable", "missing")

_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]*)?")
_ZONE_BEHIND = re.compile(r"(.*[0-9])\s*(?:(UTC|GMT|Z|z)|([+-][0-9]{2}:?[0-9]{2}))")
_SEPARATED = re.compile("[Tt ]")
_RFC_2822 = re.compile(r"(?:[A-Za-z]{3},\s*)?[0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{1,2})?\s*(.*)")
_COLON_IN_OFFSET = re.compile(r"(?<=\s)([+-][0-9]{2}):([0-9]{2})$")
_UTC_SOMEWHERE = re.compile(r"-00:?00\s*(?:\(.*\))?")
_MILLISECONDS_FROM = 100_000_000_000


def read_date(value: Any, zone: tzinfo | None, *, microseconds: bool = False) -> tuple[int, bool]:
    """Return microseconds since 1970, and whether the date was a bare day. A bare day means its end (23:59:59.999999).

    `zone` is assumed where a time has none. In a gap of daylight saving the offset before the gap counts; in a repeated
    hour the first one. A bare day is in `zone`, otherwise in UTC. With `microseconds`, numbers from 1e14 on are
    microseconds. Raises `BadRecord`: bad_date, date_without_zone, date_out_of_range.
    """
    kind = type(value)
    try:
        if kind is str:
            when, date_only = _from_text(value.strip(), zone, microseconds)
        elif kind is int or kind is float:
            when, date_only = _from_number(value, microseconds), False
        else:
            raise BadRecord("bad_date", f"A date cannot be a {kind.__name__}.")
    except OverflowError:
        raise BadRecord("date_out_of_range", f"{_shown(value)} lies outside the years 1970 to 2100.") from None
    if not is_in_range(when):
        raise BadRecord("date_out_of_range", f"{_shown(value)} lies outside the years 1970 to 2100.")
    return when, date_only


def is_in_range(when: int) -> bool:
    """Whether a story may have this event time (microseconds since 1970)."""
    return 0 <= when < END


def date_form(value: Any) -> str:
    """Return which of `FORMS` a value has. `foreshock check` counts them."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return "missing"
    try:
        _, date_only = read_date(value, None)
    except BadRecord as error:
        if error.reason == "date_without_zone":
            return "without zone"
        if error.reason == "bad_date":
            return "unreadable"
        date_only = isinstance(value, str) and len(value.strip()) <= 10
    if date_only and isinstance(value, str):
        return "bare day"
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            return "with zone"
        value = float(value.strip())  # float itself keeps some characters that strip removes
    return "epoch milliseconds" if abs(value) >= _MILLISECONDS_FROM else "epoch seconds"


def _from_number(number: int | float, microseconds: bool) -> int:
    if not math.isfinite(number):
        raise BadRecord("bad_date", "A date cannot be NaN or infinite.")
    size = abs(number)
    scale = 1_000_000 if size < _MILLISECONDS_FROM else 1 if microseconds and size >= 10**14 else 1_000
    return round(number * scale)


def _from_text(text: str, zone: tzinfo | None, microseconds: bool) -> tuple[int, bool]:
    # Test for digits first: fromisoformat accepts any separator and reads some epoch milliseconds as a day.
    if text[4:5] != "-" and _NUMBER.fullmatch(text) and len(text) != 8:
        digits = text.partition(".")[0]
        if len(digits) < 9:
            # Reading "2020" or "202001" as seconds would silently be wrong by fifty years.
            raise BadRecord("bad_date", f"{_shown(text)} is neither a date nor epoch seconds (nine digits or more).")
        return _from_number(int(digits) if digits == text else float(text), microseconds), False
    when = _iso(text)
    if when is None:
        text, when = _blemished(text)
    if when is None:
        raise BadRecord("bad_date", f"{_shown(text)} is not a date: expected ISO 8601 with zone, or epoch seconds.")
    # A date with a time has more than ten characters; a bare day does not.
    if len(text) <= 10:
        return _instant(when.replace(hour=23, minute=59, second=59, microsecond=999_999, fold=1), zone or UTC), True
    if when.tzinfo is None and zone is None:
        raise BadRecord(
            "date_without_zone", f"{_shown(text)} has no zone. Set assume_zone, for all sources or by source."
        )
    return _instant(when, zone), False


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


def _blemished(text: str) -> tuple[str, datetime | None]:
    if text[4:5] == "/" and text[7:8] == "/":
        text = text.replace("/", "-", 2)
        if (when := _iso(text)) is not None:
            return text, when
    if match := _ZONE_BEHIND.fullmatch(text):
        tidy = match[1] + ("Z" if match[2] else match[3])
        if len(match[1]) > 10 and (when := _iso(tidy)) is not None:
            return tidy, when
    if match := _RFC_2822.fullmatch(text):
        try:
            when = parsedate_to_datetime(_COLON_IN_OFFSET.sub(r"\1\2", text))
        except (ValueError, TypeError, IndexError):
            return text, None
        if when.tzinfo is None and match[1]:
            # The date names a zone, so assume none. Only UTC as RFC 2822 writes it has a certain meaning here.
            return text, when.replace(tzinfo=UTC) if _UTC_SOMEWHERE.fullmatch(match[1]) else None
        return text, when
    return text, None


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
