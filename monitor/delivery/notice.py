"""Define what is sent about an alert. One notice becomes a webhook's body or a message, depending on the receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from foreshock.monitor.store.outbox import Due

SAMPLE_ALERT: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-000000000000",
    "topic": "Test",
    "kind": "negativity_spike",
    "direction": "worse",
    "state": "firing",
    "origin": "live",
    "group_id": None,
    "started_at": "2026-01-05T14:10:00Z",
    "fired_at": "2026-01-05T14:20:00Z",
    "resolved_at": None,
    "observed": 10.6,
    "baseline": 0.06,
    "evidence": [
        {
            "id": "test-1",
            "title": "This story was made up to test the delivery",
            "url": "",
            "source": "Foreshock",
            "published_at": "2026-01-05T14:11:00Z",
            "scores": {"negative": 0.9, "neutral": 0.08, "positive": 0.02},
            "copies": 0,
        }
    ],
    "sources": 1,
    "events": 1,
    "severity": None,
    "sentence": "This is a test of the delivery; nothing has happened.",
}

SEVERITIES = ("info", "warning", "critical")
"""From the least grave to the gravest."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about an alert to one receiver."""

    id: str
    """The same for every attempt."""
    event: str
    """`firing`, `resolved` or `test`."""
    at: int
    """When it was decided, in event time (microseconds)."""
    alert: dict[str, Any]
    """The object of `alerts list --json`."""
    link: str | None
    """The URL of the alert's page on the dashboard."""

    @property
    def incident(self) -> str:
        """The id under which receivers join what belongs together: the incident's, or else the alert's."""
        return str(self.alert.get("group_id") or self.alert["id"])

    @property
    def severity(self) -> str:
        """One of `SEVERITIES`. An alert without one counts as `warning`."""
        given = self.alert.get("severity")
        return given if given in SEVERITIES else "warning"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a successful delivery."""

    status: int | None
    """The HTTP status, if there is one."""
    seconds: float


class Receiver(Protocol):
    """Where notices go: a webhook, or a message to people."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt to deliver a notice. Raises Undelivered."""
        ...


def notice_of(item: Due, external_url: str | None) -> Notice:
    """Return the notice of a delivery. `external_url`: the dashboard's, for the link."""
    return Notice(item.id, item.event, item.decided_at, item.alert, link_to(item.alert_id, external_url))


def link_to(alert_id: str, external_url: str | None) -> str | None:
    """Return the URL of an alert's page, or None without an `external_url`."""
    return None if external_url is None else f"{external_url.rstrip('/')}/Alerts?alert={alert_id}"
