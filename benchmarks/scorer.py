"""Compare the scorer with other ways to score the same texts, on the same threads, in one run.

python -m benchmarks.scorer [--rounds 5] [--out FILE]

All take turns: a round gives each a few texts, and the figures are medians of the rounds. So a machine whose speed
drifts changes all of them alike. The others: a `transformers` pipeline around a BERT-base (FinBERT has its shape; its
weights are random, which takes as long), the same BERT-base in our own engine in 8 bits, and our encoder in torch.
Everything is measured twice: undisturbed, and beside as many busy processes as there are threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.recording import record
from foreshock.model.architecture import Architecture
from foreshock.model.bench import bench, bert_base_pipeline, headlines
from foreshock.model.encoder import Encoder
from foreshock.model.engine import Engine
from foreshock.model.quantised import rounded
from foreshock.model.scorer import load_scorer
from foreshock.model.storage import SHIPPED, open_weights, read_arrays
from foreshock.model.threads import threads_to_use
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.torch_engine import TorchEngine

BERT_BASE = Architecture(width=768, layers=12, heads=12, inner=3_072)
WORDS = 200
"""Words of a long story."""

Score = Callable[[list[str]], Any]


def contestants(threads: int) -> dict[str, tuple[Score, int]]:
    """Return what is compared: a function that scores texts, and how many texts it gets in a round.

    The faster of them get more texts, so that each takes a second or less a round.
    """
    tokenizer = load_tokenizer(SHIPPED / "tokenizer.json")
    torch.manual_seed(0)
    bert = rounded({name: tensor.numpy() for name, tensor in Encoder(BERT_BASE).state_dict().items()})
    bert_engine = Engine(bert, BERT_BASE, precision="int8", threads=threads)
    ours = read_arrays(open_weights("default"))
    in_torch = TorchEngine(ours, Architecture(), device="cpu", threads=threads)
    eight, floats = (load_scorer("default", "cpu", of, threads, cached=0) for of in ("int8", "float32"))
    place = torch.device("cpu")
    return {
        "pipeline_1": (bert_base_pipeline(place, 1, threads), 16),
        "pipeline_32": (bert_base_pipeline(place, 32, threads), 64),
        "bert_base_int8": (lambda texts: bert_engine.embed(tokenize(tokenizer, texts)), 128),
        "torch": (lambda texts: in_torch.embed(tokenize(tokenizer, texts)), 128),
        "float32": (floats.score, 256),
        "int8": (eight.score, 512),
    }


def measure(
    compared: dict[str, tuple[Score, int]], texts: Sequence[str], rounds: int, *, part_of: int = 1
) -> dict[str, dict[str, float]]:
    """Let all score the texts in turns; `part_of`: each gets so many times fewer texts in a round.

    Returns for each: texts a second, CPU seconds for 1,000 texts, and the 50th and 99th percentile of the milliseconds
    that a single text takes.
    """
    rates: dict[str, list[float]] = {name: [] for name in compared}
    cpu: dict[str, list[float]] = {name: [] for name in compared}
    single: dict[str, list[float]] = {name: [] for name in compared}
    for round_ in range(rounds + 1):  # the first warms up
        for name, (score, most) in compared.items():
            n = most // part_of
            begin = round_ * n % max(1, len(texts) - n)
            part = list(texts[begin : begin + n])
            wall, used = time.perf_counter(), time.process_time()
            score(part)
            wall, used = time.perf_counter() - wall, time.process_time() - used
            alone = []
            for text in part[: max(8 // part_of, n // 16)]:
                start = time.perf_counter()
                score([text])
                alone.append((time.perf_counter() - start) * 1_000)
            if round_:
                rates[name].append(n / wall)
                cpu[name].append(used / n * 1_000)
                single[name] += alone
    return {
        name: {
            "texts_per_second": round(statistics.median(rates[name]), 1),
            "cpu_seconds_per_1000": round(statistics.median(cpu[name]), 2),
            "one_text_ms_p50": round(float(np.percentile(single[name], 50)), 2),
            "one_text_ms_p99": round(float(np.percentile(single[name], 99)), 2),
        }
        for name in compared
    }


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep `count` processes busy for as long as the context lasts."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def start_up() -> dict[str, dict[str, float]]:
    """Measure, in processes of their own, seconds until the first score and resident MB after 200 headlines."""
    first = {
        "pipeline": "import torch; from foreshock.model.bench import bert_base_pipeline; "
        "score = bert_base_pipeline(torch.device('cpu'), 32, 2)",
        **{
            of: f"from foreshock.model.scorer import load_scorer; score = load_scorer('default', 'cpu', '{of}').score"
            for of in ("int8", "float32")
        },
    }
    before = "import time; start = time.perf_counter(); "
    after = (
        "; score(['Profit falls']); took = time.perf_counter() - start; "
        "score([f'Profit falls {i} percent ' + 'in May ' * (i % 20) for i in range(200)]); "
        # Not ru_maxrss: it begins with what the process had that started this one.
        "print(took, next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if 'VmHWM' in line))"
    )
    found = {}
    for name, begin in first.items():
        runs = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", before + begin + after], capture_output=True, text=True, check=True
            )
            runs.append([float(value) for value in done.stdout.split()])
        seconds, megabytes = np.median(np.array(runs), axis=0)
        found[name] = {"seconds_to_first_score": round(float(seconds), 2), "resident_mb": round(float(megabytes))}
    return found


def stories(n: int, seed: int) -> list[str]:
    """Make `n` texts of WORDS words, of the headlines' words."""
    made = headlines(20 * n, seed)
    return [" ".join(" ".join(made[20 * i : 20 * (i + 1)]).split()[:WORDS]) for i in range(n)]


def main() -> None:
    """Measure, record and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write here, not into benchmarks/results")
    given = parser.parse_args()
    threads = threads_to_use()
    torch.set_num_threads(threads)
    compared = contestants(threads)
    feeds = {"headlines": (headlines(1_500, seed=1), 1), "stories": (stories(100, seed=2), 8)}

    def measured() -> dict[str, dict[str, dict[str, float]]]:
        return {
            name: measure(compared, texts, given.rounds, part_of=part_of) for name, (texts, part_of) in feeds.items()
        }

    undisturbed = measured()
    with neighbours(threads):
        beside = measured()
    short = undisturbed["headlines"]
    figures = {
        **bench(load_scorer("default", "cpu"), n=given.rounds * 200),
        "rounds": given.rounds,
        "undisturbed": undisturbed,
        "beside_busy_processes": beside,
        "start_up": start_up(),
        "times_the_pipeline": {
            of: {
                "batches_of_32": round(short[of]["texts_per_second"] / short["pipeline_32"]["texts_per_second"], 1),
                "one_text": round(short["pipeline_1"]["one_text_ms_p50"] / short[of]["one_text_ms_p50"], 1),
            }
            for of in ("int8", "float32")
        },
        "times_bert_base_int8": round(
            short["int8"]["texts_per_second"] / short["bert_base_int8"]["texts_per_second"], 1
        ),
        "share_kept_beside_busy_processes": round(
            beside["headlines"]["int8"]["texts_per_second"] / short["int8"]["texts_per_second"], 2
        ),
        "load_at_the_end": round(os.getloadavg()[0], 2),
    }
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")
    else:
        figures = record("scorer", "python -m benchmarks.scorer", figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
