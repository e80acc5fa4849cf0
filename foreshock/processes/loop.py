"""What every process that reads does over and over: take records, make rows, commit, tick, close.

    loop.begin()
    while not stopped:
        loop.turn() or loop.wait(stop.wait)
    loop.end(close=False)

This thread alone moves event time; a second one does the encoder's work. Records are taken in order, ahead of what is
committed: while the second thread scores a batch, this one reads the next and commits the one before. Batches are
committed in the order in which they were taken, each by compare and set. If a commit misses, or its outcome is unknown,
everything in flight is dropped and read again from where the store is. A process that is stopped or killed at any
moment therefore goes on where it was, and ends with the rows of an undisturbed one.

Live feeds and replays use the same loop. They differ in their groups of sources (`foreshock.sources.live`), and in that
a replay reads no clock.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from sqlalchemy import Engine

from foreshock.monitor.ahead import Announcer
from foreshock.monitor.closing import AlertNews, Closer
from foreshock.monitor.errors import Misconfigured, Overtaken, StoreUnavailable
from foreshock.monitor.store import progress, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.progress import Partition
from foreshock.monitor.units import SECOND
from foreshock.monitor.watermark import TimeRules
from foreshock.observability import metrics
from foreshock.observability.log import log
from foreshock.observability.outage import Outage
from foreshock.processes import scorer_news
from foreshock.processes.asides import Asides
from foreshock.processes.batches import Worker
from foreshock.processes.committed import Committed
from foreshock.processes.fills import Fills
from foreshock.processes.in_hand import IN_FLIGHT, InHand
from foreshock.processes.store_failures import PATIENCE_SECONDS, TRIES, outage_of_the_store
from foreshock.processes.story_log import StoryLog
from foreshock.processes.story_traces import StoryTraces
from foreshock.processes.switches import Switches
from foreshock.processes.ticks import IDLE_AFTER, Ticks
from foreshock.sources.live import Clock, Gap, Source, SourceGroup

GATHER_SECONDS = 0.05
"""How often a loop looks for more records while the encoder works, or while a batch waits for more stories. A turn for
each record that comes would cost more than the record."""


class Loop:
    """Turns records into rows, and with a `closer` into series and alerts.

    Parameters:
        groups: what is read. A story is taken from the source with the smallest watermark, whichever group has it.
        clock: of a process that reads live. A replay has none: only its records move event time.
        idle_after: microseconds without a record after which a source may be idle.
        linger: microseconds for which a story may wait for others while the encoder is free.
        tick_seconds: the shortest time between two looks at which sources are idle.
        outage: how the store is tried again while it does not answer.
        stories: logs what becomes of each story.
        traces: of each story; None if there are none.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        closer: Closer | None,
        groups: Sequence[SourceGroup],
        rules: TimeRules,
        *,
        clock: Clock | None,
        idle_after: int = IDLE_AFTER,
        linger: int = 0,
        tick_seconds: float = 0.0,
        outage: Outage | None = None,
        on_alert: Callable[[AlertNews], None] | None = None,
        stories: StoryLog | None = None,
        traces: StoryTraces | None = None,
    ) -> None:
        self.stories = stories or StoryLog(False)
        """Logs what becomes of each story."""
        self._traces = traces
        self.records = 0
        """Stories and dead letters committed so far."""
        self.on_closed: Callable[[], None] = lambda: None
        self._engine = engine
        self._closer = closer
        self._groups = groups
        self._rules = rules
        self._clock = clock
        self._goes_on = all(group.goes_on for group in groups)
        self._outage = outage or (Outage("store") if self._goes_on else outage_of_the_store())
        self._on_alert = on_alert
        self._committed = Committed(clock)
        self._in_hand = InHand(worker, linger_seconds=linger / SECOND)
        self._ticks = (
            None if clock is None else Ticks(engine, rules, clock, idle_after=idle_after, every_seconds=tick_seconds)
        )
        self._asides = None if closer is None or clock is None else Asides(engine, rules, clock)
        delivers = closer is not None and closer.delivers
        self._announcer = Announcer(engine, rules, clock) if delivers and clock is not None else None
        self._fills = Fills(engine, rules, closer)
        self._switches = Switches(engine, rules, closer, worker.models, arms=self._goes_on and clock is not None)
        self._lost = False

    def begin(self) -> None:
        """Make all sources members, before the first record is read."""
        for group in self._groups:
            group.refresh()
        try:
            self._join_patiently()
            self._close()
        except StoreUnavailable as error:
            self._lose_the_store(error)

    def turn(self) -> bool:
        """Take the records that there are by now, and do what follows. Return whether to turn again at once."""
        metrics.health.turned()
        if self._lost:
            return self._recover()
        try:
            return self._turn()
        except Misconfigured:
            self._in_hand.drop_what_fills()  # it died of the same, and is read again with the right settings
            raise
        except Overtaken as error:
            metrics.overtaken()
            log().warning("another process went on with a source: reading its place again", error=str(error))
            self._lost = True
            return True
        except StoreUnavailable as error:
            self._lose_the_store(error)
            return False

    def wait(self, idle: Callable[[float], None]) -> None:
        """Wait a little for something to do: in the group that must be looked at soonest, or with `idle` (seconds)."""
        group = min(self._groups, key=lambda group: group.look_seconds)
        if self._lost:
            idle(group.look_seconds)
        elif self._in_hand.fills:  # a batch waits for more: not for each record a turn
            idle(min(GATHER_SECONDS, group.look_seconds))
        else:
            group.wait(group.look_seconds, idle)

    @property
    def read_what_stood(self) -> bool:
        """Whether all records that the sources had at the start are committed."""
        if self._lost or not self._in_hand.empty:
            return False
        try:
            return all(group.finished(self._stored) for group in self._groups)
        except StoreUnavailable:
            return False

    def end(self, *, close: bool) -> None:
        """Commit what is in hand, and leave, so that event time does not wait for this process.

        `close`: also decide the buckets that this lets close. Where feeds go on, the next start decides them.

        Sources leave as they were committed; whoever goes on reads the rest again. A source that must not come late
        stays a member (see `Source.stays`), and event time waits for it.
        """
        with suppress(Overtaken, StoreUnavailable):
            if not self._lost:
                self._finish()
        with suppress(Overtaken, StoreUnavailable), writing(self._engine) as connection:
            known = progress.load(connection)
            found = [(source, p) for source in self._sources if (p := known.get(source.partition.name)) is not None]
            own = [(source, p) for source, p in found if p.progress.member and self._committed.is_newest(p)]
            progress.leave(connection, [p for source, p in own if not source.stays(p)])
        if close:
            self._close()

    def work_with(self, worker: Worker) -> None:
        """Make rows with another worker from now on: the settings have changed."""
        self._in_hand.work_with(worker)
        self._switches.models = worker.models
        self._lost = True  # what was taken is read again

    def stop(self) -> None:
        """Release the encoder's thread and the groups."""
        self._in_hand.stop()
        for group in self._groups:
            group.close()

    # One turn.

    @property
    def _sources(self) -> list[Source]:
        return [source for group in self._groups for source in group.sources]

    def _turn(self) -> bool:
        for group in self._groups:
            if group.refresh():
                self._finish()
                self._join()
            for gap in group.gaps():
                self._skip(group, gap)
        sources = self._sources
        if not sources and not all(group.ready for group in self._groups):
            return False
        worked = self._in_hand.take(sources)
        encodes = False
        if self._in_hand.in_flight >= IN_FLIGHT or (self._in_hand.in_flight and not worked):
            # Where more may come, it is read while the encoder works.
            more = self._goes_on and self._in_hand.in_flight < IN_FLIGHT
            if self._in_hand.made(GATHER_SECONDS if more else None):
                if more:
                    self._in_hand.submit_if_due()  # the encoder need not wait for the commit
                self._commit_next()
                worked = True
            else:
                encodes = True
        left, ticked = self._leave_what_is_over(), self._tick()
        ticked |= self._set_aside()
        if worked or left or ticked or not self._sources:  # without sources, event time follows the clock
            self._close()
        if self._fills.due(idle=not worked and self._in_hand.empty):
            if self._fills.reads:
                self._finish()  # the encoder does one thing at a time
            with suppress(Overtaken):
                worked |= self._fills.step(self._in_hand.worker)
        if self._switches.due(idle=not worked and self._in_hand.empty):
            worked |= self._switch()
        return worked or encodes

    def _switch(self) -> bool:
        """Take a step of a switch of the model. Return whether there was one."""
        self._finish()  # the encoder does one thing at a time
        known = self._in_hand.worker.models.number
        with suppress(Overtaken):
            if not self._switches.step():
                return False
            with reading(self._engine) as connection:
                recorded, done = switches.last_recorded(connection), not switches.unfinished(connection)
            if recorded != known:
                self._lost = True  # it was armed: sources' places have new versions, and stories another model
            elif done:
                self._close()
        return True

    def _switch_now(self) -> None:
        """Take all steps of a switch that closing waits for: a replay's time is not the clock's."""
        while not self._goes_on and self._switches.holds():
            self._finish()
            if not self._switches.step():
                return
            self._close_some()

    def fill(self) -> None:
        """Fill the topics that are not filled yet, whole, before anything is read."""
        while True:
            metrics.health.turned()
            with suppress(Overtaken):  # by another worker, which reads the same stories
                if not self._fills.step(self._in_hand.worker):
                    return

    def _commit_next(self) -> None:
        """Commit the oldest batch in flight, once it is made. Sources that ended with it leave in its transaction."""
        taken, batch = self._in_hand.oldest()
        partitions = self._committed.as_versioned(batch.partitions)
        ended = [source for source in self._sources if source.over and not source.unsaved]
        over = [source for source in ended if self._in_hand.ends_in_oldest(source)]
        begun = time.monotonic()
        with writing(self._engine) as connection:
            now = None if self._clock is None else self._clock()
            after = {p.name: p for p in progress.commit(connection, replace(batch, partitions=partitions), now)}
            left = progress.leave(connection, [after[s.partition.name] for s in over])
            after |= {p.name: p for p in left}
        self._in_hand.committed()
        self._outage.over()
        self._set(after.values())
        self.records += len(taken)
        seconds = time.monotonic() - begun
        metrics.committed(batch.stories, batch.dead_letters, seconds=seconds)
        self.stories.stored(batch)
        if self._traces is not None:
            self._traces.stored(taken, batch, seconds)
        for group in self._groups:
            group.committed(list(after.values()), len(taken))
        self._drop(over)

    def _finish(self) -> None:
        """Commit all that is in hand: sources have moved past it, and would not return it again."""
        self._in_hand.submit()
        while self._in_hand.in_flight:
            self._commit_next()

    def _leave_what_is_over(self) -> bool:
        """Let sources leave that will return no more records, and save what sources have of their own."""
        free = [
            source for source in self._sources if (source.over or source.unsaved) and not self._in_hand.holds(source)
        ]
        if not free:
            return False
        with writing(self._engine) as connection:
            for source in free:
                source.save(connection)
            over = [source for source in free if source.over]  # an answer that was just saved may say so
            left = progress.leave(connection, [source.partition for source in over])
        self._set(left, whole=True)
        self._drop(over)
        return True

    def _drop(self, left: Iterable[Source]) -> None:
        for source in left:
            for group in self._groups:
                group.left(source)

    def _tick(self) -> bool:
        """Declare sources idle that are. Return whether a tick was written."""
        return self._ticks is not None and self._ticks.look(self._sources, self._committed, self._in_hand.holds)

    def _set_aside(self) -> bool:
        """Let event time go on without sources that do not answer. Return whether the monitor said so of one."""
        if self._asides is None:
            return False
        in_hand = {source.partition.name for source in self._sources if self._in_hand.holds(source)}
        said = self._asides.look(except_for=in_hand)
        self._set(said, whole=True, by_tick=True)
        return bool(said)

    def _close(self) -> None:
        if self._closer is None:
            return
        self._close_some()
        self._switch_now()
        if self._announcer is not None:
            with suppress(Overtaken):  # it looks again when something was read or decided
                self._report(self._announcer.look())
        self.on_closed()

    def _close_some(self) -> None:
        assert self._closer is not None
        while True:
            begun = time.monotonic()
            try:
                closed = self._closer.close_some()
            except Overtaken:
                metrics.overtaken()
                continue
            if closed is None:
                break
            seconds = time.monotonic() - begun
            also = {"beyond": closed.beyond, "names": closed.names}
            metrics.closed(closed.buckets, closed.stories, **also, seconds=seconds)
            metrics.decided(closed.until)
            self.stories.decided(closed)
            if self._traces is not None:
                self._traces.decided(closed, seconds)
            scorer_news.report(closed)
            self._report(closed.news)

    def _report(self, news: Iterable[AlertNews]) -> None:
        for one in news:
            if self._on_alert is not None:
                self._on_alert(one)

    # Where sources stand.

    def _set(self, partitions: Iterable[Partition], *, whole: bool = False, by_tick: bool = False) -> None:
        self._committed.take_over(partitions, self._sources, whole=whole, by_tick=by_tick)

    def _stored(self) -> Mapping[str, Partition]:
        with reading(self._engine) as connection:
            return progress.load(connection)

    def _join(self) -> None:
        now = None if self._clock is None else self._clock()
        with writing(self._engine) as connection:
            joined = [p for group in self._groups for p in group.join(connection, self._rules, now)]
        self._set(joined, whole=True)
        for group in self._groups:
            group.joined()

    def _join_patiently(self) -> None:
        for _ in range(TRIES):
            with suppress(Overtaken):
                return self._join()
            time.sleep(random.uniform(0.01, 0.1))
        self._join()

    def _skip(self, group: SourceGroup, gap: Gap) -> None:
        """Step over records that are gone: store the gap, and log it."""
        self._finish()
        before = gap.source.partition
        with writing(self._engine) as connection:
            after = progress.skip(connection, before, gap.next_offset, time.time_ns() // 1_000)
        self._set([after], whole=True)
        records = gap.next_offset - before.next_offset
        metrics.gap(before.name, records)
        log().warning(
            "gap: records were gone from Kafka before they were read",
            partition=before.name,
            records=records,
            first_offset=before.next_offset,
            next_offset=gap.next_offset,
        )
        group.skipped(gap.source)

    # When the store does not answer, or another process went on.

    def _lose_the_store(self, error: StoreUnavailable) -> None:
        if not self._goes_on and self._outage.seconds >= PATIENCE_SECONDS:
            raise error  # somebody waits for the end
        self._outage.failed(error)
        self._lost = True

    def _recover(self) -> bool:
        """Go on from where the store is. Return whether that worked."""
        if not self._outage.may_try:
            for group in self._groups:
                group.wait(0.0, lambda _: None)  # a member of a consumer group must keep polling
            return False
        self._in_hand.drop()
        try:
            with writing(self._engine) as connection:
                known = progress.load(connection)
                for group in self._groups:
                    group.restart(known, connection)
                self._in_hand.worker.models.follow(connection)
            self._join()
        except Overtaken:
            return True
        except StoreUnavailable as error:
            self._lose_the_store(error)
            return False
        self._outage.over()
        self._lost = False
        return True


@contextmanager
def ending(loop: Loop, *, close: bool = False) -> Iterator[None]:
    """If the loop fails, commit the batches in hand, and raise the first error again."""
    try:
        yield
    except Exception:
        with suppress(Exception):
            loop.end(close=close)
        raise
