"""Measure the pages on a store of a desk's size: 5,000 topics, 2 million stories, 10 million bucket rows.

    python -m benchmarks.dashboard [--store URL] [--topics 5000] [--stories 2000000] [--days 60] [--seconds 180]

A store that does not exist is built first ([desk_store.py](desk_store.py)); `--store` keeps it. For each page, with a
server that has just started: the time until the page is complete, the processor time of that, and of a refresh with and
without another decided bucket. Then twenty viewers at once for `--seconds`, the memory of each, and what a page costs
that is left open. With Chromium, also the first picture in a new browser profile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.engine import make_url

from benchmarks.desk_store import BUCKET, END, Size, build
from benchmarks.recording import RESULTS, record
from benchmarks.viewers import PageFailed, viewer
from foreshock.dashboard import serve
from foreshock.dashboard.frame import REFRESH_SECONDS
from foreshock.dashboard.settings import ServeSettings
from foreshock.monitor.errors import SchemaMismatch, StoreMissing
from foreshock.monitor.store import schema
from foreshock.monitor.store.database import connect, writing
from foreshock.monitor.units import SECOND

ROUNDS = 5
VIEWERS = 20
VIEWPORT: Any = {"width": 1440, "height": 900}


@dataclass(frozen=True, slots=True)
class Page:
    """A page to measure, and what its first picture shows."""

    path: str
    query: str
    shows: str


TABLE, CHART = ".fs-table tbody tr", "[data-testid=stVegaLiteChart] :is(canvas, svg)"

PAGES = {
    "now": Page("", "", TABLE),
    "topic": Page("Topic", "topic=Company+0007", CHART),
    "topic_market": Page("Topic", "topic=_all&range=all", CHART),
    "alerts": Page("Alerts", "", TABLE),
    "alert": Page("Alerts", "alert=00000000-0000-0000-0000-0000000003c0", CHART),
    "stories": Page("Stories", "", TABLE),
    "stories_words": Page("Stories", "words=WORD", TABLE),
    "stories_source": Page("Stories", "source=Source+7", TABLE),
    "stories_topic": Page("Stories", "topic=Company+0007", TABLE),
    "stories_negative": Page("Stories", "topic=Company+0007&sentiment=negative", TABLE),
    "health": Page("Health", "", TABLE),
}


@dataclass(slots=True)
class Server:
    """A running server, and the processes whose time its answers take."""

    address: str
    processes: list[psutil.Process]
    engine: Engine
    database: dict[int, float] = field(default_factory=dict)

    def used(self) -> float:
        """Return the processor seconds so far, of the server and of its sessions at the database."""
        for process in self.processes[1:] + self._sessions():
            try:
                self.database[process.pid] = sum(process.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        return float(sum(self.processes[0].cpu_times()[:2]) + sum(self.database.values()))

    def memory(self) -> int:
        return int(self.processes[0].memory_info().rss)

    def _sessions(self) -> list[psutil.Process]:
        if self.engine.dialect.name != "postgresql":
            return []
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        with self.engine.connect() as connection:
            pids = connection.execute(text(query)).scalars().all()
        return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


@contextmanager
def server(url: str, engine: Engine) -> Iterator[Server]:
    """Start a server with empty caches."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings = ServeSettings(store=url, port=probe.getsockname()[1])
    with serve.started(settings) as process:
        yield Server(serve.address(settings), [psutil.Process(process.pid)], engine)


def decide(engine: Engine) -> None:
    """Move "decided until" by a bucket, as the monitor does: what pages have cached of decided buckets is old."""
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=schema.feed.c.decided_until + BUCKET))


async def one_page(url: str, engine: Engine, page: Page) -> dict[str, float]:
    """Return what a page costs, in milliseconds: wall-clock time, and processor time of the server and database."""
    with server(url, engine) as running:
        before = running.used()
        async with viewer(running.address, page.path, page.query) as one:
            first, used, size = one.first, running.used() - before, one.bytes
            quiet, quiet_used = await _refreshes(running, one, None)
            news, news_used = await _refreshes(running, one, engine)
            return {
                **{"first_ms": round(1000 * first), "first_cpu_ms": round(1000 * used), "first_kb": round(size / 1000)},
                **{"refresh_ms": round(1000 * quiet), "refresh_cpu_ms": round(1000 * quiet_used)},
                **{"refresh_kb": round(one.bytes / 1000)},
                **{"new_bucket_ms": round(1000 * news), "new_bucket_cpu_ms": round(1000 * news_used)},
            }


async def _refreshes(running: Server, one: Any, engine: Engine | None) -> tuple[float, float]:
    """Return the median seconds of a refresh and its mean processor seconds, each after a new bucket if `engine`."""
    taken, used = [], 0.0
    for _ in range(ROUNDS):
        if engine is not None:
            decide(engine)
        before = running.used()
        taken.append(await one.refresh())
        await asyncio.sleep(0.05)
        used += running.used() - before
    return statistics.median(taken), used / ROUNDS


async def crowd(url: str, engine: Engine, seconds: float) -> dict[str, Any]:
    """Open twenty pages at once, and refresh each as a browser does. Buckets are decided meanwhile."""
    pages = list(PAGES.values())
    first: list[float] = []
    taken: list[float] = []
    errors: list[str] = []

    async def reads(place: int, until: float) -> None:
        page = pages[place % len(pages)]
        try:
            async with viewer(running.address, page.path, page.query) as one:
                first.append(one.first)
                while time.monotonic() < until:
                    took = await one.refresh()
                    taken.append(took)
                    await asyncio.sleep(max(REFRESH_SECONDS - took, 0))
                await leave.wait()
        except (PageFailed, OSError) as error:
            errors.append(str(error))

    with server(url, engine) as running:
        for page in pages:  # what all pages share is loaded
            async with viewer(running.address, page.path, page.query):
                pass
        await asyncio.sleep(3)
        alone, leave = running.memory(), asyncio.Event()
        until = time.monotonic() + seconds
        tasks = [asyncio.create_task(reads(place, until)) for place in range(VIEWERS)]
        before = running.used()
        for _ in range(2):
            await asyncio.sleep(seconds / 3)
            decide(engine)
        await asyncio.sleep(max(until - time.monotonic(), 0))
        used, together = running.used() - before, running.memory()
        leave.set()
        await asyncio.gather(*tasks)
    taken.sort()
    return {
        **{"viewers": VIEWERS, "seconds": seconds, "refreshes": len(taken), "errors": errors},
        **{"first_median_s": round(statistics.median(first), 2), "first_max_s": round(max(first), 2)},
        "refresh_median_ms": round(1000 * statistics.median(taken)),
        "refresh_p95_ms": round(1000 * taken[int(len(taken) * 0.95)]),
        "refresh_max_ms": round(1000 * taken[-1]),
        "cores_used": round(used / seconds, 2),
        "server_mb": round(alone / 1e6),
        "mb_per_viewer": round((together - alone) / VIEWERS / 1e6, 1),
    }


async def left_open(url: str, engine: Engine, seconds: float) -> dict[str, float]:
    """Return what *Now* costs that nobody touches, as a share of a core, buckets being decided meanwhile."""
    with server(url, engine) as running:
        async with viewer(running.address, "", "") as one:
            await asyncio.sleep(1)
            before, began, decided = running.used(), time.monotonic(), time.monotonic()
            while (now := time.monotonic()) - began < seconds:
                if now - decided >= BUCKET / SECOND:
                    decide(engine)
                    decided = now
                await one.refresh()
                await asyncio.sleep(max(REFRESH_SECONDS - (time.monotonic() - now), 0))
            used, took = running.used() - before, time.monotonic() - began
    return {"seconds": round(took), "cpu_seconds": round(used, 2), "share_of_a_core": round(used / took, 4)}


def first_pictures(url: str, engine: Engine) -> dict[str, Any]:
    """Return the seconds from request to picture, each with a new server.

    `first_picture_s`: in a new browser profile, which also loads Streamlit's own scripts. `again_s`: in one that has
    shown the page before. `streamlit_alone_s`: a new profile and a Streamlit page of one word, and of one small chart:
    what no page of Streamlit can fall below on this machine.
    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    taken: dict[str, list[list[float]]] = {name: [[], []] for name in PAGES}
    alone: dict[str, list[float]] = {"word": [], "chart": []}
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])

        def seconds(window: Any, address: str, shows: str) -> float:
            began = time.perf_counter()
            window.goto(address, wait_until="commit")
            window.locator(shows).first.wait_for()
            return time.perf_counter() - began

        for _ in range(ROUNDS):
            for kind, found in alone.items():
                with bare_streamlit(kind) as address:
                    context = browser.new_context(viewport=VIEWPORT)
                    found.append(seconds(context.new_page(), address, CHART if kind == "chart" else "text=word"))
                    context.close()
            for name, page in PAGES.items():
                with server(url, engine) as running:
                    context = browser.new_context(viewport=VIEWPORT)
                    for turn in taken[name]:
                        window = context.new_page()
                        turn.append(seconds(window, f"{running.address}/{page.path}?{page.query}", page.shows))
                        window.close()
                    context.close()
        browser.close()

    def median(found: list[float]) -> float:
        return round(statistics.median(found), 2)

    return {
        "first_picture_s": {name: median(first) for name, (first, _) in taken.items()},
        "again_s": {name: median(again) for name, (_, again) in taken.items()},
        "streamlit_alone_s": {kind: median(found) for kind, found in alone.items()},
    }


BARE = {
    "word": "import streamlit as st; st.write('word')",
    "chart": "import streamlit as st; st.vega_lite_chart("
    "{'data': {'values': [{'x': 1, 'y': 1}]}, 'mark': 'point', 'encoding': {'x': {'field': 'x'}}})",
}


@contextmanager
def bare_streamlit(kind: str) -> Iterator[str]:
    """Serve a Streamlit page of one word or one chart, warmed by a first request as the dashboard is by its start."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        script = Path(folder) / "bare.py"
        script.write_text(BARE[kind])
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        options = ["--server.headless=true", f"--server.port={port}", "--browser.gatherUsageStats=false"]
        command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.address=127.0.0.1", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with suppress(httpx.HTTPError):
                    if httpx.get(f"http://127.0.0.1:{port}/_stcore/health").is_success:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            process.wait()


def rows(engine: Engine) -> dict[str, int]:
    """Return how many rows the store's large tables have."""
    with engine.connect() as connection:
        tables = (schema.topics, schema.stories, schema.story_topics, schema.buckets, schema.alerts)
        return {t.name: int(connection.execute(select(func.count()).select_from(t)).scalar_one()) for t in tables}


def common_word(engine: Engine) -> str:
    """Return a word of the newest story that thousands of others have."""
    query = select(schema.stories.c.title).order_by(schema.stories.c.counts_at.desc()).limit(1)
    with engine.connect() as connection:
        return str(connection.execute(query).scalar_one()).split()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the pages on a store of a desk's size.")
    parser.add_argument("--store", help="the URL of the store; built if it does not exist, and kept")
    parser.add_argument("--topics", type=int, default=Size().topics)
    parser.add_argument("--stories", type=int, default=Size().stories)
    parser.add_argument("--days", type=int, default=Size().days)
    parser.add_argument("--seconds", type=float, default=180, help="how long viewers stay")
    parser.add_argument("--no-browser", action="store_true", help="without the first pictures in Chromium")
    asked = parser.parse_args()
    size = Size(asked.topics, asked.stories, asked.days)
    with tempfile.TemporaryDirectory() as temporary:
        url = asked.store or f"sqlite:///{Path(temporary) / 'desk.db'}"
        figures = measure(url, size, asked.seconds, browser=not asked.no_browser)
    if size != Size():  # a trial
        print(json.dumps(figures, indent=2))
        return
    # One file holds both databases; each run replaces its own part.
    stored = RESULTS / "dashboard.json"
    before = json.loads(stored.read_text()) if stored.exists() else {}
    kept = {name: before[name] for name in ("sqlite", "postgresql") if name in before}
    figures = {**kept, make_url(url).get_backend_name(): figures}
    print(json.dumps(record("dashboard", "python -m benchmarks.dashboard", figures), indent=2))


def measure(url: str, size: Size, seconds: float, *, browser: bool) -> dict[str, Any]:
    """Build the store if it is missing, measure all, and write the result."""
    try:
        engine = connect(url, create=False)
    except (StoreMissing, SchemaMismatch):  # an empty PostgreSQL database has no schema
        build(url, size)
        engine = connect(url, create=False)
    load = round(os.getloadavg()[0], 1)
    PAGES["stories_words"] = Page("Stories", f"words={common_word(engine)}", PAGES["stories"].shows)
    pages = {name: asyncio.run(one_page(url, engine, page)) for name, page in PAGES.items()}
    figures: dict[str, Any] = {
        "load_before": load,
        "rows": rows(engine),
        "pages": pages,
        "crowd": asyncio.run(crowd(url, engine, seconds)),
        "left_open": asyncio.run(left_open(url, engine, seconds)),
    }
    if browser:
        figures |= first_pictures(url, engine)
    with writing(engine) as connection:
        connection.execute(update(schema.feed).values(decided_until=END))
    engine.dispose()
    return figures


if __name__ == "__main__":
    main()
