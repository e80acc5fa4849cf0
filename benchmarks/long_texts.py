"""Measure what reading beyond a story's first 128 tokens would change: which rule for long texts does good, which harm.

    python -m benchmarks.long_texts [--shared DIR]

No labelled text is that long. So there are three measurements, each with the shipped weights:

* *labelled leads*: stories of 1987 of more than 128 tokens, whose title and first 220 characters were labelled. A rule
  that reads on should not contradict what a reader said of the beginning. On the validation rows, and on the training
  rows, from which a rule would be chosen.
* *facts at the end*: made of sentences of fpb's validation part. Neutral ones fill more than 128 tokens, and the last
  sentence is bad or good news. A rule that reads on finds it.
* *nothing at the end*: the same, with a last sentence that is neutral too. A rule should not find anything.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.model.labels import LABELS, read_labelled
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import SHIPPED
from foreshock.model.tokenizing import MAX_TOKENS, clean, load_tokenizer
from foreshock.model.windows import SURE, later_windows

COMMAND = "python -m benchmarks.long_texts"
NEUTRAL = LABELS.index("neutral")
CLEAR = (0.7, SURE, 0.9, 0.95)
Probabilities = NDArray[np.float64]
Story = tuple[str, str]


def rules() -> dict[str, Callable[[Probabilities], Probabilities]]:
    """Return the rules: probabilities (3,) of the text from those of its windows (windows, 3), the first one first."""

    def half(found: Probabilities) -> Probabilities:
        return 0.5 * found[0] + 0.5 * found[1:].mean(axis=0)

    def worst(found: Probabilities) -> Probabilities:
        return found[found[:, 0].argmax()]

    def clear(least: float) -> Callable[[Probabilities], Probabilities]:
        def rule(found: Probabilities) -> Probabilities:
            if found[0].argmax() != NEUTRAL:
                return found[0]
            best = found[1 + found[1:, [0, 2]].max(axis=1).argmax()]
            return best if max(best[0], best[2]) >= least else found[0]

        return rule

    named: dict[str, Callable[[Probabilities], Probabilities]] = {
        "first 128 tokens": lambda found: found[0],
        "mean of the windows": lambda found: found.mean(axis=0),
        "half the first window, half the mean of the others": half,
        "most negative window": worst,
    }
    return named | {f"first unless it is neutral and another is sure at {least}": clear(least) for least in CLEAR}


def windows(tokenizer: Tokenizer, story: Story) -> list[list[int]]:
    """Return the token ids of a story's windows: the first 128 tokens, then the title and what follows."""
    whole, title = (tokenizer.encode(clean(text)) for text in (f"{story[0]}\n{story[1]}", story[0]))
    return [whole.ids, *later_windows(whole, title.ids)]


class Reader:
    """Scores token rows with the shipped weights: windows of 128 tokens, or one pass over more of them."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.cut = load_tokenizer(SHIPPED / "tokenizer.json")
        self.whole = load_tokenizer(SHIPPED / "tokenizer.json")
        self.whole.no_truncation()

    def score(self, rows: Sequence[Sequence[int]]) -> Probabilities:
        """Return probabilities (n, 3)."""
        embedded = self._scorer._engine.embed(rows)
        return self._scorer._answers.of_texts(embedded)[:, : len(LABELS)].astype(np.float64)

    def by_windows(self, stories: Sequence[Story]) -> list[Probabilities]:
        """Return the probabilities (windows, 3) of each story's windows."""
        of_each = [windows(self.cut, story) for story in stories]
        flat = self.score([row for rows in of_each for row in rows])
        ends = np.cumsum([len(rows) for rows in of_each])
        return np.split(flat, ends[:-1])

    def in_one_pass(self, stories: Sequence[Story], tokens: int) -> Probabilities:
        """Return the probabilities (n, 3) of the first `tokens` tokens, read together."""
        rows = [self.whole.encode(clean(f"{title}\n{body}")).ids for title, body in stories]
        return self.score([row if len(row) <= tokens else [*row[: tokens - 1], row[-1]] for row in rows])

    def long(self, stories: Sequence[Story]) -> list[bool]:
        """Return which stories have more than 128 tokens."""
        encoded = self.whole.encode_batch([clean(f"{title}\n{body}") for title, body in stories])
        return [len(one.ids) > MAX_TOKENS for one in encoded]


def measure(reader: Reader, stories: Sequence[Story]) -> dict[str, Probabilities]:
    """Return the probabilities (n, 3) by each rule."""
    found = reader.by_windows(stories)
    by_rule = {name: np.array([rule(one) for one in found]) for name, rule in rules().items()}
    return by_rule | {f"one pass of {tokens} tokens": reader.in_one_pass(stories, tokens) for tokens in (256, 512)}


def labelled_leads(shared: Path, reader: Reader, part: str) -> tuple[list[Story], NDArray[np.int64]]:
    """Return the long stories of 1987 whose beginning is labelled, and the labels (n,)."""
    with gzip.open(shared / "streams" / "reuters21578_1987.jsonl.gz", "rt") as lines:
        whole = {row["id"]: (row["title"], row.get("body", "")) for row in map(json.loads, lines)}
    with gzip.open(shared / "labelled" / f"news_{part}.jsonl.gz", "rt") as lines:
        rows = [row for row in map(json.loads, lines) if row["id"] in whole and row["label"] in LABELS]
    rows = [row for row, is_long in zip(rows, reader.long([whole[row["id"]] for row in rows]), strict=True) if is_long]
    return [whole[row["id"]] for row in rows], np.array([LABELS.index(row["label"]) for row in rows])


def with_an_end(shared: Path, reader: Reader, *, neutral: bool) -> tuple[list[Story], NDArray[np.int64]]:
    """Return stories whose last sentence alone decides (or is `neutral` as the rest), and its labels (n,)."""
    data = read_labelled(shared / "labelled" / "fpb_valid.jsonl.gz")
    plain = [text for text, label in zip(data.texts, data.labels, strict=True) if label == NEUTRAL]
    last = [(t, int(label)) for t, label in zip(data.texts, data.labels, strict=True) if (label == NEUTRAL) == neutral]
    draw = random.Random(0)
    stories, labels = [], []
    for text, label in last:
        title, *body = draw.sample([one for one in plain if one != text], 30)
        enough = next(n for n in range(1, 30) if reader.long([(title, " ".join(body[:n]))])[0])
        stories.append((title, " ".join([*body[:enough], text])))
        labels.append(label)
    return stories, np.array(labels)


def main() -> None:
    """Measure, record and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    given = parser.parse_args()
    reader = Reader(load_scorer("default", "cpu", cached=0))
    sets = {f"labelled leads, {part}": labelled_leads(given.shared, reader, part) for part in ("train", "valid")}
    sets["facts at the end"] = with_an_end(given.shared, reader, neutral=False)
    sets["nothing at the end"] = with_an_end(given.shared, reader, neutral=True)
    right: dict[str, dict[str, float]] = {}
    changed: dict[str, float] = {}
    for name, (stories, labels) in sets.items():
        found = measure(reader, stories)
        today = found["first 128 tokens"].argmax(axis=1)
        for rule, scores in found.items():
            right.setdefault(rule, {})[name] = round(float((scores.argmax(axis=1) == labels).mean()), 4)
            if name == "labelled leads, train":
                changed[rule] = round(float((scores.argmax(axis=1) != today).mean()), 4)
    stories = sets["labelled leads, train"][0][:200]
    scorer = load_scorer("default", "cpu", cached=0)
    seconds: dict[str, list[float]] = {"first": [], "shipped": []}
    for _ in range(3):
        for name, read in (
            ("first", lambda: reader.in_one_pass(stories, MAX_TOKENS)),
            ("shipped", lambda: scorer.score_stories(stories)),
        ):
            begun = time.process_time()
            read()
            seconds[name].append(time.process_time() - begun)
    figures: dict[str, Any] = {
        "identity": reader._scorer.identity,
        "texts": {name: len(labels) for name, (_, labels) in sets.items()},
        "right": right,
        "labels_changed_on_labelled_leads_train": changed,
        "cpu_time_over_that_of_first": round(min(seconds["shipped"]) / min(seconds["first"]), 2),
    }
    print(json.dumps(record("long_texts", COMMAND, figures), indent=2))


if __name__ == "__main__":
    main()
