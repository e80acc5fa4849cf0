"""Deliveries on *Health*: each receiver with its last answer and what to do, and the messages in trouble.

Everything is read from `deliveries`, one row a message and receiver. The outbox knows only what was meant for delivery.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import Any

from foreshock.dashboard import formats, frame, text
from foreshock.dashboard.reader import Look
from foreshock.monitor.store import deliveries, receivers, views

SHOWN = 20
"""The most messages in trouble."""
STATES = {
    "ok": "works",
    "failing": "fails",
    "held": "held: it does not answer, or asked to wait",
    "trial": "the next delivery decides whether it works again",
}
"""The state of a receiver in words."""
NOT_SENT = {
    "queued": "waiting for a process that sends",
    "withheld": "withheld: decided by a replay, which delivers nothing without --deliver",
    "silenced": "silenced: a person silenced the topic",
}
"""What became of news that no receiver was given."""
GIVEN = ("dispatched", "folded")
"""What receivers were given, alone or in a message that stands for several."""


@dataclass(frozen=True, slots=True)
class ReceiverLine:
    """A receiver as its table shows it."""

    name: str
    state: str
    bad: bool
    waiting: int
    muted: int
    delivered: int
    parked: int
    last_delivered: str
    answer: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is parked, or whose attempts fail."""

    receiver: str
    alert: str
    topic: str | None
    """None: a digest, which is of no alert."""
    event: str
    state: str
    at: str
    answer: str
    remedy: str


def draw(look: Look) -> None:
    """Draw the section."""
    found = receivers.summary(look.connection, time.time_ns() // 1_000)
    queue = views.outbox_counts(look.connection)
    if not found and not queue:
        frame.header("Deliveries", "No alert has changed its state yet, so there is nothing to deliver.")
        return
    said = (
        f"Each receiver, with its last answer. Times in {formats.zone()}."
        if found
        else "No receiver was given a message."
    )
    frame.header("Deliveries", said)
    if found:
        frame.show("receivers.html", rows=[_receiver(name, row) for name, row in found.items()])
        troubled = _troubled(look)
        if troubled:
            frame.show("deliveries.html", rows=troubled, shown=SHOWN)
    rows = [
        (NOT_SENT.get(state, text.outside(state, 40)), n) for state, n in sorted(queue.items()) if state not in GIVEN
    ]
    if rows:
        frame.show("not_sent.html", rows=rows)


def _receiver(name: str, row: dict[str, Any]) -> ReceiverLine:
    state = STATES[row["state"]]
    if row["state"] == "held" and row["held_until"]:
        state = f"held until {formats.clock_of_iso(row['held_until'])}"
    answer = row["last_error"] or ("delivered" if row["last_delivered_at"] else "–")
    remedy = "–"
    if row["parked"]:
        remedy = f"foreshock alerts resend --to {shlex.quote(name)}"
    elif row["state"] != "ok":
        remedy = "foreshock doctor --connect"
    last = row["last_delivered_at"]
    return ReceiverLine(
        name=name,
        state=state,
        bad=bool(row["failures"]),
        waiting=row["waiting"],
        muted=row["muted"],
        delivered=row["delivered"],
        parked=row["parked"],
        last_delivered="never" if last is None else formats.clock_of_iso(last),
        answer=answer,
        remedy=remedy,
    )


def _troubled(look: Look) -> list[Message]:
    """Return the newest messages that are parked or have failed, parked ones first."""
    found = list(deliveries.listed(look.connection, state="parked", limit=SHOWN))
    found += deliveries.listed(look.connection, state="waiting", failed=True, limit=SHOWN)
    return [_message(row) for row in found[:SHOWN]]


def _message(row: dict[str, Any]) -> Message:
    if row["state"] == "parked":
        remedy = f"foreshock alerts resend --to {shlex.quote(row['receiver'])}"
        state = "parked"
    else:
        remedy = "nothing: it is tried again"
        next_at = row["next_attempt_at"]
        state = "waiting" if next_at is None else f"tried again at {formats.clock_of_iso(next_at)}"
    return Message(
        receiver=row["receiver"],
        alert=row["alert"],
        topic=row["topic"],
        event=row["event"],
        state=state,
        at=formats.clock_of_iso(row["tried_at"] or row["decided_at"]),
        answer=row["last_error"] or "–",
        remedy=remedy,
    )
