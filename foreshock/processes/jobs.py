"""Where APScheduler runs a job: in a thread of its own that ends with the process.

Its own pool's threads are waited for when the interpreter ends, so a server that never answers would hold a stopped
run. A job here is one request, or a line of log: nothing that a sudden end could harm.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.executors.base import BaseExecutor, run_job

from foreshock.monitor.settings import SECOND
from foreshock.processes.loop import Loop
from foreshock.settings.models import Settings
from foreshock.sources.live import LiveSource
from foreshock.sources.rss import RssSource

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler


def scheduler() -> tuple[BackgroundScheduler, JobThreads]:
    """A scheduler of periodic jobs, to be started, and the threads that they run in."""
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a slow job is not begun twice at once is no news
    threads = JobThreads()
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    return BackgroundScheduler(timezone=UTC, executors={"default": threads}, job_defaults=defaults), threads


class JobThreads(BaseExecutor):  # type: ignore[misc]
    """An executor of APScheduler; `max_instances` bounds its threads."""

    def __init__(self) -> None:
        super().__init__()
        self._threads: set[threading.Thread] = set()

    def join(self, seconds: float) -> None:
        """Wait for the jobs that are running, so long at the most."""
        until = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, until - time.monotonic()))

    def _do_submit_job(self, job: Any, run_times: Any) -> None:
        def work() -> None:
            try:
                events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
            except BaseException:
                self._run_job_error(job.id, *sys.exc_info()[1:])
            else:
                self._run_job_success(job.id, events)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=work, name=f"job-{job.id}", daemon=True)
        self._threads.add(thread)
        thread.start()


HEALTH_SECONDS = 60


JITTER = 0.1
"""Of a feed's interval: so that feeds are not asked all at once, nor by everyone in the same second."""


LAST_WORDS_SECONDS = 3.0
"""For jobs to end, once a run stops."""


@contextmanager
def jobs(settings: Settings, loop: Loop, sources: Sequence[LiveSource]) -> Iterator[None]:
    """The periodic work, while the context lasts: a job for each RSS feed, and one that says how it goes."""
    jobs, threads = scheduler()
    every = {feed.partition: feed.every / SECOND for feed in settings.feeds}
    for source in sources:
        if isinstance(source, RssSource):
            seconds = every[source.partition.name]
            jobs.add_job(
                source.poll,
                "interval",
                seconds=seconds,
                jitter=seconds * JITTER,
                next_run_time=datetime.now(UTC),
                id=source.partition.name,
            )
    jobs.add_job(loop.health, "interval", seconds=HEALTH_SECONDS, id="health")
    jobs.start()
    try:
        yield
    finally:
        jobs.shutdown(wait=False)
        for source in sources:
            if isinstance(source, RssSource):
                source.stop()
        threads.join(LAST_WORDS_SECONDS)
