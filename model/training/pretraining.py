"""Contrastive pretraining: unlabelled news in, an encoder to fine-tune out.

The one idea: embeddings of two views of a text are pulled together (Gao et al. 2021, "SimCSE"; Dwibedi et al. 2021,
"With a Little Help from My Friends", where the other is the most similar text seen lately), those of texts that share
every word but the one that matters are pushed apart. Everything random follows from (seed, epoch) or (seed, step).
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

from foreshock.model.encoder import Encoder, load_tokenizer, pack, tokenize
from foreshock.model.errors import UnlabelledDataError
from foreshock.model.training.augmentation import flip, flipped_word, hard_negatives, view
from foreshock.model.training.base import Base, minilm, write_base
from foreshock.model.training.labelled import validation_fingerprints
from foreshock.model.training.losses import infonce, mse, triplet
from foreshock.model.training.probing import alignment, flip_probe, uniformity
from foreshock.model.training.similarity import SIMILARITIES, Similarity
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
# Texts remembered for nearest neighbours.
REMEMBERED = 4_096
# Of tokens, the share that masked-language modelling asks for; 80 % of them masked, 10 % replaced, 10 % left (BERT).
ASKED = 0.15
# By how much a positive has to be more alike than any negative, in the triplet loss.
MARGIN = 0.3
# Held-out texts of which alignment and uniformity are taken, and flipped pairs of the probe.
PROBED, PROBED_PAIRS = 1_000, 500


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides the result; a checkpoint of other settings is not resumed.

    similarity: a name in SIMILARITIES. loss: InfoNCE, triplet or mean squared error. negatives: hard negatives for each
    positive, of texts that can be flipped. positives: another view of the text, the most similar text seen lately, or
    both in equal parts. temperature: of InfoNCE; `learned`: it is where learning it begins. masked: the weight of
    masked-language modelling beside the contrastive loss. texts: train on the first so many, shuffled; 0: all.
    steps: 0: one pass over the texts. learning_rate: the peak, for the top layer; each below learns at 0.95 times that.
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
) -> dict[str, Any]:
    """Train on the feed files in the folder `data`; write a base to `out` that `finetune` starts from.

    Matrix products run in bfloat16, everything else in float32. Run again after an interruption, it resumes from
    `out/checkpoint.pt` to the same result; the checkpoint is removed at the end. `labelled`: a folder of labelled sets,
    whose validation texts are left out where they are among the feeds'. `board`: a folder for TensorBoard.

    Returns the record that is written to `out/record.json`: settings, data hashes and counts, what the embeddings of
    held-out texts were like before and after, versions. Raises UnlabelledDataError and LabelledDataError (file, line)
    and ModelError (no base model, a checkpoint of another training, a training that diverged).
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
        raise UnlabelledDataError(f"{data}: {len(texts)} texts do not fill one batch of {settings.batch}")
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
        memory = Memory(REMEMBERED, base.architecture.width)

        out.mkdir(parents=True, exist_ok=True)
        checkpoint = out / "checkpoint.pt"
        step = 0
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint, binding)
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            rates.load_state_dict(saved["schedule"])
            memory.load(saved["memory"])
            step = saved["step"]

        with open_board(board, step) as log, progress() as bar:
            task = bar.add_task("pretraining", total=steps, completed=step)
            while step < steps:
                epoch, place = divmod(step, steps_an_epoch)
                for rows in batches(lengths, settings.batch, settings.seed, epoch)[place : place + steps - step]:
                    seed_step(settings.seed, step)
                    random = np.random.default_rng([settings.seed, step, 1])
                    losses = _losses(network, memory, tokenizer, [texts[i] for i in rows], rows, settings, random)
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
                    if step % CHECKPOINT_EVERY == 0:
                        state = {
                            "network": network.state_dict(),
                            "optimiser": optimiser.state_dict(),
                            "schedule": rates.state_dict(),
                            "memory": memory.state(),
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


class Memory:
    """The embeddings of the texts seen last and their numbers: where the most similar other text is looked for."""

    def __init__(self, size: int, width: int) -> None:
        self.embedded = torch.zeros(size, width)
        self.numbers = torch.full((size,), -1)
        self.next = 0

    def nearest(self, embedded: Tensor, numbers: Tensor, similarity: Similarity) -> Tensor:
        """For each row (n, d), of the texts `numbers` (n,), the remembered one most like it that is of another text.

        A row stands for itself where nothing else is remembered.
        """
        with torch.no_grad():
            alike = similarity(embedded, self.embedded)
            barred = (self.numbers < 0) | (self.numbers == numbers[:, None])
            best, place = alike.masked_fill(barred, float("-inf")).max(dim=1)
            return torch.where(best[:, None].isfinite(), self.embedded[place], embedded)

    def add(self, embedded: Tensor, numbers: Tensor) -> None:
        """Remember rows (n, d) of the texts `numbers` (n,) in place of the oldest."""
        places = (self.next + torch.arange(len(numbers))) % len(self.numbers)
        self.embedded[places] = embedded.detach()
        self.numbers[places] = numbers
        self.next = (self.next + len(numbers)) % len(self.numbers)

    def state(self) -> dict[str, Any]:
        return {"embedded": self.embedded, "numbers": self.numbers, "next": self.next}

    def load(self, state: dict[str, Any]) -> None:
        self.embedded, self.numbers, self.next = state["embedded"], state["numbers"], state["next"]


def look_at(encoder: Encoder, tokenizer: Any, held_out: Sequence[str]) -> dict[str, float | None]:
    """Alignment of texts with views of them, uniformity, and the flip probe, on held-out texts.

    The probe takes texts that turn round by one word, one side of the lexicon's pairs for "better", the other for
    "worse"; its head is asked about pairs of words that it was not shown. None for what too few texts do not tell.
    """
    random = np.random.default_rng(0)
    shuffled = [held_out[i] for i in random.permutation(len(held_out))]  # their order is that of the feeds
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
    """Embeddings (n, d) of texts in their order, in bfloat16 products, without dropout."""
    encoder.eval()
    tokens = tokenize(tokenizer, texts)
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    embedded = torch.empty(len(tokens), encoder.architecture.width)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded[rows] = encoder.embed(pack([tokens[i] for i in rows]))
    return embedded


class _Network(nn.Module):
    """The encoder, what turns its hidden states into words again, and the temperature."""

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
        """Embeddings of token rows in their order, whatever their lengths."""
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            embedded = self.encoder.embed(pack([tokens[i] for i in order]))
        return embedded[torch.tensor(order).argsort()]

    def masked_loss(self, tokens: Sequence[Sequence[int]], mask: int, special: frozenset[int]) -> Tensor:
        """Masked-language modelling (Devlin et al. 2019, "BERT") with the word embeddings as its output weights."""
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
    memory: Memory,
    tokenizer: Any,
    texts: list[str],
    numbers: NDArray[np.int64],
    settings: Settings,
    random: np.random.Generator,
) -> dict[str, Tensor]:
    """The losses of one step, and what is remembered after it."""
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
        parts.append(loss(memory.nearest(anchors.detach(), seen, alike)))
        memory.add(anchors, seen)
    masked = torch.zeros(())
    if settings.masked:
        special = frozenset(tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
        masked = network.masked_loss(tokens[:n], tokenizer.token_to_id("[MASK]"), special)
    return {"contrastive": torch.stack(parts).mean(), "masked": masked}


def _chosen(texts: list[str], count: int, seed: int) -> list[str]:
    if count == 0 or count >= len(texts):
        return texts
    rows = np.random.default_rng([seed, 0]).permutation(len(texts))[:count]
    return [texts[i] for i in sorted(rows)]


def _counts(read: Unlabelled, texts: list[str]) -> dict[str, int]:
    return {
        "texts": len(texts),
        "held_out": len(read.held_out),
        "duplicates_removed": read.duplicates,
        "empty": read.empty,
        "validation_texts_left_out": read.labelled,
        "can_be_flipped": sum(flip(text) is not None for text in texts),
    }


def _as_options(settings: Settings) -> str:
    """The options that differ from the defaults, as they are written."""
    plain = asdict(Settings())
    names = {"learned": "learn-temperature"}
    return "".join(
        f" --{names.get(key, key).replace('_', '-')}" + ("" if value is True else f" {value}")
        for key, value in asdict(settings).items()
        if value != plain[key]
    )
