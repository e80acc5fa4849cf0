"""Let the teacher label texts, and rebuild its soft labels from the logits alone.

The one idea: which texts are labelled follows from a few numbers and the data. So the logits can be kept and passed on
without the texts, which belong to others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from foreshock.model.errors import ModelError
from foreshock.model.labels import LABELS
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.labelled import find_sets, fingerprint, read_sets
from foreshock.model.training.soft_labels import SoftLabel, write_soft_labels
from foreshock.model.training.teaching import predict, read_teacher
from foreshock.model.training.unlabelled import read_sentences, read_unlabelled
from foreshock.model.training.variants import places, variant

LOGITS = "soft-labels.safetensors"
"""The file of the logits alone, in the teacher's folder."""

_Wanted = tuple[str, str | None, str | None]
"""A text to label, the set whose bias is used for it, and the fingerprint of the text that it is a variant of."""


def label(
    data: Path,
    teacher: Path,
    *,
    texts: Path | None = None,
    count: int = 20_000,
    sentences: int = 0,
    variants: int = 2,
    seed: int = 0,
) -> dict[str, int]:
    """Write `soft-labels.jsonl.gz` into the folder `teacher`, which `teach` wrote, and the logits alone beside it.

    The teacher labels the training texts of its sets, variants of them, and texts of other feeds.

    Parameters
    ----------
    data
        The folder of the labelled sets that the teacher learned from.
    texts
        A folder of feed files (unlabelled.py) whose texts are labelled too.
    count, sentences
        How many stories of `texts`, and how many sentences of their bodies.
    variants
        Variants of each training text, times the repeats of its set.
    seed
        Decides which texts are chosen and which variants are made.

    Returns how many rows of each kind were written. Raises LabelledDataError and UnlabelledDataError, which name file
    and line, and ModelError where the folder holds no teacher.
    """
    network, record = read_teacher(teacher)
    settings = record["settings"]
    choice = _Choice(
        settings["sets"], {s: variants * settings["repeats"][s] for s in settings["sets"]}, count, sentences, seed
    )
    wanted = _wanted(data, texts, choice)
    tokens = tokenize(load_tokenizer(teacher / "tokenizer.json"), [text for text, _, _ in wanted])
    sources = np.array([-1 if s is None else choice.sets.index(s) for _, s, _ in wanted])
    logits = predict(network, tokens, sources, show=True)
    save_file(
        {"logits": torch.from_numpy(logits)},
        teacher / LOGITS,
        {"choice": json.dumps(asdict(choice)), "texts": _digest(wanted)},
    )
    return _write(teacher, wanted, logits)


def recall(data: Path, kept: Path, out: Path, *, texts: Path | None = None) -> dict[str, int]:
    """Write `soft-labels.jsonl.gz` into `out` from `kept`, the logits that `label` wrote, and the same texts again.

    This needs no teacher. `data` and `texts` are those of `label`. Returns the same counts as `label`. Raises
    LabelledDataError and UnlabelledDataError, which name file and line, and ModelError where `kept` is not a file of
    logits or was made of other texts.
    """
    try:
        with safe_open(kept, "pt") as file:
            logits, meta = file.get_tensor("logits").numpy(), file.metadata()
        choice, digest = _Choice(**json.loads(meta["choice"])), meta["texts"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{kept}: holds no soft labels ({error}); give the {LOGITS} of `foreshock model teach`"
        ) from error
    wanted = _wanted(data, texts, choice)
    if _digest(wanted) != digest or logits.shape != (len(wanted), len(LABELS)):
        given = f"{data} and {texts}" if texts else f"{data} (and no --texts)"
        raise ModelError(
            f"{kept}: was made of other texts than those in {given}, or by another version of Foreshock; give the "
            "folders that it was made of, or label the texts again with a teacher"
        )
    out.mkdir(parents=True, exist_ok=True)
    return _write(out, wanted, logits)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which texts are labelled.

    Parameters
    ----------
    sets
        The sets whose training texts are labelled.
    variants
        By set, how many variants of each training text.
    count, sentences
        How many stories, and how many sentences of bodies.
    """

    sets: list[str]
    variants: dict[str, int]
    count: int
    sentences: int
    seed: int


def _wanted(data: Path, texts: Path | None, choice: _Choice) -> list[_Wanted]:
    """Return the texts to label. The same data and choice always give the same texts in the same order."""
    train, _, _ = read_sets(find_sets(data, choice.sets), choice.sets)
    random = np.random.default_rng([choice.seed, len(LABELS)])
    others: list[str] = []
    if texts is not None:
        sentences = read_sentences(texts) if choice.sentences else []
        for found, wish in ((read_unlabelled(texts).texts, choice.count), (sentences, choice.sentences)):
            others += [found[i] for i in sorted(random.permutation(len(found))[:wish])]
    known = places([text for s in choice.sets for text in train[s].texts] + others)
    wanted: list[_Wanted] = []
    for s in choice.sets:
        wanted += [(text, s, None) for text in train[s].texts]
        seen = {fingerprint(text) for text in train[s].texts}
        for text in train[s].texts:
            for _ in range(choice.variants[s]):
                made = variant(text, known, random)
                if fingerprint(made) not in seen:
                    seen.add(fingerprint(made))
                    wanted.append((made, s, fingerprint(text)))
    return wanted + [(text, None, None) for text in others]


def _digest(wanted: Sequence[_Wanted]) -> str:
    """Return a SHA-256 of the texts to label, to recognise them again."""
    return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()


def _write(folder: Path, wanted: Sequence[_Wanted], logits: NDArray[np.float32]) -> dict[str, int]:
    """Write the soft labels and return how many there are of each kind."""
    rows = [
        SoftLabel(text, (row[0], row[1], row[2]), s, of)
        for (text, s, of), row in zip(wanted, logits.tolist(), strict=True)
    ]
    write_soft_labels(folder / "soft-labels.jsonl.gz", rows)
    varied = sum(row.variant_of is not None for row in rows)
    labelled = sum(row.labelled_set is not None for row in rows) - varied
    return {"labelled": labelled, "variants": varied, "unlabelled": len(rows) - labelled - varied}
