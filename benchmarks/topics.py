"""How well the built-in rules tell a topic from what its words also mean: precision and recall.

    python -m benchmarks.topics [--show train]

`data/topics.tsv` has made-up headlines on ambiguous names of companies and on all themes, labelled with what they are
about. Half of them (by a hash of the text) are for writing the rules, half only judge. A company found in a headline
that is not labelled with it counts as wrong, whichever company it is; a theme is judged on its own headlines.
`data/topics_unseen.tsv` was written when the rules were finished, and nothing was changed after it was judged.
`--show` prints the headlines of one half that are judged wrong.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.recording import record
from foreshock.monitor.topics import Matcher, default_rules, default_watchlist

COMMAND = "python -m benchmarks.topics"
SENTENCES = Path(__file__).parent / "data" / "topics.tsv"
UNSEEN = SENTENCES.with_name("topics_unseen.tsv")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A headline; `topic` is what it tries, `about` whether it is about that, `also` the other companies."""

    topic: str
    about: bool
    also: frozenset[str]
    text: str

    @property
    def held(self) -> bool:
        """Whether the sentence only judges: half of them are, by the first byte of the text's SHA-256."""
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 1


@dataclass(slots=True)
class Counts:
    """Found and right, found and wrong, missed."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Part of what was found that is right."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Part of what should be found that was."""
        return self.right / max(1, self.right + self.missed)

    def figures(self) -> dict[str, float | int]:
        """Return the counts with precision and recall to 3 digits."""
        counts = {"right": self.right, "wrong": self.wrong, "missed": self.missed}
        return counts | {"precision": round(self.precision, 3), "recall": round(self.recall, 3)}


def sentences(path: Path = SENTENCES) -> list[Sentence]:
    """Return the labelled headlines of the file."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [
            Sentence(row["topic"], row["about"] == "1", frozenset(filter(None, row["also"].split("|"))), row["text"])
            for row in rows
        ]


def judged(given: Iterable[Sentence]) -> Iterator[tuple[Sentence, frozenset[str], frozenset[str]]]:
    """Yield each sentence with the topics that were wrongly found and those that were missed."""
    companies = frozenset(rule.name for rule in default_watchlist())
    matcher = Matcher([*default_rules(), *default_watchlist()])
    for one in given:
        found = frozenset(matcher.match(one.text, "", [], []))
        about = one.also | ({one.topic} if one.about else frozenset())
        judging = companies if one.topic in companies else frozenset((one.topic,))
        yield one, (found & judging) - about, about - found


def measure(given: Iterable[Sentence]) -> dict[str, Counts]:
    """Return the counts of `companies`, `themes` and `all`."""
    themes = frozenset(rule.name for rule in default_rules())
    counts = {"companies": Counts(), "themes": Counts(), "all": Counts()}
    for one, wrong, missed in judged(given):
        for name in ("themes" if one.topic in themes else "companies", "all"):
            counts[name].wrong += len(wrong)
            counts[name].missed += len(missed)
            counts[name].right += len(one.also) + one.about - len(missed)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", choices=("train", "held"), help="print the wrongly judged headlines of this half")
    show = parser.parse_args().show
    given = sentences()
    if show:
        for one, wrong, missed in judged(one for one in given if one.held == (show == "held")):
            if wrong or missed:
                print(f"found {sorted(wrong)}, missed {sorted(missed)}: {one.text}")
        return
    figures: dict[str, Any] = {}
    parts = {half: [one for one in given if one.held == (half == "held")] for half in ("train", "held")}
    for half, of_half in (parts | {"unseen": sentences(UNSEEN)}).items():
        counts = {name: counted.figures() for name, counted in measure(of_half).items()}
        figures[half] = {"sentences": len(of_half), **counts}
    print(json.dumps(record("topics", COMMAND, figures), indent=2))


if __name__ == "__main__":
    main()
