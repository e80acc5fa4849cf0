"""Records of news services: paths into objects, and presets. The samples are made up."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from foreshock.analysis.feed_check import check
from foreshock.cli.options import mapping as options_mapping
from foreshock.ingest.errors import BadMapping
from foreshock.ingest.files import FileFeed
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.paths import value_at
from foreshock.ingest.presets import PRESETS, preset, recognised
from foreshock.ingest.settings import ParseSettings
from foreshock.ingest.story import Story

RECORD: dict[str, Any] = {
    "a": {"b": {"c": 1}, "d": None},
    "list": [{"s": "X"}, {"s": "Y", "t": [1, 2]}, {"u": 0}, "text"],
    "names": ["one", "two"],
    "a.b": "whole name",
    "json": '{"name": "Post"}',
    "python": "{'id': None, 'name': 'Quay'}",
    "rows": "[{'t': 'A'}, {'t': 'B'}]",
    "broken": "{'a': ",
    "empty": "",
    "n": 7,
}


@pytest.mark.parametrize(
    ("column", "value", "key"),
    [
        ("n", 7, "n"),
        ("a.b", "whole name", "a.b"),
        ("a.b.c", 1, None),
        ("a.d", None, None),
        ("a.x.y", None, None),
        ("list[].s", ["X", "Y"], None),
        ("list[].t[]", [1, 2], None),
        ("list[].t", [1, 2], None),
        ("list[1].s", "Y", None),
        ("list[9].s", None, None),
        ("names[]", ["one", "two"], None),
        ("names[0]", "one", None),
        ("a[].b.c", [1], None),
        ("json.name", "Post", None),
        ("python.name", "Quay", None),
        ("rows[].t", ["A", "B"], None),
        ("broken.a", None, None),
        ("x|empty|n", 7, "n"),
        ("x|y", None, None),
        ("x|", None, None),
        ("a|n", 7, "n"),
        ("a|python.name", "Quay", None),
        ("names[0]+n", "one 7", None),
        ("x+y", None, None),
        ("x|names[1]+empty|+n", "two 7", None),
    ],
)
def test_a_mapping_leads_to_a_value(column: str, value: Any, key: str | None) -> None:
    assert value_at(RECORD, column) == (value, key)


@pytest.mark.parametrize("text", ["{" * 60_000, "[" * 60_000, "{'a': " * 9_000, "[b'x']", "{1, 2}", "{'a': 1j}"])
def test_text_that_holds_no_object_stays_text(text: str) -> None:
    assert value_at({"a": text}, "a.b") == (None, None)


SAMPLES: dict[str, list[dict[str, Any]]] = {
    "newsapi": [
        {
            "source": {"id": None, "name": "Harbour Post"},
            "author": None,
            "title": "Tarn Steel warns",
            "description": "Weak.",
            "url": "https://h.example/a",
            "urlToImage": None,
            "publishedAt": "2024-05-06T13:30:00Z",
            "content": "Tarn [+9 chars]",
        },
    ],
    "finnhub": [
        {
            "category": "company",
            "datetime": 1715002200,
            "headline": "Tarn Steel warns",
            "id": 7,
            "image": "",
            "related": "TRNX,BWPX",
            "source": "Harbour Post",
            "summary": "Weak.",
            "url": "https://h.example/a",
        },
    ],
    "alpaca": [
        {
            "id": 7,
            "headline": "Tarn Steel warns",
            "author": "G. H.",
            "created_at": "2024-05-06T13:30:00Z",
            "updated_at": "2024-05-06T13:31:00Z",
            "summary": "Weak.",
            "content": "",
            "url": "https://h.example/a",
            "images": [],
            "symbols": ["TRNX"],
            "source": "Harbour Post",
        },
    ],
    "polygon": [
        {
            "id": "a1",
            "publisher": {"name": "Harbour Post", "homepage_url": "https://h.example"},
            "title": "Tarn Steel warns",
            "published_utc": "2024-05-06T13:30:00Z",
            "article_url": "https://h.example/a",
            "tickers": ["TRNX"],
            "description": "Weak.",
            "keywords": ["steel"],
            "insights": [{"ticker": "TRNX", "sentiment": "negative"}],
        },
    ],
    "alphavantage": [
        {
            "title": "Tarn Steel warns",
            "url": "https://h.example/a",
            "time_published": "20240506T133000",
            "summary": "Weak.",
            "source": "Harbour Post",
            "topics": [{"topic": "Earnings", "relevance_score": "0.9"}],
            "ticker_sentiment": [{"ticker": "TRNX", "relevance_score": "0.4"}],
        },
        {
            "title": "No tickers",
            "url": "https://h.example/b",
            "time_published": "20240506T133000",
            "summary": "",
            "source": "Harbour Post",
            "topics": [],
            "ticker_sentiment": [],
        },
    ],
    "stocktwits": [
        {
            "id": 7,
            "body": "Tarn Steel warns",
            "created_at": "2024-05-06T13:30:00Z",
            "user": {"id": 1, "username": "Harbour Post"},
            "source": {"id": 2, "title": "App"},
            "symbols": [{"id": 3, "symbol": "TRNX", "title": "Tarn"}],
            "entities": {"sentiment": {"basic": "Bearish"}},
        },
    ],
    "gdelt": [
        {
            "url": "https://h.example/a",
            "title": "Tarn Steel warns",
            "seendate": "20240506T133000Z",
            "domain": "Harbour Post",
            "language": "English",
            "sourcecountry": "United States",
        },
    ],
    "eventregistry": [
        {
            "uri": "7",
            "lang": "eng",
            "isDuplicate": False,
            "date": "2024-05-06",
            "time": "13:30:00",
            "dateTime": "2024-05-06T13:35:00Z",
            "dateTimePub": "2024-05-06T13:30:00Z",
            "dataType": "news",
            "title": "Tarn Steel warns",
            "url": "https://h.example/a",
            "body": "Weak.",
            "source": {"uri": "h.example", "title": "Harbour Post"},
        },
    ],
    "edgar": [
        {
            "accessionNo": "0000000001-24-000001",
            "ticker": "TRNX",
            "companyName": "Tarn Steel",
            "formType": "8-K",
            "description": "warns",
            "filedAt": "2024-05-06T09:30:00-04:00",
            "linkToFilingDetails": "https://h.example/a",
        },
    ],
}
NO_TICKERS, NO_BODY, NO_SOURCE = {"newsapi", "gdelt", "eventregistry"}, {"stocktwits", "gdelt", "edgar"}, {"edgar"}


def stories(path: Path, name: str) -> list[Story]:
    zone = PRESETS[name].zone
    rules = ParseSettings(mapping=dict(PRESETS[name].mapping), assume_zone=zone).rules()
    found = [item for item, _ in FileFeed(path, rules=rules).read()]
    assert all(isinstance(item, Story) for item in found), found
    return [item for item in found if isinstance(item, Story)]


def test_every_preset_has_a_sample() -> None:
    assert set(SAMPLES) == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_preset_reads_its_service(tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / f"feed.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in SAMPLES[name]))
    else:  # as pandas writes it: objects and lists as Python shows them
        out = io.StringIO()
        rows = csv.DictWriter(out, SAMPLES[name][0])
        rows.writeheader()
        rows.writerows(SAMPLES[name])
        path.write_text(out.getvalue())
    item = stories(path, name)[0]
    assert item.title == ("Tarn Steel 8-K warns" if name == "edgar" else "Tarn Steel warns")
    assert item.published_at == 1_715_002_200_000_000
    assert item.body == ("" if name in NO_BODY else "Weak.")
    assert item.source == ("" if name in NO_SOURCE else "Harbour Post")
    assert item.url == ("" if name == "stocktwits" else "https://h.example/a")
    assert item.tickers == (() if name in NO_TICKERS else ("TRNX", "BWPX") if name == "finnhub" else ("TRNX",))
    assert item.language == "en"
    assert item.topics == (("Earnings",) if name == "alphavantage" else ())


@pytest.mark.parametrize("name", PRESETS)
def test_check_recognises_a_service(tmp_path: Path, name: str) -> None:
    assert [recognised(record) for record in SAMPLES[name]] == [name] * len(SAMPLES[name])
    path = tmp_path / "feed.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in SAMPLES[name]))
    report = check(path, ParseRules())
    assert (report.preset, report.stories, report.dead_letters) == (name, len(SAMPLES[name]), {})
    assert report.command is not None
    assert shlex.split(report.command)[3:] == ["--as", name]
    assert f"--as {name}" in " ".join(report.advice)


def test_a_map_adds_to_a_preset() -> None:
    assert options_mapping("body=content", "newsapi") == {**PRESETS["newsapi"].mapping, "body": "content"}


def test_a_preset_is_found_however_it_is_written() -> None:
    assert preset("Alpha Vantage") is preset("alpha_vantage") is PRESETS["alphavantage"]
    with pytest.raises(BadMapping, match="Did you mean polygon"):
        preset("polygn")
