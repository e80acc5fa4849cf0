"""Time intervals: by the wall clock of a place, also across midnight and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from foreshock.monitor.delivery.time_intervals import (
    OF_WEEK,
    WEEKDAYS,
    TimeIntervalSettings,
    end,
    never_ends,
    weekly,
)
from foreshock.monitor.store.times import microseconds
from foreshock.monitor.units import DAY, HOUR, MINUTE

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]


def interval(*times: str, weekdays: tuple[str, ...] = (), location: str = "Europe/Berlin"):
    return TimeIntervalSettings(name="x", times=times, weekdays=weekdays, location=location).interval()


def at(text: str, location: str = "Europe/Berlin", fold: int = 0) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(location), fold=fold))


def test_an_interval_across_midnight_belongs_to_the_day_on_which_it_begins():
    friday_night = interval("22:00-07:00", weekdays=("friday",))
    assert not friday_night.active(at("2026-03-06T21:59"))  # a Friday
    assert friday_night.active(at("2026-03-06T22:00"))
    assert friday_night.active(at("2026-03-07T06:59"))
    assert not friday_night.active(at("2026-03-07T07:00"))
    assert not friday_night.active(at("2026-03-07T22:00")), "Saturday"
    assert not friday_night.active(at("2026-03-06T05:00")), "the night before began on Thursday"
    sunday_night = interval("22:00-07:00", weekdays=("sunday",))
    assert sunday_night.active(at("2026-03-09T03:00")), "from the end of the week into its beginning"


def test_where_clocks_go_forward_an_hour_that_does_not_exist_is_in_no_interval():
    """On 29 March 2026 in Berlin, 02:00 to 03:00 does not exist: at 01:00 UTC it is 03:00."""
    missing = interval("02:00-03:00")
    before = microseconds(datetime(2026, 3, 29, tzinfo=UTC))
    assert not any(missing.active(before + n * MINUTE) for n in range(3 * 60))
    assert missing.active(at("2026-03-28T02:30"))
    night = interval("22:00-07:00")
    assert end(night.active, at("2026-03-28T23:00")) == at("2026-03-29T07:00")
    assert at("2026-03-29T07:00") - at("2026-03-28T22:00") == 8 * HOUR, "this night is an hour shorter"


def test_where_clocks_go_back_an_hour_that_exists_twice_is_in_it_twice():
    """On 25 October 2026 in Berlin, 02:00 to 03:00 exists twice: from 00:00 to 02:00 UTC."""
    twice = interval("02:00-03:00")
    assert twice.active(at("2026-10-25T02:30"))
    assert twice.active(at("2026-10-25T02:30", fold=1))
    assert end(twice.active, at("2026-10-25T02:30")) == at("2026-10-25T03:00")
    on = [n for n in range(6 * 60) if twice.active(microseconds(datetime(2026, 10, 24, 22, tzinfo=UTC)) + n * MINUTE)]
    assert len(on) == 120
    # What ends in the hour ends at its first end, and begins anew with the second one.
    half = interval("01:00-02:30")
    assert end(half.active, at("2026-10-25T01:30")) == at("2026-10-25T02:30")
    assert half.active(at("2026-10-25T02:10", fold=1))


def written(span: tuple[int, int]) -> str:
    """Return two minutes of a day as settings have them: "22:00-07:00"."""
    start, stop = span
    return f"{start // 60:02}:{start % 60:02}-{stop // 60:02}:{stop % 60:02}"


times = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda one: one[0] != one[1])
days = st.lists(st.sampled_from(WEEKDAYS), max_size=3)


@settings(max_examples=60, deadline=None)
@given(times, days, st.sampled_from(ZONES), st.integers(0, 400 * 24 * 60))
def test_a_time_is_in_an_interval_if_its_local_weekday_and_time_are(span, weekdays, location, minutes):
    """Invariant: whether a minute is in an interval follows from its local date and time alone."""
    start, stop = span
    found = interval(written(span), weekdays=tuple(weekdays), location=location)
    moment = microseconds(datetime(2026, 1, 1, tzinfo=UTC)) + minutes * MINUTE
    local = datetime.fromtimestamp(moment / 1e6, ZoneInfo(location))
    minute = local.hour * 60 + local.minute
    wanted = set(weekdays) or set(WEEKDAYS)
    today, before = WEEKDAYS[local.weekday()], WEEKDAYS[local.weekday() - 1]
    if start < stop:
        expected = today in wanted and start <= minute < stop
    else:
        expected = (today in wanted and minute >= start) or (before in wanted and minute < stop)
    assert found.active(moment) == expected


@settings(max_examples=40, deadline=None)
@given(times, days, st.sampled_from(ZONES), st.integers(0, 400 * 24 * 60))
def test_an_end_is_the_first_minute_that_is_outside(span, weekdays, location, minutes):
    found = interval(written(span), weekdays=tuple(weekdays), location=location)
    moment = microseconds(datetime(2026, 1, 1, tzinfo=UTC)) + minutes * MINUTE + 17
    over = end(found.active, moment)
    if over is None:
        assert never_ends([found])
        return
    assert moment < over
    assert not found.active(over)
    assert all(found.active(then) for then in range(moment - moment % MINUTE + MINUTE, over, MINUTE))


@settings(max_examples=40, deadline=None)
@given(times, days, st.sampled_from(ZONES), st.integers(0, OF_WEEK - 1), st.booleans())
def test_the_weeks_in_utc_are_those_of_the_clock(span, weekdays, location, minute, summer):
    found = interval(written(span), weekdays=tuple(weekdays), location=location)
    monday = microseconds(datetime(2026, 7, 13, tzinfo=UTC) if summer else datetime(2026, 1, 12, tzinfo=UTC))
    assert any(a <= minute < b for a, b in weekly(found)[summer]) == found.active(monday + minute * MINUTE)


def test_what_covers_the_week_together_never_ends():
    day, night = interval("07:00-22:00"), interval("22:00-07:00")
    assert never_ends([day, night])
    assert never_ends([interval(weekdays=("monday:friday",)), interval(weekdays=("friday:sunday",))])
    assert not never_ends([day])
    assert not never_ends([day, interval("22:00-06:59")])
    assert not never_ends([])
    assert end(interval().active, at("2026-03-06T22:00")) is None
    over = end(day.active, at("2026-03-06T21:00"))
    assert over is not None
    assert over - at("2026-03-06T21:00") < DAY


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"times": ["9-17"]}, 'expected two times, such as "09:00-17:30"'),
        ({"times": ["25:00-07:00"]}, "a day has the times 00:00 to 24:00"),
        ({"times": ["09:00-17:75"]}, "a day has the times 00:00 to 24:00"),
        ({"times": ["09:00-09:00"]}, 'for a whole day, write "00:00-24:00"'),
        ({"weekdays": ["mon"]}, "expected a weekday or two"),
        ({"weekdays": ["monday:tuesday:friday"]}, "expected a weekday or two"),
        ({"location": "Europe/Berln"}, "Did you mean Europe/Berlin?"),
        ({"location": "CET+1"}, "is not a time zone"),
    ],
)
def test_an_interval_that_cannot_be_read_is_an_error(given_, said):
    with pytest.raises(ValidationError) as caught:
        TimeIntervalSettings.model_validate({"name": "x", **given_})
    assert said in str(caught.value)
