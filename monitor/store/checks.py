"""Check that the rows of a store belong together: what no table may say without another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, and how many rows contradict it."""

    rule: str
    against: int

    @property
    def ok(self) -> bool:
        return self.against == 0


def findings(connection: Connection) -> Iterator[Finding]:
    """Yield each rule with the number of rows against it. Each reads whole tables."""
    for rule, query in _RULES.items():
        yield Finding(rule, int(connection.execute(text(query)).scalar_one()))


_RULES = {
    'Each story before "decided until" is decided.': (
        'SELECT count(*) FROM stories s LEFT JOIN decisions d USING ("partition", "offset") CROSS JOIN feed f '
        "WHERE s.counts_at < f.decided_until AND d.bucket IS NULL"
    ),
    'No story after "decided until" is decided.': (
        'SELECT count(*) FROM decisions d JOIN stories s USING ("partition", "offset") CROSS JOIN feed f '
        "WHERE s.counts_at >= f.decided_until"
    ),
    "Each topic of a story has its story.": (
        'SELECT count(*) FROM story_topics t LEFT JOIN stories s USING ("partition", "offset") WHERE s.id IS NULL'
    ),
    "Each decision has its story.": (
        'SELECT count(*) FROM decisions d LEFT JOIN stories s USING ("partition", "offset") WHERE s.id IS NULL'
    ),
    "No record lies beyond what its source was read.": (
        'SELECT count(*) FROM partitions p WHERE p.next_offset <= (SELECT max(s."offset") FROM stories s '
        'WHERE s."partition" = p."partition")'
    ),
    "Each source counts the stories that are stored of it.": (
        "SELECT count(*) FROM partitions p WHERE p.counted_stories < (SELECT count(*) FROM stories s "
        'WHERE s."partition" = p."partition")'
    ),
    "Each topic counts the stories of its buckets.": (
        "SELECT count(*) FROM topics t "
        "WHERE t.stories <> (SELECT sum(b.stories) FROM buckets b WHERE b.topic = t.topic)"
    ),
    "Each message belongs to an alert.": (
        "SELECT count(*) FROM outbox o WHERE NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = o.alert_id)"
    ),
}
