"""Find the topics that a story belongs to, by the rules.

One Aho-Corasick automaton (A. Aho, M. Corasick, 1975) holds all names, and all words of `require` and `exclude`, of all
rules. So a text is read once, however many rules there are, and Python processes only the hits.

What counts as a match:

* **Where**: the title and the first 2,000 characters of the body. A match cannot span both.
* **Names** match at word boundaries. Case, accents, punctuation (`normalise.py`), possessive `'s` and legal suffixes,
  in the rule or in the text, do not matter. With `case_sensitive`, the words must be written as in the rule. In scripts
  without spaces between words, a name matches anywhere.
* **exclude**: an occurrence of a name does not count if it overlaps an excluded phrase.
* **require**: if given, the text must contain one of these words or phrases. The name itself may be a part of it.
* **Tickers** match in the story's `tickers`, after upper-casing; as a cashtag in all upper or all lower case (`$AAPL`,
  `$aapl`, but not sums of money such as `$bn`); and as a wire's `<AAPL>`. A bare word matches only if it is in `names`.
  `require`, `exclude` and `case_sensitive` do not apply to tickers.
* **The feed's own topics** count as written, the first 50 of a story (`[limits] topics_per_story`). Further ones are
  `_other`. One with the name of a rule's topic is that topic, and is never too many.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import ahocorasick

from foreshock.monitor.admission import TOPICS_PER_STORY
from foreshock.monitor.topics.normalise import folded, padded, without_suffix, words
from foreshock.monitor.topics.rules import TopicRule, check_distinct
from foreshock.monitor.units import ALL, OTHER

BODY_CHARACTERS = 2_000
"""How much of a body is read."""

_CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z][A-Za-z0-9]*)([.\-][A-Za-z0-9]+)?")
_BRACKETED = re.compile(r"<([A-Z0-9]+(?:[.\-][A-Z0-9]+)?)>")
_MONEY = frozenset(("k", "m", "mm", "mn", "mln", "b", "bn", "bln", "t", "tn", "trn", "c"))
# Between title and body: a character that cleaned text never contains, so a name cannot span it.
_SEAM = " \n "


class Matched(NamedTuple):
    """Why a rule matched: the ticker, cashtag or name as written in the text (for a name, its words only)."""

    topic: str
    by: str


class _Hit(NamedTuple):
    rule: int
    length: int
    """The length of the name, without the spaces that mark word boundaries."""
    end: int
    """How many characters the pattern extends past the name's end: 1 with a word boundary, else 0."""
    cased: str
    """The name as written, or empty if case does not matter."""
    plain: bool
    """Whether the name alone is enough: the rule has no case, require, exclude or language."""


class _Context(NamedTuple):
    """A phrase of `require` or `exclude`, and the rules that have it."""

    length: int
    end: int
    requiring: frozenset[int]
    excluding: frozenset[int]


class Matcher:
    """Matches stories with all rules at once. Raises `ValueError` if two rules have the same name.

    >>> matcher = Matcher([TopicRule(name="Apple", tickers=["AAPL"], names=["Apple Inc."], exclude=["apple pie"])])
    >>> matcher.match("Apple's shares fall", "", [], ["tech"])
    ('Apple', 'tech')
    >>> matcher.match("Apple pie is back", "", [], [])
    ()
    >>> matcher.match("long $aapl", "", [], [])
    ('Apple',)
    """

    def __init__(self, rules: Sequence[TopicRule], *, per_story: int = TOPICS_PER_STORY) -> None:
        check_distinct(rules)
        self._rules = tuple(rules)
        self._names = frozenset(rule.name for rule in rules)
        self._per_story = per_story
        self._requires = tuple(bool(rule.require) for rule in rules)
        self._by_ticker: dict[str, list[int]] = defaultdict(list)
        names: dict[str, list[_Hit]] = defaultdict(list)
        requiring: dict[str, set[int]] = defaultdict(set)
        excluding: dict[str, set[int]] = defaultdict(set)
        for index, rule in enumerate(rules):
            for ticker in set(rule.tickers):
                self._by_ticker[ticker].append(index)
            plain = not (rule.case_sensitive or rule.require or rule.exclude or rule.language)
            for cased in dict.fromkeys(without_suffix(words(name)) for name in rule.names):
                pattern, length, end = _pattern(cased)
                names[pattern].append(_Hit(index, length, end, cased if rule.case_sensitive else "", plain))
            for phrase in rule.require:
                requiring[_pattern(words(phrase))[0]].add(index)
            for phrase in rule.exclude:
                excluding[_pattern(words(phrase))[0]].add(index)
        contexts = {
            pattern: _Context(*_pattern(pattern)[1:], frozenset(requiring[pattern]), frozenset(excluding[pattern]))
            for pattern in [*requiring, *excluding]
        }
        self._automaton = ahocorasick.Automaton()
        for pattern in dict.fromkeys([*names, *contexts]):
            self._automaton.add_word(pattern, (tuple(names.get(pattern, ())), contexts.get(pattern)))
        self._automaton.make_automaton()
        self._has_words = len(self._automaton) > 0

    def match(
        self, title: str, body: str, tickers: Sequence[str], topics: Sequence[str], language: str = "en"
    ) -> tuple[str, ...]:
        """Return the story's distinct topics in bytewise order. `topics` and `tickers` are the feed's own."""
        found = {self._rules[rule].name for rule in self._find(title, body, tickers, language)}
        if topics:
            found.update(self._bounded(topics))
        return tuple(sorted(found))  # Python sorts by code points, which is also the order of the UTF-8 bytes

    def _bounded(self, topics: Sequence[str]) -> list[str]:
        """Return the feed's own topics of a story: those of the rules, the first few others, and `_other` for more."""
        given = [name for name in dict.fromkeys(topic.strip() for topic in topics) if name and name != ALL]
        if len(given) <= self._per_story:
            return given
        others = [name for name in given if name not in self._names and name != OTHER]
        if len(others) <= self._per_story:
            return given
        beyond = set(others[self._per_story :])
        return [*(name for name in given if name not in beyond), OTHER]

    def explain(
        self, title: str, body: str = "", tickers: Sequence[str] = (), language: str = "en"
    ) -> tuple[Matched, ...]:
        """Return, for each rule that matches, the ticker or the first name that matched, in the order of the rules."""
        found = self._find(title, body, tickers, language)
        return tuple(Matched(self._rules[rule].name, found[rule]) for rule in sorted(found))

    def _find(self, title: str, body: str, tickers: Sequence[str], language: str) -> dict[int, str]:
        body = body[:BODY_CHARACTERS]
        found: dict[int, str] = {}
        if self._by_ticker:
            for ticker, by in _tickers(title, body, tickers):
                for rule in self._by_ticker.get(ticker, ()):
                    found.setdefault(rule, by)
        if self._has_words:
            self._find_names(title, body, found)
        if found and any(self._rules[rule].language for rule in found):
            spoken = (None, language.lower(), re.split("[-_]", language.lower())[0])
            found = {rule: by for rule, by in found.items() if self._rules[rule].language in spoken}
        return found

    def _find_names(self, title: str, body: str, found: dict[int, str]) -> None:
        text = f" {words(title)}{_SEAM}{words(body)} " if body else f" {words(title)} "
        hits = list(self._automaton.iter(folded(text)))
        doubtful: list[tuple[int, _Hit]] = []
        for at, (names, _) in hits:
            for hit in names:
                if hit.rule in found:
                    continue
                end = at + 1 - hit.end
                if hit.plain:
                    found[hit.rule] = text[end - hit.length : end]
                elif not hit.cased or text[end - hit.length : end] == hit.cased:
                    doubtful.append((end, hit))
        if not doubtful:
            return
        required: set[int] = set()
        excluded: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for at, (_, context) in hits:
            if context is not None:
                required |= context.requiring
                for rule in context.excluding:
                    end = at + 1 - context.end
                    excluded[rule].append((end - context.length, end))
        for end, hit in doubtful:
            if hit.rule in found or (self._requires[hit.rule] and hit.rule not in required):
                continue
            start = end - hit.length
            if not any(start < last and first < end for first, last in excluded.get(hit.rule, ())):
                found[hit.rule] = text[start:end]


def matches(rule: TopicRule, title: str, body: str = "", tickers: Sequence[str] = (), language: str = "en") -> bool:
    """Return whether one rule matches a story. For many stories, create one `Matcher([rule])` instead."""
    return bool(Matcher([rule]).explain(title, body, tickers, language))


def _pattern(cased: str) -> tuple[str, int, int]:
    low = folded(cased.strip())
    pattern = padded(low)
    return pattern, len(low), int(pattern.endswith(" "))


def _tickers(title: str, body: str, tickers: Sequence[str]) -> list[tuple[str, str]]:
    found = [(ticker.strip().removeprefix("$").upper(), ticker) for ticker in tickers]
    for text in (title, body):
        if "$" in text:
            for tag in _CASHTAG.finditer(text):
                for name in dict.fromkeys((tag[1] + (tag[2] or ""), tag[1])):
                    if name.isupper() or (name.islower() and name not in _MONEY):
                        found.append((name.upper(), "$" + name))
        if "<" in text and "</" not in text:  # with "</" it is markup: <B> and <P> are tags, not companies
            found += [(tag[1], tag[0]) for tag in _BRACKETED.finditer(text)]
    return found
