"""The kinds of alert: everything about a kind that is not its detector's mathematics, written once.

A new kind is a new entry in `KINDS`. The alert's sentence, the dashboard, the budget and `foreshock power` read it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

from foreshock.monitor.units import DAY, HOUR, shown

SPIKE, DRIFT, VOLUME, SILENCE = "negativity_spike", "drift", "volume", "silence"
CRITICAL = "critical"
NEW_NAME = "new_name"
WORSE, BETTER = "worse", "better"

Quantity = Literal["negative", "polarity", "events"]


def quoted(topic: str) -> str:
    """Return a topic's name as a sentence writes it: in quotation marks, unless it can only be read as a name.

    A feed may name its topics freely, so a name may be a sentence that seems to be Foreshock's own.

    >>> quoted("Deutsche Bank"), quoted("Banks; all is well. Gold")
    ('Deutsche Bank', '“Banks; all is well. Gold”')
    """
    topic = shown(topic)
    name = " ".join("".join(" " if _is_unseen(c) else c for c in topic).split())
    if name and len(name) <= 40 and len(name.split()) <= 4 and not _NO_NAME.search(name):
        return name
    return f"“{name.translate(_NO_QUOTES)}”"


_NO_NAME = re.compile(r"[^\w &.'’/+-]|\.(\s|$)|\.\w{2,}|_|//")
"""What a plain name has none of: the ends of sentences and clauses, markup, and what is shown as a link."""
_NO_QUOTES = dict.fromkeys(map(ord, '“”„‟"'), "'")


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class Facts(NamedTuple):
    """What an alert's sentence may say. Numbers are as in the alert; times and counts are texts already."""

    topic: str
    direction: str
    observed: float
    baseline: float
    score: float
    time: str
    """When the change began, to the minute: `14:10 UTC on 3 March 2024`."""
    day: str
    """When the change began, to the day: `3 March 2024`."""
    counted: str
    """Events and sources of the evidence window: `37 events from 19 sources`."""
    sources: str
    """Its sources: `19 sources`."""
    span: int
    """Its length in microseconds."""
    word: str = ""
    """The word of a critical story, as the settings have it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of alert."""

    name: str
    quantity: Quantity
    """What `observed` and `baseline` are, and which chart shows them."""
    measure: str
    """The quantity's name on a page."""
    budget: Mapping[str, str]
    """The field of `[alerts] shares` that each direction spends. The directions are the keys. An alert that a rule
    raises spends none."""
    rank: int
    """Order on a page: alerts of a lower rank come first."""
    say: Callable[[Facts], str]
    """The alert's sentence, without its end."""
    headline: Mapping[str, str]
    """What an incident that begins with such an alert is called, by direction."""
    word: str | None = None
    """What a page calls a topic with such an alert; None: the direction."""
    mark: str | None = None
    """The sign beside that word; None: the direction's."""
    state: str = "firing"
    """What `topics list` and the pages call the state of a topic while such an alert fires."""
    has_stories: bool = True
    """Whether stories are the evidence."""
    by_rule: bool = False
    """Whether a rule of the desk raises it, not a detector. Chance has no part in it, so the budget does not count
    it."""
    of_names: bool = False
    """Whether it is about names that no topic has (`foreshock.monitor.new_names`). It has a part of the whole budget,
    and names have no series."""


MARKS: Mapping[str, str] = MappingProxyType({WORSE: "▼", BETTER: "▲"})
"""The sign of a direction."""


def _spike(said: Facts) -> str:
    stories = count(round(said.observed), "negative story", "negative stories")
    often = usual(said.baseline, said.span)
    return f"{stories} on {said.topic} from {said.sources} in {span(said.span)}; usual is {often}."


def span(time: int) -> str:
    """Write a length of time in its usual unit: `35 minutes`, `3 hours`, `2 days`."""
    hours = time / HOUR
    if hours < 1.5:
        return count(max(round(60 * hours), 1), "minute")
    return count(round(hours), "hour") if hours < 36 else count(round(hours / 24), "day")


def usual(events: float, span: int) -> str:
    """Say how many events are usual in a span; where that is less than one, in which time one is: `1 in 9 days`."""
    if events >= 0.95:
        return f"{round(events)}"
    days = span / events / DAY if events > 0 else math.inf
    if days < 1.5:
        return f"1 in {max(round(24 * days), 1)} hours"
    if days < 14:
        return f"1 in {round(days)} days"
    if days < 60:
        return f"1 in {round(days / 7)} weeks"
    return f"1 in {round(days / 30)} months" if days < 550 else "less than 1 a year"


def _drift(said: Facts) -> str:
    moved = "fallen" if said.direction == WORSE else "risen"
    change = f"has {moved} to {said.observed:+.2f}, from {said.baseline:+.2f}"
    return f"Polarity of {said.topic} {change}, since {said.day}, {said.counted}."


def _volume(said: Facts) -> str:
    times = said.observed / max(said.baseline, 1e-9)
    return f"{times:.1f} times the usual number of events on {said.topic}, since {said.time}, {said.counted}."


def _silence(said: Facts) -> str:
    missed = count(round(said.baseline), "event")
    return f"No story on {said.topic} since {said.time}; {missed} would be usual in that time."


def _critical(said: Facts) -> str:
    sure = f"negative with a probability of {said.observed:.2f}"
    return f"A critical story on {said.topic}, from {said.sources}, at {said.time}: “{said.word}”, {sure}."


def _new_name(said: Facts) -> str:
    stories = count(round(said.observed), "negative story", "negative stories")
    return f"New name: {said.topic}, {stories} from {said.sources} in {span(said.span)}; not on your list."


def count(number: int, thing: str, things: str = "") -> str:
    """`1 event`, `2 events`."""
    return f"{number} {thing}" if number == 1 else f"{number} {things or thing + 's'}"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(SPIKE, "negative", "negative stories", {WORSE: "bad_news"}, 0, _spike, {WORSE: "Bad news on"}),
            Kind(
                DRIFT,
                "polarity",
                "polarity",
                {WORSE: "bad_news", BETTER: "better"},
                0,
                _drift,
                {WORSE: "Worse mood on", BETTER: "Better mood on"},
            ),
            Kind(
                VOLUME,
                "events",
                "events",
                {WORSE: "volume"},
                1,
                _volume,
                {WORSE: "Many stories on"},
                word="busy",
                mark="●",
            ),
            Kind(
                SILENCE,
                "events",
                "events",
                {WORSE: "silence"},
                1,
                _silence,
                {WORSE: "Silence on"},
                word="silent",
                mark="○",
                state="silent",
                has_stories=False,
            ),
            Kind(
                CRITICAL,
                "negative",
                "probability of negative",
                {WORSE: CRITICAL},
                0,
                _critical,
                {WORSE: "Critical story on"},
                word="critical",
                mark="■",
                by_rule=True,
            ),
            Kind(
                NEW_NAME,
                "negative",
                "negative stories",
                {WORSE: "new_names"},
                0,
                _new_name,
                {WORSE: "Bad news on a new name,"},
                word="new name",
                mark="◆",
                of_names=True,
            ),
        )
    }
)
"""All kinds, by name."""

SHARES: tuple[str, ...] = tuple(
    dict.fromkeys(
        share for kind in KINDS.values() if not kind.by_rule and not kind.of_names for share in kind.budget.values()
    )
)
"""The fields of `[alerts] shares`, in order."""


def share_of(kind: str, direction: str) -> str:
    """Return the field of `[alerts] shares` that an alert spends."""
    return KINDS[kind].budget[direction]
