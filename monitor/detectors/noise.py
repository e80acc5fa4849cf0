"""The noise of windows: estimated robustly from the past residuals of all topics.

A residual `r` with the size `x` (1 / number of its events) has the variance c x + t. `c` is the noise of one event: 1
if events are independent, and more if they cluster. `t` is the wandering of the baseline, which no number of events
averages out. See docs/detection.md#2-how-sure-a-difference-is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray

SAMPLES = 42
"""Days of residuals for the estimate. Each day has one look, at an hour that moves from day to day."""
FEWEST_RESIDUALS = 60
"""Residuals of a window that an estimate needs."""
MOST_RESIDUALS = 20_000
"""Residuals that are used at most. More would not change the estimate, so those of thousands of topics are thinned."""
LATELY = 7
"""Last days that a topic's dispersion leaves out, so that a crisis does not raise its own noise."""


def fit_noise(residual: npt.NDArray[np.float16], *, tails: bool = False) -> tuple[float, float] | None:
    """Fit c, t >= 0 to residuals and their sizes, (day, topic, 2). Return None if there are too few.

    Residuals are grouped by similar size. The spread of a group is robust (16 % and 84 % points): a crisis in a tenth
    of the residuals has little influence. With `tails`, it is the mean square without the farthest hundredth instead:
    where events come in bursts, quantiles see only the quiet between them.
    """
    all_r, all_x = residual[..., 0].ravel(), residual[..., 1].ravel()
    known = np.flatnonzero(~np.isnan(all_r))
    if len(known) < FEWEST_RESIDUALS:
        return None
    known = known[:: -(-len(known) // MOST_RESIDUALS)]
    r, x = all_r[known].astype(np.float64), all_x[known].astype(np.float64)
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, min(8, max(2, len(order) // 60)))
    xs = np.array([x[g].mean() for g in groups])
    if tails:
        squares = [np.minimum(r[g] ** 2, quantiles(r[g] ** 2, 0.99)[0]) for g in groups]
        ys = np.array([max(float(q.mean()), 1e-6) for q in squares])
    else:
        low, high = np.array([quantiles(r[g], 0.16, 0.84) for g in groups]).T
        ys = np.maximum(((high - low) / 1.989) ** 2, 1e-6)
    w = np.array([len(g) for g in groups]) / ys**2
    c, t = line(xs, ys, w)
    return max(c, 0.3), t


def quantiles(values: FloatArray, *parts: float) -> list[float]:
    """Return the values below which `parts` (from 0 to 1) of all lie, interpolated linearly.

    Invariant: they are those of `numpy.quantile`, bit for bit, which takes ten times as long for a few hundred values.
    """
    ordered, last, found = np.sort(values), len(values) - 1, list[float]()
    for at in (last * part for part in parts):
        below = int(at)
        low, high, past = float(ordered[below]), float(ordered[min(below + 1, last)]), at - below
        found.append(low + (high - low) * past if past < 0.5 else high - (high - low) * (1 - past))
    return found


def line(x: FloatArray, y: FloatArray, w: FloatArray) -> tuple[float, float]:
    """Fit c, t >= 0 of the line y = c x + t by least squares with the weights `w`."""
    sw, sx, sy = w.sum(), (w * x).sum(), (w * y).sum()
    sxx, sxy = (w * x * x).sum(), (w * x * y).sum()
    spread = sw * sxx - sx * sx
    if spread <= 1e-12 * sw * sxx:
        return 0.0, float(sy / sw)
    c = float((sw * sxy - sx * sy) / spread)
    t = float((sy - c * sx) / sw)
    if t < 0:
        return float(sxy / sxx), 0.0
    return (c, t) if c >= 0 else (0.0, float(sy / sw))


def dispersion(residual: npt.NDArray[np.float16], noise: FloatArray, k: int) -> FloatArray:
    """Estimate each topic's variance over that of all topics, from residuals and sizes, (day, topic, 2).

    A topic with few days is shrunk towards the mean of all topics, and one with fewer than 8 days has 1. `noise`: c and
    t of this window. `k`: the number of the running hour, which gives the age of each row.
    """
    age = (k // 24 - np.arange(SAMPLES)) % SAMPLES
    kept = residual[age >= LATELY].astype(np.float64)
    r, x = kept[..., 0], kept[..., 1]
    out = np.ones(r.shape[1])
    days = (~np.isnan(r)).sum(axis=0)
    enough: BoolArray = days >= 8
    if enough.sum() < 5:
        return out
    z = np.abs(r[:, enough]) / np.sqrt(noise[0] * x[:, enough] + noise[1])
    logs = 2 * np.log(np.maximum(np.nanmedian(z, axis=0) / 0.6745, 0.05))
    error = 5.44 / days[enough]  # the variance of log(median²) of so many normal residuals
    weight = 1 / (error + 0.05)
    mean = np.average(logs, weights=weight)
    own = max(float(np.average((logs - mean) ** 2 - error, weights=weight)), 0.0)
    out[enough] = np.exp(np.clip(own / (own + error) * (logs - mean), -2.5, 2.5))
    return out
