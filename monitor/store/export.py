"""A store's stories as a feed file again: replayed, it gives the series and alerts of the store it came from.

The one idea is `counts_at`: what came late live counts in the replay where it became known, as it did then. Lines are
in that order, so that time in the replay never runs ahead of a story. And nothing in a line depends on the settings of
who reads it: a bare day is written as the moment at which it stands, flagged, whatever zone was or will be assumed.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import orjson
from sqlalchemy import Engine, and_, select

from foreshock.ingest.parsing import FIELDS
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import iso

CHUNK = 2_000
_STAY_EXTRA = {"headline", "text", "status"}
"""Fields that come to stand in `extra` again: the story has a title and a body, and only `withdrawn` is a status."""


def export_stories(engine: Engine, out: BinaryIO) -> int:
    """Write every stored story, a JSON line each, in the order in which they count; returns how many.

    Scores go along, so the replay needs no encoder; positions do not: they are the new file's.
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
            if row.date_only:
                record["date_only"] = True
            if row.negative is not None:
                shares = (row.negative / 10_000, row.neutral / 10_000, row.positive / 10_000)
                record["scores"] = dict(zip(("negative", "neutral", "positive"), shares, strict=True))
            out.write(orjson.dumps(record) + b"\n")
            count += 1
    return count


def _extra(text: str | None) -> dict[str, Any]:
    """Without what was not believed live, such as scores of a producer: in a file it would be."""
    extra = json.loads(text) if text else {}
    return {name: value for name, value in extra.items() if name not in FIELDS or name in _STAY_EXTRA}
