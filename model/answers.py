"""Turn embeddings into answers: the three probabilities, how grave bad news is, and the sentiment towards a company.

The one idea: the heads are small, so they are computed in 64-bit floats, row by row, on the host. A row's answer cannot
depend on the rows beside it: its sums run over its own numbers in their order, and exponentials are taken one by one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.calibration import NEUTRAL, Calibration, read_calibration
from foreshock.model.rowwise import Floats, row_logits, row_softmax


class Answers:
    """The heads of one set of weights, with what was fitted for them.

    Parameters
    ----------
    tensors
        Of the weights, by name; those of `head` and, where there are such heads, `heads.severity` and `heads.entity`.
    card
        `model.json`.

    Attributes
    ----------
    reads_companies
        Whether the head for companies is used. If not, a company has the text's own score.

    Raises KeyError, TypeError or ValueError where tensors and card do not fit each other.
    """

    def __init__(self, tensors: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        self._text = _linear(tensors, "head")
        self._calibration = read_calibration(card["calibration"])
        if self._calibration.style is not None:
            self._calibration.style.shares(np.zeros((1, self._text[0].shape[1]), dtype=np.float32))  # checks its width
        self.reads_companies = bool(card.get("heads", {}).get("companies", True))
        self.has_heads = any(name.startswith("heads.") for name in tensors)
        if self.has_heads:
            self._severity, self._entity = _linear(tensors, "heads.severity"), _linear(tensors, "heads.entity")
            self._scale = float(card["heads"]["severity_scale"])
            self._towards = read_calibration(card["heads"]["entity"])

    def of_texts(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities (n, 3) of embeddings (n, width), and the expected severity as a fourth column."""
        scores = calibrated_rows(row_logits(embedded, *self._text), self._calibration, embedded)
        if not self.has_heads:
            return scores
        # A higher level is never likelier than a lower one.
        levels = np.minimum.accumulate(row_logits(embedded, *self._severity) * self._scale, axis=1)
        grave = [sum(_sigmoid(level) for level in row) for row in levels.tolist()]
        return np.column_stack([scores, np.array(grave, dtype=np.float32)])

    def logits(self, embedded: NDArray[np.float32]) -> Floats:
        """The logits (n, 3) of embeddings (n, width), before the calibration."""
        return row_logits(embedded, *self._text)

    def calibrated(self, logits: Floats, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities (n, 3) of logits (n, 3) of embeddings (n, width)."""
        return calibrated_rows(logits, self._calibration, embedded)

    def scales(self, logits: Floats, embedded: NDArray[np.float32]) -> Floats:
        """By what the calibration multiplies the logits of each row, (n,)."""
        return np.array(scales(logits, self._calibration, embedded))

    def adapted(self, weight: NDArray[np.float32], bias: NDArray[np.float32], offset: float) -> Answers:
        """Return these answers with a change of the text's head: weight (3, width), bias (3,), and what is added to
        the calibration's offset. The other heads stay.
        """
        made = copy(self)
        made._text = self._text[0] + weight, self._text[1] + bias
        made._calibration = replace(self._calibration, offset=self._calibration.offset + offset)
        return made

    def of_companies(self, gathered: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities (n, 3) of the mean over the marks before a company's name (n, width)."""
        return calibrated_rows(row_logits(gathered, *self._entity), self._towards, gathered)


def _linear(tensors: Mapping[str, Any], name: str) -> tuple[Floats, Floats]:
    weight, bias = (np.asarray(tensors[f"{name}.{part}"], dtype=np.float64) for part in ("weight", "bias"))
    return weight, bias


def calibrated_rows(logits: Floats, calibration: Calibration, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same as `calibration.calibrated`, without torch."""
    rows = []
    for row, scale in zip(logits.tolist(), scales(logits, calibration, embedded), strict=True):
        first = max(row)
        rows.append(row_softmax([(logit - first) * scale for logit in row]))
    return np.array(rows, dtype=np.float32).reshape(-1, logits.shape[1])


def scales(logits: Floats, calibration: Calibration, embedded: NDArray[np.float32]) -> list[float]:
    """Return by what the logits of each row are multiplied, the inverse of its temperature."""
    style = calibration.style
    resembled: list[list[float]] = [[]] * len(logits) if style is None else style.shares(embedded).tolist()
    found = []
    for row, shares in zip(logits.tolist(), resembled, strict=True):
        second, first = sorted(row)[-2:]
        offset = calibration.offset + math.fsum(map(operator.mul, shares, calibration.offsets))
        slope = calibration.slope + math.fsum(map(operator.mul, shares, calibration.slopes))
        if row.index(first) == NEUTRAL:
            offset, slope = offset + calibration.neutral_offset, slope + calibration.neutral_slope
        found.append(_softplus(offset + slope * (first - second)))
    return found


def _softplus(value: float) -> float:
    return value if value > 30 else math.log1p(math.exp(value))


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
