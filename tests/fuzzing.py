"""Feed damaged bytes to everything that reads from outside: records, their fields, RSS, settings and feed files.

    python tests/fuzzing.py                                   # each target for 15 s, seed 18
    python tests/fuzzing.py --seconds 3600 --seed 7           # what `make fuzz` does, with a seed of its own
    python tests/fuzzing.py --target rss --seed 7 --case 4711 # one case again

A case is a function of (target, seed, number) alone: the number of cases depends on the machine, what a case is does
not. Each takes a valid input, damages it a few times, and reads it. Invariant: the reader returns, or raises one of its
own errors; it takes less than `SLOWEST_SECONDS` of processor time; and the same bytes give the same result again, which
one case of `AGAIN` tries.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 18
SLOWEST_SECONDS = 10.0
"""Of processor time, for one case: far more than any takes, so that a busy machine fails none."""
AGAIN = 4
"""One case of so many is read twice."""
MOST_MEMORY = 2 * 2**30
"""Bytes by which one target may let the process grow."""
LARGEST = 200_000
"""Bytes of an input: limits on larger ones have tests of their own."""

Read = Callable[[bytes, Path], Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed: valid inputs, how one is read, and what a reader may raise."""

    corpus: tuple[bytes, ...]
    read: Read
    raises: tuple[type[Exception], ...]


class Failed(Exception):
    """A case broke the invariant. The text has the command that runs it again."""


STORY = {
    "id": "a-1",
    "title": "Bank falls after results",
    "body": "Shares of the bank fell 12 %.",
    "source": "Wire",
    "url": "https://wire.example/a-1",
    "published_at": "2026-03-02T10:00:00+01:00",
    "topics": ["banks", "Weftware"],
    "tickers": "WEFT|BNK",
    "language": "en",
    "scores": {"negative": 0.7, "neutral": 0.2, "positive": 0.1},
    "extra": {"deep": [1, 2.5, None, True, {"x": "y"}]},
}
RSS = b"""<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>
<title>Wire</title><link>https://wire.example/</link><language>en</language>
<item><title>Bank &amp; sons fall</title><link>https://wire.example/1</link><guid>1</guid>
<pubDate>Mon, 02 Mar 2026 10:00:00 GMT</pubDate><description><![CDATA[<p>Shares <b>fell</b></p>]]></description></item>
<item><title>Oil rises</title><link>https://wire.example/2</link><dc:date>2026-03-02T11:00:00Z</dc:date></item>
</channel></rss>"""
ATOM = b"""<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Wire</title><id>urn:w</id>
<updated>2026-03-02T10:00:00Z</updated><entry><title type="html">Bank &lt;i&gt;falls&lt;/i&gt;</title><id>urn:1</id>
<link href="https://wire.example/1"/><updated>2026-03-02T10:00:00Z</updated><summary>Fell</summary></entry></feed>"""
SETTINGS = b"""[store]
url = "postgresql://me:secret@db:5432/news?sslmode=require"
[time]
bucket = "5m"
lateness = 120
assume_zone = { Reuters = "Europe/London" }
[alerts]
false_alarms = "1 per week"
shares = { bad_news = 0.7, better = 0.1, volume = 0.1, silence = 0.1 }
[kafka]
bootstrap_servers = "one:9092,two:9092"
topic = "news"
[dashboard]
external_url = "https://desk.example"
allowed_hosts = ["10.0.0.5", "desk.example"]
[[feeds]]
rss = "https://wire.example/rss?format=rss"
every = "2m"
[[topics]]
name = "banks"
names = ["Deutsche Bank", "UBS"]
tickers = ["DBK"]
exclude = ["river bank"]
[[webhooks]]
name = "desk"
url = "https://hooks.example/x"
secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
[[messages]]
name = "chat"
apprise_url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"
"""
PIECES = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"\xc2\x85",
        b"\x1d",
        b"\r",
        b"\n",
        b"\\u0000",
        b"\\ud800",
    ),
    *(b'"', b'""', b"'", b"{", b"}", b"[", b"]" * 50, b"[" * 2_000, b'{"a":' * 500, b",", b";", b"|", b"\t"),
    *(b"1e999", b"-1", b"NaN", b"9" * 400, b"1e6", b"0x10", b"null", b"true", b"1700000000", b"9999-12-31T23:59:59Z"),
    *(
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"<!DOCTYPE x [",
        b"&#0;",
        b"&#x110000;",
        b"&nbsp;",
        b"<x " + b"a='1' " * 200 + b">",
    ),
    *(b"<item>" * 200, b"=", b"[[topics]]\n", b"[store]\n", b"\xef\xbb\xbf", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"),
    *(b"$" * 2_000, b"$'", b"1e306", b"\\x00", b"0000-00-00T00:00:00Z"),
)


def damaged(data: bytes, drawn: random.Random, others: tuple[bytes, ...]) -> bytes:
    """Damage an input in one to eight places."""
    text = bytearray(data)
    for _ in range(drawn.randint(1, 8)):
        here = drawn.randint(0, len(text))
        there = min(len(text), here + drawn.choice((0, 1, 2, 8, 64, 1_000)))
        match drawn.randrange(7):
            case 0:
                text[here:there] = b""
            case 1:
                text[here:here] = drawn.choice(PIECES)
            case 2 if here < len(text):
                text[here] ^= 1 << drawn.randrange(8)
            case 3:
                text[here:there] = text[here:there] * drawn.choice((2, 3, 50))
            case 4:
                other = drawn.choice(others)
                start = drawn.randint(0, len(other))
                text[here:here] = other[start : start + drawn.choice((1, 10, 200))]
            case 5:
                text[here:there] = drawn.randbytes(there - here)
            case _:
                text[here:there] = drawn.choice(PIECES)
        del text[LARGEST:]
    return bytes(text)


def targets() -> dict[str, Target]:
    """Return all targets by name. Imports what they read with."""
    from foreshock.analysis import pack_file
    from foreshock.analysis.feed_check import check
    from foreshock.ingest import redaction
    from foreshock.ingest.dates import date_form
    from foreshock.ingest.errors import FeedUnavailable, IngestError
    from foreshock.ingest.fields import FIELDS
    from foreshock.ingest.parsing import ParseRules, parse
    from foreshock.ingest.rss import FeedRules, items
    from foreshock.ingest.story import DeadLetter
    from foreshock.settings.load import SettingsError, load

    rules = ParseRules()
    feed_rules = FeedRules(name="wire", parsing=rules)

    def parsed(data: bytes, _: Path) -> Any:
        found = parse(data, "fuzz", 0, rules, 2_000_000_000_000_000)
        if not isinstance(found, DeadLetter):
            assert 0 <= found.published_at <= 2_000_000_000_000_000
            for text in (found.title, found.body, found.id, *found.topics):
                assert "\0" not in text
                text.encode()  # no lone surrogate
        return repr(found)

    def given(data: bytes, _: Path) -> Any:
        """Read a text as the value of each field, and as a number if it is one."""
        value: str | float = data.decode("utf-8", "replace")
        with suppress(ValueError):
            value = float(value)
        base = {"title": "Bank falls", "published_at": 1_700_000_000}
        return [parsed(json.dumps({**base, name: value}).encode(), _) for name in FIELDS]

    def polled(data: bytes, _: Path) -> Any:
        return items(data, "application/rss+xml", "https://wire.example/rss", feed_rules, 1_772_445_600_000_000)

    def set_up(data: bytes, folder: Path) -> Any:
        file = folder / "foreshock.toml"
        file.write_bytes(data)
        try:
            return repr(load(file, environ={}).settings)
        finally:
            redaction._remembered.clear()  # the secrets of thousands of files, which no process has

    def checked(suffix: str) -> Read:
        def read(data: bytes, folder: Path) -> Any:
            file = folder / f"news{suffix}"
            file.write_bytes(data)
            report = check(file, rules)
            report.text()
            return report.records, report.dead_letters, report.broken

        return read

    def dated(data: bytes, _: Path) -> Any:
        return date_form(data.decode("utf-8", "surrogateescape"))

    def unpacked(data: bytes, folder: Path) -> Any:
        file = folder / "alert.zip"
        file.write_bytes(data)
        _, members, digest = pack_file.read(file)
        return digest, [pack_file.rows(table, members[pack_file.name_of(table)]) for table in pack_file.TABLES]

    record = json.dumps(STORY).encode()
    flat = {**STORY, "topics": "banks|oil", "extra": "", "scores": ""}
    table = io.StringIO()
    writer = csv.DictWriter(table, list(flat))
    writer.writeheader()
    writer.writerows({**flat, "id": f"a-{n}", "body": f'line "one"\nline, two {n}'} for n in range(20))
    lines = b"\n".join(json.dumps({**STORY, "id": f"a-{n}"}).encode() for n in range(20))
    dates = (b"2026-03-02T10:00:00Z", b"1700000000", b"2026-03-02", b"Mon, 02 Mar 2026 10:00:00 GMT", b"1700000000123")
    return {
        "parse": Target((record, b'{"headline": "x", "published_at": 1700000000}'), parsed, ()),
        "fields": Target((b'["banks", "oil"]', b"{'name': 'Wire'}", b"WEFT|$BNK", b"1e305", *dates), given, ()),
        "dates": Target(dates, dated, ()),
        "rss": Target((RSS, ATOM), polled, (FeedUnavailable,)),
        "settings": Target((SETTINGS,), set_up, (SettingsError,)),
        "csv": Target((table.getvalue().encode(),), checked(".csv"), (IngestError,)),
        "jsonl": Target((lines,), checked(".jsonl"), (IngestError,)),
        "gz": Target((gzip.compress(lines),), checked(".jsonl.gz"), (IngestError,)),
        "parquet": Target((_parquet(),), checked(".parquet"), (IngestError,)),
        "pack": Target((_pack(),), unpacked, (pack_file.PackRefused,)),
    }


def run_case(name: str, target: Target, seed: int, number: int, folder: Path, *, times: int = 2) -> None:
    """Run one case, so many times. Raises `Failed`."""
    drawn = random.Random(f"{seed}/{name}/{number}")
    data = damaged(drawn.choice(target.corpus), drawn, target.corpus)
    again = f"python tests/fuzzing.py --target {name} --seed {seed} --case {number}"
    results = []
    for _ in range(times):
        started = time.process_time()
        try:
            results.append(("returned", target.read(data, folder)))
        except target.raises as error:
            results.append(("raised", str(error)))
        except Exception as error:
            raise Failed(f"{name}, case {number}: {type(error).__name__}: {error}. Again: {again}") from error
        if (took := time.process_time() - started) > SLOWEST_SECONDS:
            raise Failed(f"{name}, case {number}: took {took:.1f} s for {len(data):,} bytes. Again: {again}")
    if any(result != results[0] for result in results):
        raise Failed(f"{name}, case {number}: the same bytes gave two results. Again: {again}")


def run(names: list[str], seconds: float, seed: int, most: int | None = None) -> dict[str, int]:
    """Fuzz each target for `seconds`, or until it has had `most` cases; return the number of cases of each.

    Raises:
        Failed: a case broke the invariant.
    """
    found, counts = targets(), dict[str, int]()
    with tempfile.TemporaryDirectory(prefix="foreshock-fuzz-") as folder:
        for name in names:
            before, until, number = _grown(), time.monotonic() + seconds, 0
            while time.monotonic() < until and (most is None or number < most):
                run_case(name, found[name], seed, number, Path(folder), times=1 if number % AGAIN else 2)
                number += 1
            if (grown := _grown() - before) > MOST_MEMORY:
                raise Failed(f"{name}: {number} cases of seed {seed} let the process grow by {grown >> 20} MiB")
            counts[name] = number
    return counts


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    rows = [{key: str(value) for key, value in STORY.items()} | {"id": f"a-{n}"} for n in range(20)]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def _pack() -> bytes:
    """An alert pack with one settings version and no other row."""
    from foreshock.analysis import pack_file
    from foreshock.monitor.store import schema

    found = {pack_file.name_of(table): b"" for table in pack_file.TABLES}
    version = {"number": 1, "in_force_from": None, "body": "{}"}
    found[pack_file.name_of(schema.settings_versions)] = pack_file.lines(schema.settings_versions, [version])
    with tempfile.TemporaryDirectory() as folder:
        pack_file.write(Path(folder) / "alert.zip", {"foreshock": "0"}, {**found, pack_file.ALERT: b"{}\n"})
        return (Path(folder) / "alert.zip").read_bytes()


def _grown() -> int:
    """Return the most memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Feed damaged bytes to everything that reads from outside.")
    parser.add_argument("--target", action="append", help="one target; default: all")
    parser.add_argument("--seconds", type=float, default=60, help="in all")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--case", type=int, help="run this case alone")
    options = parser.parse_args()
    names = options.target or list(targets())
    if options.case is not None:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                run_case(name, targets()[name], options.seed, options.case, Path(folder))
        print("no failure")
        return
    print(f"seed {options.seed}, {options.seconds / len(names):.0f} s each: {', '.join(names)}", flush=True)
    for name, count in run(names, options.seconds / len(names), options.seed).items():
        print(f"{name}: {count:,} cases, no failure")


if __name__ == "__main__":
    main()
