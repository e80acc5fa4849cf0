"""The rows from which the layers for one company learn: labelled ones, and ones made of them.

The one idea: what is said of a company depends on where its name stands, not on the name or the tone of the whole text.
Four kinds of made rows show it: sentences about rivals from frames (rivals.toml) and written one by one (rivals.tsv),
real texts whose two names are exchanged, and two headlines with different labels put into one text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from foreshock.model.entities import mentions
from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.training.contrasts import Contrast, both, linked, read_words
from foreshock.model.training.guided import NO_SEVERITY, Guided
from foreshock.model.training.news_rows import STUDENT, Material, Rows, epoch_rows, read_material

WORDS = Path(__file__).with_name("rivals.toml")
LINES = Path(__file__).with_name("rivals.tsv")
CONTRASTS = 1_500
HEADLINES = 6_000
"""Made-up headlines, where nobody's texts may be used."""
RIVALS = 1_200
"""Sentences about two companies; each comes twice, the second time with the names swapped."""
PAIRS = 2
"""So many pairs of names fill each line of rivals.tsv; each comes twice, the second time with the names swapped."""
TICKERS = 0.15
"""The share of these pairs that are tickers."""
JOINED = 4_000
"""Texts of two headlines."""
BETWEEN = ("; ", " | ", ". ", " - ", ", ", " while ", " / ", " ... ", " as ")
JOINED_WORDS = 12
"""The most words of a headline that is put together with another."""
MADE = {"rivals": 0.5, "written": 0.5, "swapped": 0.5, "joined": 0.25}
# A text whose companies fare differently teaches most.
RESEARCH = replace(
    STUDENT,
    repeats={},
    alike={"news": 0.5, "own": 0.5, "sentfin": 0.8, "finentity": 1.0, "contrasts": 0.3, **MADE},
    differing={"news": 1.5, "own": 1.5, "sentfin": 1.5, "finentity": 2.0, "contrasts": 1.0, **MADE},
    turned={"flipped": 0, "negated": 0},
    streams=0.0,
    variants=0.0,
    sets=("news", "sentfin", "finentity"),
)
# Only what anyone may use for any purpose.
ANY_USE = replace(
    RESEARCH,
    alike={"own": 1.0, "headlines": 0.7, "lines": 0.7, "contrasts": 0.3, **MADE},
    differing={"own": 3.0, "headlines": 2.0, "lines": 1.0, "contrasts": 1.0, **MADE},
    sets=("tfns",),
    lines=True,
)
RESEARCH_SETS = ("news", "fpb", "fiqa", "sentfin", "finentity")
"""The sets whose terms do not allow any use: weights that anyone may use have nothing of them."""
MIXES = {"research": RESEARCH, "permissive": ANY_USE}


def sets_of(name: str) -> tuple[str, ...]:
    """Return the sets that rows of the mix of that name are made of, as a card of weights names them."""
    made = ("headlines", "lines", "rivals") if name == "permissive" else ("rivals",)
    return *MIXES[name].sets, "contrasts", *made


def company_material(data: Path, labels: Sequence[Path], feeds: Path | None, seed: int, name: str) -> Material:
    """Read the labelled rows of the mix of that name, and make rows of them, of rivals.toml and of rivals.tsv."""
    headlines = HEADLINES if name == "permissive" else 0
    mix = replace(MIXES[name], contrasts=CONTRASTS, headlines=headlines)
    material = read_material(data, soft_labels=None, labels=labels, feeds=feeds, mix=mix)
    real = [row for of in ("news", "own", "sentfin", "headlines", "lines") for row in material.rows.get(of, ())]
    made = {
        "rivals": [Guided(one.text, None, NO_SEVERITY, one.entities) for one in rivals(RIVALS, seed)],
        "written": filled(read_lines(LINES), seed),
        "swapped": [one for row in real if (one := swapped(row)) is not None],
        "joined": joined(real, JOINED, seed),
    }
    counts = {**material.counts, **{name: len(rows) for name, rows in made.items()}}
    return replace(material, rows={**material.rows, **made}, counts=counts)


def company_rows(
    material: Material, tokenizer: Tokenizer, seed: int, name: str, epoch: int
) -> tuple[Rows, NDArray[np.int64]]:
    """Draw an epoch's rows, and say which of them are about a company."""
    rows = epoch_rows(material, tokenizer, seed, epoch, 0.0, MIXES[name])
    return rows, np.flatnonzero([bool(marks) for marks in rows.marks])


def rivals(count: int, seed: int) -> list[Contrast]:
    """Make `count` sentences about two companies and as many with the names swapped, in random order."""
    random = np.random.default_rng([seed, count, 3])
    roles = tomllib.loads(WORDS.read_text(encoding="utf-8"))["roles"]
    weights = np.array([len(one["text"]) for one in roles]) / sum(len(one["text"]) for one in roles)
    slots = read_words()["slots"]
    made: dict[str, Contrast] = {}
    while len(made) < 2 * count:
        kind = roles[random.choice(len(roles), p=weights)]
        for row in both({**kind, "label": kind["a"]}, slots, random):
            made.setdefault(row.text, row)
    rows = list(made.values())
    return [rows[i] for i in random.permutation(len(rows))]


def read_lines(path: Path) -> list[tuple[str, str, str]]:
    """Read lines `of a, of b, text` with tabs between: what a text says of {a} and of {b}, which stand in it for names.

    Lines that begin with # are comments. Raises LabelledDataError naming file and line: an unknown label, no {a} or
    {b}, another brace, or a text that was there before.
    """
    lines: dict[str, tuple[str, str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        of_a, of_b, text = line.split("\t") if line.count("\t") == 2 else ("", "", line)
        bare = text.replace("{a}", "").replace("{b}", "")
        if not {of_a, of_b} <= {*LABELS} or "{a}" not in text or "{b}" not in text or set("{}") & set(bare):
            raise LabelledDataError(
                f"{path}, line {number}: not `label, label, text` with tabs between, with {{a}} and {{b}} in the text"
            )
        if text in lines:
            raise LabelledDataError(f"{path}, line {number}: the text stands twice")
        lines[text] = (of_a, of_b, text)
    return list(lines.values())


def filled(lines: Sequence[tuple[str, str, str]], seed: int) -> list[Guided]:
    """Fill each line with PAIRS pairs of invented names, and again with the two names swapped."""
    random = np.random.default_rng([seed, len(lines), 5])
    slots = read_words()["slots"]
    made = []
    for of_a, of_b, text in lines:
        for _ in range(PAIRS):
            values = linked(slots, random)
            names = [values["company"], values["other"]]
            if random.random() < TICKERS:
                names = [slots["ticker"][i] for i in random.choice(len(slots["ticker"]), 2, replace=False)]
            for a, b in (names, names[::-1]):
                named = text.replace("{a}", a).replace("{b}", b)
                made.append(Guided(named, None, NO_SEVERITY, {a: of_a, b: of_b}))
    return made


def swapped(row: Guided) -> Guided | None:
    """The text of a row about two companies that fare differently with their names exchanged, and so their fates.

    None of other rows, and where a name is a part of the other or is not in the text.
    """
    if len(row.entities) != 2 or len(set(row.entities.values())) != 2:
        return None
    (first, of_first), (second, of_second) = row.entities.items()
    places = [(*at, other) for name, other in ((first, second), (second, first)) for at in mentions(row.text, name)]
    places.sort()
    apart = all(end <= start for (_, end, _), (start, *_) in pairwise(places))
    if not apart or len({name for *_, name in places}) != 2:
        return None
    text, end = "", 0
    for start, stop, name in places:
        text, end = text + row.text[end:start] + name, stop
    return Guided(text + row.text[end:], None, NO_SEVERITY, {first: of_second, second: of_first})


def joined(rows: Sequence[Guided], count: int, seed: int) -> list[Guided]:
    """Put short texts with different labels together, two at a time; neither names a company of the other."""
    random = np.random.default_rng([seed, count, 4])
    short = [
        row
        for row in rows
        if row.entities and len(set(row.entities.values())) == 1 and len(row.text.split()) <= JOINED_WORDS
    ]
    made: dict[str, Guided] = {}
    for _ in range(4 * count):
        if len(made) == count or len(short) < 2:
            break
        first, second = (short[i] for i in random.integers(len(short), size=2))
        pairs = ((first, second), (second, first))
        foreign = any(mentions(one.text, name) for one, other in pairs for name in other.entities)
        if foreign or {*first.entities.values()} == {*second.entities.values()}:
            continue
        text = f"{first.text.rstrip(' .')}{BETWEEN[random.integers(len(BETWEEN))]}{second.text}"
        made.setdefault(text, Guided(text, None, NO_SEVERITY, {**first.entities, **second.entities}))
    return list(made.values())
