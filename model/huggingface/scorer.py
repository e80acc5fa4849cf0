"""Put a scorer together from a Hugging Face folder: BERT and RoBERTa in our own engine, the rest in transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from foreshock.model.choosing import Asked, Choice, choose
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import TOKENS, Folder, label_order, open_folder
from foreshock.model.rowwise import Floats, row_softmax
from foreshock.model.tokenizing import load_tokenizer

if TYPE_CHECKING:
    from foreshock.model.score_cache import ScoreCache
    from foreshock.model.scorer import EncoderEngine, Scorer


class ClassifierAnswers:
    """Probabilities from logits: softmax, in the order of our labels. Not calibrated."""

    has_heads = False
    reads_companies = False

    def __init__(self, logits: Callable[[NDArray[np.float32]], Floats], order: Sequence[int]) -> None:
        self._logits = logits
        self._order = list(order)

    def of_texts(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (n, 3) of what the engine returned."""
        logits = self._logits(embedded)[:, self._order]
        return np.array([row_softmax(row) for row in logits.tolist()], dtype=np.float32).reshape(-1, len(self._order))

    def of_companies(self, gathered: NDArray[np.float32]) -> NDArray[np.float32]:
        """Never called: there is no head for companies."""
        raise NotImplementedError


def load_hugging_face(
    weights: str,
    device: Literal["auto", "cpu", "cuda"],
    precision: Asked,
    threads: int,
    *,
    cached: int,
    labels: Sequence[str] | None,
    languages: Sequence[str],
    kept: ScoreCache | None = None,
) -> Scorer:
    """Load a scorer from `hf:FOLDER`; see `load_scorer`.

    Raises ModelError where the folder, its labels or its tokenizer cannot be used.
    """
    from foreshock.model.scorer import Scorer

    folder = open_folder(weights)
    order = label_order(folder, labels)
    choice = choose_for_folder(folder, device, precision)
    tokenizer = _tokenizer(folder)
    if choice.library == "openvino":
        from foreshock.model.engine import Engine
        from foreshock.model.huggingface import bert
        from foreshock.model.quantised import rounded

        found = bert.read(folder)
        sizes, tensors = found.architecture, rounded(found.tensors) if choice.precision == "int8" else found.tensors
        made = Engine(tensors, sizes, precision=choice.precision, threads=threads, epsilon=found.epsilon)
        engine: EncoderEngine = bert.FirstTokens(made)
        answers = ClassifierAnswers(found.logits, order)
    else:
        from foreshock.model.huggingface.by_transformers import TransformersEngine

        engine = TransformersEngine(folder, device=choice.device, precision=choice.precision, threads=threads)
        answers = ClassifierAnswers(lambda logits: logits.astype(np.float64), order)
    return Scorer(
        cached=cached,
        engine=engine,
        answers=answers,
        tokenizer=tokenizer,
        identity=folder.identity(order, engine.runtime),
        languages=frozenset(languages),
        choice=choice,
        reads_on=False,  # it reads 512 tokens at once, and the rule was measured with other weights
        kept=kept,
    )


def choose_for_folder(folder: Folder, device: Literal["auto", "cpu", "cuda"], precision: Asked) -> Choice:
    """Choose what computes: on a CPU our engine for BERT and RoBERTa, else torch in float32 (on a GPU also bf16).

    `auto` is float32 for all: what 8 bits cost with weights that Foreshock does not know, nobody has measured.
    Raises ModelError where this machine, or this kind of model, cannot do what is asked for.
    """
    choice = choose(device, "float32" if precision == "auto" else precision)
    if choice.library == "torch":
        return choice
    from foreshock.model.huggingface.bert import fits

    if fits(folder):
        return choice
    kind = f"it is a model of the kind {folder.config.get('model_type')}"
    if precision == "int8":
        raise ModelError(
            f'{folder.path}: [model] precision is "int8", which is for BERT and RoBERTa, but {kind}; choose '
            'precision = "auto"'
        )
    return Choice(choice.device, "float32", "torch", kind)


def _tokenizer(folder: Folder) -> Tokenizer:
    """Load the folder's tokenizer, which cuts texts at the tokens that the model reads. Raises ModelError."""
    # Texts are padded to a multiple of 8 tokens, which must have a place too.
    cut = min(TOKENS, folder.places) // 8 * 8
    if cut < 8:
        raise ModelError(
            f"{folder.path}: config.json states {folder.places} places for tokens, too few; restore the file"
        )
    if (folder.path / "tokenizer.json").is_file():
        tokenizer = load_tokenizer(folder.path / "tokenizer.json", cut)
    else:
        tokenizer = _converted(folder)
        tokenizer.no_padding()
        tokenizer.enable_truncation(cut)
    if len(tokenizer.encode("").ids) == 0:
        raise ModelError(
            f"{folder.path}: its tokenizer marks no beginning of a text ([CLS] or <s>), which a classifier reads; "
            "copy the tokenizer of this model"
        )
    known, words = tokenizer.get_vocab_size(), folder.whole("vocab_size", 0)
    if known > words:
        raise ModelError(
            f"{folder.path}: its tokenizer knows {known:,} tokens, its model {words:,}; copy the model's own tokenizer"
        )
    return tokenizer


def _converted(folder: Folder) -> Tokenizer:
    """Make a tokenizer from the files of an older folder, which has no tokenizer.json."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ModelError(
            f"{folder.path}: has no tokenizer.json, and making it from older files needs transformers: "
            "pip install 'foreshock[hf]'"
        ) from error
    try:
        found = AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        return found.backend_tokenizer
    except Exception as error:  # transformers raises many kinds
        raise ModelError(
            f"{folder.path}: its tokenizer cannot be read ({str(error).strip().splitlines()[:1]}); write a "
            "tokenizer.json with transformers: tokenizer.save_pretrained(FOLDER)"
        ) from error
