"""A large teacher for companies: all-mpnet-base-v2, trained on the rows from which the layers for companies learn.

The one idea: the layers for companies stand on a small encoder, and hard labels of few texts say little of doubt. A
larger encoder reads the same rows first; what it says of a company in many texts is what the layers then learn from.

    python -m foreshock.model.training.company_teacher --wide DIR --data DIR --out DIR --labels FILES --feeds DIR
    python -m foreshock.model.training.company_teacher --tell FILE --data DIR --out DIR --labels FILES --feeds DIR
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from foreshock.model.encoder import Encoder
from foreshock.model.entities import CLOSE, IT, OPEN, OTHER, mark
from foreshock.model.heads import Heads
from foreshock.model.labels import file_sha256
from foreshock.model.storage import open_weights
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.companies import CompanySettings, train_steps
from foreshock.model.training.company_rows import (
    LINES,
    MIXES,
    WORDS,
    company_material,
    company_rows,
    labelled_pairs,
    unlabelled,
)
from foreshock.model.training.news_figures import judge_companies, predict
from foreshock.model.training.steps import versions, write_record
from foreshock.model.training.towards import add_towards, key, read_towards
from foreshock.model.training.wide import moved, read_teacher, read_wide, write_wide

COMMAND = "python -m foreshock.model.training.company_teacher"
HEAD_RATE = 10.0
"""The head is new, so it learns so many times as fast as the layers."""
STAND_INS = {OPEN: "[", CLOSE: "]", IT: "company", OTHER: "firm"}
"""Words whose embeddings the marks and placeholders begin with: the embeddings and the lowest layers are not trained,
and those of the tokens that no text holds say nothing."""
LABELLED = 20_000
"""So many pairs of labelled texts get a soft label; those where fates differ come first."""
TEACHING = CompanySettings(steps=750, learning_rate=6e-5, unchanged=4, dropout=0.1, averaging=0.98, mix="teacher")


def train_teacher(
    wide: Path, data: Path, out: Path, settings: CompanySettings, *, labels: Sequence[Path], feeds: Path | None
) -> dict[str, Any]:
    """Train the encoder in `wide`, the folder of all-mpnet-base-v2; writes `teacher.safetensors` and the record
    `teacher.json`, which it returns, to `out`.

    With `stop` before the last step, the checkpoint stays, and the training goes on from there when it is given again
    with a later one. The other arguments are those of `train_companies`, and so is what it raises.
    """
    started = time.process_time()
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    material = company_material(data, labels, feeds, settings.seed, settings.mix)
    files = {f"{s}_train": data / f"{s}_train.jsonl.gz" for s in MIXES[settings.mix].sets}
    files |= {file.name: file for file in (*labels, WORDS, LINES)}
    bound = {key: value for key, value in asdict(settings).items() if key not in ("stop", "rank", "fresh")}
    bound |= {"data_sha256": {name: file_sha256(file) for name, file in files.items()}}
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder: Encoder = read_wide(wide)
        heads = Heads(encoder.architecture.width)
        _stand_in(encoder, {token: tokenizer.encode(word).ids[1] for token, word in STAND_INS.items()})
        encoder.requires_grad_(False)
        for layer in list(encoder.layers)[settings.unchanged :]:
            layer.requires_grad_(True)
        encoder.dropout = settings.dropout
        rows = partial(company_rows, material, tokenizer, settings.seed, settings.mix)
        average = train_steps(encoder.train(), heads, rows, settings, out / "checkpoint.pt", bound, HEAD_RATE)
    body = {name: tensor for name, tensor in average.items() if not name.startswith("heads.")}
    encoder.load_state_dict(encoder.state_dict() | body)
    heads.entity.load_state_dict({name: average[f"heads.entity.{name}"] for name in ("weight", "bias")})
    validation, _ = judge_companies(encoder, heads, tokenizer, data)
    write_wide(out, encoder, heads)
    record = {
        "command": f"{COMMAND} --wide DIR --data DIR --out DIR --labels FILES --feeds DIR",
        "settings": bound | {"stop": settings.stop},
        "data": dict(material.counts),
        "validation": validation,
        "processor_seconds_of_the_last_piece": round(time.process_time() - started),
        "versions": versions(),
    }
    return write_record(out / "teacher.json", record)


def tell_companies(
    folder: Path, data: Path, file: Path, *, labels: Sequence[Path], feeds: Path, labelled: int, most: int
) -> int:
    """Add to `file` what the teacher in `folder` says of `most` pairs that it does not hold yet; returns how many it
    then holds.

    labelled: of so many pairs of labelled texts, and then of pairs of stories that nobody labelled. The other arguments
    are those of `train_teacher`.
    """
    material = company_material(data, labels, feeds, TEACHING.seed, TEACHING.mix)
    there = read_towards(file) if file.is_file() else {}
    pairs = [*labelled_pairs(material)[:labelled], *unlabelled(material, data, feeds)]
    asked = [pair for pair in pairs if key(pair) not in there][:most]
    tokenizer = load_tokenizer(open_weights("default").tokenizer)
    marked = mark(tokenizer, [text for text, _ in asked], [company for _, company in asked])
    found = [(pair, one) for pair, one in zip(asked, marked, strict=True) if one is not None]
    encoder, heads = read_teacher(folder)
    logits, _ = predict(encoder, heads, [one.ids for _, one in found], [one.marks for _, one in found])
    return add_towards(file, [pair for pair, _ in found], logits)


def _stand_in(encoder: Encoder, words: dict[int, int]) -> None:
    """Give tokens that no text holds the embeddings of words; both are ids of our vocabulary."""
    (places, sources) = moved([list(words), list(words.values())])
    with torch.no_grad():
        encoder.words.weight[places] = encoder.words.weight[sources].clone()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "out", "feeds"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--wide", type=Path, help="train: the folder of all-mpnet-base-v2")
    task.add_argument("--tell", type=Path, help="ask the teacher in --out, and add what it says to this file")
    parser.add_argument("--labelled", type=int, default=LABELLED, help="ask it of so many pairs of labelled texts")
    parser.add_argument("--most", type=int, default=40_000, help="ask it of so many pairs in this run")
    parser.add_argument("--labels", type=Path, nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=TEACHING.steps)
    parser.add_argument("--stop", type=int, default=TEACHING.stop)
    parser.add_argument("--learning-rate", type=float, default=TEACHING.learning_rate)
    parser.add_argument("--seed", type=int, default=TEACHING.seed)
    given = parser.parse_args()
    if given.tell is not None:
        kinds = {"labelled": given.labelled, "most": given.most}
        print(tell_companies(given.out, given.data, given.tell, labels=given.labels, feeds=given.feeds, **kinds))
        return
    settings = replace(TEACHING, steps=given.steps, stop=given.stop, learning_rate=given.learning_rate, seed=given.seed)
    record = train_teacher(given.wide, given.data, given.out, settings, labels=given.labels, feeds=given.feeds)
    print(record["validation"])


if __name__ == "__main__":
    main()
