"""Find the names in a headline that may be companies and that no topic has: capitalised names, cashtags and tickers.

    Names(rules).find("Halden Foods recalls baby milk", [], [], "en") == ("Halden Foods",)

Rules, and no tagger: a word that is written with a capital, and that is neither an ordinary word nor a place, a person,
an office or whoever reports, begins a name, and goes on with the words that companies have in theirs. In headlines in
Title Case or in capitals the lists alone decide. They are in `names.toml` and `vocabulary.toml`. What a name misses is
one candidate less; what is no company and is found becomes usual (docs/detection.md#7-new-names).

Only the title is read, because a story is about whom its title names, and at most its first `TITLE` characters. A title
that names more than `NAMES` is a list, and names none. So nobody can make a story cost more than that.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from foreshock.ingest.tickers import normalised_ticker, tickers_in_text
from foreshock.monitor.topics.context import DOES, GIVEN, ORDINARY, PLACES, TITLES, Text, read, sentences
from foreshock.monitor.topics.matching import CASHTAG, MONEY
from foreshock.monitor.topics.normalise import folded, without_suffix, words
from foreshock.monitor.topics.rules import TopicRule, default_rules

TITLE = 300
"""Characters of a title that are read."""
NAMES = 5
"""Names of a story. One that names more is a list."""
LONGEST = 60
"""Characters of a name. Longer ones are no names."""
WORDS = 4
"""Words of a name: more are a headline in capitals."""

_LISTS: dict[str, str] = tomllib.loads((Path(__file__).parent / "names.toml").read_text("utf-8"))
_FORMS, _SHARED, _PLACES, _PEOPLE, _SUFFIXES = (
    frozenset(_LISTS[key].split()) for key in ("forms", "shared", "places", "people", "suffixes")
)
_COMMON = frozenset(_LISTS["ordinary"].split()) | ORDINARY - _FORMS
_NOBODY = frozenset(
    folded(words(name)) for key in ("agencies", "institutions") for name in _LISTS[key].split("|") if words(name)
)
_PERSONS = TITLES | frozenset(_LISTS["persons"].split())
"""Before a name, they say that it is a person's."""
_INSIDE = re.compile(r" ?|-|\. |['’]")
"""What may stand between two words of a name."""


def key_of(name: str) -> str:
    """Return what a name is known by, the same for its variants: `Halden`, `Halden Foods` and `Halden Foods plc`.

    That is its first word, or its first two where many companies share the first (`General Motors`). A cashtag is known
    by its ticker.
    """
    if name.startswith("$"):
        return "$" + name[1:].upper()
    said = folded(without_suffix(words(name))).split()
    said = said[1:] if len(said) > 1 and said[0] == "the" else said
    alone = said and len(said[0]) > 2 and said[0] not in _SHARED and not _is_common(said[0]) and said[0] not in _FORMS
    return said[0] if alone else " ".join(said[:2])


class Names:
    """Finds names that the topics of some rules do not have.

    >>> names = Names([TopicRule(name="Weftware", tickers=["WEFT"], names=["Weftware"])])
    >>> names.find("Halden Foods plc recalls baby milk, Weftware shares fall - Reuters", [], [], "en")
    ('Halden Foods',)
    >>> names.find("short $hldn and $WEFT", [], [], "en")
    ('$HLDN',)
    """

    def __init__(self, rules: Sequence[TopicRule]) -> None:
        self._keys = frozenset(key_of(name) for rule in rules for name in (rule.name, *rule.names, *rule.weak))
        companies = [rule for rule in rules if rule.tickers and rule.is_company]
        self._words = frozenset(key_of(name) for rule in companies for name in (rule.name, *rule.names, *rule.weak))
        self._known = frozenset(
            folded(without_suffix(words(name))) for rule in rules for name in (rule.name, *rule.names, *rule.weak)
        )
        self._themes = frozenset(rule.name for rule in default_rules())
        self._tickers = frozenset(normalised_ticker(ticker)[0] for rule in rules for ticker in rule.tickers)

    def find(self, title: str, tickers: Sequence[str], topics: Sequence[str], language: str) -> tuple[str, ...]:
        """Return the distinct names of a story, as they are written. `tickers`: the feed's own. `topics`: all it has.

        A ticker counts only in a story that names nobody, neither in its title nor by a topic: it would be another name
        of that company. In other languages than English only tickers are found: German writes all nouns with a capital.
        """
        title = title[:TITLE]
        found: dict[str, str] = {}
        if language.lower().startswith("en"):
            theirs = {key_of(topic) for topic in topics}
            for name in _names(title):
                key = key_of(name)
                if key not in theirs and not self._is_known(name, key) and len(name) > len(found.get(key, "")):
                    found[key] = name
        if not found and self._themes.issuperset(topics):
            found = {key_of(tag): tag for tag in self._tags(title, tickers)}
        return tuple(found.values()) if len(found) <= NAMES else ()

    def _tags(self, title: str, tickers: Sequence[str]) -> Iterator[str]:
        written = [tag[1] + (tag[2] or "") for tag in CASHTAG.finditer(title)] if "$" in title else []
        written = [tag for tag in written if tag.isupper() or (tag.islower() and tag not in MONEY)]
        marked = [symbol for symbol, _ in tickers_in_text(title)]
        for symbol in dict.fromkeys(
            normalised_ticker(tag)[0] for tag in (*written[: NAMES + 1], *marked[: NAMES + 1], *tickers[: NAMES + 1])
        ):
            if symbol and len(symbol) <= LONGEST and symbol not in self._tickers:
                yield "$" + symbol

    def _is_known(self, name: str, key: str) -> bool:
        said = folded(without_suffix(words(name)))
        return key in self._keys or said in self._known or any(part in self._words for part in said.split())


def _names(title: str) -> Iterator[str]:
    """Yield the names of a title in order, each as it is written."""
    text = read(title)
    clauses = list(sentences(text))
    for place, (first, last) in enumerate(clauses):
        if place and place == len(clauses) - 1 and _reports(text, first, last):
            continue
        if not any(word[0].isupper() for word in text.cased[first:last]):
            continue
        style = _style(text, first, last)
        for start, end in _runs(text, first, last):
            if _is_name(text, start, end, first, last, style):
                yield _written(text, start, end)


def _style(text: Text, first: int, last: int) -> str:
    """Return how a clause is written: "upper", "title" or "mixed", by the ordinary words after its first one."""
    longer = [at for at in range(first, last) if len(text.low[at]) > 3 and text.low[at].isalpha()]
    if len(longer) > 1 and sum(text.cased[at].isupper() for at in longer) > 0.7 * len(longer):
        return "upper"
    others = [text.cased[at] for at in longer if at > first and _is_common(text.low[at])]
    return "title" if others and sum(word[0].isupper() for word in others) > 0.7 * len(others) else "mixed"


def _reports(text: Text, first: int, last: int) -> bool:
    """Return whether a last clause says who reports: "Halden cuts jobs: sources", "... - Handelsblatt"."""
    few = last - first <= 3 and first >= 3
    return (
        few
        and all(
            text.cased[at][0].isupper() or text.low[at] in ("source", "sources", "report") for at in range(first, last)
        )
        and text.before[first].strip(" '\"") in (":", "-", "–", "—")
    )


def _runs(text: Text, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of words that may be names: from a word that begins one, on to those that may follow."""
    at = first
    while at < last:
        end = at
        if _begins(text, at, last):
            end = at + 1
            while end < last and _goes_on(text, end, last):
                end += 1
            while end > at + 1 and text.cased[end - 1] in ("&", "of"):
                end -= 1
            yield at, end
        at = max(end, at + 1)


def _begins(text: Text, at: int, last: int) -> bool:
    word, low = text.cased[at], text.low[at]
    if not word[0].isupper() or text.before[at][-1:] in ("@", "#", "/", "_", "$", "<"):
        return False
    if at and text.before[at] == "-" and text.cased[at - 1][-1:].islower():
        return False  # "anti-Halden"
    if low in _SHARED and at + 1 < last and text.low[at + 1] in _FORMS and text.cased[at + 1][0].isupper():
        return text.before[at + 1] == " "
    return not (_is_common(low) or low in _FORMS)


def _goes_on(text: Text, at: int, last: int) -> bool:
    word, low, gap = text.cased[at], text.low[at], text.before[at]
    if word == "&":
        return at + 1 < last and text.cased[at + 1][0].isupper()
    if low == "of":
        return at + 1 < last and text.low[at - 1] == "bank" and text.cased[at + 1][0].isupper()
    if not word[0].isupper() or not _INSIDE.fullmatch(gap):
        return False
    return low in _FORMS or low in _SUFFIXES or not _is_common(low)


def _is_common(low: str) -> bool:
    return low in _COMMON or low in _PLACES or low in _PEOPLE


def _is_name(text: Text, start: int, end: int, first: int, last: int, style: str) -> bool:
    """Return whether a run of words may be a company's name."""
    said = text.low[start:end]
    formed = any(word in _FORMS or word in _SUFFIXES for word in said[1:])
    further = {" ".join(text.low[start:at]) for at in range(start + 1, min(end + 2, last) + 1)}
    if not _NOBODY.isdisjoint(further) or end - start > WORDS or not text.cased[start][0].isalpha():
        return False
    if not formed and not GIVEN.isdisjoint(said):
        return False
    if end < last and text.low[end] in PLACES and text.cased[end][0].isupper() and style == "mixed":
        return False  # "Rhode Island"
    if style != "mixed" and not formed and (start > first or not _acts(text, end, last)):
        return False  # the capitals say nothing, but whom a headline is about stands first, and does something
    if start > first and not formed and text.before[start].strip() == "" and text.low[start - 1] in _PERSONS:
        return False
    letters = [word for word in text.cased[start:end] if word.isalpha()]
    if len(letters) == 1 and (
        len(letters[0]) < 3 if style == "upper" or not letters[0].isupper() else len(letters[0]) < 2
    ):
        return False
    return bool(letters)


def _acts(text: Text, at: int, last: int) -> bool:
    """Return whether what stands at `at` is done by the name before it, or belongs to it."""
    return at == last or text.low[at] in DOES or text.low[at] == "s" or text.before[at].startswith(",")


def _written(text: Text, start: int, end: int) -> str:
    """Return a name as the title writes it, with single spaces."""
    parts = [text.cased[start]]
    for at in range(start + 1, end):
        gap = text.before[at]
        parts.append(("-" if gap == "-" else gap if gap in ("'", "’") else " ") + text.cased[at])
    return "".join(parts)


def distinct_forms(names: Iterable[str]) -> list[str]:
    """Return names in order, each once: legal forms and case make no other name.

    >>> distinct_forms(["Halden Foods", "Halden Foods plc", "Halden"])
    ['Halden Foods', 'Halden']
    """
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(folded(without_suffix(words(name))), name)
    return list(kept.values())
