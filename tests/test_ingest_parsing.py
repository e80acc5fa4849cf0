"""Bytes become stories or dead letters: every kind of bad record has its reason, and nothing raises."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from foreshock.ingest.dates import END, is_in_range, read_date
from foreshock.ingest.errors import REASONS, BadMapping, BadRecord
from foreshock.ingest.fields import LIMIT, quantise
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.settings import ParseSettings, read_map
from foreshock.ingest.story import DeadLetter, Story

RULES = ParseRules()
NOON = "2020-03-01T12:00:00Z"
NESTED = b"[" * 1_015 + b"]" * 1_015
"""As deep as orjson reads."""
NOON_US = 1_583_064_000_000_000


def record(**fields: Any) -> bytes:
    return json.dumps({"title": "Acme warns", "published_at": NOON} | fields).encode()


def story(raw: bytes, rules: ParseRules = RULES, **options: Any) -> Story:
    item = parse(raw, "feed", 7, rules, **options)
    assert isinstance(item, Story), item
    return item


def dead(raw: bytes, rules: ParseRules = RULES, **options: Any) -> DeadLetter:
    item = parse(raw, "feed", 7, rules, **options)
    assert isinstance(item, DeadLetter), item
    assert item.reason in REASONS
    assert (item.partition, item.offset) == ("feed", 7)
    return item


def test_a_whole_record_becomes_a_story() -> None:
    item = story(
        record(
            id=12,
            body=" More. ",
            source="wire",
            url="https://x",
            topics=["Banks", "Banks", ""],
            tickers="ACM|BCM; nyse: CCM",
            symbols=["DCM"],
            language="en-GB",
            status="WITHDRAWN",
            places=["usa"],
            nothing=None,
        )
    )
    assert (item.partition, item.offset, item.id, item.published_at) == ("feed", 7, "12", NOON_US)
    assert (item.title, item.body, item.source, item.url) == ("Acme warns", "More.", "wire", "https://x")
    assert (item.topics, item.tickers) == (("Banks",), ("ACM", "BCM", "CCM", "DCM"))
    assert (item.language, item.status, item.extra) == ("en", "withdrawn", {"places": ["usa"]})
    assert (item.date_only, item.counts_at, item.scores) == (False, None, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"title": "\xff", "published_at": 1583064000}', "not_utf8"),
        (b"", "bad_json"),
        (b"Acme warns", "bad_json"),
        (b'{"title": "a"', "bad_json"),
        (b'{"title": "a", "published_at": NaN}', "bad_json"),
        (b'{"title": "a", "scores": {"negative": NaN, "neutral": 0, "positive": 1}}', "bad_json"),
        (b'{"title": "\\ud800", "x": NaN}', "bad_json"),
        (b"[" * 5000, "bad_json"),
        (b'{"title": "a", "published_at": 1583064000, "x": ' + b"[" * 500 + b"]" * 500 + b"}", "bad_json"),
        (b"[1, 2]", "not_an_object"),
        (b"5", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"title"', "not_an_object"),
        (b"{}", "no_text"),
        (record(title="  "), "no_text"),
        (record(title=None), "no_text"),
        (record(title=5), "text_not_a_string"),
        (record(title=["a"]), "text_not_a_string"),
        (record(body={"a": 1}), "text_not_a_string"),
        (record(title="a", text=1.5), "text_not_a_string"),
        (record(published_at="soon"), "bad_date"),
        (record(published_at="01/02/2020"), "bad_date"),
        (record(published_at="2020"), "bad_date"),
        (record(published_at="2020-W10"), "bad_date"),
        (record(published_at=1), "bad_date"),
        (record(published_at=True), "bad_date"),
        (record(published_at={"$date": 1}), "bad_date"),
        (record(published_at="2020-03-01T12:00:00"), "date_without_zone"),
        (record(published_at=None), "no_date"),
        (record(published_at=""), "no_date"),
        (record(published_at="9999-12-31T23:59:59Z"), "date_out_of_range"),
        (record(published_at="9999-12-31"), "date_out_of_range"),
        (record(published_at="0001-01-01T00:00:00+14:00"), "date_out_of_range"),
        (record(published_at="1969-12-31T23:59:59Z"), "date_out_of_range"),
        (record(published_at=-1), "date_out_of_range"),
        (record(published_at=1e300), "date_out_of_range"),
        (record(published_at=10**18), "date_out_of_range"),
        (record(scores="0.1"), "bad_scores"),
        (record(scores=1), "bad_scores"),
        (record(scores=[0.1, 0.2, 0.7]), "bad_scores"),
        (record(scores={"negative": 0.1, "neutral": 0.9}), "bad_scores"),
        (record(scores={"negative": "0.1", "neutral": 0.2, "positive": 0.7}), "bad_scores"),
        (record(scores={"negative": True, "neutral": 0, "positive": 0}), "bad_scores"),
        (record(scores={"negative": -0.1, "neutral": 0.4, "positive": 0.7}), "bad_scores"),
        (record(scores={"negative": 0.1, "neutral": 0.2, "positive": 0.6}), "bad_scores"),
        (record(negative="much", neutral="0.2", positive="0.1"), "bad_scores"),
        (record(negative="nan", neutral="0.2", positive="0.1"), "bad_scores"),
        (record(counts_at="2020-03-01T11:59:59Z"), "bad_field"),
        (record(body="x" * LIMIT), "too_large"),
        (record(published_at=1e306), "date_out_of_range"),
        (record(published_at=-1e308), "date_out_of_range"),
        (record(scores=0)[:-2] + NESTED + b"}", "bad_scores"),
        (record(neutral=0, positive=1, negative=0)[:-2] + NESTED + b"}", "bad_scores"),
    ],
)  # fmt: skip
def test_a_bad_record_is_a_dead_letter_with_its_reason_and_bytes(raw: bytes, reason: str) -> None:
    letter = dead(raw)
    assert letter.reason == reason
    assert letter.detail
    assert (letter.raw, letter.size) == (raw[:LIMIT], len(raw))


def test_ten_megabytes_of_text_keep_their_first_and_their_size() -> None:
    raw = record(body="x" * 10_000_000)
    letter = dead(raw)
    assert (letter.reason, len(letter.raw), letter.size) == ("too_large", LIMIT, len(raw))


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        (b'{"title": "a\\u0000b", "published_at": 1583064000}', "a\ufffdb"),
        (b'{"title": "a\\ud800b", "published_at": 1583064000}', "a\ufffdb"),
        (b'{"title": "\\ud83d\\ude00", "published_at": 1583064000}', "\N{GRINNING FACE}"),
        (b'\xef\xbb\xbf{"title": "a", "published_at": 1583064000}', "a"),
        (b'{"title": "a", "title": "b", "published_at": 1583064000}', "b"),
    ],
)
def test_nul_and_lone_surrogates_become_the_replacement_character(raw: bytes, title: str) -> None:
    assert story(raw).title == title


def test_nul_in_unknown_fields_is_replaced_too() -> None:
    assert story(record(x={"a\0": ["b\0"]})).extra == {"x": {"a\ufffd": ["b\ufffd"]}}


@pytest.mark.parametrize(
    ("fields", "title", "body", "extra"),
    [
        ({"title": "T", "text": "X"}, "T", "X", {}),
        ({"title": "T", "text": "X", "body": "B"}, "T", "B", {"text": "X"}),
        ({"title": "T", "headline": "H"}, "T", "", {"headline": "H"}),
        ({"title": " ", "headline": "H", "text": "X"}, "H", "X", {}),
        ({"title": None, "text": "X"}, "X", "", {}),
    ],
)
def test_title_wins_over_headline_and_headline_over_text(
    fields: dict[str, Any], title: str, body: str, extra: Any
) -> None:
    item = story(record(**fields))
    assert (item.title, item.body, item.extra) == (title, body, extra)


@pytest.mark.parametrize(
    "written",
    [
        NOON, "2020-03-01T13:00:00+01:00", "2020-03-01 12:00:00 +0000", "2020-03-01 12:00 UTC", "20200301T120000Z",
        "Sun, 01 Mar 2020 12:00:00 GMT", "1 Mar 2020 07:00:00 -0500", "2020/03/01 12:00:00Z", 1583064000, 1583064000.0,
        1583064000000, "1583064000", "1583064000000", "1583064000.0", " 2020-03-01T12:00:00.000000Z ",
    ],
)  # fmt: skip
def test_the_same_moment_in_many_forms(written: Any) -> None:
    assert story(record(published_at=written)).published_at == NOON_US


@pytest.mark.parametrize("zone", [None, ZoneInfo("America/New_York")])
def test_a_date_with_an_unknown_zone_name_is_rejected(zone: ZoneInfo | None) -> None:
    for name in ("-0000", "-00:00", "-0000 (UTC)", "GMT", "+0000 (somewhere)", "+00:00"):
        assert read_date(f"Sun, 01 Mar 2020 12:00:00 {name}", zone) == (NOON_US, False), name
    for name in ("CEST", "BST", "JST", "A"):
        with pytest.raises(BadRecord, match="cannot be read as a date"):
            read_date(f"Sun, 01 Mar 2020 12:00:00 {name}", zone)
    with pytest.raises(BadRecord) if zone is None else nullcontext():
        assert read_date("1 Mar 2020 07:00:00", zone) == (NOON_US, False)


def test_epoch_milliseconds_are_never_read_as_a_day_and_a_time() -> None:
    # datetime.fromisoformat reads these digits as 20:00 on the 1st of January 1512.
    assert read_date("1512010112000", None) == (1_512_010_112_000_000, False)


def test_a_date_without_a_time_counts_at_the_days_end() -> None:
    item = story(record(published_at="2020-03-01"))
    assert item.published_at == int(datetime(2020, 3, 2, tzinfo=UTC).timestamp()) * 1_000_000 - 1
    assert item.date_only
    in_new_york = story(record(published_at="2020-03-01"), ParseSettings(assume_zone="America/New_York").rules())
    assert in_new_york.published_at - item.published_at == 5 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", {"$oid": "a"}),
        ("id", True),
        ("id", "x" * 1001),
        ("source", ["a"]),
        ("source", {"id": None, "name": "Post"}),
        ("url", {"href": "u"}),
        ("topics", [{"name": "Banks"}]),
        ("topics", {"name": "Banks"}),
        ("topics", [["Banks"]]),
        ("topics", [f"t{i}" for i in range(1001)]),
        ("tickers", [{"ticker": "A"}]),
        ("tickers", {"A": 0.5}),
        ("tickers", True),
        ("symbols", [{"symbol": "A"}]),
        ("tickers", "[{'ticker': 'A'}]"),
        ("source", "{'id': None, 'name': 'Post'}"),
        ("language", ["en"]),
        ("language", {"code": "en"}),
        ("status", {"a": 1}),
    ],
)
def test_an_optional_field_that_cannot_be_used_is_kept_and_costs_nothing_else(name: str, value: Any) -> None:
    item, plain = story(record(**{name: value})), story(record())
    assert item.extra == {name: value}
    assert replace(item, extra={}) == plain


@pytest.mark.parametrize("language", ["en", "EN-us", "eng", "English"])
def test_a_language_has_one_code(language: str) -> None:
    assert story(record(language=language)).language == "en"


def test_a_time_may_be_marked_as_a_bare_day() -> None:
    item = story(record(date_only=True))
    assert (item.published_at, item.date_only, item.extra) == (NOON_US, True, {})
    item = story(record(date_only="yes"))
    assert (item.date_only, item.extra) == (False, {"date_only": "yes"})


@pytest.mark.parametrize(
    ("written", "day"), [("2020-03-01T00:00:00Z", True), ("2020-03-01 00:00", True), ("2020-03-01T00:00:01Z", False)]
)
def test_a_time_of_midnight_is_a_bare_day_where_the_settings_say_so(written: str, day: bool) -> None:
    rules = ParseSettings(date_only=True).rules()
    item = story(record(published_at=written), rules)
    assert item.date_only == day
    assert item.published_at == (read_date("2020-03-01", None)[0] if day else read_date(written, None)[0])


def test_a_zone_is_assumed_for_all_or_by_source() -> None:
    raw = record(published_at="2020-03-01T13:00:00", source="paris")
    assert story(raw, ParseSettings(assume_zone="Europe/Paris").rules()).published_at == NOON_US
    by_source = ParseSettings(assume_zone={"paris": "Europe/Paris"}).rules()
    assert story(raw, by_source).published_at == NOON_US
    assert dead(record(published_at="2020-03-01T13:00:00", source="x"), by_source).reason == "date_without_zone"


@pytest.mark.parametrize(
    ("written", "utc"),
    [("2020-03-08T02:30:00", "2020-03-08T07:30:00Z"), ("2020-11-01T01:30:00", "2020-11-01T05:30:00Z")],
)
def test_the_hours_that_daylight_saving_drops_or_doubles_have_one_meaning(written: str, utc: str) -> None:
    rules = ParseSettings(assume_zone="America/New_York").rules()
    assert story(record(published_at=written), rules).published_at == story(record(published_at=utc)).published_at


def test_a_date_after_the_latest_allowed_is_a_dead_letter() -> None:
    assert story(record(), latest=NOON_US).published_at == NOON_US
    assert dead(record(), latest=NOON_US - 1).reason == "date_in_future"
    assert dead(record(published_at="2020-03-01"), latest=NOON_US).reason == "date_in_future"


def test_without_a_date_the_timestamp_of_the_broker_counts() -> None:
    raw = json.dumps({"title": "a"}).encode()
    assert story(raw, fallback_time=5).published_at == 5
    assert dead(raw, fallback_time=-1_000).reason == "no_date"
    assert dead(raw, fallback_time=END).reason == "date_out_of_range"


def test_counts_at_is_taken_from_files_only() -> None:
    raw = record(counts_at="2020-03-01T12:05:00Z")
    assert story(raw).counts_at == NOON_US + 300_000_000
    assert story(record(counts_at=NOON_US + 1)).counts_at == NOON_US + 1
    live = story(raw, fallback_time=5)
    assert (live.counts_at, live.extra) == (None, {"counts_at": "2020-03-01T12:05:00Z"})


def test_without_an_id_it_is_a_hash_that_topics_and_tickers_do_not_change() -> None:
    one, two = story(record(tickers=["A"], topics=["x"])), story(record(tickers=["B"]))
    assert one.id == two.id
    assert len(one.id) == 32
    others = [record(title="b"), record(body="b"), record(source="b"), record(url="b"), record(published_at=1583064001)]
    assert len({one.id, *(story(raw).id for raw in others)}) == 6


def test_content_is_a_hash_of_title_body_and_status() -> None:
    same = {story(record(**fields)).content for fields in ({}, {"source": "b"}, {"id": "b"}, {"tickers": "b"})}
    other = {story(record(**fields)).content for fields in ({"body": "b"}, {"status": "withdrawn"}, {"title": "b"})}
    assert len(same) == 1
    assert len(same | other) == 4


def test_scores_are_taken_where_they_are_accepted() -> None:
    raw = record(scores={"negative": 0.25, "neutral": 0.5, "positive": 0.25})
    assert story(raw).scores == (2500, 5000, 2500)
    refused = story(raw, ParseRules(accept_scores=False))
    assert refused.scores is None
    assert story(record(negative="0.1", neutral="0.2", positive="0.7")).scores == (1000, 2000, 7000)
    assert story(record(negative="", neutral="", positive="")).scores is None


@given(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).filter(lambda shares: sum(shares) > 1e-6))
def test_quantised_scores_sum_to_10000_and_are_near(shares: tuple[float, float, float]) -> None:
    units = quantise(*shares)
    assert sum(units) == 10_000
    assert all(abs(unit - 10_000 * share / sum(shares)) <= 1 for unit, share in zip(units, shares, strict=True))


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_quantised_scores_come_back_from_their_fractions(one: int, two: int) -> None:
    low, high = sorted((one, two))
    units = (low, high - low, 10_000 - high)
    assert quantise(*(unit / 10_000 for unit in units)) == units


def test_a_mapping_renames_and_a_dot_leads_into_an_object() -> None:
    rules = ParseSettings(mapping=read_map("title=Headline, published_at=meta.date, tickers=Ticker")).rules()
    raw = orjson.dumps({"Headline": "a", "meta": {"date": NOON}, "Ticker": "A", "title": 5})
    item = story(raw, rules)
    assert (item.title, item.published_at, item.tickers) == ("a", NOON_US, ("A",))
    assert item.extra == {"meta": {"date": NOON}, "_unmapped": {"title": 5}}


def test_an_error_in_the_settings_names_the_most_similar_setting() -> None:
    with pytest.raises(BadMapping, match="Did you mean title"):
        read_map("titel=Headline")
    with pytest.raises(BadMapping, match="field=column"):
        read_map("title")
    with pytest.raises(ValidationError, match="Did you mean America/New_York"):
        ParseSettings(assume_zone="America/New_Yrok")
    with pytest.raises(ValidationError):
        ParseSettings.model_validate({"assume_zon": "UTC"})


@given(st.binary(max_size=300))
def test_any_bytes_give_a_story_or_a_dead_letter(raw: bytes) -> None:
    assert isinstance(parse(raw, "feed", 0, RULES), Story | DeadLetter)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.sampled_from("aé€ |;,.:-+TZ0159{}\0\ud800\udfff"), max_size=30)
    | st.sampled_from([NOON, "2020-03-01", "2020-03-01T12:00:00", "1583064000", "0.5", "{}", "en-", "|", "0001-01-01"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS.map(str), inner, max_size=3),
    max_leaves=6,
)
WRITE = st.sampled_from([json.dumps, repr])
ENCODED = st.recursive(
    st.text(st.sampled_from("a\0\ud800"), min_size=1, max_size=3) | st.floats() | st.integers(),
    lambda inner: st.builds(
        lambda write, held: write(held),
        WRITE,
        st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.sampled_from("a\0"), inner, min_size=1),
    ),
    max_leaves=4,
)
"""Lists and objects as text, as JSON or Python writes them, and so within one another."""
SIGNS = st.sampled_from(["$", "$'", "$[", "[", "]", "('", "'", "9", "-", "<", "&", "{'a':"])
HOSTILE = st.one_of(
    st.floats(1e300) | st.floats(max_value=-1e15) | st.integers(2**63, 2**1_100),
    # Hypothesis raises the limit of recursion to some thousands.
    st.builds(lambda before, behind: before * 9_000 + "A" + behind * 9_000, SIGNS, SIGNS),
    ENCODED.filter(lambda value: isinstance(value, str)),
)
ALL_NAMES = (
    "title", "headline", "text", "body", "published_at", "id", "source", "url", "topics", "tickers", "symbols",
    "language", "status", "date_only", "counts_at", "scores", "negative", "neutral", "positive", "other",
)  # fmt: skip
NAMES = st.sampled_from(ALL_NAMES)
PATHS = ParseRules(mapping={"title": "other[].a|title", "topics": "text.a", "tickers": "body|"}, date_format="dayfirst")
SETTINGS = st.sampled_from(
    [
        RULES,
        ParseSettings(assume_zone="America/New_York").rules(),
        ParseRules(mapping={"title": "other.a", "id": "text"}),
        PATHS,
    ]
)


@given(HOSTILE, SETTINGS)
@example(1e306, RULES)
@example("$" * 9_000, RULES)
@example('["a\\u0000b"]', RULES)
@example("['a\\x00b']", RULES)
@example('{"a": "b\\u0000"}', PATHS)
def test_numbers_of_any_size_encoded_text_and_signs_without_end_are_read_or_rejected_in_any_field(
    value: Any, rules: ParseRules
) -> None:
    for name in ALL_NAMES:
        parsed_well(json.dumps({"title": "t", "published_at": NOON} | {name: value}).encode(), rules)
    parsed_well(
        json.dumps({"title": "t", "published_at": NOON, "negative": 1, "neutral": 0, "positive": value}).encode(), rules
    )


@given(st.dictionaries(NAMES, VALUES), SETTINGS, st.none() | st.integers(0, 2**60), st.none() | st.integers(-2, 2**70))
def test_any_fields_give_a_story_that_holds_what_the_rest_relies_on(
    fields: dict[str, Any], rules: ParseRules, latest: int | None, fallback: int | None
) -> None:
    parsed_well(json.dumps({"title": "t", "published_at": NOON} | fields).encode(), rules, latest, fallback)


def parsed_well(raw: bytes, rules: ParseRules, latest: int | None = None, fallback: int | None = None) -> None:
    """Fail unless the record becomes a dead letter, or a story that holds what the rest relies on."""
    item = parse(raw, "feed", 0, rules, latest, fallback)
    if isinstance(item, DeadLetter):
        assert item.reason in REASONS
        return
    assert item.title
    assert item.id
    assert item.language
    assert is_in_range(item.published_at)
    orjson.dumps(item.extra)
    for text in (item.title, item.body, item.id, item.source, item.url, *item.topics, *item.tickers):
        assert "\0" not in text
        text.encode()
    assert item.scores is None or sum(item.scores) == 10_000
    assert item.counts_at is None or item.counts_at >= item.published_at
    assert parse(raw, "feed", 0, rules, latest, fallback) == item
