"""Build the rows that fine-tuning learns from: tokens, and for each text a distribution over the classes as its target.

The one idea: a hard label and a teacher's soft label are both distributions over the classes. So the target of a
labelled text is a mixture of the two, and a text without a label of its own gets the teacher's alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from foreshock.model.labels import LABELS, Labelled
from foreshock.model.tokenizing import tokenize
from foreshock.model.training.labelled import fingerprint
from foreshock.model.training.soft_labels import SoftLabel, probabilities, without


@dataclass(frozen=True, slots=True)
class Rows:
    """What fine-tuning trains on.

    Parameters
    ----------
    tokens
        The token ids of each row.
    targets
        (n, 3) float32, the distribution over the classes that the row should get.
    classes
        (n,) int64, the row's class for the contrastive loss.
    sources
        (n,) int64, the number of the row's set; -1 for a row of no set.
    """

    tokens: list[list[int]]
    targets: Tensor
    classes: Tensor
    sources: Tensor


def build_rows(
    train: Mapping[str, Labelled],
    valid: Mapping[str, Labelled],
    soft: Sequence[SoftLabel],
    tokenizer: Tokenizer,
    *,
    repeats: Mapping[str, int],
    smoothing: float,
    distillation: float,
) -> tuple[Rows, dict[str, int]]:
    """Build the rows: labelled texts first, repeated by set, then the texts that have a soft label only.

    Parameters
    ----------
    train, valid
        Training and validation rows by set. Soft labels of validation texts, and of their variants, are left out.
    soft
        The teacher's soft labels.
    repeats
        How often each set's rows are repeated, in the order in which the sets are numbered.
    smoothing
        Label smoothing of hard labels.
    distillation
        The soft label's share of a labelled text's target, where there is a soft label.

    Returns the rows, and counts of the soft labels: of labelled texts, of other texts, left out.
    """
    held_out = {fingerprint(text) for rows in valid.values() for text in rows.texts}
    kept = without(soft, held_out)
    shares = probabilities(kept)
    of_labelled = {(row.labelled_set, row.text): i for i, row in enumerate(kept) if row.variant_of is None}
    texts: list[str] = []
    targets: list[NDArray[np.float32]] = []
    classes: list[NDArray[np.int64]] = []
    sources: list[NDArray[np.int64]] = []
    used: set[int] = set()
    for number, (s, times) in enumerate(repeats.items()):
        hard = np.eye(len(LABELS), dtype=np.float32)[train[s].labels]
        target = hard * (1 - smoothing) + smoothing / len(LABELS)
        found = np.array([of_labelled.get((s, text), -1) for text in train[s].texts])
        mixed = distillation * shares[found[found >= 0]]
        target[found >= 0] = (1 - distillation) * target[found >= 0] + mixed
        used |= set(found.tolist())
        for _ in range(times):
            texts += train[s].texts
            targets.append(target)
            classes.append(train[s].labels)
            sources.append(np.full(len(target), number))
    more = [i for i, row in enumerate(kept) if i not in used]
    texts += [kept[i].text for i in more]
    targets.append(shares[more])
    classes.append(shares[more].argmax(axis=1))
    numbers = {s: i for i, s in enumerate(repeats)}
    sources.append(np.array([numbers.get(kept[i].labelled_set or "", -1) for i in more], dtype=np.int64))
    counted = {
        "of_labelled_texts": len(kept) - len(more),
        "of_other_texts": len(more),
        "left_out_for_validation": len(soft) - len(kept),
    }
    return Rows(
        tokenize(tokenizer, texts),
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(classes)),
        torch.from_numpy(np.concatenate(sources)),
    ), counted
