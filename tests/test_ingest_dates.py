"""Dates of any feed: read exactly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foreshock.ingest.date_formats import check_format
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


NOON = "2024-05-06T13:30:00+00:00"


@pytest.mark.parametrize(
    "written",
    [
        "Mon May 06 13:30:00 +0000 2024",
        "Mon May  6 13:30:00 UTC 2024",
        "May 6 13:30:00 2024 GMT",
        "Mon May 06 2024 13:30:00 GMT",
        "Mon May 06 2024 15:30:00 GMT+0200 (Central European Summer Time)",
        "May 6, 2024 13:30 GMT",
        "May 6, 2024, 1:30 PM UTC",
        "May 06, 2024 at 9:30 AM EDT",
        "May. 6 2024 1:30 p.m. GMT",
        "06-May-2024 13:30 UTC",
        "6 May 2024 13:30 +00:00",
        "Monday, 06-May-24 13:30:00 GMT",
        "Tue, 6 May 2024 13:30 GMT",
        "Mon,06 May 2024 13:30:00 GMT",
        "6 May 2024 08:30 EST",
        "6th of May 2024 13:30 UTC",
        "13:30 GMT, 6 May 2024",
        "13:30 UTC May 6, 2024",
        "2024-05-06 13:30:00 GMT+00:00",
        "2024-05-06T13:30:00Z[UTC]",
        "2024-05-06T15:30:00+02:00[Europe/Berlin]",
        "2024-05-06 09:30 America/New_York",
        "2024/5/6 13:30 UTC",
        "2024.05.06 13:30 UTC",
        "2024-5-6 13:30Z",
        "2024 May 6 13:30 UTC",
        "20240506133000Z",
        "202405061330 UTC",
        "20240506 13:30 +0000",
        "20240506T133000Z",
        "Mon, 06 May 2024 06:30:00 PDT",
        "2024-05-06 13:30 utc",
        "May 6, 2024 1:30\u202fPM UTC",
        "2024-05-06 09:30 \u22120400",
        "6 May 2024 13:30 PM GMT",
        "6 May 2024 13:30:00 +0000 GMT",
        "2024-05-06 13:30:00 +00:00 utc",
    ],
)
def test_a_date_in_words_that_names_its_zone_is_read(written: str) -> None:
    assert read_date(written, PARIS) == (microseconds(NOON), False)
    assert date_form(written) == ("with zone", False)


@given(st.times(), st.sampled_from(["{h}:{m}:{s} GMT", "{h:02}:{m}:{s} +0000 UTC", "{h:02}:{m:02}:{s:02} {half} GMT"]))
def test_a_time_may_have_single_digits_and_a_needless_half_of_the_day(time: time, form: str) -> None:
    hour, half = time.hour, "PM" if time.hour >= 12 else "AM"
    text = f"Mon, 06 May 2024 {form.format(h=hour, m=time.minute, s=time.second, half=half)}"
    assert read_date(text, None) == (microseconds(f"2024-05-06T{time.replace(microsecond=0)}+00:00"), False)


@pytest.mark.parametrize(
    "written",
    ["May 6, 2024 1:30 PM", "Mon May  6 13:30:00 2024", "2024.05.06 13:30", "13:30, 6 May 2024", "20240506 1330"],
)
def test_a_date_in_words_without_a_zone_takes_the_assumed_one(written: str) -> None:
    assert reason(written) == "date_without_zone"
    assert read_date(written, PARIS) == (microseconds("2024-05-06T13:30:00+02:00"), False)


@pytest.mark.parametrize("written", ["May 6, 2024", "6 May 2024", "Monday, May 6th, 2024", "6-May-2024", "2024.5.6"])
def test_a_day_in_words_is_a_bare_day(written: str) -> None:
    assert read_date(written, UTC) == (microseconds("2024-05-06T23:59:59.999999+00:00"), True)


@pytest.mark.parametrize(
    "written",
    [
        "31.12.2023",
        "12/31/2023",
        "05/06/2024 13:30 GMT",
        "6 May 24",
        "May 6",
        "6 May 2024 13:30 CEST",
        "6 May 2024 13:30 IST",
        "6 Maj 2024",
        "31 April 2024",
        "6 May 2024 25:00 GMT",
        "6 May 2024 13:30 AM GMT",
        "6 May 2024 0:30 PM GMT",
        "6 May 2024 24:30 PM GMT",
        "6 May 2024 13:30 +0200 GMT",
        "6 May 2024 13:60:0 GMT",
        "13:30",
        "Monday",
        "next May 6 2024",
        "6 May 2024 13:30 Mars/Base",
        "6 May 2024 13:30 +99:00",
        "0000-00-00",
        "2024-05-06 13:30 GMT GMT",
    ],
)
def test_a_date_that_is_ambiguous_or_none_is_rejected(written: str) -> None:
    assert reason(written, PARIS) == "bad_date"


MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2099, 12, 31, 23, 59, 59))


@given(MOMENTS, st.sampled_from(["%a %b %d %H:%M:%S +0000 %Y", "%B %d, %Y %I:%M:%S %p GMT", "%d %b %Y %H:%M:%S Z"]))
def test_words_and_iso_agree(moment: datetime, form: str) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert read_date(moment.strftime(form), None) == (microseconds(moment.isoformat()), False)


@given(st.text(st.sampled_from("0123456789 :+-/.,()MayGTUCnov[]"), max_size=40) | st.text(max_size=60))
def test_any_text_is_a_date_or_is_rejected(text: str) -> None:
    try:
        when, _ = read_date(text, PARIS, date_format="dayfirst")
    except BadRecord:
        return
    assert when >= 0


@pytest.mark.parametrize(
    ("date_format", "written", "reads"),
    [
        ("dayfirst", "31.12.2023", "2023-12-31"),
        ("dayfirst", "05/06/2024", "2024-06-05"),
        ("dayfirst", "5-6-24", "2024-06-05"),
        ("dayfirst", "Sun 31.12.2023", "2023-12-31"),
        ("monthfirst", "12/31/2023", "2023-12-31"),
        ("monthfirst", "05/06/2024", "2024-05-06"),
        ("dayfirst", "31/12/2023 17:30", "2023-12-31T17:30"),
        ("dayfirst", "31.12.2023, 17:30:15", "2023-12-31T17:30:15"),
        ("monthfirst", "12/31/2023 5:30 PM", "2023-12-31T17:30"),
        ("dayfirst", "31.12.2023 17:30 +01:00", "2023-12-31T17:30+01:00"),
        ("monthfirst", "5:30 PM GMT, 12/31/2023", "2023-12-31T17:30Z"),
        ("dayfirst", "2023-12-31T10:00Z", "2023-12-31T10:00Z"),
        ("dayfirst", 1715002200, "2024-05-06T13:30Z"),
        ("excel", 45291, "2023-12-31"),
        ("excel", "45291.75", "2023-12-31T18:00"),
        ("excel", "2023-12-31", "2023-12-31"),
        ("%d.%m.%Y", "31.12.2023", "2023-12-31"),
        ("%b %d, %Y", "Dec 31, 2023", "2023-12-31"),
        ("%d%m%Y", 31122023, "2023-12-31"),
        ("%d%m%Y", 1122023, "2023-12-01"),
        ("%d.%m.%Y %Hh%M", "31.12.2023 17h30", "2023-12-31T17:30"),
        ("%d/%m/%y %H:%M %z", "31/12/23 17:30 +0100", "2023-12-31T17:30+01:00"),
        ("%m/%d/%Y %I:%M %p %Z", "12/31/2023 05:30 PM EST", "2023-12-31T17:30-05:00"),
        ("%-d.%-m.%Y", "1.2.2023", "2023-02-01"),
        ("%d%b%Y %T", "31Dec2023 17:30:00", "2023-12-31T17:30"),
    ],
)
def test_a_form_that_the_user_gives_is_read(date_format: str, written: Any, reads: str) -> None:
    date_format = check_format(date_format)
    assert read_date(written, PARIS, date_format=date_format) == read_date(reads, PARIS)


@pytest.mark.parametrize(
    ("date_format", "written"),
    [
        ("dayfirst", "12/31/2023"),
        ("monthfirst", "31.12.2023"),
        ("%d.%m.%Y", "12/31/2023"),
        ("excel", 7),
        ("dayfirst", "31.12"),
    ],
)
def test_what_a_form_does_not_fit_is_still_rejected(date_format: str, written: Any) -> None:
    with pytest.raises(BadRecord):
        read_date(written, PARIS, date_format=date_format)


@pytest.mark.parametrize(
    ("date_format", "says"),
    [
        ("dayfrist", "did you mean dayfirst"),
        ("DD.MM.YYYY", "write dayfirst"),
        ("%d.%m", "does not say year, month and day"),
        ("%H:%M", "does not say"),
        ("%Z %d.%m.%Y", "%Z must stand at the end"),
        ("%d.%Q.%Y", "not a form of dates"),
    ],
)
def test_a_form_that_cannot_be_used_is_refused(date_format: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_format(date_format)


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
