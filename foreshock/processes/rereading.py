"""Read stored stories again for topics that were added or changed (`monitor.store.fills`), beside reading new ones.

A story gets the topics that it would have, had the rules been there when it came: by its text, tickers and language,
and with scores towards a company, where it names several. Scores that are stored are not made again.

Invariant: what a step writes depends on the stored story and on the settings' versions alone. So steps may be taken by
any worker, and again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from foreshock.monitor.errors import Overtaken
from foreshock.monitor.moods import Scores
from foreshock.monitor.store import counts, fills, rereading, switches
from foreshock.monitor.store.database import reading, writing
from foreshock.monitor.store.rereading import Position, Stored, Tag
from foreshock.monitor.topics.matching import Matcher, matcher_of
from foreshock.monitor.topics.rules import TopicRule
from foreshock.processes.batches import Worker

WAIT_SECONDS = 2.0
"""How long a worker leaves a fill to another one that reads it."""


@dataclass(frozen=True, slots=True)
class _Rules:
    fill: int
    mine: Matcher
    """The rules of the fill's topics."""
    whole: Matcher
    """All rules of the version: which companies a text names depends on them all."""
    earlier: tuple[Matcher, ...]
    """The rules that the topics had before."""


class Rereader:
    """Takes a worker's steps of fills."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._look_at = 0.0
        self._rules: _Rules | None = None

    def step(self, worker: Worker) -> bool:
        """Read some stories again with `worker`; return whether there were any."""
        if time.monotonic() < self._look_at:
            return False  # another worker reads them
        with reading(self._engine) as connection:
            under_way = fills.unfinished(connection)
            if not under_way or under_way[0].state != fills.READING or under_way[0].settings != worker.settings:
                self._rules = None
                return False
            if switches.holds_fills(connection):
                return False
            fill, until = under_way[0], counts.decided_until(connection)
            if self._rules is None or self._rules.fill != fill.number:
                self._rules = _made(fill, *rereading.rules_of(connection, fill))
            stories = rereading.next_stories(connection, fill)
        added, removed = _found(stories, self._rules, worker, until)
        try:
            with writing(self._engine) as connection:
                if stories:
                    rereading.write(connection, fill, stories, added, removed)
                else:
                    fills.move(connection, fill, state=fills.COUNTING)
        except Overtaken:  # another worker reads them, too
            self._look_at = time.monotonic() + WAIT_SECONDS
            return False
        return True


def _made(fill: fills.Fill, body: dict[str, Any], earlier: list[dict[str, Any]]) -> _Rules:
    rules = [TopicRule.model_validate(rule) for rule in body["topics"]]
    mine = Matcher([rule for rule in rules if rule.name in fill.topics])
    distinct = {repr(sorted(rule.items())): TopicRule.model_validate(rule) for rule in earlier}
    by_turn: list[list[TopicRule]] = []
    for rule in distinct.values():  # a matcher has each name once
        turn = next((some for some in by_turn if all(other.name != rule.name for other in some)), None)
        by_turn.append([rule]) if turn is None else turn.append(rule)
    return _Rules(fill.number, mine, matcher_of(rules), tuple(Matcher(some) for some in by_turn))


def _found(
    stories: Sequence[Stored], rules: _Rules, worker: Worker, until: int | None
) -> tuple[dict[Position, list[Tag]], dict[Position, list[str]]]:
    """Return the topics that each story gets and loses. One whose scores towards it change loses and gets it."""
    added: dict[Position, list[Tag]] = {}
    removed: dict[Position, list[str]] = {}
    found = [frozenset(rules.mine.match(s.title, s.body, s.tickers, (), s.language)) for s in stories]
    moods = _moods(stories, found, rules, worker, until)
    for story, topics, towards in zip(stories, found, moods, strict=True):
        gone = set(story.topics.keys() - topics)
        if gone:  # what no earlier rule found, the feed named itself: that stays
            text = story.title, story.body, story.tickers, (), story.language
            gone &= {topic for matcher in rules.earlier for topic in matcher.match(*text)}
        new = [
            topic
            for topic in sorted(topics)
            if topic not in story.topics or (story.by_model and story.topics[topic] != towards.get(topic))
        ]
        gone |= story.topics.keys() & set(new)
        if gone:
            removed[story.position] = sorted(gone)
        if new:
            added[story.position] = [Tag(topic, towards.get(topic)) for topic in new]
    return added, removed


def _moods(
    stories: Sequence[Stored], found: Sequence[frozenset[str]], rules: _Rules, worker: Worker, until: int | None
) -> list[dict[str, Scores]]:
    """Return each story's scores towards the topics `found` that are companies, where they differ from its own."""
    named: list[dict[str, str]] = []
    for story, topics in zip(stories, found, strict=True):
        text = story.title, story.body, story.tickers, (), story.language
        names = rules.whole.read(*text).companies if topics and story.by_model else {}
        named.append({topic: name for topic, name in names.items() if topic in topics})
    made = worker.moods([(story.title, story.body) for story in stories], named, until)
    return [
        {topic: mood for topic, mood in moods.items() if mood != story.scores}
        for story, moods in zip(stories, made, strict=True)
    ]
