"""The viewer's time zone, on pages and charts, and the sessions of an exchange.

Invariant: inside, in addresses and in exports, times are in UTC. A page shows each of them as the viewer's clock would,
also on the days on which summer time begins or ends.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from test_browser import Desk, browser, free_port  # noqa: F401  # a fixture
from test_dashboard import html, words

from foreshock.cli import main
from foreshock.dashboard import formats, market, serve, stretch, ticks, zones
from foreshock.dashboard.settings import VARIABLE, ServeSettings
from foreshock.monitor.store.times import microseconds
from foreshock.monitor.units import DAY, HOUR
from foreshock.settings.load import SettingsError, load

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/St_Johns", "Pacific/Apia", "Africa/Casablanca", "America/Santiago"),
]
zone_names = st.sampled_from(ZONES)
times = st.integers(0, 90_000 * DAY)


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text))


def seen_from(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(zones, "viewer", lambda: ZoneInfo(name))


@given(zone_names, times, st.integers(HOUR, 40 * 365 * DAY))
def test_ticks_are_whole_steps_of_the_viewers_clock_in_order_and_inside(name: str, start: int, length: int) -> None:
    zone = ZoneInfo(name)
    found = ticks.within(start, start + length, zone)
    assert all(start <= time <= start + length for time in found)
    assert all(a < b for a, b in pairwise(found))
    assert len(found) <= ticks.MOST + 2
    shown = [datetime.fromtimestamp(time / 1e6, zone) for time in found]
    assert all(clock.second == 0 and clock.minute % 5 == 0 for clock in shown)
    if length > ticks.MOST * 12 * HOUR:
        assert all((clock.hour, clock.minute) == (0, 0) for clock in shown)
    assert found or length < 2 * HOUR or length > 365 * DAY or name in ("Pacific/Apia", "America/Santiago")


@given(zone_names, times)
def test_what_an_input_shows_is_the_time_that_it_gives_back(name: str, time: int) -> None:
    time -= time % (5 * 60 * 1_000_000)
    with pytest.MonkeyPatch.context() as patch:
        seen_from(patch, name)
        back = zones.of_wall(zones.wall(time))
        # The hour that comes twice gives its first; nothing else differs.
        assert back == time or (back < time and zones.wall(back) == zones.wall(time))


def test_the_day_on_which_summer_time_begins_has_23_hours_of_width_and_readable_ticks() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = at("2026-03-28T23:00:00+00:00")
    found = ticks.within(start, start + 23 * HOUR, zone)
    assert [ticks.label(time, zone) for time in found] == ["29 Mar", "03:00", "06:00", "09:00", "12:00", "15:00",
                                                           "18:00", "21:00", "30 Mar"]  # fmt: skip
    assert found[1] - found[0] == 2 * HOUR
    autumn = at("2026-10-24T22:00:00+00:00")
    found = ticks.within(autumn, autumn + 6 * HOUR, zone)
    assert [ticks.label(time, zone) for time in found] == ["25 Oct", "01:00", "02:00", "03:00", "04:00", "05:00"]
    assert found[3] - found[2] == 2 * HOUR, "02:00 comes twice, and its tick once"
    found = ticks.within(at("2019-06-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), zone)
    assert [ticks.label(time, zone) for time in found] == ["2020", "2021", "2022", "2023", "2024", "2025", "2026"]


def test_times_are_written_with_the_zone_that_holds_then(monkeypatch: pytest.MonkeyPatch) -> None:
    winter, summer = at("2026-03-28T22:00:00Z"), at("2026-03-29T22:00:00Z")
    assert formats.zoned(winter) == "22:00, 28 March UTC"
    seen_from(monkeypatch, "Europe/Berlin")
    assert formats.zoned(winter, year=True) == "23:00, 28 March 2026 CET"
    assert formats.between(winter, summer) == "23:00, 28 March CET to 00:00, 30 March CEST"
    assert formats.between(summer, summer + HOUR) == "00:00, 30 March to 01:00, 30 March CEST"
    assert formats.clock_of_iso("2026-03-29T22:00:00Z") == "00:00, 30 March"
    assert (formats.second(summer), formats.zone()) == ("00:00:00 CEST", "Europe/Berlin")
    seen_from(monkeypatch, "Asia/Kathmandu")
    assert formats.zoned(winter) == "03:45, 29 March UTC+05:45"


@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "a" * 5_000, "x\0y"])
def test_a_zone_that_a_browser_made_up_is_utc(name: str) -> None:
    assert zones.named(name).key == "UTC"


def show(monkeypatch: pytest.MonkeyPatch, page: str, store: Path, query: dict[str, str], **settings: Any) -> AppTest:
    monkeypatch.setenv(VARIABLE, ServeSettings(store=f"sqlite:///{store}", **settings).handed_on())
    app = AppTest.from_string(
        f"from foreshock.dashboard import frame, {page}\nframe.dress()\n{page}.page()", default_timeout=60
    )
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception
    return app


@pytest.mark.slow
def test_each_viewer_of_one_process_reads_times_in_the_own_zone(
    monkeypatch: pytest.MonkeyPatch, crisis_store: Path
) -> None:
    """What is cached for one viewer is not shown to another in the wrong zone."""
    said = {
        zone: words(show(monkeypatch, "now", crisis_store, {}, timezone=zone))
        for zone in ("Asia/Tokyo", "Europe/Paris")
    }
    assert "times in Asia/Tokyo" in said["Asia/Tokyo"]
    assert "9:35, 4 April 2026 JST" in said["Asia/Tokyo"]
    assert "2:35, 4 April 2026 CEST" in said["Europe/Paris"]
    measured = {zone: re.search(r" at (\d\d:\d\d, \d+ April), usual", text) for zone, text in said.items()}
    assert measured["Asia/Tokyo"][1] != measured["Europe/Paris"][1]  # type: ignore[index]


@pytest.mark.slow
def test_a_stretch_is_chosen_by_the_viewers_clock_and_its_address_is_in_utc(
    monkeypatch: pytest.MonkeyPatch, crisis_store: Path
) -> None:
    query = {"topic": "Weftware", "from": "2026-04-02T06:00", "to": "2026-04-02T20:00+02:00"}
    app = show(monkeypatch, "topic", crisis_store, query, timezone="Asia/Kolkata", exchange="XBOM")
    assert "11:30, 2 April 2026 to 23:30, 2 April 2026 IST" in words(app)
    assert "Faint columns: XBOM is open." in words(app)
    start = app.datetime_input(key="from-shown")
    assert (start.label, start.value) == ("From, Asia/Kolkata", datetime(2026, 4, 2, 11, 30))
    start.set_value(datetime(2026, 4, 2, 13, 30)).run()
    assert not app.exception
    assert app.query_params["from"] in ("2026-04-02T08:00", ["2026-04-02T08:00"])
    assert "13:30, 2 April 2026 to 23:30, 2 April 2026 IST" in words(app)
    bad = show(monkeypatch, "topic", crisis_store, {"topic": "Weftware", "from": "0001-01-01T00:00+14:00", "to": "x"})
    assert "Show the time up to now" not in html(bad)


@pytest.mark.parametrize("end", ["1970-01-01T00:00", "1970-01-01T00:30+05:00", "2199-12-30T20:00-14:00"])
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
def test_an_input_can_hold_every_end_that_a_link_can_have(monkeypatch: pytest.MonkeyPatch, end: str, zone: str) -> None:
    monkeypatch.setattr(zones, "viewer", lambda: ZoneInfo(zone))
    given: dict[str, Any] = {}
    monkeypatch.setattr(stretch, "st", Inputs({"from": end}, given))
    stretch.controls()
    assert stretch.FIRST <= given["from-shown"] <= stretch.LAST


class Inputs:
    """Streamlit with one address and the values of inputs."""

    def __init__(self, query_params: dict[str, str], session_state: dict[str, Any]) -> None:
        self.query_params, self.session_state = query_params, session_state

    def segmented_control(self, *_: Any, **__: Any) -> None: ...

    def datetime_input(self, *_: Any, **__: Any) -> None: ...


def test_no_page_names_a_zone_itself() -> None:
    """A page that writes "UTC" behind a time of the viewer's clock would lie to all but one."""
    folder = Path(stretch.__file__).parent
    for file in [*folder.glob("*.py"), *folder.glob("templates/*.html")]:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            named = "UTC" in line and re.search(r"\bclock\(|\| clock|between\(|strftime", line)
            assert not named, f"{file.name}, line {number}: use formats.zoned"


def test_the_sessions_of_an_exchange_follow_its_holidays_its_half_days_and_its_summer_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(market, "_chosen", lambda: "XNYS")
    week = at("2026-03-30T00:00:00Z"), at("2026-04-06T00:00:00Z")
    assert [(formats.clock(a), formats.clock(b)) for a, b in market.bands(*week)] == [
        (f"13:30, {day}", f"20:00, {day}") for day in ("30 March", "31 March", "1 April", "2 April")
    ]
    assert market.said(*week) == "Faint columns: XNYS is open. Holiday: 3 April."
    winter = market.bands(at("2025-12-24T00:00:00Z"), at("2025-12-25T00:00:00Z"))
    assert [(formats.clock(a), formats.clock(b)) for a, b in winter] == [("14:30, 24 December", "18:00, 24 December")]
    month = at("2026-03-20T12:00:00Z"), at("2026-04-10T12:00:00Z")
    closed = market.bands(*month)
    assert [formats.clock(a) for a, _ in closed] == ["20:00, 20 March", "20:00, 27 March", "20:00, 2 April"]
    assert market.said(*month) == "Faint columns: XNYS is closed. Holiday: 3 April."
    assert market.bands(at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")) == []
    assert market.bands(at("1975-01-06T00:00:00Z"), at("1975-01-10T00:00:00Z")) == [], "before the calendar begins"
    assert market.said(at("1975-01-06T00:00:00Z"), at("1975-01-10T00:00:00Z")) == ""


@given(st.integers(at("2008-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")), st.integers(1, 250 * DAY))
def test_bands_lie_inside_the_chart_and_do_not_overlap(start: int, length: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(market, "_chosen", lambda: "XETR")
        found = market.bands(start, start + length)
        assert all(start <= a < b <= start + length for a, b in found)
        assert all(b <= c for (_, b), (c, _) in pairwise(found))
        market.said(start, start + length)


def test_a_zone_or_an_exchange_that_is_none_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "foreshock.toml"
    file.write_text('[dashboard]\ntimezone = "Europe/Berlim"\n')
    with pytest.raises(SettingsError, match="Did you mean Europe/Berlin"):
        load(file, environ={})
    file.write_text('[dashboard]\nexchange = "xnys"\n')
    for command in (["config", "check"], ["dashboard", "--store", f"sqlite:///{tmp_path}/none.db"]):
        assert main([*command, "--config", str(file)]) == 2
        assert "did you mean XNYS?" in capsys.readouterr().err


@pytest.mark.browser
def test_a_browser_brings_its_zone_and_its_clock_may_be_an_hour_off(
    browser: Any,  # noqa: F811
    crisis_store: Path,
) -> None:
    """The zone comes from the browser; times and ages come from the server alone."""
    settings = ServeSettings(store=f"sqlite:///{crisis_store}", port=free_port(), exchange="XNYS")
    with serve.started(settings):
        seen = Desk(browser, serve.address(settings), timezone_id="America/New_York")
        seen.context.add_init_script(
            "const real = Date; const off = 3_600_000;"
            "window.Date = class extends real { constructor(...a) { a.length ? super(...a) : super(real.now() + off) }"
            " static now() { return real.now() + off } };"
        )
        page = seen.open("Topic?topic=Weftware&from=2026-04-02T04:00&to=2026-04-03T04:00")
        page.get_by_text("00:00, 2 April 2026 to 00:00, 3 April 2026 EDT").wait_for()
        line = page.locator(".fs-asof").inner_text()
        assert "times in America/New_York" in line
        shown = re.search(r"as of (\d\d):(\d\d):\d\d", line)
        assert shown
        now = datetime.now(UTC).astimezone(ZoneInfo("America/New_York"))
        minutes = (now.hour * 60 + now.minute - int(shown[1]) * 60 - int(shown[2])) % 1440
        assert min(minutes, 1440 - minutes) <= 1, "the server's clock, in the viewer's zone"
        # What the viewer chooses by the own clock stands in the address in UTC.
        chart = page.locator("[data-testid=stVegaLiteChart]").first
        chart.locator("canvas, svg").first.wait_for()
        page.wait_for_timeout(1000)
        box = chart.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
        page.mouse.down()
        for share in (0.55, 0.65, 0.7):
            page.mouse.move(box["x"] + box["width"] * share, box["y"] + 60)
        page.mouse.up()
        page.wait_for_function("!location.search.includes('from=2026-04-02T04')")
        query = parse_qs(urlsplit(page.url).query)
        first = datetime.fromisoformat(query["from"][0]).replace(tzinfo=UTC)
        shown_as = first.astimezone(ZoneInfo("America/New_York"))
        page.get_by_text(f"{shown_as:%H:%M}, {shown_as.day} April 2026 to").wait_for()
        assert timedelta(hours=8) < first - datetime(2026, 4, 2, 4, tzinfo=UTC) < timedelta(hours=16)
        assert seen.console == []
        seen.close()
