"""Tell a company from the ordinary word, person or place of the same name, by the words around it.

`Target cuts its forecast`, `Shell profit` and `jobs at Ford` are companies; `target price`, `Senator Ford` and
`the Amazon` are not. Each occurrence of an ambiguous name gets points from its neighbours (`vocabulary.toml`), and
counts from `ENOUGH` points on. The result depends on the text alone. Nothing here was learnt;
`python -m benchmarks.topics` measures it.

How a name is written counts too. In the middle of a lower-case sentence, a capital marks a proper name: enough for
`word` (Target), not for `name` (Ford, Delta). In a headline in capitals, in Title Case or at the head of a sentence, it
says nothing. With `usual` (Tesla), the name means the company unless something speaks against it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foreshock.monitor.topics.normalise import folded, kept, words

Kind = Literal["word", "name", "letters", "usual", "market", "theme"]
ENOUGH = 2
_STRONG = 3
_NEVER = -9
_NEAR = 12
"""How many words to each side are searched for a word of business."""

_LISTS = {
    key: frozenset(value.split())
    for key, value in tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text("utf-8")).items()
}


def _inflected(base: str) -> set[str]:
    if base.endswith("e"):
        return {base + "s", base[:-1] + "ing", base + "d"}
    if base.endswith("y") and base[-2] not in "aeiou":
        return {base[:-1] + "ies", base + "ing", base[:-1] + "ied"}
    doubled = base + base[-1]
    plural = base + "es" if base.endswith(("s", "x", "z", "ch", "sh")) else base + "s"
    return {plural, base + "ing", doubled + "ing", base + "ed", doubled + "ed"}


_BASES = _LISTS["verbs"]
_ACTING = frozenset(form for base in _BASES for form in _inflected(base)) | _LISTS["forms"]
_ACTED_ON = _LISTS["acts_on"] | frozenset(form for base in _LISTS["acts_on"] for form in _inflected(base))
_MARKET = _LISTS["market"] | _LISTS["peers"] | _LISTS["business"]
_MAY_FOLLOW = _LISTS["joined"] | _LISTS["peers"]
ORDINARY = frozenset().union(*(_LISTS[key] for key in _LISTS if key not in ("peers", "given"))) | _ACTING | _ACTED_ON
"""Words of the lists that name nobody."""
DOES = _ACTING | _LISTS["moves"] | _LISTS["auxiliaries"]
"""What a company does, after its name."""
GIVEN, TITLES, PLACES = _LISTS["given"], _LISTS["titles"], _LISTS["places"]
"""First names, what stands before the name of a person, and what makes a place of a name before it (Island)."""
_TOKEN = re.compile(r"&|[^\W_]+")
_ENDS_SENTENCE = re.compile(r"[.!?:;|\"“”—–…•]|(?:^|\s)-+\s|\s['‘]")


@dataclass(frozen=True, slots=True)
class Text:
    """The words of a title or body, with what stands between them."""

    cased: list[str]
    low: list[str]
    before: list[str]
    """What precedes each word: spaces and punctuation."""


def read(raw: str) -> Text:
    """Split a text into the words that `normalise.words` finds, and the punctuation between them."""
    spoken = words(raw)
    cased = spoken.split()
    text = kept(raw)
    between = _TOKEN.split(text)[:-1]
    if len(between) != len(cased) or _TOKEN.findall(text) != cased:  # scripts whose words are cut otherwise
        between = [" "] * len(cased)
    return Text(cased, folded(spoken).split(), between)


def points(text: Text, start: int, end: int, kind: Kind, as_given: bool = True) -> int:
    """Return how much the words around `text.cased[start:end]` speak for a company; negative speaks against one.

    `as_given` says whether the name is written as in the rule. If not, only a text all in capitals, or all without,
    can mean it.
    """
    first, last = _sentence(text, start)
    style = _style(text, first, last, start, end)
    written = text.cased[start]
    if not as_given and written.islower() and style != "lower":
        return _NEVER
    if style == "mixed" and kind != "letters" and written.isupper() and len(written) > 1 and end - start == 1:
        style = "upper"  # one word in capitals, such as SNAP: its case says nothing
    proper = style == "mixed"
    vetoed = _against(text, start, end, first, kind, proper)
    if vetoed == _NEVER:
        return _NEVER
    right = _right(text, start, end, last, kind, proper)
    if vetoed and right < _STRONG:
        return _NEVER
    score = right + _left(text, start, first, kind, proper)
    if proper and start > first and _tail(text, start, first):
        score -= _STRONG if start - 1 > first else 1
    if end < last and _foreign(text, end, proper):
        score -= _STRONG if kind == "name" else 0
    elif proper and kind == "word" and start > first and _own_name(text, start, first):
        score += ENOUGH
    elif proper and kind == "name" and start > first and _own_name(text, start, first):
        score += 1
    elif proper and kind in ("letters", "usual"):
        score += 1
        if kind == "letters" and start > first and text.low[start - 1] in _LISTS["prepositions"]:
            score += 1
    if _listed(text, start, end, first, last, style, kind in ("word", "letters")):
        score += 2
    near = text.low[max(first, start - _NEAR) : start] + text.low[end : min(last, end + _NEAR)]
    if any(word in _LISTS["business"] for word in near) or any("%" in gap for gap in text.before[first + 1 : last]):
        score += 1
    return score


def market_points(text: Text, start: int, end: int) -> int:
    """Return how much the sentence around a word speaks for its meaning on markets: -2, 0 or 2."""
    first, last = _sentence(text, start)
    around = set(text.low[first:start]) | set(text.low[end:last])
    percent = any("%" in gap or "$" in gap for gap in text.before[first:last])
    business = percent or not _MARKET.isdisjoint(around)
    if not _LISTS["elsewhere"].isdisjoint(around):
        return 0 if business else -ENOUGH
    return ENOUGH if business else 0


def sentences(text: Text) -> Iterator[tuple[int, int]]:
    """Yield where each sentence or clause begins and ends, in words."""
    at = 0
    while at < len(text.cased):
        yield _sentence(text, at)
        at = _sentence(text, at)[1]


def _sentence(text: Text, at: int) -> tuple[int, int]:
    first = at
    while first > 0 and not _breaks(text, first):
        first -= 1
    last = at + 1
    while last < len(text.cased) and not _breaks(text, last):
        last += 1
    return first, last


def _breaks(text: Text, at: int) -> bool:
    """Whether a new sentence or clause begins at a word; a full stop after an initial (J., U.S.) begins none."""
    gap = text.before[at]
    if not _ENDS_SENTENCE.search(gap):
        return False
    return not (gap.startswith(".") and len(text.cased[at - 1]) == 1) and gap != "."


def _style(text: Text, first: int, last: int, start: int, end: int) -> str:
    """How the sentence is written: "upper", "lower", "title" or "mixed". The name itself does not count."""
    others = [w for at, w in enumerate(text.cased[first:last], first) if not start <= at < end and w.isalpha()]
    longer = [word for word in others if len(word) > 3]
    if others and sum(word.isupper() for word in others) > 0.7 * len(others) and any(len(w) > 3 for w in others):
        return "upper"
    if text.cased[start].islower() and not any(word[0].isupper() for word in others):
        return "lower"
    if len(longer) > 1 and sum(word[0].isupper() for word in longer) > 0.7 * len(longer):
        return "title"
    return "mixed"


def _against(text: Text, start: int, end: int, first: int, kind: Kind, proper: bool) -> int:
    """Return `_NEVER` for a person, a place or a part of another word, 1 for a doubt that a strong sign lifts, or 0."""
    low, gap = text.low, text.before
    if start > first and gap[start] == "-":
        apart = low[start - 1] in ("ex", "non", "anti", "pro") or low[start - 1] in _LISTS["peers"]
        if not apart and (not proper or text.cased[start - 1].islower()):
            return _NEVER  # "start-ups"
    if end < len(low) and gap[end] == "-" and text.cased[end].islower() and low[end] not in _MAY_FOLLOW:
        return _NEVER  # "shell-shocked"
    if end < len(low) and gap[end].isspace() and low[end] in _LISTS["places"]:
        return _NEVER
    if end < len(low) and "," in gap[end] and low[end].isdigit() and len(low[end]) == 2 and kind == "name":
        following = gap[end + 1] if end + 1 < len(low) else ""
        if following.startswith(","):
            return _NEVER  # "Ford, 54,": an age
    if start > first and gap[start] in (" ", ". "):
        left = low[start - 1]
        if left in _LISTS["titles"] or (left in _LISTS["given"] and (not proper or text.cased[start - 1][0].isupper())):
            return _NEVER
        if kind == "letters" and left.isdigit():
            return _NEVER
        if left in _LISTS["determiners"] and not (proper and end < len(low) and text.cased[end] != low[end]):
            return 1
    return 0


def _right(text: Text, start: int, end: int, last: int, kind: Kind, proper: bool) -> int:
    low, gap = text.low, text.before
    at = end
    possessive = at < last and low[at] == "s" and gap[at] in ("'", "’")
    if possessive:
        at += 1
    elif at < last and proper and low[start:end][-1].endswith("s") and gap[at] in ("' ", "’ "):
        possessive = True
    elif at < last and gap[at] == "-" and low[at] in _LISTS["joined"]:
        return _STRONG
    if at < last and gap[at].strip(" '’") == "" and "(" not in gap[at]:
        ahead = at
        while ahead < last and ahead < at + 4 and gap[ahead].strip(" -'’&/.,") == "":
            word = low[ahead]
            if "," in gap[ahead] and ahead > at:
                break
            if word in _LISTS["nouns"]:
                return _STRONG
            if word not in _LISTS["between"]:
                break
            ahead += 1
        ahead = at
        helped = False
        while ahead < last and ahead < at + 4 and low[ahead] in _LISTS["auxiliaries"] and gap[ahead].strip() == "":
            helped = True
            ahead += 1
        if ahead < last and not possessive and gap[ahead].strip() == "":
            word = low[ahead]
            if word in _ACTING or (helped and word in _BASES):
                return _STRONG
            if word in _LISTS["moves"]:
                return 1 if kind == "name" else 2
            if word == "in" and ahead + 1 < last and low[ahead + 1] in _LISTS["involved"]:
                return _STRONG
        if possessive:
            return 1 if kind == "name" else 2
    elif at < last and "(" in gap[at] and low[at] in ("nyse", "nasdaq", "lse", "otc", "ticker", "tsx", "asx"):
        return _STRONG
    return 0


def _left(text: Text, start: int, first: int, kind: Kind, proper: bool) -> int:
    if start == first:
        return 0
    low, gap = text.low, text.before
    left = low[start - 1]
    if gap[start].strip() not in ("", "'", "’"):
        return 0
    if left in _LISTS["roles"]:
        return _STRONG
    if left == "s" and gap[start - 1] in ("'", "’") and start - 2 >= first:
        return (1 if kind == "name" else 2) if text.cased[start - 2][0].isupper() else 0
    if left in _LISTS["prepositions"] and start - 2 >= first:
        if low[start - 2] in _LISTS["before_preposition"]:
            return _STRONG if proper or kind != "word" or left in ("at", "against") else 1
        if proper and left == "at":
            return 2
        if proper and kind == "name" and left not in ("in", "of", "around"):
            return 1
    if left in _ACTED_ON:
        return 2 if proper or kind != "word" else 1
    return 0


def _own_name(text: Text, start: int, first: int) -> bool:
    """Whether a capital in the middle of a sentence marks this name alone, not the end of a longer one."""
    left, gap = text.cased[start - 1], text.before[start]
    if gap.strip() or not left[0].isupper() or left.isupper():
        return True
    return start - 1 == first and text.low[start - 1] in _LISTS["heads"]


def _tail(text: Text, start: int, first: int) -> bool:
    """Whether the name is the end of another name: "Pershing Square", "Carson Block"."""
    left, low = text.cased[start - 1], text.low[start - 1]
    if text.before[start] != " " or not left[0].isupper() or left.isupper():
        return False
    known = (_LISTS["heads"], _LISTS["roles"], _LISTS["nouns"], _LISTS["peers"], _LISTS["between"], _ACTING, _ACTED_ON)
    return not any(low in words for words in known)


def _foreign(text: Text, end: int, proper: bool) -> bool:
    """Whether the name goes on with a capitalised word that is none of a company's: "Tiffany Jones"."""
    word = text.cased[end]
    if not proper or text.before[end].strip() or not word[0].isupper() or word.isupper():
        return False
    low = text.low[end]
    return low not in _LISTS["nouns"] and low not in _ACTING and low not in _LISTS["between"] and low not in _BASES


def _listed(text: Text, start: int, end: int, first: int, last: int, style: str, known_kind: bool) -> bool:
    """Whether another company stands beside the name in a list: "Walmart, Target and Costco".

    With `known_kind`, any capitalised word after a comma counts as one.
    """

    def known(at: int) -> bool:
        return text.low[at] in _LISTS["peers"] and (style != "mixed" or not text.cased[at].islower())

    def joins(at: int) -> bool:
        return text.low[at] in ("and", "&", "or", "vs", "versus", "than", "over")

    for other in (start - 1, end):
        if not first <= other < last:
            continue
        gap = text.before[start if other < start else end].strip()
        if gap in (",", "/", "-", "+") and known(other):
            return True
        if other == end and gap == "," and style == "mixed" and text.cased[end][0].isupper() and known_kind:
            return True
        step = -1 if other < start else 1
        for beyond in (other + step, other + 2 * step):
            if joins(other) and first <= beyond < last and known(beyond):
                return True
    return False
