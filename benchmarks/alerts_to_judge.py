"""List the first alerts of a replayed feed with their stories, for a person to judge.

    python -m benchmarks.alerts_to_judge stocknet_2014_2015 --store URL > to_read.txt

The list holds third parties' texts, so it stays out of the repository. Verdicts are recorded by id alone
(results/judged_stocknet.json). `--store` is that of `foreshock replay` of the feed with the default settings.
"""

from __future__ import annotations

import argparse

from sqlalchemy import select

from foreshock.monitor.grouping import wanted_of
from foreshock.monitor.store import evidence, schema
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.times import iso

FIRST, STORIES = 60, 14


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts_to_judge")
    parser.add_argument("feed")
    parser.add_argument("--store", required=True)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--kind", help="alerts of this kind alone")
    args = parser.parse_args()
    a = schema.alerts.c
    query = select(schema.alerts).where(a.fired_at.is_not(None)).order_by(a.fired_at, a.id).limit(args.first)
    query = query if args.kind is None else query.where(a.kind == args.kind)
    with reading(connect(args.store, create=False)) as connection:
        for place, row in enumerate(connection.execute(query).all(), 1):
            print(f"\n{place}. {row.id}  {row.topic}  {row.kind} {row.direction}  {iso(row.fired_at)}")
            print(f"   {row.sentence}")
            order = {"negative": "negative", "positive": "positive", "any": "newest"}[
                wanted_of(row.kind, row.direction)
            ]
            span = row.window_start, row.window_end
            texts = evidence.events(
                connection, row.topic, *span, order=order, limit=STORIES, also=(schema.stories.c.title,)
            )
            for event in texts:
                first = event[0]
                print(f"   {first.negative / 10_000:.2f} x{len(event)}  {first.title[:170]}")


if __name__ == "__main__":
    main()
