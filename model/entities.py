"""Mark one company in a text, so that the encoder reads whom a sentence is good or bad for.

The one idea: the name's tokens stand between two tokens that the vocabulary keeps free, and the answer is read off the
first of them. In training the name, and the names of others, are at times replaced by placeholders: what counts is what
the text says of a company, not which company it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from foreshock.model.tokenizing import clean

# Tokens of BERT's vocabulary that no text holds: [unused0] to [unused3].
OPEN, CLOSE, IT, OTHER = 1, 2, 3, 4
# Thai, Lao, Myanmar, Khmer, kana, Han and Hangul: no spaces between words, or particles attached to names.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
# A name that stands more often is marked where it stands first: more marks add tokens and say nothing new.
MENTIONS = 4


@dataclass(frozen=True, slots=True)
class Marked:
    """Token ids of a text with one company marked, and the places of the marks before its name, one each mention."""

    ids: list[int]
    marks: list[int]


def mentions(text: str, name: str, *, unspaced: bool = False) -> list[tuple[int, int]]:
    """The first MENTIONS places (start, end) of a name in a text, as whole words, case ignored.

    A ticker is found with and without its "$"; "Apple" is not found in "Applebee's" or "pineapple". Where a name is
    part of a longer one ("Bank" in "Quay Bank"), its words are found: only the reader knows that another is meant.
    unspaced: a word also ends where a script without spaces between words begins, and a name in one stands anywhere.
    """
    bare = name.strip().removeprefix("$").strip()
    if not bare:
        return []
    words = r"\s+".join(re.escape(word) for word in bare.split())
    before, after = r"(?<!\w)", r"(?!\w)"
    if unspaced:
        # What looks for topics puts a space between scripts: "TCL 科技" stands as "TCL科技".
        words = re.sub(rf"(?<=[{_UNSPACED}])\\s\+|\\s\+(?=[{_UNSPACED}])", r"\\s*", words)
        letter = rf"[^\W{_UNSPACED}]"
        before = "" if re.match(f"[{_UNSPACED}]", bare) else f"(?<!{letter})"
        after = "" if re.match(f"[{_UNSPACED}]", bare[-1]) else f"(?!{letter})"
    # Case is ignored in the name alone: for the ranges of scripts, that would take 30 ms a name to compile.
    pattern = re.compile(rf"{before}(?i:\$?{words}){after}")
    return [match.span() for match, _ in zip(pattern.finditer(text), range(MENTIONS), strict=False)]


def mark(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    names: Sequence[str],
    *,
    hidden: Sequence[bool] | None = None,
    others: Sequence[Sequence[str]] | None = None,
    unspaced: bool = False,
) -> list[Marked | None]:
    """Tokenise texts, each with its name marked; None where the name is not among the tokens that are read.

    hidden: where true, the name becomes a placeholder. others: names that become another placeholder. Both are for
    training. unspaced: as of `mentions`.
    """
    cleaned = [clean(text) for text in texts]
    found: list[Marked | None] = []
    for i, encoding in enumerate(tokenizer.encode_batch(cleaned)):
        text = cleaned[i]
        ours = mentions(text, names[i], unspaced=unspaced)
        masked = hidden is not None and hidden[i]
        spans = [(start, end, IT if masked else None, True) for start, end in ours]
        for other in others[i] if others is not None else ():
            spans += [
                (start, end, OTHER, False)
                for start, end in mentions(text, other, unspaced=unspaced)
                if not any(start < e and s < end for s, e, _, _ in spans)
            ]
        found.append(_marked(encoding.ids, encoding.offsets, sorted(spans)))
    return found


def _marked(
    ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int, int | None, bool]]
) -> Marked | None:
    out: list[int] = []
    marks: list[int] = []
    place = 0
    for start, end, placeholder, ours in spans:
        inside = [i for i in range(place, len(ids)) if offsets[i][0] < end and start < offsets[i][1]]
        if not inside:
            continue  # beyond the tokens that are read
        first, last = inside[0], inside[-1] + 1
        out += ids[place:first]
        name = ids[first:last] if placeholder is None else [placeholder]
        if ours:
            marks.append(len(out))
            name = [OPEN, *name, CLOSE]
        out += name
        place = last
    out += ids[place:]
    return Marked(out, marks) if marks else None
