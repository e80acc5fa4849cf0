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
* **weak** names count only in context. With `context`, their neighbours decide (`context.py`). Without, or in doubt, a
  phrase of `support` or a second weak name must be in the story, and none of `avoid`.
* **Tickers** match in the story's `tickers`; as a cashtag in all upper or all lower case (`$AAPL`, `$aapl`, but not
  sums of money such as `$bn`); and where a text marks them (`(NASDAQ: AAPL)`, `<AAPL.O>`, `AAPL US Equity`). Both sides
  are compared as `ingest.tickers` writes them, so notations do not matter. A bare word matches only if it is in
  `names`. `require`, `exclude` and `case_sensitive` do not apply to tickers.
* **The feed's own topics** count as written, the first 50 of a story (`[limits] topics_per_story`). Further ones are
  `_other`. One with the name of a rule's topic is that topic, and is never too many.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import ahocorasick

from foreshock.ingest.tickers import normalised_ticker, tickers_in_text
from foreshock.monitor.admission import TOPICS_PER_STORY
from foreshock.monitor.topics.context import ENOUGH, Text, market_points, points, read
from foreshock.monitor.topics.normalise import folded, padded, spans, without_suffix, words
from foreshock.monitor.topics.rules import TopicRule, check_distinct
from foreshock.monitor.units import ALL, OTHER, is_new

BODY_CHARACTERS = 2_000
"""How much of a body is read."""

COMPANIES = 8
"""Towards how many companies a text is scored at most. A text that names more is a list, and a sender must not be able
to make a text cost as many passes as it has names."""

CASHTAG = re.compile(r"(?<![\w$])\$([A-Za-z][A-Za-z0-9]*)([.\-/][A-Za-z0-9]+)?")
_PHRASES = ("require", "exclude", "support", "avoid")
_BY_SENTENCE = (None, "market", "theme")
MONEY = frozenset(("k", "m", "mm", "mn", "mln", "b", "bn", "bln", "t", "tn", "trn", "c"))
# Between title and body: a character that cleaned text never contains, so a name cannot span it.
_SEAM = " \n "


class Matched(NamedTuple):
    """Why a rule matched: the ticker, cashtag or name as written in the text (for a name, its words only)."""

    topic: str
    by: str


class Topics(NamedTuple):
    """The topics of a story, and the companies among them that its text names."""

    topics: tuple[str, ...]
    """Distinct, in bytewise order."""
    companies: dict[str, str]
    """Topic -> name as it stands in the text. Empty, unless the text names two companies or more."""


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
    weak: bool
    """Whether the name counts only in context."""


class _Context(NamedTuple):
    """A phrase of `require`, `exclude`, `support` or `avoid`, and the rules that have it."""

    length: int
    end: int
    requiring: frozenset[int]
    excluding: frozenset[int]
    supporting: frozenset[int]
    avoiding: frozenset[int]
    rules: frozenset[int]
    """All rules that have the phrase, in any of the four fields."""


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
        self._companies = tuple(rule.is_company for rule in rules)
        self._requires = tuple(bool(rule.require) for rule in rules)
        self._by_ticker: dict[str, list[int]] = defaultdict(list)
        names: dict[str, list[_Hit]] = defaultdict(list)
        phrases: dict[str, dict[str, set[int]]] = {field: defaultdict(set) for field in _PHRASES}
        for index, rule in enumerate(rules):
            for ticker in {normalised_ticker(ticker)[0] for ticker in rule.tickers}:
                self._by_ticker[ticker].append(index)
            plain = not (rule.case_sensitive or rule.require or rule.exclude or rule.language)
            for cased in dict.fromkeys(without_suffix(words(name)) for name in rule.names):
                pattern, length, end = _pattern(cased)
                names[pattern].append(_Hit(index, length, end, cased if rule.case_sensitive else "", plain, False))
            for cased in dict.fromkeys(without_suffix(words(name)) for name in rule.weak):
                pattern, length, end = _pattern(cased)
                names[pattern].append(
                    _Hit(index, length, end, cased if rule.context not in _BY_SENTENCE else "", False, True)
                )
            for field in _PHRASES:
                for phrase in getattr(rule, field):
                    phrases[field][_pattern(words(phrase))[0]].add(index)
        contexts: dict[str, _Context] = {}
        for pattern in dict.fromkeys(pattern for field in _PHRASES for pattern in phrases[field]):
            _, length, end = _pattern(pattern)
            require, exclude, support, avoid = (frozenset(phrases[field].get(pattern, ())) for field in _PHRASES)
            every = require | exclude | support | avoid
            contexts[pattern] = _Context(length, end, require, exclude, support, avoid, every)
        self._automaton = ahocorasick.Automaton()
        for pattern in dict.fromkeys([*names, *contexts]):
            self._automaton.add_word(pattern, (tuple(names.get(pattern, ())), contexts.get(pattern)))
        self._automaton.make_automaton()
        self._has_words = len(self._automaton) > 0

    def match(
        self, title: str, body: str, tickers: Sequence[str], topics: Sequence[str], language: str = "en"
    ) -> tuple[str, ...]:
        """Return the story's distinct topics in bytewise order. `topics` and `tickers` are the feed's own."""
        return self._all(self._find(title, body, tickers, language), topics)

    def read(
        self, title: str, body: str, tickers: Sequence[str], topics: Sequence[str], language: str = "en"
    ) -> Topics:
        """Return the topics of `match`, and the companies that the text itself names, the first `COMPANIES`.

        A company of which only the feed's own `tickers` or `topics` speak is not among them. One that the text names
        in several ways has the way that a name of its rule stands in the text first, else its ticker there.
        """
        body = body[:BODY_CHARACTERS]
        found = self._find(title, body, tickers, language)
        matched = self._all(found, topics)
        asked = [rule for rule in found if self._companies[rule]]
        if len(asked) < 2:
            return Topics(matched, {})
        return Topics(matched, self._named(title, body, frozenset(asked)))

    def _named(self, title: str, body: str, asked: frozenset[int]) -> dict[str, str]:
        hits: dict[int, tuple[int, int]] = {}
        text = self._find_names(title, body, hits) if self._has_words else ""
        of_body = text.find(_SEAM) if body else len(text)
        places: dict[bool, list[tuple[int, int]] | None] = {}
        named: dict[int, tuple[bool, int, str]] = {}
        for rule, (start, end) in hits.items():
            if rule not in asked:
                continue
            in_body = start > of_body
            raw = body if in_body else title
            if in_body not in places:
                places[in_body] = spans(raw)
            spoken = places[in_body]
            first = text.count(" ", 0, start) - 1 if not in_body else text.count(" ", of_body + len(_SEAM), start)
            last = first + text.count(" ", start, end)
            written = text[start:end] if spoken is None else raw[spoken[first][0] : spoken[last][1]]
            named[rule] = in_body, start, written
        for ticker, by in _tickers(title, body, ()):
            for rule in self._by_ticker.get(ticker, ()):
                if rule in asked and rule not in named:
                    at = title.find(by)
                    named[rule] = at < 0, at if at >= 0 else of_body + body.find(by), by
        if len({written.casefold() for _, _, written in named.values()}) < 2:
            return {}
        in_order = sorted(named, key=lambda rule: (named[rule][:2], rule))
        return {self._rules[rule].name: named[rule][2] for rule in in_order[:COMPANIES]}

    def _all(self, found: Iterable[int], topics: Sequence[str]) -> tuple[str, ...]:
        names = {self._rules[rule].name for rule in found}
        if topics:
            names.update(self._bounded(topics))
        return tuple(sorted(names))  # Python sorts by code points, which is also the order of the UTF-8 bytes

    def _bounded(self, topics: Sequence[str]) -> list[str]:
        """Return the feed's own topics of a story: those of the rules, the first few others, and `_other` for more."""
        given = [
            name
            for name in dict.fromkeys(topic.strip() for topic in topics)
            if name and name != ALL and not is_new(name)
        ]
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
            hits: dict[int, tuple[int, int]] = dict.fromkeys(found, (0, 0))
            text = self._find_names(title, body, hits)
            found.update((rule, text[start:end]) for rule, (start, end) in hits.items() if rule not in found)
        if found and any(self._rules[rule].language for rule in found):
            spoken = (None, language.lower(), re.split("[-_]", language.lower())[0])
            found = {rule: by for rule, by in found.items() if self._rules[rule].language in spoken}
        return found

    def _find_names(self, title: str, body: str, found: dict[int, tuple[int, int]]) -> str:
        """Add the rules whose names count, each with the first name's span in the words of the text. Return those."""
        text = f" {words(title)}{_SEAM}{words(body)} " if body else f" {words(title)} "
        hits = list(self._automaton.iter(folded(text)))
        doubtful: list[tuple[int, _Hit]] = []
        for at, (names, _) in hits:
            for hit in names:
                if hit.rule in found:
                    continue
                end = at + 1 - hit.end
                if hit.plain:
                    found[hit.rule] = end - hit.length, end
                elif hit.weak or not hit.cased or text[end - hit.length : end] == hit.cased:
                    doubtful.append((end, hit))
        if not doubtful:
            return text
        required: set[int] = set()
        supported: dict[int, list[tuple[int, int]]] = defaultdict(list)
        avoided: set[int] = set()
        excluded: dict[int, list[tuple[int, int]]] = defaultdict(list)
        asked = {hit.rule for _, hit in doubtful}
        for at, (_, context) in hits:
            if context is None or asked.isdisjoint(context.rules):
                continue
            end = at + 1 - context.end
            required |= context.requiring
            avoided |= context.avoiding
            for rule in context.excluding & asked:
                excluded[rule].append((end - context.length, end))
            for rule in context.supporting & asked:
                supported[rule].append((end - context.length, end))
        weak: list[tuple[int, _Hit]] = []
        for end, hit in doubtful:
            if hit.rule in found or (self._requires[hit.rule] and hit.rule not in required):
                continue
            start = end - hit.length
            if not any(start < last and first < end for first, last in excluded.get(hit.rule, ())):
                if hit.weak:
                    weak.append((end, hit))
                else:
                    found[hit.rule] = start, end
        if weak:
            self._find_weak(
                title, body, text, [(e, h) for e, h in weak if h.rule not in found], supported, avoided, found
            )
        return text

    def _find_weak(
        self,
        title: str,
        body: str,
        text: str,
        weak: Sequence[tuple[int, _Hit]],
        supported: dict[int, list[tuple[int, int]]],
        avoided: set[int],
        found: dict[int, tuple[int, int]],
    ) -> None:
        """Add the rules whose weak names count. `supported` has the spans of the phrases of `support` by rule."""
        parts: dict[bool, Text] = {}
        of_body = text.find(_SEAM) if body else len(text)
        spans: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for end, hit in weak:
            spans[hit.rule].add((end - hit.length, end))
        for end, hit in weak:
            if hit.rule in found:
                continue
            start, rule = end - hit.length, self._rules[hit.rule]
            in_body = start > of_body
            beside = any(first < start or end < last for first, last in supported.get(hit.rule, ()))
            if rule.context in _BY_SENTENCE:
                others = {text[first:last].lower() for first, last in spans[hit.rule] if last <= start or end <= first}
                beside = beside or bool(others - {text[start:end].lower()})
            usual = rule.context in ("usual", "theme")
            score = 2 * (beside + usual) - (4 if usual else 2) * (hit.rule in avoided)
            written = text[start:end]
            if rule.context and (not hit.cased or written == hit.cased or written.isupper() or written.islower()):
                if in_body not in parts:
                    parts[in_body] = read(body if in_body else title)
                first = text.count(" ", 0, start) - 1 if not in_body else text.count(" ", of_body + len(_SEAM), start)
                last = first + 1 + written.count(" ")
                if rule.context in _BY_SENTENCE:
                    score += market_points(parts[in_body], first, last)
                else:
                    score += points(parts[in_body], first, last, rule.context, written == hit.cased)
            elif rule.context:
                score = 0  # neither as in the rule, nor all in capitals, nor all without
            counts = score >= ENOUGH
            if counts:
                found[hit.rule] = start, end


def matcher_of(rules: Sequence[TopicRule], *, per_story: int = TOPICS_PER_STORY) -> Matcher:
    """Return a matcher of the rules: the one that was made last if its rules were the same.

    A matcher remembers nothing of what it reads, and making one for the default topics takes a quarter of a second.
    """
    wanted = tuple(rules), per_story
    for known, made in _MADE:
        if known == wanted:
            return made
    made = Matcher(rules, per_story=per_story)
    _MADE.append((wanted, made))
    return made


_MADE: deque[tuple[tuple[tuple[TopicRule, ...], int], Matcher]] = deque(maxlen=1)


def matches(rule: TopicRule, title: str, body: str = "", tickers: Sequence[str] = (), language: str = "en") -> bool:
    """Return whether one rule matches a story. For many stories, create one `Matcher([rule])` instead."""
    return bool(Matcher([rule]).explain(title, body, tickers, language))


def _pattern(cased: str) -> tuple[str, int, int]:
    low = folded(cased.strip())
    pattern = padded(low)
    return pattern, len(low), int(pattern.endswith(" "))


def _tickers(title: str, body: str, tickers: Sequence[str]) -> list[tuple[str, str]]:
    found = [(normalised_ticker(ticker)[0], ticker) for ticker in tickers]
    for text in (title, body):
        if "$" in text:
            for tag in CASHTAG.finditer(text):
                for name in dict.fromkeys((tag[1] + (tag[2] or ""), tag[1])):
                    if name.isupper() or (name.islower() and name not in MONEY):
                        found.append((normalised_ticker(name)[0], "$" + name))
        found += tickers_in_text(text)
    return found
