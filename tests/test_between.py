"""`replay --from --to`: a part of a file is what a file of only these records would be."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rows import Rows, all_rows
from sqlalchemy import select
from typer.testing import CliRunner

from foreshock.cli.app import app
from foreshock.ingest.between import Between
from foreshock.ingest.files import FileFeed
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.errors import LateFile
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, reading
from foreshock.processes.batches import BatchSize
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings

START = 1_770_000_000
SECOND = 1_000_000
times = st.integers(0, 40)
"""Event times, in minutes after `START`."""
minutes_or_none = st.lists(st.one_of(times, times, times, st.none()), max_size=25)
"""A file: the event time of each record; None for a record that cannot be read."""


def write(path: Path, minutes: Sequence[int | None]) -> Path:
    lines = [
        json.dumps({"id": f"s{place}", "title": f"Story {place}", "published_at": START + 60 * minute, "topics": ["T"]})
        if minute is not None
        else f'{{"title": "Record {place} without a date"}}'
        for place, minute in enumerate(minutes)
    ]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def ranges(first: int | None, last: int | None) -> Between:
    at = [None if minute is None else (START + 60 * minute) * SECOND for minute in (first, last)]
    return Between(*at)


def expected(minutes: list[int | None], first: int | None, last: int | None) -> list[int]:
    """Return the numbers of the records of a part, from its definition."""
    found = []
    for place in range(len(minutes)):
        before = [m for m in minutes[: place + 1] if m is not None]
        if not before:
            inside = first is None
        else:
            inside = (first is None or before[-1] >= first) and (last is None or before[-1] < last)
        if inside:
            found.append(place)
    return found


@given(minutes_or_none, st.one_of(st.none(), times), st.one_of(st.none(), times), st.integers(0, 30))
@examples(max_examples=150)
def test_a_part_has_the_records_that_lie_within_it_from_wherever_reading_goes_on(
    minutes: list[int | None], first: int | None, last: int | None, stopped: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "f.jsonl", minutes)
        feed = FileFeed(path, rules=ParseRules(), between=ranges(first, last))
        whole = list(feed.read())
        assert [item.offset for item, _ in whole] == expected(minutes, first, last)
        assert {item.partition for item, _ in whole} <= {feed.partition}
        assert [item for _, item in feed.raw()] == [item for item, _ in whole]
        taken = whole[:stopped]
        if taken:
            item, digest = taken[-1]
            taken += list(feed.read(item.offset + 1, digest))
        else:
            taken = list(feed.read())
        assert taken == whole


@given(minutes_or_none, st.one_of(st.none(), times), st.one_of(st.none(), times))
@examples(max_examples=60)
def test_a_sorted_part_is_a_part_of_the_sorted_file(
    minutes: list[int | None], first: int | None, last: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, between = write(Path(folder) / "f.jsonl", minutes), ranges(first, last)
        whole = [item for item, _ in FileFeed(path, rules=ParseRules(), sort=True).read()]
        part = [item for item, _ in FileFeed(path, rules=ParseRules(), sort=True, between=between).read()]
        assert [item.offset for item in part if isinstance(item, Story)] == [
            item.offset for item in whole if isinstance(item, Story) and item.published_at in between
        ]


def test_a_range_is_named_by_its_ends_and_holds_its_start_but_not_its_end() -> None:
    between = ranges(0, 5)
    assert str(between) == "from 2026-02-02T02:40:00Z to 2026-02-02T02:45:00Z"
    assert str(ranges(None, 5)) == "to 2026-02-02T02:45:00Z"
    assert START * SECOND in between
    assert (START + 300) * SECOND - 1 in between
    assert (START + 300) * SECOND not in between
    assert START * SECOND - 1 not in between


def without_places(rows: Rows, places: list[int] | None = None) -> dict[str, Any]:
    """Return rows with records numbered as in a file of only these, and without the names of files and hashes."""
    text = json.dumps({name: [list(map(str, row)) for row in found] for name, found in rows.items() if found})
    stories: dict[str, Any] = json.loads(text)
    for name in ("partitions",):
        stories.pop(name, None)
    numbered = None if places is None else {str(old): str(new) for new, old in enumerate(places)}
    tables = {table.name: [c.name for c in table.columns if c.name not in schema.HAPPENED_TO_US] for table in TABLES}
    for name, found in stories.items():
        columns = tables[name]
        for row in found:
            for place, column in enumerate(columns):
                if column.endswith("partition") and row[place] != "None":
                    row[place] = "file"
                if column.endswith("offset") and numbered is not None and row[place] != "None":
                    row[place] = numbered[row[place]]
    return {name: sorted(found) for name, found in stories.items()}


TABLES = schema.metadata.sorted_tables


@given(minutes_or_none, st.one_of(st.none(), times), st.one_of(st.none(), times), st.integers(1, 9))
@examples(max_examples=25)
def test_the_rows_of_a_part_are_those_of_a_file_of_only_these_records(
    tmp_path_factory: pytest.TempPathFactory,
    quick_scorer: Any,
    minutes: list[int | None],
    first: int | None,
    last: int | None,
    batch: int,
) -> None:
    folder = tmp_path_factory.mktemp("part")
    path, places = write(folder / "whole.jsonl", minutes), expected(minutes, first, last)
    lines = path.read_text().splitlines(keepends=True)
    cut = folder / "cut.jsonl"
    cut.write_text("".join(lines[place] for place in places))
    part, own = (Settings(store=StoreSettings(url=f"sqlite:///{folder / name}.db")) for name in ("part", "own"))
    size = BatchSize(records=batch)
    of_part = replay(part, [path], between=ranges(first, last), scorer=quick_scorer, batch_size=size)
    of_own = replay(own, [cut], scorer=quick_scorer)
    assert of_part.counts == of_own.counts
    assert without_places(all_rows(part.store.url), places) == without_places(all_rows(own.store.url))


@given(st.lists(times, min_size=1, max_size=30), st.integers(0, 8))
@examples(max_examples=15)
def test_parts_that_follow_each_other_give_the_series_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, quick_scorer: Any, minutes: list[int], buckets: int
) -> None:
    """In a file in order of time, cut at the end of a bucket."""
    folder = tmp_path_factory.mktemp("parts")
    path, cut = write(folder / "f.jsonl", sorted(minutes)), 5 * buckets
    parts, whole = (Settings(store=StoreSettings(url=f"sqlite:///{folder / name}.db")) for name in ("parts", "whole"))
    for between in (ranges(None, cut), ranges(cut, None)):
        replay(parts, [path], between=between, scorer=quick_scorer)
    replay(whole, [path], scorer=quick_scorer)
    assert all_rows(parts.store.url)["buckets"] == all_rows(whole.store.url)["buckets"]


def test_a_part_is_a_source_of_its_own_and_read_once(tmp_path: Path, quick_scorer: Any) -> None:
    path = write(tmp_path / "f.jsonl", [0, 10, 20, 30])
    settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path / 'store.db'}"))
    late, early = ranges(10, 30), ranges(None, 10)
    first = replay(settings, [path], between=late, scorer=quick_scorer)
    again = replay(settings, [path], between=late, scorer=quick_scorer)
    assert first.counts == again.counts
    assert first.counts["stories"] == 2
    with pytest.raises(LateFile, match=f"f.jsonl {early} lie before"):
        replay(settings, [path], between=early, scorer=quick_scorer)
    engine = connect(settings.store.url, create=False)
    with reading(engine) as connection:
        names = list(connection.execute(select(schema.partitions.c.partition)).scalars())
    engine.dispose()
    assert names == [f"f.jsonl {late}"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["replay", *arguments])


def scored(path: Path) -> Path:
    """A file with a story a day from 2024-01-01 on: a date without a time, and scores."""
    scores = {"negative": 0.1, "neutral": 0.2, "positive": 0.7}
    rows = [{"title": f"Day {day}", "published_at": f"2024-01-{day:02}", "scores": scores} for day in range(1, 11)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_command_reads_a_range_of_days(tmp_path: Path) -> None:
    file, store = str(scored(tmp_path / "days.jsonl")), str(tmp_path / "store.db")
    found = run(file, "--store", store, "--from", "2024-01-03", "--to", "2024-01-06", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["stories"] == 3


def test_a_range_without_stories_says_so(tmp_path: Path) -> None:
    file, store = str(scored(tmp_path / "days.jsonl")), str(tmp_path / "store.db")
    found = run(file, "--store", store, "--from", "2025-01-01", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["stories"] == 0
    assert "No story is dated from 2025-01-01T00:00:00Z." in found.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "May"], "--from"),
        (["--to", "2024-13-01"], "--to"),
        (["--from", "2024-01-06", "--to", "2024-01-06"], "is not after"),
        (["--from", "2024-01-06", "--to", "2024-01-03"], "is not after"),
    ],
)
def test_a_range_that_is_none_is_bad_usage(tmp_path: Path, arguments: list[str], said: str) -> None:
    store = tmp_path / "store.db"
    found = run(str(scored(tmp_path / "days.jsonl")), "--store", str(store), *arguments)
    assert found.exit_code == 2
    assert said in found.stderr
    assert not store.exists()


def test_a_dead_letter_goes_with_the_story_before_it() -> None:
    inside, outside = (Story("f", 0, "a", at, "A") for at in (5, 50))
    dead = DeadLetter("f", 0, "bad_json", "", b"", 0)
    items: list[Story | DeadLetter] = [dead, outside, dead, inside, dead, dead, outside, dead]
    between = Between(0, 10)
    assert list(between.within(items, lambda item: item, first=True)) == [inside, dead, dead]
    assert list(between.within(items, lambda item: item, first=False)) == [dead, inside, dead, dead]
    assert list(Between(None, 10).within(items, lambda item: item, first=True)) == [dead, inside, dead, dead]
