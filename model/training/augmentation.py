"""Make views of a text, which mean the same, and flips, which mean the opposite: the pairs for pretraining.

The one idea: a *view* may lose names, figures, its beginning or its end, but never a polar word, one that says whether
things get better or worse. A *flip* changes polar words only. An encoder that pulls views together and pushes flips
apart has to read the one word that matters. All functions are pure, of a text and a random generator. lexicon.toml
holds the words.
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
"""What masked words become. The tokenizers of BERT read it as one token."""
SWAPPED = 0.3
"""The share of words with synonyms that a view swaps."""
MASKED = 0.3
"""The share of figures, tickers and names that a view masks."""
CROPPED = 0.5
"""The share of views that are cropped."""
KEPT = 0.6
"""The smallest share of its words that a cropped view keeps."""

_FIGURE = (
    r"(?:[$€£¥]\s?|(?:EUR|USD|GBP|SEK)\s)?\d[\d,.]*(?:\s?(?:%|pct|percent|mln|mn|million|bln|bn|billion|cts|cents)\b)?"
)
_AUXILIARY = "is|are|was|were|will|would|can|could|should|has|have|had|does|did|may|might|must"
# A word of its own, not a part of "high-tech", "$LOW", "#long" or "firm's".
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
    """Return a text with the same meaning: synonyms swapped, names and figures masked, cropped.

    All polar words stay. The view may be the text itself.
    """
    return _crop(_mask(swap_synonyms(text, random), random), random)


def swap_synonyms(text: str, random: np.random.Generator) -> str:
    """Replace some of the words that have synonyms in the lexicon, each by one of its synonyms."""
    groups = lexicon().synonyms

    def swapped(match: re.Match[str]) -> str:
        others = groups.get(match[0].lower())
        if others is None or not _plain_case(match[0]) or random.random() >= SWAPPED:
            return match[0]
        return _in_case_of(match[0], others[random.integers(len(others))])

    return _WORD.sub(swapped, text)


def flip(text: str) -> str | None:
    """Turn the text into its opposite, or return None where that is not possible.

    This exchanges words of direction ("beats" / "misses"), figures that are compared, and the signs of percentages.
    In a text with none of these it exchanges things ("profit" / "loss"). flip(flip(text)) is the text again.
    """
    return _turned(text, _flip_directions) or _turned(text, _flip_things)


def negate(text: str) -> str | None:
    """Negate the text's first auxiliary verb, or remove its negation. Return None where that is not possible.

    It is not possible without an auxiliary verb. It is not done without a polar word either: a negation would then
    change some other fact than the text's polarity.
    """
    return _turned(text, _negate) if is_polar(text) else None


def hard_negatives(text: str, count: int, random: np.random.Generator) -> list[str]:
    """Return up to `count` different texts that share nearly all words with `text` and mean the opposite.

    The order: the flip, the negation, the text with its things flipped, the text with one word of direction flipped,
    then flips of the text with swapped synonyms. There are fewer than `count` where random draws find no more. The
    list is empty where the text cannot be flipped.
    """
    first = flip(text)
    if first is None or count == 0:
        return []
    kinds: tuple[Callable[[str], str | None], ...] = (
        negate,
        lambda of: _turned(of, _flip_things),
        lambda of: _turned(of, _flip_one(int(random.integers(8)))),
    )
    found = {first: None}  # a dict keeps the order
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
    """Return whether the text has a polar word, one that says whether things get better or worse."""
    words = lexicon()
    return any(word.lower() in words.flips for word in _WORD.findall(text))


def flipped_word(text: str) -> tuple[str, int] | None:
    """Return the better word of the pair to which the text's only word of direction belongs, and the text's side.

    The side is 1 where the text has the better word, -1 where it has the worse. None where the text has no word of
    direction, or several.
    """
    words = lexicon()
    found = [word.lower() for word in _WORD.findall(text) if word.lower() in words.directions]
    if len(found) != 1:
        return None
    which = words.directions[found[0]]
    return (found[0] if which > 0 else words.flips[found[0]]), which


class Lexicon:
    """The words of lexicon.toml.

    Attributes
    ----------
    flips
        Each polar word and its opposite.
    directions, things
        Each word of direction ("beats") or thing ("profit") and its side: 1 the better of its pair, -1 the worse.
    synonyms
        Each word and the other words of its group.
    """

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
    """Return the lexicon that ships with Foreshock. Reads it once."""
    return Lexicon(Path(__file__).parent / "lexicon.toml")


def _turned(text: str, turn: Callable[[str], str]) -> str | None:
    """Return turn(text) if that changes the text and a second turn changes it back, else None."""
    turned = turn(text)
    return turned if turned != text and turn(turned) == text else None


def _flip_directions(text: str) -> str:
    """Flip words of direction, signs of percentages and figures that are compared."""
    text = _flip_words(text, lexicon().directions)
    text = _SIGNED.sub(lambda match: "-" if match[1] == "+" else "+", text)
    return _COMPARED.sub(_swap_figures, text)


def _flip_things(text: str) -> str:
    """Flip words for things, such as "profit"."""
    return _flip_words(text, lexicon().things)


def _flip_one(which: int) -> Callable[[str], str]:
    """Return a function that flips one word of direction: number `which`, modulo how many the text has."""

    def turn(text: str) -> str:
        found = [match for match in _WORD.finditer(text) if match[0].lower() in lexicon().directions]
        if not found:
            return text
        match = found[which % len(found)]
        return text[: match.start()] + _flip_words(match[0], lexicon().directions) + text[match.end() :]

    return turn


def _flip_words(text: str, which: MappingProxyType[str, int]) -> str:
    """Flip the words that are keys of `which`, in their case."""
    flips = lexicon().flips

    def flipped(match: re.Match[str]) -> str:
        word = match[0]
        return _in_case_of(word, flips[word.lower()]) if word.lower() in which and _plain_case(word) else word

    return _WORD.sub(flipped, text)


def _swap_figures(match: re.Match[str]) -> str:
    """Exchange the two figures of a comparison that `_COMPARED` found."""
    if match[1] is None:
        return f"{match[7]} {match[6]} {match[5]}"
    if match[1] == match[3]:
        return match[0]
    return f"{match[1]} {match[4]} {match[3]} {match[2]}"


def _negate(text: str) -> str:
    """Put "not" after the first auxiliary verb, or take it out."""

    def toggled(match: re.Match[str]) -> str:
        return match[1] if match[2] else match[1] + (" NOT" if match[1].isupper() else " not")

    return _NEGATED.sub(toggled, text, count=1)


def _mask(text: str, random: np.random.Generator) -> str:
    """Mask some of the figures, tickers and names. In a text mostly of capitals, a capital does not mark a name."""
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
    """Return a stretch of at least KEPT of the words that includes all words which decide the polarity."""
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
    """Return whether the word is polar or a negation, so that a view must keep it."""
    return is_polar(word) or _NEGATION.search(word) is not None


def _plain_case(word: str) -> bool:
    """Return whether the word is in lower case, upper case or title case, so that another word can take its case."""
    return word.islower() or word.isupper() or word.istitle()


def _in_case_of(pattern: str, word: str) -> str:
    """Return `word` in the case of `pattern`."""
    return word.upper() if pattern.isupper() else word.capitalize() if pattern.istitle() else word
