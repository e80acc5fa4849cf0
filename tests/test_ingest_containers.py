"""Files as people have them: other encodings, archives, workbooks, arrays and replies of JSON, missing headers."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foreshock.analysis.feed_check import check
from foreshock.analysis.score_file import score_file
from foreshock.ingest.errors import MissingColumns, UnreadableFile
from foreshock.ingest.fields import LIMIT
from foreshock.ingest.files import FileFeed
from foreshock.ingest.formats import open_format
from foreshock.ingest.json_documents import JsonDocuments, is_document, records_in
from foreshock.ingest.parsing import ParseRules
from foreshock.ingest.settings import IngestSettings, ParseSettings
from foreshock.ingest.story import Story
from foreshock.settings.load import load

ROWS = [
    {"title": f"Société {n} cuts “costs”", "published_at": f"2024-05-06T13:{n:02}:00Z", "source": "Börse"}
    for n in range(20)
]


def table(encoding: str = "utf-8", delimiter: str = ",", mark: bytes = b"") -> bytes:
    out = io.StringIO()
    rows = csv.DictWriter(out, ROWS[0], delimiter=delimiter)
    rows.writeheader()
    rows.writerows(ROWS)
    return mark + out.getvalue().encode(encoding)


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def titles(path: Path, **settings: Any) -> list[str]:
    found = [item for item, _ in FileFeed(path, rules=ParseSettings(**settings).rules()).read()]
    assert all(isinstance(item, Story) for item in found), found
    return [item.title for item in found if isinstance(item, Story)]


LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
PRETTY = json.dumps(ROWS, indent=2, ensure_ascii=False).encode()
REPLY = {"status": "ok", "totalResults": 20, "next": [1, 2], "articles": ROWS}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("array.json", PRETTY),
        ("one-line.json", orjson.dumps(ROWS)),
        ("array", PRETTY),
        ("mark.json", b"\xef\xbb\xbf" + PRETTY),
        ("array.jsonl", b"[" + LINES.strip().replace(b"\n", b",\n") + b"]"),
        ("reply.json", orjson.dumps(REPLY)),
        ("reply-pretty.json", json.dumps(REPLY, indent=1).encode()),
        ("nested.json", orjson.dumps({"articles": {"results": ROWS}})),
        (
            "pages.jsonl",
            orjson.dumps(REPLY | {"articles": ROWS[:9]}) + b"\n" + orjson.dumps(REPLY | {"articles": ROWS[9:]}),
        ),
        ("arrays.jsonl", orjson.dumps(ROWS[:9]) + b"\n" + orjson.dumps(ROWS[9:]) + b"\n"),
        ("printed.json", b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS)),
        ("zipped.zip", zipped(news__jsonl=LINES)),
        ("zipped.csv.zip", zipped(**{"a/b.csv": table()})),
        ("array.json.zst", zstandard.compress(PRETTY)),
        ("array.zip", zipped(news__json=PRETTY)),
        ("utf16.csv", table("utf-16")),
        ("utf16.jsonl", LINES.decode().encode("utf-16")),
        ("utf32.csv", table("utf-32")),
    ],
)
def test_a_container_gives_the_same_stories(tmp_path: Path, name: str, written: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(written)
    assert titles(path) == [row["title"] for row in ROWS]
    feed = FileFeed(path, rules=ParseRules())
    whole = list(feed.read())
    assert list(feed.read(7, whole[6][1])) == whole[7:]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "mac_roman"])
def test_an_encoding_that_is_named_is_read(tmp_path: Path, encoding: str) -> None:
    text = [row | {"title": row["title"].replace("“", "'").replace("”", "'")} for row in ROWS]
    path = tmp_path / "f.jsonl"
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in text).encode(encoding))
    assert titles(path, encoding=encoding) == [row["title"] for row in text]


@pytest.mark.parametrize("name", ["f.csv", "f.jsonl"])
def test_windows_1252_is_proposed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(table("cp1252") if name == "f.csv" else LINES.decode().encode("cp1252"))
    report = check(path, ParseRules())
    assert (report.encoding, report.stories, report.dead_letters) == ("cp1252", 20, {})
    assert "fit Windows-1252" in " ".join(report.advice)
    assert report.command is not None
    assert "--encoding cp1252" in report.command


def test_a_header_that_is_not_utf8_is_proposed_too(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"title,published_at,K\xfcrzel\nSoci\xe9t\xe9,2024-05-06T13:30:00Z,a\n")
    assert check(path, ParseRules()).encoding == "cp1252"
    with pytest.raises(UnreadableFile, match="--encoding cp1252"):
        FileFeed(path, rules=ParseRules())


def test_another_script_is_not_windows_1252(tmp_path: Path) -> None:
    text = "Сталелитейная компания предупредила о снижении прибыли и акции упали на девять процентов за день"
    path = tmp_path / "f.csv"
    path.write_bytes(b"title,published_at\n" + f"{text},2024-05-06T13:30:00Z\n".encode("cp1251") * 20)
    report = check(path, ParseRules())
    assert report.encoding == "cp1251"
    assert titles(path, encoding=report.encoding)[0] == text


def test_a_file_that_mixes_encodings_is_said(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(LINES + LINES.decode().encode("cp1252"))
    report = check(path, ParseRules())
    assert (report.encoding, report.stories) == (None, 20)
    assert "mixes encodings" in " ".join(report.advice)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="is not an encoding"):
        IngestSettings(encoding="cp12522")
    with pytest.raises(ValueError, match="is not an encoding"):
        IngestSettings(encoding="rot13")


def test_a_zip_holds_one_file(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    path.write_bytes(zipped(a__csv=table(), b__csv=table()))
    with pytest.raises(UnreadableFile, match="holds 2 files"):
        FileFeed(path, rules=ParseRules())
    path.write_bytes(zipped(**{"a.csv": table(), "__MACOSX/._a.csv": b"x"}).replace(b"__MACOSX.", b"__MACOSX/"))
    path.write_bytes(zipped(a__jsonl=LINES * 100)[:-400])
    with pytest.raises(UnreadableFile, match="no zip file"):
        FileFeed(path, rules=ParseRules())


def test_a_zip_that_inflates_like_no_feed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    path.write_bytes(zipped(a__jsonl=b" " * (64 << 20)))
    with pytest.raises(UnreadableFile, match="300-fold"):
        list(open_format(path).records())


def test_a_workbook_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["title", "published_at", "tickers", None])
    sheet.append(["With a time", datetime(2024, 5, 6, 13, 30), "TRNX", "lost"])
    sheet.append([None, None, None])
    sheet.append(["With a day", date(2024, 5, 7), 7203])
    sheet.append(["With text", "2024-05-06T13:30:00Z", None])
    path = tmp_path / "news.xlsx"
    book.save(path)
    assert titles(path, assume_zone="UTC") == ["With a time", "With a day", "With text"]
    assert check(path, ParseRules(zone=UTC)).records == 3
    assert open_format(path).columns == ("title", "published_at", "tickers", "")
    path.write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(UnreadableFile, match="no Excel workbook"):
        open_format(path)


def test_a_number_of_any_size_in_a_workbook_is_a_value(tmp_path: Path) -> None:
    """Excel writes large numbers with an exponent; other programs write all digits."""
    written, path = tmp_path / "written.xlsx", tmp_path / "news.xlsx"
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["title", "published_at", "id"], ["One", "2024-05-06T13:30:00Z", 4711]):
        book.active.append(row)
    book.save(written)
    with zipfile.ZipFile(written) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b">4711<", b">" + b"9" * 30 + b"<"))
    ((item, _),) = FileFeed(path, rules=ParseRules()).read()
    assert isinstance(item, Story)
    assert item.id == "9" * 30


@pytest.mark.parametrize("log", [27, 28, 31])
def test_a_long_window_of_zstd_is_read(tmp_path: Path, log: int) -> None:
    path = tmp_path / "f.jsonl.zst"
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=min(log, 31), enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path.write_bytes(packer.compress(LINES) + packer.flush())
    assert len(titles(path)) == 20


@pytest.mark.parametrize(
    "header",
    [
        "20240506133000-1\t20240506133000\t1\tharbour.example\thttps://harbour.example/a",
        'neutral,"According to Quay , the firm has no plans to move all its production abroad ."',
        "2024-05-06T13:30:00Z,Tarn Steel falls",
        "1,Tarn Steel falls,0.5",
    ],
)
def test_a_header_that_is_missing_is_said(tmp_path: Path, header: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{header}\n" * 5)
    report = check(path, ParseRules())
    assert "first row looks like data, not like a header" in " ".join(report.advice)
    assert report.command is None
    with pytest.raises(MissingColumns, match="first row looks like data"):
        FileFeed(path, rules=ParseRules())


def test_a_short_header_is_a_header(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("Überschrift der Nachricht,Datum 2\na,b\n")
    assert "looks like data" not in " ".join(check(path, ParseRules()).advice)


@pytest.mark.parametrize(
    ("start", "document"),
    [
        (b'{"title": "a"}\n{"title": "b"}', False),
        (b'{"title": "a"}', False),
        (b"{broken\n{}", False),
        (b"[1, 2]\n{}", False),
        (b"[1, 2]", True),
        (b"[\n{}", True),
        (b'[{"title": "a"},\n{}', True),
        (b'{\n  "title": "a"\n}', True),
        (b'{"articles": [{"title": "a"}]}', True),
        (b'{"symbols": [{"symbol": "T"}], "title": "a"}', False),
        (b'{"articles": []}', True),
        (b'{"title": "a"}\r{"title": "b"}\r', True),
        (b'{"title": "a"}\r\n{"title": "b"}', False),
        (b'{"items": [1, 2], "n": 1}', False),
        (b"", False),
        (b"broken", False),
    ],
)
def test_json_is_told_from_json_lines_by_its_start(start: bytes, document: bool) -> None:
    assert is_document(start, whole=True) == document


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), VALUES, min_size=1, max_size=4), max_size=6),
    st.sampled_from([None, 1]),
)
def test_an_array_gives_its_entries(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "f.json"
    path.write_text(json.dumps(entries, indent=indent))
    found = [orjson.loads(record.data) for record in JsonDocuments(path).records()]
    expected: list[Any] = []
    for entry in entries:
        inside = records_in(entry)
        expected += [entry] if inside is None else inside
    assert found == expected


def test_an_array_that_breaks_off_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(PRETTY[: len(PRETTY) // 2])
    records = JsonDocuments(path).records()
    for row in ROWS[:8]:
        assert orjson.loads(next(records).data) == row
    with pytest.raises(UnreadableFile, match="ends in the middle"):
        list(records)


def test_an_entry_that_is_too_large_is_a_dead_letter(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(orjson.dumps([ROWS[0], {"title": "x" * LIMIT}, ROWS[1]]))
    records = list(JsonDocuments(path).records())
    assert [record.flaw is not None for record in records] == [False, True, False]
    assert (len(records[1].data), records[1].size) == (LIMIT, LIMIT + 12)


@pytest.mark.parametrize(
    ("encoding", "delimiter", "mark"),
    [("utf-8", ";", b""), ("utf-8", "\t", b"\xef\xbb\xbf"), ("cp1252", ",", b""), ("utf-16", ";", b"")],
)
def test_score_gives_a_table_back_as_it_came(
    tmp_path: Path, encoding: str, delimiter: str, mark: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.model.scorer.load_scorer", lambda **_: Halves())
    source, target = tmp_path / "f.csv", tmp_path / "out.csv"
    source.write_bytes(table(encoding, delimiter, mark))
    flags = {"ingest.encoding": "cp1252" if encoding == "cp1252" else None}
    scored = score_file(load(None, flags=flags, environ={}).settings, source, target)
    assert (scored.rows, scored.unscored) == (20, 0)
    written = target.read_bytes()
    assert written.startswith(mark)
    rows = list(csv.DictReader(io.StringIO(written.removeprefix(mark).decode(encoding)), delimiter=delimiter))
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    assert rows[0]["negative"] == "0.5"


def test_score_gives_json_back_as_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock.model.scorer.load_scorer", lambda **_: Halves())
    settings = load(None, flags={}, environ={}).settings
    target = tmp_path / "out"
    for name, written in (("a.json", PRETTY), ("b.json", orjson.dumps(REPLY))):
        (tmp_path / name).write_bytes(written)
        score_file(settings, tmp_path / name, target)
        assert [row["title"] for row in json.loads(target.read_bytes())] == [row["title"] for row in ROWS]
    (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + LINES)
    score_file(settings, tmp_path / "c.jsonl", target)
    assert target.read_bytes().startswith(b'\xef\xbb\xbf{"title"')


class Halves:
    def score_stories(self, texts: list[tuple[str, str]]) -> Any:
        import numpy as np

        return np.array([[5000, 0, 5000]] * len(texts))


def foreshock(*words: str, stdin: bytes = b"", **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "foreshock", *words],
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ | more,
    )


@pytest.mark.slow
def test_standard_input_and_folders_are_read(tmp_path: Path) -> None:
    found = foreshock("check", "-", "--json", stdin=LINES)
    report = json.loads(found.stdout)
    assert (found.returncode, report["stories"], report["command"]) == (0, 20, "foreshock replay -")
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.csv").write_bytes(table())
    (tmp_path / "notes.txt").write_text("no feed")
    reports = foreshock("check", str(tmp_path), "--json").stdout.splitlines()
    assert [json.loads(line)["stories"] for line in reports if line.strip()] == [20, 20]
    (tmp_path / "empty").mkdir()
    found = foreshock("check", str(tmp_path / "empty"))
    assert found.returncode == 1
    assert b"without feed files" in found.stderr
