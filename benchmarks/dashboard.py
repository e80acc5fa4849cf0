"""Measure how fast the pages are on a full year: 200 topics with a row in every five-minute bucket, 21 million rows.

    python -m benchmarks.dashboard [--topics 200] [--days 365] [--folder FOLDER]

It measures the first picture of *Now* in a new browser profile, from the request to the table on the screen, with a
server that has just started and has empty caches. It also measures the server's work for that picture, its work for a
refresh after another bucket was decided, and the curve of *Topic* for each range.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.recording import record
from foreshock.dashboard import serve
from foreshock.dashboard.settings import ServeSettings
from foreshock.monitor.store import curves, topic_views, views
from foreshock.monitor.store.database import connect, reading, writing
from foreshock.monitor.units import DAY

BUCKET = 300 * 1_000_000
END = 1_775_001_600 * 1_000_000  # 1 April 2026
ROUNDS = 5


def make_store(url: str, topics: int, days: int) -> int:
    """Make a store with bucket rows only, and return the number of rows."""
    engine = connect(url, create=True)
    start = END - days * DAY
    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count) "
        "INSERT INTO buckets (topic, start, stories, events, negative, neutral, positive, day_events, day_negative, "
        "sources, baseline, settings) SELECT :topic, :start + i * :bucket, 2 + i % 3, 1 + i % 2, "
        "(1 + i % 2) * (2000 + (i * 7919) % 3000), (1 + i % 2) * 4000, "
        "(1 + i % 2) * (4000 - (i * 7919) % 3000), 0, 0, '[\"Wire\"]', 100, 1 FROM n"
    )
    count = days * DAY // BUCKET
    with writing(engine) as connection:  # created again at the end: filled topic by topic, it would be out of order
        connection.execute(text("DROP INDEX buckets_start"))
    for number in range(topics):
        with writing(engine) as connection:
            values = {"topic": f"topic {number:03}", "start": start, "bucket": BUCKET, "count": count}
            connection.execute(text(rows), values)
            connection.execute(
                text(
                    "INSERT INTO topics (topic, first_story_at, last_story_at, stories) "
                    "VALUES (:topic, :start, :end, :n)"
                ),
                {"topic": values["topic"], "start": start, "end": END - BUCKET, "n": count * 3},
            )
    with writing(engine) as connection:
        connection.execute(text("CREATE INDEX buckets_start ON buckets (start)"))
        connection.execute(text("UPDATE feed SET decided_until = :end"), {"end": END})
    engine.dispose()
    return topics * count


def server_work(url: str) -> dict[str, Any]:
    """Return the milliseconds of the queries behind *Now* and *Topic*: the first time, and the median."""
    from foreshock.dashboard.stretch import RANGES
    from foreshock.dashboard.topic_table import ROWS

    engine = connect(url, create=False)

    def timed(work: Callable[[Any], object]) -> dict[str, float]:
        taken = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            with reading(engine) as connection:
                work(connection)
            taken.append(1000 * (time.perf_counter() - began))
        return {"first_ms": round(taken[0], 1), "median_ms": round(statistics.median(taken), 1)}

    def now(connection: Any) -> None:
        views.standing(connection)
        rows = topic_views.topics(connection, END)
        topic_views.sparklines(connection, [row.topic for row in rows[:ROWS]], END)
        views.alerts(connection, states=("firing", "resolved"), since=END - 28 * DAY)

    measured = {"now": timed(now), "refresh_without_news": timed(views.standing)}
    for name, span in RANGES.items():
        start = END - (span.back or 364 * DAY)

        def curve(connection: Any, start: int = start, step: int = span.step, window: int = span.window) -> None:
            curves.curve(connection, "topic 100", start, END, step=step, window=window)

        measured[f"topic_{name}"] = timed(curve)
    engine.dispose()
    return measured


def first_picture(url: str) -> list[float]:
    """Return the seconds from request to visible table, each with a new server and a new browser profile."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    taken = []
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(ROUNDS):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                settings = ServeSettings(store=url, port=probe.getsockname()[1])
            with serve.started(settings):
                page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
                began = time.perf_counter()
                page.goto(serve.address(settings), wait_until="commit")
                page.locator(".fs-table tbody tr").nth(20).wait_for()
                taken.append(round(time.perf_counter() - began, 2))
                page.context.close()
        browser.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast the pages are.")
    parser.add_argument("--topics", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, help="make the store in this folder and keep it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        store = folder / f"year-{asked.topics}-{asked.days}.db"
        url = f"sqlite:///{store}"
        if not store.exists():
            make_store(url, asked.topics, asked.days)
        figures = {
            "topics": asked.topics,
            "bucket_rows": asked.topics * (asked.days * DAY // BUCKET),
            "store_bytes": store.stat().st_size,
            "server": server_work(url),
            "first_picture_s": first_picture(url),
        }
    figures["first_picture_median_s"] = statistics.median(figures["first_picture_s"])
    print(json.dumps(record("dashboard", "python -m benchmarks.dashboard", figures), indent=2))


if __name__ == "__main__":
    main()
