"""Score texts: tokenize them, run the encoder in small batches, remember the results.

The one idea: a score depends on the text and the model's identity alone, bit for bit, on one kind of processor. How a
library adds up and rounds depends on the shapes that it gets (which kernel, how many threads, what is left over beside
whole vectors). So every forward pass here has the same shape, whatever the caller asks for: texts are laid end to end
and filled up to a fixed number of tokens, and the results to a fixed number of rows. `tests/test_model_scorer.py`
checks it.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional

from foreshock.model.calibration import Calibration, calibrated
from foreshock.model.encoder import Architecture, Encoder, Packed, clean, load_tokenizer, pack, tokenize
from foreshock.model.entities import Marked, mark
from foreshock.model.errors import ModelError
from foreshock.model.heads import Heads, HeadsCard, Marks, expected, find_marks, gather, split_heads
from foreshock.model.labels import LABELS
from foreshock.model.storage import open_weights, read_tensors

TOKENS = {"cpu": 512, "cuda": 16_384}
"""Tokens of a forward pass, by device. Not an argument: with another shape the last digits of scores would change.

On a CPU more tokens would not be faster, because arithmetic is the limit already, and a single text would be slower. A
GPU needs many tokens to be busy.
"""
CACHED = 65_536
"""Texts whose scores are remembered, unless the caller says otherwise."""
WHOLE = 10_000
"""The units in which integer scores add up to 1."""

Asked = TypeVar("Asked")


class Scorer:
    """Score texts with one set of weights on one device; `load_scorer` makes one. Not safe for several threads.

    Attributes
    ----------
    identity
        A short text that changes with the weights, tokenizer, calibration, precision, torch version and device. It
        does not change with the processor, though its vector instructions can change the last digit of a score.
    languages
        The languages (ISO 639-1) whose texts the weights can score.
    """

    def __init__(
        self,
        *,
        cached: int = CACHED,
        encoder: Encoder,
        tokenizer: Tokenizer,
        calibration: Calibration,
        device: torch.device,
        identity: str,
        languages: frozenset[str],
        heads: tuple[Heads, HeadsCard] | None = None,
    ) -> None:
        self.identity = identity
        self._cached = cached
        self.languages = languages
        self.device = device
        self._encoder = encoder.to(device).eval()
        self._tokenizer = tokenizer
        self._calibration = calibration
        self._heads = None if heads is None else (heads[0].to(device).eval(), heads[1])
        # A row is the three probabilities, and the severity where the weights have a head for it.
        self._cache: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> NDArray[np.float32]:
        """Probabilities (n, 3), columns negative, neutral, positive, rows summing to 1, in the order of `texts`.

        The first 128 tokens of a text count; links count for nothing. Any string can be scored, an empty one too.

        Parameters
        ----------
        entities
            For each text a company (None: the text as a whole), whose sentiment is asked. Its name is looked for as
            whole words, case ignored, a ticker with and without "$". Where the name is not among the tokens that count,
            the score is the text's own.

        Raises ModelError where `entities` are given and the weights have no head for them, and ValueError where there
        are not as many as texts.
        """
        if entities is None or all(name is None for name in entities):
            if entities is not None:
                _check_lengths(texts, entities)
            return self._rows(texts)[:, : len(LABELS)].copy()
        _check_lengths(texts, entities)
        self._needed_heads()
        asked = [i for i, name in enumerate(entities) if name is not None]
        marked = mark(self._tokenizer, [texts[i] for i in asked], [str(entities[i]) for i in asked])
        there = {i: one for i, one in zip(asked, marked, strict=True) if one is not None}
        scores = np.empty((len(texts), len(LABELS)), dtype=np.float32)
        whole = [i for i in range(len(texts)) if i not in there]
        if whole:
            scores[whole] = self._rows([texts[i] for i in whole])[:, : len(LABELS)]
        if there:
            keys = [_key(texts[i], entities[i]) for i in there]
            marks = dict(zip(keys, there.values(), strict=True))
            scores[list(there)] = self._remembered(keys, marks, self._encode_marked)
        return scores

    def severity(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """How grave each text's bad news is, (n,): an expected value from 0 (none) over 1 (mild) and 2 (serious) to 3
        (grave).

        Raises ModelError where the weights have no head for it.
        """
        self._needed_heads()
        return self._rows(texts)[:, len(LABELS)].copy()

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        """Scores of (title, body) pairs as integers (n, 3) of 1/10,000 that sum to 10,000.

        The title comes first, then as much of the body as fits 128 tokens.
        """
        return quantise(self.score([_joined(title, body) for title, body in pairs]))

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32] | None:
        """Severities (n,) of (title, body) pairs as integers, hundredths from 0 to 300; None without a head for them.

        After `score_stories` of the same pairs this costs no pass through the encoder.
        """
        if self._heads is None:
            return None
        grades = self.severity([_joined(title, body) for title, body in pairs])
        return np.rint(grades.astype(np.float64) * 100).astype(np.int32)

    def _rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What is known of each text, (n, 3), or (n, 4) with its severity."""
        keys = [_key(text) for text in texts]
        return self._remembered(keys, dict(zip(keys, texts, strict=True)), self._encode)

    def _remembered(
        self, keys: list[bytes], asked: dict[bytes, Asked], encode: Callable[[list[Asked]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if not keys:
            return np.empty((0, len(LABELS) + (self._heads is not None)), dtype=np.float32)
        known: dict[bytes, NDArray[np.float32]] = {}
        missing: dict[bytes, Asked] = {}
        for key in keys:
            if key in self._cache:
                self._cache.move_to_end(key)
                known[key] = self._cache[key]
            else:
                missing[key] = asked[key]
        if missing:
            for key, row in zip(missing, encode(list(missing.values())), strict=True):
                known[key] = self._cache[key] = row
            while len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return np.array([known[key] for key in keys], dtype=np.float32)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = tokenize(self._tokenizer, texts)
        return self._in_passes(tokens, lambda rows: self._forward([tokens[i] for i in rows]))

    def _encode_marked(self, marked: list[Marked]) -> NDArray[np.float32]:
        return self._in_passes(
            [one.ids for one in marked], lambda rows: self._forward_marked([marked[i] for i in rows])
        )

    @torch.inference_mode()
    def _in_passes(self, tokens: list[list[int]], forward: Callable[[list[int]], torch.Tensor]) -> NDArray[np.float32]:
        passes = [(rows, forward(rows)) for rows in _passes(tokens, TOKENS[self.device.type])]
        # Fetched only now: a GPU has all passes queued by then.
        found = [(rows, result.cpu().numpy()) for rows, result in passes]
        scores = np.empty((len(tokens), found[0][1].shape[1]), dtype=np.float32)
        for rows, result in found:
            scores[rows] = result
        return scores

    def _forward(self, rows: list[list[int]]) -> torch.Tensor:
        packed = self._packed(rows)
        embedded = self._filled_up(self._encoder.embed(packed))
        scores = calibrated(self._encoder.classify(embedded), self._calibration)
        if self._heads is not None:
            heads, card = self._heads
            scores = torch.cat([scores, expected(heads.grade(embedded), card.severity_scale)[:, None]], dim=1)
        return scores[: len(rows)]

    def _forward_marked(self, rows: list[Marked]) -> torch.Tensor:
        heads, card = self._needed_heads()
        packed = self._packed([row.ids for row in rows])
        marks = find_marks(packed, [row.marks for row in rows])
        marks = Marks(marks.places.to(self.device), marks.counts.to(self.device))
        gathered = self._filled_up(gather(self._encoder.hidden(packed), marks))
        return calibrated(heads.towards(gathered), card.entity)[: len(rows)]

    def _packed(self, rows: list[list[int]]) -> Packed:
        packed = pack(rows, TOKENS[self.device.type])
        if self.device.type == "cuda":
            tensors = (packed.ids, packed.places, packed.lengths)
            ids, places, lengths = (t.pin_memory().to(self.device, non_blocking=True) for t in tensors)
            packed = Packed(ids, places, lengths, packed.runs)
        return packed

    def _filled_up(self, rows: torch.Tensor) -> torch.Tensor:
        # No text has less than two tokens.
        return functional.pad(rows, (0, 0, 0, TOKENS[self.device.type] // 2 - len(rows)))

    def _needed_heads(self) -> tuple[Heads, HeadsCard]:
        if self._heads is None:
            raise ModelError(
                f"the weights of {self.identity} have no heads for severity and companies; train them with "
                '`python -m foreshock.model.training.news`, or choose [model] weights = "default"'
            )
        return self._heads


def load_scorer(
    weights: str = "default", device: Literal["auto", "cpu", "cuda"] = "auto", *, cached: int = CACHED
) -> Scorer:
    """Load a scorer. It computes in float32, without TF32 on a GPU.

    Parameters
    ----------
    weights
        `default`, `permissive`, or a folder that `foreshock model finetune` wrote.
    device
        `cpu`, `cuda`, or `auto`: cuda where there is one.
    cached
        For how many texts the scorer remembers scores, so that a repeated text costs nothing.

    Raises ModelError where weights are missing, damaged (SHA-256) or of another program, and for `cuda` without a CUDA
    device. The message names the file and the remedy.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("[model] device is `cuda`, but torch finds no CUDA device; choose `auto` or `cpu`")
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    folder = open_weights(weights)
    tensors = read_tensors(folder)
    try:
        architecture = Architecture(**folder.card["architecture"])
        calibration = Calibration(**folder.card["calibration"])
        if not math.isfinite(calibration.offset) or not math.isfinite(calibration.slope):
            raise ValueError(f"{calibration} is not finite")
        body, extra = split_heads(tensors)
        heads = None
        with torch.device("meta"):  # no time spent on initial values that are replaced at once
            encoder = Encoder(architecture)
            if extra:
                stated = folder.card["heads"]
                fitted = HeadsCard(float(stated["severity_scale"]), Calibration(**stated["entity"]))
                heads = Heads(architecture.width), fitted
        encoder.load_state_dict(body, assign=True)
        if heads is not None:
            heads[0].load_state_dict(extra, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder.tensors}: does not fit its model.json ({error}); fine-tune again or restore both"
        ) from error
    identity = folder.identity(f"float32, torch {torch.__version__}, {place.type}")
    return Scorer(
        cached=cached,
        encoder=encoder,
        tokenizer=load_tokenizer(folder.tokenizer),
        calibration=calibration,
        device=place,
        identity=identity,
        languages=folder.languages,
        heads=heads,
    )


def quantise(probabilities: NDArray[np.floating]) -> NDArray[np.int32]:
    """Round probabilities (n, k) to integers in units of 1/10,000; each row sums to 10,000.

    The largest remainders are rounded up; ties go to the left. Rows are divided by their sum first, so that float32
    rounding has no effect.
    """
    exact = probabilities.astype(np.float64)
    exact = exact / exact.sum(axis=1, keepdims=True) * WHOLE
    floor = np.floor(exact)
    left = WHOLE - floor.sum(axis=1).astype(np.int64)
    rank = np.argsort(np.argsort(floor - exact, axis=1, kind="stable"), axis=1, kind="stable")
    whole: NDArray[np.int32] = (floor + (rank < left[:, None])).astype(np.int32)
    return whole


def _passes(tokens: list[list[int]], total: int) -> Iterator[list[int]]:
    """Sort the rows by length and yield their numbers in parts of at most `total` tokens."""
    part: list[int] = []
    filled = 0
    for i in sorted(range(len(tokens)), key=lambda i: len(tokens[i])):
        if filled + len(tokens[i]) > total:
            yield part
            part, filled = [], 0
        part.append(i)
        filled += len(tokens[i])
    if part:
        yield part


def _key(text: str, name: str | None = None) -> bytes:
    """What the cache knows a text by: short, so that 65,536 long stories take no memory to speak of."""
    hashed = hashlib.blake2b(clean(text).encode(), digest_size=16)
    if name is not None:
        hashed.update(b"\0" + name.strip().casefold().encode("utf-8", "surrogatepass"))
    return hashed.digest()


def _joined(title: str, body: str) -> str:
    return f"{title}\n{body}" if body else title


def _check_lengths(texts: Sequence[str], entities: Sequence[str | None]) -> None:
    if len(entities) != len(texts):
        raise ValueError(f"{len(entities)} entities for {len(texts)} texts; give one (or None) for each text")
