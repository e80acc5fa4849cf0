"""An RSS feed as a live source."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from foreshock.ingest import rss
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.formats import digest_of
from foreshock.ingest.parsing import AHEAD, parse
from foreshock.ingest.story import DeadLetter
from foreshock.monitor.settings import SECOND
from foreshock.monitor.store import rss_feeds
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.rss_feeds import RssFeed
from foreshock.observability import metrics
from foreshock.settings.redact import redacted

if TYPE_CHECKING:
    from sqlalchemy import Connection
from foreshock.observability.log import log
from foreshock.sources.live import Clock, Record

LONGEST_WAIT = 3_600 * SECOND
"""Between two polls of a feed that fails."""


GRACE = 60 * SECOND
"""A poll may come so much after it was due (it waits for its turn, and for the answer) before the feed counts as not
read: after a suspended night, time waits for the poll."""


@dataclass(frozen=True, slots=True)
class _Polled:
    """What a poll gave: the answer (None: nothing new, or no answer at all), and the feed's row after it, but for what
    to ask next."""

    answer: rss.Answer | None
    row: RssFeed
    over: bool = False


class RssSource:
    """An RSS feed as a live source.

    `poll` is called now and then by a job, in a thread of its own; everything else by the run's loop. Between them is
    a queue of one: a feed is not asked again before its last answer has been taken.
    """

    def __init__(
        self,
        partition: Partition,
        url: str,
        rules: rss.FeedRules,
        connection: Connection,
        *,
        every: int,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
        seen: Callable[[str, Sequence[str]], set[str]],
    ) -> None:
        self.partition = partition
        self.failures = 0
        self._url = url
        self._rules = rules
        self._every = every
        self._clock = clock
        self._wake = wake
        self._seen = seen
        self._client = rss.client()
        self._polled: queue.Queue[_Polled] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._not_before = 0
        self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        name = self.partition.name
        self._row = replace(rss_feeds.load(connection).get(name) or RssFeed(name, ""), url=redacted(self._url))
        self._asked = rss.Validators(self._row.etag, self._row.last_modified)
        self._dead = {identity for raw in rss_feeds.dead(connection, name) if (identity := _id_of(raw))}
        self._items: deque[rss.Item] = deque()
        self._fetched_at = 0
        self._new = 0
        self._to_save: _Polled | None = None
        self._due: int | None = None
        self.over = False

    # In the job's thread.

    def poll(self) -> None:
        """Ask for the feed, unless it is to be left alone for now. Never raises."""
        if self.over or self._polled.full() or self._clock() < self._not_before:
            return
        row, over = replace(self._row, last_error=None, failures=0), False
        answer = None
        try:
            answer = rss.fetch(
                self._client, self._url, self._asked, self._rules, clock=self._clock, stopped=self._stopped.is_set
            )
        except Exception as error:  # whatever went wrong, it is this feed's, and must not stop the others
            if self._stopped.is_set():
                return
            over = isinstance(error, FeedUnavailable) and error.gone
            text = str(error) if isinstance(error, FeedUnavailable) else f"failed: {type(error).__name__}: {error}"
            self.failures += 1
            row = replace(row, last_error=text, failures=self.failures)
            self._back_off(error)
        else:
            self.failures = 0
            if answer is not None:
                self._asked = answer.validators
                if answer.moved_to:
                    log().info("feed moved for good: change its URL", feed=self.partition.name, to=answer.moved_to)
        self._polled.put(_Polled(answer, replace(row, polled_at=self._clock()), over))
        self._wake()

    def _back_off(self, error: Exception) -> None:
        wait = min(LONGEST_WAIT, self._every << min(self.failures, 20))
        if isinstance(error, FeedUnavailable):
            wait = max(wait, min(LONGEST_WAIT, round(error.retry_after * SECOND)))
        self._not_before = self._clock() + round(wait * (0.9 + 0.1 * random.random()))

    def stop(self) -> None:
        """A poll that is going on gives up."""
        self._stopped.set()

    # In the run's loop.

    def next(self) -> Record | None:
        if not self._items:
            self._take_answer()
        if not self._items:
            return None
        item = self._items.popleft()
        p = self.partition
        parsed = parse(
            item.record, p.name, p.next_offset, self._rules.parsing, self._fetched_at + AHEAD, self._fetched_at
        )
        if isinstance(parsed, DeadLetter):
            self._dead.add(item.id)
        return parsed, digest_of(item.record)

    def _take_answer(self) -> None:
        if self._to_save is not None:  # first what was given is saved, then more is taken
            return
        try:
            polled = self._polled.get_nowait()
        except queue.Empty:
            return
        self._new = 0
        if polled.answer is not None:
            ids = [item.id for item in polled.answer.items]
            known = self._dead.union(self._seen(self.partition.name, ids))
            self._items.extend(item for item in polled.answer.items if item.id not in known)
            self._fetched_at = polled.answer.fetched_at
            self._new = len(self._items)
        self._to_save = polled

    @property
    def unsaved(self) -> bool:
        return self._to_save is not None and not self._items

    def save(self, connection: Connection) -> None:
        if self._to_save is None or self._items:
            return
        polled, self._to_save = self._to_save, None
        asked = self._row if polled.answer is None else polled.answer.validators  # of the last answer that is stored
        self._row = replace(polled.row, etag=asked.etag, last_modified=asked.last_modified)
        rss_feeds.save(connection, self._row)
        first = self._due is None
        self._due = max(polled.row.polled_at, self._not_before) + 2 * self._every
        self.over = polled.over
        name = self.partition.name
        metrics.polled(name, polled.row.failures)
        if polled.over:
            log().warning("feed is gone: not asked again", feed=name, error=polled.row.last_error)
        elif polled.row.last_error is not None:
            wait = max(0, self._not_before - polled.row.polled_at) // SECOND
            log().warning("feed failed", feed=name, error=polled.row.last_error, next_in_seconds=wait)
        elif self._new or first:
            log().info("feed polled", feed=name, new=self._new)

    def at_end(self, now: int) -> bool:
        # Between two polls a feed counts as read, too: what came meanwhile is younger than `every`, and lateness, which
        # is as long, waits for it. So does a feed that failed: there is nothing to be had from it, and it must not hold
        # time for others. What it brings later counts when it became known.
        taken = not self._items and self._to_save is None and self._polled.empty()
        return taken and self._due is not None and now <= self._due + GRACE

    def read_what_stood(self) -> bool:
        return self._due is not None and not self._items

    def stays(self, stored: Partition) -> bool:
        return False  # what it still has is asked for again, and is as old as what is published meanwhile

    def restart(self, partition: Partition, connection: Connection) -> None:
        self.partition = partition
        while not self._polled.empty():
            self._polled.get_nowait()
        self._begin(connection)

    def close(self) -> None:
        self.stop()
        self._client.close()


def _id_of(raw: bytes) -> str | None:
    try:
        return str(orjson.loads(raw)["id"])
    except (ValueError, KeyError, TypeError):
        return None
