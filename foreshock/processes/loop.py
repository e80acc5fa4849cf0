"""What a live process does over and over: take, make rows, commit, tick, close.

    loop.begin()
    while not stopped:
        loop.turn() or loop.wait(stop.wait)
    loop.end(close=False)

One idea: this thread alone moves time, and one other does the work per story. Records are taken in order, ahead of what
is committed: while the encoder's thread makes a batch's rows, the next one is read and parsed, and the one before is
committed. Batches are committed in the order in which they were taken, each by compare and set; when a commit misses,
or nobody knows whether it was made, all that is in flight is dropped and read again from where the store is. What the
store says was read of a source is what was committed of it. So a process that is stopped or killed at any moment goes
on where it was, and ends with the rows of an undisturbed one.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from foreshock.ingest.errors import BrokerUnavailable, TopicMissing
from foreshock.monitor.closing import Closer, Told
from foreshock.monitor.errors import Misconfigured, Overtaken, StoreUnavailable
from foreshock.monitor.settings import SECOND
from foreshock.monitor.store import counts, progress
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.progress import Batch, Partition
from foreshock.monitor.store.times import iso_or_none
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.observability.stall import StallWatch
from foreshock.processes.batches import Taken, Worker
from foreshock.settings.models import Settings
from foreshock.sources import live
from foreshock.sources.kafka import KafkaFeed, KafkaSource
from foreshock.sources.live import Clock, LiveSource

IDLE_AFTER = 2 * SECOND
"""A source is idle once it is at its end and nothing raised its watermark for so long."""
LOOK_SECONDS = 0.5
"""How often the loop looks at files and the clock; a poll's answer wakes it at once."""
POLL_SECONDS = 0.1
"""How long it waits for Kafka at a time."""
TICK_SECONDS = 0.25
"""Between two looks at whether time may go on without what is idle."""
IN_FLIGHT = 2
"""Batches that were taken and are not committed: one with the encoder, one that waits for it."""
BACK_OFF_SECONDS = (0.5, 30.0)
"""Between two tries to reach a store or a broker that is gone: the first, and the longest."""
PATIENCE_SECONDS = 60.0
"""For a broker, where the end is waited for."""


class Loop:
    """Turns sources into rows, and with a `closer` into series and alerts. `records`: stories and dead letters so far.

    `kafka`: a topic whose partitions come and go, beside the `sources` that stay. `linger`: microseconds for which a
    story may wait for others, while the encoder has nothing to do.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        closer: Closer | None,
        sources: Sequence[LiveSource],
        rules: TimeRules,
        *,
        clock: Clock,
        kafka: KafkaFeed | None = None,
        idle_after: int = IDLE_AFTER,
        linger: int = 0,
        on_alert: Callable[[Told], None] | None = None,
    ) -> None:
        self.records = 0
        self.on_closed: Callable[[], None] = lambda: None
        self.troubles: dict[str, str] = {}
        """What cannot be reached at the moment (`store`, `kafka`), and what it said."""
        self._engine = engine
        self._worker = worker
        self._closer = closer
        self._sources = list(sources)
        self._rules = rules
        self._clock = clock
        self._kafka = kafka
        self._idle_after = idle_after
        self._linger = linger / SECOND
        self._on_alert = on_alert
        self._watermarks: dict[str, tuple[int | None, int]] = {}  # and since when each stands, but for ticks
        self._versions: dict[str, int] = {}  # of what is committed; sources are ahead of it
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._in_flight: deque[tuple[Taken, Future[Batch]]] = deque()
        self._taking = Taken()
        self._taking_since = 0.0
        self._ticked_at = -TICK_SECONDS
        self._tries = {"store": 0, "kafka": 0}
        self._not_before = {"store": 0.0, "kafka": 0.0}
        self._begun_at = time.monotonic()
        self._lost = False
        self._stalls = StallWatch(rules)
        self._joined = False

    def begin(self) -> None:
        """All sources that are not members yet join, before the first record is read."""
        self._connect()
        try:
            self._try_again(self._join)
            self._close()
        except StoreUnavailable as error:
            self._trouble("store", error)
            self._lost = True

    def turn(self) -> bool:
        """Take what there is by now and what follows from it; whether there may be more at once."""
        metrics.health.turned()
        if self._lost:
            return self._recover()
        try:
            return self._turn()
        except Misconfigured:
            self._taking = Taken()  # it is of the same kind, and is read again with the right settings
            raise
        except Overtaken as error:
            metrics.overtaken()
            log().warning("another process went on with a source: reading its place again", error=str(error))
            self._lost = True
            return True
        except StoreUnavailable as error:
            self._trouble("store", error)
            self._lost = True
            return False

    def wait(self, idle: Callable[[float], None]) -> None:
        """Wait a little for something to do: for records of Kafka, else with `idle` (seconds)."""
        if self._kafka is None or not self._kafka.connected or self._lost:
            idle(LOOK_SECONDS if self._kafka is None else POLL_SECONDS)
        else:
            self._kafka.poll(POLL_SECONDS)

    @property
    def read_what_stood(self) -> bool:
        """All that the sources had at the start is committed."""
        if self._lost or self._in_flight or len(self._taking):
            return False
        if self._kafka is not None:
            try:
                with reading(self._engine) as connection:
                    if not self._kafka.is_finished(connection):
                        return False
            except StoreUnavailable:
                return False
        return all(source.over or (source.read_what_stood() and not source.unsaved) for source in self._sources)

    def end(self, *, close: bool) -> None:
        """Finish what is in hand; leave, so that time does not wait for this process. `close`: also decide what that
        lets close; where the feeds go on, the next start does.

        Sources leave as the store has them, which is where they were committed: what is not is read again by whoever
        goes on. Those that have more stay members (see `LiveSource.stays`), and time waits for that.
        """
        with suppress(Overtaken, StoreUnavailable):
            if not self._lost:
                self._finish()
        with suppress(Overtaken, StoreUnavailable), writing(self._engine) as connection:
            known = progress.load(connection)
            found = [(source, p) for source in self._sources if (p := known.get(source.partition.name)) is not None]
            own = [(source, p) for source, p in found if p.progress.member and p.version == self._versions.get(p.name)]
            progress.leave(connection, [p for source, p in own if not source.stays(p)])
        if close:
            self._close()

    def work_with(self, worker: Worker) -> None:
        """Make the rows of what is taken from now on with another worker: settings have changed."""
        self._taking = Taken()
        self._lost = True  # what was taken of it is read again
        self._worker = worker

    def stop(self) -> None:
        """Let go of the encoder's thread and of the brokers."""
        self._encoder.shutdown(wait=False, cancel_futures=True)
        if self._kafka is not None:
            self._kafka.close()

    def health(self) -> None:
        """One line on how it goes."""
        try:
            with reading(self._engine) as connection:
                decided_until = counts.decided_until(connection)
                members = [p for p in progress.load(connection).values() if p.progress.member]
        except (DBAPIError, StoreUnavailable) as error:
            log().warning("the store cannot be read", error=str(error))
            return
        lag = None if decided_until is None else (self._clock() - decided_until) / SECOND
        log().info(
            "health",
            records=self.records,
            decided_until=iso_or_none(decided_until),
            lag_seconds=None if lag is None else round(lag, 1),
            not_idle=[p.name for p in members if not p.progress.idle],
            **({"troubles": dict(self.troubles)} if self.troubles else {}),
        )
        metrics.decided(decided_until)
        if self._closer is not None:
            self._stalls.look(members, self._clock())

    # One turn.

    def _turn(self) -> bool:
        if self._kafka is not None and not self._read_kafka():
            return False
        taken = self._take()
        if self._in_flight and (len(self._in_flight) >= IN_FLIGHT or not taken):
            self._commit_next()
            taken = True
        left, ticked = self._leave_what_is_over(), self._tick()
        if taken or left or ticked or not self._sources:  # without sources, time goes by the clock
            self._close()
        return taken

    def _take(self) -> bool:
        """Give the encoder a batch, if it can have one; whether it was given one that is full, or all there is."""
        before = len(self._taking)
        self._taking = self._worker.take(self._sources, self._taking)
        if not len(self._taking):
            return False
        now = time.monotonic()
        if not before:
            self._taking_since = now
        if not self._taking.full and (self._in_flight or now - self._taking_since < self._linger):
            return False
        if not self._submit().full:  # there is no more to take meanwhile
            self._flush()
        return True

    def _submit(self) -> Taken:
        taken, self._taking = self._taking, Taken()
        self._in_flight.append((taken, self._encoder.submit(self._worker.rows, taken)))
        return taken

    def _commit_next(self) -> None:
        """Commit the oldest batch in flight, once it is made."""
        taken, made = self._in_flight[0]
        batch = made.result()
        partitions = [replace(p, version=self._versions[p.name]) for p in batch.partitions]
        begun = time.monotonic()
        with writing(self._engine) as connection:
            after = progress.commit(connection, replace(batch, partitions=partitions))
        self._in_flight.popleft()  # now that it is committed: the next one must not be without it
        self._set(after)
        self.records += len(taken)
        metrics.committed(batch.stories, batch.dead_letters, seconds=time.monotonic() - begun)
        metrics.reached("store")
        if self._kafka is not None:
            self._kafka.tell({p.name: p for p in after})

    def _flush(self) -> None:
        while self._in_flight:
            self._commit_next()

    def _finish(self) -> None:
        """Commit all that is in hand: sources have moved past it, and would not give it again."""
        if len(self._taking):
            self._submit()
        self._flush()

    def _has_in_hand(self, source: LiveSource) -> bool:
        name = source.partition.name
        return name in self._taking.partitions or any(name in taken.partitions for taken, _ in self._in_flight)

    def _leave_what_is_over(self) -> bool:
        """Sources that will give nothing more leave; what sources have of their own to save is saved."""
        free = [source for source in self._sources if (source.over or source.unsaved) and not self._has_in_hand(source)]
        if not free:
            return False
        over = [source for source in free if source.over]
        with writing(self._engine) as connection:
            for source in free:
                source.save(connection)
            over = [source for source in free if source.over]  # an answer that was just saved may say so
            left = progress.leave(connection, [source.partition for source in over])
        self._set(left, whole=True)
        self._sources = [source for source in self._sources if source not in over]
        for source in over:
            if isinstance(source, KafkaSource) and self._kafka is not None:
                self._kafka.drop(source)
        return True

    def _tick(self) -> bool:
        """Declare idle what is; whether any tick was written."""
        if time.monotonic() - self._ticked_at < TICK_SECONDS and self._kafka is not None:
            return False
        self._ticked_at = time.monotonic()
        now = self._clock()
        idle = [
            source.partition
            for source in self._sources
            if now - self._watermarks[source.partition.name][1] >= self._idle_after
            and not self._has_in_hand(source)
            and source.at_end(now)
        ]
        if not idle:
            return False
        with reading(self._engine) as connection:  # most often no tick is due, and no need to keep others from writing
            if not progress.due_ticks(connection, idle, now, self._rules):
                return False
        with writing(self._engine) as connection:
            ticked = progress.tick(connection, idle, now, self._rules)
        self._set(ticked, whole=True, by_tick=True)
        return bool(ticked)

    def _set(self, partitions: Sequence[Partition], *, whole: bool = False, by_tick: bool = False) -> None:
        """Take over what was committed. Records that raise a watermark keep a source from being idle, ticks do not.

        `whole`: the rows were written from where their sources stand, which have nothing in hand.
        """
        by_name = {partition.name: partition for partition in partitions}
        now = self._clock()
        for name, partition in by_name.items():
            self._versions[name] = partition.version
            before, since = self._watermarks.get(name, (None, now))
            watermark = partition.progress.watermark
            self._watermarks[name] = watermark, since if by_tick or watermark == before else now
        for source in self._sources:
            if (found := by_name.get(source.partition.name)) is not None:
                source.partition = found if whole else replace(source.partition, version=found.version)

    def _close(self) -> None:
        if self._closer is None:
            return
        while True:
            begun = time.monotonic()
            try:
                closed = self._closer.close_some()
            except Overtaken:
                metrics.overtaken()
                continue
            if closed is None:
                break
            metrics.closed(closed.buckets, closed.stories, seconds=time.monotonic() - begun)
            metrics.decided(closed.until)
            for told in closed.told:
                self._tell(told)
        self.on_closed()

    def _tell(self, told: Told) -> None:
        metrics.alert(told.change.alert.kind, told.change.event)
        if told.change.event in {"firing", "resolved"}:
            log().info(f"alert {told.change.event}", alert=told.change.alert.id, sentence=told.sentence)
        if self._on_alert is not None:
            self._on_alert(told)

    # Kafka's side.

    def _connect(self) -> bool:
        """Whether the brokers are reached; else it is tried again later."""
        if self._kafka is None or self._kafka.connected:
            return True
        if time.monotonic() < self._not_before["kafka"]:
            return False
        try:
            self._kafka.connect()
        except (BrokerUnavailable, TopicMissing) as error:
            patient = not self._kafka.until_end or time.monotonic() - self._begun_at < PATIENCE_SECONDS
            if not patient or (self._kafka.until_end and isinstance(error, TopicMissing)):
                raise
            self._trouble("kafka", error)
            return False
        self._well("kafka")
        return True

    def _read_kafka(self) -> bool:
        """Take over what the topic has by now; false if nothing can be read yet."""
        assert self._kafka is not None
        if not self._kafka.connected:
            if not self._connect():
                return bool(self._sources)
            self._join()
        self._kafka.poll(0)
        if (silence := self._kafka.silence()) is not None:
            if "kafka" not in self.troubles:
                self._trouble("kafka", silence)
        elif "kafka" in self.troubles:
            self._well("kafka")
        if self._kafka.look():
            self._finish()
            self._join()
        for source, beginning in self._kafka.gaps():
            self._skip(source, beginning)
        self._kafka.tell({})
        return True

    def _join(self) -> None:
        """All that are not members become members; each partition that is ours becomes a source at its place."""
        staying = [source for source in self._sources if not isinstance(source, KafkaSource)]
        with writing(self._engine) as connection:
            if not self._joined and self._closer is not None:
                self._let_go(connection)
            joined = live.join(connection, staying, self._rules, self._clock())
            if self._kafka is not None and self._kafka.connected:
                self._kafka.join(connection, self._rules, self._clock())
                self._kafka.assign(connection)
        self._joined = True
        found = list(self._kafka.sources.values()) if self._kafka is not None else []
        self._sources = [*staying, *found]
        self._set([*joined, *(source.partition for source in found)], whole=True)
        if self._kafka is not None:
            self._kafka.start()

    def _skip(self, source: KafkaSource, beginning: int) -> None:
        """Records that the broker no longer has are a gap: said, stored, and stepped over."""
        self._finish()
        before = source.partition
        with writing(self._engine) as connection:
            after = progress.skip(connection, before, beginning, self._clock())
        self._set([after], whole=True)
        metrics.gap(before.name, beginning - before.next_offset)
        log().warning(
            "gap: records were gone from Kafka before they were read",
            partition=before.name,
            records=beginning - before.next_offset,
            first_offset=before.next_offset,
            next_offset=beginning,
        )
        assert self._kafka is not None
        self._kafka.go_on(source)

    # When something is gone.

    def _recover(self) -> bool:
        """All sources go on from where the store is; whether they do."""
        if time.monotonic() < self._not_before["store"]:
            if self._kafka is not None and self._kafka.connected:
                self._kafka.poll(0)  # a member of the group keeps polling; what is queued is bounded
            return False
        for _, made in self._in_flight:
            made.cancel()
        self._in_flight.clear()
        self._taking = Taken()
        self._worker.forget()
        try:
            with writing(self._engine) as connection:
                known = progress.load(connection)
                for source in self._sources:
                    if not isinstance(source, KafkaSource):
                        source.restart(known.get(source.partition.name, source.partition), connection)
            self._join()
        except Overtaken:
            return True
        except StoreUnavailable as error:
            self._trouble("store", error)
            return False
        self._well("store")
        self._lost = False
        return True

    def _try_again(self, act: Callable[[], None]) -> None:
        """Several processes may join at once: one is first, the others read again."""
        for _ in range(20):
            try:
                return act()
            except Overtaken:
                time.sleep(random.uniform(0.01, 0.1))
        act()

    def _trouble(self, what: str, error: Exception) -> None:
        shortest, longest = BACK_OFF_SECONDS
        wait = min(longest, shortest * 2 ** self._tries[what]) * random.uniform(0.5, 1.0)
        self._tries[what] += 1
        self._not_before[what] = time.monotonic() + wait
        if what not in self.troubles:
            log().warning(f"{what} cannot be reached: trying again until it can", error=str(error).strip())
        self.troubles[what] = str(error).strip()
        metrics.lost(what, str(error).strip())

    def _well(self, what: str) -> None:
        if self.troubles.pop(what, None) is not None:
            log().info(f"{what} is reached again")
        metrics.reached(what)
        self._tries[what] = 0
        self._not_before[what] = 0.0

    def _let_go(self, connection: Any) -> None:
        """Of a run that was killed: RSS feeds that the settings no longer have, which nobody but the one run reads; and
        Kafka, where no worker can have it. Time would wait for them for ever."""
        alone = connection.dialect.name == "sqlite"
        own = {source.partition.name for source in self._sources}
        others = [p for p in progress.load(connection).values() if p.progress.member and p.name not in own]
        gone = [p for p in others if p.kind == "rss" or (alone and p.kind == "kafka" and self._kafka is None)]
        progress.leave(connection, gone)
        for partition in gone:
            log().info("feed is no longer in the settings", feed=partition.name)
        for partition in others:
            if partition not in gone and partition.kind != "kafka":
                log().warning(
                    "time waits for a source that was begun and not finished: replay it, name it as a feed, or let go "
                    "of it (foreshock sources leave)",
                    source=partition.name,
                )


def loop_of(
    settings: Settings,
    engine: Engine,
    worker: Worker,
    closer: Closer | None,
    sources: Sequence[LiveSource],
    kafka: KafkaFeed | None,
    rules: TimeRules,
    clock: Clock,
    on_alert: Callable[[Told], None] | None,
) -> Loop:
    more: dict[str, int] = {}
    if settings.kafka is not None:
        more = {"idle_after": settings.kafka.idle_after, "linger": settings.kafka.max_wait}
    return Loop(engine, worker, closer, sources, rules, clock=clock, kafka=kafka, on_alert=on_alert, **more)


@contextmanager
def ending(loop: Loop) -> Iterator[None]:
    """Where the loop fails, the batches in hand are finished; the first error is the one to tell."""
    try:
        yield
    except Exception:
        with suppress(Exception):
            loop.end(close=False)
        raise
