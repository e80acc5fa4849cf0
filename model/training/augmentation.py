"""Views of a text that mean the same, and flips of it that mean the opposite: the pairs that pretraining learns from.

The one idea: a *view* may lose its names, its figures, its beginning or its end, but never a word that says which way
things go; a *flip* changes nothing but those. An encoder that pulls views together and pushes flips apart has to read
the one word that matters. Pure functions of a text and a random generator; the words stand in lexicon.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

MASK = "[MASK]"
"""What masked words become: the tokenizers of BERT know it as one token."""

# Of the words that may be swapped or masked, how many are; and how many views are cropped, to at least what share.
SWAPPED = 0.3
MASKED = 0.3
CROPPED = 0.5
KEPT = 0.6

_FIGURE = (
    r"(?:[$€£¥]\s?|(?:EUR|USD|GBP|SEK)\s)?\d[\d,.]*(?:\s?(?:%|pct|percent|mln|mn|million|bln|bn|billion|cts|cents)\b)?"
)
_AUXILIARY = "is|are|was|were|will|would|can|could|should|has|have|had|does|did|may|might|must"
# A word by itself: not a part of "high-tech", "$LOW", "#long" or "firm's".
_BEFORE, _AFTER = r"(?<![\w$@#&'’-])", r"(?![\w'’-])"

_WORD = re.compile(rf"{_BEFORE}[A-Za-z]+{_AFTER}")
_NEGATED = re.compile(rf"{_BEFORE}({_AUXILIARY})( not)?{_AFTER}", re.I)
_SIGNED = re.compile(r"(?<![\w.,])([+-])(?=\d[\d.,]*\s?%)")
_COMPARED = re.compile(
    rf"\b(from|to) ({_FIGURE}) (to|from) ({_FIGURE})|(?<![\w.,$€£¥])({_FIGURE}) (vs\.?|versus) ({_FIGURE})"
)
_MASKABLE = re.compile(r"\$?\d[\d,.]*|[$@#]\w+|<[A-Z.]+>|\b[A-Z][\w&]*+(?!['’][tT]\b)")
_NEGATION = re.compile(r"\b(?:no|not|never|without|cannot|neither|nor|none)\b|n['’]t\b", re.I)


def view(text: str, random: np.random.Generator) -> str:
    """Another text of the same meaning: synonyms swapped, names and figures masked, cropped. Never empty of words that
    say which way things go; may be the text itself.
    """
    return _crop(_mask(swap_synonyms(text, random), random), random)


def swap_synonyms(text: str, random: np.random.Generator) -> str:
    """Some of the words that have synonyms in the lexicon, each replaced by one of them."""
    groups = lexicon().synonyms

    def swapped(match: re.Match[str]) -> str:
        others = groups.get(match[0].lower())
        if others is None or not _plain_case(match[0]) or random.random() >= SWAPPED:
            return match[0]
        return _in_case_of(match[0], others[random.integers(len(others))])

    return _WORD.sub(swapped, text)


def flip(text: str) -> str | None:
    """The text turned round: its words of direction ("beats" / "misses"), figures compared and signs of percentages;
    where it has none of these, its things ("profit" / "loss"). None where it has neither.

    flip(flip(text)) is the text again.
    """
    return _turned(text, _flip_directions) or _turned(text, _flip_things)


def negate(text: str) -> str | None:
    """The text with its first auxiliary verb negated, or no longer negated. None where it has none, or no word that
    says which way things go, so that not its polarity but some other fact would change.
    """
    return _turned(text, _negate) if is_polar(text) else None


def hard_negatives(text: str, count: int, random: np.random.Generator) -> list[str]:
    """`count` different texts that share nearly every word with `text` and mean the opposite; none that do not.

    First the flip, then the text negated, its things flipped, one word of direction flipped; then flips of the text
    with synonyms swapped. Fewer where chance finds no more; [] where the text cannot be flipped.
    """
    first = flip(text)
    if first is None or count == 0:
        return []
    kinds: tuple[Callable[[str], str | None], ...] = (
        negate,
        lambda of: _turned(of, _flip_things),
        lambda of: _turned(of, _flip_one(int(random.integers(8)))),
    )
    found = {first: None}  # in order
    for kind in kinds:
        other = kind(text)
        if other is not None:
            found[other] = None
    for _ in range(4 * count):
        if len(found) >= count:
            break
        found[flip(swap_synonyms(text, random)) or first] = None
    return list(found)[:count]


def is_polar(text: str) -> bool:
    """Whether a word of the text says which way things go."""
    words = lexicon()
    return any(word.lower() in words.flips for word in _WORD.findall(text))


def flipped_word(text: str) -> tuple[str, int] | None:
    """The text's only word of direction as the better of its pair, and which the text has: 1 the better, -1 the worse.

    None where it has none or several.
    """
    words = lexicon()
    found = [word.lower() for word in _WORD.findall(text) if word.lower() in words.directions]
    if len(found) != 1:
        return None
    which = words.directions[found[0]]
    return (found[0] if which > 0 else words.flips[found[0]]), which


class Lexicon:
    """lexicon.toml: `flips` word to its opposite, `directions` and `things` word to its side (1 better, -1 worse),
    `synonyms` word to the others of its group."""

    def __init__(self, path: Path) -> None:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = data["directions"], data["things"]
        self.directions, self.things = (
            MappingProxyType(dict.fromkeys(table, 1) | dict.fromkeys(table.values(), -1)) for table in tables
        )
        pairs = [pair for table in tables for pair in table.items()]
        self.flips = MappingProxyType(dict(pairs) | {worse: better for better, worse in pairs})
        self.synonyms = MappingProxyType(
            {word: [other for other in group if other != word] for group in data["synonyms"] for word in group}
        )


@cache
def lexicon() -> Lexicon:
    """The lexicon that ships with Foreshock."""
    return Lexicon(Path(__file__).parent / "lexicon.toml")


def _turned(text: str, turn: Callable[[str], str]) -> str | None:
    """turn(text), if that changes it and turning it once more changes it back."""
    turned = turn(text)
    return turned if turned != text and turn(turned) == text else None


def _flip_directions(text: str) -> str:
    text = _flip_words(text, lexicon().directions)
    text = _SIGNED.sub(lambda match: "-" if match[1] == "+" else "+", text)
    return _COMPARED.sub(_swap_figures, text)


def _flip_things(text: str) -> str:
    return _flip_words(text, lexicon().things)


def _flip_one(which: int) -> Callable[[str], str]:
    """Flips one word of direction, of those there are the one that `which` comes to when counted round and round."""

    def turn(text: str) -> str:
        found = [match for match in _WORD.finditer(text) if match[0].lower() in lexicon().directions]
        if not found:
            return text
        match = found[which % len(found)]
        return text[: match.start()] + _flip_words(match[0], lexicon().directions) + text[match.end() :]

    return turn


def _flip_words(text: str, which: MappingProxyType[str, int]) -> str:
    flips = lexicon().flips

    def flipped(match: re.Match[str]) -> str:
        word = match[0]
        return _in_case_of(word, flips[word.lower()]) if word.lower() in which and _plain_case(word) else word

    return _WORD.sub(flipped, text)


def _swap_figures(match: re.Match[str]) -> str:
    if match[1] is None:
        return f"{match[7]} {match[6]} {match[5]}"
    if match[1] == match[3]:
        return match[0]
    return f"{match[1]} {match[4]} {match[3]} {match[2]}"


def _negate(text: str) -> str:
    def toggled(match: re.Match[str]) -> str:
        return match[1] if match[2] else match[1] + (" NOT" if match[1].isupper() else " not")

    return _NEGATED.sub(toggled, text, count=1)


def _mask(text: str, random: np.random.Generator) -> str:
    """Some of the figures, tickers and names masked. In a text of capitals, a capital does not make a name."""
    words = text.split()
    capitals = sum(word[0].isupper() for word in words) > len(words) / 2

    def masked(match: re.Match[str]) -> str:
        word = match[0]
        named = word[0].isalpha()
        if named and (capitals or match.start() == 0 or _decides(word)):
            return word
        return MASK if random.random() < MASKED else word

    return _MASKABLE.sub(masked, text)


def _crop(text: str, random: np.random.Generator) -> str:
    """A stretch of at least KEPT of the words that leaves out none which says which way things go."""
    words = text.split()
    cut = random.random() < CROPPED
    kept = max(3, int(np.ceil(len(words) * random.uniform(KEPT, 1))))
    deciding = [i for i, word in enumerate(words) if _decides(word)]
    lowest, highest = 0, len(words) - kept
    if deciding:
        lowest, highest = max(0, deciding[-1] + 1 - kept), min(highest, deciding[0])
    if not cut or kept >= len(words) or lowest > highest:
        return text
    start = int(random.integers(lowest, highest + 1))
    return " ".join(words[start : start + kept])


def _decides(word: str) -> bool:
    """Whether the word says which way things go, or that they do not."""
    return is_polar(word) or _NEGATION.search(word) is not None


def _plain_case(word: str) -> bool:
    return word.islower() or word.isupper() or word.istitle()


def _in_case_of(pattern: str, word: str) -> str:
    return word.upper() if pattern.isupper() else word.capitalize() if pattern.istitle() else word
