"""Measure embeddings without labels: alignment, uniformity, and whether a flipped text is recognised.

The one idea: pretraining is judged by what a *linear* head can read from frozen embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from foreshock.model.encoder import Encoder, pack
from foreshock.model.tokenizing import tokenize
from foreshock.model.training.augmentation import flip, flipped_word, view
from foreshock.model.training.steps import by_length

PROBED = 1_000
"""Held-out texts that alignment and uniformity are measured on, at most."""
PROBED_PAIRS = 500
"""Pairs of a text and its flip that the flip probe uses, at most."""


def look_at(encoder: Encoder, tokenizer: Any, held_out: Sequence[str]) -> dict[str, float | None]:
    """Measure `alignment` of texts with their views, `uniformity` and `flip_probe` on held-out texts.

    The probe uses texts that one word of the lexicon flips: the better word of a pair on one side, the worse on the
    other. Its head is tested on pairs of words that it was not fitted on. `flipped_pairs` counts the texts. A value is
    None where there are too few texts.
    """
    random = np.random.default_rng(0)
    shuffled = [held_out[i] for i in random.permutation(len(held_out))]  # they are in the order of the feeds
    texts = shuffled[:PROBED]
    embedded = embed(encoder, tokenizer, texts)
    views = embed(encoder, tokenizer, [view(text, random) for text in texts])
    pairs: list[tuple[str, str]] = []
    words: list[str] = []
    for text in shuffled:
        word, turned = flipped_word(text), flip(text)
        if word is not None and turned is not None and len(pairs) < PROBED_PAIRS:
            pairs.append((text, turned) if word[1] > 0 else (turned, text))
            words.append(word[0])
    group = torch.tensor([sorted(set(words)).index(word) % 2 for word in words], dtype=torch.int64)
    better, worse = (embed(encoder, tokenizer, [pair[i] for pair in pairs]) for i in (0, 1))
    found = {
        "alignment": alignment(embedded, views),
        "uniformity": uniformity(embedded),
        "flip_probe": flip_probe(better, worse, group),
        "flipped_pairs": len(pairs),
    }
    return {key: None if np.isnan(value) else value for key, value in found.items()}


@torch.inference_mode()
def embed(encoder: Encoder, tokenizer: Any, texts: Sequence[str], batch: int = 128) -> Tensor:
    """Return embeddings (n, d) of texts in their order, `batch` texts at a time, without dropout.

    Matrix products run in bfloat16.
    """
    encoder.eval()
    tokens = tokenize(tokenizer, texts)
    embedded = torch.empty(len(tokens), encoder.architecture.width)
    for rows in by_length(tokens, batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded[rows] = encoder.embed(pack([tokens[i] for i in rows]))
    return embedded


def alignment(left: Tensor, right: Tensor) -> float:
    """Return the mean squared distance of the normalised rows of left (n, d) and right (n, d); 0 is best.

    Row i of both is a view of text i (Wang & Isola 2020, "Understanding Contrastive Representation Learning through
    Alignment and Uniformity"). nan without rows.
    """
    return float((_unit(left) - _unit(right)).square().sum(dim=1).mean())


def uniformity(embedded: Tensor) -> float:
    """Return the log of the mean of exp(-2 * squared distance) over the pairs of normalised rows (n, d).

    The lower it is, the more evenly the embeddings fill the sphere (same source as `alignment`). It uses the first
    2,000 rows. nan with fewer than two rows.
    """
    squared = torch.pdist(_unit(embedded[:2_000])).square()
    return float(squared.mul(-2).exp().mean().log())


def flip_probe(better: Tensor, worse: Tensor, group: Tensor) -> float:
    """Return the share of flipped pairs in which a linear head scores the better text higher; 0.5 is chance.

    better, worse (n, d): embeddings of the two texts of each pair. group (n,): 0 or 1, by the pair's words. For each
    group, the head is fitted on the other group, so that it is tested on words that it has not seen. nan where a group
    is empty.
    """
    right = 0
    for held_out in (0, 1):
        asked = group == held_out
        if bool(asked.all()) or not bool(asked.any()):
            return float("nan")
        shown = torch.cat([better[~asked], worse[~asked]])
        labels = torch.arange(2).repeat_interleave(int((~asked).sum()))
        weight, _ = fit_head(shown, labels, classes=2)
        direction = weight[0] - weight[1]
        right += int(((_unit(better[asked]) - _unit(worse[asked])) @ direction > 0).sum())
    return right / len(better)


def fit_head(embedded: Tensor, labels: Tensor, classes: int, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Fit a logistic regression on the normalised rows (n, d); return weight (classes, d) and bias (classes,).

    It minimises the summed cross-entropy plus penalty / 2 times the squared weights, as scikit-learn does with
    C = 1 / penalty. labels (n,): classes.
    """
    rows = _unit(embedded).double()
    weight = torch.zeros(classes, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        fit = functional.cross_entropy(rows @ weight.T + bias, labels, reduction="sum")
        value = fit + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach().float(), bias.detach().float()


def head_logits(embedded: Tensor, head: tuple[Tensor, Tensor]) -> Tensor:
    """Return logits (n, classes) of rows (n, d) with a head of `fit_head`."""
    weight, bias = head
    return _unit(embedded) @ weight.T + bias


def _unit(rows: Tensor) -> Tensor:
    """Return the rows divided by their lengths, in float32."""
    return functional.normalize(rows.float(), dim=-1)
