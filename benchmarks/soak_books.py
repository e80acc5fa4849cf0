"""What the stores of a soak say: the ends of stories, latencies, messages, sizes; and two stores compared."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.engine import make_url

from foreshock.monitor.store.database import connect, reading

COMPARED = {
    "buckets": "topic, start, stories, events, negative, neutral, positive, day_events, day_negative, sources, "
    "baseline, settings, by_source",
    "alerts": "id, topic, kind, direction, state, started_at, pending_at, fired_at, resolved_at, observed, baseline, "
    "score, severity, window_start, window_end, sources, events, sentence, statistic, threshold, word, group_id, "
    "evidence",
    "incidents": "id, first_alert, state, direction, started_at, fired_at, updated_at, severity, title, events, "
    "sources, peak_events, peak_at, ended_at, merged_into",
    "topics": "topic, first_story_at, last_story_at, stories, learning_until",
}
"""The columns that a replay of exported stories must give again. Positions, and what happened to us, are left out."""


class Books:
    """A store, as a bystander reads it."""

    def __init__(self, url: str) -> None:
        self.url, self._engine = url, connect(url, create=False)
        self._offsets: dict[str, int] = {}

    def close(self) -> None:
        self._engine.dispose()

    def committed(self) -> int:
        """Return the number of records in the store."""
        return self.one("SELECT sum(counted_stories + counted_dead_letters) FROM partitions")

    def undecided(self) -> int:
        return self.one("SELECT (SELECT count(*) FROM stories) - (SELECT count(*) FROM decisions)")

    def undelivered(self) -> int:
        waiting = self.one("SELECT count(*) FROM deliveries WHERE state = 'waiting'")
        return waiting + self.one("SELECT count(*) FROM outbox WHERE state = 'queued'")

    def outbox(self) -> dict[str, int]:
        """Return how many messages are in which state: `queued`, and those of deliveries."""
        query = "SELECT state, count(*) FROM deliveries GROUP BY 1 UNION ALL "
        query += "SELECT state, count(*) FROM outbox WHERE state = 'queued' GROUP BY 1"
        return {state: int(count) for state, count in self._rows(query)}

    def megabytes(self) -> float:
        if self._engine.dialect.name == "postgresql":
            return round(self.one("SELECT pg_database_size(current_database())") / 1e6, 1)
        path = Path(make_url(self.url).database or "")
        return round(sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6, 1)

    def waits(self, repeated: set[str]) -> np.ndarray:
        """Return the seconds from sending to commit of the stories committed since the last call (PostgreSQL).

        `repeated`: ids that were sent again. Their dates are those of the first time, so they are left out.
        """
        found: list[float] = []
        query = (
            'SELECT "offset", id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) - published_at / 1e6 FROM stories '
            'WHERE "partition" = :name AND "offset" > :offset ORDER BY "offset"'
        )
        for (name,) in self._rows('SELECT "partition" FROM partitions'):
            rows = self._rows(query, name=name, offset=self._offsets.get(name, -1))
            if rows:
                self._offsets[name] = rows[-1][0]
            found += [float(wait) for _, i, wait in rows if i.startswith(("s-", "c-")) and i not in repeated]
        return np.array(found)

    def p95_of_ingestion(self, seconds: float) -> float | None:
        """Return the 95th percentile of the time from a story's date to its being read, of the last seconds."""
        query = "SELECT (ingested_at - published_at) / 1e6 FROM stories WHERE counts_at > :since"
        waits = [float(row[0]) for row in self._rows(query, since=int((time.time() - seconds) * 1e6))]
        return round(float(np.percentile(waits, 95)), 2) if waits else None

    def found(self, key: str) -> dict[str, tuple[int, int]]:
        """Return for each `id` or `title` the number of records, and of those that are not duplicates."""
        query = (
            f"SELECT s.{key}, count(*), sum(CASE WHEN d.ending <> 'duplicate' THEN 1 ELSE 0 END) FROM stories s "
            'LEFT JOIN decisions d ON d."partition" = s."partition" AND d."offset" = s."offset" GROUP BY 1'
        )
        return {name: (int(records), int(counted or 0)) for name, records, counted in self._rows(query)}

    def kinds(self) -> dict[str, list[int]]:
        """Return by kind of id how many records there are, how many were late, and how many stale (PostgreSQL)."""
        query = "SELECT split_part(id, '-', 1), count(*), sum(late::int), sum(stale::int) FROM stories GROUP BY 1"
        return {kind: [int(count), int(late), int(stale)] for kind, count, late, stale in self._rows(query)}

    def delivered(self, receiver: str) -> list[tuple[str, str]]:
        """Return (receiver, incident) for each message that must have been accepted."""
        query = "SELECT i.id FROM deliveries d JOIN incidents i ON i.first_alert = d.alert_id "
        query += "WHERE d.state NOT IN ('muted', 'superseded', 'digested')"
        return [(receiver, incident) for (incident,) in self._rows(query)]

    def alerts(self) -> dict[str, int]:
        """Return counts. `no_end`: alerts that fired, and are neither open nor resolved. It must be 0, as must
        `without_a_message`."""
        counts = {
            "fired": "FROM alerts WHERE fired_at IS NOT NULL",
            "resolved": "FROM alerts WHERE resolved_at IS NOT NULL AND fired_at IS NOT NULL",
            "open": "FROM alerts WHERE state = 'firing' AND resolved_at IS NULL",
            "no_end": "FROM alerts WHERE fired_at IS NOT NULL AND (state = 'firing') = (resolved_at IS NOT NULL)",
            "incidents": "FROM incidents",
            "incidents_open": "FROM incidents WHERE state = 'open'",
            "without_a_message": "FROM incidents i WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.alert_id = "
            "i.first_alert AND o.event = 'incident.firing')",
        }
        return {name: self.one(f"SELECT count(*) {rest}") for name, rest in counts.items()}

    def compared(self, other: Books) -> dict[str, Any]:
        """Compare series and alerts with those of another store, row by row."""
        result: dict[str, Any] = {}
        for table, columns in COMPARED.items():
            query = f"SELECT {columns} FROM {table}"
            here, there = (Counter(tuple(row) for row in one._rows(query)) for one in (self, other))
            missing, extra = here - there, there - here
            result[table] = {"rows": here.total(), "only_live": missing.total(), "only_replayed": extra.total()}
            if missing or extra:
                result[table]["examples"] = [str(row)[:300] for row in [*list(missing)[:2], *list(extra)[:2]]]
        return result

    def one(self, query: str) -> int:
        return int(self._rows(query)[0][0] or 0)

    def _rows(self, query: str, **values: Any) -> list[Any]:
        with reading(self._engine) as connection:
            return list(connection.execute(text(query), values))
