"""Answer what a topic's series was over time, with its usual range, for the charts.

SQL sums each step in whole numbers, and numpy takes running sums of the steps. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, text

from foreshock.monitor.store import switches
from foreshock.monitor.units import DAY

USUAL_DAYS = 28
"""A topic's usual negative share is that of this many days before the last day, as in the detectors."""

LEAST_EVENTS = 30
"""The fewest events in `USUAL_DAYS` that give a usual share."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A topic over time, in equal steps. Each array has one entry for each step.

    `polarity` and `negative` are means over the `window` that ends with the step, or NaN if it has no event. `_low` and
    `_high` bound the usual range: two standard deviations of as many events either way, or NaN while learning.
    """

    start: npt.NDArray[np.int64]
    step: int
    window: int
    stories: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    polarity: npt.NDArray[np.float64]
    polarity_low: npt.NDArray[np.float64]
    polarity_high: npt.NDArray[np.float64]
    negative: npt.NDArray[np.float64]
    negative_low: npt.NDArray[np.float64]
    negative_high: npt.NDArray[np.float64]
    bad: npt.NDArray[np.float64]
    """The negative mass of each step: how many of its events are negative."""
    seen: npt.NDArray[np.int64]
    """The events of the window that ends with each step."""
    bad_seen: npt.NDArray[np.float64]
    """The negative mass of that window: how much bad news there was."""
    bad_usual: npt.NDArray[np.float64]
    """The negative mass of as long a time in the `USUAL_DAYS` before the last day, or NaN while learning."""


def curve(connection: Connection, topic: str, start: int, end: int, *, step: int, window: int) -> Curve:
    """Return a topic's series in [start, end), in steps of `step` (microseconds).

    Each value is a mean over the `window` before the step's end. `window` is a multiple of `step`.
    """
    start -= start % step
    lead = USUAL_DAYS * DAY + DAY + window
    grid_start = start - lead - (start - lead) % step
    size = -(-(end - grid_start) // step)
    sums = np.zeros((size, 6), np.int64)
    query = {"topic": topic, "since": grid_start, "until": end, "step": step}
    for row in connection.execute(_CURVE, query):
        sums[(int(row[0]) - grid_start) // step] = [int(x or 0) for x in row[1:]]
    total = np.vstack([np.zeros((1, 6), np.int64), np.cumsum(sums, axis=0)])
    last = np.arange((start - grid_start) // step, size) + 1
    usual_by = _by_model(connection, topic, total, last, grid_start, end, step)
    seen = (total[last] - total[last - window // step]).astype(np.float64)
    day = max(DAY // step, 1)
    before = np.maximum(last - day, 0)
    # A topic younger than `USUAL_DAYS` is judged by the time since its first story.
    since = np.maximum(before - USUAL_DAYS * DAY // step, int(np.argmax(total[1:, 0] > 0)))
    since = np.minimum(since, before)
    past = (total[before] - total[since]).astype(np.float64)
    for after, again in usual_by:  # what is usual of the model that scores then
        past = np.where(after[:, None], again[before] - again[since], past)
    with np.errstate(invalid="ignore", divide="ignore"):
        events = seen[:, 1]
        polarity = np.where(events > 0, (seen[:, 3] - seen[:, 2]) / events / 10_000, np.nan)
        negative = np.where(events > 0, seen[:, 2] / events / 10_000, np.nan)
        usual = np.where(seen[:, 5] > 0, seen[:, 4] / seen[:, 5] / 10_000, np.nan)
        share = np.where(past[:, 1] >= LEAST_EVENTS, past[:, 2] / past[:, 1] / 10_000, np.nan)
        mean = (past[:, 3] - past[:, 2]) / past[:, 1] / 10_000
        noise = np.maximum((past[:, 3] + past[:, 2]) / past[:, 1] / 10_000 - mean * mean, 0.05)
        wide = 2 * np.sqrt(noise / np.maximum(events, 1))
        bad_usual = np.where(
            past[:, 1] >= LEAST_EVENTS, past[:, 2] / 10_000 * (window // step) / (before - since), np.nan
        )
        wide_share = 2 * np.sqrt(share * (1 - share) / np.maximum(events, 1))
    shown = sums[(start - grid_start) // step :]
    return Curve(
        start=(np.arange(len(last), dtype=np.int64) * step + start),
        step=step,
        window=window,
        stories=shown[:, 0],
        events=shown[:, 1],
        polarity=polarity,
        polarity_low=np.maximum(usual - wide, -1),
        polarity_high=np.minimum(usual + wide, 1),
        negative=negative,
        negative_low=np.maximum(share - wide_share, 0),
        negative_high=np.minimum(share + wide_share, 1),
        bad=shown[:, 2] / 10_000,
        seen=seen[:, 1].astype(np.int64),
        bad_seen=seen[:, 2] / 10_000,
        bad_usual=bad_usual,
    )


def _by_model(
    connection: Connection,
    topic: str,
    total: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    grid_start: int,
    end: int,
    step: int,
) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]]:
    """Return, for each switch of the model, which steps come after it, and the running sums as its model has them."""
    found = []
    for switch in switches.done(connection):
        at = switch.in_force_from or 0
        if not grid_start < at < end:
            continue
        sums = np.diff(total, axis=0)
        query = {"topic": topic, "since": max(switch.since, grid_start), "until": min(at, end), "step": step}
        for row in connection.execute(_RESCORED, {**query, "switch": switch.number}):
            place = (int(row[0]) - grid_start) // step
            sums[place, 2:4] += [int(row[1] or 0), int(row[2] or 0)]
        found.append((grid_start + last * step > at, np.vstack([total[:1], np.cumsum(sums, axis=0)])))
    return found


_RESCORED = text(
    "SELECT b.start - b.start % :step AS at, sum(r.negative - b.negative), sum(r.positive - b.positive) "
    "FROM buckets b JOIN rescored_buckets r ON r.switch = :switch AND r.topic = b.topic AND r.start = b.start "
    "AND r.events = b.events "  # else it was counted of other stories: of an hour (rolling.py), or before a fill
    "WHERE b.topic = :topic AND b.start >= :since AND b.start < :until GROUP BY b.start - b.start % :step"
)

_CURVE = text(
    "SELECT start - start % :step AS at, sum(stories), sum(events), sum(negative), sum(positive), "
    "sum(CAST(baseline AS BIGINT) * events), sum(CASE WHEN baseline IS NULL THEN 0 ELSE events END) "
    "FROM buckets WHERE topic = :topic AND start >= :since AND start < :until "
    "GROUP BY start - start % :step"
)
