"""Dates of any feed: read exactly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foreshock.ingest.dates import END_OF_SEVENTIES, date_form, read_date
from foreshock.ingest.errors import BadRecord

PARIS = ZoneInfo("Europe/Paris")


def microseconds(iso: str) -> int:
    since = datetime.fromisoformat(iso) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def reason(value: Any, zone: Any = None) -> str:
    with pytest.raises(BadRecord) as refused:
        read_date(value, zone)
    return refused.value.reason


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        (20240506, "2024-05-06T23:59:59.999999+00:00"),
        ("20240506", "2024-05-06T23:59:59.999999+00:00"),
        (20240506.0, "2024-05-06T23:59:59.999999+00:00"),
        ("20240506.0", "2024-05-06T23:59:59.999999+00:00"),
        (202405061330, "2024-05-06T13:30:00+02:00"),
        ("202405061330", "2024-05-06T13:30:00+02:00"),
        (202405061330.0, "2024-05-06T13:30:00+02:00"),
        (20240506133015, "2024-05-06T13:30:15+02:00"),
        ("20240506133015", "2024-05-06T13:30:15+02:00"),
        (20240506133015250, "2024-05-06T13:30:15.250+02:00"),
        (946684800000, "2000-01-01T00:00:00+00:00"),
        (946684800, "2000-01-01T00:00:00+00:00"),
        (1715002200, "2024-05-06T13:30:00+00:00"),
        (1715002200123, "2024-05-06T13:30:00.123+00:00"),
    ],
)
def test_digits_are_a_calendar_date_or_an_epoch(written: Any, reads: str) -> None:
    day = str(written)[8:] in {"", ".0"}
    assert read_date(written, UTC if day else PARIS) == (microseconds(reads), day)


@pytest.mark.parametrize(
    "written",
    [
        0, 1, 999, 2019, "2019", 2019.0, 202405, "202405", 43902, 43902.5625, "43902.5625", 2024127, 20241332, 20240231,
        "20240231", 31122023, "31122023", 202413061330, 202405062530, 311220231830, 123120231830, 315532799,
    ],
)  # fmt: skip
def test_digits_that_are_neither_are_no_date(written: Any) -> None:
    assert reason(written) == "bad_date"
    assert date_form(written) == ("unreadable", False)


def test_calendar_digits_with_a_time_need_a_zone() -> None:
    assert reason(202405061330) == "date_without_zone"
    assert reason("20240506133015") == "date_without_zone"
    assert date_form(202405061330) == ("without zone", False)
    assert date_form("20240506000000") == ("without zone", True)
    assert date_form(20240506) == ("bare day", False)
    assert date_form(1715040000) == ("epoch seconds", True)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 12, 31, 23, 59, 59)))
def test_the_digits_of_every_moment_read_as_its_iso_form_does(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    for form, kept in (("%Y%m%d", 10), ("%Y%m%d%H%M", 16), ("%Y%m%d%H%M%S", 19)):
        digits = f"{moment.year:04}{moment.strftime(form[2:])}"
        expected = read_date(moment.isoformat()[:kept], UTC)
        assert read_date(digits, UTC) == read_date(int(digits), UTC) == expected


@given(st.integers(0, 10**18) | st.integers(0, 10**12) | st.floats(0, 1e13) | st.integers(0, 10**8))
@example(315_532_800)
@example(197001010000)
def test_no_number_is_silently_in_the_1970s(number: int | float) -> None:
    """A number that is read before 1980 spells that date in its own digits."""
    try:
        when, _ = read_date(number, UTC)
    except BadRecord:
        return
    if when < END_OF_SEVENTIES:
        assert str(int(number)).startswith(str(datetime.fromtimestamp(when // 1_000_000, UTC).year))
