"""Near-copies: a story that repeats another one, with a source's name, a link or a hashtag added, is the same event.

The one idea: two texts are as alike as their sets of word 3-grams (Jaccard), and a MinHash signature of 64 numbers
estimates that from 256 bytes a story, so that no text needs to be read again (A. Broder, "On the resemblance and
containment of documents", 1997). The values are datasketch's own (`scheme="affine32"`), computed here for many texts
in one go. Candidates are found by equal *keys*, one a band of rows (Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", chapter 3.4), and then compared as a whole.

What is hashed: the 3-grams of the title's words and of the first 60 words of the body, after links, @names, `RT`,
`via`, hashtags at the end, a wire's marker (`UPDATE 1-`, `RPT-`, `BRIEF-`) and a known wire's name at either end have
been dropped. The numbers of the title are a part of each 3-gram: "Acme cuts 500 jobs" and "Acme cuts 800 jobs" share
nothing, because in news templates the number often is the news.

Warning: of two headlines of ten words and more that differ in a company's name of one word at the very beginning or
end, and in no number, the sets are as alike as those of a headline and its repost with one word put before it, and
they pass for copies. Statistics count an event once in each topic, so this costs little there.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = 1
"""Raised with every change of what a signature is made of. Those of different versions must not be compared."""

PERMUTATIONS = 64
SEED = 20_240_229
BODY_WORDS = 60
BANDS, ROWS = 12, 5

THRESHOLD = 0.7
"""At least this similarity (45 of 64 values) makes a copy.

A repost that adds m words at the ends of n keeps n-2 of its 3-grams: similarity (n-2)/(n-2+m). One added word gives
0.86 at 8 words, two give 0.75 at 8 and 0.80 at 10. A template filled with another company of two words gives 0.43 at 7
words, 0.50 at 8, 0.60 at 10; with one word in the middle 0.33 at 8 and 0.57 at 13. 0.7 lies between. The estimate's
standard deviation is sqrt(s(1-s)/64), 0.05 here: 0.80 passes in 98 % of cases, 0.75 in 80 %, 0.60 in 5 %, 0.50 in
0.1 %.

The keys find a pair with probability 1-(1-s^5)^12: 0.32 at 0.5, 0.62 at 0.6, 0.89 at 0.7, 0.96 at 0.75, 0.991 at 0.8,
0.9999 at 0.9; always at 1. So the keys lose little that the threshold would take, and most of what they offer in vain
is cheap to compare.
"""

_CHARACTERS = 2_000
"""As much of a title is read, and in as much of a body its first 60 words are looked for."""

_AT_ONCE = 32
"""Texts hashed in one go: 32 of 100 3-grams take 0.8 MB, which stays in a processor's cache."""

_WIRES = (
    r"(?:thomson )?reuters|bloomberg(?: news)?|cnbc|wsj|(?:the )?wall street journal|ft|financial times|marketwatch|"
    r"ap|associated press|afp|upi|dow jones(?: newswires)?|dj|yahoo(?:! finance| finance)?|seeking alpha|benzinga|"
    r"barron'?s|business insider|nyt|(?:the )?new york times|pr newswire|business wire|globe ?newswire"
)
_MARKERS = (
    r"rpt|repeat|refile|update(?: \d+)?|upd|wrapup(?: \d+)?|brief|corrected|correction|clarification|exclusive|"
    r"breaking(?: news)?|just in|alert|flash|urgent|analysis|insight|factbox|focus|timeline|live"
)
_HEAD = re.compile(
    rf"\s*(?:[*>•\-:|]+\s*|rt\b[\s:]*|\W?(?:{_MARKERS})\W?\s?[-–—:|]+\s*|\(?(?:{_WIRES})\)?\s*[-–—:|]+\s+)"
)
# Only where white space begins: from each place within it too, a title of 2,000 spaces is read a million times over.
_TAIL = re.compile(rf"(?<!\s)(?:\s+(?:[-–—|/]\s*|\(\s*|via\s+|source:\s*)(?:{_WIRES})\)?|\s+#\w+|\s+via)\Z")
_END = " \t\r\n.…|:–—-"
_DROPPED = re.compile(r"(?:https?://|www\.)\S+|(?<!\w)@\w+|\brt\b(?=\s*:?\s*@)")
_DIGIT_COMMA = re.compile(r"(?<=\d),(?=\d{3}\b)")
# Numbers keep their point; letters of a script without spaces are each a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"\d+(?:\.\d+)+|[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_HAS_DIGIT = re.compile(r"\d")


def normalise(title: str, body: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that make the signature, and the numbers (words with a digit) of the title, distinct and sorted.

    A text in which nothing is left (a bare link, say) is its own single word.
    """
    head = _plain(title[:_CHARACTERS])
    while found := _HEAD.match(head):
        head = head[found.end() :]
    head = head.rstrip(_END)
    while found := _TAIL.search(head):
        head = head[: found.start()].rstrip(_END)
    words = _WORD.findall(head)
    numbers = tuple(sorted({word for word in words if _HAS_DIGIT.search(word)}))
    if body:
        words += _WORD.findall(_plain(body[:_CHARACTERS]))[:BODY_WORDS]
    if not words:
        words = [unicodedata.normalize("NFKC", title[:_CHARACTERS] + body[:_CHARACTERS]).casefold().strip()]
    return tuple(words), numbers


def shingles(title: str, body: str = "") -> set[bytes]:
    """The set whose Jaccard similarity a signature estimates: word 3-grams, or all the words there are if fewer."""
    words, numbers = normalise(title, body)
    prefix = " ".join(numbers) + "|"
    return {(prefix + " ".join(words[i : i + 3])).encode("utf-8", "replace") for i in range(max(1, len(words) - 2))}


def signature(title: str, body: str = "") -> bytes:
    """64 little-endian uint32, 256 bytes: a function of the normalised text alone, on every platform."""
    return signatures([(title, body)])[0]


def signatures(pairs: Sequence[tuple[str, str]]) -> list[bytes]:
    """`signature` of each (title, body), in order; a text that comes twice is computed once."""
    distinct = list(dict.fromkeys(pairs))
    made: dict[tuple[str, str], bytes] = {}
    for start in range(0, len(distinct), _AT_ONCE):
        part = distinct[start : start + _AT_ONCE]
        made.update(zip(part, _minhash([shingles(title, body) for title, body in part]), strict=True))
    return [made[pair] for pair in pairs]


def similarity(a: bytes, b: bytes) -> float:
    """Estimated Jaccard similarity of the two texts' 3-grams, 0..1 in steps of 1/64."""
    return float(np.count_nonzero(_values(a) == _values(b))) / PERMUTATIONS


def keys(signatures: Sequence[bytes]) -> list[tuple[int, ...]]:
    """Of each signature 12 signed 64-bit integers, one a band of 5 values: texts that share one are worth comparing.

    A key is a multilinear hash of its band's values (Carter and Wegman, 1979: two different bands collide by chance
    once in 2^32 at the most); the band's index and `VERSION` go into it, so one indexed column holds the keys of all
    bands and versions.
    """
    if not signatures:
        return []
    values = np.frombuffer(b"".join(signatures), dtype="<u4").reshape(-1, PERMUTATIONS)
    bands = values[:, : BANDS * ROWS].reshape(-1, BANDS, ROWS).astype(np.uint64)
    multipliers, shifts = _multipliers()
    hashed = (bands * multipliers).sum(axis=2, dtype=np.uint64) + shifts
    return [tuple(row) for row in (hashed ^ (hashed >> np.uint64(32))).view(np.int64).tolist()]


def best_match(signature: bytes, candidates: Sequence[tuple[Any, bytes]]) -> Any | None:
    """The first candidate, in the order given, that is a copy (`THRESHOLD`), or None.

    Give the earliest first: then a chain of reposts hangs on its first story, and the answer does not depend on which
    of two equally near copies is nearer by an accident of the estimate.
    """
    if not candidates:
        return None
    table = np.frombuffer(b"".join(other for _, other in candidates), dtype="<u4").reshape(-1, PERMUTATIONS)
    equal = np.count_nonzero(table == _values(signature), axis=1)
    alike = np.flatnonzero(equal >= THRESHOLD * PERMUTATIONS)
    return candidates[int(alike[0])][0] if len(alike) else None


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = text.casefold()
    if "@" in text or "http" in text or "www." in text:
        text = _DROPPED.sub(" ", text)
    return _DIGIT_COMMA.sub("", text) if "," in text else text


def _minhash(sets: Sequence[set[bytes]]) -> list[bytes]:
    # What datasketch's MinHash.update_batch does with one set, for many: hash, mix, permute, least of each column.
    a, b = _permutations()
    sizes = np.fromiter((len(one) for one in sets), dtype=np.int64, count=len(sets))
    digests = b"".join(hashlib.sha1(shingle).digest()[:4] for one in sets for shingle in one)
    hashes = _mixed(np.frombuffer(digests, dtype="<u4").astype(np.uint32))
    permuted = hashes[:, None] * a + b
    least = np.minimum.reduceat(permuted, np.cumsum(sizes) - sizes, axis=0).astype("<u4")
    return [row.tobytes() for row in least]


def _mixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    # MurmurHash3's 32-bit finalizer, as in datasketch's "affine32".
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


@lru_cache(maxsize=1)
def _permutations() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    from datasketch import MinHash  # not at import: it takes a third of a second

    a, b = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme="affine32").permutations
    return a, b


@lru_cache(maxsize=1)
def _multipliers() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Odd multipliers, one a value of a band, and a shift a band: from a hash, so that they are the same for ever."""
    digests = [hashlib.blake2b(bytes((VERSION, place)), digest_size=8).digest() for place in range(BANDS * (ROWS + 1))]
    numbers = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return numbers[: BANDS * ROWS].reshape(BANDS, ROWS) | np.uint64(1), numbers[BANDS * ROWS :]


def _values(signature: bytes) -> npt.NDArray[np.uint32]:
    return np.frombuffer(signature, dtype="<u4", count=PERMUTATIONS)
