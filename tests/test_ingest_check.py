"""`foreshock check`: the report and the advice for unknown files."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path
from typing import Any

import oracle
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock.analysis.feed_check import check
from foreshock.ingest.errors import MissingFile
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.settings import ParseSettings, read_map

RULES = ParseRules()


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def story(number: int, **fields: Any) -> dict[str, Any]:
    return {"title": f"t{number}", "published_at": 1_583_064_000 + 3600 * number, "source": "wire"} | fields


def test_a_plain_file_needs_nothing(tmp_path: Path) -> None:
    report = check(written(tmp_path / "f.jsonl", [story(i) for i in range(10)]), RULES, texts_per_second=2)
    assert (report.records, report.stories, report.order) == (10, 10, "oldest first")
    assert (report.first, report.last) == ("2020-03-01T12:00:00Z", "2020-03-01T21:00:00Z")
    assert report.columns == ("title", "published_at", "source")
    assert report.dates == {"wire": {"epoch seconds": 10}}
    assert (report.late, report.duplicates, report.revisions, report.advice, report.dead_letters) == (0, 0, 0, (), {})
    assert report.seconds == 5
    assert report.command is not None
    assert shlex.split(report.command)[:3] == ["foreshock", "replay", str(tmp_path / "f.jsonl")]
    assert "--sort" not in report.command
    assert json.loads(json.dumps(report.to_json()))["records"] == 10


def test_a_csv_with_other_columns_gets_a_mapping_and_advice(tmp_path: Path) -> None:
    rows = [f'"h{i // 2}","2020-01-{28 - i // 2:02d} 10:00",T{i},a' for i in range(40)]
    rows += ["h99,2020-01-01,T,b", "h98,,T,b"]
    path = tmp_path / "my feed.csv"
    path.write_text("\n".join(["Headline,Date,Ticker,Publisher", *rows]))
    report = check(path, RULES)
    guess = {"title": "Headline", "published_at": "Date", "tickers": "Ticker", "source": "Publisher"}
    assert report.mapping == guess
    assert report.missing == ("title, headline or text", "published_at")
    assert report.order == "newest first"
    assert report.dates == {"a": {"without zone": 40}, "b": {"bare day": 1, "missing": 1}}
    assert report.duplicates == 20  # one row a ticker
    assert {reason: letters.count for reason, letters in report.dead_letters.items()} == {
        "date_without_zone": 40,
        "no_date": 1,
    }
    assert report.dead_letters["no_date"].record == 41
    assert '"h98"' in report.dead_letters["no_date"].start
    words = shlex.split(report.command)
    assert words[2] == str(path)
    assert read_map(words[words.index("--map") + 1]) == guess
    assert "--sort" in words
    advice = " ".join(report.advice)
    assert "assume_zone" in advice
    assert "--sort" in advice
    assert "1 date is a bare day. " in advice
    assert report.command is not None
    assert all(line in report.text() for line in (*report.advice, report.command))


def test_an_assumed_zone_turns_dates_without_a_zone_into_stories(tmp_path: Path) -> None:
    path = written(tmp_path / "f.jsonl", [story(i, published_at=f"2020-01-01T{i:02d}:00") for i in range(9)])
    report = check(path, RULES)
    assert (report.stories, report.command) == (0, None)
    assert "nothing to replay" in report.advice[-1]
    report = check(path, ParseSettings(assume_zone="Europe/Paris").rules())
    assert (report.stories, report.first, report.advice) == (9, "2019-12-31T23:00:00Z", ())


def test_duplicates_and_revisions_are_distinguished_by_content(tmp_path: Path) -> None:
    rows = [story(i, id=f"s{i % 5}", title="same" if i < 10 else "other") for i in range(15)]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert (report.duplicates, report.revisions) == (5, 5)


def test_scored_stories_need_no_encoding(tmp_path: Path) -> None:
    scores = {"negative": 0.2, "neutral": 0.3, "positive": 0.5}
    report = check(written(tmp_path / "f.jsonl", [story(i, scores=scores) for i in range(100)]), RULES)
    assert report.scored == 100
    assert report.seconds < 0.1


@pytest.mark.parametrize("end", [" 00:00:00", "T00:00:00Z", " 00:00:00 UTC", "T00:00:00-04:00"])
def test_times_that_are_all_midnight_are_days(tmp_path: Path, end: str) -> None:
    path = written(tmp_path / "f.jsonl", [story(i, published_at=f"2020-06-{2 + i:02d}{end}") for i in range(9)])
    report = check(path, RULES)
    assert (report.stories, report.date_only) == (9, True)
    assert "All 9 times are exactly 00:00:00" in " ".join(report.advice)
    assert report.command is not None
    assert "--date-only" in report.command
    assert report.first is not None
    assert report.first.startswith("2020-06-0")
    assert report.first.endswith(":59:59.999999Z")


def test_some_times_at_midnight_are_said_and_left(tmp_path: Path) -> None:
    rows = [story(i, published_at=f"2020-06-{2 + i:02d}T0{i % 3}:00:00Z") for i in range(9)]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert not report.date_only
    assert "3 of 9 times are exactly 00:00:00" in " ".join(report.advice)
    assert report.command is not None
    assert "--date-only" not in report.command
    one = check(written(tmp_path / "g.jsonl", [story(1), story(2, published_at="2020-06-02T00:00:00Z")]), RULES)
    assert not [line for line in one.advice if "00:00:00" in line]


def test_a_file_that_lies_in_the_1970s_is_said_and_not_recommended(tmp_path: Path) -> None:
    rows = [story(i, published_at=f"1970-01-{1 + i:02d}T10:00:00Z") for i in range(5)]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert (report.stories, report.command) == (5, None)
    assert "1970s" in " ".join(report.advice)


@pytest.mark.parametrize(
    ("value", "times"),
    [("1970-01-01T00:00:00Z", 1), ("1900-01-01T00:00:00Z", 2), ("9999-12-31", 2), (0, 2), ("2021-05-05T11:22:33Z", 9)],
)
def test_a_date_that_stands_for_a_missing_one_is_said(tmp_path: Path, value: Any, times: int) -> None:
    rows = [story(i) for i in range(30)] + [story(40 + i, published_at=value) for i in range(times)]
    said = " ".join(check(written(tmp_path / "f.jsonl", rows), RULES).advice)
    assert f"{value} ({times} record" in said
    # One story with a row for each of its tickers has one date.
    rows = [story(i) for i in range(30)] + [story(40, tickers=[f"T{i}"]) for i in range(9)]
    assert check(written(tmp_path / "g.jsonl", rows), RULES).advice == ()


def test_tickers_that_are_not_understood_are_counted_and_shown(tmp_path: Path) -> None:
    given = ["TRNX,BWPX", "['TRNX']", "NASDAQ:TRNX", "Acme Industries", "Acme Industries", "XS0000", [{"symbol": "T"}]]
    rows = [story(i, tickers=tickers) for i, tickers in enumerate(given)]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert (report.tickers, report.unknown_tickers) == (6, {"ACME INDUSTRIES": 2})
    assert "tickers      6 understood, 2 not: 'ACME INDUSTRIES' (2)" in report.text()
    assert "2 tickers are in no known notation" in " ".join(report.advice)


def test_objects_in_plain_fields_get_paths(tmp_path: Path) -> None:
    rows = [
        story(i, source={"id": None, "name": f"Post {i}"}, tickers=[{"symbol": "TRNX"}], topics=[{"name": "Steel"}])
        for i in range(4)
    ]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    paths = {"source": "source.name", "tickers": "tickers[].symbol", "topics": "topics[].name"}
    assert (report.mapping, report.stories, report.tickers) == (paths, 4, 4)
    assert set(report.dates) == {"Post 0", "Post 1", "Post 2", "Post 3"}
    assert report.command is not None
    words = shlex.split(report.command)
    assert read_map(words[words.index("--map") + 1]) == paths


def test_a_field_that_cannot_be_used_is_counted_and_said(tmp_path: Path) -> None:
    mixed = [story(1, source="Post"), story(2, source={"name": "Quay"})]
    assert check(written(tmp_path / "m.jsonl", mixed), RULES).mapping == {"source": "source.name|source"}
    rows = [story(i, topics=[["a"]] if i < 3 else ["a"]) for i in range(9)]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert report.stories == 9
    assert "The field topics cannot be used in 3 of 9 stories" in " ".join(report.advice)


@pytest.mark.parametrize(
    ("dates", "form", "why"),
    [
        (["05.06.2024", "31.12.2023"], "dayfirst", "13 to 31 stand first in dates such as '31.12.2023': dayfirst"),
        (["05/06/2024 10:00 GMT", "12/31/2023 9:00 PM GMT"], "monthfirst", "13 to 31 stand second"),
        ([45291, 45292.5], "excel", "days since 1899-12-30"),
        (["31122023", "30112023"], "%d%m%Y", "have the form %d%m%Y"),
        (["06-May-24", "07-May-24"], "%d-%b-%y", "have the form %d-%b-%y"),
        (["05/06/2024", "07/08/2024"], None, "have two meanings"),
        (["31/12/2023", "12/31/2023"], None, "has both orders"),
        (["soon", "later"], None, ""),
    ],
)
def test_a_form_of_dates_is_proposed_with_the_reason(
    tmp_path: Path, dates: list[Any], form: str | None, why: str
) -> None:
    rows = [story(i, published_at=date) for i, date in enumerate(dates)]
    report = check(written(tmp_path / "f.jsonl", rows), ParseSettings(assume_zone="UTC").rules())
    assert (report.date_format, report.stories) == (form, len(dates) if form else 0)
    assert why in " ".join(report.advice)
    if form is not None:
        assert report.command is not None
        words = shlex.split(report.command)
        assert words[words.index("--date-format") + 1] == form


def test_columns_that_nobody_can_guess_get_an_example(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("Spalte1,Spalte2\na,b\n")
    report = check(path, RULES)
    assert report.mapping == {}
    assert "--map title=Headline" in " ".join(report.advice)


def test_a_broken_file_is_reported_up_to_the_break(tmp_path: Path) -> None:
    rows = b"".join(orjson.dumps(story(i)) + b"\n" for i in range(100))
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(rows)[:-10])
    report = check(path, RULES)
    assert report.records > 0
    assert report.broken is not None
    assert "truncated" in report.broken
    assert report.command is None
    assert "foreshock replay" not in report.text()
    with pytest.raises(MissingFile):
        check(tmp_path / "nowhere.csv", RULES)


RECORDS = st.lists(st.tuples(st.integers(0, 10 * 3600), st.sampled_from("abcdefgh")), max_size=40)


@given(RECORDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_late_and_stale_counts_are_those_of_the_specification(tmp_path: Path, records: list[tuple[int, str]]) -> None:
    judged = oracle.judge("f", [oracle.Join(None), *(oracle.Record(time, id_) for time, id_ in records)])
    rows = [{"title": "t", "published_at": 1_583_064_000 + time, "id": id_} for time, id_ in records]
    report = check(written(tmp_path / "f.jsonl", rows), RULES)
    assert report.late == sum(one.late for one in judged)
    assert report.stale == sum(one.stale for one in judged)
