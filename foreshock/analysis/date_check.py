"""Say what a feed file's dates look like, and what is suspicious about them: for `foreshock check`.

A date that is read without an error may still be wrong: a day written as its midnight would count up to a day before
anyone knew the story, numbers that are no epoch lie in the 1970s, and 1900-01-01 stands for "unknown".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from foreshock.ingest.dates import END_OF_SEVENTIES, date_form

_SOURCES_SHOWN = 1000
_VALUES_HELD = 100_000
"""Distinct dates that are counted. Memory stays bounded; a stand-in comes among the first."""
_DAYS = frozenset(("bare day", "unreadable", "missing"))
"""Forms without a time of day."""
_STANDS_IN = (
    "1970-01-01", "1969-12-31", "1900-01-01", "1899-12-30", "1899-12-31", "1901-12-13", "1601-01-01", "1753-01-01",
    "1980-01-01", "1999-11-30", "2000-01-01", "2038-01-19", "2099-12-31", "9999-12-31", "0000-00-00", "0001-01-01",
)  # fmt: skip
"""Days that programs write for "no date", in ISO order of digits."""
_STAND_IN_NUMBERS = frozenset(("0", "-1", "1", "2147483647", "4294967295", "253402300799", "-62135596800"))
_MISTAKEN_FROM = 0.02
"""Share of times at midnight from which they are days. By chance one time in 1,440 is midnight to the minute."""


class DateTally:
    """Counts the dates of records one after another."""

    def __init__(self, date_format: str | None = None) -> None:
        self._date_format = date_format
        self.forms: dict[str, Counter[str]] = defaultdict(Counter)
        """Source -> form (`dates.FORMS`) -> records."""
        self.midnights = 0
        """Times of exactly 00:00:00."""
        self._values: Counter[str] = Counter()
        self._days: set[str] = set()
        self._records = 0

    def add(self, source: str, value: Any) -> None:
        """Count the date of a record."""
        if source not in self.forms and len(self.forms) >= _SOURCES_SHOWN:
            source = "(other)"
        form, midnight = date_form(value, self._date_format)
        self.forms[source][form] += 1
        self.midnights += midnight

    def add_distinct(self, value: Any) -> None:
        """Count the date of a record that repeats no other: a story with a row for each ticker has one date."""
        shown = str(value).strip()[:60] if value is not None else ""
        if not shown:
            return
        self._records += 1
        if shown in self._values or len(self._values) < _VALUES_HELD:
            self._values[shown] += 1
            form, midnight = date_form(value, self._date_format)
            if form == "bare day" or midnight:
                self._days.add(shown)

    @property
    def timed(self) -> int:
        """Records whose date has a time of day."""
        return sum(count for forms in self.forms.values() for form, count in forms.items() if form not in _DAYS)

    @property
    def are_days(self) -> bool:
        """Whether every time is midnight, which makes them days."""
        return 2 <= self.midnights == self.timed

    def stand_ins(self) -> Iterator[tuple[str, int]]:
        """Yield dates that seem to stand for a missing one, with the number of their records."""
        common = self._values.most_common(2)
        if not common:
            return
        (most, count), others = common[0], common[1][1] if len(common) > 1 else 0
        is_day = most in self._days
        if count >= max(3, (10 if is_day else 3) * others, 0.05 * self._records) and (
            not is_day or len(self._values) > 2
        ):
            yield most, count
        for value, times in self._values.items():
            if value == most and count == times and times > others and times >= 3 * max(others, 1):
                continue
            if (times > 1 or value.startswith(_STANDS_IN[0])) and _is_stand_in(value):
                yield value, times


def date_advice(tally: DateTally, newest: int | None, *, date_only: bool) -> list[str]:
    """Return sentences on what is suspicious. `newest`: the newest event time, in microseconds since 1970."""
    advice = []
    if newest is not None and newest < END_OF_SEVENTIES:
        advice.append(
            "All dates lie in the 1970s. News of that time is rare; numbers that are no epoch, or a stand-in for a "
            "missing date, are common. Look at the dates before you replay the file."
        )
    elif found := dict(tally.stand_ins()):
        listed = ", ".join(f"{value} ({count:,} record{'s' * (count > 1)})" for value, count in list(found.items())[:5])
        advice.append(
            f"The same date repeats: {listed}. Does it stand for a missing date? Then remove these records or their "
            "date: they would count at a time that is not theirs."
        )
    if tally.midnights >= 2 and tally.midnights >= _MISTAKEN_FROM * tally.timed:
        many = "All" if tally.midnights == tally.timed else f"{tally.midnights:,} of"
        becomes = (
            "With --date-only, in the command below, they count at the end of the day, and only in windows of a day or "
            "more."
            if date_only
            else "They would count at the day's first second, up to a day before the news was known. With --date-only "
            "(or date_only in [ingest]) they count at the end of the day."
        )
        advice.append(f"{many} {tally.timed:,} times are exactly 00:00:00: days, not moments. {becomes}")
    return advice


def all_midnight(values: Iterable[Any], date_format: str | None) -> bool:
    """Whether these dates are times that are all midnight, at least two of them."""
    tally = DateTally(date_format)
    for value in values:
        tally.add("", value)
    return tally.are_days


def _is_stand_in(value: str) -> bool:
    return value in _STAND_IN_NUMBERS or value.replace("/", "-").startswith(_STANDS_IN)
