"""Say who would hear of an incident at a time, and why: `foreshock routes test`."""

from __future__ import annotations

from typing import Any

from foreshock.monitor.delivery.routes import Route, Routing
from foreshock.monitor.settings import format_duration
from foreshock.monitor.store.hearing import Subject
from foreshock.monitor.store.times import iso


def trace(routing: Routing, topic: str, kind: str, severity: str, at: int) -> dict[str, Any]:
    """Return each route with what it does, and each receiver that hears, as JSON values.

    `at`: microseconds by the clock.
    """
    subject = Subject(severity, ((topic, kind),))
    taken = routing.matched(subject, at)
    reached = routing.reached(subject, at)
    receivers = []
    for name, found in reached.items():
        muted = routing.muted(found.mutes, at)
        receivers.append(
            {
                "receiver": name,
                "routes": [route.name for route in taken if name in route.receivers],
                "hears": "later" if muted else "now",
                "muted_by": sorted({n for group in found.mutes for n in group if routing.on(n, at)}) if muted else [],
                "until": iso(routing.muted_until(found.mutes, at)) if muted else None,
            }
        )
    return {
        "topic": topic,
        "kind": kind,
        "severity": severity,
        "at": iso(at),
        "routes": [_route(routing, route, subject, at, taken) for route in routing.routes],
        "receivers": receivers,
        "escalations": [
            {"route": route.name, "after": format_duration(route.escalate_after), "receivers": list(route.escalate_to)}
            for route in taken
            if route.escalate_after is not None
        ],
    }


def _route(routing: Routing, route: Route, subject: Subject, at: int, taken: list[Route]) -> dict[str, Any]:
    refusal = route.refusal(subject, routing.labels, at)
    matches = route in taken
    if not matches and refusal is None:
        refusal = f"{taken[-1].name} takes it before"
    says = refusal or ("it matches, and the next ones are tried, too" if route.continues else "it matches")
    return {"route": route.name, "matches": matches, "because": says, "receivers": list(route.receivers)}
