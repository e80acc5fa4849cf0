"""Train the second look of weights: a small network that knows kinds of crisis which they call neutral.

The one idea: the encoder is not trained. What it says of a text (the embeddings of its last and middle layer) is
computed once; from this the network learns, in a minute, to tell lines of our own (kinds.tsv, written.tsv,
headlines.toml) from the texts that the weights learned from. Of these it is to say what the weights say: so most of
them are variants and stories that nobody labelled, because the weights know the labelled ones by heart.

    python -m foreshock.model.training.kinds --data DIR --out DIR --feeds DIR --labels FILES [--base default]
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.answers import Answers
from foreshock.model.errors import ModelError
from foreshock.model.heads import LEVELS
from foreshock.model.labels import LABELS, file_sha256, read_labelled
from foreshock.model.reference import Familiar, Reference, figures_of, read_reference
from foreshock.model.rowwise import row_softmax
from foreshock.model.scorer import Scorer, TwiceReading, load_scorer
from foreshock.model.storage import WeightsFolder, open_weights, write_second_look
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.guided import NO_SEVERITY, Guided, read_guided, read_labels_by_id, read_text
from foreshock.model.training.headlines import headlines
from foreshock.model.training.labelled import fingerprint, validation_fingerprints
from foreshock.model.training.news_rows import split_finentity
from foreshock.model.training.steps import versions, write_record
from foreshock.model.training.variants import places, variant
from foreshock.model.training.written import NAME as LINES
from foreshock.model.training.written import names_of, renamed, written

COMMAND = "python -m foreshock.model.training.kinds"
WORDS = Path(__file__).with_name("kinds.tsv")
NAME = "kinds"
RENAMINGS = 3
"""How often each line of kinds.tsv is seen with another company name, beside once with its own."""
HEADLINES = 1_500
GUIDED = ("news", "own")
"""Sets labelled under the guideline: half of a target is their label. In others only what the weights say counts."""
SAID = 0.5
"""What the weights say of a text that is labelled under the guideline: its part of the target."""


@dataclass(frozen=True, slots=True)
class Held:
    """How many texts of each kind are to keep what the weights say of them.

    labelled: the share of a set's training texts. variants: texts made of a set's training texts (variants.py).
    stories: stories of a feed.
    """

    labelled: Mapping[str, float]
    variants: Mapping[str, int]
    stories: Mapping[str, int]


HELD = Held(
    {"news": 0.5, "own": 1.0, "fpb": 0.5, "tfns": 0.2, "fiqa": 1.0, "sentfin": 0.2},
    {"news": 3_000, "fpb": 1_500, "tfns": 5_000, "fiqa": 300, "sentfin": 4_000},
    {"reuters_2018_2020": 5_000, "stocknet_2014_2015": 3_000, "reuters21578_1987": 800},
)


@dataclass(frozen=True, slots=True)
class KindsSettings:
    """All that decides the result beside the data.

    networks: so many are trained, and their mean is one network of all their layers: it calls fewer texts bad by
    chance. hidden: the size of the layer of each. steps: each of `batch` lines and as many held texts. dropout: of the
    hidden layer; a third of it of the embeddings.
    """

    networks: int = 4
    hidden: int = 32
    steps: int = 1_500
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    dropout: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Examples:
    """What the network learns from: embeddings (n, 2 * width), and the probabilities (n, 3) of at least mild, serious,
    grave bad news, NaN where nobody knows.
    """

    embedded: NDArray[np.float32]
    levels: NDArray[np.float32]


def train_kinds(
    data: Path,
    out: Path,
    settings: KindsSettings,
    *,
    feeds: Path,
    labels: Sequence[Path] = (),
    base: str = "default",
) -> dict[str, Any]:
    """Write to `out` the weights `base` with a second look, and `second_look.json`, the record, which it returns.

    data: the folder of the labelled sets. labels: files of labels by id of stories in the folder `feeds`. Raises
    LabelledDataError, UnlabelledDataError and ModelError.
    """
    started = time.monotonic()
    folder, scorer = open_weights(base), load_scorer(base, "cpu")
    if "heads" not in folder.card:
        raise ModelError(
            f"{folder.path}: has no head for severity; train it with `python -m foreshock.model.training.news`"
        )
    random = np.random.default_rng([settings.seed, 1])
    rows = lines(random)
    texts, guided = held_texts(data, labels, feeds, random)
    fresh = Examples(_embed(scorer, [row.text for row in rows]), np.array([_grades(row) for row in rows]))
    held = _held(scorer, texts, guided)
    tensors = fit(fresh, held, settings)
    out.mkdir(parents=True, exist_ok=True)
    for file in (folder.tensors, folder.tokenizer, folder.path / "model.json", folder.companies):
        if file is not None and file.parent != out:
            shutil.copy(file, out)
    write_second_look(out, tensors, ("headlines", LINES, NAME))
    sets = [name for name in HELD.labelled if (data / f"{name}_valid.jsonl.gz").is_file()]
    _finish_card(out, {name: read_labelled(data / f"{name}_valid.jsonl.gz").texts for name in sets})
    record = {
        "command": f"{COMMAND} --data DIR --out DIR --feeds DIR --labels FILES --base {folder.name}",
        "settings": asdict(settings),
        "base": folder.sha256,
        "made": {file.name: file_sha256(file) for file in (WORDS, out / "second_look.safetensors")},
        "data": {NAME: len(written(WORDS)), LINES: len(written()), "headlines": HEADLINES},
        "rows": {"lines": len(rows), "held": len(texts), "held_with_a_label": sum(row is not None for row in guided)},
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    return write_record(out / "second_look.json", record)


def lines(random: np.random.Generator) -> list[Guided]:
    """Return the lines that the network is to know: grave and serious ones, and those of kinds.tsv, also renamed."""
    general, kinds = written(), written(WORDS)
    pool = names_of([*general, *kinds])
    rows = [*general, *kinds]
    rows += [renamed(row, pool, random) for row in general if row.severity >= 2]
    rows += [renamed(row, pool, random) for _ in range(RENAMINGS) for row in kinds]
    made = headlines(HEADLINES, seed=0)
    return [*rows, *(Guided(one.text, one.label, one.severity, one.entities) for one in made)]


def held_texts(
    data: Path, labels: Sequence[Path], feeds: Path, random: np.random.Generator
) -> tuple[list[str], list[Guided | None]]:
    """Return texts that are to keep what the weights say of them, each once, and the row where one is labelled under
    the guideline. No validation text is among them, and none of the fifth of finentity that is held out.
    """
    out = set(validation_fingerprints(data))
    out |= {fingerprint(row.text) for row in split_finentity(data)[1]}
    sets = {name: read_guided(data / f"{name}_train.jsonl.gz") for name in HELD.labelled if name != "own"}
    sets["own"] = [row for file in labels for row in read_labels_by_id(file, feeds)[0]]
    sets = {
        n: [row for row in of if row.label is not None and fingerprint(row.text) not in out] for n, of in sets.items()
    }
    found: list[tuple[str, Guided | None]] = []
    for name, share in HELD.labelled.items():
        chosen = random.permutation(len(sets[name]))[: round(share * len(sets[name]))]
        found += [(sets[name][i].text, sets[name][i] if name in GUIDED else None) for i in chosen]
    known = places(row.text for name, of in sets.items() if name != "own" for row in of)
    for name, count in HELD.variants.items():
        order = random.permutation(len(sets[name]))
        found += [(variant(sets[name][order[i % len(order)]].text, known, random), None) for i in range(count)]
    for name, count in HELD.stories.items():
        with gzip.open(feeds / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stories:
            all_of = [json.loads(story) for story in stories]
        found += [(read_text(all_of[i]), None) for i in random.permutation(len(all_of))[:count]]
    once = {fingerprint(text): (text, row) for text, row in reversed(found)}
    kept = [one for key, one in once.items() if key not in out]
    return [text for text, _ in kept], [row for _, row in kept]


def _embed(scorer: Scorer, texts: Sequence[str]) -> NDArray[np.float32]:
    """What the encoder says of texts: (n, 2 * width), the last layer's embedding and the middle one's."""
    assert isinstance(scorer.engine, TwiceReading)
    return np.concatenate(scorer.engine.embed_twice(tokenize(scorer._tokenizer, texts)), axis=1)


def _grades(row: Guided) -> NDArray[np.float32]:
    """The levels of a labelled text, as far as its row knows them."""
    if row.severity != NO_SEVERITY:
        return (np.arange(LEVELS) < row.severity).astype(np.float32)
    return np.array([row.label == LABELS[0], np.nan, np.nan], dtype=np.float32)


def _held(scorer: Scorer, texts: Sequence[str], guided: Sequence[Guided | None]) -> Examples:
    """Held texts: the probability of "negative" that the weights give, and half of it the label, where one is known."""
    embedded = _embed(scorer, texts)
    assert isinstance(scorer.answers, Answers)
    logits = scorer.answers.logits(embedded[:, : embedded.shape[1] // 2]).tolist()
    levels = np.full((len(texts), LEVELS), np.nan, dtype=np.float32)
    levels[:, 0] = [row_softmax(row)[0] for row in logits]
    for i, row in enumerate(guided):
        if row is not None:
            known = _grades(row)
            levels[i] = [SAID * levels[i, 0] + (1 - SAID) * known[0], *known[1:]]
    return Examples(embedded, levels)


def fit(fresh: Examples, held: Examples, settings: KindsSettings) -> dict[str, NDArray[np.float16]]:
    """Train the network; return its tensors (second_look.py). The same examples and settings give the same tensors."""
    mean, spread = held.embedded.mean(axis=0), held.embedded.std(axis=0) + 1e-6
    parts = [(torch.from_numpy((of.embedded - mean) / spread), torch.from_numpy(of.levels)) for of in (fresh, held)]
    trained = [_network(parts, settings, settings.seed + i) for i in range(settings.networks)]
    # The network reads embeddings as they are, so what they were divided by goes into its first layer.
    weight = np.concatenate([inner.weight.detach().double().numpy() for inner, _ in trained]) / spread
    bias = np.concatenate([inner.bias.detach().double().numpy() for inner, _ in trained]) - weight @ mean
    found = {
        "inner.weight": weight,
        "inner.bias": bias,
        "outer.weight": np.concatenate([outer.weight.detach().numpy() for _, outer in trained], axis=1) / len(trained),
        "outer.bias": np.mean([outer.bias.detach().numpy() for _, outer in trained], axis=0),
    }
    return {name: tensor.astype(np.float16) for name, tensor in found.items()}


def _network(parts: Sequence[tuple[Tensor, Tensor]], settings: KindsSettings, seed: int) -> tuple[nn.Linear, nn.Linear]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner, outer = nn.Linear(parts[0][0].shape[1], settings.hidden), nn.Linear(settings.hidden, LEVELS)
        optimiser = torch.optim.AdamW(
            [*inner.parameters(), *outer.parameters()], lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        for _ in range(settings.steps):
            loss = torch.zeros(())
            for embedded, levels in parts:
                chosen = torch.randint(len(embedded), (settings.batch,))
                seen = functional.dropout(embedded[chosen], settings.dropout / 3)
                logits = outer(functional.dropout(torch.relu(inner(seen)), settings.dropout))
                loss = loss + _loss(logits, levels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rates.step()
    return inner, outer


def _loss(logits: Tensor, levels: Tensor) -> Tensor:
    """Cross-entropy of the levels that are known, a sum over levels and a mean over texts."""
    known = ~levels.isnan()
    each = functional.binary_cross_entropy_with_logits(logits, levels.nan_to_num(), reduction="none")
    return (each * known).sum() / len(logits)


def _finish_card(weights: Path, valid: Mapping[str, Sequence[str]]) -> None:
    """Measure the figures of the card anew, and name the lines in its licence; which tokens are familiar stays."""
    folder: WeightsFolder = open_weights(str(weights))
    before = read_reference(folder.card)
    if before is None:
        return
    tokenizer, familiar, scorer = (
        load_tokenizer(folder.tokenizer),
        Familiar.of_card(before),
        load_scorer(str(weights), "cpu"),
    )
    assert familiar is not None
    figures = {one.name: one for one in before.sets}
    for name, texts in valid.items():
        scores = scorer.score_stories([(text, "") for text in texts])
        figures[name] = figures_of(name, scores, familiar.novelty(tokenize(tokenizer, texts)))
    card = folder.card | {"reference": Reference(tuple(figures.values()), before.familiar).to_json()}
    named = [name for name in ("headlines", LINES, NAME) if name not in card["licence"]]
    if named:
        card["licence"] += f"; the second look also on {', '.join(named)} (Apache-2.0)"
    (folder.path / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    settings = KindsSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", default="default")
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--feeds", type=Path, required=True, help="the folder of feeds")
    parser.add_argument("--seed", type=int, default=settings.seed)
    given = parser.parse_args()
    chosen = replace(settings, seed=given.seed)
    record = train_kinds(given.data, given.out, chosen, feeds=given.feeds, labels=given.labels, base=given.base)
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
