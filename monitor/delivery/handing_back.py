"""What waited before a replay began to deliver waits again when it ends: a live run goes on for hours with it.

A replay gives up soon, because a person waits for it. That is a decision about its own messages, not about those that a
live run left for a receiver that is down.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from foreshock.monitor.errors import Undelivered
from foreshock.monitor.store import deliveries
from foreshock.monitor.store.deliveries import Due, Key


@dataclass
class HandingBack:
    """Deliveries as they were when a sender began, and those that a receiver has refused for good since.

    Invariant: what waited before is delivered, refused for good, or waits with the attempts that it had. A later
    message about the same alert waits behind it: sent before it, or parked, it would leave the alert open there.
    """

    waited: dict[Key, int]
    """What waited, with its attempts."""
    parked: frozenset[Key]
    refused: set[Key] = field(default_factory=set)

    @classmethod
    def begin(cls, connection: Connection) -> HandingBack:
        """Return what waits now."""
        waited = deliveries.attempts(connection, "waiting")
        return cls(waited, frozenset(deliveries.attempts(connection, "parked")) if waited else frozenset())

    def attempted(self, item: Due, error: Undelivered | None) -> None:
        """Note how an attempt ended."""
        if error is not None and error.final:
            self.refused.add((item.alert_id, item.event, item.receiver))

    def end(self, connection: Connection, now: int) -> int:
        """Let what was parked since wait again, if it waited before or belongs to an alert that did. Return how many.

        `now`: by the clock; from then on a live run tries it.
        """
        if not self.waited:
            return 0
        alerts = {(alert, receiver) for alert, _, receiver in self.waited}
        again = {
            key: self.waited.get(key, 0)
            for key in deliveries.attempts(connection, "parked")
            if (key[0], key[2]) in alerts and key not in self.parked and key not in self.refused
        }
        deliveries.wait_again(connection, again, now)
        return len(again)
