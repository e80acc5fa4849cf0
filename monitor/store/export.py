"""Export a store's stories as a feed file. Replaying the file gives the same series and alerts.

The idea is `counts_at`: a story that came late live counts in the replay when it became known, as it did live. Lines
are in the order of `counts_at`, so the replay's time never runs ahead of a story. A line means the same under any
settings: a date without a time is written as the moment at which it counts, with the flag `date_only`.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import orjson
from sqlalchemy import Engine, and_, select

from foreshock.ingest.fields import FIELDS
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.evidence import scores_json
from foreshock.monitor.store.times import iso

CHUNK = 2_000
"""How many rows are read from the database at once."""
_STAY_EXTRA = {"headline", "text", "status"}
"""Known fields that may stand in `extra`, because the story has its own title, body and status."""


def export_stories(engine: Engine, out: BinaryIO) -> int:
    """Write all stored stories as JSON lines, in the order in which they count. Return how many.

    Lines have scores, so a replay does not encode them again. They have no positions, because a replay takes those of
    the new file.
    """
    s, t = schema.stories.c, schema.story_topics.c
    order = (s.counts_at, s.published_at, s.id, s.content, s.partition, s.offset)
    count = 0
    with reading(engine) as connection:
        here = and_(t.partition == s.partition, t.offset == s.offset)
        borne = (
            select(s.partition, s.offset, t.topic)
            .join_from(schema.stories, schema.story_topics, here, isouter=True)
            .order_by(*order, t.topic)
        )
        topics = iter(connection.execute(borne.execution_options(yield_per=CHUNK)))
        ahead = next(topics, None)
        for row in connection.execute(select(schema.stories).order_by(*order).execution_options(yield_per=CHUNK)):
            mine = []
            while ahead is not None and (ahead.partition, ahead.offset) == (row.partition, row.offset):
                if ahead.topic is not None:
                    mine.append(ahead.topic)
                ahead = next(topics, None)
            record = _extra(row.extra)
            record |= {
                "id": row.id,
                "published_at": iso(row.published_at),
                "counts_at": iso(row.counts_at),
                "source": row.source,
                "title": row.title,
                "body": row.body,
                "url": row.url,
                "topics": mine,
                "tickers": json.loads(row.tickers),
                "language": row.language,
                "status": row.status or record.get("status", ""),
            }
            if row.feed:
                record["feed"] = row.feed
            if row.date_only:
                record["date_only"] = True
            if row.negative is not None:
                record["scores"] = scores_json(row)
            out.write(orjson.dumps(record) + b"\n")
            count += 1
    return count


def _extra(text: str | None) -> dict[str, Any]:
    """Return the unknown fields, without those that were ignored live, such as a producer's scores.

    A replay would take them as known fields.
    """
    extra = json.loads(text) if text else {}
    return {name: value for name, value in extra.items() if name not in FIELDS or name in _STAY_EXTRA}
