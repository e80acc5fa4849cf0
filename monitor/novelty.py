"""Near-copies: a story that repeats another one, with a source's name, a link or a hashtag added, is the same event.

The one idea: the similarity of two texts is the Jaccard similarity of their sets of word 3-grams. A MinHash signature
of 64 numbers estimates it from 256 bytes a story, so no text needs to be read again (A. Broder, "On the resemblance and
containment of documents", 1997). The values equal datasketch's (`scheme="affine32"`), but are computed for many texts
at once. Equal *keys* find the candidates: each key stands for a band of values (Leskovec, Rajaraman, Ullman, "Mining of
Massive Datasets", chapter 3.4). The whole signatures of the candidates are then compared.

The 3-grams come from the words of the title and the first 60 words of the body. Links, @names, `RT`, `via`, hashtags at
the end, a wire's marker (`UPDATE 1-`, `RPT-`, `BRIEF-`) and a known wire's name at either end are removed first.
Numbers are masked: "Acme cuts 500 jobs at its Ohio plant" and the same with 800 are one event. Otherwise a sender
could make many events of one text, by a number that differs. Texts of few words keep their numbers. A second report
within 48 hours that has the same words and another number is rarely other news.

Warning: two headlines of ten or more words may differ only in a company's name of one word at their beginning or end.
They are as similar as a headline and its repost with one word added in front, so they count as near-copies. This costs
little, because statistics count an event once in each topic.
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

VERSION = 2
"""Version of the signatures. Raise it with every change of their input. Never compare signatures of two versions."""

PERMUTATIONS = 64
"""Values in a signature."""

SEED = 20_240_229
"""Seed of the permutations."""

BODY_WORDS = 60
"""Words of the body that enter a signature."""

FEWEST_WORDS = 5
"""With fewer words beside its numbers, a text keeps them: little else tells "Notice 17" from "Notice 18"."""

BANDS = 12
"""Keys of a signature."""

ROWS = 5
"""Values of the signature that each key combines."""

THRESHOLD = 0.7
"""Smallest similarity of a near-copy (45 of 64 values).

A repost that adds m words at the ends of n words keeps n-2 of its 3-grams, so its similarity is (n-2)/(n-2+m). One
added word gives 0.86 at 8 words. Two give 0.75 at 8 and 0.80 at 10. The same template with another company of two words
gives 0.43 at 7 words, 0.50 at 8 and 0.60 at 10. With another word in the middle, it gives 0.33 at 8 and 0.57 at 13.
0.7 lies between. The standard deviation of the estimate is sqrt(s(1-s)/64), which is 0.05 here. So a similarity of 0.80
passes in 98 % of cases, 0.75 in 80 %, 0.60 in 5 % and 0.50 in 0.1 %.

The keys find a pair of similarity s with probability 1-(1-s^5)^12: 0.32 at 0.5, 0.62 at 0.6, 0.89 at 0.7, 0.96 at 0.75,
0.991 at 0.8, 0.9999 at 0.9, and 1 at 1. So the keys miss few pairs that pass the threshold, and the comparisons with
other candidates are cheap.
"""

_CHARACTERS = 2_000
"""Characters of a title that are read, and characters of a body in which its first 60 words are looked for."""

_AT_ONCE = 32
"""Texts hashed in one call. 32 texts with 100 3-grams each take 0.8 MB, which stays in a processor's cache."""

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
# A match starts only where white space begins. If it could start anywhere within white space, a title of 2,000 spaces
# would take millions of steps.
_TAIL = re.compile(rf"(?<!\s)(?:\s+(?:[-–—|/]\s*|\(\s*|via\s+|source:\s*)(?:{_WIRES})\)?|\s+#\w+|\s+via)\Z")
_END = " \t\r\n.…|:–—-"
_DROPPED = re.compile(r"(?:https?://|www\.)\S+|(?<!\w)@\w+|\brt\b(?=\s*:?\s*@)")
# In a script without spaces, each letter is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_MASK = "0"


def normalise(title: str, body: str = "") -> tuple[str, ...]:
    """Return the words of the signature. Each number in them is masked as 0, if there are `FEWEST_WORDS` beside them.

    A text without such words (a bare link, for example) becomes a single word, as written.
    """
    head = _plain(title[:_CHARACTERS])
    while found := _HEAD.match(head):
        head = head[found.end() :]
    head = head.rstrip(_END)
    while found := _TAIL.search(head):
        head = head[: found.start()].rstrip(_END)
    text = _plain(body[:_CHARACTERS]) if body else ""
    words = _masked(head) + _masked(text)[:BODY_WORDS] if text else _masked(head)
    if len(words) - words.count(_MASK) < FEWEST_WORDS:
        words = _WORD.findall(head) + _WORD.findall(text)[:BODY_WORDS]
    if not words:
        return (unicodedata.normalize("NFKC", title[:_CHARACTERS] + body[:_CHARACTERS]).casefold().strip(),)
    return tuple(words)


def shingles(title: str, body: str = "") -> set[bytes]:
    """Return the set of word 3-grams, whose Jaccard similarity a signature estimates.

    A text with fewer than three words gives one element with all its words.
    """
    words = normalise(title, body)
    if len(words) < 3:
        return {" ".join(words).encode("utf-8", "replace")}
    return {f"{a} {b} {c}".encode("utf-8", "replace") for a, b, c in zip(words, words[1:], words[2:], strict=False)}


def signature(title: str, body: str = "") -> bytes:
    """Return the signature of a text: 64 little-endian uint32, 256 bytes.

    It depends only on the normalised text, and is the same on every platform.
    """
    return signatures([(title, body)])[0]


def signatures(pairs: Sequence[tuple[str, str]]) -> list[bytes]:
    """Return the `signature` of each pair (title, body), in order. Equal texts are computed once."""
    distinct = list(dict.fromkeys(pairs))
    made: dict[tuple[str, str], bytes] = {}
    for start in range(0, len(distinct), _AT_ONCE):
        part = distinct[start : start + _AT_ONCE]
        made.update(zip(part, _minhash([shingles(title, body) for title, body in part]), strict=True))
    return [made[pair] for pair in pairs]


def keys(signatures: Sequence[bytes]) -> list[tuple[int, ...]]:
    """Return 12 keys for each signature: signed 64-bit integers, one for each band of 5 values.

    Texts that share a key are candidates for a comparison. A key is a multilinear hash of its band's values (Carter and
    Wegman, 1979): two different bands collide by chance at most once in 2^32. The hash depends on the band's index and
    on `VERSION`. So one indexed column can hold the keys of all bands and versions.
    """
    if not signatures:
        return []
    values = np.frombuffer(b"".join(signatures), dtype="<u4").reshape(-1, PERMUTATIONS)
    bands = values[:, : BANDS * ROWS].reshape(-1, BANDS, ROWS).astype(np.uint64)
    multipliers, shifts = _multipliers()
    hashed = (bands * multipliers).sum(axis=2, dtype=np.uint64) + shifts
    return [tuple(row) for row in (hashed ^ (hashed >> np.uint64(32))).view(np.int64).tolist()]


def best_match(signature: bytes, candidates: Sequence[tuple[Any, bytes]]) -> Any | None:
    """Return the name of the first of the `candidates` (name, signature) that is a near-copy (`THRESHOLD`), or None.

    Give the earliest candidate first. Then every repost in a chain belongs to the first story, and the answer does not
    depend on random differences between the estimates.
    """
    if not candidates:
        return None
    table = np.frombuffer(b"".join(other for _, other in candidates), dtype="<u4").reshape(-1, PERMUTATIONS)
    equal = np.count_nonzero(table == _values(signature), axis=1)
    alike = np.flatnonzero(equal >= THRESHOLD * PERMUTATIONS)
    return candidates[int(alike[0])][0] if len(alike) else None


def _masked(text: str) -> list[str]:
    """Return the words of a text, with a mask for each number, and one for several in a row."""
    words = _WORD.findall(_NUMBER.sub(_MASK, text))
    if words.count(_MASK) < 2:
        return words
    return [word for place, word in enumerate(words) if word != _MASK or not place or words[place - 1] != _MASK]


def _plain(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = text.casefold()
    if "@" in text or "http" in text or "www." in text:
        text = _DROPPED.sub(" ", text)
    return text


def _minhash(sets: Sequence[set[bytes]]) -> list[bytes]:
    # Like datasketch's MinHash.update_batch, for many sets: hash, mix, permute, and take each column's minimum.
    a, b = _permutations()
    sizes = np.fromiter((len(one) for one in sets), dtype=np.int64, count=len(sets))
    # A hash that spreads, as datasketch uses it: nothing is signed or kept secret by it.
    digests = b"".join([hashlib.sha1(shingle).digest()[:4] for one in sets for shingle in one])  # noqa: S324
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
    """Return the factors and summands that datasketch draws for this seed.

    They are drawn here, because importing datasketch takes a second: it imports SciPy. NumPy never changes the numbers
    of a `RandomState`.
    """
    draw = np.random.RandomState(SEED)
    a = draw.randint(0, 1 << 31, PERMUTATIONS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw.randint(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)


@lru_cache(maxsize=1)
def _multipliers() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return an odd multiplier for each value of a band, and a shift for each band. They come from a hash, so that they
    never change."""
    digests = [hashlib.blake2b(bytes((VERSION, place)), digest_size=8).digest() for place in range(BANDS * (ROWS + 1))]
    numbers = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return numbers[: BANDS * ROWS].reshape(BANDS, ROWS) | np.uint64(1), numbers[BANDS * ROWS :]


def _values(signature: bytes) -> npt.NDArray[np.uint32]:
    return np.frombuffer(signature, dtype="<u4", count=PERMUTATIONS)
