"""Define the settings that say who hears of what, and when: routes, quiet hours and scheduled digests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from foreshock.ingest.settings import zone
from foreshock.monitor.delivery.settings import Name
from foreshock.monitor.delivery.time_intervals import WEEKDAYS, TimeInterval, never_ends
from foreshock.monitor.kinds import KINDS
from foreshock.monitor.settings import Duration
from foreshock.monitor.severity import LEVELS
from foreshock.monitor.units import SECOND

DEFAULT = "default"
"""The name of the route after the last one."""

KIND_NAMES = tuple(KINDS)
"""The kinds of alert that a route may name."""

Watchlist = Literal["topics", "file", "defaults", "feed"]
"""Where a topic is defined: `[[topics]]`, `[watchlist] file`, what comes with Foreshock, or by a feed itself."""
WATCHLISTS: tuple[str, ...] = get_args(Watchlist)


def _one_of(known: Collection[str]) -> BeforeValidator:
    """Refuse texts that are not known, with the most similar one that is."""

    def check(value: object) -> object:
        for text in value if isinstance(value, (list, tuple)) else ():
            if text not in known:
                raise ValueError(f"{text!r}: {meant(str(text), known)}")
        return value

    return BeforeValidator(check)


class RouteSettings(BaseModel):
    """Which receivers hear of which incidents. Routes are tried in order; the first that matches takes the incident.
    Conditions that are left out match everything. After the last one comes a default: all receivers that no route names
    hear whatever reaches it."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, serialize_by_alias=True
    )

    name: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """What lists and the store call it. Default: "route 1" and so on."""
    receivers: tuple[str, ...]
    """The names of the receivers that hear of it. None: nobody does."""
    topics: tuple[str, ...] = ()
    """Names of topics; * stands for any text: "Deutsche *"."""
    kinds: Annotated[tuple[str, ...], _one_of(KIND_NAMES)] = ()
    """negativity_spike, drift, volume, silence, critical or new_name."""
    severities: Annotated[tuple[str, ...], _one_of(LEVELS)] = ()
    """info, warning or critical."""
    tags: tuple[str, ...] = ()
    """Topics with one of these tags (tags of [[topics]] or of the watchlist file)."""
    watchlists: Annotated[tuple[str, ...], _one_of(WATCHLISTS)] = ()
    """Topics by where they are defined: topics ([[topics]]), file ([watchlist] file), defaults (what comes with
    Foreshock) or feed (names that a feed gives itself)."""
    hours: tuple[str, ...] = ()
    """It matches only in one of these [[time_intervals]], by the clock when the message is handed out."""
    continue_: bool = Field(default=False, alias="continue")
    """Try the next routes, too, after this one matched."""
    mute_time_intervals: tuple[str, ...] = ()
    """In these [[time_intervals]] its messages are kept back. When they end, what is kept is sent as one digest."""
    escalate_after: Duration | None = None
    """If nobody acknowledges an alert of the incident for so long, escalate_to hears of it, once."""
    escalate_to: tuple[str, ...] = ()
    """The receivers that hear of an incident that nobody acknowledged."""

    @model_validator(mode="after")
    def _can_be_used(self) -> RouteSettings:
        if self.name == DEFAULT:
            raise ValueError(f"name: {DEFAULT!r} is what follows the last route; choose another name")
        if (self.escalate_after is None) != (not self.escalate_to):
            raise ValueError("escalate_after and escalate_to belong together; set both or none")
        if self.escalate_after is not None and self.escalate_after < SECOND:
            raise ValueError("escalate_after must be 1s or more")
        return self

    def called(self, place: int) -> str:
        """Return its name, or the one that its place (from 0) gives it."""
        return self.name or f"route {place + 1}"


class QuietHoursSettings(BaseModel):
    """When receivers want no messages, whatever the route. What comes meanwhile is kept back, and sent as one digest
    when the quiet hours end."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    receivers: tuple[str, ...] = ()
    """Whose quiet hours these are. Default: all receivers'."""
    time_intervals: tuple[str, ...] = Field(min_length=1)
    """The names of [[time_intervals]]."""
    except_severities: Annotated[tuple[str, ...], _one_of(LEVELS)] = ()
    """What is sent nevertheless: ["critical"]."""


class DigestSettings(BaseModel):
    """A summary that is sent at a stated time: what fired, what ended, which topics moved, and which were quiet."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: Name
    """What it is called in messages and in the store."""
    receivers: tuple[str, ...] = Field(min_length=1)
    """Who gets it: [[webhooks]] of version 2 and [[messages]]."""
    every: Literal["day", "week"] = "day"
    """day or week."""
    at: str = "07:30"
    """When, by the clock of `location`. At a change of the clocks: once a day, at the first such time, or that much
    later if there is no such time."""
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = "monday"
    """The day of a weekly digest."""
    location: str = "UTC"
    """The zone of `at`, by its IANA name, such as Europe/Berlin."""

    @model_validator(mode="after")
    def _can_be_used(self) -> DigestSettings:
        zone(self.location)
        self.time()
        return self

    def time(self) -> tuple[int, int]:
        """Return the hour and the minute of `at`. Raises ValueError."""
        found = re.fullmatch(r"(\d{1,2}):(\d{2})", self.at.strip())
        if found is None or int(found[1]) > 23 or int(found[2]) > 59:
            raise ValueError(f'at: {self.at!r} is not a time of day, such as "07:30"')
        return int(found[1]), int(found[2])

    @property
    def day(self) -> int | None:
        """The number of its weekday, or None for a daily one."""
        return WEEKDAYS.index(self.weekday) if self.every == "week" else None


def check_names(
    routes: Iterable[RouteSettings],
    quiet_hours: Iterable[QuietHoursSettings],
    digests: Iterable[DigestSettings],
    intervals: Collection[TimeInterval],
    receivers: Collection[str],
    digest_receivers: Collection[str],
    old: Collection[str],
) -> None:
    """Check that whatever is named is there, once, and that nothing is muted for ever. Raises ValueError.

    `digest_receivers`: those of `receivers` that take digests. `old`: those of version 1.
    """
    routes, quiet_hours, digests = list(routes), list(quiet_hours), list(digests)
    named = {interval.name: interval for interval in intervals}
    _once("time_intervals", [interval.name for interval in intervals])
    _once("routes", [route.called(place) for place, route in enumerate(routes)])
    _once("digests", [digest.name for digest in digests])
    for place, route in enumerate(routes):
        where = f"routes[{place + 1}]"
        for key in ("hours", "mute_time_intervals"):
            _known(f"{where}.{key}", getattr(route, key), named, "time interval")
        for key in ("receivers", "escalate_to"):
            _known(f"{where}.{key}", getattr(route, key), receivers, "receiver")
        if late := next((name for name in route.escalate_to if name in old), None):
            raise ValueError(f"{where}.escalate_to: {late!r} is of version 1, which knows no incidents; use another")
    for place, quiet in enumerate(quiet_hours):
        _known(f"quiet_hours[{place + 1}].receivers", quiet.receivers, receivers, "receiver")
        _known(f"quiet_hours[{place + 1}].time_intervals", quiet.time_intervals, named, "time interval")
    for place, digest in enumerate(digests):
        where = f"digests[{place + 1}].receivers"
        _known(where, digest.receivers, receivers, "receiver")
        if other := next((name for name in digest.receivers if name not in digest_receivers), None):
            raise ValueError(f"{where}: {other!r} takes no digests; use [[webhooks]] of version 2, or [[messages]]")
    for name in receivers:
        quiet_names = [n for q in quiet_hours if name in q.receivers or not q.receivers for n in q.time_intervals]
        muted = [(f"routes[{n + 1}]", r.mute_time_intervals) for n, r in enumerate(routes) if name in r.receivers]
        for where, mutes in [("quiet_hours", ()), *muted]:
            if never_ends([named[n] for n in dict.fromkeys((*mutes, *quiet_names))]):
                raise ValueError(
                    f"{where}: its mute times and the quiet hours of {name!r} cover the whole week, so {name!r} would "
                    "never hear; leave a time open, or take it out of receivers"
                )


def _once(where: str, names: list[str]) -> None:
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where}: two are called {twice!r}; rename one")


def _known(where: str, names: Iterable[str], known: Collection[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{where}: no {what} is called {name!r}; {meant(name, known)}")


def meant(name: str, known: Collection[str]) -> str:
    """Return a hint for an unknown name: the most similar one, or all that are known."""
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
