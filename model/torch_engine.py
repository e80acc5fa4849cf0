"""Run the encoder with torch: on a GPU, and on processors that OpenVINO has no kernels for.

The one idea: how a library adds up and rounds depends on the shapes that it gets (which kernel, how many threads, what
is left over beside whole vectors). So every pass here has the same shape, whatever the caller asks for: texts are laid
end to end and filled up to a fixed number of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from foreshock.model.architecture import Architecture
from foreshock.model.encoder import Encoder, Packed, pack
from foreshock.model.heads import Marks, find_marks, gather

TOKENS = {"cpu": 512, "cuda": 16_384}
"""Tokens of a pass, by device. Not an argument: with another shape the last digits of scores would change.

On a CPU more tokens would not be faster, because arithmetic is the limit already, and a single text would be slower. A
GPU needs many tokens to be busy.
"""


class TorchEngine:
    """Turn token ids into embeddings. The same interface as `Engine`.

    Parameters
    ----------
    precision
        `float32`, without TF32 on a GPU: the reference. `bf16`: products of 16-bit floats by autocast; norms, the
        softmax and what is added up between the layers stay in 32 bits.
    compiled
        Whether torch compiles what works token by token. It takes up to a minute once, and rounds otherwise.

    Attributes
    ----------
    runtime
        What is part of the model's identity beside the weights.
    machine
        For which processor and GPU torch chooses its kernels, which may round otherwise than another's. It is no part
        of the identity, so that a store can be moved to another machine; scores that are kept bit for bit need it too.

    Raises RuntimeError where the tensors do not fit the architecture.
    """

    def __init__(
        self,
        tensors: Mapping[str, NDArray[np.float32]],
        architecture: Architecture,
        *,
        device: str,
        threads: int,
        precision: Literal["float32", "bf16"] = "float32",
        compiled: bool = False,
    ) -> None:
        with torch.device("meta"):  # no time spent on initial values that are replaced at once
            encoder = Encoder(architecture)
        body = {name: torch.from_numpy(array) for name, array in tensors.items() if not name.startswith("heads.")}
        encoder.load_state_dict(body, assign=True)
        self._device = torch.device(device)
        if device == "cpu":
            torch.set_num_threads(threads)
        self._encoder = encoder.to(self._device).eval()
        if compiled:
            # Not the whole network: attention has other shapes in each pass, and would be compiled anew for each.
            for layer in self._encoder.layers:
                layer.after_attention = torch.compile(layer.after_attention, dynamic=False)  # type: ignore[assignment, arg-type]
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
        self._total = TOKENS[device]
        self.threads = threads
        self.runtime = f"{precision}, torch {torch.__version__}, {device}" + (", compiled" if compiled else "")
        gpu = f", {torch.cuda.get_device_name(self._device)}" if device == "cuda" else ""
        self.machine = torch.backends.cpu.get_cpu_capability() + gpu

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        """Return the mean over each text's tokens, or over its `marks` (places in the text): (texts, width)."""
        return self._read(rows, marks)[:, : self._encoder.architecture.width].copy()

    def embed_twice(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the mean over each text's tokens of the last layer, and of the middle one: (texts, width) each."""
        found, width = self._read(rows, None), self._encoder.architecture.width
        return found[:, :width].copy(), found[:, width:].copy()

    @torch.inference_mode()
    def _read(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None) -> NDArray[np.float32]:
        parts = list(_passes([len(row) for row in rows], self._total))
        done = [
            self._run([rows[i] for i in part], None if marks is None else [marks[i] for i in part]) for part in parts
        ]
        found = np.empty((len(rows), 2 * self._encoder.architecture.width), dtype=np.float32)
        for part, embedded in zip(parts, done, strict=True):  # fetched only now: a GPU has all passes queued by then
            found[part] = embedded.cpu().numpy()
        return found

    def _run(self, rows: list[Sequence[int]], marks: list[Sequence[int]] | None) -> torch.Tensor:
        packed = pack(rows, self._total)
        here = packed
        if self._device.type == "cuda":
            tensors = (packed.ids, packed.places, packed.lengths)
            ids, places, lengths = (t.pin_memory().to(self._device, non_blocking=True) for t in tensors)
            here = Packed(ids, places, lengths, packed.runs)
        with self._autocast:
            layers = self._encoder.last_and_middle(here)
        if marks is None:
            return torch.cat([self._encoder.pool(hidden, here) for hidden in layers], dim=1)
        stand = find_marks(packed, marks)
        there = Marks(stand.places.to(self._device), stand.counts.to(self._device))
        return torch.cat([gather(hidden, there) for hidden in layers], dim=1)


def _passes(lengths: Sequence[int], total: int) -> Iterator[list[int]]:
    """Sort the texts by length and yield their numbers in parts of at most `total` tokens."""
    part: list[int] = []
    filled = 0
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if filled + lengths[i] > total:
            yield part
            part, filled = [], 0
        part.append(i)
        filled += lengths[i]
    if part:
        yield part
