"""The `[model]` table of the settings. It does not import torch: commands that do not score read it too."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ModelSettings(BaseModel):
    """Which model scores, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: str = "default"
    """`default`, `permissive`, or a folder that `foreshock model finetune` wrote."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute: `cpu`, `cuda`, or `auto`: cuda where there is one."""
