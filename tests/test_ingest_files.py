"""Feed files: all formats give the same stories, reading can resume at any offset, and damage is reported."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock.ingest import formats
from foreshock.ingest.columns import suggest_map
from foreshock.ingest.errors import FileChanged, MissingColumns, MissingFile, UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.files import FileFeed
from foreshock.ingest.growing import GrowingFile
from foreshock.ingest.memory import MemoryFeed
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.settings import ParseSettings
from foreshock.ingest.story import DeadLetter, Story
from foreshock.ingest.streams import Lines

RULES = ParseRules()
COLUMNS = ("title", "published_at", "source", "body", "tickers")
ROWS = [
    {"title": f'Acme, "up" {i}\nagain', "published_at": f"2020-03-{i % 28 + 1:02d}T12:00:00Z", "source": "wire",
     "body": "" if i % 3 else "é|;\t", "tickers": "A|B"}
    for i in range(30)
]  # fmt: skip


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def table(rows: list[dict[str, Any]], delimiter: str = ",", columns: tuple[str, ...] = COLUMNS) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, row_group_size=7)
    return buffer.getvalue()


def feed(tmp_path: Path, data: bytes, name: str = "feed.jsonl", rules: ParseRules = RULES, **options: Any) -> FileFeed:
    path = tmp_path / name
    path.write_bytes(data)
    return FileFeed(path, rules=rules, **options)


def items(source: FileFeed, **position: Any) -> list[Story | DeadLetter]:
    return [item for item, _ in source.read(**position)]


def without_partition(found: list[Story | DeadLetter]) -> list[tuple[Any, ...]]:
    return [
        (i.offset, i.id, i.title, i.body, i.published_at, i.source, i.tickers) for i in found if isinstance(i, Story)
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("feed.jsonl.gz", gzip.compress(lines(ROWS))),
        ("feed.jsonl.zst", zstandard.compress(lines(ROWS))),
        ("two.members.gz", gzip.compress(lines(ROWS[:10])) + gzip.compress(lines(ROWS[10:]))),
        ("two.members.zst", zstandard.compress(lines(ROWS[:10])) + zstandard.compress(lines(ROWS[10:]))),
        ("bom.jsonl", b"\xef\xbb\xbf" + lines(ROWS)),
        ("blank-lines.ndjson", lines(ROWS[:10]) + b"\n  \n\r\n" + lines(ROWS[10:])),
        ("windows.jsonl", lines(ROWS).replace(b"\n", b"\r\n")),
        ("no-newline-at-the-end.jsonl", lines(ROWS)[:-1]),
        ("no-suffix", lines(ROWS)),
        ("feed.csv", table(ROWS)),
        ("feed.csv.gz", gzip.compress(table(ROWS))),
        ("feed.csv.zst", zstandard.compress(table(ROWS))),
        ("bom.csv", b"\xef\xbb\xbf" + table(ROWS)),
        ("semicolons.csv", table(ROWS, ";")),
        ("tabs.tsv", table(ROWS, "\t")),
        ("empty-rows.csv", table(ROWS) + b"\r\n,,,,\r\n"),
        ("feed.parquet", parquet(ROWS)),
    ],
)
def test_all_formats_give_the_same_stories(tmp_path: Path, name: str, written: bytes) -> None:
    expected = without_partition(items(feed(tmp_path, lines(ROWS), "expected.jsonl")))
    assert len(expected) == len(ROWS)
    source = feed(tmp_path, written, name)
    assert source.partition == name
    assert source.progress() == 0
    assert without_partition(items(source)) == expected
    assert source.progress() == 1


@pytest.mark.parametrize("write", [lines, table, parquet])
@pytest.mark.parametrize("sort", [False, True])
def test_reading_on_from_any_offset_gives_the_same_tail(
    tmp_path: Path, write: Callable[[list[dict[str, Any]]], bytes], sort: bool
) -> None:
    name = {"lines": "f.jsonl", "table": "f.csv", "parquet": "f.parquet"}[write.__name__]
    source = feed(tmp_path, write(ROWS), name, sort=sort)
    whole = list(source.read())
    # Each reading of a Parquet file starts a process: the ends, a border between groups of 7 rows, and other borders.
    some = (0, 1, 6, 7, 8, 14, len(ROWS) - 1, len(ROWS))
    for start in some if write is parquet else range(len(ROWS) + 1):
        last = whole[start - 1][1] if start else None
        assert list(source.read(start, last)) == whole[start:]


def test_a_file_that_grew_goes_on(tmp_path: Path) -> None:
    for name, write in (("f.jsonl", lines), ("f.csv", table)):
        # Its last line had no end yet; now it has.
        before = list(feed(tmp_path, write(ROWS[:9]).rstrip(b"\r\n"), name).read())
        assert items(feed(tmp_path, write(ROWS), name), start=9, last_hash=before[-1][1]) == items(
            feed(tmp_path, write(ROWS), name)
        )[9:]  # fmt: skip


def test_a_file_whose_read_part_changed_is_an_error(tmp_path: Path) -> None:
    last = list(feed(tmp_path, lines(ROWS[:9])).read())[-1][1]
    with pytest.raises(FileChanged, match=r"record 8 is not what it was"):
        items(feed(tmp_path, lines(ROWS[1:])), start=9, last_hash=last)
    with pytest.raises(FileChanged, match="9 records had been read, now it has 5"):
        items(feed(tmp_path, lines(ROWS[:5])), start=9, last_hash=last)


times = st.one_of(st.integers(10**9, 10**9 + 20), st.just("never"))


@given(st.lists(times, max_size=30), st.sampled_from([1, 1000, 1 << 20]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_a_sorted_file_is_in_order_of_time_then_number(tmp_path: Path, written: list[Any], run_bytes: int) -> None:
    rows = [{"title": str(i), "published_at": time} for i, time in enumerate(written)]
    plain = items(feed(tmp_path, lines(rows)))
    keyed, time = [], -1
    for number, item in enumerate(plain):
        time = item.published_at if isinstance(item, Story) else time  # a dead letter: that of the record before
        keyed.append((time, number))
    in_order = items(feed(tmp_path, lines(rows), sort=True, run_bytes=run_bytes))
    assert [item.offset for item in in_order] == list(range(len(rows)))
    titles = [item.title if isinstance(item, Story) else orjson.loads(item.raw)["title"] for item in in_order]
    assert titles == [str(number) for _, number in sorted(keyed)]
    for item in in_order:  # the number that `check` gives, and not the place in the sorted order
        if isinstance(item, DeadLetter):
            title = orjson.loads(item.raw)["title"]
            assert item.detail.endswith(f" It is record {title} of the file, which is read sorted.")


def test_a_truncated_file_gives_the_whole_records_before_it_breaks_off(tmp_path: Path) -> None:
    packed = gzip.compress(lines(ROWS))
    for name, data, count in (("a.gz", packed[:-4], 30), ("b.gz", packed[: len(packed) // 2], None)):
        source = feed(tmp_path, data, name)
        got: list[Story | DeadLetter] = []
        with pytest.raises(UnreadableFile, match=f"{name}: is truncated"):
            got.extend(item for item, _ in source.read())
        assert got == items(feed(tmp_path, lines(ROWS), name))[: len(got)]
        assert count is None or len(got) == count
    packed = zstandard.compress(lines(ROWS))
    with pytest.raises(UnreadableFile, match="truncated"):
        items(feed(tmp_path, packed[: len(packed) // 2], "c.zst"))


def test_a_file_that_cannot_be_read_raises_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"nowhere\.csv: no such file"):
        FileFeed(tmp_path / "nowhere.csv", rules=RULES)
    with pytest.raises(UnreadableFile, match="is a folder"):
        FileFeed(tmp_path, rules=RULES)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableFile, match="is a pipe"):
        FileFeed(tmp_path / "pipe", rules=RULES)
    with pytest.raises(UnreadableFile, match="has no header"):
        feed(tmp_path, b"", "empty.csv")
    with pytest.raises(UnreadableFile, match="not Parquet"):
        feed(tmp_path, parquet(ROWS)[:-100], "half.parquet")
    assert items(feed(tmp_path, b"", "empty.jsonl")) == []


def test_an_error_about_missing_columns_names_the_columns_and_a_mapping(tmp_path: Path) -> None:
    with pytest.raises(MissingColumns) as caught:
        feed(tmp_path, b"Headline,Date,Ticker\na,2020-01-01,A\n", "f.csv")
    assert "The file has: Headline, Date, Ticker" in str(caught.value)
    assert "--map title=Headline,published_at=Date,tickers=Ticker" in str(caught.value)
    assert suggest_map(["Titel", "Date"], {"title": "Title"}) == {"title": "Titel", "published_at": "Date"}
    misspelt = {"title": "Headline", "body": "Headlines"}  # of one column
    assert suggest_map(["Headlin", "Date"], misspelt) == {"title": "Headlin", "published_at": "Date"}
    assert suggest_map(["Head,line", "Date"], {"title": "Headline"}) == {"published_at": "Date"}
    rules = ParseSettings(mapping=caught.value.suggestion).rules()
    [item] = items(feed(tmp_path, b"Headline,Date,Ticker\na,2020-01-01,A\n", "f.csv", rules))
    assert isinstance(item, Story)
    assert (item.title, item.tickers) == ("a", ("A",))
    with pytest.raises(MissingColumns, match=r"no column Nope \(for title\)"):
        feed(tmp_path, table(ROWS), "f.csv", ParseRules(mapping={"title": "Nope"}))


def test_a_bad_row_costs_only_itself(tmp_path: Path) -> None:
    data = (
        b"title,published_at\n"
        b"\xff\xfe,2020-01-01\n"
        b"one, comma, too many,2020-01-01\n"
        b"good,2020-01-01\n" + b"x" * 3_000_000 + b",2020-01-01\n"
        b'"' + b"an open quote\n" * 80_000 + b"good again,2020-01-01\n"
    )
    found = items(feed(tmp_path, data, "f.csv"))
    reasons = [item.reason for item in found if isinstance(item, DeadLetter)]
    assert reasons[:3] == ["not_utf8", "bad_csv", "too_large"]
    assert [item.title for item in found if isinstance(item, Story)] == ["good", "good again"]
    first = found[0]
    assert isinstance(first, DeadLetter)
    assert first.raw == b'{"title": "\xff\xfe", "published_at": "2020-01-01"}'
    large, quote = found[3:5]
    assert isinstance(large, DeadLetter)
    assert (large.size, len(large.raw)) == (3_000_011, LIMIT)
    assert isinstance(quote, DeadLetter)
    assert "a quotation mark left open" in quote.detail


@pytest.mark.parametrize("rows", [2, 100_000])
def test_a_table_whose_lines_end_in_cr_alone_is_refused_with_the_remedy(tmp_path: Path, rows: int) -> None:
    with pytest.raises(UnreadableFile, match=r"lines that end in CR alone\. Save it with line ends of LF"):
        feed(tmp_path, b"title,published_at\r" + b"Acme warns,2020-01-01\r" * rows, "f.csv")


def test_json_lines_that_end_in_cr_alone_are_read_whatever_their_number(tmp_path: Path) -> None:
    line = b'{"title": "Acme warns", "published_at": "2020-01-01T00:00:00Z"}\r'
    assert [type(item) for item in items(feed(tmp_path, 2 * line, "f.jsonl"))] == [Story, Story]
    (tmp_path / "g.jsonl").write_bytes(2 * line)
    with pytest.raises(UnreadableFile, match=r"g\.jsonl: has lines that end in CR alone\. Let its writer end each"):
        GrowingFile(tmp_path / "g.jsonl").next()


def test_a_cr_in_a_row_is_text_in_quotation_marks_and_else_costs_the_row(tmp_path: Path) -> None:
    data = b'title,published_at\r\n"one\rtwo",2020-01-01\r\nthree\rfour,2020-01-01\r\n'
    story, letter = items(feed(tmp_path, data, "f.csv"))
    assert isinstance(story, Story)
    assert story.title == "one\rtwo"
    assert isinstance(letter, DeadLetter)
    assert letter.detail == "The row is not CSV: new-line character seen in unquoted field."


def plain(count: int) -> list[str]:
    return [f"title {i},2020-03-{i % 28 + 1:02d},wire" for i in range(count)]


@pytest.mark.parametrize("closed", ["never", "by a quoted title", "by a title that a comma is in"])
def test_an_open_quotation_mark_costs_only_its_row_and_the_error_names_its_line(tmp_path: Path, closed: str) -> None:
    rows = plain(300)
    rows[100] = '"' + rows[100]
    if closed != "never":
        rows[200] = '"title, 200",2020-03-01,wire' if "comma" in closed else '"title 200",2020-03-01,wire'
    source = feed(tmp_path, "\n".join(["title,published_at,source", *rows]).encode(), "f.csv")
    whole = list(source.read())
    letter = whole[100][0]
    assert isinstance(letter, DeadLetter)
    lines = 200 if closed == "never" else 101
    assert (letter.reason, letter.raw) == ("bad_csv", b'"title 100,2020-03-17,wire')
    assert letter.detail == f"The row that begins on line 102 takes {lines} lines: is a quotation mark left open?"
    titles = [item.title for item, _ in whole if isinstance(item, Story)]
    assert titles == [f"title{',' if i == 200 and 'comma' in closed else ''} {i}" for i in range(300) if i != 100]
    for start in (100, 101, 102, 201):
        assert list(source.read(start, whole[start - 1][1])) == whole[start:]


def test_a_long_text_with_line_breaks_and_commas_is_one_cell(tmp_path: Path) -> None:
    text = "\n".join("one" + ", two" * (i % 4) for i in range(500))
    rows = [{"title": "a", "published_at": "2020-03-01", "body": text}, {"title": "b", "published_at": "2020-03-01"}]
    found = items(feed(tmp_path, table(rows, columns=("title", "published_at", "body")), "f.csv"))
    assert [(item.title, item.body) for item in found if isinstance(item, Story)] == [("a", text), ("b", "")]
    (cut,) = items(feed(tmp_path, f'title,published_at,body\na,2020-03-01,"{text}'.encode(), "f.csv"))
    assert isinstance(cut, DeadLetter)
    assert cut.detail == "The row that begins on line 2 takes 500 lines: is a quotation mark left open?"


def test_a_table_inside_a_cell_is_text(tmp_path: Path) -> None:
    text = "This week:\n" + "".join(f"Company {i} Q1,2024-05-{i + 1:02d}T20:30:00Z,call\n" for i in range(30)) + "UTC."
    rows = [{"title": "a", "published_at": "2024-04-30", "body": text}, {"title": "b", "published_at": "2024-05-01"}]
    found = items(feed(tmp_path, table(rows, columns=("title", "published_at", "body")), "f.csv"))
    assert [(item.title, item.body) for item in found if isinstance(item, Story)] == [("a", text), ("b", "")]


def test_an_open_quotation_mark_that_swallows_a_few_rows_is_found(tmp_path: Path) -> None:
    rows = ['"open,2020-03-01,wire', *plain(8), 'last,2020-03-01,"a wire"']
    found = items(feed(tmp_path, "\n".join(["title,published_at,source", *rows]).encode(), "f.csv"))
    assert [item.title for item in found if isinstance(item, Story)] == [*(f"title {i}" for i in range(8)), "last"]
    (letter,) = (item for item in found if isinstance(item, DeadLetter))
    assert letter.detail == "The row that begins on line 2 takes 10 lines: is a quotation mark left open?"


def test_a_file_of_open_quotation_marks_is_read_through_twice_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    class Counted(formats._CsvLines):
        def __next__(self) -> str:
            nonlocal taken
            taken += 1
            return super().__next__()

    monkeypatch.setattr(formats, "_CsvLines", Counted)
    found = items(feed(tmp_path, b"title,published_at\n" + b'x"y,"\n' * 5000, "f.csv"))
    assert {item.reason for item in found if isinstance(item, DeadLetter)} == {"bad_csv"}
    assert len(found) == 5000
    assert taken < 4 * 5000


def test_a_huge_line_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0

    class Watched(Lines):
        def __next__(self) -> tuple[bytes, int, str | None]:
            nonlocal longest
            line = super().__next__()
            longest = max(longest, len(line[0]))
            return line

    monkeypatch.setattr(formats, "Lines", Watched)
    data = lines(ROWS[:1]) + b'{"title": "' + b"x" * 10_000_000 + b'"}\n' + lines(ROWS[1:2])
    first, large, last = items(feed(tmp_path, gzip.compress(data), "f.jsonl.gz"))
    assert isinstance(first, Story)
    assert isinstance(last, Story)
    assert isinstance(large, DeadLetter)
    assert (large.reason, large.size, len(large.raw)) == ("too_large", 10_000_013, LIMIT)
    assert longest == LIMIT


def test_a_record_of_exactly_the_limit_is_read(tmp_path: Path) -> None:
    empty = len(orjson.dumps({"title": "", "published_at": 1_583_064_000}))
    for length, kind in ((LIMIT - empty, Story), (LIMIT - empty + 1, DeadLetter)):
        for end in (b"", b"\n", b"\r\n"):
            [item] = items(feed(tmp_path, orjson.dumps({"title": "x" * length, "published_at": 1_583_064_000}) + end))
            assert isinstance(item, kind)


def test_a_dead_row_can_be_replayed(tmp_path: Path) -> None:
    [letter] = items(feed(tmp_path, b"title,published_at,x\na,2020-01-01T10:00,y\n", "f.csv"))
    assert isinstance(letter, DeadLetter)
    again = MemoryFeed("again", [letter.raw], rules=ParseSettings(assume_zone="UTC").rules())
    [(item, _)] = again.read()
    assert isinstance(item, Story)
    assert (item.title, item.extra, item.partition) == ("a", {"x": "y"}, "again")


def test_a_feed_in_memory_reads_on_like_a_file(tmp_path: Path) -> None:
    raw = lines(ROWS).splitlines()
    in_memory = MemoryFeed("feed.jsonl", raw)
    on_disk = feed(tmp_path, lines(ROWS))
    whole = list(in_memory.read())
    assert whole == list(on_disk.read())
    assert list(in_memory.read(9, whole[8][1])) == whole[9:]
    with pytest.raises(FileChanged):
        list(in_memory.read(9, whole[7][1]))
    with pytest.raises(FileChanged):
        list(in_memory.read(31))


def test_a_time_that_no_calendar_has_is_not_another_time_in_parquet(tmp_path: Path) -> None:
    far = 1_700_000_000_000 + 2**64 * 125 // 1_000  # in microseconds it would overflow to a day of 2023
    times = pa.array([far, 1_700_000_000_000], pa.timestamp("ms", "UTC"))
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"title": ["far", "near"], "published_at": times}), path)
    letter, story = items(FileFeed(path, rules=RULES))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "date_out_of_range"
    assert isinstance(story, Story)


def test_parquet_times_days_lists_and_nan_are_read_as_json_would_be(tmp_path: Path) -> None:
    data = pa.table(
        {
            "title": ["a", "b"],
            "published_at": pa.array(
                [1583064000123456789, 1583064000000000000], pa.timestamp("ns", "America/New_York")
            ),
            "topics": [["Banks"], None],
            "day": pa.array([18322, None], pa.date32()),
            "ratio": [float("nan"), 0.5],
        }
    )
    pq.write_table(data, tmp_path / "f.parquet")
    one, two = items(FileFeed(tmp_path / "f.parquet", rules=RULES))
    assert isinstance(one, Story)
    assert isinstance(two, Story)
    assert (one.published_at, one.topics, one.extra) == (1_583_064_000_123_456, ("Banks",), {"day": "2020-03-01"})
    assert two.extra == {"ratio": 0.5}
    naive = data.set_column(1, "published_at", pa.array([0, 2**62], pa.timestamp("us")))
    pq.write_table(naive, tmp_path / "g.parquet")
    reasons = [
        item.reason for item in items(FileFeed(tmp_path / "g.parquet", rules=RULES)) if isinstance(item, DeadLetter)
    ]
    assert reasons == ["date_without_zone", "date_out_of_range"]


@given(st.binary(max_size=400), st.sampled_from(["f.jsonl", "f.csv", "f"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_gives_stories_and_dead_letters_or_a_clear_error(tmp_path: Path, data: bytes, name: str) -> None:
    header = b"title,published_at\n" if name.endswith("csv") else b""
    try:
        found = list(feed(tmp_path, header + data, name).read())
    except (UnreadableFile, MissingColumns):
        return
    assert [item.offset for item, _ in found] == list(range(len(found)))


def test_a_real_newswire_is_read_whole() -> None:
    path = Path(__file__).parent.parent.parent / "shared" / "data" / "streams" / "cnbc_2020.jsonl.gz"
    if not path.exists():
        pytest.skip("needs ../shared")
    found = items(FileFeed(path, rules=RULES))
    assert len(found) == 320
    assert all(isinstance(item, Story) for item in found)
    raw = gzip.decompress(path.read_bytes()).splitlines()[5]
    assert found[5] == parse(raw, path.name, 5, RULES)
    assert json.loads(raw)["title"].strip() == found[5].title  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"\x89PNG\r\n\x1a\n" + bytes(50), r"a\.csv: is a picture \(PNG\)"),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(50), r"a\.jsonl: is a picture"),
        ("a.csv", b"PAR1\x15\x04" + bytes(50), r"is Parquet\. Give it a name that ends in \.parquet"),
        ("a.csv.gz", gzip.compress(b"%PDF-1.7\n", mtime=0), "is a PDF document"),
        ("a.csv", b"SQLite format 3\0" + bytes(50), "is a SQLite database"),
        ("a.csv", b"<!DOCTYPE html>\n<html>", "is a web page"),
        ("a.jsonl", b"<!DOCTYPE html>\n<html>", "is a web page"),
        ("a.csv", b'<?xml version="1.0"?>\n<rss>', r"is XML, .*foreshock feeds try"),
        ("a.json", b"\n<rss version='2.0'>", "is XML"),
        ("a.csv", struct.pack("<100i", *range(100)), "is a binary file and not CSV"),
    ],
    ids=["png", "png-jsonl", "parquet", "pdf-gz", "sqlite", "html", "html-jsonl", "rss", "rss-json", "binary"],
)
def test_a_file_of_another_kind_is_refused_and_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(UnreadableFile, match=said):
        feed(tmp_path, data, name)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_text_in_utf_16_is_no_binary_file(tmp_path: Path, encoding: str) -> None:
    text = table(ROWS).decode()
    assert len(items(feed(tmp_path, ("\ufeff" + text).encode(encoding), "f.csv"))) == len(ROWS)
    with pytest.raises(UnreadableFile, match=f"--encoding {encoding}"):
        feed(tmp_path, text.encode(encoding), "f.csv")
    rules = ParseRules(encoding=encoding)
    assert len(items(feed(tmp_path, text.encode(encoding), "f.csv", rules))) == len(ROWS)
    with pytest.raises(UnreadableFile, match=r"Give --encoding utf-16-le or utf-16-be"):
        items(feed(tmp_path, text.encode(encoding), "f.csv", ParseRules(encoding="utf-16")))


@pytest.mark.parametrize("column", ["PAR1", "ARROW1", "Obj", "BZh", "BZh9", "GIF8", "GIF87", "Rar!", "%PDF-", "a\0b"])
def test_a_column_may_be_named_as_other_files_begin(tmp_path: Path, column: str) -> None:
    data = f"{column},title,published_at\n1,Oil falls,2024-05-01T10:00:00Z\n".encode()
    assert len(items(feed(tmp_path, data, "f.csv"))) == 1


def test_a_workbook_with_another_name_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "book.csv", "w") as book:
        for name in ("[Content_Types].xml", "xl/workbook.xml"):
            book.writestr(name, "<x/>")
    with pytest.raises(UnreadableFile, match=r"book\.csv: is an Excel workbook\. Give it a name that ends in \.xlsx"):
        FileFeed(tmp_path / "book.csv", rules=RULES)
