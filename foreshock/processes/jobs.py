"""The periodic work beside a loop: polls of RSS feeds, the `health` line, and the deletion of old stories.

APScheduler runs each job in a thread that ends with the process. The interpreter would wait for the threads of
APScheduler's own pool, so a server that never answers would hold up a stopped run. A job here is one request or one
line of log, which a sudden end cannot harm.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.executors.base import BaseExecutor, run_job

from foreshock.monitor.units import SECOND
from foreshock.processes.tidying import STEP_SECONDS
from foreshock.sources.rss import RssSource

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

HEALTH_SECONDS = 60
HEARTBEAT_SECONDS = 2.0
"""How often the heartbeat is asked whether it is due."""
JITTER = 0.1
"""Share of a feed's interval by which its polls vary, so that feeds are not all polled in the same second."""
LAST_WORDS_SECONDS = 3.0
"""How long a stopping process waits for its jobs."""


def scheduler() -> tuple[BackgroundScheduler, JobThreads]:
    """Return a scheduler that has not been started, and the threads that its jobs run in."""
    from apscheduler.schedulers.background import BackgroundScheduler

    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # it warns whenever a slow job is not begun twice
    threads = JobThreads()
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    return BackgroundScheduler(timezone=UTC, executors={"default": threads}, job_defaults=defaults), threads


class JobThreads(BaseExecutor):  # type: ignore[misc]
    """An executor of APScheduler. `max_instances` bounds its threads."""

    def __init__(self) -> None:
        super().__init__()
        self._threads: set[threading.Thread] = set()

    def join(self, seconds: float) -> None:
        """Wait for the jobs that are running, for up to `seconds`."""
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


@contextmanager
def jobs(
    health: Callable[[], None],
    feeds: Sequence[RssSource] = (),
    tidy: Callable[[], None] | None = None,
    heartbeat: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Run the periodic work while the context lasts.

    That is `health` once a minute, `tidy` and `heartbeat` every few seconds, and the polls of each RSS feed. The
    heartbeat knows itself when it is due.
    """
    jobs, threads = scheduler()
    for feed in feeds:
        seconds = feed.every / SECOND
        jobs.add_job(
            feed.poll,
            "interval",
            seconds=seconds,
            jitter=seconds * JITTER,
            next_run_time=datetime.now(UTC),
            id=feed.partition.name,
        )
    jobs.add_job(health, "interval", seconds=HEALTH_SECONDS, id="health")
    if heartbeat is not None:
        jobs.add_job(heartbeat, "interval", seconds=HEARTBEAT_SECONDS, id="heartbeat")
    if tidy is not None:
        jobs.add_job(tidy, "interval", seconds=STEP_SECONDS, id="retention")
    jobs.start()
    try:
        yield
    finally:
        jobs.shutdown(wait=False)
        for feed in feeds:
            feed.stop()
        threads.join(LAST_WORDS_SECONDS)
