"""More like this at 2 million stories: what a search costs, how good it is, and what the signs weigh in the store.

    python -m benchmarks.similar                       # 2 million generated signs; SQLite
    python -m benchmarks.similar --feed FEED.jsonl.gz  # also: how well signs find what the embeddings themselves say

The signs of the store are drawn at random, which costs a search exactly as much as real ones. What is found is
measured on real texts: of the ten stories nearest by the cosine of embeddings, how many are among those that signs
find, and how many the page then shows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recording import record
from foreshock.model.architecture import Architecture
from foreshock.model.engine import Engine
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import open_weights, read_arrays
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.monitor.store.database import connect, reading
from foreshock.monitor.store.similar import Signs, nearest

WIDTH, CANDIDATES, QUERIES = 48, 256, 20
TEXTS, LAYER_TEXTS, ASKED = 20_000, 4_000, 300
Floats = NDArray[np.floating[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=2_000_000)
    parser.add_argument("--feed", type=Path, help="JSON lines with `title` or `text`")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {"store": store(Path(folder), asked.stories)}
    figures["library"] = libraries(asked.stories)
    if asked.feed is not None:
        texts = drawn(asked.feed)
        figures["found"] = {"feed": asked.feed.name, **quality(texts), "by_layer": layers(texts[:LAYER_TEXTS])}
    command = f"python -m benchmarks.similar{f' --feed {asked.feed.name}' if asked.feed else ''}"
    print(json.dumps(record("similar", command, figures), indent=2))


def generated(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, WIDTH), np.uint8)


def store(folder: Path, count: int) -> dict[str, Any]:
    """Fill a store with generated signs, and measure its first search, the next ones, and one after a new story."""
    engine = connect(f"sqlite:///{folder / 'news.db'}", create=True)
    empty, signs = (folder / "news.db").stat().st_size, generated(count)
    raw = engine.raw_connection()
    raw.execute("INSERT INTO partitions (\"partition\", kind, next_offset, version, member, idle, largest, sorted) "
                "VALUES ('news/0', 'kafka', ?, 1, 1, 0, '[]', 0)", (count,))  # fmt: skip
    insert = 'INSERT INTO story_signs ("partition", "offset", model, signs) VALUES (?, ?, ?, ?)'
    begun = time.process_time()
    for start in range(0, count, 100_000):
        rows = [("news/0", start + n, 7, row.tobytes()) for n, row in enumerate(signs[start : start + 100_000])]
        raw.executemany(insert, rows)
    raw.commit()
    inserting = time.process_time() - begun
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = _memory()
    held = Signs()
    with reading(engine) as connection:
        first = _seconds(lambda: held.near(connection, ("news/0", 1), CANDIDATES))
        next_ones = [
            _seconds(partial(held.near, connection, ("news/0", place), CANDIDATES))
            for place in np.random.default_rng(1).integers(0, count, QUERIES).tolist()
        ]
    memory = _memory() - before
    raw.execute(insert, ("news/0", count, 7, signs[0].tobytes()))
    raw.commit()
    raw.close()
    with reading(engine) as connection:
        after = _seconds(lambda: held.near(connection, ("news/0", 0), CANDIDATES))
        found = held.near(connection, ("news/0", 0), 1)
    assert found is not None
    assert found[0][0].position == ("news/0", count), "the new story is found"
    engine.dispose()
    return {
        "stories": count,
        "bytes_a_story_in_sqlite": round(((folder / "news.db").stat().st_size - empty) / count, 1),
        "inserting_microseconds_a_story": round(1e6 * inserting / count, 2),
        "first_search_seconds": round(first, 2),
        "search_seconds_median": round(statistics.median(next_ones), 3),
        "search_seconds_most": round(max(next_ones), 3),
        "search_after_a_new_story_seconds": round(after, 3),
        "megabytes_in_memory": round(memory),
    }


def libraries(count: int) -> dict[str, float | None]:
    """Compare ways to search the same signs, in seconds of processor time for one search; None if not installed."""
    signs = generated(count)
    words = signs.view(np.uint64)
    found: dict[str, float | None] = {
        "numpy_processor_seconds": _processor(lambda: nearest(words, words[1], CANDIDATES)),
        "usearch_exact_processor_seconds": None,
    }
    try:
        from usearch.index import MetricKind, search
    except ImportError:
        return found
    found["usearch_exact_processor_seconds"] = _processor(
        lambda: search(signs, signs[1], CANDIDATES, MetricKind.Hamming, exact=True, threads=1)
    )
    return found


def drawn(feed: Path) -> list[str]:
    """Draw texts from a feed, each once."""
    texts: dict[str, None] = {}
    with gzip.open(feed, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts.setdefault(row.get("title") or row.get("text") or "")
    every = list(texts)
    return [every[place] for place in np.random.default_rng(0).permutation(len(every))[:TEXTS].tolist()]


def layers(texts: list[str]) -> dict[str, float]:
    """Measure for each layer how many words the ten nearest of a text have in common with it.

    A word counts by how rare it is; 1 is all words of the text. A layer that knows words alone does best here, so this
    shows only which layers no longer know what a text is about.
    """
    folder = open_weights("default")
    tensors, whole = read_arrays(folder), Architecture(**folder.card["architecture"])
    tokens = tokenize(load_tokenizer(folder.tokenizer), texts)
    words = [set(re.findall(r"[a-z]{4,}", text.lower())) for text in texts]
    having = Counter(word for some in words for word in some)
    rare = {word: math.log(len(texts) / count) for word, count in having.items()}
    found = {}
    for count in range(whole.layers + 1):
        engine = Engine(tensors, replace(whole, layers=count), precision="float32", threads=1)
        parts = [engine.embed(tokens[start : start + 512]) for start in range(0, len(tokens), 512)]
        near = nearest_by_cosine(np.concatenate(parts))
        shares = []
        for place, others in enumerate(near):
            whole_weight = sum(rare[word] for word in words[place])
            if whole_weight:
                shares += [sum(rare[word] for word in words[place] & words[other]) / whole_weight for other in others]
        found[f"after_{count}_of_{whole.layers}"] = round(statistics.mean(shares), 3)
    return found


def nearest_by_cosine(embedded: Floats) -> list[list[int]]:
    """Return the ten texts nearest to each of the first `ASKED`."""
    embedded = embedded.astype(np.float64)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    found = []
    for place in range(ASKED):
        cosines = embedded @ embedded[place]
        cosines[place] = -2
        found.append(np.argsort(-cosines, kind="stable")[:10].tolist())
    return found


def quality(texts: list[str]) -> dict[str, Any]:
    """Measure on real texts how many of the ten nearest by cosine the signs find."""
    scorer = load_scorer(device="cpu")
    embedded = np.concatenate([scorer.embed(texts[start : start + 512]) for start in range(0, len(texts), 512)])
    signs = np.packbits(embedded > 0, axis=1).view(np.uint64)
    found = {10: 0.0, CANDIDATES: 0.0}
    for place, best in enumerate(nearest_by_cosine(embedded)):
        near = [other for other in nearest(signs, signs[place], CANDIDATES + 1)[0].tolist() if other != place]
        for count in found:
            found[count] += len(set(best) & set(near[:count])) / 10 / ASKED
    return {
        "texts": len(texts),
        "asked": ASKED,
        "of_ten_nearest_among_ten_by_signs": round(found[10], 3),
        f"of_ten_nearest_among_{CANDIDATES}_by_signs": round(found[CANDIDATES], 3),
    }


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _processor(act: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        begun = time.process_time()
        act()
        times.append(time.process_time() - begun)
    return round(statistics.median(times), 3)


def _memory() -> float:
    """Return the most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


if __name__ == "__main__":
    main()
