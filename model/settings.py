"""The `[model]` table of the settings. It does not import torch: commands that do not score read it too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelSettings(BaseModel):
    """Which model scores, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: str = "default"
    """`default`, `permissive`, a folder that `foreshock model finetune` wrote, or `hf:FOLDER`: a local folder of a
    Hugging Face model for sequence classification."""
    labels: tuple[str, ...] | None = None
    """What the outputs of an `hf:` model mean, in their order, for example `["positive", "negative", "neutral"]`.
    Default: as its config.json says."""
    languages: tuple[str, ...] = ("en",)
    """Languages (ISO 639-1) whose texts an `hf:` model can score. Foreshock's own weights state theirs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute: `cpu`, `cuda`, or `auto`: cuda where there is one."""
    precision: Literal["auto", "int8", "float32", "bf16"] = "auto"
    """Precision of products with weights: `int8` (CPUs), `float32`, `bf16` (GPUs), or `auto`: int8 on a CPU that
    multiplies 8-bit integers exactly, else float32. It is part of the model's identity, to which a store is bound."""
    torch_compile: bool = False
    """On a GPU, compile parts of the encoder with `torch.compile`: faster passes, a start of up to a minute. It is part
    of the identity."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How many threads score on a CPU. `auto`: the cores that the process may use, or its cgroup's quota if that is
    lower. No score depends on it."""
    per_company: bool = True
    """Whether a text that names two or more companies is scored once more for each of them, so that the series of each
    has the mood towards it. False: the text's score counts for all of them. Weights without a head for companies
    (from `foreshock model finetune`) have only the text's score."""

    def loading(self) -> dict[str, Any]:
        """Return the keyword arguments of `load_scorer`."""
        return self.model_dump(exclude={"per_company"})
