"""Deliver each outbox row to each receiver, and retry until it is delivered or parked.

Each receiver has its own thread and its own state (`foreshock.monitor.store.receivers`), so one that hangs does not
delay the others. An attempt is committed after it was made. A crash in between repeats it with the same id.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from foreshock.monitor.delivery import breaker
from foreshock.monitor.delivery.digests import Scheduled
from foreshock.monitor.delivery.handing_back import HandingBack
from foreshock.monitor.delivery.notice import Receiver, notice_of, takes_digests
from foreshock.monitor.delivery.route_settings import DigestSettings
from foreshock.monitor.delivery.routes import Routing, everybody
from foreshock.monitor.delivery.troubles import Troubles
from foreshock.monitor.errors import MonitorError, Undelivered
from foreshock.monitor.store import deliveries, desk_actions, escalations, muted, outbox
from foreshock.monitor.store import receivers as receiver_states
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.deliveries import Due, Failure
from foreshock.monitor.store.receivers import WORKS, ReceiverState
from foreshock.monitor.units import HOUR, MINUTE, SECOND

AT_ONCE = 100
"""How many due deliveries are read from the store at once."""
POLL_SECONDS = 0.5
"""How often a sender reads the outbox without being woken: another process may have closed a bucket."""
FOLD_SECONDS = 10.0
"""Belated alerts are delivered together once no new one came, and event time stood still, for this long."""
LONGEST_FOLD_SECONDS = 900.0
"""Belated alerts are delivered after this long even if more may come, because a feed may lag for ever."""
LAST_ATTEMPTS_SECONDS = 5.0
"""How long a stopping sender waits for running attempts. The next sender repeats one that takes longer."""

Clock = Callable[[], int]


def wall_clock() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential back-off: the n-th failure waits about 2**(n-1) seconds, at most `longest` (microseconds)."""

    attempts: int
    """Attempts of one delivery before it is parked."""
    gives_up_after: int = 4 * HOUR
    """What has waited this long for a receiver that is down is parked (microseconds)."""
    longest: int = HOUR
    hands_back: bool = False
    """Whether what waited before the sender began waits again when it ends, instead of being parked."""

    def wait(self, failures: int, draw: float) -> int:
        """Return the wait until the next attempt, in microseconds.

        `draw` in [0, 1) varies it by a fifth either way, so deliveries that failed together are not retried together.
        """
        return round(min(self.longest, SECOND << (failures - 1)) * (0.8 + 0.4 * draw))


LIVE = Retries(attempts=16)
"""Retries of a live run, for about four hours."""
WAITED_FOR = Retries(attempts=6, gives_up_after=40 * SECOND, hands_back=True)
"""Retries of a replay, for half a minute, because a person waits for it to end."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Counts of one pass."""

    delivered: int = 0
    failed: int = 0
    parked: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.delivered + other.delivered, self.failed + other.failed, self.parked + other.parked)


BRIEF_OUTAGE = MINUTE
"""After a longer outage, what failed in it is sent at once. After a shorter one it keeps its own waits, because it may
have caused the failure."""

OnAttempt = Callable[[Due, Sent, float, Undelivered | None], None]
"""Called after each attempt with the delivery, the counts, the attempt's seconds, and why it failed."""


OnState = Callable[[str, ReceiverState, int], None]
"""Called with the receiver's name, its state and the time, whenever a sender has read the state."""


def _ignore(*_: object) -> None:
    pass


def dispatch(
    engine: Engine,
    receivers: Sequence[Receiver],
    now: Clock = wall_clock,
    caught_up: Callable[[tuple[int, int, int]], bool] = lambda _: True,
    routing: Routing | None = None,
) -> dict[str, int]:
    """Give each queued row to its receivers, or to none if its topic is silenced. Count the rows by their new state.

    It also hands out what is muted no longer (`released`), and incidents that nobody acknowledged (`escalated`).
    `caught_up`: whether belated rows may be delivered now. It gets the result of `outbox.belated`. `routing`: who
    hears; None: everybody.
    """
    at = now()
    names = [receiver.name for receiver in receivers]
    routing = everybody(names) if routing is None else routing
    with reading(engine) as connection:
        # There is mostly nothing to do. So it reads first, and other writers need not wait.
        queued = outbox.has_queued(connection)
        over = bool(muted.over(connection, routing, at))
        due = escalations.has_due(connection, at)
        if not (queued or over or due):
            return {}
        waiting = outbox.belated(connection, at)
    old = [receiver.name for receiver in receivers if receiver.version == 1]
    became: dict[str, int] = {}
    with writing(engine) as connection:

        def silenced(topic: str) -> bool:
            until = desk_actions.silenced_until(connection, topic)
            return until is not None and until > at

        if over:
            fitting = [receiver.name for receiver in receivers if takes_digests(receiver)]
            became["released"] = muted.release(connection, routing, names, fitting, at)
        if queued:
            caught = not waiting[0] or caught_up(waiting)
            became |= outbox.dispatch(connection, names, at, silenced, routing=routing, old=old, caught_up=caught)
        if due:
            became["escalated"] = escalations.escalate(connection, routing, names, silenced, at)
    return became


class Sender:
    """Delivers while a run goes on, with one thread that reads the outbox, and one for each receiver.

    >>> with Sender(engine, receivers) as sender:   # doctest: +SKIP
    ...     sender.wake()                           # after a transaction; otherwise it reads twice a second
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
        on_attempt: OnAttempt = _ignore,
        on_state: OnState = _ignore,
        routing: Routing | None = None,
        digests: Sequence[DigestSettings] = (),
        on_trouble: Callable[[str], None] = _ignore,
    ) -> None:
        """Prepare a sender; `with` starts and stops it.

        `routing`: who hears of what; None: everybody. `digests`: what is sent at stated times. `may_send` is called
        before each attempt, and says whether this process still has the task to deliver. `on_attempt` is called after
        each attempt, and `on_state` twice a second, in the receivers' threads. `on_trouble` is called with the reason
        why the store keeps it from delivering, and with "" once it delivers again.
        """
        self._engine = engine
        self._receivers = receivers
        self._external_url = external_url
        self._retries = retries
        self._now = now
        self._may_send = may_send
        self._on_attempt = on_attempt
        self._on_state = on_state
        self._routing = routing
        self._handing_back: HandingBack | None = None
        self._scheduled = Scheduled(engine, digests, now) if digests else None
        self._waiting = (0, 0, 0)
        self._same_since = 0.0
        self._waiting_since: float | None = None
        self._stopping = threading.Event()
        self._bells = [threading.Event() for _ in range(len(receivers) + 1)]
        self._threads: list[threading.Thread] = []
        self._fault: Exception | None = None
        self._troubles = Troubles(on_trouble)

    def __enter__(self) -> Sender:
        with writing(self._engine) as connection:
            names = [receiver.name for receiver in self._receivers]
            deliveries.park_unknown(connection, names, self._now())
            receiver_states.forget_unknown(connection, names)
            self._handing_back = HandingBack.begin(connection) if self._retries.hands_back else None
        self._start(self._dispatch, self._bells[0], "dispatch")
        if self._scheduled is not None:  # it reads much: what is urgent does not wait for it
            self._start(self._scheduled.turn, threading.Event(), "digests")
        for receiver, bell in zip(self._receivers, self._bells[1:], strict=True):
            self._start(lambda r=receiver: self._deliver(r), bell, f"deliver-{receiver.name}")  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop after the running attempts. Waiting deliveries stay in the store.

        Raises what the store raises, if it must let deliveries wait again (`Retries.hands_back`).
        """
        self._stopping.set()
        for bell in self._bells:
            bell.set()
        until = time.monotonic() + LAST_ATTEMPTS_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        if self._handing_back is not None:
            with writing(self._engine) as connection:
                self._handing_back.end(connection, self._now())

    def wake(self) -> None:
        """Read the outbox now."""
        self._bells[0].set()

    def drain(self) -> None:
        """Wait until every row is delivered or parked, also while the store is away for a moment.

        Raises the unexpected error of a thread, and that of the store if it does not pass (`Troubles.lasting`).
        """
        self.wake()
        names = [receiver.name for receiver in self._receivers]
        while not self._stopping.is_set():
            if self._fault is not None:
                raise self._fault
            try:
                with reading(self._engine) as connection:
                    left = deliveries.unsettled(connection, names)
                self._troubles.well("drain")
                if not left:
                    return
            except (SQLAlchemyError, MonitorError) as error:
                self._troubles.failed("drain", error)
            if (lasting := self._troubles.lasting()) is not None:
                raise lasting
            time.sleep(0.05)

    def _start(self, turn: Callable[[], None], bell: threading.Event, name: str) -> None:
        def loop() -> None:
            while not self._stopping.is_set():
                bell.clear()
                try:
                    if self._may_send():
                        turn()
                    self._troubles.well(name)
                except (SQLAlchemyError, MonitorError) as error:
                    # Nothing is lost, because uncommitted attempts are repeated.
                    self._troubles.failed(name, error)
                except Exception as error:  # a bug: the other threads continue, and `drain` must not wait for ever
                    self._fault = error
                    _log().exception("delivery failed with an unexpected error and will retry", thread=name)
                    self._troubles.failed(name, error)
                bell.wait(POLL_SECONDS)

        thread = threading.Thread(target=loop, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _dispatch(self) -> None:
        became = dispatch(self._engine, self._receivers, self._now, self._caught_up, self._routing)
        if any(became.values()):
            for bell in self._bells[1:]:
                bell.set()

    def _caught_up(self, waiting: tuple[int, int, int]) -> bool:
        """Return whether belated rows and event time have not changed for `FOLD_SECONDS`, or have waited too long."""
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
        deliver_to(
            *(self._engine, receiver, self._now, self._external_url, self._retries, self._stopped),
            on_attempt=self._attempted,
            on_state=self._on_state,
        )

    def _attempted(self, item: Due, one: Sent, seconds: float, error: Undelivered | None) -> None:
        if self._handing_back is not None:
            self._handing_back.attempted(item, error)
        self._on_attempt(item, one, seconds, error)

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._may_send()


def deliver_to(
    engine: Engine,
    receiver: Receiver,
    now: Clock,
    external_url: str | None,
    retries: Retries,
    stopped: Callable[[], bool],
    on_attempt: OnAttempt = _ignore,
    on_state: OnState = _ignore,
) -> Sent:
    """Attempt once each delivery that is due for one receiver, until the receiver is held."""
    sent = Sent()
    begun = now()
    while True:
        with reading(engine) as connection:
            state = receiver_states.state(connection, receiver.name)
            at = now()
            on_state(receiver.name, state, at)
            if state.is_held(at):
                return sent
            # Only what was due at the start, so that each delivery is attempted once in a pass. After a hold, one is
            # tried, and decides about the others.
            limit = AT_ONCE if state.held_until is None else 1
            items = deliveries.due(connection, receiver.name, begun, limit)
        if not items:
            return sent
        for item in items:
            if stopped():
                return sent
            tried_at = time.monotonic()
            error = _attempt(receiver, item, external_url)
            seconds = time.monotonic() - tried_at
            if error is None:
                one, state = _settled(engine, item, state, now())
                _log().info("delivered", receiver=item.receiver, alert=item.alert_id, event_type=item.event)
            else:
                one, state = _failed(engine, item, error, now(), retries)
            on_attempt(item, one, seconds, error)
            sent += one
            if error is not None and state.held_until is not None:
                return sent


def _attempt(receiver: Receiver, item: Due, external_url: str | None) -> Undelivered | None:
    try:
        receiver.send(notice_of(item, external_url))
    except Undelivered as error:
        return error
    except Exception as error:  # an unexpected reply must not end the thread: it counts as a failed attempt
        return Undelivered(f"failed: {type(error).__name__}")
    return None


def _settled(engine: Engine, item: Due, known: ReceiverState, at: int) -> tuple[Sent, ReceiverState]:
    """Record a success. The receiver works, unless another sender has found in the meantime that it does not."""
    with writing(engine) as connection:
        deliveries.settle(connection, item, at)
        if not known.failures or receiver_states.state(connection, item.receiver) != known:
            return Sent(delivered=1), known
        receiver_states.set_state(connection, item.receiver, WORKS)
        if at - known.down_since > BRIEF_OUTAGE:
            deliveries.retry_now(connection, item.receiver, at)
    _log().info("receiver works again", receiver=item.receiver)
    return Sent(delivered=1), WORKS


def _failed(engine: Engine, item: Due, error: Undelivered, at: int, retries: Retries) -> tuple[Sent, ReceiverState]:
    """Record a failure, for the delivery and for its receiver, and park what has waited too long."""
    parked = 0
    with writing(engine) as connection:
        before = receiver_states.state(connection, item.receiver)
        state = breaker.failed(
            *(before, error, at), fresh=item.attempts == 0, wait=lambda n: retries.wait(n, random.random())
        )
        if state != before:
            receiver_states.set_state(connection, item.receiver, state)
        if error.untried:
            deliveries.not_tried(connection, item, str(error))
        else:
            failures = item.attempts + 1
            last = failures >= retries.attempts or error.final
            wait = max(retries.wait(failures, random.random()), min(error.retry_after, retries.longest))
            deliveries.postpone(connection, item, Failure(str(error), at, None if last else at + wait))
            parked += int(last)
        if state.held_until is not None and state.held_until - state.down_since > retries.gives_up_after:
            due_before = state.held_until - retries.gives_up_after
            parked += deliveries.give_up(connection, item.receiver, due_before, str(error))
    _log().warning(
        "not delivered", receiver=item.receiver, alert=item.alert_id, event_type=item.event, error=str(error)
    )
    if state.held_until is not None and before.held_until is None:
        _log().warning("receiver is held", receiver=item.receiver, failures=state.failures, error=str(error))
    return Sent(failed=1, parked=parked), state


def _log() -> Any:
    import structlog

    return structlog.get_logger()
