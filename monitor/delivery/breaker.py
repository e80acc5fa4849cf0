"""Decide whether a receiver is held: the circuit breaker of one receiver, as a pure function of its state.

A receiver that does not answer, or asks to wait, is held at once. One that answers with errors is held after
`BREAKS_AFTER` fresh deliveries in a row that failed. When the hold is over, one delivery is tried (half-open): if it
arrives, the others follow, and otherwise the receiver is held again, for longer.

The pattern: M. Nygard, *Release It!*, "Circuit Breaker".
"""

from __future__ import annotations

from collections.abc import Callable

from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store.receivers import ReceiverState
from foreshock.monitor.units import HOUR, MINUTE

BREAKS_AFTER = 5
"""After how many fresh deliveries in a row that failed a receiver is held although it answers."""
LONGEST_HOLD = 5 * MINUTE
"""The longest hold that the receiver did not ask for. A new alert waits no longer than this for a receiver that is back
(microseconds, spread by a fifth)."""
LONGEST_ASKED = HOUR
"""The longest hold that a receiver may ask for with `Retry-After` (microseconds)."""
UNTRIED = 2 * HOUR
"""What waits is tried again each hour or so (`Retries.longest`). After this time nobody has tried (microseconds)."""
ABOUT_THE_RECEIVER = frozenset({401, 403, 404, 405, 407, 408, 425})
"""Statuses below 500 that another alert would get, too. The others, such as 400, 413 or 422, are about one alert."""


def failed(
    state: ReceiverState, error: Undelivered, at: int, *, fresh: bool, wait: Callable[[int], int]
) -> ReceiverState:
    """Return a receiver's state after a failed attempt.

    `fresh`: it was the delivery's first attempt. A delivery that fails again and again says nothing new about its
    receiver, so it alone never holds the receiver. `wait`: from the number of failures to a hold (microseconds).
    """
    asked = min(error.retry_after, LONGEST_ASKED)
    at_once = error.receiver_down or error.untried or asked > 0
    if not at_once and not (_about_the_receiver(error) and (fresh or state.held_until is not None)):
        return state
    failures = state.failures + 1
    counted = failures if at_once else failures - BREAKS_AFTER + 1
    held_until = state.held_until
    if counted > 0 or held_until is not None:
        held_until = max(
            (held_until or 0) if state.is_held(at) else 0, at + max(min(LONGEST_HOLD, wait(max(counted, 1))), asked)
        )
    # If nobody tried for long after the hold was over, no process ran. What waited meanwhile has all its time ahead.
    nobody_tried = state.held_until is not None and at - state.held_until > UNTRIED
    down_since = state.down_since if state.failures and not nobody_tried else at
    return ReceiverState(failures, down_since, held_until, str(error))


def _about_the_receiver(error: Undelivered) -> bool:
    return error.status is None or error.status >= 500 or error.status in ABOUT_THE_RECEIVER
