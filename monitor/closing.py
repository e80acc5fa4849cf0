"""Closing buckets: from the stories in the store to decided buckets, series and alerts.

    for news in Closer(engine, rules, settings=number).close(): ...

The monitor is a pure function of the store's rows. Closing takes two transactions: one reads, in a single snapshot,
the feed time and the stories of the buckets that it has passed; one writes all that follows, comparing and setting
"decided until" and the members version from the values read. So whoever was overtaken (by another monitor, or by a
partition that joined) writes nothing, and reads again.

Invariant: a story counts at a time >= its partition's watermark >= feed time, so no story ever enters a decided bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, update

from foreshock.monitor.admission import Admission
from foreshock.monitor.alerts import AlertChange
from foreshock.monitor.buckets import Bucket, CriticalStory
from foreshock.monitor.budget import names_share
from foreshock.monitor.counting import Beyond, CountedStory, Ruling, SeenIds, count_bucket
from foreshock.monitor.deciding import Decision, Stall, State, decide, pass_time
from foreshock.monitor.errors import Overtaken
from foreshock.monitor.new_names import NewNames
from foreshock.monitor.rebuild import rebuild, reconcile
from foreshock.monitor.scorer_changes import Change, Ended
from foreshock.monitor.scorer_watch import ScorerWatch
from foreshock.monitor.store import admission as store_admission
from foreshock.monitor.store import ahead as store_ahead
from foreshock.monitor.store import counts, fills, memory, new_names, progress, schema, settings_versions, switches
from foreshock.monitor.store import critical as store_critical
from foreshock.monitor.store import scorer_watch as store_watch
from foreshock.monitor.store.alerts import AlertNews
from foreshock.monitor.store.changes import Passing, write_changes
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.decided import stories_to_decide, write_buckets, write_rulings
from foreshock.monitor.watermark import TimeRules

__all__ = ["AlertNews", "Closed", "Closer", "Ready", "read_ready"]


@dataclass(frozen=True, slots=True)
class Ready:
    """What one snapshot of the store offers for closing."""

    decided_until: int | None
    members_version: int
    until: int
    """What "decided until" becomes: a bucket's end."""
    members: list[CountedStory]
    memory: SeenIds


@dataclass(frozen=True, slots=True)
class Closed:
    """What one transaction decided: buckets that had stories, these stories, and up to where all is decided now."""

    buckets: int
    stories: int
    until: int
    news: list[AlertNews]
    beyond: int = 0
    """Stories that named topics beyond the limits."""
    names: int = 0
    """Names that no topic has, and that are watched."""
    rulings: tuple[Ruling, ...] = ()
    """What each of the stories counts as."""
    scorer: tuple[Change, ...] = ()
    """What has changed about the scorer."""
    scorer_ended: tuple[Ended, ...] = ()


class Closer:
    """The monitor of one process: it holds the detectors' state between closings, built from the store.

    `settings`: number of the version in force, which the rows carry; one that is adopted later is found in the store.
    `clock`: of who reads live (`watermark.feed_time`).
    """

    def __init__(
        self,
        engine: Engine,
        rules: TimeRules,
        *,
        settings: int,
        origin: str = "live",
        deliver: bool = True,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._settings = settings
        self._origin = origin
        self._deliver = deliver
        self._clock = clock
        self._state: State | None = None
        self._state_until: int | None = None
        self._names: NewNames | None = None
        self._admission: Admission | None = None
        self._watch: ScorerWatch | None = None
        self._left: list[AlertChange] = []
        self._fill = self._switch = 0

    @property
    def delivers(self) -> bool:
        """Whether what it decides is sent."""
        return self._deliver

    def close(self) -> Iterator[AlertNews]:
        """Decide every bucket that can be; yields what became of alerts, each after its transaction."""
        while True:
            try:
                closed = self.close_some()
            except Overtaken:
                continue
            if closed is None:
                return
            yield from closed.news

    def close_some(self) -> Closed | None:
        """Decide the next buckets that can be, as many as one transaction takes; None if there are none.

        Raises:
            Overtaken: another process decided them, or a partition joined meanwhile; nothing was written.
        """
        with reading(self._engine) as connection:
            ready = read_ready(connection, self._rules, self._clock and self._clock())
            if ready is None:
                return None
            if (fill := fills.last_done(connection)) != self._fill:
                self._fill, self._state = fill, None  # topics were filled: the state that knows them is in the store
            if (switch := switches.last_done(connection)) != self._switch:
                self._switch, self._state = switch, None  # the model has changed, and the state with it
            number = settings_versions.in_force(connection)
            if number is not None and number != self._settings:
                self._settings, self._state = number, None  # detectors have another budget: made anew from the store
            if (
                self._state is None
                or self._admission is None
                or self._watch is None
                or self._state_until != ready.decided_until
            ):
                self._admission = store_admission.load(connection)
                self._watch = store_watch.load(connection)
                self._state = rebuild(connection, self._rules, ready.decided_until)
                self._left = reconcile(connection, self._state, ready.decided_until or 0)
                share = names_share(settings_versions.body_of(connection, self._settings))
                self._names, over = new_names.load(connection, share, ready.decided_until)
                self._left += over
            assert self._names is not None  # it is loaded with the state
            self._watch.cards = store_watch.cards(connection)  # a worker may have bound the store to a model since
        state, self._state = self._state, None  # if what follows fails, the state is no longer that of the store
        closed = self._decide(state, self._names, self._admission, self._watch, ready)
        self._state, self._state_until = state, ready.until
        return closed

    def take_state(self, connection: Connection, until: int) -> State:
        """Return the state at `until`, which is "decided until". It is made anew when this closer decides again."""
        state, self._state = self._state, None
        adopted = settings_versions.in_force(connection) in (None, self._settings)
        if state is None or self._state_until != until or not adopted:
            state = rebuild(connection, self._rules, until)
        return state

    def _decide(self, state: State, names: NewNames, admission: Admission, watch: ScorerWatch, ready: Ready) -> Closed:
        by_bucket: dict[int, list[CountedStory]] = {}
        for member in ready.members:
            by_bucket.setdefault(member.bucket, []).append(member)
        rulings: list[Ruling] = []
        decided: list[tuple[Bucket, Decision]] = []
        beyond: dict[str, Beyond] = {}
        changes, self._left = self._left, []
        since, stood = _passed(state, ready.decided_until), list[Stall]()
        stories: list[CriticalStory] = []
        scorer, scorer_ended = list[Change](), list[Ended]()
        for start in sorted(by_bucket):
            ruled, bucket = count_bucket(
                ready.memory, start, by_bucket[start], self._rules, admission, beyond, state.rules.muted
            )
            rulings += ruled
            of_scorer, over = watch.take(start + self._rules.bucket, ruled)
            scorer += of_scorer
            scorer_ended += over
            stories += bucket.critical
            if bucket.critical and not bucket.topics and state.last_end is not None:
                # A version of a known story does not end a stall.
                stood.append((state.last_end + state.rules.stall_after, bucket.critical[-1].counts_at))
            if bucket.topics:
                decision = decide(state, bucket)
                decided.append((bucket, decision))
                changes += decision.changes
                if names.share > 0:
                    changes += names.take(bucket, state)
                # As for the detectors: hours that end later than `stall_after` into a stall never pass.
                stood += ((start + state.rules.stall_after, end) for start, end in decision.stalls)
        changes += pass_time(state, ready.until).changes
        if names.share > 0:
            changes += names.pass_time(state.history)
        with writing(self._engine) as connection:
            f = schema.feed.c
            mine = and_(
                f.decided_until.is_not_distinct_from(ready.decided_until), f.members_version == ready.members_version
            )
            if connection.execute(update(schema.feed).where(mine).values(decided_until=ready.until)).rowcount != 1:
                raise Overtaken("Another process decided these buckets, or a partition joined meanwhile.")
            was_ahead = store_ahead.remove(connection)
            write_rulings(connection, rulings)
            store_critical.save(connection, stories)
            memory.save(connection, ready.memory)
            new_names.save(connection, names, ready.until)
            write_buckets(connection, decided, self._settings, admission)
            store_admission.note(connection, beyond)
            store_watch.save(connection, watch, scorer, scorer_ended)
            how: dict[str, Any] = {"origin": self._origin, "settings": self._settings, "deliver": self._deliver}
            passing = Passing(since, _passed(state, ready.until), stood, ready.decided_until)
            written = write_changes(connection, changes, stories, passing, **how)
            known = store_ahead.settle(connection, was_ahead, ready.until)
            # What was sent ahead and came true has been reported.
            written = [news for news in written if news.change.alert.id not in known or news.change.event == "resolved"]
        counted = sum(note.stories for note in beyond.values())
        return Closed(
            buckets=len(by_bucket),
            stories=len(ready.members),
            until=ready.until,
            news=written,
            beyond=counted,
            names=len(names.sketch.names),
            rulings=tuple(rulings),
            scorer=tuple(scorer),
            scorer_ended=tuple(scorer_ended),
        )


def _passed(state: State, until: int | None) -> int | None:
    """Return up to when time has passed for incidents: as for the detectors, not into a stall."""
    return None if until is None or state.last_end is None else min(until, state.last_end + state.rules.stall_after)


def read_ready(connection: Connection, rules: TimeRules, now: int | None = None) -> Ready | None:
    """The buckets that feed time has passed and nobody decided yet, oldest first; None if there are none."""
    decided_until, members_version = counts.decided_and_members(connection)
    time = progress.feed_time(connection, rules, now)
    if time is None:
        return None
    until = rules.start_of(time)
    if (stop := switches.waits_at(connection)) is not None:
        until = min(until, stop)  # what comes later is decided by a state that knows the new model
    if decided_until is not None and until <= decided_until:
        return None
    members, cut = stories_to_decide(connection, decided_until, until, rules)
    return Ready(
        decided_until,
        members_version,
        until if cut is None else cut,
        members,
        memory.load(connection, members),
    )
