"""Series for research: days and sessions, what was known at a time, wide frames."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from foreshock.analysis.certify import CannotCertify
from foreshock.cli import tables
from foreshock.cli.app import app
from foreshock.model import trained_on
from foreshock.monitor.days import Days
from foreshock.monitor.store import Store, open_store, retention, schema
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.store.times import iso
from foreshock.processes.replay import replay
from foreshock.settings.load import load

BUCKET = 300_000_000
DAY = 86_400_000_000
ZONES = ["Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]


def local(time: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).astimezone(ZoneInfo(zone))


@given(
    st.sampled_from(ZONES),
    st.integers(0, 23),
    st.sampled_from([0, 5, 30]),
    st.integers(13_000, 20_700),
    st.integers(2, 400),
)
@example("Pacific/Apia", 16, 0, 15_300, 60)  # it left out 30 December 2011
def test_days_leave_nothing_out_and_end_on_their_day_across_summer_time(
    zone: str, hour: int, minute: int, first: int, length: int
) -> None:
    begin, end = first * DAY + 11 * BUCKET, (first + length) * DAY
    steps = Days(tz=zone, ends=f"{hour:02}:{minute:02}").steps(begin, end, BUCKET)
    assert all(a.end == b.begin and a.day < b.day for a, b in pairwise(steps))
    assert all(step.begin < step.end for step in steps)
    assert steps[0].begin <= begin < steps[0].end
    assert steps[-1].end <= end < steps[-1].end + 2 * DAY
    for step in steps:
        at = local(step.end, zone)
        if hour or minute:
            assert at.date() == step.day
        else:
            assert (at - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() >= step.day
        # Where a clock is put forward over the end of a day, the day ends as much later.
        assert (at.hour, at.minute) == (hour, minute) or at.utcoffset() != local(step.end - DAY // 2, zone).utcoffset()


def test_a_session_ends_before_its_open_and_takes_what_came_since_the_one_before() -> None:
    """Off-hours news, of a weekend too, counts for the next open, and is known there."""
    lateness = 2 * 60_000_000
    days = Days(exchange="XNYS", lead=lateness)
    begin = int(datetime(2024, 3, 7, tzinfo=UTC).timestamp()) * 1_000_000
    steps = days.steps(begin, begin + 6 * DAY, BUCKET)
    assert [step.day for step in steps] == [date(2024, 3, day) for day in (7, 8, 11, 12)]
    ends = [local(step.end, "America/New_York") for step in steps]
    assert {(at.hour, at.minute) for at in ends} == {(9, 25)}  # 9:30 less the lateness, in whole buckets
    assert steps[2].end - steps[2].begin == 3 * DAY - DAY // 24, "summer time began on the Sunday"
    closes = Days(exchange="XNYS", ends="close", lead=lateness).steps(begin, begin + 6 * DAY, BUCKET)
    assert {local(step.end, "America/New_York").strftime("%H:%M") for step in closes} == {"15:55"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"tz": "Europe/Lundon"}, "there is no time zone"),
        ({"tz": "../etc"}, "there is no time zone"),
        ({"ends": "25:00"}, "is not a time of day"),
        ({"ends": "16:00:30"}, "is not a time of day"),
        ({"exchange": "XXXX"}, "knows no exchange"),
        ({"exchange": "XNYS", "tz": "UTC"}, "leave tz out"),
        ({"exchange": "XNYS", "ends": "16:00"}, "its open or its close"),
    ],
)
def test_days_that_cannot_be_are_refused_with_the_remedy(how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Days(**how)


def test_a_day_that_would_cut_a_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="cuts a bucket of 60 minutes"):
        Days(tz="Asia/Kolkata").steps(0, 9 * DAY, 12 * BUCKET)


RULE = [{"name": name, "names": [name]} for name in ("Acme", "Zorv")]


def feed() -> list[dict[str, Any]]:
    """Four weeks of two companies, some with a day alone, some late; of Acme bad news in the last week."""
    rng, out = random.Random(2), list[dict[str, Any]]()
    for hour in range(28 * 24):
        for name in ("Acme", "Zorv"):
            for copy in range(3 if name == "Acme" and 22 * 24 <= hour < 24 * 24 else 1):
                bad = 0.95 if copy or (name == "Acme" and hour >= 22 * 24) else rng.choice([0.1, 0.2, 0.3])
                at = BEGUN + timedelta(hours=hour, seconds=rng.randrange(3_000))
                day_only = rng.random() < 0.02
                record = {
                    "id": f"{name}{hour}.{copy}",
                    "title": " ".join([name, *rng.choices(WORDS, k=9)]),
                    "published_at": f"{at:%Y-%m-%d}" if day_only else at.isoformat(),
                    "source": rng.choice("abcde"),
                    "scores": {"negative": bad, "neutral": round(1 - bad, 2), "positive": 0.0},
                }
                out.append(record)
    return out


BEGUN = datetime(2018, 3, 1, tzinfo=UTC)
WORDS = [f"{c}{v}{d}" for c in "bdgklmnprst" for v in "aeiou" for d in "lnrs"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("research")
    path = folder / "news.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in feed()))
    found = f"sqlite:///{folder / 's.db'}"
    flags = {"store.url": found, "watchlist.defaults": False, "topics": RULE, "time.assume_zone": "UTC"}
    replay(load(None, flags=flags, environ={}).settings, [path])
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    found = open_store(url)
    yield found
    found.close()


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@given(st.integers(0, 28 * 24 * 60))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_as_of_gives_what_was_known_then(store: Store, minutes: int) -> None:
    """Rows, alerts and panels: all and only what was known, as it was."""
    moment = BEGUN + timedelta(minutes=minutes)
    text = moment.isoformat().replace("+00:00", "Z")
    every: dict[str, Any] = {"every": 6 * 3_600_000_000}
    rows = list(store.series_rows(["Acme", "_all"], **every))
    assert list(store.series_rows(["Acme", "_all"], **every, as_of=moment)) == [
        row for row in rows if row["known_at"] <= text
    ]
    known = {alert["id"]: alert for alert in store.alerts(as_of=moment)}
    lateness = timedelta(minutes=2)
    for alert in store.alerts():
        fired, over = (alert[name] and datetime.fromisoformat(alert[name]) for name in ("fired_at", "resolved_at"))
        assert (alert["id"] in known) == (fired + lateness <= moment)
        if alert["id"] in known:
            ended = over is not None and over + lateness <= moment
            then = known[alert["id"]]
            assert (then["state"], then["resolved_at"]) == (
                ("resolved", alert["resolved_at"]) if ended else ("firing", None)
            )
            assert ("It ended" in then["sentence"]) == ended
    panel = store.panel(["Acme", "Zorv"], as_of=moment)
    assert panel.empty or panel.index.max() <= moment


def test_a_panel_is_wide_and_sums_to_its_series(store: Store) -> None:
    panel = store.panel(
        ["Acme", "Zorv", "Nobody"], tz="America/New_York", day_ends="16:00", fields=["events", "polarity"]
    )
    assert list(panel.columns) == [(f, t) for f in ("events", "polarity") for t in ("Acme", "Zorv", "Nobody")]
    days = panel.index.get_level_values("day")
    assert list(days) == list(pd.date_range(days[0], days[-1])), "a row for each day"
    local = pd.DatetimeIndex(panel.index.get_level_values("known_at")).tz_convert("America/New_York")
    assert {(at.hour, at.minute) for at in local} == {(16, 2)}, "summer time began meanwhile"
    whole = store.series("Acme", start=None)
    inside = whole[(whole["end"] > local[0] - pd.Timedelta("1D2m")) & (whole["end"] <= local[-1])]
    assert panel["events", "Acme"].sum() == inside["events"].sum()
    assert panel["events", "Nobody"].sum() == 0
    assert panel["polarity", "Nobody"].isna().all()
    sessions = store.panel("Acme", exchange="XNYS")
    assert "2018-03-03" not in pd.DatetimeIndex(sessions.index.get_level_values("day")).strftime("%Y-%m-%d")
    assert sessions["events", "Acme"].sum() > 0
    hourly = store.panel("Acme", every="1h", fields=["alerting", "filled"])
    assert hourly["alerting", "Acme"].any()
    assert not hourly["filled", "Acme"].any()
    with pytest.raises(ValueError, match="no field 'mood'"):
        store.panel("Acme", fields=["mood"])
    with pytest.raises(ValueError, match="are for days"):
        store.panel("Acme", every="1h", tz="UTC")


def test_tables_are_written_with_types_by_file_name_or_format(url: str, tmp_path: Path) -> None:
    for name, columns, arguments in (
        ("series", tables.SERIES, ["series", "Acme", "Zorv", "--every", "1d"]),
        ("stories", tables.STORIES, ["stories", "--topic", "Acme"]),
        ("alerts", tables.ALERTS, ["alerts", "list"]),
    ):
        paths = [tmp_path / f"{name}.{suffix}" for suffix in ("parquet", "arrow", "jsonl")]
        for path in paths:
            assert command(*arguments, "--store", url, "--out", str(path)).exit_code == 0
        typed = [parquet.read_table(paths[0]), feather.read_table(paths[1])]
        said = [json.loads(line) for line in paths[2].read_text().splitlines()]
        assert typed[0].equals(typed[1])
        assert typed[0].num_rows == len(said) > 0
        assert typed[0].schema.names == list(columns)
        for column, kind in columns.items():
            if kind == "time":
                assert typed[0].schema.field(column).type == pa.timestamp("us", tz="UTC")
                first = typed[0][column][0].as_py()
                assert first == (said[0][column] and datetime.fromisoformat(said[0][column]))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{n}.{s}" for n in ("series", "stories", "alerts") for s in ("parquet", "arrow", "jsonl")
    }
    days = tmp_path / "days"
    assert (
        command(
            "series", "Acme", "--tz", "Asia/Tokyo", "--store", url, "--out", str(days), "--format", "parquet"
        ).exit_code
        == 0
    )
    assert parquet.read_table(days)["day"][0].as_py() == date(2018, 3, 1)
    empty = tmp_path / "empty.parquet"
    assert command("alerts", "list", "--as-of", "2018-03-01", "--store", url, "--out", str(empty)).exit_code == 0
    assert parquet.read_table(empty).schema == parquet.read_table(tmp_path / "alerts.parquet").schema


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["series", "Acme", "--out", "x.xls"], "does not say its format"),
        (["series", "Acme", "--format", "xml"], "is not one of json, csv, parquet, arrow"),
        (["series", "Acme", "--json", "--format", "csv"], "choose one of"),
        (["series", "Acme", "--tz", "Nowhere"], "there is no time zone"),
        (["series", "Acme", "--every", "1h", "--day-ends", "16:00"], "are for days"),
        (["series", "Acme", "--day-ends", "16:02"], "cuts a bucket of 5 minutes"),
        (["alerts", "list", "--as-of", "2018-03-09", "--pending"], "leave --pending out"),
        (["stories", "--out", "no/such/folder/x.csv"], "cannot be written"),
        (["series", "Acme", "--as-of", "soon"], "is not a time"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_remedy(url: str, arguments: list[str], said: str) -> None:
    found = command(*arguments, "--store", url)
    assert found.exit_code == 2
    assert said in " ".join(found.output.replace("│", " ").split())


def test_a_series_is_certified_and_a_row_that_was_changed_is_named(url: str, tmp_path: Path) -> None:
    found = command("series", "Acme", "_all", "--certify", "--json", "--store", url)
    said = json.loads(found.output)
    assert found.exit_code == 0
    assert (said["holds"], said["differ"], len(said["cuts"])) == (True, [], 12)
    assert said["rows"] > 500
    assert said["trained_on"] == ["2018"]
    assert said["assumed_zones"] == ["UTC"]
    assert said["date_only"] > 0
    copy = tmp_path / "changed.db"
    shutil.copy(url.removeprefix("sqlite:///"), copy)
    with writing(connect(f"sqlite:///{copy}", create=False)) as connection:
        b = schema.buckets
        row = connection.execute(
            select(b.c.start).where(b.c.topic == "Acme").order_by(b.c.start).offset(300).limit(1)
        ).scalar_one()
        mine = (b.c.topic == "Acme") & (b.c.start == row)
        connection.execute(update(b).where(mine).values(negative=b.c.negative + 1))
    found = command("series", "Acme", "--certify", "--store", f"sqlite:///{copy}")
    assert found.exit_code == 1
    assert f"Acme at {iso(row)}: negative differ" in found.output
    assert "the model was trained on texts of 2018" in found.output
    with writing(connect(f"sqlite:///{copy}", create=False)) as connection:  # as retention does: it keeps some old ones
        s = schema.stories.c
        there = connection.execute(select(s.partition, s.offset, s.counts_at).order_by(s.counts_at)).all()
        retention._delete(connection, [(row.partition, row.offset) for row in there[20:40]], ["none"], 0)
    found = command("series", "Acme", "--certify", "--store", f"sqlite:///{copy}")
    assert isinstance(found.exception, CannotCertify)
    assert iso(there[39].counts_at)[:13] in str(found.exception)
    nothing = tmp_path / "nothing.db"
    connect(f"sqlite:///{nothing}", create=True).dispose()
    found = command("series", "_all", "--certify", "--store", f"sqlite:///{nothing}")
    assert isinstance(found.exception, CannotCertify)


def test_the_card_says_the_years_of_the_training_texts() -> None:
    assert trained_on.years("default") == [(1987, 1987), (2014, 2015), (2018, 2020)]
    assert trained_on.overlaps("permissive", 2015, 2019) == [(2015, 2015), (2018, 2019)]
    assert trained_on.overlaps("default", 2021, 2030) == []
    assert trained_on.years("/my/weights") is None


def example_of(name: str) -> Any:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_finds_a_forecast_that_is_there_and_none_that_is_not() -> None:
    """Its placebo is what tells them apart."""
    market, rng = example_of("sentiment_and_market"), np.random.default_rng(3)
    polarity = pd.Series(rng.normal(size=400)).ewm(span=10).mean().to_numpy()
    noise = rng.normal(size=400)
    frame = pd.DataFrame({"polarity": polarity, "same": noise, "next": polarity / polarity.std() + 2 * noise})
    found = market.measure(frame)
    assert found["next"]["placebos_as_strong"] < 0.05
    assert found["same"]["placebos_as_strong"] > 0.05
    assert market.measure(frame[:50]) == {"sessions": 50}


def test_the_example_joins_a_session_with_the_return_after_it(url: str, shared: Path, capsys: Any) -> None:
    market, csv = example_of("sentiment_and_market"), shared / "data" / "market" / "sp500_vix_daily.csv"
    prices = pd.read_csv(csv, parse_dates=["date"], index_col="date")["sp500_close"]
    frame = market.joined(url, "Acme", "XNYS", prices)
    day = frame.index[5]
    after = prices.index[prices.index.tolist().index(day) + 1]
    assert frame["next"].iloc[5] == pytest.approx(np.log(prices[after] / prices[day]))
    assert "2018-03-03" not in frame.index.strftime("%Y-%m-%d")
    assert market.main([url, str(csv), "--column", "sp500_close", "--topic", "Acme"])["sessions"] == len(frame)
    assert "sessions with news of Acme" in capsys.readouterr().out
