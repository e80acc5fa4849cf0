"""An RSS feed as a live source."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foreshock.ingest import rss, rss_poll
from foreshock.ingest.errors import FeedUnavailable
from foreshock.ingest.formats import digest_of
from foreshock.ingest.parsing import AHEAD, parse
from foreshock.ingest.story import DeadLetter, Story
from foreshock.monitor.store import rss_feeds
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.store.rss_feeds import RssFeed
from foreshock.monitor.units import SECOND
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.observability.outage import BackOff
from foreshock.settings.redact import redacted, without_secrets
from foreshock.sources.live import Clock, Record

if TYPE_CHECKING:
    from sqlalchemy import Connection

LONGEST_WAIT = 3_600 * SECOND
"""The longest time between two polls of a feed that fails."""
GRACE = 60 * SECOND
"""How late a poll may be (it waits for its turn and for the answer) before the feed counts as not read. After a night
asleep, event time therefore waits for the poll."""
DEAD_REMEMBERED = 5 * rss.MOST_ITEMS
"""How many dead items of a feed are remembered, so that each is stored once. Those that it still has are not forgotten:
an answer has no more than `rss.MOST_ITEMS`."""


@dataclass(frozen=True, slots=True)
class _Polled:
    """What a poll brought: an answer (None: nothing new, or a failure), and the feed's row after it.

    The row's validators are set when it is saved.
    """

    answer: rss_poll.Answer | None
    row: RssFeed
    over: bool = False


class RssSource:
    """An RSS feed as a live source.

    A job calls `poll` now and then, in its own thread; the loop calls everything else. Between them is a queue of one:
    a feed is not polled again before its last answer has been taken.

    Parameters:
        every: microseconds between two polls.
        allow_private, proxy: see `rss_poll.fetch`.
        wake: called when a poll has an answer.
        headers: sent with each request, see `rss_poll.fetch`.
        seen: returns the ids and contents that the store has for a partition, of the given ids.
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
        allow_private: bool = False,
        proxy: str = "",
        headers: Mapping[str, str] | None = None,
        wake: Callable[[], None] = lambda: None,
        seen: Callable[[str, Sequence[str]], set[tuple[str, str]]],
    ) -> None:
        self.partition = partition
        self.every = every
        self._back_off = BackOff(2.0 * every, LONGEST_WAIT, spread=0.1)
        self._url = url
        self._allow_private = allow_private
        self._proxy = proxy
        self._headers = dict(headers or {})
        self._rules = rules
        self._clock = clock
        self._wake = wake
        self._seen = seen
        self._polled: queue.Queue[_Polled] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._not_before = 0
        self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        name = self.partition.name
        self._row = replace(rss_feeds.load(connection).get(name) or RssFeed(name, ""), url=redacted(self._url))
        self._asked = rss_poll.Validators(self._row.etag, self._row.last_modified)
        # A dict, for its order: those that were seen last stand at its end.
        self._dead = dict.fromkeys(digest_of(raw) for raw in rss_feeds.dead(connection, name, DEAD_REMEMBERED))
        self._items: deque[rss.Item] = deque()
        self._fetched_at = 0
        self._new = 0
        self._to_save: _Polled | None = None
        self._due: int | None = None
        self.over = False

    @property
    def read_at(self) -> int:
        """When the answer came that the last item was in."""
        return self._fetched_at

    @property
    def failures(self) -> int:
        """Polls that have failed in a row."""
        return self._back_off.failures

    # In the job's thread.

    def poll(self) -> None:
        """Ask for the feed, unless it must be left alone for now. Never raises."""
        if self.over or self._polled.full() or self._clock() < self._not_before:
            return
        row, over = replace(self._row, last_error=None, failures=0), False
        answer = None
        try:
            answer = rss_poll.fetch(
                self._url,
                self._asked,
                self._rules,
                allow_private=self._allow_private,
                proxy=self._proxy,
                headers=self._headers,
                clock=self._clock,
                stopped=self._stopped.is_set,
            )
        except Exception as error:  # whatever went wrong concerns this feed, and must not stop the others
            if self._stopped.is_set():
                return
            over = isinstance(error, FeedUnavailable) and error.gone
            text = str(error) if isinstance(error, FeedUnavailable) else f"failed: {type(error).__name__}: {error}"
            text = without_secrets(text)
            asked_to_wait = error.retry_after * SECOND if isinstance(error, FeedUnavailable) else 0.0
            self._not_before = self._clock() + round(self._back_off.failed(asked_to_wait))
            row = replace(row, last_error=text, failures=self.failures)
            self._asked = rss_poll.Validators()  # whatever the server could not bear is not sent again
        else:
            self._back_off.worked()
            if answer is not None:
                self._asked = answer.validators
                if answer.left_out:
                    log().warning(
                        "feed has more items than are taken: only the newest are read",
                        feed=self.partition.name,
                        taken=len(answer.items),
                        left_out=answer.left_out,
                    )
                if answer.moved_to:
                    log().info(
                        "feed moved for good: change its URL",
                        feed=self.partition.name,
                        to=redacted(answer.moved_to[:500]),
                    )
        self._polled.put(_Polled(answer, replace(row, polled_at=self._clock()), over))
        self._wake()

    def stop(self) -> None:
        """Let a poll that is under way give up."""
        self._stopped.set()

    # In the run's loop.

    def next(self) -> Record | None:
        if not self._items:
            self._take_answer()
        if not self._items:
            return None
        item = self._items.popleft()
        p = self.partition
        parsed = self._parsed(item, p.next_offset)
        if isinstance(parsed, DeadLetter):
            self._remember_dead(digest_of(item.record))
        return parsed, digest_of(item.record)

    def _remember_dead(self, digest: str) -> None:
        self._dead.pop(digest, None)
        self._dead[digest] = None
        if len(self._dead) > DEAD_REMEMBERED:
            del self._dead[next(iter(self._dead))]

    def _parsed(self, item: rss.Item, offset: int) -> Story | DeadLetter:
        until, at = self._fetched_at + AHEAD, self._fetched_at
        return parse(item.record, self.partition.name, offset, self._rules.parsing, until, at)

    def _is_new(self, item: rss.Item, known: set[tuple[str, str]]) -> bool:
        """Whether the store has not got the item with this text: one that was rewritten is taken as a revision."""
        parsed = self._parsed(item, 0)
        if isinstance(parsed, DeadLetter):
            digest = digest_of(item.record)
            if digest not in self._dead:
                return True
            self._remember_dead(digest)  # it still stands in the feed
            return False
        return (parsed.id, parsed.content) not in known

    def _take_answer(self) -> None:
        if self._to_save is not None:  # what was returned must be saved before more is taken
            return
        try:
            polled = self._polled.get_nowait()
        except queue.Empty:
            return
        self._new = 0
        if polled.answer is not None:
            ids = [item.id for item in polled.answer.items]
            known = self._seen(self.partition.name, ids)
            self._fetched_at = polled.answer.fetched_at
            self._items.extend(item for item in polled.answer.items if self._is_new(item, known))
            self._new = len(self._items)
        self._to_save = polled

    @property
    def unsaved(self) -> bool:
        return self._to_save is not None and not self._items

    def save(self, connection: Connection) -> None:
        if self._to_save is None or self._items:
            return
        polled, self._to_save = self._to_save, None
        asked = rss_poll.Validators(self._row.etag, self._row.last_modified)  # of the last stored answer
        if polled.answer is not None or polled.row.failures:
            asked = rss_poll.Validators() if polled.answer is None else polled.answer.validators
        self._row = replace(polled.row, etag=asked.etag, last_modified=asked.last_modified)
        rss_feeds.save(connection, self._row)
        first = self._due is None
        self._due = max(polled.row.polled_at, self._not_before) + 2 * self.every
        self.over = polled.over
        name = self.partition.name
        metrics.polled(name, polled.row.failures)
        if polled.over:
            log().warning("feed is gone: it is not polled again", feed=name, error=polled.row.last_error)
        elif polled.row.last_error is not None:
            wait = max(0, self._not_before - polled.row.polled_at) // SECOND
            log().warning("feed failed", feed=name, error=polled.row.last_error, next_in_seconds=wait)
        elif self._new or first:
            log().info("feed polled", feed=name, new=self._new)

    def at_end(self, now: int) -> bool:
        # A feed also counts as read between two polls: what is published meanwhile is younger than `every`, and the
        # allowed lateness, which is as long, covers that. A feed that failed counts as read, too: it must not hold up
        # event time for the others. What it brings later counts when it became known.
        taken = not self._items and self._to_save is None and self._polled.empty()
        return taken and self._due is not None and now <= self._due + GRACE

    def read_what_stood(self) -> bool:
        return self._due is not None and not self._items

    def stays(self, stored: Partition) -> bool:
        return False  # the next start polls again, and gets what was not stored together with what is new

    def restart(self, partition: Partition, connection: Connection) -> None:
        self.partition = partition
        while not self._polled.empty():
            self._polled.get_nowait()
        self._begin(connection)

    def close(self) -> None:
        self.stop()
