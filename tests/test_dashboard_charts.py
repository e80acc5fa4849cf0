"""What the charts draw: the data and the specification that Vega-Lite gets."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import altair as alt
import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.dashboard import alert_chart, charts, compared, dots, model_marks, noted, spans
from foreshock.dashboard.vega import Picture
from foreshock.monitor.store.alert_windows import AlertCurve
from foreshock.monitor.store.curves import Curve
from foreshock.monitor.store.notes import Note
from foreshock.monitor.store.switches import Change
from foreshock.monitor.store.views import AlertRow, EventRow, StoryRow

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
    drawn = charts.negative_share(curve(), [rule], dark=False, until=HOURS * HOUR)
    assert not [one for one in drawn.layers if {"when", "label"} <= set(one["data"])]
    assert spans.labelled([rule, alert(80)], 0, HOURS * HOUR) == spans.labelled([alert(80)], 0, HOURS * HOUR)


def turns(hours: list[int]) -> list[dict[str, Any]]:
    """The moments of change that the chart of the share marks."""
    drawn = charts.negative_share(curve(), [alert(hour) for hour in hours], dark=False, until=HOURS * HOUR)
    found = max((one["data"] for one in drawn.layers if {"when", "label"} <= set(one["data"])), key=len)
    return [dict(row) for row in found.to_dict("records")]


@settings(max_examples=15)
@given(st.lists(st.integers(0, HOURS - 1), min_size=1, max_size=8))
def test_every_change_is_marked_and_no_words_lie_over_others(hours: list[int]) -> None:
    rows = turns(hours)
    assert len(rows) == len(hours)
    assert all(row["when"].startswith("changed ") for row in rows)
    apart = HOURS // charts.WORDS_IN_CHART  # type: ignore[attr-defined]
    # The words stand right of their line, or left of it at the right edge and where another line would cross them.
    words = [
        (hour - apart, hour) if row["left"] else (hour, hour + apart)
        for hour, row in zip(sorted(hours), rows, strict=True)
        if row["label"]
    ]
    assert words
    assert all(begin >= 0 and end <= HOURS for begin, end in words)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(sorted(words)))


def kinds() -> dict[str, Picture]:
    """One chart of each kind, with everything that can be on it."""
    end, changed = HOURS * HOUR, [alert(40), alert(HOURS - 2)]
    alone = AlertCurve(
        curve().start, HOUR, 24 * HOUR, np.full(HOURS, 0.2), np.ones(HOURS, np.int64), usual=0.3, low=0.1, high=0.5
    )
    told = [EventRow(StoryRow("Gold", "", "Wire", 3 * HOUR, scores), ()) for scores in (None, (7_000, 2_000, 1_000))]
    options: dict[str, Any] = {"dark": False, "until": end}
    standing = [Note(1, "gold", at * HOUR, "our press conference", "Ada") for at in (9, HOURS - 1)]
    both = {"gold": curve(), "oil": curve()}
    polarity = charts.polarity(curve(), changed, **options)
    return {
        "polarity": polarity,
        "notes": noted.onto(polarity, standing, 0, end, dark=True, words=True),
        "another model": model_marks.onto(
            polarity, [Change(9 * HOUR, "one", "two"), Change(end - HOUR, "two", "one")], 0, end, dark=True, words=True
        ),
        "surge": charts.surge(curve(), changed, **options),
        "volume": charts.volume(curve(), changed, **options),
        "negative": charts.negative_share(curve(), changed, **options),
        "dots": dots.draw(told, changed, 0, end, **options),
        **{f"compared by {name}": compared.draw(both, name, dark=True) for name in compared.MEASURES},
        "alert": alert_chart.draw(alone, alert(40), **options),
        "gap": alert_chart.gap(curve(), replace(alert(40), kind="silence"), **options),
    }


@pytest.mark.parametrize("name", kinds())
def test_each_kind_of_chart_is_as_vega_lite_wants_it(name: str) -> None:
    drawn = kinds()[name].specification()
    datasets = drawn.pop("datasets")
    alt.LayerChart.from_dict(drawn)  # it raises an error where the schema does not allow something
    with pytest.raises(jsonschema.ValidationError):
        alt.LayerChart.from_dict(drawn | {"layer": [{**drawn["layer"][0], "mark": "no such mark"}]})
    columns = {name: set(pa.ipc.open_stream(rows).read_all().column_names) for name, rows in datasets.items()}
    for one in drawn["layer"]:
        wanted = [channel for channels in one["encoding"].values() for channel in _each(channels)]
        fields = {channel["field"] for channel in wanted if "field" in channel}
        assert fields <= columns[one["data"]["name"]], "each field is in the layer's data"
    views = {one["name"] for one in drawn["layer"] if "name" in one}
    assert {view for param in drawn.get("params", []) for view in param["views"]} == views


def _each(channel: Any) -> list[dict[str, Any]]:
    return channel if isinstance(channel, list) else [channel]


def test_the_name_of_data_follows_from_its_content() -> None:
    end = HOURS * HOUR
    first, again = (charts.volume(curve(), dark=False, until=end).specification() for _ in range(2))
    assert first == again
    other = charts.volume(replace(curve(), bad=np.full(HOURS, 0.4)), dark=False, until=end).specification()
    assert first["layer"] != other["layer"], "the browser draws the chart anew"
