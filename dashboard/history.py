"""The timeline of an incident or an alert: what it did, the messages about it with their deliveries, who did what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foreshock.dashboard import formats, text, words
from foreshock.dashboard.health_deliveries import NOT_SENT
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.store.incident_history import Act, Delivery, Message
from foreshock.monitor.store.outbox_events import OF_INCIDENT
from foreshock.monitor.store.views import AlertRow

SAID = {"firing": "it fires", "updated": "it changed", "resolved": "it ended"}
"""What a message says, by the beginning of its event."""
DONE = {
    "acknowledge": "acknowledged",
    "watch": "put on the watchlist",
    "useful": "called useful",
    "useless": "called useless",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a timeline."""

    at: int
    said: str
    details: tuple[str, ...] = ()
    """Lines below it: the deliveries of a message."""
    by: str = ""
    """Who did it."""
    note: str = ""
    bad: bool = False


def of_alert(alert: AlertRow, *, named: bool) -> list[Entry]:
    """Return the alert's states with the times at which they began. `named`: with its topic and its kind.

    A rule estimates nothing and does not wait: the story counts, and the alert fires.
    """
    states = [(alert.started_at, "estimated start of the change"), (alert.pending_at, "pending")]
    if KINDS[alert.kind].by_rule:
        states = [(alert.started_at, "the story counts")]
    if named:
        states = []
    if alert.fired_at is not None:
        states.append((alert.fired_at, "fired"))
    if alert.resolved_at is not None:
        states.append((alert.resolved_at, "resolved" if alert.fired_at else f"ended, {words.NEVER_FIRED}"))
    about = f": {words.kind(alert)} on {text.named(alert.topic)}" if named else ""
    return [Entry(at, f"{said}{about}") for at, said in states]


def of_messages(messages: Sequence[Message]) -> list[Entry]:
    """Return a line for each message, with one below it for each receiver."""
    found = []
    for message in messages:
        begins = message.event.removeprefix(OF_INCIDENT).partition("-")[0]
        said = f"message: {SAID.get(begins, begins)}"
        if not message.deliveries:
            said += f"; {NOT_SENT.get(message.state, 'no receiver was given it')}"
        bad = any(delivery.state == "parked" for delivery in message.deliveries)
        found.append(Entry(message.at, said, tuple(map(_delivery, message.deliveries)), bad=bad))
    return found


def of_acts(acts: Sequence[Act]) -> list[Entry]:
    """Return a line for each thing that a person did."""
    found = []
    for act in acts:
        said = DONE.get(act.action, act.action)
        if act.action == "silence":
            over = act.until is not None and act.until <= act.at
            end = "" if act.until is None or over else f" until {formats.clock(act.until, year=True)}"
            said = f"{'silence ended of' if over else 'silenced'} {text.named(act.topic or '')}{end}"
        found.append(Entry(act.at, said, by=act.by, note=act.note))
    return found


def in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries by time. What has the same time stays in order."""
    return sorted(entries, key=lambda entry: entry.at)


def _delivery(delivery: Delivery) -> str:
    to = f"to {delivery.receiver}" + (f" by the route {delivery.route}" if delivery.route else "")
    if delivery.delivered_at is not None:
        return f"{to}: delivered {formats.clock(delivery.delivered_at, year=True)}"
    failed = (
        f" after {formats.count(delivery.attempts, 'attempt')}: {delivery.last_error}" if delivery.last_error else ""
    )
    if delivery.state == "waiting" and delivery.next_attempt_at is not None and failed:
        failed += f"; next at {formats.clock(delivery.next_attempt_at, year=True)}"
    return f"{to}: {delivery.state}{failed}"
