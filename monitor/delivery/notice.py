"""Define what is sent about an alert. One notice becomes a webhook's body or a message, depending on the receiver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from foreshock.monitor.severity import LEVELS, WARNING

if TYPE_CHECKING:  # the settings check templates with a sample, and load without the store
    from foreshock.monitor.store.deliveries import Due

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
    "severity": "info",
    "sentence": "This is a test of the delivery; nothing has happened.",
    "statistic": 6.0,
    "threshold": 5.0,
    "word": None,
    "inhibited_by": None,
    "inhibited_because": None,
}

SAMPLE_INCIDENT: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-000000000001",
    "state": "open",
    "title": "This is a test of the delivery; nothing has happened.",
    "severity": "info",
    "direction": "worse",
    "started_at": "2026-01-05T14:10:00Z",
    "fired_at": "2026-01-05T14:20:00Z",
    "updated_at": "2026-01-05T14:20:00Z",
    "ended_at": None,
    "merged_into": None,
    "events": 1,
    "sources": 1,
    "peak": {"events": 1, "at": "2026-01-05T14:20:00Z"},
    "topics": ["Test"],
    "kinds": ["negativity_spike"],
    "alerts": [{key: value for key, value in SAMPLE_ALERT.items() if key not in ("evidence", "origin")}],
    "alert_count": 1,
    "stories": SAMPLE_ALERT["evidence"],
}


def sample(version: int) -> dict[str, Any]:
    """Return what a notice that tests the delivery holds, for a receiver of a version."""
    return SAMPLE_ALERT if version == 1 else {**SAMPLE_ALERT, "incident": SAMPLE_INCIDENT, "changes": []}


@dataclass(frozen=True, slots=True)
class Notice:
    """One message about an alert to one receiver; or a digest of several."""

    id: str
    """The same for every attempt."""
    event: str
    """`firing`, `updated` (of an incident), `resolved`, `digest` or `test`."""
    at: int
    """When it was decided, in event time (microseconds)."""
    alert: dict[str, Any]
    """The object of `alerts list --json`. For an incident it is that of its lead alert, with `incident` (the incident's
    object, whose `id` stays the same from message to message) and `changes`. Of a digest it is `digest` alone."""
    link: str | None
    """The URL of the alert's page on the dashboard."""

    @property
    def incident(self) -> str:
        """The id under which receivers join what belongs together: the incident's, or else the alert's."""
        if "incident" in self.alert:
            return str(self.alert["incident"]["id"])
        return str(self.alert.get("group_id") or self.alert["id"])

    @property
    def severity(self) -> str:
        """One of `severity.LEVELS`, of the incident where there is one. Without one it counts as `warning`."""
        given = self.alert.get("incident", self.alert).get("severity")
        return given if given in LEVELS else WARNING

    @property
    def title(self) -> str:
        """One sentence: the incident's title, or that of the alert."""
        if "digest" in self.alert:
            return str(self.alert["digest"]["sentence"])
        return str(self.alert["incident"]["title"] if "incident" in self.alert else self.alert["sentence"])


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

    @property
    def version(self) -> int:
        """2: it gets messages about incidents. 1: about each alert."""
        ...

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt to deliver a notice. Raises Undelivered."""
        ...


def takes_digests(receiver: Receiver) -> bool:
    """Return whether a receiver gets what was muted as one digest. Others get each message by itself, such as services
    that open and close an entry for each incident."""
    return bool(getattr(receiver, "takes_digests", receiver.version == 2))


def notice_of(item: Due, external_url: str | None) -> Notice:
    """Return the notice of a delivery. `external_url`: the dashboard's, for the link."""
    if "digest" in item.alert:
        return _digest(item, external_url)
    link = link_to(item.alert_id, external_url)
    if "incident" in item.alert:
        link = link_to(item.alert["incident"]["id"], external_url, "incident")
    if item.shown_as is None:
        return Notice(item.id, plain_event(item.event), item.decided_at, item.alert, link)
    alert = item.alert | ({"escalated": True} if item.shown_as == "escalated" else {})
    return Notice(item.id, "firing", item.decided_at, alert, link)


def _digest(item: Due, external_url: str | None) -> Notice:
    """Return the notice of a digest, with a link for each incident."""
    body = dict(item.alert["digest"])
    for key in ("incidents", "fired", "ended"):
        if key in body:
            body[key] = [{**one, "link": link_to(one["id"], external_url, _what(one))} for one in body[key]]
    link = None if external_url is None else f"{external_url.rstrip('/')}/Alerts"
    return Notice(item.id, item.event, item.decided_at, {"digest": body}, link)


def _what(one: dict[str, Any]) -> str:
    return "alert" if "topic" in one else "incident"


def plain_event(event: str) -> str:
    """Return what happened, of an event of the outbox: `updated` of `incident.updated-000001`."""
    return event.removeprefix("incident.").partition("-")[0]


def link_to(identity: str, external_url: str | None, what: str = "alert") -> str | None:
    """Return the URL of the page of an alert, or of an `incident`, or None without an `external_url`."""
    return None if external_url is None else f"{external_url.rstrip('/')}/Alerts?{what}={identity}"
