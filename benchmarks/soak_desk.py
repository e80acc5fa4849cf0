"""The processes of a soak: two desks, the dashboard with a viewer, and what all of them take."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak_feed import Inbox, RssServer, Wording
from benchmarks.stage import Stage
from benchmarks.viewers import PageFailed, viewer
from foreshock.dashboard import serve
from foreshock.dashboard.frame import REFRESH_SECONDS
from foreshock.dashboard.settings import ServeSettings

from processes import Process, Processes  # isort: skip  # of the tests; benchmarks.stage makes them importable
from servers import free_port  # isort: skip

PARTITIONS = 8
RSS_EVERY = 5.0
TIME = {"bucket": "1m"}
"""Sixty closings an hour and not twelve, so that what leaks at a closing shows."""


@dataclass(slots=True)
class Tree:
    """A process with those that it started: what all of them take together."""

    name: str
    root: psutil.Process
    shares_memory: bool = False
    """Count memory that processes share once (PSS), as for a database; otherwise what is resident (RSS)."""
    alone: bool = False
    """Leave out what it started: the benchmark starts all the others."""
    before: float = 0.0

    def sample(self) -> dict[str, Any]:
        """Return memory in MB, descriptors, threads, and processor seconds since the last sample."""
        mb, handles, threads, used = 0.0, 0, 0, 0.0
        family = [self.root]
        if not self.alone:
            times = self.root.cpu_times()
            used += times.children_user + times.children_system
            family += self.root.children(recursive=True)
        for one in family:
            try:
                _give_priority(one.pid)
                with one.oneshot():
                    mb += (one.memory_full_info().pss if self.shares_memory else one.memory_info().rss) / 1e6
                    handles += one.num_fds()
                    threads += one.num_threads()
                    used += sum(one.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
        spent, self.before = max(used - self.before, 0.0), used
        return {"mb": round(mb, 2), "handles": handles, "threads": threads, "cpu_seconds": round(spent, 2)}


def _give_priority(pid: int) -> None:
    """Give the process's whole session the priority of this program (`nice -n -10 python -m benchmarks.soak`).

    Linux may schedule sessions as groups, and then `nice` counts only within one. Each process here has its own.
    """
    if nice := os.getpriority(os.PRIO_PROCESS, 0):
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))


@dataclass(slots=True)
class Watcher:
    """A viewer who leaves *Now* open, in a thread of its own."""

    address: str
    refreshes: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        thread = threading.Thread(target=lambda: asyncio.run(self._watch()), name="viewer", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            thread.join(60)

    async def _watch(self) -> None:
        while not self.closing.is_set():
            try:
                async with viewer(self.address, "", "") as one:
                    while not self.closing.is_set():
                        took = await asyncio.wait_for(one.refresh(), 60)
                        self.refreshes.append(took)
                        await asyncio.sleep(max(REFRESH_SECONDS - took, 0))
            except (PageFailed, OSError, TimeoutError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(REFRESH_SECONDS)


class Desks:
    """The processes of both desks, started when this is made, and stopped when `stack` closes."""

    def __init__(self, stage: Stage, stack: ExitStack) -> None:
        self.stage, self.topic = stage, stage.topic(PARTITIONS)
        self.urls = {"scaled": stage.url(stage.database()), "single": f"sqlite:///{stage.folder / 'single.db'}"}
        secret = "whsec_" + base64.b64encode(os.urandom(32)).decode()
        self.inbox, self.rss = Inbox(secret), RssServer(RSS_EVERY, Wording(301, feeds=1))
        self.inbox.up()
        self.rss.up()
        self.processes = Processes(stage.folder / "desk")
        stack.callback(self._kill)
        self.configs = {name: self._settings(name, secret) for name in self.urls}
        self.ports = {name: free_port() for name in ("worker", "monitor 1", "monitor 2", "run")}
        self.started = {
            "worker": self._start("worker", "worker", "scaled"),
            "monitor 1": self._start("monitor 1", "monitor", "scaled"),
            "monitor 2": self._start("monitor 2", "monitor", "scaled"),
            "run": self._start("run", "run", "single"),
        }
        self.wait(lambda: all(self.metrics(name) for name in self.ports), "all processes answer", 180)
        settings = ServeSettings(store=self.urls["scaled"], port=free_port())
        dashboard = stack.enter_context(serve.started(settings))
        self.watcher = stack.enter_context(Watcher(serve.address(settings)).watching())
        pids = {name: process.pid for name, process in self.started.items()}
        pids |= {"dashboard": dashboard.pid, "kafka": stage.broker.pid, "postgresql": stage.postgres.pid}
        pids["benchmark"] = os.getpid()
        self._trees = [
            Tree(name, psutil.Process(pid), name == "postgresql", name == "benchmark") for name, pid in pids.items()
        ]
        self._at, self._busy = time.monotonic(), 0.0

    def sample(self) -> tuple[dict[str, dict[str, Any]], float]:
        """Sample all processes. Also return the cores that other programs used since the last call.

        Others are also those of other machines on the same host, if the host says so (steal).
        """
        found = {tree.name: tree.sample() for tree in self._trees}
        times, now = psutil.cpu_times(), time.monotonic()
        busy = sum(times[:8]) - times.idle - times.iowait
        others = busy - self._busy - sum(one["cpu_seconds"] for one in found.values())
        took, self._at, self._busy = now - self._at, now, busy
        return found, round(others / took, 2)

    def metrics(self, name: str) -> dict[str, float]:
        """Return the metrics of a process, those with labels added up; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/metrics", timeout=10) as served:
                lines = served.read().decode().splitlines()
        except OSError:
            return {}
        found: dict[str, float] = {}
        for line in lines:
            if match := re.fullmatch(r"(\w+)(?:\{.*\})? (\S+)", line):
                found[match[1]] = found.get(match[1], 0.0) + float(match[2])
        return found

    def wait(self, there: Callable[[], bool], what: str, seconds: float) -> None:
        """Wait until it is there. Raises AssertionError after so many seconds, or where a process ends."""
        deadline = time.monotonic() + seconds
        while not there():
            for name, process in self.started.items():
                assert process.alive, f"{name} ended ({process.code}): {process.shown()}"
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(1)

    def stop(self) -> dict[str, int]:
        """Stop the processes, and return their exit codes."""
        return {name: process.stop(60) for name, process in self.started.items()}

    def replay(self, name: str, folder: Path) -> str:
        """Export the stories of a desk, replay them into a new store, and return its URL."""
        feed, url = folder / f"{name}.jsonl", f"sqlite:///{self.stage.folder / f'{name}-again.db'}"
        config = self.configs[name]
        self.processes.run("stories", "--export", str(feed), config=config, name=f"export-{name}", seconds=1_200)
        again = ("replay", str(feed), "--store", url, "--no-score-cache", "--json")
        self.processes.run(*again, config=config, name=f"replay-{name}", seconds=3_600)
        feed.unlink()
        return url

    def _settings(self, name: str, secret: str) -> Path:
        hook = {"name": "desk", "url": f"{self.inbox.url}/{name}", "secrets": [secret], "allow_private": True}
        feed = {"rss": f"{self.rss.url}/feed", "name": "wire", "every": "10s", "allow_private": True}
        kafka = {"bootstrap_servers": self.stage.broker.bootstrap, "topic": self.topic, "group": f"soak-{self.topic}"}
        source: dict[str, Any] = {"kafka": kafka} if name == "scaled" else {"feeds": [feed]}
        return self.processes.settings(
            f"{name}.toml",
            store={"url": self.urls[name]},
            model={"threads": 1},
            time=TIME,
            watchlist={"defaults": True},
            webhooks=[hook],
            **source,
        )

    def _start(self, name: str, command: str, which: str) -> Process:
        variables = {"FORESHOCK_METRICS__LISTEN": f"127.0.0.1:{self.ports[name]}"}
        name = name.replace(" ", "-")
        return self.processes.make(command, config=self.configs[which], name=name, variables=variables).start()

    def _kill(self) -> None:
        for process in self.processes.all:
            process.kill()
