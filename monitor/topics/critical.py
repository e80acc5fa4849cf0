"""Decide whether one story is critical, for which topics, and by which word.

The words are found by the matcher that finds topics, so word boundaries, case and accents mean the same. A word never
counts alone: the story must be negative for the topic (towards the company, where the text names several), and it must
be about the topic. It is about the watched topics that its title names; if there are none, about those that its first
300 characters name; if there are none, about those that the feed gives it. Themes that come with Foreshock count only
in stories on no other watched topic.

Invariant: the result is a function of the story, its scores and the settings alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from foreshock.monitor.topics.critical_rules import CriticalRule
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.topics.normalise import folded, words
from foreshock.monitor.topics.rules import TopicRule, default_rules
from foreshock.monitor.units import UNIT

HEAD = 300
"""How many characters of the title, and of the body, are read: a wire's lead."""


class Mark(NamedTuple):
    """Why a story is critical for a topic."""

    word: str
    """The word, as the settings have it."""
    needed: int
    """The probability of negative that was needed (1/10,000)."""


@dataclass(frozen=True, slots=True)
class Read:
    """A story as it is judged. `topics`: those of its row. `tickers` and `own_topics`: as the feed gives them."""

    title: str
    body: str
    language: str
    topics: Sequence[str]
    tickers: Sequence[str] = ()
    own_topics: Sequence[str] = ()
    severity: int | None = None
    """How grave its bad news is, in hundredths."""


class _Table:
    """One `[[critical]]` table, ready to match."""

    def __init__(self, rule: CriticalRule, watched: Collection[str], names: Mapping[str, Sequence[str]]) -> None:
        rule = rule.resolved()
        self.needed = round(rule.negative * UNIT)
        self._severity = round(rule.severity * 100)
        self.watched = frozenset(rule.topics or watched)
        self._rule, self._names = rule, names
        self._without: dict[str, Matcher] = {}

    @cached_property
    def _matcher(self) -> Matcher:
        return self._matcher_without(())

    def _matcher_without(self, names: Sequence[str]) -> Matcher:
        near: dict[str, list[str]] = {}
        for phrase in dict.fromkeys((*self._rule.exclude, *names)):
            for part in _folded(phrase):
                near.setdefault(part, []).append(phrase)
        rules = []
        for word in dict.fromkeys(self._rule.words):
            phrases = dict.fromkeys(phrase for part in _folded(word) for phrase in near.get(part, ()))
            here = [phrase for phrase in phrases if _overlap(word, phrase)]
            rules.append(TopicRule(name=word, names=[word], exclude=here))
        return Matcher(rules)

    @cached_property
    def _avoided(self) -> Matcher:
        return Matcher([TopicRule(name="avoid", names=list(self._rule.avoid))] if self._rule.avoid else [])

    def is_grave(self, severity: int | None) -> bool:
        """Return whether a story is grave enough. `severity` in hundredths; without one, the scores alone decide."""
        return severity is None or severity >= self._severity

    def words_in(self, title: str, body: str) -> list[str]:
        """Return the words that count in a text, in the order of the settings; none if its title is to be avoided."""
        if self._avoided.explain(title):
            return []
        return [found.topic for found in self._matcher.explain(title, body)]

    def word_for(self, topic: str, title: str, body: str, found: Sequence[str]) -> str | None:
        """Return the first of the `found` words that is not the topic's own name there."""
        names = [name for name in self._names.get(topic, ()) if any(_overlap(word, name) for word in found)]
        if not names:
            return found[0]
        if topic not in self._without:
            self._without[topic] = self._matcher_without(self._names[topic])
        left = self._without[topic].explain(title, body)
        return left[0].topic if left else None


class CriticalWords:
    """All `[[critical]]` tables. `rules`: the topics' rules; `matcher`: made of them.

    >>> rule = TopicRule(name="Acme", names=["Acme"])
    >>> critical = CriticalWords([CriticalRule()], [rule], Matcher([rule]))
    >>> critical.marks(Read("Acme files for bankruptcy", "", "en", ["Acme"]), lambda topic: 9_000)
    {'Acme': Mark(word='bankruptcy', needed=7000)}
    >>> critical.marks(Read("Acme files for bankruptcy", "", "en", ["Acme"]), lambda topic: 2_000)
    {}
    """

    def __init__(self, tables: Iterable[CriticalRule], rules: Sequence[TopicRule], matcher: Matcher) -> None:
        themes = {theme.name: theme for theme in default_rules()}
        self._themes = {rule.name for rule in rules if rule == themes.get(rule.name)}
        watched = {rule.name for rule in rules} - self._themes
        names = {rule.name: (*rule.names, *rule.weak) for rule in rules}
        self._tables = [_Table(table, watched, names) for table in tables]
        self._watched = frozenset().union(*(table.watched for table in self._tables))
        self._matcher = matcher

    def marks(self, story: Read, negative: Callable[[str], int]) -> dict[str, Mark]:
        """Return the topics for which a story is critical, and why.

        `negative`: the probability of negative towards a topic (1/10,000).
        """
        marks: dict[str, Mark] = {}
        if self._watched.isdisjoint(story.topics):
            return marks
        title, body = story.title[:HEAD], story.body[:HEAD]
        about: list[str] | None = None
        for table in self._tables:
            if not table.is_grave(story.severity):
                continue
            bad = [t for t in story.topics if t in table.watched and t not in marks and negative(t) >= table.needed]
            found = table.words_in(title, body) if bad else []
            if not found:
                continue
            if about is None:
                about = self._about(story, title, body)
            for topic in bad:
                if topic in about and (word := table.word_for(topic, title, body, found)) is not None:
                    marks[topic] = Mark(word, table.needed)
        return marks

    def _about(self, story: Read, title: str, body: str) -> list[str]:
        """Return the watched topics that a story is about."""
        watched = [topic for topic in story.topics if topic in self._watched]

        def named(title: str, body: str, tickers: Sequence[str]) -> set[str]:
            return {found.topic for found in self._matcher.explain(title, body, tickers, story.language)}

        ways: tuple[Callable[[], set[str]], ...] = (
            lambda: named(title, "", ()),
            lambda: named(title, body, ()),
            lambda: named("", "", story.tickers) | set(story.own_topics),
        )
        for group in (
            [topic for topic in watched if topic not in self._themes],
            [topic for topic in watched if topic in self._themes],
        ):
            for way in ways if group else ():
                given = way()
                if here := [topic for topic in group if topic in given]:
                    return here
        return []


def _overlap(word: str, phrase: str) -> bool:
    """Return whether a word can overlap a phrase: it stands in it, or one begins with what the other ends with."""
    one, other = _folded(word), _folded(phrase)
    return any(
        one[start : start + size] == other[at : at + size]
        for size in range(1, min(len(one), len(other)) + 1)
        for start in ({0, len(one) - size} if size < len(one) else {0})
        for at in range(len(other) - size + 1)
    )


@cache
def _folded(text: str) -> list[str]:
    """Return the words of a rule as the matcher compares them. Each is compared with hundreds of others."""
    return folded(words(text)).split()
