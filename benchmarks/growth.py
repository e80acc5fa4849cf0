"""Measure how many bytes a story takes in a replayed store: in all, and for each table with its indexes.

python -m benchmarks.growth sqlite:///reuters.db
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from benchmarks.arguments import parser
from benchmarks.recording import record
from foreshock.monitor.store.database import connect, reading

LISTED = 8
"""How many tables are listed by name, the largest ones."""


def measure(url: str) -> dict[str, Any]:
    """Measure the store. Raises OperationalError if SQLite was built without `dbstat`."""
    engine = connect(url, create=False)
    tables: defaultdict[str, int] = defaultdict(int)
    with reading(engine) as connection:
        rows = connection.execute(
            text("SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name GROUP BY 1")
        )
        for name, size in rows:
            tables[name] += size

        def one(query: str) -> int:
            return int(connection.execute(text(query)).scalar_one())

        stories = one("SELECT count(*) FROM stories")
        total = one("SELECT sum(pgsize) FROM dbstat")
        result = {
            "stories": stories,
            "topics": one("SELECT count(*) FROM topics"),
            "days": one("SELECT count(*) FROM daily_state"),
            "bytes": total,
            "bytes_a_story": round(total / stories),
            "text_bytes_a_story": round(one("SELECT sum(length(title) + length(body)) FROM stories") / stories),
            "topics_a_story": round(one("SELECT count(*) FROM story_topics") / stories, 2),
            "bytes_a_story_by_table": _by_table(tables, total, stories),
            "snapshot_bytes_a_day": one("SELECT avg(length(body)) FROM daily_state"),
        }
    engine.dispose()
    return result


def _by_table(tables: Mapping[str, int], total: int, stories: int) -> dict[str, int]:
    """Return the bytes a story of the largest tables, and of all others together. They add up to those of the store."""
    largest = sorted(tables.items(), key=lambda item: -item[1])[:LISTED]
    found = {name: round(size / stories) for name, size in largest}
    return {**found, "others": round(total / stories) - sum(found.values())}


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("store", metavar="URL")
    url = arguments.parse_args().store
    measured = measure(url)
    record("growth", f"python -m benchmarks.growth {url}", measured)
    print(json.dumps(measured, indent=2))
