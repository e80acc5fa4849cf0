"""How noisy windows are: measured from past residuals, robustly, over all topics.

A residual `r` with its size `x` (one over the events it rests on) has variance c x + t: `c` is events' own noise, 1 if
they were independent and more where they cluster; `t` is the wandering that no number of events averages out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foreshock.monitor.arrays import BoolArray, FloatArray

SAMPLES = 42
"""Days of residuals from which the variance is estimated, one look a day at an hour that moves."""
FEWEST_RESIDUALS = 60
MOST_RESIDUALS = 20_000
"""More would not change the estimate; thousands of topics are thinned to so many."""
LATELY = 7
"""Days left out of a topic's own dispersion, so that a topic in a crisis does not widen its own measure."""


def fit_noise(residual: npt.NDArray[np.float16], *, tails: bool = False) -> tuple[float, float] | None:
    """c, t >= 0 of (day, topic, 2) residuals and sizes; None where there are too few.

    The spread is robust (16 % and 84 % points) in groups of like size: a crisis in a tenth of them moves it little.
    With `tails` it is the mean square instead, of all but the farthest hundredth: of what comes in bursts, quantiles
    see the quiet between them.
    """
    r, x = residual[..., 0].ravel(), residual[..., 1].ravel()
    known = np.flatnonzero(~np.isnan(r))
    if len(known) < FEWEST_RESIDUALS:
        return None
    known = known[:: -(-len(known) // MOST_RESIDUALS)]
    r, x = r[known].astype(np.float64), x[known].astype(np.float64)
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, min(8, max(2, len(order) // 60)))
    xs = np.array([x[g].mean() for g in groups])
    if tails:
        squares = [np.minimum(r[g] ** 2, np.quantile(r[g] ** 2, 0.99)) for g in groups]
        ys = np.array([max(float(q.mean()), 1e-6) for q in squares])
    else:
        low, high = np.array([np.quantile(r[g], [0.16, 0.84]) for g in groups]).T
        ys = np.maximum(((high - low) / 1.989) ** 2, 1e-6)
    w = np.array([len(g) for g in groups]) / ys**2
    c, t = line(xs, ys, w)
    return max(c, 0.3), t


def line(x: FloatArray, y: FloatArray, w: FloatArray) -> tuple[float, float]:
    """c, t >= 0 of the line y = c x + t, by least squares of weights `w`."""
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
    """Each topic's variance over the pool's, from (day, topic, 2) residuals, shrunk by how many days it has.

    `k`: the running hour, which says how old each row is.
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
    error = 5.44 / days[enough]  # variance of the log of a squared median of that many normals
    weight = 1 / (error + 0.05)
    mean = np.average(logs, weights=weight)
    own = max(float(np.average((logs - mean) ** 2 - error, weights=weight)), 0.0)
    out[enough] = np.exp(np.clip(own / (own + error) * (logs - mean), -2.5, 2.5))
    return out
