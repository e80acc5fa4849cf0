"""Append a vendor's news to a growing file that `foreshock run` reads.

    curl -s https://news.example.com/latest.json | python examples/own_feed.py live.jsonl

Call it as often as you like, from cron for example. A story that it wrote before may come again: Foreshock counts each
id once. Change FIELDS to your vendor's names.

What matters for a feed that is read while it grows: one JSON object a line, whole lines only, in the order of time, and
nothing in the file ever changes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FIELDS = {"id": "uuid", "title": "headline", "body": "summary", "published_at": "time", "source": "provider"}
"""Foreshock's field -> the vendor's."""
TICKERS = "symbols"


def story(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a vendor's record as a story. What the record lacks is left out, and Foreshock says what it misses."""
    found = {ours: record[theirs] for ours, theirs in FIELDS.items() if record.get(theirs)}
    return {**found, "tickers": record.get(TICKERS) or []}


def append(file: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Append records in the order of time, with one write, so that no reader sees half a line. Return their number."""
    stories = sorted((story(record) for record in records), key=lambda one: str(one.get("published_at", "")))
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in stories).encode()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        written = os.write(descriptor, lines)
    finally:
        os.close(descriptor)
    if written != len(lines):
        raise SystemExit(f"{file}: only {written} of {len(lines)} bytes were written. Is the disk full?")
    return len(stories)


def main(arguments: list[str]) -> int:
    """Read the vendor's answer from standard input: a list of records, or an object with them under `articles`."""
    answer = json.load(sys.stdin)
    count = append(Path(arguments[0]), answer["articles"] if isinstance(answer, dict) else answer)
    print(f"{count} stories")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
