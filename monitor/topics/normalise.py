"""Normalise text for matching: words with single spaces between them, so that a name is a sequence of words.

Punctuation becomes a space, in names and in texts alike. So `Coca-Cola` is "coca cola", `Apple's` is "apple s" and
`J.P. Morgan` is "j p morgan". A word boundary is a space, and plain string search finds a name. Accents are removed
(wires write both Nestle and Nestlé). Compatible forms, such as full-width letters and ligatures, are unified. Text in
scripts without spaces between words is kept, and separated from letters of other scripts.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Thai, Lao, Myanmar, Khmer, kana, Han; and Hangul, in which particles are attached to a name.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_unspaced = re.compile(f"[{_UNSPACED}]")
_word = re.compile(r"\S+")
_seam = re.compile(rf"(?<=[{_UNSPACED}])(?=[^\s{_UNSPACED}])|(?<=[^\s{_UNSPACED}])(?=[{_UNSPACED}])")

# Longest first, in the form that `words` returns: S.A. is "s a".
_SUFFIXES = tuple(
    tuple(form.split())
    for form in (
        *("s p a", "s a b", "g m b h", "p l c", "l l c", "s a", "n v", "a g", "s e", "l p", "a s", "b v", "k k"),
        *("ag", "plc", "inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "sa", "nv"),
        *("se", "spa", "ab", "asa", "oyj", "kgaa", "gmbh", "llc", "lp", "llp", "bv", "kk", "bhd", "tbk", "pjsc", "sab"),
        *("pte", "pty", "pvt"),
    )
)


_BY_LAST_WORD: dict[str, tuple[tuple[str, ...], ...]] = {
    last: tuple(suffix for suffix in _SUFFIXES if suffix[-1] == last) for last in {suffix[-1] for suffix in _SUFFIXES}
}


def words(text: str) -> str:
    """Return the text's words in their own case, with single spaces between them and none at the ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = text.translate(_characters)
    if not text.isascii() and _unspaced.search(text):
        text = _seam.sub(" ", text)
    return " ".join(text.split())


def spans(text: str) -> list[tuple[int, int]] | None:
    """Return where each of the `words` stands in the text (start, end), or None where that cannot be told.

    It cannot in scripts without spaces between words, where the words are not those between spaces.
    """
    if _unspaced.search(text):
        return None
    made, places = [], []
    for place, char in enumerate(text):
        become = _characters[ord(char)]
        made.append(become)
        places += [place] * len(become)
    found = [(places[m.start()], places[m.end() - 1] + 1) for m in _word.finditer("".join(made))]
    return found if [m[0] for m in _word.finditer("".join(made))] == words(text).split() else None


def kept(text: str) -> str:
    """Return the text with the letters that `words` gives and its punctuation, which shows where a sentence ends."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).translate(_kept)


def folded(words: str) -> str:
    """Return `words` without case, with the same length, so that a span in one is the same span in the other."""
    return words.lower() if words.isascii() else words.casefold()


def without_suffix(words: str) -> str:
    """Remove the legal forms at the end of a company's name: "Merck & Co., Inc." -> "Merck". Never returns ""."""
    parts = words.split()
    low = folded(words).split()
    while len(parts) > 1:
        for suffix in _BY_LAST_WORD.get(low[-1], ()):
            if len(suffix) < len(low) and tuple(low[-len(suffix) :]) == suffix:
                del parts[-len(suffix) :], low[-len(suffix) :]
                break
        else:
            if low[-1] != "&":
                break
            del parts[-1], low[-1]
    return " ".join(parts)


def padded(words: str) -> str:
    """Add a space at each edge that needs a word boundary: all edges but those in scripts without spaces."""
    left = "" if _unspaced.match(words[0]) else " "
    right = "" if _unspaced.match(words[-1]) else " "
    return left + words + right


class _Characters(dict[int, str]):
    """Maps each character to its normal form, which is computed at first use."""

    def __missing__(self, code: int) -> str:
        made = self[code] = _become(chr(code))
        return made


class _Kept(dict[int, str]):
    """As `_Characters`, but a character that is no part of a word stays."""

    def __missing__(self, code: int) -> str:
        made = _become(chr(code))
        made = self[code] = chr(code) if made.isspace() or chr(code) == "&" else made
        return made


_characters = _Characters()
_kept = _Kept()


@cache
def _become(char: str) -> str:
    if char == "&":
        return " & "
    base = "".join(c for c in unicodedata.normalize("NFKD", char) if not 0x300 <= ord(c) <= 0x36F)
    made = ""
    for c in unicodedata.normalize("NFKC", base):
        if unicodedata.category(c)[0] not in "LNM":
            made += " "
        else:
            # Fold a character that becomes several (ß to ss) here, so that `folded` keeps the length.
            low = c.casefold()
            made += c if len(low) == 1 else low
    return made
