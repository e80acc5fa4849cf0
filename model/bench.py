"""Time the scorer against the usual alternative: a `transformers` pipeline around a BERT-base.

The one idea: rates differ between machines, but their ratio carries over. So both score the same texts in the same
process with the same threads, in turns. The BERT-base has random weights; FinBERT has the same shape and would take as
long.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from foreshock.model.storage import SHIPPED

if TYPE_CHECKING:
    from foreshock.model.scorer import Scorer

TURNS = 4
"""The texts are cut into this many parts; the two scorers take turns, part by part."""


def bench(scorer: Scorer, n: int = 1_000, batch: int = 32, seed: int = 0) -> dict[str, Any]:
    """Score `n` made-up headlines with both, and return texts per second and the ratio.

    Parameters
    ----------
    n
        How many headlines each is timed on.
    batch
        Texts in one batch of the pipeline.
    seed
        Decides which headlines are made.

    Returns settings (`texts`, `batch`, `threads`, `device`, `torch`, `identity`) and rates in texts per second:
    `scorer_texts_per_second` (all texts of a turn in one call), `scorer_in_calls_of_batch` (only `batch` texts in each
    call; a worker gives more), `bert_base_texts_per_second`, and `ratio`, the pipeline's time divided by the scorer's.
    Raises ImportError where `transformers` is not installed.
    """
    pipeline = bert_base_pipeline(torch.device(scorer.choice.device), batch, scorer.threads)
    texts = headlines(2 * n + 2 * batch, seed)
    measured, in_calls, warm_up = texts[:n], texts[n : 2 * n], texts[2 * n :]
    scorer.score(warm_up[:batch])
    pipeline(warm_up[batch:])
    ours = theirs = small = 0.0
    for turn in range(TURNS):
        ours += _seconds(scorer.score, measured[turn::TURNS])
        theirs += _seconds(pipeline, measured[turn::TURNS])
        part = in_calls[turn::TURNS]
        for start in range(0, len(part), batch):
            small += _seconds(scorer.score, part[start : start + batch])
    return {
        "texts": n,
        "batch": batch,
        "threads": scorer.threads,
        "device": scorer.choice.device,
        "precision": scorer.choice.precision,
        "torch": torch.__version__,
        "identity": scorer.identity,
        "scorer_texts_per_second": round(n / ours, 1),
        "scorer_in_calls_of_batch": round(n / small, 1),
        "bert_base_texts_per_second": round(n / theirs, 1),
        "ratio": round(theirs / ours, 2),
    }


def headlines(n: int, seed: int) -> list[str]:
    """Make `n` different finance headlines of 6 to 25 words. The same `n` and seed give the same headlines."""
    draw = random.Random(seed)
    stems = ("Nor", "Ald", "Bel", "Quan", "Ver", "Tal", "Mer", "Hol", "Cas", "Lum", "Ost", "Rav")
    ends = ("tex", "mont", "dyne", "wick", "ora", "gate", "field", "port", "ium", "haven")
    kinds = ("", " Group", " plc", " Bank", " Energy", " Holdings", " Motors", " Foods")
    acts = (
        "raises full-year outlook", "cuts its dividend", "beats estimates", "misses quarterly forecasts",
        "names a new chief",
        "to close two plants", "wins a supply contract", "faces a probe by regulators", "repays debt early",
        "recalls products",
    )  # fmt: skip
    tails = (
        "as demand for its products slows", "after a strong quarter", "shares rise {} percent",
        "shares fall {} percent",
        "citing higher costs and a weaker currency", "analysts had expected {} million", "the company said on Tuesday",
        "in a deal worth {} million", "while rivals wait for the central bank",
        "and sees margins under pressure next year",
    )  # fmt: skip
    made: dict[str, None] = {}
    while len(made) < n:
        name = draw.choice(stems) + draw.choice(ends) + draw.choice(kinds)
        more = draw.sample(tails, draw.choice((0, 1, 1, 2, 3)))
        made[", ".join([f"{name} {draw.choice(acts)}", *(tail.format(draw.randint(2, 900)) for tail in more)])] = None
    return list(made)


def bert_base_pipeline(device: torch.device, batch: int, threads: int) -> Callable[[list[str]], Any]:
    """Build a pipeline around a BERT-base with random weights, which reads the shipped tokenizer's tokens.

    It uses `threads` threads of a CPU, and a GPU's default precision.
    """
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=3))  # type: ignore[call-arg]
    model.requires_grad_(False).train(False)
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(SHIPPED / "tokenizer.json"),
        model_max_length=128,
        pad_token="[PAD]",  # noqa: S106  # a word of the vocabulary
    )
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device, batch_size=batch)
    return lambda texts: classify(texts, truncation=True)


def _seconds(run: Callable[[list[str]], Any], texts: list[str]) -> float:
    """Time one call of `run` on the texts, in seconds."""
    start = time.perf_counter()
    run(texts)
    return time.perf_counter() - start
