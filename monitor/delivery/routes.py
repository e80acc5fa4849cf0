"""Decide which receivers hear of an incident, by the routes and quiet hours of the settings.

    routing = Routing.of(routes, quiet_hours, intervals, receivers, labels)
    routing.reached(Subject("critical", (("Deutsche Bank", "negativity_spike"),)), now)

A route matches an incident if it matches its severity, the hour, and one of its alerts that are not inhibited: that
alert's topic and kind. After the last route comes the default. Nothing here reads a clock or the store.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from foreshock.monitor.delivery.route_settings import DEFAULT, QuietHoursSettings, RouteSettings
from foreshock.monitor.delivery.time_intervals import TimeInterval, end
from foreshock.monitor.store.hearing import Escalates, Mutes, Reached, Subject
from foreshock.monitor.store.topic_labels import UNLABELLED, Labels


@dataclass(frozen=True, slots=True)
class Route:
    """One route. Empty conditions match everything."""

    name: str
    receivers: tuple[str, ...]
    topics: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    watchlists: frozenset[str] = frozenset()
    hours: tuple[TimeInterval, ...] = ()
    mutes: tuple[str, ...] = ()
    """The names of the intervals in which its messages are kept back."""
    continues: bool = False
    escalate_after: int | None = None
    escalate_to: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: RouteSettings, place: int, intervals: Mapping[str, TimeInterval]) -> Route:
        """Return the route of settings at a place (from 0)."""
        return cls(
            name=settings.called(place),
            receivers=settings.receivers,
            topics=settings.topics,
            kinds=frozenset(settings.kinds),
            severities=frozenset(settings.severities),
            tags=frozenset(settings.tags),
            watchlists=frozenset(settings.watchlists),
            hours=tuple(intervals[name] for name in settings.hours),
            mutes=settings.mute_time_intervals,
            continues=settings.continue_,
            escalate_after=settings.escalate_after,
            escalate_to=settings.escalate_to,
        )

    def refusal(self, subject: Subject, labels: Mapping[str, Labels], at: int) -> str | None:
        """Return why the route does not match, in words, or None if it matches."""
        if self.severities and subject.severity not in self.severities:
            return f"severity is {subject.severity}, not {_either(self.severities)}"
        if self.hours and not any(interval.active(at) for interval in self.hours):
            return f"outside the hours of {_either(interval.name for interval in self.hours)}"
        reasons = [self._refuses(topic, kind, labels.get(topic, UNLABELLED)) for topic, kind in subject.alerts]
        return None if None in reasons else reasons[0]

    def _refuses(self, topic: str, kind: str, labels: Labels) -> str | None:
        if self.topics and not self.names(topic):
            return f"topic is {topic}, not {_either(self.topics)}"
        if self.kinds and kind not in self.kinds:
            return f"kind is {kind}, not {_either(self.kinds)}"
        if self.tags and not self.tags & labels.tags:
            return (
                f"{topic} has {f'the tags {_and(labels.tags)}' if labels.tags else 'no tag'}, not {_either(self.tags)}"
            )
        if self.watchlists and labels.watchlist not in self.watchlists:
            return f"{topic} is of the watchlist {labels.watchlist}, not {_either(self.watchlists)}"
        return None

    def names(self, topic: str) -> bool:
        """Return whether one of the route's topics stands for this one."""
        return any(stands_for(pattern, topic) for pattern in self.topics)


def stands_for(pattern: str, topic: str) -> bool:
    """Return whether a name of a topic, in which * stands for any text, is that of a topic.

    >>> stands_for("Deutsche *", "Deutsche Bank"), stands_for("Deutsche", "Deutsche Bank")
    (True, False)
    """
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), topic, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Routing:
    """All routes, and when who wants no messages. It is the `Routing` of `monitor.store.hearing`."""

    receivers: tuple[str, ...]
    routes: tuple[Route, ...]
    """The last one is the default."""
    quiet: tuple[QuietHoursSettings, ...] = ()
    intervals: Mapping[str, TimeInterval] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    _ends: dict[Mutes, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Of each mutes, the last answer of `muted_until`: asked at, and the end."""

    @classmethod
    def of(
        cls,
        routes: Sequence[RouteSettings],
        quiet_hours: Sequence[QuietHoursSettings],
        intervals: Sequence[TimeInterval],
        receivers: Collection[str],
        labels: Mapping[str, Labels],
    ) -> Routing:
        """Return the routing of the settings. `receivers`: all names. `labels`: what is known of topics."""
        named = {interval.name: interval for interval in intervals}
        found = [Route.of(route, place, named) for place, route in enumerate(routes)]
        taken = {name for route in found for name in (*route.receivers, *route.escalate_to)}
        default = Route(DEFAULT, tuple(name for name in receivers if name not in taken))
        return cls(tuple(receivers), (*found, default), tuple(quiet_hours), named, labels)

    @property
    def reads_subjects(self) -> bool:
        """Whether what is routed makes a difference."""
        return len(self.routes) > 1 or bool(self.quiet)

    def matched(self, subject: Subject, at: int) -> list[Route]:
        """Return the routes that take an incident at a time, in order."""
        found = []
        for route in self.routes:
            if route.refusal(subject, self.labels, at) is None:
                found.append(route)
                if not route.continues:
                    break
        return found

    def reached(self, subject: Subject, at: int) -> dict[str, Reached]:
        """Return the receivers to which the routes lead at a time (microseconds by the clock)."""
        found: dict[str, Reached] = {}
        for route in self.matched(subject, at) if self.reads_subjects else self.routes:
            for name in route.receivers:
                group = self._group(route.mutes, name, subject.severity)
                known = found.get(name)
                found[name] = Reached(known.route if known else route.name, (*(known.mutes if known else ()), group))
        return found

    def kept(self, receiver: str, route: str | None, severity: str) -> Mutes:
        """Return what mutes a receiver that heard through a route before, and to which no route leads now."""
        mutes = next((one.mutes for one in self.routes if one.name == route), ())
        return (self._group(mutes, receiver, severity),)

    def muted(self, mutes: Mutes, at: int) -> bool:
        """Return whether a delivery is muted at a time."""
        return bool(mutes) and all(any(self.on(name, at) for name in group) for group in mutes)

    def muted_until(self, mutes: Mutes, at: int) -> int:
        """Return when a delivery that is muted at a time no longer will be.

        The answer is remembered, because it takes thousands of steps, and a night may mute thousands of deliveries. It
        holds from when it was asked for up to the end.
        """
        asked, over = self._ends.get(mutes, (at, at))
        if not asked <= at < over:
            over = end(lambda then: self.muted(mutes, then), at) or at
            self._ends[mutes] = at, over
        return over

    @property
    def escalates(self) -> bool:
        """Whether any route escalates."""
        return any(route.escalate_after is not None for route in self.routes)

    def escalations(self, subject: Subject, at: int) -> list[Escalates]:
        """Return the routes that match at a time and escalate."""
        return [
            Escalates(route.name, route.receivers, route.escalate_after)
            for route in self.matched(subject, at)
            if route.escalate_after is not None
        ]

    def escalates_to(self, route: str) -> tuple[str, ...]:
        """Return the receivers to which a route escalates; none if there is no such route any more."""
        return next((one.escalate_to for one in self.routes if one.name == route), ())

    def _group(self, mutes: Sequence[str], receiver: str, severity: str) -> tuple[str, ...]:
        names = list(mutes)
        for quiet in self.quiet:
            if (not quiet.receivers or receiver in quiet.receivers) and severity not in quiet.except_severities:
                names += quiet.time_intervals
        return tuple(dict.fromkeys(names))

    def on(self, name: str, at: int) -> bool:
        """Return whether a time interval is on at a time."""
        return name in self.intervals and self.intervals[name].active(at)


def everybody(receivers: Collection[str]) -> Routing:
    """Return the routing without routes: all receivers hear of everything, at once."""
    return Routing.of((), (), (), receivers, {})


def _either(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _and(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
