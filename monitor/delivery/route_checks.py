"""Find routes that never take anything, and what nobody would hear of: warnings of `config check`.

The one idea: all that routes can tell apart is a topic, a kind, a severity and a time of the week. Topics that no route
tells apart are one case, and so are times. So all cases can be tried, and what is found is exact: a route is shadowed
only if every case that it matches is taken before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from itertools import product

from foreshock.monitor.delivery.route_settings import KIND_NAMES
from foreshock.monitor.delivery.routes import Route, Routing
from foreshock.monitor.delivery.time_intervals import OF_WEEK, weekly
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.store.topic_labels import UNLABELLED, Labels
from foreshock.monitor.units import ALL

Case = tuple[str, str, str, frozenset[str]]
"""A topic, a kind, a severity, and the names of the intervals that are on."""


def warnings(routing: Routing, labels: dict[str, Labels]) -> Iterator[str]:
    """Yield a sentence for each route or receiver that gets nothing, and for what nobody hears.

    `labels`: all topics with a rule.
    """
    if len(routing.routes) == 1:
        return
    *routes, default = routing.routes
    yield from _unknown(routes, labels)
    matching, reached, heard = set[str](), set[str](), set[str]()
    before: dict[str, set[str]] = {route.name: set() for route in routing.routes}
    unheard: Case | None = None
    for case in _cases(routing, labels):
        takes: str | None = None
        hear: set[str] = set()
        for route in routing.routes:
            if not _matches(route, case, labels):
                continue
            matching.add(route.name)
            if takes is not None:
                before[route.name].add(takes)
                continue
            reached.add(route.name)
            hear.update(route.receivers)
            takes = None if route.continues else route.name
        heard |= hear
        if not hear and takes == default.name:
            unheard = unheard or case
    for route in routes:
        if route.name not in matching:
            yield f"Warning: routes: {route.name!r} matches nothing: no topic meets all its conditions."
        elif route.name not in reached:
            by = " and ".join(repr(name) for name in sorted(before[route.name]))
            yield (
                f"Warning: routes: {route.name!r} is never reached: {by} before it takes all that it matches. Move it "
                "up, or set continue = true there."
            )
    further = {name for route in routes for name in route.escalate_to}
    for name in routing.receivers:
        if name not in heard and name not in further:
            yield f"Warning: routes: no incident reaches the receiver {name!r}; name it in a route that is reached."
    if unheard is not None:
        topic, kind, severity, _ = unheard
        yield (
            f"Warning: routes: nobody hears of some incidents, such as {kind} of {topic}, {severity}. Add a last "
            "[[routes]] without conditions for what is left; with receivers = [] it says that this is meant."
        )


def _unknown(routes: Iterable[Route], labels: dict[str, Labels]) -> Iterator[str]:
    """Yield a warning for each topic and tag that no rule has."""
    tags = {tag for known in labels.values() for tag in known.tags}
    names = {*labels, ALL}
    for route in routes:
        for topic in route.topics:
            if "*" not in topic and topic not in names:
                yield (
                    f"Warning: routes: {route.name!r} names the topic {topic!r}, which has no rule; it matches only if "
                    f"a feed calls a topic so{_meant(topic, names)}"
                )
        for tag in sorted(route.tags - tags):
            yield f"Warning: routes: {route.name!r} names the tag {tag!r}, which no topic has{_meant(tag, tags)}"


def _meant(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, 1, 0.7)
    return f"; did you mean {near[0]!r}?" if near else "."


def _cases(routing: Routing, labels: dict[str, Labels]) -> Iterator[Case]:
    yield from product(_topics(routing, labels), KIND_NAMES, reversed(LEVELS), _times(routing))


def _topics(routing: Routing, labels: dict[str, Labels]) -> list[str]:
    """Return one topic for each set of topics that no route tells apart."""
    own = {pattern.replace("*", filled) for route in routing.routes for pattern in route.topics for filled in ("", "x")}
    found: dict[tuple[bool, ...], str] = {}
    for topic in (*labels, ALL, "a topic of the feed", *sorted(own)):
        known = labels.get(topic, UNLABELLED)
        told = tuple(_takes_topic(route, topic, known) for route in routing.routes)
        found.setdefault(told, topic)
    return list(found.values())


def _takes_topic(route: Route, topic: str, known: Labels) -> bool:
    named = not route.topics or route.names(topic)
    tagged = not route.tags or bool(route.tags & known.tags)
    return named and tagged and (not route.watchlists or known.watchlist in route.watchlists)


def _times(routing: Routing) -> list[frozenset[str]]:
    """Return the sets of intervals that are on at once at some time of the week, in winter or in summer."""
    names = {interval.name for route in routing.routes for interval in route.hours}
    found: dict[frozenset[str], None] = {}
    weeks = {name: weekly(routing.intervals[name]) for name in sorted(names)}
    for season in range(2):
        edges = {0} | {edge % OF_WEEK for spans in weeks.values() for span in spans[season] for edge in span}
        for minute in sorted(edges):
            on = (name for name, spans in weeks.items() if any(a <= minute < b for a, b in spans[season]))
            found.setdefault(frozenset(on))
    return list(found)


def _matches(route: Route, case: Case, labels: dict[str, Labels]) -> bool:
    topic, kind, severity, on = case
    if route.hours and not any(interval.name in on for interval in route.hours):
        return False
    if route.kinds and kind not in route.kinds:
        return False
    if route.severities and severity not in route.severities:
        return False
    return _takes_topic(route, topic, labels.get(topic, UNLABELLED))
