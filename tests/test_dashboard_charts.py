"""What the charts draw: the data that Vega-Lite gets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.dashboard import charts, spans
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.views import AlertRow

HOUR, HOURS = 3_600_000_000, 240


def curve() -> Curve:
    flat, counts = np.full(HOURS, 0.3), np.ones(HOURS, np.int64)
    start = np.arange(HOURS, dtype=np.int64) * HOUR
    return Curve(start, HOUR, 24 * HOUR, counts, counts, flat, flat, flat, flat, flat, flat, flat, counts, flat, flat)


def alert(hour: int) -> AlertRow:
    at = hour * HOUR
    about = ("drift", "worse", "firing", "replay", at, at, at, None, 0.5, 0.3, 4.0, at, at)
    return AlertRow(f"a{hour}", "gold", *about, evidence=(), sources=2, events=5, sentence="Gold is worse.")


def test_a_rule_estimates_no_change_so_none_is_marked() -> None:
    rule = replace(alert(40), kind="critical")
    drawn = charts.negative_share(curve(), [rule], dark=False, until=HOURS * HOUR).to_dict()
    assert not [rows for rows in drawn["datasets"].values() if rows and "when" in rows[0] and "label" in rows[0]]
    assert spans.labelled([rule, alert(80)], 0, HOURS * HOUR) == spans.labelled([alert(80)], 0, HOURS * HOUR)


def turns(hours: list[int]) -> list[dict[str, Any]]:
    """The moments of change that the chart of the share marks."""
    drawn = charts.negative_share(curve(), [alert(hour) for hour in hours], dark=False, until=HOURS * HOUR).to_dict()
    found: list[dict[str, Any]] = max(
        (rows for rows in drawn["datasets"].values() if rows and "label" in rows[0] and "when" in rows[0]), key=len
    )
    return found


@settings(max_examples=15)
@given(st.lists(st.integers(0, HOURS - 1), min_size=1, max_size=8))
def test_every_change_is_marked_and_no_words_lie_over_others(hours: list[int]) -> None:
    rows = turns(hours)
    assert len(rows) == len(hours)
    assert all(row["when"].startswith("changed ") for row in rows)
    apart = HOURS // charts.WORDS_IN_CHART
    # The words stand right of their line, or left of it at the right edge and where another line would cross them.
    words = [
        (hour - apart, hour) if row["left"] else (hour, hour + apart)
        for hour, row in zip(sorted(hours), rows, strict=True)
        if row["label"]
    ]
    assert words
    assert all(begin >= 0 and end <= HOURS for begin, end in words)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(words)))
