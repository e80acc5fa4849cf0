"""The `[model]` table of the settings. It does not import torch: commands that do not score read it too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from foreshock.model.adapted import NAMES
from foreshock.model.huggingface.folder import PREFIX

if TYPE_CHECKING:
    from foreshock.model.score_cache import ScoreCache


def absolute(weights: str) -> str:
    """Return weights, as `[model] weights` has them, with the absolute path of their folder or file."""
    if weights in NAMES:
        return weights
    kind = PREFIX if weights.startswith(PREFIX) else ""
    return kind + str(Path(weights.removeprefix(kind)).expanduser().absolute())


class ModelSettings(BaseModel):
    """Which model scores, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: str = "default"
    """`default`, `permissive`, `chinese`, a folder that `foreshock model finetune` wrote, a file that
    `foreshock model adapt` wrote, or `hf:FOLDER`: a local folder of a Hugging Face model for sequence classification.
    """
    labels: tuple[str, ...] | None = None
    """What the outputs of an `hf:` model mean, in their order, for example `["positive", "negative", "neutral"]`.
    Default: as its config.json says."""
    languages: tuple[str, ...] = ("en",)
    """Languages (ISO 639-1) whose texts an `hf:` model can score. Foreshock's own weights state theirs."""
    also: tuple[Literal["chinese"], ...] = Field(default=(), max_length=1)
    """Further weights beside `weights`. `["chinese"]` scores Chinese stories too: each text is scored by the weights
    that read its script. They are part of the identity, to which a store is bound. For research and non-commercial use
    only."""
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

    score_cache: str = "auto"
    """Where `replay` and `backtest` keep the scores of texts, so that they encode a text once, whatever the store, the
    topics and the budget: a file, `auto` (`scores.db` in the user's folder for caches), or `off`. It holds no texts:
    a row is a hash of a text with its scores, severity, novelty and the signs of its embedding, which say roughly what
    it is about. Only you can read a file that is made here, and it may be deleted at any time."""
    score_cache_mib: int = Field(default=1024, ge=1)
    """The size to which that file grows, in MiB: about 10,000 texts for each. A full one forgets texts at random."""

    def from_anywhere(self) -> ModelSettings:
        """Return the settings with the absolute path of the weights, for a process that may run in another folder."""
        return self.model_copy(update={"weights": absolute(self.weights)})

    def loading(self) -> dict[str, Any]:
        """Return the keyword arguments of `load_scorer`."""
        return self.model_dump(exclude={"per_company", "score_cache", "score_cache_mib"})

    def kept_scores(self) -> ScoreCache:
        """Return the cache of scores, not opened yet. `score_cache` is not "off"."""
        from platformdirs import user_cache_path

        from foreshock.model.score_cache import ScoreCache

        path = user_cache_path("foreshock") / "scores.db" if self.score_cache == "auto" else Path(self.score_cache)
        return ScoreCache(path, limit=self.score_cache_mib << 20)
