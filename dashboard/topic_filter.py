"""Which topics *Now* lists, and in which order. Pure functions of the rows, the labels and what a reader asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreshock.dashboard import text
from foreshock.monitor.store.moved import NOTABLE
from foreshock.monitor.store.topic_labels import FEED, UNLABELLED, Labels
from foreshock.monitor.store.topic_views import TopicRow

WORSE, BETTER, SILENT, USUAL, LEARNING = "worse", "better", "silent", "as usual", "learning"
FIRING, PENDING, NO_STORY = "firing", "pending", "no story yet"
STATES = (FIRING, PENDING, WORSE, BETTER, SILENT, USUAL, LEARNING, NO_STORY)
"""What a reader can ask for. A topic may be in two of them: firing and worse."""
WATCHLISTS = {
    "topics": "your settings",
    "file": "your watchlist file",
    "defaults": "built-in",
    FEED: "named by the feed",
}
"""Where a topic is defined, in words."""

_RANK = {"firing": 0, "silent": 0, "pending": 1, "ok": 2, "learning": 3}
CHANGED = "what changed"
SORTED = {
    CHANGED: (
        "What changed most comes first: firing and silent, pending; then by how many standard deviations the mood of "
        "the last 24 hours is from its usual, either way."
    ),
    "most wrong": (
        "Most wrong first: firing, silent, pending; then by how many standard deviations the mood of the last 24 hours "
        "is below its usual."
    ),
    "name": "In the order of their names.",
    "polarity": "The lowest polarity of the last 24 hours first.",
    "stories today": "The most stories since midnight UTC first.",
    "last story": "The newest story first.",
}
"""What each order sorts by."""
ORDERS: dict[str, Callable[[TopicRow], Any]] = {
    CHANGED: lambda row: (_RANK[row.state], -abs(row.score)),
    "most wrong": lambda row: 0,
    "name": lambda row: row.topic.lower(),
    "polarity": lambda row: (row.polarity is None, row.polarity),
    "stories today": lambda row: -row.stories_today,
    "last story": lambda row: -row.last_story_at,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader asks for. Empty conditions match everything."""

    find: str = ""
    """A part of the name, in any case."""
    states: tuple[str, ...] = ()
    watchlist: str | None = None
    tags: tuple[str, ...] = ()
    """Any of these."""

    def named(self, topic: str, labels: Mapping[str, Labels]) -> bool:
        """Return whether a topic matches by its name and its labels."""
        of_it = labels.get(topic, UNLABELLED)
        return (
            (not self.find or self.find.casefold() in text.named(topic).casefold())
            and self.watchlist in (None, of_it.watchlist)
            and (not self.tags or not of_it.tags.isdisjoint(self.tags))
        )

    def matches(self, row: TopicRow, labels: Mapping[str, Labels]) -> bool:
        """Return whether a topic with a series matches."""
        return self.named(row.topic, labels) and (not self.states or not states(row).isdisjoint(self.states))


def mood(row: TopicRow) -> str:
    """Return the one of worse, better, silent, as usual and learning that a topic is."""
    if row.state == "learning":
        return LEARNING
    if row.state in ("firing", "silent", "pending") and row.word in (None, SILENT):
        return row.word or row.direction
    if abs(row.score) >= NOTABLE:
        return WORSE if row.score < 0 else BETTER
    return USUAL


def states(row: TopicRow) -> frozenset[str]:
    """Return all of `STATES` that a topic is in."""
    open_alert = {"firing": FIRING, "silent": FIRING, "pending": PENDING}.get(row.state)
    return frozenset({mood(row)} if open_alert is None else {mood(row), open_alert})


def chosen(rows: Sequence[TopicRow], labels: Mapping[str, Labels], wanted: Wanted, order: str) -> list[TopicRow]:
    """Return the rows that match, in an order; rows that are equal in it stay in theirs."""
    matching = rows if wanted == Wanted() else [row for row in rows if wanted.matches(row, labels)]
    return sorted(matching, key=ORDERS[order])


def shares(rows: Sequence[TopicRow]) -> dict[str, float]:
    """Return the shares of topics that are worse, better and silent, of those that have learned what is usual."""
    moods = [mood(row) for row in rows]
    known = sum(found != LEARNING for found in moods)
    return {word: moods.count(word) / known if known else 0.0 for word in (WORSE, BETTER, SILENT)}
