"""Calibrate probabilities after training, on validation rows, so that a score of 0.8 is right in eight cases of ten.

The one idea: temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") with a temperature that
depends on how clear the case is (Tomani et al. 2022, "Parameterized Temperature Scaling"). Contrastive training pulls
texts into clusters: clear cases get almost equal logits, and doubtful cases lie far apart. One temperature for both
would leave the clear cases underconfident and the doubtful cases overconfident.

A model that learned several conventions is not equally sure under each: it may doubt news too much and releases too
little. Which labelled set a text resembles is guessed from its embedding (style.py), and may change the temperature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foreshock.model.errors import LabelledDataError
from foreshock.model.labels import LABELS
from foreshock.model.style import Style

if TYPE_CHECKING:
    import torch

NEUTRAL = LABELS.index("neutral")
Styled = tuple[Style, NDArray[np.float32]]
"""A style, and the embeddings (n, width) of the rows."""
FOLDS = 5
"""Folds of `cross_fitted`."""
PULL = 3e-4
"""How strongly what depends on style and class is pulled to zero: a set of 60 rows shall not decide much."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The parameters of softmax(logits * softplus(offset + slope * margin)).

    `margin` is the highest logit minus the second highest. The predicted class never changes. With `slope` 0 this is
    plain temperature scaling; the defaults leave the softmax unchanged. With a style, the means of `offsets` and
    `slopes` (one a set) over the sets that the text resembles are added to offset and slope. Where the text is called
    neutral, so are `neutral_offset` and `neutral_slope`: the sets differ most in what they call neutral.
    """

    offset: float = math.log(math.e - 1)
    slope: float = 0.0
    neutral_offset: float = 0.0
    neutral_slope: float = 0.0
    style: Style | None = None
    offsets: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()


def read_calibration(stated: Mapping[str, Any]) -> Calibration:
    """Read what `asdict` of a Calibration wrote. Raises TypeError or ValueError where it is not that, or not finite."""
    style = stated.get("style")
    parts: dict[str, Any] = {"style": None if style is None else Style(style["weight"], tuple(style["bias"]))}
    parts |= {name: tuple(stated.get(name, ())) for name in ("offsets", "slopes")}
    found = Calibration(**{**stated, **parts})
    numbers = (found.offset, found.slope, found.neutral_offset, found.neutral_slope, *found.offsets, *found.slopes)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{found} is not finite")
    sets = 0 if found.style is None else len(found.style.bias)
    if len(found.offsets) != sets or len(found.slopes) != sets:
        raise ValueError(f"`offsets` and `slopes` need {sets} numbers, one for each set of `style`")
    return found


def fit_calibration(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    sources: NDArray[np.int64] | None = None,
    styled: Styled | None = None,
) -> Calibration:
    """Fit the calibration with the lowest negative log-likelihood on logits (n, 3) and labels (n,).

    `sources` (n,): the set of each row. Each set gets the same weight, however many rows it has. Default: each row
    gets the same weight. `styled`: a style and the rows' embeddings, if the temperature may depend on it. Raises
    LabelledDataError for fewer than two classes: the likelihood has no maximum there.
    """
    check_classes(labels)
    return _fit(logits, labels, np.zeros(len(labels), dtype=np.int64) if sources is None else sources, styled)


def cross_fitted(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    sources: NDArray[np.int64],
    styled: Styled | None = None,
) -> NDArray[np.float32]:
    """Return probabilities (n, 3), each row calibrated by a fit on the other four fifths of the rows.

    Metrics of these probabilities estimate how a calibration on all rows does on unseen rows. The arguments are those
    of `fit_calibration`. Raises LabelledDataError as `fit_calibration` does.
    """
    check_classes(labels)
    import torch

    n = len(labels)
    fold = np.random.default_rng(n).permutation(n) % FOLDS
    found = np.empty((n, logits.shape[1]), dtype=np.float32)
    for left_out in range(min(FOLDS, n)):
        rows, others = np.flatnonzero(fold == left_out), np.flatnonzero(fold != left_out)
        theirs, held = (None if styled is None else (styled[0], styled[1][part]) for part in (others, rows))
        made = _fit(logits[others], labels[others], sources[others], theirs)
        found[rows] = calibrated(torch.from_numpy(logits[rows]), made, None if held is None else held[1]).numpy()
    return found


def check_classes(labels: NDArray[np.int64]) -> None:
    """Check that validation labels (n,) have two classes or more. Raises LabelledDataError where they do not."""
    if len(np.unique(labels)) < 2:
        raise LabelledDataError(
            f"calibration needs validation rows of at least two classes; these {len(labels)} rows have fewer: "
            "add a set with rows of other classes"
        )


def _fit(
    logits: NDArray[np.float32], labels: NDArray[np.int64], sources: NDArray[np.int64], styled: Styled | None
) -> Calibration:
    import torch
    from torch.nn import functional

    _, place, rows = np.unique(sources, return_inverse=True, return_counts=True)
    weight = torch.from_numpy(1 / (rows[place] * len(rows)))
    scores = torch.from_numpy(logits.astype(np.float64))
    truth = torch.from_numpy(labels)
    shares = torch.zeros(len(labels), 0, dtype=torch.float64)
    if styled is not None:
        neutral = (scores.argmax(dim=1, keepdim=True) == NEUTRAL).double()
        shares = torch.cat([torch.from_numpy(styled[0].shares(styled[1])), neutral], dim=1)
    more = shares.shape[1]
    start = [Calibration().offset, *[0.0] * (1 + 2 * more)]
    values = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        # A weak pull towards zero: without it, separable data would send both parameters to infinity.
        penalty = 1e-4 * values[:2].square().sum() + PULL * values[2:].square().sum()
        offset, slope = (values[i] + shares @ values[2 + i * more : 2 + (i + 1) * more] for i in range(2))
        losses = functional.cross_entropy(scores * _scale(scores, offset, slope), truth, reduction="none")
        value = weight @ losses + penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    for _ in range(5):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    offset, slope, *rest = values.detach().tolist()
    if styled is None:
        return Calibration(offset, slope)
    (*offsets, neutral_offset), (*slopes, neutral_slope) = rest[:more], rest[more:]
    return Calibration(offset, slope, neutral_offset, neutral_slope, styled[0], tuple(offsets), tuple(slopes))


def calibrated(
    logits: torch.Tensor, calibration: Calibration, embedded: NDArray[np.float32] | None = None
) -> torch.Tensor:
    """Return the calibrated probabilities (n, 3) of logits (n, 3). A calibration with a style needs the embeddings."""
    import torch

    neutral = logits.argmax(dim=1) == NEUTRAL
    offset = calibration.offset + calibration.neutral_offset * neutral
    slope = calibration.slope + calibration.neutral_slope * neutral
    if calibration.style is not None:
        assert embedded is not None, "this calibration depends on the style of a text: give its embedding"
        shares = torch.from_numpy(calibration.style.shares(embedded))
        offset = (offset + shares @ torch.tensor(calibration.offsets, dtype=torch.float64)).to(logits.dtype)
        slope = (slope + shares @ torch.tensor(calibration.slopes, dtype=torch.float64)).to(logits.dtype)
    return torch.softmax(logits * _scale(logits, offset, slope), dim=-1)


def _scale(logits: torch.Tensor, offset: torch.Tensor | float, slope: torch.Tensor | float) -> torch.Tensor:
    from torch.nn import functional

    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return functional.softplus(offset + slope * (first - second))[:, None]
