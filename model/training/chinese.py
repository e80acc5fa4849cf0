"""Train the Chinese weights: multilingual-e5-small, cut, learns news in English and in Chinese at once.

The one idea: severity, companies and the neutral class are learned from the many English rows that are labelled under
the guideline. The encoder knows both languages, so this carries over. The Chinese rows say how it is said in Chinese:
zhfin (research use; it has no neutral class), and lines of our own (chinese.tsv).

    python -m foreshock.model.training.chinese --data DIR --base DIR --out DIR [--minutes M]

The base is what `foreshock.model.training.multilingual` writes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreshock.model.calibration import fit_calibration
from foreshock.model.encoder import Encoder
from foreshock.model.entities import mark, mentions
from foreshock.model.errors import LabelledDataError
from foreshock.model.heads import LEVELS, Heads, HeadsCard
from foreshock.model.labels import LABELS, file_sha256
from foreshock.model.storage import write_weights
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.base import read_base
from foreshock.model.training.guided import NO_SEVERITY, Guided, read_guided
from foreshock.model.training.news import batch_loss, load_state, state_of
from foreshock.model.training.news_figures import judge_rows, predict, severity_scale
from foreshock.model.training.news_rows import HIDDEN, OTHERS_HIDDEN, WEIGHT, Rows
from foreshock.model.training.referring import refer
from foreshock.model.training.steps import (
    batches,
    by_depth,
    finite,
    load_checkpoint,
    save_checkpoint,
    schedule,
    seed_step,
    versions,
    write_record,
)
from foreshock.model.training.written import written

LINES = Path(__file__).with_name("chinese.tsv")
NAME = "chinese lines"
PARTS = ("train", "valid")
LICENCE = (
    "research and non-commercial use only; multilingual-e5-small (MIT) trained on zhfin, news and sentfin (research "
    "use), finentity (ODC-By), and lines of our own in English and Chinese (Apache-2.0)"
)
ENGLISH, ENGLISH_LATER = 0.28, 0.05
"""The share of the English rows in the first epoch, and in each later one."""
CHINESE = {"zhfin": 1, "chinese": 2}
WITH_BODY = 0.25
"""The share of the rows of zhfin that are read with the beginning of their body."""
LEAD = 160
SMOOTHING = {"zhfin": 0.12}
"""What is taken from the label for the neutral class: zhfin calls good or bad what the guideline may call neutral."""
RENAMED = 0.5
"""The share of the draws of our lines in which each company has the name of another one: names say nothing."""
DIFFERING = 2
"""How often a company is asked about in an epoch whose text is otherwise for another one; ALIKE: where it is not."""
ALIKE = 0.15
CHECKPOINT_EVERY = 50
_SHORT = {"n": "negative", "0": "neutral", "p": "positive"}


@dataclass(frozen=True, slots=True)
class ChineseSettings:
    """All that decides the result beside the data; a checkpoint of other settings is not resumed."""

    epochs: int = 3
    batch: int = 32
    learning_rate: float = 2e-4
    layer_decay: float = 0.9
    dropout: float = 0.1
    averaging: float = 0.99
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of chinese.tsv: the part and kind that it belongs to, and the row."""

    part: str
    kind: str
    row: Guided


@cache
def lines(file: Path = LINES) -> tuple[Line, ...]:
    """Read lines (part, kind, label, severity, `company=n|0|p;...`, text; tabs between). "#" begins an explanation.

    Raises LabelledDataError naming file and line: another number of fields, a part, label, severity or fate that is
    none, a company that is not in the text, or a text that stands twice.
    """
    found: dict[str, Line] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        try:
            one = _line(line)
            if one.row.text in found:
                raise ValueError("the text stands twice")
        except (KeyError, ValueError) as error:
            raise LabelledDataError(f"{file}, line {number}: {error}") from error
        found[one.row.text] = one
    return tuple(found.values())


def _line(line: str) -> Line:
    part, kind, label, severity, companies, text = line.split("\t")
    if part not in PARTS:
        raise ValueError(f"the part is {part!r}, not one of {', '.join(PARTS)}")
    if label not in LABELS:
        raise ValueError(f"the label is {label!r}, not one of {', '.join(LABELS)}")
    if severity not in ("0", "1", "2", "3") or (int(severity) > 0) != (label == "negative"):
        raise ValueError(f"the severity is {severity!r}; of bad news it is from 1 to {LEVELS}, of other news 0")
    fates = {}
    for pair in companies.split(";") if companies else ():
        name, _, short = pair.rpartition("=")
        if not mentions(text, name, unspaced=True):
            raise ValueError(f"the company {name!r} is not in the text")
        fates[name] = _SHORT[short]
    return Line(part, kind, Guided(text, label, int(severity), fates))


def read_rows(data: Path) -> dict[str, list[Guided]]:
    """Return the rows to train on by source: the English ones, zhfin, and our Chinese lines."""
    english = [row for name in ("news", "sentfin") for row in read_guided(data / f"{name}_train.jsonl.gz")]
    english += [row for row in read_guided(data / "finentity_train.jsonl.gz") if row.entities]
    english = [*english, *written()]
    return {"english": english, "zhfin": _zhfin(data), "chinese": [one.row for one in lines() if one.part == "train"]}


def _zhfin(data: Path) -> list[Guided]:
    """Return the rows of zhfin, each with its body behind its title, a line apart."""
    import gzip

    rows = []
    with gzip.open(data / "zhfin_train.jsonl.gz", "rt", encoding="utf-8") as stored:
        for line in stored:
            row = json.loads(line)
            company = {row["company"]: row["label"]} if row.get("company") and row["company"] in row["text"] else {}
            rows.append(Guided(f"{row['text']}\n{row['body'][:LEAD]}", row["label"], NO_SEVERITY, company))
    return rows


def epoch_rows(rows: dict[str, list[Guided]], tokenizer: Any, seed: int, epoch: int) -> Rows:
    """Draw an epoch's rows from (seed, epoch): texts, and texts with one company marked."""
    random = np.random.default_rng([seed, epoch, 96])
    texts: list[str] = []
    targets: list[list[float]] = []
    grades: list[list[float]] = []
    weights: list[float] = []
    asked: list[tuple[str, str, str, list[str]]] = []
    for name, of in rows.items():
        share = (ENGLISH_LATER if epoch else ENGLISH) if name == "english" else CHINESE[name]
        pool = sorted({company for row in of for company in row.entities}) if name == "chinese" else []
        for drawn in _drawn(of, share, random):
            row = _renamed(drawn, pool, random) if pool and random.random() < RENAMED else drawn
            text = row.text
            if name == "zhfin" and random.random() >= WITH_BODY:
                text = text.partition("\n")[0]
            if row.label is not None:
                texts.append(text)
                targets.append(_target(row.label, SMOOTHING.get(name, 0.05)))
                grades.append([float("nan")] * LEVELS if row.severity == NO_SEVERITY else _grades(row.severity))
                weights.append(WEIGHT[max(0, row.severity)])
            differ = len(set(row.entities.values())) > 1
            for company, fate in row.entities.items():
                often = (DIFFERING if name == "chinese" else 1) if differ else int(random.random() < ALIKE)
                for _ in range(often):
                    others = [n for n in row.entities if n != company] if random.random() < OTHERS_HIDDEN else []
                    asked.append((text, company, fate, others))
    tokens = tokenize(tokenizer, texts)
    marks: list[list[int]] = [[] for _ in tokens]
    hidden = (random.random(len(asked)) < HIDDEN).tolist()
    marked = mark(
        tokenizer,
        [text for text, *_ in asked],
        [company for _, company, *_ in asked],
        hidden=hidden,
        others=[others for *_, others in asked],
        unspaced=True,
    )
    for one, (_, _, fate, _) in zip(marked, asked, strict=True):
        if one is not None:
            tokens.append(one.ids)
            marks.append(one.marks)
            targets.append(_target(fate, 0.05))
            grades.append([float("nan")] * LEVELS)
            weights.append(1.0)
    return Rows(
        tokens,
        marks,
        torch.tensor(targets),
        torch.tensor(grades),
        torch.tensor(weights),
    )


def _renamed(row: Guided, pool: Sequence[str], random: np.random.Generator) -> Guided:
    """Return the row with other names of `pool`, one for each of its companies."""
    if not row.entities:
        return row
    names = [pool[i] for i in random.choice(len(pool), size=len(row.entities), replace=False)]
    text = row.text
    for place, company in enumerate(row.entities):
        text = text.replace(company, chr(0xE100 + place))  # a sign that no text holds: new names may be old ones
    for place, name in enumerate(names):
        text = text.replace(chr(0xE100 + place), name)
    return Guided(text, row.label, row.severity, dict(zip(names, row.entities.values(), strict=True)))


def _drawn(rows: Sequence[Guided], share: float, random: np.random.Generator) -> list[Guided]:
    whole = [row for row in rows for _ in range(int(share))]
    part = random.permutation(len(rows))[: round(len(rows) * (share % 1))]
    return whole + [rows[i] for i in part]


def _target(label: str, smoothing: float) -> list[float]:
    made = [smoothing / 10] * len(LABELS)
    made[LABELS.index("neutral")] = smoothing
    made[LABELS.index(label)] = 0.0
    made[LABELS.index(label)] = 1 - sum(made)
    return made


def _grades(severity: int) -> list[float]:
    return [float(severity > level) for level in range(LEVELS)]


def train_chinese(
    data: Path, base: Path, out: Path, settings: ChineseSettings, *, minutes: float = 0
) -> dict[str, Any] | None:
    """Train, and write weights and `record.json` to `out`. Returns the record; None if `minutes` ended before.

    Given again, it resumes from `out/checkpoint.pt` to the same result.
    """
    started = time.monotonic()
    read = read_base(base)
    tokenizer = load_tokenizer(read.tokenizer)
    rows = read_rows(data)
    bound = asdict(settings) | {"base": read.name, "lines": file_sha256(LINES)}
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    torch.manual_seed(settings.seed)
    encoder, heads = Encoder(read.architecture, settings.dropout), Heads(read.architecture.width)
    encoder.load_state_dict(read.tensors, strict=False)
    groups = by_depth(encoder, read.architecture.layers, settings.learning_rate, settings.layer_decay)
    groups.append({"params": list(heads.parameters()), "lr": 3 * settings.learning_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    drawn = [epoch_rows(rows, tokenizer, settings.seed, epoch) for epoch in range(settings.epochs)]
    cut = [batches([len(ids) for ids in of.tokens], settings.batch, settings.seed, n) for n, of in enumerate(drawn)]
    order = [(epoch, chosen) for epoch, of in enumerate(cut) for chosen in of]
    rates = schedule(optimiser, len(order))
    average = {key: value.detach().clone() for key, value in state_of(encoder, heads).items()}
    step = 0
    if checkpoint.is_file():
        saved = load_checkpoint(checkpoint, bound)
        load_state(encoder, heads, saved["weights"])
        optimiser.load_state_dict(saved["optimiser"])
        rates.load_state_dict(saved["schedule"])
        step, average = saved["step"], saved["average"]

    def save() -> None:
        state = {"weights": state_of(encoder, heads), "average": average, "step": step}
        save_checkpoint(
            checkpoint, bound, state | {"optimiser": optimiser.state_dict(), "schedule": rates.state_dict()}
        )

    encoder.train()
    for epoch, chosen in order[step:]:
        seed_step(settings.seed, step)
        loss = batch_loss(encoder, heads, drawn[epoch], chosen)
        value = finite(loss, step + 1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*encoder.parameters(), *heads.parameters()], 1.0)
        optimiser.step()
        rates.step()
        step += 1
        decay = min(settings.averaging, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average.values()), list(state_of(encoder, heads).values()), 1 - decay)
        if step % 20 == 0:
            print(f"step {step} of {len(order)}: loss {value:.3f}, {time.monotonic() - started:.0f} s", flush=True)
        if step % CHECKPOINT_EVERY == 0 or step == len(order):
            save()
            if minutes and time.monotonic() - started > 60 * minutes and step < len(order):
                return None
    load_state(encoder, heads, average)
    encoder.eval()
    valid = [one.row for one in lines() if one.part == "valid"]
    logits, grades = predict(encoder, heads, tokenize(tokenizer, [row.text for row in valid]))
    truth = np.array([LABELS.index(str(row.label)) for row in valid])
    scale = severity_scale(grades, np.array([row.severity for row in valid]))
    _, towards, fates = judge_rows(encoder, heads, tokenizer, valid, unspaced=True)
    calibration = fit_calibration(logits, truth)
    write_weights(
        out,
        name="chinese",
        tensors=state_of(encoder, heads),
        architecture=read.architecture,
        tokenizer=read.tokenizer,
        calibration=calibration,
        # The head learned from too few rows: where fates differ, it is right by chance (benchmarks.chinese).
        heads=HeadsCard(scale, fit_calibration(towards, fates), companies=False),
        licence=LICENCE,
        trained_on=["zhfin", "news", "sentfin", "finentity", "lines", NAME],
        languages=["zh"],
        eight_bits=True,
    )
    ours = [row.text for row in rows["chinese"]]
    refer(
        out,
        [*(row.text.partition("\n")[0] for row in rows["zhfin"]), *ours],
        {
            NAME: [row.text for row in valid],
            "zhfin": [row.text for row in read_guided(data / "zhfin_valid.jsonl.gz")],
        },
        write=True,
    )
    record = {
        "command": "python -m foreshock.model.training.chinese --data DIR --base DIR --out DIR",
        "settings": bound,
        "data": {name: len(of) for name, of in rows.items()},
        "rows_an_epoch": [len(of.tokens) for of in drawn],
        "steps": step,
        "versions": versions(),
    }
    return write_record(out / "record.json", record)


def main() -> None:
    settings = ChineseSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=settings.epochs)
    parser.add_argument("--learning-rate", type=float, default=settings.learning_rate)
    parser.add_argument("--seed", type=int, default=settings.seed)
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many, to be given again")
    given = parser.parse_args()
    chosen = ChineseSettings(epochs=given.epochs, learning_rate=given.learning_rate, seed=given.seed)
    train_chinese(given.data, given.base, given.out, chosen, minutes=given.minutes)


if __name__ == "__main__":
    main()
