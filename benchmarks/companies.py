"""Measure what it gains and costs that a worker scores a text towards each company that it names.

    python -m benchmarks.companies [--labelled DIR] [--streams DIR]

Accuracy, on the held-out companies of news: of the text's score, and of the score that a worker would store, which
finds the names itself. Once with every labelled name as a topic, once with the built-in topics. Cost, on real streams
with the built-in topics: the share of texts that name two companies or more, and of the passes more. Replays with and
without take turns within one run, and their time is the processor's, so their ratio holds on a machine that is busy.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation import SHARED
from benchmarks.recording import record
from foreshock.ingest.parsing import ParseRules, parse
from foreshock.ingest.story import Story
from foreshock.model.entities import mark, mentions
from foreshock.model.labels import LABELS
from foreshock.model.scorer import Scorer, load_scorer
from foreshock.model.storage import open_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.guided import Guided, read_guided
from foreshock.monitor.settings import StoreSettings
from foreshock.monitor.topics.matching import Matcher
from foreshock.monitor.topics.rules import TopicRule
from foreshock.processes.replay import replay
from foreshock.settings.models import Settings
from foreshock.settings.versions import topic_rules

COMMAND = "python -m benchmarks.companies"
TEXTS = 10_000
"""Texts of each stream in which companies are counted."""
REPLAYED, TURNS = 2_000, 5
STREAM = "reuters_2018_2020"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelled", type=Path, default=SHARED / "labelled")
    parser.add_argument("--streams", type=Path, default=SHARED / "streams")
    given = parser.parse_args()
    rows = read_guided(given.labelled / "news_valid.jsonl.gz")
    scorer = load_scorer("default", "cpu")
    files = sorted(given.streams.glob("*.jsonl.gz"))
    found = {
        "accuracy": {"every_name_a_topic": named(scorer, rows), "built_in_topics": built_in(scorer, rows)},
        "streams": {file.name.partition(".")[0]: counted(file) for file in files},
        "replay": replayed(given.streams / f"{STREAM}.jsonl.gz"),
    }
    print(json.dumps(record("companies", COMMAND, found), indent=2))


def named(scorer: Scorer, rows: Sequence[Guided]) -> dict[str, Any]:
    """Every labelled company of a text is a topic with this name."""
    asked = []
    for row in rows:
        rules = [_rule(name) for name in row.entities]
        companies = Matcher(rules).read(row.text, "", [], []).companies if rules else {}
        asked += [(row, name, companies.get(name)) for name in row.entities]
    return _compared(scorer, asked)


def built_in(scorer: Scorer, rows: Sequence[Guided]) -> dict[str, Any]:
    """Only labelled companies that the built-in topics find in the text."""
    matcher = Matcher(topic_rules(Settings()))
    companies = {rule.name for rule in topic_rules(Settings()) if rule.is_company}
    asked = []
    for row in rows:
        read = matcher.read(row.text, "", [], [])
        for found in matcher.explain(row.text):
            if found.topic not in companies:
                continue
            written = read.companies.get(found.topic, found.by)
            for name in row.entities:
                if mentions(name, written) or mentions(written, name):
                    asked.append((row, name, read.companies.get(found.topic)))
                    break
    return _compared(scorer, asked)


def _rule(name: str) -> TopicRule:
    if name.startswith("$"):
        return TopicRule(name=name, tickers=[name], company=True)
    return TopicRule(name=name, names=[name], company=True)


def _compared(scorer: Scorer, asked: Sequence[tuple[Guided, str, str | None]]) -> dict[str, Any]:
    truth = np.array([LABELS.index(row.entities[name]) for row, name, _ in asked])
    several = np.array([written is not None for *_, written in asked])
    differ = np.array([len(set(row.entities.values())) > 1 for row, *_ in asked])
    texts = [row.text for row, *_ in asked]
    by_text = scorer.score(texts).argmax(axis=1) == truth
    stored = scorer.score(texts, [written for *_, written in asked]).argmax(axis=1) == truth

    def accuracy(where: Any) -> dict[str, Any]:
        return {
            "companies": int(where.sum()),
            "by_text": round(float(by_text[where].mean()), 4),
            "as_stored": round(float(stored[where].mean()), 4),
            "better": int((stored & ~by_text & where).sum()),
            "worse": int((by_text & ~stored & where).sum()),
        }

    return {
        "all": accuracy(np.ones(len(asked), dtype=bool)),
        "asked_towards": accuracy(several),
        "asked_where_fates_differ": accuracy(several & differ),
    }


def counted(file: Path) -> dict[str, Any]:
    """How many texts of a stream name several of the built-in companies, and how many passes more that makes."""
    matcher, tokenizer = Matcher(topic_rules(Settings())), load_tokenizer(open_weights("default").tokenizer)
    texts = several = passes = most = 0
    for story in islice(_stories(file), TEXTS):
        texts += 1
        names = matcher.read(story.title, story.body, story.tickers, story.topics, story.language).companies
        if names:
            text = f"{story.title}\n{story.body}" if story.body else story.title
            marked = mark(tokenizer, [text] * len(names), list(names.values()))
            several += 1
            passes += sum(one is not None for one in marked)
            most = max(most, len(names))
    return {
        "texts": texts,
        "texts_with_several": round(several / texts, 4),
        "passes_more": round(passes / texts, 4),
        "most_companies": most,
    }


def replayed(file: Path) -> dict[str, Any]:
    """Replay the first stories of a stream with and without scores towards companies, in turns."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        feed = folder / "feed.jsonl"
        with gzip.open(file, "rb") as lines:
            feed.write_bytes(b"".join(islice(lines, REPLAYED)))
        replay(_settings(folder, "first", False), [feed])  # the first run in a process also imports and compiles
        for turn in range(TURNS):
            for per_company in (False, True):
                scorer = load_scorer()
                scorer.score(["warm"] * 64)
                settings = _settings(folder, f"{turn}{per_company}", per_company)
                began = time.process_time()
                result = replay(settings, [feed], scorer=lambda scorer=scorer: scorer)  # type: ignore[misc]
                rates[per_company].append(result.counts["stories"] / (time.process_time() - began))
        passes = counted(feed)["passes_more"]
    ratios = [there / without for without, there in zip(rates[False], rates[True], strict=True)]
    return {
        "stream": STREAM,
        "stories": REPLAYED,
        "passes_more": passes,
        "stories_per_processor_second_without": [round(rate, 1) for rate in rates[False]],
        "stories_per_processor_second_with": [round(rate, 1) for rate in rates[True]],
        "with_over_without": round(sorted(ratios)[TURNS // 2], 3),
    }


def _settings(folder: Path, name: str, per_company: bool) -> Settings:
    plain = Settings(store=StoreSettings(url=f"sqlite:///{folder / name}.db"))
    return plain.model_copy(update={"model": plain.model.model_copy(update={"per_company": per_company})})


def _stories(file: Path) -> Iterator[Story]:
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        for offset, line in enumerate(lines):
            story = parse(line.rstrip(b"\n"), file.name, offset, ParseRules(accept_scores=False))
            if isinstance(story, Story):
                yield story


if __name__ == "__main__":
    main()
