"""Keep the state of each receiver that fails, so that nothing is sent to it while it is held.

The state belongs to the receiver and not to a delivery: it holds for everything that waits for it, also for what is
decided later and for the process that takes over. A receiver that works has no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from foreshock.monitor.store import schema
from foreshock.monitor.store.times import iso_or_none
from foreshock.monitor.units import HOUR

FURTHEST = 2 * HOUR
"""No receiver is held for longer at a time (breaker.LONGEST_ASKED; microseconds)."""


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What is known of one receiver. Times are microseconds by the clock."""

    failures: int = 0
    """Failures in a row that concern the whole receiver. 0: it works, as far as is known."""
    down_since: int = 0
    """When the first of them was."""
    held_until: int | None = None
    """Nothing is sent to it before this time. After it, one delivery is tried first."""
    last_error: str = ""

    def is_held(self, now: int) -> bool:
        """Return whether nothing is sent to it now. A hold further ahead than any is was written by a clock that was
        ahead, and is over."""
        return self.held_until is not None and now < self.held_until <= now + FURTHEST

    def word(self, now: int) -> str:
        """Return `ok`, `failing` (but not held), `held` or `trial` (the next delivery decides)."""
        if not self.failures:
            return "ok"
        if self.held_until is None:
            return "failing"
        return "held" if self.is_held(now) else "trial"


WORKS = ReceiverState()


def state(connection: Connection, receiver: str) -> ReceiverState:
    """Return the state of a receiver."""
    r = schema.receivers.c
    row = connection.execute(
        select(r.failures, r.down_since, r.held_until, r.last_error).where(r.receiver == receiver)
    ).first()
    return WORKS if row is None else ReceiverState(*row)


def set_state(connection: Connection, receiver: str, new: ReceiverState) -> None:
    """Replace the state of a receiver. One that works loses its row."""
    r = schema.receivers.c
    if not new.failures:
        connection.execute(delete(schema.receivers).where(r.receiver == receiver))
        return
    values = {
        "failures": new.failures,
        "down_since": new.down_since,
        "held_until": new.held_until,
        "last_error": new.last_error,
    }
    if connection.execute(update(schema.receivers).where(r.receiver == receiver).values(values)).rowcount != 1:
        connection.execute(insert(schema.receivers).values(receiver=receiver, **values))


def release(connection: Connection, names: Sequence[str], now: int) -> None:
    """Try these receivers now: a person says that they work again. The next failure holds them as before."""
    r = schema.receivers.c
    held = and_(r.receiver.in_(names), r.held_until > now)
    connection.execute(update(schema.receivers).where(held).values(held_until=now))


def forget_unknown(connection: Connection, names: Sequence[str]) -> None:
    """Delete the states of receivers that the settings no longer name."""
    connection.execute(delete(schema.receivers).where(schema.receivers.c.receiver.not_in(names)))


def summary(connection: Connection, now: int, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Return each receiver's state, its failures and its deliveries by state, with ISO times.

    `names`: receivers to list although they have neither. `now`: by the clock (microseconds).
    """
    d = schema.deliveries.c
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    last: dict[str, int | None] = {}
    counted = select(d.receiver, d.state, func.count(), func.max(d.delivered_at)).group_by(d.receiver, d.state)
    for name, delivery, count, delivered_at in connection.execute(counted):
        counts.setdefault(name, {})[delivery] = count
        if delivered_at is not None:
            last[name] = delivered_at
    states = {row.receiver: ReceiverState(*row[1:]) for row in connection.execute(select(schema.receivers))}
    return {
        name: {
            "state": (known := states.get(name, WORKS)).word(now),
            "failures": known.failures,
            "down_since": iso_or_none(known.down_since or None),
            "held_until": iso_or_none(known.held_until),
            "last_error": known.last_error or None,
            "last_delivered_at": iso_or_none(last.get(name)),
            **{word: counts.get(name, {}).get(word, 0) for word in ("waiting", "muted", "delivered", "parked")},
        }
        for name in sorted({*counts, *states})
    }
