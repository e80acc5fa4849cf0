"""The sender: takes what closing left in the outbox to every receiver, again and again until it is there or parked.

Each receiver has a lane of its own, so that one that hangs delays no other. An attempt is made first and committed
after: a crash in between repeats it under the same id.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from foreshock.monitor.delivery.notice import Receiver, notice_of
from foreshock.monitor.errors import MonitorError, Undelivered
from foreshock.monitor.store import desk_actions, outbox
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.outbox import Due, Failure

SECOND = 1_000_000
AT_ONCE = 100
POLL_SECONDS = 0.5
"""How often a sender looks at the outbox unasked: another process may have closed a bucket."""
FOLD_SECONDS = 10.0
"""Without a further one, and without time going on, after which alerts that were decided long after the fact are told,
together."""
LONGEST_FOLD_SECONDS = 900.0
"""After which they are told though more may come: a feed may lag for ever."""
LAST_ATTEMPTS_SECONDS = 5.0
"""For the attempts that are being made, once a sender stops. One that takes longer is made again by the next."""

Clock = Callable[[], int]


def wall_clock() -> int:
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Retries:
    """After the n-th failure the next attempt is about 2**(n-1) seconds away, at the most `longest`."""

    attempts: int
    longest: int = 3_600 * SECOND

    def wait(self, failures: int, draw: float) -> int:
        """Microseconds. `draw` in [0, 1) spreads them by a fifth either way, so that what failed together does not
        come again together."""
        return round(min(self.longest, SECOND << (failures - 1)) * (0.8 + 0.4 * draw))


LIVE = Retries(attempts=16)
"""Some four hours."""
WAITED_FOR = Retries(attempts=6)
"""Half a minute: somebody waits for a replay to end."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Counts of one pass."""

    delivered: int = 0
    failed: int = 0
    parked: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.delivered + other.delivered, self.failed + other.failed, self.parked + other.parked)


OnAttempt = Callable[[str, Sent, float], None]
"""Told of each attempt: the receiver, what came of it, and its seconds."""


def deliver_due(
    engine: Engine,
    receivers: Sequence[Receiver],
    now: Clock = wall_clock,
    *,
    external_url: str | None = None,
    retries: Retries = LIVE,
) -> Sent:
    """One pass: give what is queued to the receivers, and attempt once what is due, each receiver beside the others.

    Returns when the slowest is through. `now`: microseconds since 1970.
    """
    dispatch(engine, receivers, now)
    if not receivers:
        return Sent()
    with ThreadPoolExecutor(len(receivers), "deliver") as pool:

        def deliver(receiver: Receiver) -> Sent:
            return _deliver_to(engine, receiver, now, external_url, retries, lambda: False, _untold)

        passes = pool.map(deliver, receivers)
        return sum(passes, Sent())


def _untold(_receiver: str, _sent: Sent, _seconds: float) -> None:
    pass


def dispatch(
    engine: Engine,
    receivers: Sequence[Receiver],
    now: Clock = wall_clock,
    caught_up: Callable[[tuple[int, int, int]], bool] = lambda _: True,
) -> dict[str, int]:
    """Give each row that closing queued to all receivers; a silenced topic's rows to none.

    `caught_up`: asked of what `outbox.belated` says, whether nothing more comes to it.
    """
    at = now()
    with reading(engine) as connection:  # most often there is nothing, and no need to keep others from writing
        if not outbox.has_queued(connection):
            return {}
        waiting = outbox.belated(connection, at)
    with writing(engine) as connection:

        def silenced(topic: str) -> bool:
            until = desk_actions.silenced_until(connection, topic)
            return until is not None and until > at

        names = [receiver.name for receiver in receivers]
        return outbox.dispatch(connection, names, at, silenced, caught_up=not waiting[0] or caught_up(waiting))


class Sender:
    """Delivers while a run goes on: a thread that looks at the outbox, and one for each receiver.

    >>> with Sender(engine, receivers) as sender:   # doctest: +SKIP
    ...     sender.wake()                           # after a transaction; else it looks twice a second
    ...     sender.drain()                          # until every row is delivered or parked
    """

    def __init__(
        self,
        engine: Engine,
        receivers: Sequence[Receiver],
        *,
        external_url: str | None = None,
        retries: Retries = LIVE,
        now: Clock = wall_clock,
        may_send: Callable[[], bool] = lambda: True,
        on_attempt: OnAttempt = _untold,
    ) -> None:
        """`may_send` is asked before each attempt: whether delivering is still this process's task. `on_attempt` is
        told of each, by the lanes' threads."""
        self._engine = engine
        self._receivers = receivers
        self._external_url = external_url
        self._retries = retries
        self._now = now
        self._may_send = may_send
        self._on_attempt = on_attempt
        self._waiting = (0, 0, 0)
        self._same_since = 0.0
        self._waiting_since: float | None = None
        self._stopping = threading.Event()
        self._bells = [threading.Event() for _ in range(len(receivers) + 1)]
        self._threads: list[threading.Thread] = []
        self._fault: Exception | None = None

    def __enter__(self) -> Sender:
        with writing(self._engine) as connection:
            outbox.park_unknown(connection, [receiver.name for receiver in self._receivers])
        self._start(self._dispatch, self._bells[0], "dispatch")
        for receiver, bell in zip(self._receivers, self._bells[1:], strict=True):
            self._start(lambda r=receiver: self._deliver(r), bell, f"deliver-{receiver.name}")  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        """Stops after the attempts that are being made; what waits stays in the store."""
        self._stopping.set()
        for bell in self._bells:
            bell.set()
        until = time.monotonic() + LAST_ATTEMPTS_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def wake(self) -> None:
        """Look at the outbox now."""
        self._bells[0].set()

    def drain(self) -> None:
        """Wait until every row is delivered or parked. Raises what made a lane fail."""
        self.wake()
        names = [receiver.name for receiver in self._receivers]
        while not self._stopping.is_set():
            if self._fault is not None:
                raise self._fault
            with reading(self._engine) as connection:
                if not outbox.unsettled(connection, names):
                    return
            time.sleep(0.05)

    def _start(self, turn: Callable[[], None], bell: threading.Event, name: str) -> None:
        def loop() -> None:
            waiting = False
            while not self._stopping.is_set():
                bell.clear()
                try:
                    if self._may_send():
                        turn()
                    waiting = False
                except (SQLAlchemyError, MonitorError) as error:
                    # The store is away or busy for a while; nothing is lost, since what is not committed is repeated.
                    if not waiting:
                        _log().warning("delivery waits for the store", error=str(error.args[0]).strip())
                    waiting = True
                except Exception as error:  # a fault of ours: the other lanes go on, and whoever drains must not wait
                    self._fault = error
                    _log().exception("delivery failed", thread=name)
                bell.wait(POLL_SECONDS)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _dispatch(self) -> None:
        became = dispatch(self._engine, self._receivers, self._now, self._caught_up)
        if any(became.values()):
            for bell in self._bells[1:]:
                bell.set()

    def _caught_up(self, waiting: tuple[int, int, int]) -> bool:
        """Whether what waits, and time, have been the same for a while; or have not been so for too long."""
        now = time.monotonic()
        if waiting != self._waiting:
            self._waiting, self._same_since = waiting, now
        if self._waiting_since is None:
            self._waiting_since = now
        over = now - self._same_since >= FOLD_SECONDS or now - self._waiting_since >= LONGEST_FOLD_SECONDS
        if over:
            self._waiting_since = None
        return over

    def _deliver(self, receiver: Receiver) -> None:
        _deliver_to(
            *(self._engine, receiver, self._now, self._external_url, self._retries, self._stopped, self._on_attempt)
        )

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._may_send()


def _deliver_to(
    engine: Engine,
    receiver: Receiver,
    now: Clock,
    external_url: str | None,
    retries: Retries,
    stopped: Callable[[], bool],
    on_attempt: OnAttempt,
) -> Sent:
    """Attempt once all that is due for one receiver. Where nobody is there, one attempt stands for all of it."""
    sent = Sent()
    begun = now()
    while True:
        with reading(engine) as connection:
            # Only what was due at the beginning: what fails in this pass waits for another.
            items = outbox.due(connection, receiver.name, begun, AT_ONCE)
        if not items:
            return sent
        for place, item in enumerate(items):
            if stopped():
                return sent
            tried_at = time.monotonic()
            error = _attempt(receiver, item, external_url)
            seconds = time.monotonic() - tried_at
            if error is None:
                with writing(engine) as connection:
                    outbox.settle(connection, item, now())
                one = Sent(delivered=1)
            else:
                fate = items[place:] if error.receiver_down else [item]
                one = _postpone(engine, fate, error, now(), retries)
            on_attempt(receiver.name, one, seconds)
            sent += one
            if error is not None and error.receiver_down:
                return sent


def _attempt(receiver: Receiver, item: Due, external_url: str | None) -> Undelivered | None:
    try:
        receiver.send(notice_of(item, external_url))
    except Undelivered as error:
        return error
    except Exception as error:  # a reply that no library foresaw must not end the lane: it counts as an attempt
        return Undelivered(f"failed: {type(error).__name__}")
    return None


def _postpone(engine: Engine, items: Sequence[Due], error: Undelivered, at: int, retries: Retries) -> Sent:
    sent = Sent()
    with writing(engine) as connection:
        for place, item in enumerate(items):
            failures = item.attempts + 1
            last = failures >= retries.attempts or (error.final and place == 0)
            wait = max(retries.wait(failures, random.random()), min(error.retry_after, retries.longest))
            outbox.postpone(connection, item, Failure(str(error), at, None if last else at + wait, tried=place == 0))
            sent += Sent(failed=1, parked=int(last))
    for item in items[:1]:
        _log().warning(
            "not delivered", receiver=item.receiver, alert=item.alert_id, event_type=item.event, error=str(error)
        )
    return sent


def _log() -> Any:
    import structlog

    return structlog.get_logger()
