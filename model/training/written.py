"""News written line by line for training, in the words of newspapers, wires, traders and business pages.

The one idea: a frame with slots (headlines.py) repeats its sentence, and a language has more sentences than anyone has
frames. So each line of written.tsv was written by hand, and is labelled under the guideline. Its company is
invented; at times another invented name takes its place, so that a name says less of the news.

    python -m foreshock.model.training.written DIR [...]

prints the lines that share five words in a row with a text of these folders, or with the built-in check, and fails if
there are any: take them out of written.tsv, or write them anew. It prints the formulas too: words that many texts have
in a row. Folders may hold JSON lines (also gzipped) and tables with tabs; other files are named and not read.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from foreshock.model.entities import mentions
from foreshock.model.errors import LabelledDataError
from foreshock.model.heads import LEVELS
from foreshock.model.labels import LABELS
from foreshock.model.training.check import built_in_check
from foreshock.model.training.guided import Guided
from foreshock.model.training.labelled import fingerprint

WORDS = Path(__file__).with_name("written.tsv")
NAME = "lines"
SHARED = 5
"""So many words in a row that a line shares with a real text are a quotation, unless they are a formula."""
FORMULA = 5
"""Words that stand in so many different real texts are a formula: "said its board approved a" is nobody's."""
CONTENT = 3
"""So are words of which fewer say something: neither COMMON nor figures."""
COMMON = """
a about added after all also an and any are as at be been before but by can could did do does down for from had has have
he her his i if in into is it its last made may more much no not now of off on one or other our out over own s said same
say says see she so some t take than that the their them there they this to two u up was we were what when which who
will with would year you your
bill billion bln co company corp ct cts dlr dlrs inc loss mln net pct profit qtr revs sales share shares shr vs
january february march april may june july august september october november december
"""
_COMMON = frozenset(COMMON.split())
_CAPITALS = 5
"""A shorter name in capitals is an abbreviation, not a text in capitals."""


@cache
def written(file: Path = WORDS) -> tuple[Guided, ...]:
    """Read lines (label, severity, company or nothing, text; tabs between). "#" begins a line of explanation.

    Raises LabelledDataError naming file and line: another number of fields, a label or severity that the guideline
    does not have, a company that is not in the text, or a text that stands twice.
    """
    rows: dict[str, Guided] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        try:
            row = _row(line)
            key = row.text.casefold()
            if key in rows:
                raise ValueError("the text stands twice")
        except ValueError as error:
            raise LabelledDataError(f"{file}, line {number}: {error}") from error
        rows[key] = row
    return tuple(rows.values())


def _row(line: str) -> Guided:
    label, severity, company, text = line.split("\t")
    if label not in LABELS:
        raise ValueError(f"the label is {label!r}, not one of {', '.join(LABELS)}")
    if severity not in ("0", "1", "2", "3") or (int(severity) > 0) != (label == "negative"):
        raise ValueError(f"the severity is {severity!r}; of bad news it is from 1 to {LEVELS}, of other news 0")
    if company and (company not in text or not mentions(text, company)):
        raise ValueError(f"the company {company!r} is not in the text")
    return Guided(text, label, int(severity), {company: label} if company else {})


def names_of(rows: Sequence[Guided]) -> dict[bool, list[str]]:
    """Return the companies of the rows, each once: tickers (True) and names (False)."""
    found = sorted({name for row in rows for name in row.entities})
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for name in found:
        kinds[name.startswith("$")].append(name.title() if name.isupper() and len(name) >= _CAPITALS else name)
    return {kind: list(dict.fromkeys(of)) for kind, of in kinds.items()}


def renamed(row: Guided, pool: Mapping[bool, Sequence[str]], random: np.random.Generator) -> Guided:
    """Return the row with another name of `pool` (as `names_of` returns) in the place of its company.

    A ticker gives way to a ticker. A name in capitals or in small letters stays so. The row itself is returned where
    it has no company, where `pool` has no name of its kind, or where a part of its name stands alone too.
    """
    if len(row.entities) != 1:
        return row
    ((name, label),) = row.entities.items()
    choices = pool[name.startswith("$")]
    if not choices:
        return row
    new = choices[int(random.integers(len(choices)))]
    if name.islower():
        new = new.lower()
    pieces, end = [], 0
    for start, stop in mentions(row.text, name):
        old = row.text[start:stop]
        capitals = old.isupper() and len(old) >= _CAPITALS
        pieces += [row.text[end:start], new.upper() if capitals else new]
        end = stop
    text = "".join([*pieces, row.text[end:]])
    rest = "".join([*pieces[::2], row.text[end:]])
    if any(mentions(rest, word) for word in name.split() if len(word) >= _CAPITALS - 1):
        return row
    return Guided(text, row.label, row.severity, {new: label})


def shared_words(texts: Iterable[str], others: Iterable[str]) -> tuple[dict[str, str], dict[str, int]]:
    """Return the texts that share SHARED words in a row with one of `others`, each with the words; and the formulas.

    Formulas are words that FORMULA different texts of `others` have in a row, or more, and words of which fewer than
    CONTENT say something; each comes with the number of our texts that have it. Case and punctuation do not count.
    """
    runs: dict[str, list[str]] = {}
    for text in texts:
        for run in set(_runs(text)):
            runs.setdefault(run, []).append(text)
    seen: dict[str, set[str]] = {}
    for other in others:
        for run in _runs(other):
            if run in runs:
                seen.setdefault(run, set()).add(fingerprint(other))
    formulas = {run: len(runs[run]) for run, of in seen.items() if len(of) >= FORMULA or _says_little(run)}
    return {text: run for run in seen if run not in formulas for text in runs[run]}, formulas


def _runs(text: str) -> Iterator[str]:
    words = re.findall(r"[^\W_]+", text.casefold())
    for i in range(len(words) - SHARED + 1):
        yield " ".join(words[i : i + SHARED])


def _says_little(run: str) -> bool:
    return sum(not word.isdigit() and word not in _COMMON for word in run.split()) < CONTENT


def _texts(folder: Path) -> list[str]:
    """Return every text of the files of a folder and its folders.

    Raises LabelledDataError if there is none.
    """
    found = list(_texts_of_files(folder))
    if not found:
        raise LabelledDataError(f"{folder}: no text in a .jsonl, .jsonl.gz or .tsv file; name a folder that has some")
    return found


def _texts_of_files(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.name.endswith((".jsonl.gz", ".jsonl")):
            opener = gzip.open if file.suffix == ".gz" else open
            with opener(file, "rt", encoding="utf-8") as lines:
                for line in lines:
                    story = json.loads(line)
                    if isinstance(story, dict):
                        yield from (value for value in story.values() if isinstance(value, str))
        elif file.suffix == ".tsv":
            with file.open(encoding="utf-8", newline="") as lines:
                for fields in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                    yield from fields
        elif file.is_file():
            print(f"not read\t{file}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the lines with the texts of folders. Return 1 if some share words with them, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of texts that are somebody's")
    parser.add_argument("--written", type=Path, default=WORDS, help="the lines to check")
    given = parser.parse_args(arguments)
    rows = written(given.written)
    theirs = [text for folder in given.folders for text in _texts(folder)]
    found, formulas = shared_words((row.text for row in rows), theirs)
    checked, _ = shared_words((row.text for row in rows), built_in_check().texts)
    for kind, words, text in (
        *(("formula", words, f"in {count} lines") for words, count in sorted(formulas.items())),
        *(("shared", words, text) for text, words in found.items()),
        *(("check", words, text) for text, words in checked.items()),
    ):
        print(f"{kind}\t{words}\t{text}")
    print(
        f"{len(rows)} lines: {len(found)} share {SHARED} words with one of {len(theirs)} texts, "
        f"{len(checked)} with the built-in check"
    )
    return int(bool(found or checked))


if __name__ == "__main__":
    sys.exit(main())
