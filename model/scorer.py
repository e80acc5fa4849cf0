"""Score texts: tokenize them, run the encoder in batches, remember the results.

The one idea: a score depends on the text and the model's identity alone, bit for bit. The engines (engine.py,
torch_engine.py) see to it that a text's embedding does not depend on its batch, and answers.py that its answers do not.
`tests/test_model_scorer.py` checks it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from foreshock.model.answers import Answers
from foreshock.model.architecture import Architecture, check_shapes
from foreshock.model.choosing import Asked, Choice, choose
from foreshock.model.entities import Marked, mark
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import PREFIX
from foreshock.model.labels import LABELS
from foreshock.model.low_rank import Change, changed, check_change, heads
from foreshock.model.quantised import exported, read_exported, rounded
from foreshock.model.reference import Familiar, Reference, read_reference
from foreshock.model.score_cache import ScoreCache
from foreshock.model.second_look import SecondLook
from foreshock.model.storage import (
    WeightsFolder,
    check_also,
    check_file,
    open_weights,
    read_arrays,
    read_change,
    read_second_look,
)
from foreshock.model.threads import threads_to_use
from foreshock.model.tokenizing import clean, load_tokenizer, tokenize
from foreshock.model.windows import deciding, later_windows, may_read_on

CACHED = 65_536
"""Texts whose scores are remembered, unless the caller says otherwise."""
KEPT = "1"
"""The version of what is kept of a text (`Scorer._answered`, `_key`). Raise it when that changes."""
WHOLE = 10_000
"""The units in which integer scores add up to 1."""
_NOVELTY = 2
"""The bytes of a text's novelty."""
_REPEATED = 1_024
"""Texts of a call at most, if they are held for the next one. They are held whole, and a worker's batch is smaller."""

Item = TypeVar("Item")
Number = TypeVar("Number", np.float32, np.uint8)


class MarkReading(Protocol):
    """What turns token ids with marks into embeddings."""

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        """Return the mean over each text's tokens, or over its `marks` (places in the text): (texts, width)."""
        ...


class EncoderEngine(MarkReading, Protocol):
    """What turns token ids into embeddings: `Engine` (OpenVINO) or `TorchEngine`."""

    threads: int
    runtime: str


class WhenAsked:
    """An engine that is made when it is first asked: most texts name no two companies, and many commands ask none."""

    def __init__(self, make: Callable[[], EncoderEngine]) -> None:
        self._make = make
        self._made: EncoderEngine | None = None

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        if self._made is None:
            self._made = self._make()
        return self._made.embed(rows, marks)


@runtime_checkable
class TwiceReading(Protocol):
    """An engine that also says what texts are about. Those of models of another house do not."""

    def embed_twice(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean over each text's tokens of the last layer, and of the middle one: (texts, width) each."""
        ...


class TextAnswers(Protocol):
    """What turns embeddings into probabilities: `Answers`, or the head of a Hugging Face model."""

    has_heads: bool
    reads_companies: bool

    def of_texts(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]: ...

    def of_companies(self, gathered: NDArray[np.float32]) -> NDArray[np.float32]: ...


class Scorer:
    """Score texts with one set of weights on one device; `load_scorer` makes one. Not safe for several threads.

    Attributes
    ----------
    identity
        A short text that changes with what could change a score: weights, tokenizer, calibration, precision, the
        library's version, and on a CPU how its vector instructions round.
    languages
        The languages (ISO 639-1) whose texts the weights can score.
    choice
        The device, the precision and the library that compute.
    threads
        How many threads score on a CPU.
    reference
        What is usual for the weights, as their card says it; None where it says nothing.
    """

    def __init__(
        self,
        *,
        cached: int = CACHED,
        engine: EncoderEngine,
        answers: TextAnswers,
        tokenizer: Tokenizer,
        identity: str,
        languages: frozenset[str],
        choice: Choice,
        reads_on: bool = True,
        company_engine: MarkReading | None = None,
        kept: ScoreCache | None = None,
        reference: Reference | None = None,
        second_look: SecondLook | None = None,
    ) -> None:
        self.identity = identity
        self.reference = reference
        self._familiar = None if reference is None else Familiar.of_card(reference)
        self.languages = languages
        self.choice = choice
        self.threads = engine.threads
        self._cached = cached
        self._engine = engine
        self._company_engine = company_engine or engine
        self._answers = answers
        self._tokenizer = tokenizer
        self._reads_on = reads_on
        self._second_look = second_look
        # A text's row holds its answers, its novelty and the signs of its embedding (`_answered`); towards a company,
        # answers only.
        self._cache: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self._last: tuple[Sequence[str], NDArray[np.uint8]] = (), np.empty((0, 0), dtype=np.uint8)
        self._kept = kept
        if kept is not None:
            familiar = "" if reference is None else reference.familiar  # the novelty depends on it, and no score
            machine = getattr(engine, "machine", "")  # of `TorchEngine`; the others' are in the identity
            of_rows = hashlib.blake2b(familiar.encode(), digest_size=8).hexdigest()
            kept.open(" ".join([identity, KEPT, of_rows, *([machine] if machine else [])]))

    def score(self, texts: Sequence[str], entities: Sequence[str | None] | None = None) -> NDArray[np.float32]:
        """Probabilities (n, 3), columns negative, neutral, positive, rows summing to 1, in the order of `texts`.

        The first 128 tokens of a text count; where they are neutral, further windows may decide (windows.py). Links
        count for nothing. Any string can be scored, an empty one too.

        Parameters
        ----------
        entities
            For each text a company (None: the text as a whole), whose sentiment is asked. Its name is looked for as
            whole words, case ignored, a ticker with and without "$". Where the name is not among the tokens that count,
            the score is the text's own, and so it is with weights that read for no company (`chinese`).

        Raises ModelError where `entities` are given and the weights have no head for them, and ValueError where there
        are not as many as texts.
        """
        if entities is None or all(name is None for name in entities):
            if entities is not None:
                _check_lengths(texts, entities)
            return self._rows(texts)[:, : len(LABELS)].copy()
        _check_lengths(texts, entities)
        self._check_heads()
        asked = [i for i, name in enumerate(entities) if name is not None] if self._answers.reads_companies else []
        names = [str(entities[i]) for i in asked]
        marked = mark(self._tokenizer, [texts[i] for i in asked], names, unspaced="zh" in self.languages)
        there = {i: one for i, one in zip(asked, marked, strict=True) if one is not None}
        scores = np.empty((len(texts), len(LABELS)), dtype=np.float32)
        whole = [i for i in range(len(texts)) if i not in there]
        if whole:
            scores[whole] = self._rows([texts[i] for i in whole])[:, : len(LABELS)]
        if there:
            keys = [_key(texts[i], entities[i]) for i in there]
            marks = dict(zip(keys, there.values(), strict=True))
            scores[list(there)] = self._remembered(keys, marks, self._encode_marked, np.float32)
        return scores

    def severity(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """How grave each text's bad news is, (n,): an expected value from 0 (none) over 1 (mild) and 2 (serious) to 3
        (grave).

        Raises ModelError where the weights have no head for it.
        """
        self._check_heads()
        return self._rows(texts)[:, len(LABELS)].copy()

    def score_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32]:
        """Scores of (title, body) pairs as integers (n, 3) of 1/10,000 that sum to 10,000.

        The title comes first, then as much of the body as fits 128 tokens; see `score` for what follows.
        """
        return quantise(self.score([joined(title, body) for title, body in pairs]))

    def grade_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32] | None:
        """Severities (n,) of (title, body) pairs as integers, hundredths from 0 to 300; None without a head for them.

        After `score_stories` of the same pairs this costs no pass through the encoder.
        """
        if not self._answers.has_heads:
            return None
        grades = self.severity([joined(title, body) for title, body in pairs])
        return np.rint(grades.astype(np.float64) * 100).astype(np.int32)

    def sign_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.uint8] | None:
        """The signs of the embeddings (`embed`) of (title, body) pairs, (n, width / 8): a bit for each number of them.
        None of a model of another house.

        Similar texts have signs that differ in few bits. After `score_stories` of the same pairs this costs no pass
        through the encoder.
        """
        if not isinstance(self._engine, TwiceReading):
            return None
        answered = self._answered([joined(title, body) for title, body in pairs])
        return answered[:, self._width + _NOVELTY :].copy()

    def novel_stories(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.int32] | None:
        """The share of the tokens of (title, body) pairs that the training texts did not hold, (n,), in 1/10,000.

        None where the card does not say which these are (reference.py). The tokens are those of the first window. After
        `score_stories` of the same pairs this costs no pass through the encoder.
        """
        if self._familiar is None:
            return None
        answered = self._answered([joined(title, body) for title, body in pairs])
        return answered[:, self._width : self._width + _NOVELTY].copy().view(np.uint16)[:, 0].astype(np.int32)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What texts are about, (n, width): the mean over their tokens of the middle layer. It is not remembered.

        The last layer says how good or bad the news is, and little else: by it, a port's crane that collapses is like
        a company that does.

        Raises ModelError of a model of another house.
        """
        if not isinstance(self._engine, TwiceReading):
            raise ModelError(f"{self.identity} does not say what texts are about; use weights of this program")
        return self._engine.embed_twice(tokenize(self._tokenizer, texts))[1]

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What scores are read off, (n, width): the embedding of the window that decides. It is not remembered."""
        return self._read(texts)[1]

    @property
    def engine(self) -> EncoderEngine:
        """What turns token ids into embeddings."""
        return self._engine

    @property
    def answers(self) -> TextAnswers:
        """What turns embeddings into probabilities."""
        return self._answers

    def read_by(self, answers: TextAnswers, engine: EncoderEngine | None = None) -> Scorer:
        """Return a scorer that reads the same encoder with other heads, for whoever tries heads. It keeps no scores.

        engine: gives the embeddings in place of the encoder's own.
        """
        return Scorer(
            cached=0,
            engine=engine or self._engine,
            answers=answers,
            tokenizer=self._tokenizer,
            identity=f"{self.identity}, other heads",
            languages=self.languages,
            choice=self.choice,
            reads_on=self._reads_on,
        )

    def score_companies(self, asked: Sequence[tuple[str, str, str]]) -> NDArray[np.int32] | None:
        """Scores (n, 3) of (title, body, name) towards the company of that name; None without a head for companies.

        They are integers as of `score_stories`. Where the name is not among the tokens that are read, the score is the
        story's own.
        """
        if not self._answers.has_heads:
            return None
        texts = [joined(title, body) for title, body, _ in asked]
        return quantise(self.score(texts, [name for *_, name in asked]))

    def _rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What is known of each text, (n, 3), or (n, 4) with its severity."""
        return self._answered(texts)[:, : self._width].copy().view(np.float32)

    @property
    def _width(self) -> int:
        """The bytes of a text's answers."""
        return 4 * (len(LABELS) + self._answers.has_heads)

    def _answered(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """Return bytes of each text: its answers as 32-bit floats, its novelty in 16 bits, a bit for each sign of its
        embedding.
        """
        texts = list(texts)
        if not texts:
            return np.empty((0, self._width + _NOVELTY), dtype=np.uint8)
        asked, answered = self._last
        if asked != texts:  # a worker asks four questions about the same texts, one after the other
            keys = [_key(text) for text in texts]
            answered = self._remembered(keys, dict(zip(keys, texts, strict=True)), self._encode, np.uint8)
            if len(texts) <= min(self._cached, _REPEATED):
                self._last = texts, answered
        return answered

    def _remembered(
        self,
        keys: list[bytes],
        asked: dict[bytes, Item],
        encode: Callable[[list[Item]], NDArray[Number]],
        kind: type[Number],
    ) -> NDArray[Number]:
        known: dict[bytes, NDArray[Number]] = {}
        missing: dict[bytes, Item] = {}
        for key in keys:
            if key in self._cache:
                self._cache.move_to_end(key)
                known[key] = self._cache[key]
            else:
                missing[key] = asked[key]
        if missing:
            if self._kept is not None:
                for key, kept in self._kept.find(list(missing)).items():
                    known[key] = self._cache[key] = np.frombuffer(kept, kind)
                    del missing[key]
            if missing:
                made = dict(zip(missing, encode(list(missing.values())), strict=True))
                known.update(made)
                self._cache.update(made)
                if self._kept is not None:
                    self._kept.keep({key: row.tobytes() for key, row in made.items()})
            while len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return np.stack([known[key] for key in keys])

    def _encode(self, texts: list[str]) -> NDArray[np.uint8]:
        tokens, _, middle, rows = self._read(texts)
        signs = np.packbits(middle > 0, axis=1)
        novelty = np.zeros(len(tokens), np.uint16) if self._familiar is None else self._familiar.novelty(tokens)
        return np.concatenate(
            [np.ascontiguousarray(rows).view(np.uint8), novelty[:, None].view(np.uint8), signs], axis=1
        )

    def _read(
        self, texts: Sequence[str]
    ) -> tuple[list[list[int]], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the first window's token ids of each text, what its score is read off (n, width), what it is about
        (n, width; of a model of another house (n, 0)), and its answers.
        """
        encodings = self._tokenizer.encode_batch_fast([clean(text) for text in texts])
        tokens = [encoding.ids for encoding in encodings]
        if isinstance(self._engine, TwiceReading):
            last, middle = self._engine.embed_twice(tokens)
        else:
            last, middle = self._engine.embed(tokens), np.empty((len(tokens), 0), np.float32)
        rows = self._answers.of_texts(last)
        if self._second_look is not None and isinstance(self._engine, TwiceReading):
            self._second_look.look(last, middle, rows)
        if self._reads_on:
            self._read_on(texts, encodings, last, rows)
        return tokens, last, middle, rows

    def _read_on(
        self,
        texts: Sequence[str],
        encodings: Sequence[Encoding],
        last: NDArray[np.float32],
        rows: NDArray[np.float32],
    ) -> None:
        """Replace the embeddings and the rows of texts that a later window decides."""
        on = [i for i, encoding in enumerate(encodings) if may_read_on(encoding, rows[i])]
        titles = tokenize(self._tokenizer, [_title(texts[i]) for i in on])
        windows = [later_windows(encodings[i], title) for i, title in zip(on, titles, strict=True)]
        if on:
            embedded = self._engine.embed([ids for of_text in windows for ids in of_text])
            ends = np.cumsum([len(of_text) for of_text in windows])[:-1]
            found = np.split(self._answers.of_texts(embedded), ends)
            for i, read, later in zip(on, np.split(embedded, ends), found, strict=True):
                if (window := deciding(later)) is not None:
                    last[i], rows[i] = read[window], later[window]

    def _encode_marked(self, marked: list[Marked]) -> NDArray[np.float32]:
        embedded = self._company_engine.embed([one.ids for one in marked], [one.marks for one in marked])
        return self._answers.of_companies(embedded)

    def _check_heads(self) -> None:
        if not self._answers.has_heads:
            raise ModelError(
                f"the weights of {self.identity} have no heads for severity and companies; train them with "
                '`python -m foreshock.model.training.news`, or choose [model] weights = "default"'
            )


def load_scorer(
    weights: str = "default",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: Asked = "auto",
    threads: int | Literal["auto"] = "auto",
    *,
    cached: int = CACHED,
    torch_compile: bool = False,
    labels: Sequence[str] | None = None,
    languages: Sequence[str] = ("en",),
    kept: ScoreCache | None = None,
    also: Sequence[str] = (),
) -> Scorer:
    """Load a scorer.

    Parameters
    ----------
    weights
        `default`, `permissive`, a folder that `foreshock model finetune` wrote, a file that `foreshock model adapt`
        wrote, or `hf:` and the folder of a Hugging Face model for sequence classification.
    device
        `cpu`, `cuda`, or `auto`: cuda where there is one.
    precision
        Of products with weights: `int8` (CPUs), `float32`, `bf16` (GPUs), or `auto`: int8 on a CPU with instructions
        for it, else float32.
    threads
        How many threads score on a CPU; `auto`: as many as this process may use. No score depends on it.
    cached
        For how many texts the scorer remembers scores, so that a repeated text costs nothing.
    torch_compile
        Whether torch compiles parts of the encoder, on a GPU.
    labels, languages
        Of a Hugging Face model: what its outputs mean in their order (None: as its config says), and the languages
        (ISO 639-1) whose texts it can score. Foreshock's own weights state both.
    kept
        A file of scores: texts that it knows are not encoded, and it gets the scores of the others.
    also
        Further weights, `chinese`, for the texts in a language that `weights` do not read. `kept` keeps none of theirs.

    Raises ModelError where weights are missing, damaged (SHA-256) or of another program, and where this machine has no
    CUDA device or no instructions for what is asked for. The message names the file and the remedy.
    """
    if also:
        return _routed(weights, device, precision, threads, also, cached=cached, torch_compile=torch_compile, kept=kept)
    used = threads_to_use() if threads == "auto" else threads
    if weights.startswith(PREFIX):
        from foreshock.model.huggingface.scorer import load_hugging_face

        return load_hugging_face(
            weights, device, precision, used, cached=cached, labels=labels, languages=languages, kept=kept
        )
    choice = choose(device, precision)
    folder = open_weights(weights)
    check_file(folder, folder.tokenizer.name)
    tensors = _read(folder, choice)
    change = read_change(folder)
    try:
        architecture = Architecture(**folder.card["architecture"])
        check_shapes({name: tensor.shape for name, tensor in tensors.items()}, architecture)
        if change is not None:
            check_change(change, architecture)
        own = {} if folder.adapted is None else folder.adapted.head(tensors)
        answers = Answers({**tensors, **heads(change or {}), **own}, folder.card)
        reference = read_reference(folder.card)
        looked = read_second_look(folder)
        if looked is not None and not answers.has_heads:
            raise ValueError("a second look needs heads for severity")
        second_look = None if looked is None else SecondLook(looked, architecture.width)
        engine = _engine(tensors, architecture, choice, used, torch_compile=torch_compile)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{folder.tensors}: does not fit its model.json ({error}); fine-tune again or restore both"
        ) from error

    def company_engine(change: Change) -> EncoderEngine:
        # From the weights that were trained, also where an exported file is beside them: the sums are not in it.
        floats = changed(read_arrays(folder), change)
        made = rounded(floats) if choice.precision == "int8" else floats
        return _engine(made, architecture, choice, used, torch_compile=torch_compile)

    return Scorer(
        cached=cached,
        engine=engine,
        answers=answers,
        tokenizer=load_tokenizer(folder.tokenizer),
        identity=folder.identity(engine.runtime),
        languages=folder.languages,
        choice=choice,
        company_engine=None if change is None else WhenAsked(partial(company_engine, change)),
        kept=kept,
        reference=reference,
        second_look=second_look,
    )


def _routed(
    weights: str,
    device: Literal["auto", "cpu", "cuda"],
    precision: Asked,
    threads: int | Literal["auto"],
    also: Sequence[str],
    *,
    cached: int,
    torch_compile: bool,
    kept: ScoreCache | None,
) -> Scorer:
    from foreshock.model.routed import RoutedScorer

    check_also(weights, also)
    how: dict[str, Any] = {"cached": cached, "torch_compile": torch_compile}
    first = load_scorer(weights, device, precision, threads, kept=kept, **how)
    second = load_scorer(also[0], device, precision, threads, **how)
    return RoutedScorer(first, second)


def _read(folder: WeightsFolder, choice: Choice) -> Mapping[str, Any]:
    if choice.precision != "int8":
        return read_arrays(folder)
    return read_exported(folder) if exported(folder) else rounded(read_arrays(folder))


def _engine(
    tensors: Mapping[str, Any], architecture: Architecture, choice: Choice, threads: int, *, torch_compile: bool
) -> EncoderEngine:
    if choice.library == "torch":
        from foreshock.model.torch_engine import TorchEngine

        return TorchEngine(
            tensors,
            architecture,
            device=choice.device,
            threads=threads,
            precision="bf16" if choice.precision == "bf16" else "float32",
            compiled=torch_compile and choice.device == "cuda",
        )
    from foreshock.model.engine import Engine

    return Engine(tensors, architecture, precision=choice.precision, threads=threads)


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


def _key(text: str, name: str | None = None) -> bytes:
    """What the cache knows a text by: short, so that 65,536 long stories take no memory to speak of.

    Case counts in a name: names that only fold alike, such as Strauß and Strauss, are found at other places of a text.
    """
    hashed = hashlib.blake2b(clean(text).encode(), digest_size=16, person=b"" if name is None else b"company")
    if name is not None:
        hashed.update(b"\0" + name.strip().encode("utf-8", "surrogatepass"))
    return hashed.digest()


def _title(text: str) -> str:
    """Return a text's first line where it has more of them, as `joined` made it."""
    title, newline, _ = clean(text).partition("\n")
    return title if newline else ""


def joined(title: str, body: str) -> str:
    """Return the text that is scored of a story."""
    return f"{title}\n{body}" if body else title


def _check_lengths(texts: Sequence[str], entities: Sequence[str | None]) -> None:
    if len(entities) != len(texts):
        raise ValueError(f"{len(entities)} entities for {len(texts)} texts; give one (or None) for each text")
