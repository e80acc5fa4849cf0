"""Run a model of any kind that transformers knows, such as DeBERTa, in 32-bit floats, or bf16 on a GPU.

The one idea: each text is a pass of its own, without padding, on one thread; as many passes run at once as there are
threads. So a score cannot depend on the texts beside it or on the number of threads. Batches would be faster, but a
padded text gets other last digits in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foreshock.model.choosing import Precision
from foreshock.model.errors import ModelError
from foreshock.model.huggingface.folder import Folder


class TransformersEngine:
    """Turn token ids into logits. The same interface as `Engine`, but what it returns are the model's own logits.

    Raises ModelError where transformers is not installed, or cannot load the folder without running code from it.
    """

    def __init__(self, folder: Folder, *, device: str, precision: Precision, threads: int) -> None:
        try:
            import transformers
        except ImportError as error:
            kind = folder.config.get("model_type")
            raise ModelError(
                f"{folder.path}: a model of the kind {kind} needs transformers: pip install 'foreshock[hf]'"
            ) from error
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        try:
            model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder.path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:  # transformers raises many kinds
            raise ModelError(f"{folder.path}: transformers cannot load it: {_first_line(error)}") from error
        if missing := sorted(found["missing_keys"]):
            raise ModelError(
                f"{folder.path}: has no {missing[0]}, so it was not trained to classify texts; fine-tune it first, or "
                "choose a model for sequence classification"
            )
        if device == "cpu":
            torch.set_num_threads(1)
        self._model = model.to(device).eval()
        self._device = torch.device(device)
        self._labels = int(model.config.num_labels)
        self.threads = threads if device == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="encoder") if self.threads > 1 else None
        kernels = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name()
        self._bf16 = precision == "bf16"
        self.runtime = f"{precision}, transformers {transformers.__version__}, torch {torch.__version__}, {kernels}"

    def embed(self, rows: Sequence[Sequence[int]], marks: Sequence[Sequence[int]] | None = None) -> NDArray[np.float32]:
        """Return the logits of each text, (texts, labels); `marks` are not looked at."""
        # The longest first: the last pass to end is then a short one.
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        mapped = map if self._pool is None else self._pool.map
        done = mapped(self._run, [rows[i] for i in order])
        found = np.empty((len(rows), self._labels), dtype=np.float32)
        for i, logits in zip(order, done, strict=True):
            found[i] = logits
        return found

    def _run(self, row: Sequence[int]) -> Any:
        # Both hold for one thread.
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            ids = torch.tensor([row], device=self._device)
            return self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].float().cpu().numpy()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
