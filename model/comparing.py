"""Compare models on one labelled file: how often they are right, how sure, how fast, and what they were trained on.

The one idea: each model is loaded and timed in a process of its own, one after the other. So what one of them keeps in
memory or starts does not count for another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from foreshock.model.huggingface.folder import PREFIX, open_folder, stated
from foreshock.model.labels import read_labelled
from foreshock.model.storage import check_weights, open_weights

ALONE = 50
"""Texts that are timed one by one."""
_CALLED = {
    "fpb": ("financialphrasebank", "fpb"),
    "tfns": ("twitterfinancialnewssentiment", "tfns"),
    "fiqa": ("fiqa",),
    "sentfin": ("sentfin",),
    "finentity": ("finentity",),
    "stockemotions": ("stockemotions",),
}
"""What READMEs call the sets that Foreshock knows, without case, spaces and marks."""
_SUFFIXES = re.compile(r"(?<=.)(\.(jsonl|ndjson|json|csv|tsv|parquet|pq|xlsx|xlsm|gz|zst|zip))+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Compared:
    """One model's row. Rates are distinct texts a second in one call; `one_text_ms` is the median of texts alone.

    `trained_on_it`: whether the set of this file is among what the model says it was trained on; None where it does not
    say. `memory_mb`: the most that the process had, in MB.
    """

    model: str
    identity: str
    precision: str
    n: int
    skipped: int
    accuracy: float
    weighted_f1: float
    macro_f1: float
    ece: float
    texts_per_second: float
    one_text_ms: float
    memory_mb: int
    trained_on_it: bool | None
    trained_on: tuple[str, ...] | None


def compare(models: Sequence[str], file: Path, loading: dict[str, Any]) -> list[Compared]:
    """Score a labelled file (see `read_labelled`) with each model.

    models: `default`, `permissive`, folders of weights, `hf:FOLDER`, or folders of Hugging Face models without `hf:`.
    loading: keyword arguments of `load_scorer`, without `weights`.

    Raises LabelledDataError where the file cannot be read, and ModelError where a model cannot; all are looked at
    before the first is loaded.
    """
    read_labelled(file)
    named = [_with_prefix(model) for model in models]
    for name in named:
        check_weights(name, loading.get("labels"))
    set_ = set_of(file)
    found = []
    for model, name in zip(models, named, strict=True):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            measured = process.submit(_measure, name, file, loading).result()
        sets = trained_on(name)
        known = None if sets is None else was_trained_on(set_, sets)
        found.append(Compared(model=model, trained_on=sets, trained_on_it=known, **measured))
    return found


def set_of(file: Path) -> str:
    """Return the set that a labelled file belongs to: `fpb` of `fpb_valid.jsonl.gz`, `desk` of `desk.xlsx`."""
    return re.sub(r"_(train|valid|test)$", "", _SUFFIXES.sub("", file.name))


def trained_on(weights: str) -> tuple[str, ...] | None:
    """Return the sets that weights say they were trained on: by `model.json`, or the `datasets` of a README.md.

    None where they do not say. Raises ModelError where there are no such weights.
    """
    if weights.startswith(PREFIX):
        sets = stated(open_folder(weights).path, "datasets")
    else:
        sets = open_weights(weights).card.get("trained_on")
    return None if sets is None else tuple(str(name) for name in sets)


def was_trained_on(set_: str, sets: Sequence[str]) -> bool:
    """Return whether a set is among these, whatever they call it."""
    if set_ not in _CALLED:  # another name may contain it: "news" is in many
        return _plain(set_) in {_plain(name.rpartition("/")[2]) for name in sets}
    return any(name in _plain(stated_name) for stated_name in sets for name in _CALLED[set_])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _with_prefix(model: str) -> str:
    path = Path(model).expanduser()
    theirs = (path / "config.json").is_file() and not (path / "model.json").is_file()
    return f"{PREFIX}{model}" if theirs else model


def _measure(weights: str, file: Path, loading: dict[str, Any]) -> dict[str, Any]:
    """Load a model in this process, score the file, and return what was measured."""
    from foreshock.model.evaluation import measure
    from foreshock.model.scorer import load_scorer

    data = read_labelled(file)
    scorer = load_scorer(weights, **loading, cached=0)
    scorer.score(data.texts[:32])  # the first call prepares kernels
    begun = time.perf_counter()
    scores = scorer.score(data.texts)
    rate = len(set(data.texts)) / (time.perf_counter() - begun)
    alone = []
    for text in data.texts[:ALONE]:
        begun = time.perf_counter()
        scorer.score([text])
        alone.append((time.perf_counter() - begun) * 1_000)
    return {
        **measure(scores, data.labels),
        "identity": scorer.identity,
        "precision": scorer.choice.precision,
        "n": len(data.texts),
        "skipped": data.skipped,
        "texts_per_second": round(rate, 1),
        "one_text_ms": round(sorted(alone)[len(alone) // 2], 2),
        "memory_mb": _peak_mb(),
    }


def _peak_mb() -> int:
    """Return the most memory that this process had, in MB."""
    try:
        # Not ru_maxrss: on Linux it begins with what the process had that started this one.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20  # macOS counts bytes
