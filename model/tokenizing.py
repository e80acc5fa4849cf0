"""Turn texts into token ids: what is left out of a text, and how much of it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from foreshock.model.errors import ModelError

MAX_TOKENS = 128
"""Tokens that are read of a text, [CLS] and [SEP] included."""

# A link says nothing about the tone of a text, and costs a dozen tokens.
_LINK = re.compile(r"https?://\S+|\bwww\.\S+")
# Half of a surrogate pair cannot be encoded as UTF-8, which the tokenizer needs.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# In practice 128 tokens never reach further than this. Without the limit the tokenizer would read a whole book first.
_MAX_CHARACTERS = 4_000


def load_tokenizer(path: Path, tokens: int = MAX_TOKENS) -> Tokenizer:
    """Load the tokenizer.json at `path`; it cuts texts at `tokens` and does not pad. Raises ModelError."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{path}: not a tokenizer ({error}); install foreshock again or restore the file") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens)
    return tokenizer


def clean(text: str) -> str:
    """Return the part of a text that is encoded: without links, its first 4,000 characters.

    A half of a surrogate pair becomes U+FFFD.
    """
    return _SURROGATE.sub("\ufffd", _without_links(text)[:_MAX_CHARACTERS])


def behind(text: str) -> str:
    """Return the part of a text that stands behind what `clean` returns, without links."""
    return _without_links(text)[_MAX_CHARACTERS:]


def _without_links(text: str) -> str:
    return _LINK.sub(" ", text) if "://" in text or "www." in text else text


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, unpadded, at most MAX_TOKENS. An empty text has two: [CLS] and [SEP]."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast([clean(text) for text in texts])]
