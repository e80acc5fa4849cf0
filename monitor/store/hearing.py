"""Who hears of a message: what the routes say now, and who heard of the same incident before.

The one idea: whoever heard of an incident stays with it, until its end; each message may bring others in. So nothing
that was announced to a receiver stays open there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, select

from foreshock.monitor.store import schema
from foreshock.monitor.store.outbox_events import OF_INCIDENT, is_end

HEARD = ("waiting", "delivered", "parked", "digested")
"""The states of deliveries that a receiver has, or will have, or could not be given. What is `muted` it may yet hear,
and what is `superseded` it never will."""

OPENED = ("waiting", "delivered", "digested")
"""Those of them that reach it: what is `parked` did not."""

Mutes = tuple[tuple[str, ...], ...]
"""The names of time intervals that mute a delivery, for each route that leads to its receiver. It is muted while each
of these groups has an interval that is on."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What routes decide about: an incident, or an alert."""

    severity: str
    alerts: tuple[tuple[str, str], ...]
    """The topic and kind of each alert that is not inhibited."""


@dataclass(frozen=True, slots=True)
class Reached:
    """That routes lead to a receiver: the first of them, and what mutes it."""

    route: str
    mutes: Mutes = ()


@dataclass(frozen=True, slots=True)
class Escalates:
    """That a route escalates: for whom it waits, and how long (microseconds)."""

    route: str
    receivers: tuple[str, ...]
    after: int


class Routing(Protocol):
    """What the settings say about who hears. Times are microseconds by the clock."""

    @property
    def reads_subjects(self) -> bool:
        """Whether `reached` looks at the subject at all."""
        ...

    def reached(self, subject: Subject, at: int) -> Mapping[str, Reached]:
        """Return the receivers to which the routes lead at a time."""
        ...

    def kept(self, receiver: str, route: str | None, severity: str) -> Mutes:
        """Return what mutes a receiver that heard through a route before, and to which no route leads now."""
        ...

    def muted(self, mutes: Mutes, at: int) -> bool:
        """Return whether a delivery is muted at a time."""
        ...

    def muted_until(self, mutes: Mutes, at: int) -> int:
        """Return when a delivery that is muted at a time no longer will be."""
        ...

    @property
    def escalates(self) -> bool:
        """Whether any route escalates."""
        ...

    def escalations(self, subject: Subject, at: int) -> Sequence[Escalates]:
        """Return the routes that match at a time and escalate."""
        ...

    def escalates_to(self, route: str) -> Sequence[str]:
        """Return the receivers to which a route escalates; none if there is no such route any more."""
        ...


@dataclass(frozen=True, slots=True)
class Hand:
    """That a receiver is to get a message."""

    receiver: str
    route: str | None
    mutes: Mutes
    muted: bool
    shown_as: str | None
    """`firing` if this is the first message about the incident that the receiver gets."""
    replaces: bool
    """Whether an earlier message about it is muted, which this one replaces."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a receiver knows of an incident or alert."""

    heard: bool = False
    """Whether it has a message about it, or will have, or could not be given one."""
    opened: bool = False
    """Whether it has one, or will have."""
    route: str | None = None
    """The route by which it heard first."""
    muted: bool = False
    """Whether a message about it is muted."""


def subject_of(alert: Mapping[str, Any]) -> Subject:
    """Return what routes look at, of the JSON in the outbox. Without a severity it counts as `warning`."""
    about = alert.get("incident", alert)
    severity = about.get("severity") or "warning"
    listed = about.get("alerts", [alert])
    loud = [one for one in listed if one.get("inhibited_by") is None] if "incident" in alert else listed
    return Subject(severity, tuple(dict.fromkeys((one["topic"], one["kind"]) for one in loud or [alert])))


def hands(
    connection: Connection,
    row: Any,
    routing: Routing,
    receivers: Sequence[str],
    old: Collection[str],
    at: int,
    *,
    to_all: bool,
    whole: bool = False,
) -> list[Hand]:
    """Return who gets a row of the outbox at a time, in the order of `receivers`.

    What begins or changes goes to the receivers to which the routes lead, if they are of its version (`to_all`: of
    any), and to whoever heard of it before. An end goes to whoever heard of it. `whole`: the row stands for all news of
    its incident, also for those that are not handed out by themselves.
    """
    of_incident = row.event.startswith(OF_INCIDENT)
    before = heard(connection, row.alert_id, of_incident=of_incident)
    reads = routing.reads_subjects
    subject = subject_of(text(connection, row)) if reads else Subject("", ())
    reached = {
        name: found
        for name, found in routing.reached(subject, at).items()
        if to_all or (name in old) != of_incident or name in before
    }
    ends = is_end(row.event) and (bool(before) or not (whole or _folded(connection, row.alert_id)))
    wanted = set(before) if ends else {*before, *reached}
    found = []
    for name in receivers:
        if name not in wanted:
            continue
        known = before.get(name, Known())
        to = reached.get(name) or Reached(known.route or "", routing.kept(name, known.route, subject.severity))
        first = of_incident and not known.opened and not is_end(row.event) and row.event != f"{OF_INCIDENT}firing"
        muted = routing.muted(to.mutes, at)
        found.append(Hand(name, to.route or None, to.mutes, muted, "firing" if first else None, known.muted))
    return found


_d, _o = schema.deliveries.c, schema.outbox.c
# Written once: thousands of rows may be handed out at a time.
_OF = select(_d.event, _d.receiver, _d.state, _d.route).where(_d.alert_id == bindparam("of_alert")).order_by(_d.event)
_TEXT = select(_o.alert).where(_o.alert_id == bindparam("of_alert"), _o.event == bindparam("of_event"))


def heard(connection: Connection, about: str, *, of_incident: bool) -> dict[str, Known]:
    """Return what is known of each receiver that heard of an incident or alert, or for which it is muted."""
    found: dict[str, Known] = {}
    for event, receiver, state, route in connection.execute(_OF, {"of_alert": about}):
        if event.startswith(OF_INCIDENT) != of_incident or state not in (*HEARD, "muted"):
            continue
        known = found.get(receiver, Known())
        found[receiver] = Known(
            known.heard or state in HEARD,
            known.opened or state in OPENED,
            known.route or route,
            known.muted or state == "muted",
        )
    return found


def _folded(connection: Connection, about: str) -> bool:
    """Return whether news were folded. A store of an earlier version does not say who heard of those."""
    o = schema.outbox.c
    found = select(o.event).where(o.alert_id == about, o.state == "folded").limit(1)
    return connection.execute(found).first() is not None


def is_silenced(connection: Connection, row: Any, silenced: Callable[[str], bool]) -> bool:
    """Return whether the topic of a row is silenced; of an incident, all topics whose alerts are not inhibited.

    `row`: of the outbox, with the topic and the group of its alert.
    """
    if not silenced(row.topic):
        return False
    if not row.event.startswith(OF_INCIDENT) or row.group_id is None:
        return True
    a = schema.alerts.c
    topics = select(a.topic).where(a.group_id == row.group_id, a.inhibited_by.is_(None)).distinct()
    return all(silenced(topic) for topic in connection.execute(topics).scalars())


def text(connection: Connection, row: Any) -> dict[str, Any]:
    """Return the JSON of a row of the outbox."""
    kept = connection.execute(_TEXT, {"of_alert": row.alert_id, "of_event": row.event}).scalar_one()
    found: dict[str, Any] = json.loads(kept)
    return found


def groups(mutes: Mutes) -> str:
    """Return mutes as the store keeps them."""
    return json.dumps(mutes, ensure_ascii=False)


def read_groups(kept: str) -> Mutes:
    """Return mutes as `groups` wrote them."""
    return tuple(tuple(group) for group in json.loads(kept))
