"""Build the charts' specifications in the language of Vega-Lite: dictionaries that go to the browser as they are.

    line = layer(frame, mark("line", color="#1f2328"), x="at:T", y=field("value:Q", title=None))
    Picture([line], height=190).specification()

A field is written `name:T` (a time), `name:Q` (a quantity) or `name:N` (a name). The words are Vega-Lite's
(https://vega.github.io/vega-lite/docs/). Altair has the same as objects. It copies them many times while it puts a
chart together, and that took two thirds of the time in which a reader waited for *Topic*. The tests check each kind of
chart against the schema of Vega-Lite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

Layer = dict[str, Any]

_TYPES = {"T": "temporal", "Q": "quantitative", "N": "nominal"}


def mark(kind: str, **style: Any) -> dict[str, Any]:
    """Return a mark, such as `bar` or `line`, with its style."""
    return {"type": kind, **style}


def field(shorthand: str, **options: Any) -> dict[str, Any]:
    """Return a field of the data with its `scale`, `axis` or `title`."""
    name, kind = shorthand.rsplit(":", 1)
    return {"field": name, "type": _TYPES[kind], **options}


def value(constant: Any) -> dict[str, Any]:
    """Return a value that is the same for each row."""
    return {"value": constant}


def selected(selection: str, yes: Any, no: Any) -> dict[str, Any]:
    """Return the value `yes` for the rows that a selection has, else `no`."""
    return {"condition": {"param": selection, "value": yes, "empty": False}, "value": no}


def where(name: str, yes: Any, no: Any) -> dict[str, Any]:
    """Return the value `yes` for the rows whose field `name` is true, else `no`."""
    return {"condition": {"test": f"datum.{name}", "value": yes}, "value": no}


def layer(data: pd.DataFrame, kind: dict[str, Any], *, params: Sequence[dict[str, Any]] = (), **channels: Any) -> Layer:
    """Return one layer of a chart.

    `channels`: for each channel (`x`, `y2`, `opacity`) a field as text, or what this module returns. `params`: the
    selections that a reader makes on this layer.
    """
    encoding = {name: _channel(name, wanted) for name, wanted in channels.items()}
    return {"data": data, "mark": kind, "encoding": encoding, "params": list(params)}


class Picture:
    """A chart of several layers, the last of them on top."""

    def __init__(self, layers: Sequence[Layer], height: int, **options: Any) -> None:
        self.layers = list(layers)
        self._height, self._options = height, options

    def below_top(self, layers: Sequence[Layer]) -> Picture:
        """Return the chart with further layers below its last one."""
        return Picture([*self.layers[:-1], *layers, self.layers[-1]], self._height, **self._options)

    def specification(self) -> dict[str, Any]:
        """Return the specification. `datasets` are in Arrow's format, by a name that follows from their content.

        If a name stayed while its data changed, the browser would draw what it takes for appended rows only.
        """
        datasets: dict[str, bytes] = {}
        names: dict[int, str] = {}  # several layers draw the same data
        drawn, params = [], []
        for place, one in enumerate(self.layers):
            data = one["data"]
            if id(data) not in names:
                rows = _arrow(data)
                names[id(data)] = hashlib.md5(rows, usedforsecurity=False).hexdigest()
                datasets[names[id(data)]] = rows
            made = {"data": {"name": names[id(data)]}, "mark": one["mark"], "encoding": one["encoding"]}
            if one["params"]:
                made["name"] = f"layer_{place}"
                params += [{**param, "views": [made["name"]]} for param in one["params"]]
            drawn.append(made)
        return {
            "layer": drawn,
            "height": self._height,
            "width": "container",
            "padding": {"left": 2, "right": 6, "top": 4, "bottom": 2},
            "config": {
                "axis": {"labelFontSize": 11, "minExtent": 38, "maxExtent": 38},
                "mark": {"tooltip": None},  # only what is under the pointer has one
                "view": {"stroke": None, "clip": False},
            },
            **({"params": params} if params else {}),
            **self._options,
            "datasets": datasets,
        }


def _channel(name: str, wanted: Any) -> Any:
    if not isinstance(wanted, str):
        return wanted
    found = field(wanted)
    return {"field": found["field"]} if name in ("x2", "y2") else found  # it has the type of x or y


def _arrow(data: pd.DataFrame) -> bytes:
    columns = [pa.array(column, from_pandas=True) for _, column in data.items()]
    table = pa.table(columns, names=list(data.columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
