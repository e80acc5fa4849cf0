"""A store's stories as a feed file again: replayed, it gives the series and alerts of the store it came from.

The one idea is `counts_at`: what came late live counts in the replay where it became known, as it did then. Lines are
in that order, so that time in the replay never runs ahead of a story.
"""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from typing import BinaryIO
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Engine, and_, select

from foreshock.monitor.settings import TimeSettings
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import reading
from foreshock.monitor.store.times import EPOCH, iso

CHUNK = 2_000


def export_stories(engine: Engine, out: BinaryIO) -> int:
    """Write every stored story, a JSON line each, in the order in which they count; returns how many.

    Scores go along, so the replay needs no encoder; positions do not: they are the new file's.
    """
    s, t = schema.stories.c, schema.story_topics.c
    order = (s.counts_at, s.published_at, s.id, s.content, s.partition, s.offset)
    count = 0
    with reading(engine) as connection:
        body = connection.execute(select(schema.settings_versions.c.body).limit(1)).scalar()
        zone = None if body is None else TimeSettings.model_validate(json.loads(body)["time"]).assume_zone
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
            record = json.loads(row.extra) if row.extra else {}
            record |= {
                "id": row.id,
                "published_at": _day(row.published_at, row.source, zone) if row.date_only else iso(row.published_at),
                "counts_at": iso(row.counts_at),
                "source": row.source,
                "title": row.title,
                "body": row.body,
                "url": row.url,
                "topics": mine,
                "tickers": json.loads(row.tickers),
                "language": row.language,
                "status": row.status,
            }
            if row.negative is not None:
                shares = (row.negative / 10_000, row.neutral / 10_000, row.positive / 10_000)
                record["scores"] = dict(zip(("negative", "neutral", "positive"), shares, strict=True))
            out.write(orjson.dumps(record) + b"\n")
            count += 1
    return count


def _day(published_at: int, source: str, zone: str | dict[str, str] | None) -> str:
    """The bare date that stands for this day's end, in the zone in which the store reads its source's dates."""
    name = zone.get(source) if isinstance(zone, dict) else zone
    local: tzinfo | None = ZoneInfo(name) if name else EPOCH.tzinfo
    return datetime.fromtimestamp(published_at // 1_000_000, local).date().isoformat()
