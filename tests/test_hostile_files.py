"""A file of a few kilobytes takes neither gigabytes nor minutes, whatever its format."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from foreshock.ingest import parquet, streams
from foreshock.ingest.containers import FREE, MOST_INFLATED
from foreshock.ingest.errors import UnreadableFile
from foreshock.ingest.formats import open_format

pytestmark = pytest.mark.slow

GIB = 1 << 30
DATES = pa.array(np.arange(1_000) + 1_770_000_000)


def repeated(value: str, count: int) -> Any:
    """A column in which one value is stored, and repeated by a count."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([value]))


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(
        pa.table(columns), path, compression="zstd", dictionary_pagesize_limit=1 << 30, write_statistics=False
    )
    return path


def a_long_text_again_and_again(folder: Path) -> Path:
    return written(folder / "f.parquet", title=repeated("a" * 9_000_000, 1_000), published_at=DATES)


def a_column_that_nobody_reads(folder: Path) -> Path:
    columns = {"title": repeated("a", 1_000), "published_at": DATES, "unused": repeated("b" * 6_300_000, 1_000)}
    return written(folder / "f.parquet", **columns)


def a_page_of_gigabytes(folder: Path) -> Path:
    path = folder / "f.parquet"
    length = 700_000_000
    # Zeros that nobody has written take no memory, unlike a text of Python.
    ends, zeros = np.array([0, length], np.int32), np.zeros(length, np.uint8)
    text = pa.StringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(zeros))
    table = pa.table({"title": text, "published_at": [1_770_000_000]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    return path


def a_list_without_end(folder: Path) -> Path:
    numbers = pa.array(np.zeros(30_000_000, np.int8))
    topics = pa.ListArray.from_arrays(pa.array([0, len(numbers)], pa.int32()), numbers)
    return written(folder / "f.parquet", title=["x"], published_at=[1_770_000_000], topics=topics)


def millions_of_equal_rows(folder: Path) -> Path:
    count = 20_000_000
    dates = pa.array(np.zeros(count, np.int64))
    return written(folder / "f.parquet", title=repeated("a", count), published_at=dates)


def packed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data, 6) if name.endswith("gz") else zstandard.compress(data, 3))
    return path


BOMBS: dict[str, Callable[[Path], Path]] = {
    "parquet, one text a thousand times": a_long_text_again_and_again,
    "parquet, an unused column": a_column_that_nobody_reads,
    "parquet, a page": a_page_of_gigabytes,
    "parquet, a list": a_list_without_end,
    "parquet, equal rows": millions_of_equal_rows,
    "zst of newlines": lambda folder: packed(folder, "f.jsonl.zst", b"\n" * 100_000_000),
    "gz of newlines": lambda folder: packed(folder, "f.jsonl.gz", b"\r\n" * 50_000_000),
    "zst of blanks": lambda folder: packed(folder, "f.jsonl.zst", (b" " * 999 + b"\n") * 200_000),
    "zst of empty objects": lambda folder: packed(folder, "f.jsonl.zst", b"{}\n" * 60_000_000),
    "zst of one line": lambda folder: packed(folder, "f.jsonl.zst", b"a" * 300_000_000),
    "gz of empty rows": lambda folder: packed(folder, "f.csv.gz", b"title,published_at\n" + b",\n" * 40_000_000),
    "zst of open quotes": lambda folder: packed(folder, "f.csv.zst", b'title,published_at\n"' + b"a\n" * 40_000_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_takes_neither_gigabytes_nor_minutes(tmp_path: Path, bomb: str) -> None:
    """`check` reads it to its end, or says at which record it stopped and why."""
    path = BOMBS[bomb](tmp_path)
    assert path.stat().st_size < 1_500_000
    code = (
        "import resource, subprocess, sys\n"
        "code = subprocess.call([sys.executable, '-m', 'foreshock', 'check', sys.argv[1]])\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print('USED', used.ru_maxrss * 1024, used.ru_utime + used.ru_stime, code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=280, check=False
    )
    memory, cpu, code_ = done.stdout.rpartition("USED ")[2].split()
    assert int(code_) in {0, 1}, done.stderr[-2_000:]
    assert "Traceback" not in done.stderr
    assert ("BROKEN" in done.stdout) or ("foreshock: " in done.stderr)
    assert int(memory) < parquet.MEMORY + GIB // 2
    assert float(cpu) < 60


def test_blank_lines_are_bounded_in_a_file_that_is_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BLANK_LINES", 100)
    path = tmp_path / "f.jsonl"
    line = json.dumps({"title": "x", "published_at": 1_770_000_000}).encode() + b"\n"
    path.write_bytes((line + b"\n" * 100) * 5)
    assert len(list(open_format(path).records())) == 5, "what stands between records is not added up"
    path.write_bytes(line + b"\n" * 101 + line)
    with pytest.raises(UnreadableFile, match="more than 100 blank lines"):
        list(open_format(path).records())


@pytest.mark.parametrize("name", ["f.jsonl.gz", "f.jsonl.zst"])
def test_what_inflates_as_news_does_is_read_whatever_its_size(tmp_path: Path, name: str) -> None:
    """Lines of which each is a copy of the one before, but for a number, inflate 50-fold: far below the limit."""
    lines = [json.dumps({"id": f"{n}", "title": f"Story {n} of the day", "published_at": n}) for n in range(400_000)]
    path = packed(tmp_path, name, "\n".join(lines).encode()) if name.endswith("gz") else tmp_path / name
    if name.endswith("zst"):
        path.write_bytes(zstandard.compress("\n".join(lines).encode(), 3))
    size = sum(len(line) for line in lines)
    assert size > FREE
    assert size < MOST_INFLATED * path.stat().st_size
    assert sum(1 for _ in open_format(path).records()) == len(lines)


def test_a_record_of_seventy_thousand_keys_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    with path.open("w") as out:
        for n in range(12):
            keys = {f"{n}k{i}": 1 for i in range(69_000)}
            out.write(json.dumps({**keys, "title": f"Story {n}", "published_at": 1_770_000_000 + n}) + "\n")
    from foreshock.analysis.feed_check import check
    from foreshock.ingest.parsing import ParseRules

    began = time.process_time()
    report = check(path, ParseRules())
    assert time.process_time() - began < 20
    assert (report.records, report.stories, report.missing) == (12, 12, ())
    assert len(report.columns) < 3_000
    assert len(report.text()) < 1_000_000


def test_rows_that_fit_are_read_beside_one_that_does_not(tmp_path: Path) -> None:
    titles = [f"Story {n}" for n in range(50)]
    titles[7] = "a" * 3_000_000
    path = written(tmp_path / "f.parquet", title=titles, published_at=list(range(50)))
    found = list(open_format(path).records())
    assert [record.flaw[0] for record in found if record.flaw] == ["too_large"]
    assert [json.loads(record.data)["published_at"] for record in found if not record.flaw] == [
        *range(7), *range(8, 50)
    ]  # fmt: skip


def test_a_reader_that_stops_early_ends_the_process_that_decodes(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", title=[f"{n}" for n in range(50_000)], published_at=list(range(50_000)))
    format_ = open_format(path)
    records = format_.records()
    assert next(records).size > 0
    records.close()  # type: ignore[attr-defined]
    assert format_.progress() > 0
    assert sum(1 for _ in format_.records()) == 50_000


def test_a_damaged_page_is_an_error_that_names_the_record(tmp_path: Path) -> None:
    path = written(tmp_path / "f.parquet", title=[f"{n}" for n in range(5_000)], published_at=list(range(5_000)))
    data = bytearray(path.read_bytes())
    data[100:4_000] = b"\xff" * 3_900
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"damaged"):
        list(open_format(path).records())
