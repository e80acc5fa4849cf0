"""Run the encoder on a CPU with OpenVINO: each pass on one thread, as many passes at once as there are threads.

The one idea: threads never share a pass. So a result cannot depend on how many threads there are, no thread waits (or
spins) for another in the middle of a pass, and a thread whose core is taken away delays its own pass only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import groupby
from queue import SimpleQueue
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture
from foreshock.model.errors import ModelError
from foreshock.model.graph import EPSILON, encoder_graph, product_graph
from foreshock.model.quantised import RECIPE, Tensors

VERSION = version("openvino")
TOKENS = 512
"""Tokens of a pass, at most. More would not be faster: the arithmetic is the limit, and the memory grows."""
_FEWEST, _SHARE = 64, 0.7
"""Few texts are parted among the threads, in passes of at most this share of what each thread has to do, but not of
fewer tokens: a pass costs as much as a dozen tokens, whatever it holds."""

_STEP = 8
"""Texts are padded to a multiple of this. It costs a few tokens a text, and lets a batch of a few dozen texts run in a
few passes instead of one for each length."""
_HIDDEN = -1e9
"""Added to the logits of padding: its share of the attention is then exactly 0."""


class Engine:
    """Turn token ids into embeddings on the CPU. Not safe for several threads; it uses `threads` of its own.

    Parameters
    ----------
    tensors
        The encoder's tensors. Where those of products are `Rounded`, products run in 8 bits.
    threads
        How many passes run at once.
    epsilon
        Added to a norm's variance.

    Attributes
    ----------
    runtime
        What could change a result beside the weights: OpenVINO's version, the precision, and what this processor
        computed of a few fixed rows. Processors with different vector instructions add up floats in other orders.
    """

    def __init__(
        self, tensors: Tensors, architecture: Architecture, *, precision: str, threads: int, epsilon: float = EPSILON
    ) -> None:
        try:
            compiled = _compile(encoder_graph(tensors, architecture, epsilon), threads)
        except (RuntimeError, KeyError, ValueError) as error:
            raise ModelError(f"OpenVINO {VERSION} cannot load the encoder: {error}") from error
        self.threads = threads
        self._infer = _requests(compiled, threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encoder") if threads > 1 else None
        self._width = architecture.width
        self.runtime = f"{precision} {RECIPE}, openvino {VERSION}, {self._fingerprint(architecture)}"

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        """Return the mean over each text's tokens, or over its `marks` (places in the text): (texts, width).

        Raises ModelError where there is not enough memory for a single text.
        """
        return self._read(rows, marks)[:, : self._width].copy()

    def embed_twice(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean over each text's tokens of the last layer, and of the middle one: (texts, width) each.

        It is the same pass. Raises as `embed` does.
        """
        found = self._read(rows, None)
        return found[:, : self._width].copy(), found[:, self._width :].copy()

    def _read(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None) -> NDArray[np.float32]:
        found = np.empty((len(rows), 2 * self._width), dtype=np.float32)

        def run(part: list[int]) -> None:
            shape = len(part), _padded(len(rows[part[0]]))
            ids, shares = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.float32)
            mask = np.full(shape, _HIDDEN, dtype=np.float32)
            for place, i in enumerate(part):
                length = len(rows[i])
                ids[place, :length] = rows[i]
                mask[place, :length] = 0
                if marks is None:
                    shares[place, :length] = 1 / length
                else:
                    shares[place, list(marks[i])] = 1 / len(marks[i])
            found[part] = _halved(self._infer, ids, mask, shares)

        parts = passes([len(row) for row in rows], self.threads)
        if self._pool is None or len(parts) < 2:
            for part in parts:
                run(part)
        else:
            list(self._pool.map(run, parts))  # the list raises what a pass raised
        return found

    def _fingerprint(self, architecture: Architecture) -> str:
        lengths = 3, 17, min(128, architecture.positions)
        rows = [[(7_919 * i + 101) % architecture.vocabulary for i in range(length)] for length in lengths]
        return hashlib.sha256(self.embed(rows).tobytes()).hexdigest()[:12]


def passes(lengths: Sequence[int], threads: int = 1) -> list[list[int]]:
    """Cut the numbers of texts into passes: texts of one padded length, as few passes as the threads can share evenly.

    The longest passes come first, because the last ones to end are then short ones. There are about 200 shapes of a
    pass. A new one costs two milliseconds, once.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    tokens: float = TOKENS
    if threads > 1:
        tokens = min(TOKENS, max(_FEWEST, _SHARE * sum(map(_padded, lengths)) / threads))
    found: list[list[int]] = []
    for length, group in groupby(order, key=lambda i: _padded(lengths[i])):
        texts = list(group)
        parts = math.ceil(len(texts) / max(1, tokens // length))
        found += [texts[len(texts) * part // parts : len(texts) * (part + 1) // parts] for part in range(parts)]
    return sorted(found, key=lambda part: -len(part) * _padded(lengths[part[0]]))


def _padded(length: int) -> int:
    """Return the length to which a text is padded. It depends on the text alone, and so does its score."""
    return -(-length // _STEP) * _STEP


def why_not_in_8_bits() -> str | None:
    """Return why this processor cannot multiply in 8 bits exactly; None where it can.

    Processors without VNNI (AVX2 alone) saturate or drop a bit; that costs up to a point of F1. So this asks for a
    product whose sums are as large as they get, and compares it with the right one.
    """
    weights = np.where(np.arange(64 * 384).reshape(64, 384) % 3 == 0, -127, 127).astype(np.int8)
    rows = np.full((4, 384), 127, dtype=np.float32)
    rows[1] = -127
    rows[2] = np.arange(384) % 255 - 127
    rows[3] = np.arange(384) % 2
    try:
        found = _requests(_compile(product_graph(weights), 1), 1)(rows)
    except RuntimeError as error:
        return f"OpenVINO {VERSION} cannot compute on this processor ({error})"
    if np.array_equal(found, rows.astype(np.int64) @ weights.T.astype(np.int64)):
        return None
    return "this processor has no instructions for exact products in 8 bits (AVX-512 VNNI, AVX-VNNI or AMX)"


def _compile(graph: ov.Model, threads: int) -> Any:
    options = {
        # Without this, processors with bf16 would compute in it.
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,
        # Where other processes run, a pinned thread waits for its core while another is idle.
        "ENABLE_CPU_PINNING": False,
    }
    return ov.Core().compile_model(graph, "CPU", options)


def _requests(compiled: Any, threads: int) -> Callable[..., NDArray[np.float32]]:
    """Return a function that runs a pass, from as many threads at once as there are requests."""
    free: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        free.put(compiled.create_infer_request())

    def infer(*inputs: NDArray[Any]) -> NDArray[np.float32]:
        request = free.get()
        try:
            request.infer(list(inputs), share_inputs=True)
            return np.array(request.get_output_tensor(0).data)  # a copy: the request is used again
        finally:
            free.put(request)

    return infer


def _halved(
    infer: Callable[..., NDArray[np.float32]],
    ids: NDArray[np.int32],
    mask: NDArray[np.float32],
    shares: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Run a pass; where memory is short, run its halves."""
    try:
        return infer(ids, mask, shares)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "alloc" not in str(error) and "memory" not in str(error):
            raise
        half = len(ids) // 2
        if half == 0:
            raise ModelError(
                f"there is not enough memory to score a text of {ids.shape[1]} tokens ({error}); free some, or set "
                "[model] threads = 1"
            ) from error
    parts = slice(None, half), slice(half, None)
    return np.concatenate([_halved(infer, ids[part], mask[part], shares[part]) for part in parts])
