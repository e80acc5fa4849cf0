"""Write what on-call services expect: one function for each service, from a notice to the requests to make.

Every service gets the incident's id, so it joins what belongs together and closes it when the incident ends. A sample
of `alerts test` is opened and closed at once, so that none stays open.

Sources: PagerDuty, "Send an Alert Event" (Events API v2); Opsgenie, "Alert API"; Alertmanager, api/v2/openapi.yaml.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from foreshock.ingest.connection import Resolver, resolve
from foreshock.monitor.delivery.messages import plain
from foreshock.monitor.delivery.notice import Notice, Receipt
from foreshock.monitor.delivery.post import SECONDS, Poster
from foreshock.monitor.delivery.receiver_settings import ReceiverSettings, service_url
from foreshock.monitor.delivery.template import fields, fill_url
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store.times import iso
from foreshock.monitor.units import ALL, DAY

STORIES = 5
"""How many of the alert's stories a service gets."""
STAYS = 366 * DAY
"""How long Alertmanager keeps an alert open whose end it is not sent (microseconds by the clock). An incident may last
for months, and Foreshock says nothing of it while nothing changes."""
PRIORITIES = {"critical": "P1", "warning": "P3", "info": "P5"}
"""Opsgenie's priority of each severity."""


@dataclass(frozen=True, slots=True)
class Request:
    """One POST. `body`: a JSON value."""

    url: httpx.URL
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


T = TypeVar("T")
Write = Callable[[ReceiverSettings, Notice], list[Request]]


class Service:
    """A receiver of `[[receivers]]`. `resolver`: how names are resolved; tests replace it."""

    def __init__(self, settings: ReceiverSettings, *, seconds: float = SECONDS, resolver: Resolver = resolve) -> None:
        self.name, self.version = settings.name, 2
        self.takes_digests = False  # it opens and closes an entry for each incident
        self._settings = settings
        self._poster = Poster(settings, seconds=seconds, resolver=resolver)

    def send(self, notice: Notice) -> Receipt:
        """Make one attempt. Raises Undelivered."""
        started = time.monotonic()
        status: int | None = None
        for request in WRITERS[self._settings.kind](self._settings, notice):
            content = json.dumps(request.body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            status = self._poster.post(request.url, content, request.headers).status
        return Receipt(status, time.monotonic() - started)


def pagerduty(settings: ReceiverSettings, notice: Notice) -> list[Request]:
    """Return a trigger event, or a resolve event. PagerDuty joins events of one `dedup_key`."""
    common = {"routing_key": settings.secret, "dedup_key": notice.incident}
    payload = {
        "summary": plain(notice.title),
        "source": "Foreshock",
        "severity": notice.severity,
        "timestamp": iso(notice.at),
        "component": _topic(notice),
        "class": str(notice.alert["kind"]),
        "custom_details": _details(notice),
    }
    trigger: dict[str, Any] = {**common, "event_action": "trigger", "payload": payload, "client": "Foreshock"}
    if notice.link:
        trigger |= {"client_url": notice.link, "links": [{"href": notice.link, "text": "The alert in Foreshock"}]}
    resolve: dict[str, Any] = {**common, "event_action": "resolve"}
    events = _opened_and_closed(notice, trigger, resolve)
    return [Request(httpx.URL(settings.address()), event) for event in events]


def opsgenie(settings: ReceiverSettings, notice: Notice) -> list[Request]:
    """Return the request that creates an alert, or the one that closes it. Opsgenie joins alerts of one alias."""
    headers = {"Authorization": f"GenieKey {settings.secret}"}
    sentence = plain(notice.title)
    details = {key: value if isinstance(value, str) else json.dumps(value) for key, value in _details(notice).items()}
    create = {
        "message": _cut(f"{_topic(notice)}: {sentence}", 130),
        "alias": notice.incident,
        "description": "\n".join([sentence, *_stories(notice), *([notice.link] if notice.link else [])]),
        "entity": _topic(notice),
        "source": "Foreshock",
        "tags": ["foreshock", str(notice.alert["kind"])],
        "priority": PRIORITIES[notice.severity],
        "details": {key: value for key, value in details.items() if key != "stories"},
    }
    close = service_url(settings.address(), f"/{quote(notice.incident, safe='')}/close?identifierType=alias")
    return _opened_and_closed(
        notice,
        Request(service_url(settings.address(), ""), create, headers),
        Request(close, {"source": "Foreshock", "note": sentence}, headers),
    )


def alertmanager(settings: ReceiverSettings, notice: Notice) -> list[Request]:
    """Return a post of one alert. Alertmanager knows an alert by its labels, so they never contain what changes.

    The severity is a label, because Alertmanager routes by it. If it got graver, the alert of the severity below ends.
    """
    about = notice.alert.get("incident", notice.alert)
    started = min(_time(about.get("fired_at")) or notice.at, _now())
    over = notice.event == "resolved"
    below = LEVELS[: LEVELS.index(notice.severity)] if notice.event in ("resolved", "updated") else ()
    body = []
    for severity in (notice.severity, *below):
        ends = over or severity != notice.severity
        # Not topic and kind: an incident grows, and another alert may come to lead it.
        labels = {
            "alertname": "Foreshock",
            "incident": notice.incident,
            "direction": str(about["direction"]),
            "severity": severity,
        }
        one: dict[str, Any] = {
            "labels": labels,
            "annotations": {
                "summary": plain(notice.title),
                "description": "\n".join(_stories(notice)) or plain(str(notice.alert["sentence"])),
                "topics": ", ".join(_topics(notice)),
                "kinds": ", ".join(map(str, about.get("kinds", [notice.alert["kind"]]))),
                **{name: json.dumps(notice.alert[name]) for name in ("observed", "baseline")},
                **{name: json.dumps(about[name]) for name in ("sources", "events")},
            },
            "startsAt": iso(started),
            "endsAt": iso(max(_now(), started) if ends else _now() + (STAYS if notice.event != "test" else DAY // 288)),
        }
        body.append(one | ({"generatorURL": notice.link} if notice.link else {}))
    address = settings.address().rstrip("/")
    return [Request(service_url(address, "" if address.endswith("/api/v2/alerts") else "/api/v2/alerts"), body)]


def by_template(settings: ReceiverSettings, notice: Notice) -> list[Request]:
    """Return a post of the filled template."""
    over = notice.event == "resolved"
    url = settings.resolved_address() if over else settings.address()
    template = settings.ending_template if over else settings.firing_template
    return [Request(httpx.URL(fill_url(url, notice.incident)), template.fill(fields(notice)))]


WRITERS: dict[str, Write] = {
    "pagerduty": pagerduty,
    "opsgenie": opsgenie,
    "alertmanager": alertmanager,
    "json": by_template,
}


def _opened_and_closed(notice: Notice, opening: T, closing: T) -> list[T]:
    if notice.event == "test":
        return [opening, closing]
    return [closing] if notice.event == "resolved" else [opening]


def _topic(notice: Notice) -> str:
    return _named(notice.alert["topic"])


def _topics(notice: Notice) -> list[str]:
    """Return the topics of the incident, at most `STORIES` of them, or that of the alert."""
    return [
        _named(topic) for topic in notice.alert.get("incident", {}).get("topics", [notice.alert["topic"]])[:STORIES]
    ]


def _named(topic: object) -> str:
    return "all stories" if topic == ALL else _cut(plain(str(topic)), 200)


def _details(notice: Notice) -> dict[str, Any]:
    names = ("topic", "kind", "direction", "observed", "baseline", "sources", "events", "started_at", "fired_at")
    details = {name: notice.alert.get(name) for name in (*names, "resolved_at")}
    about = notice.alert.get("incident", notice.alert)
    details |= {name: about[name] for name in ("sources", "events") if name in about}
    details |= {"topic": _topic(notice), "topics": _topics(notice)}
    details |= {"sentence": plain(str(notice.alert["sentence"])), "incident": notice.incident}
    details["stories"] = _stories(notice)
    if notice.alert.get("belated"):
        details["belated"] = f"decided late, with {notice.alert.get('folded_count', 0)} others"
    return {name: value for name, value in details.items() if value is not None}


def _stories(notice: Notice) -> list[str]:
    """Return a line for each of the first stories: source and title, as plain text and without a link."""
    about = notice.alert.get("incident", {})
    shown = (about.get("stories") or notice.alert.get("evidence", []))[:STORIES]
    return [_cut(plain(f"{story.get('source', '')}: {story.get('title', '')}"), 300) for story in shown]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _now() -> int:
    return time.time_ns() // 1_000


def _time(text: str | None) -> int | None:
    return None if not text else round(datetime.fromisoformat(text).timestamp() * 1_000_000)
