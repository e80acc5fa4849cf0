"""Adapt the head of weights to a desk's labels, and refuse it where that does not help.

The one idea: whatever is chosen is chosen without the rows that judge it. Each row is judged by a head that was fitted,
with all its choices, on the rows of the other groups (nested cross-validation), so the figures are those of the whole
procedure, and no row is lost to a split. The head that is written is fitted on all rows in the same way.

It is refused where the judged rows lose, and where the built-in check (check.py) loses more than a point of weighted
F1: a desk's rows do not say how other news should be read.

Invariant: the same labels give the same file, byte for byte, in whatever order they stand; tests/test_model_adapting.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model import adapted
from foreshock.model.answers import Answers
from foreshock.model.comparing import set_of, was_trained_on
from foreshock.model.errors import ModelError
from foreshock.model.evaluation import measure
from foreshock.model.huggingface.folder import PREFIX
from foreshock.model.labels import LABELS
from foreshock.model.reference import figures_of
from foreshock.model.scorer import EncoderEngine, Scorer, load_scorer, quantise
from foreshock.model.storage import WeightsFolder, open_weights
from foreshock.model.training.check import built_in_check
from foreshock.model.training.desk_labels import DeskLabels, folds
from foreshock.model.training.head_fitting import Change, Floats, Rows, Whitening, fit, one_thread

STRENGTHS = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0)
"""Pulls towards the shipped head that are tried, from strong to weak."""
FOLDS, FOLDS_OF_FEW, FEW = 5, 10, 200
"""Rows are judged in FOLDS parts, fewer than FEW rows in FOLDS_OF_FEW."""
INNER = 5
"""Parts of the rows from which the pull is chosen."""
MOST_LOST = 0.01
"""The weighted F1 that the built-in check may lose."""
_AT_ONCE = 128
