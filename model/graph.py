"""The encoder as a graph for OpenVINO, in 32-bit floats or with products in 8 bits.

The one idea: sums of integers do not depend on the order in which they are added up. So a product in 8 bits rounds the
rows of its input, with a scale for each token (Dettmers et al. 2022, "LLM.int8()", vector-wise), and the weights
have a scale for each row. All else runs in 32-bit floats, row by row. The rounding is written as a FakeQuantize with
constant bounds, over rows that were scaled before. OpenVINO then multiplies in 8 bits with what the processor has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import Type
from openvino import opset13 as op

from foreshock.model.architecture import Architecture
from foreshock.model.quantised import Rounded, Tensors

EPSILON = 1e-12
"""BERT's addition to the variance of a norm. RoBERTa's is larger."""
_LARGEST = 127.0
"""Rows are scaled so that their largest value becomes this. -128 stays unused: the scale is the same both ways."""


def encoder_graph(tensors: Tensors, architecture: Architecture, epsilon: float = EPSILON) -> ov.Model:
    """Build the graph of an encoder. epsilon: added to a norm's variance.

    It takes token ids (texts, tokens) int32; for each token what is added to the logits of all that attend to it
    (texts, tokens) float32: 0, or a large negative number for padding; and the share of each token in the result
    (texts, tokens) float32. It returns the shares' sum over the last layer's output, and beside it that over the middle
    layer's, (texts, 2 width): with 1/length for each token of a text its mean, with 1/marks at the marks of a company
    what a head reads of the company.
    """
    ids = op.parameter([-1, -1], Type.i32, name="ids")
    mask = op.parameter([-1, -1], Type.f32, name="mask")
    share = op.parameter([-1, -1], Type.f32, name="share")
    graph = _Graph(tensors, architecture, op.unsqueeze(mask, _whole([1, 2])), epsilon)
    hidden = graph.norm(op.add(graph.words(ids), graph.positions(ids)), "norm")
    outputs = [hidden]
    for layer in range(architecture.layers):
        outputs.append(graph.block(outputs[-1], f"layers.{layer}"))
    shares = op.unsqueeze(share, _whole([2]))
    last, middle = (
        op.reduce_sum(op.multiply(hidden, shares), _whole([1]), False)
        for hidden in (outputs[-1], outputs[architecture.layers // 2])
    )
    return ov.Model([op.concat([last, middle], 1)], [ids, mask, share], "encoder")


def product_graph(weights: NDArray[np.int8]) -> ov.Model:
    """Build a graph of one product in 8 bits: whole numbers (rows, columns) float32 times `weights` transposed."""
    rows = op.parameter([-1, weights.shape[1]], Type.f32, name="rows")
    ones = np.ones((len(weights), 1), dtype=np.float32)
    return ov.Model([_product(_to_8_bits(rows), Rounded(weights, ones))], [rows], "product")


class _Graph:
    """The parts of the graph, which read their weights by name."""

    def __init__(self, tensors: Tensors, architecture: Architecture, mask: Any, epsilon: float) -> None:
        self._tensors = tensors
        self._mask = mask
        self._epsilon = epsilon
        self._heads = architecture.heads
        self._width = architecture.width

    def words(self, ids: Any) -> Any:
        table = self._tensors["words.weight"]
        if isinstance(table, Rounded):
            found = op.convert(op.gather(_constant(table.values), ids, _scalar(0)), Type.f32)
            return op.multiply(found, op.gather(_constant(table.scales), ids, _scalar(0)))
        return op.gather(_constant(table), ids, _scalar(0))

    def positions(self, ids: Any) -> Any:
        tokens = op.gather(op.shape_of(ids, "i32"), _whole([1]), _scalar(0))
        return op.slice(_constant(self._floats("positions.weight")), _whole([0]), tokens, _whole([1]), _whole([0]))

    def norm(self, rows: Any, name: str) -> Any:
        scaled = op.mvn(rows, _whole([-1]), True, self._epsilon, "inside_sqrt")
        return op.add(
            op.multiply(scaled, _constant(self._floats(f"{name}.weight"))), _constant(self._floats(f"{name}.bias"))
        )

    def block(self, hidden: Any, name: str) -> Any:
        seen = self.linear(self._attend(self.linear(hidden, f"{name}.query_key_value")), f"{name}.attention_out")
        hidden = self.norm(op.add(hidden, seen), f"{name}.attention_norm")
        inner = op.gelu(self.linear(hidden, f"{name}.inner"), "erf")
        return self.norm(op.add(hidden, self.linear(inner, f"{name}.outer")), f"{name}.outer_norm")

    def linear(self, rows: Any, name: str) -> Any:
        weights, bias = self._tensors[f"{name}.weight"], _constant(self._floats(f"{name}.bias"))
        if not isinstance(weights, Rounded):
            return op.add(op.matmul(rows, _constant(weights), False, True), bias)
        largest = op.reduce_max(op.absolute(rows), _whole([-1]), True)
        # A row of zeros has no largest value; any scale leaves it zero.
        scale = op.divide(op.maximum(largest, _scalar(1e-12)), _scalar(_LARGEST))
        return op.add(op.multiply(_product(_to_8_bits(op.divide(rows, scale)), weights), scale), bias)

    def _attend(self, joined: Any) -> Any:
        size = self._width // self._heads
        parts = op.reshape(joined, _long([0, 0, 3, self._heads, size]), True)
        split = op.split(op.transpose(parts, _long([2, 0, 3, 1, 4])), _long(0), 3)
        query, key, value = (op.squeeze(split.output(i), _long([0])) for i in range(3))
        seen = op.transpose(op.scaled_dot_product_attention(query, key, value, self._mask), _long([0, 2, 1, 3]))
        return op.reshape(seen, _long([0, 0, self._width]), True)

    def _floats(self, name: str) -> NDArray[np.float32]:
        tensor = self._tensors[name]
        assert not isinstance(tensor, Rounded), name
        return tensor


def _to_8_bits(rows: Any) -> Any:
    low, high = _scalar(-_LARGEST - 1), _scalar(_LARGEST)
    return op.fake_quantize(rows, low, high, low, high, 256)


def _product(rows: Any, weights: Rounded) -> Any:
    floats = op.multiply(op.convert(_constant(weights.values), Type.f32), _constant(weights.scales))
    return op.matmul(rows, floats, False, True)


def _constant(values: NDArray[Any]) -> Any:
    return op.constant(np.array(values, order="C"))  # a copy: what the graph keeps must not change


def _scalar(value: float) -> Any:
    return _constant(np.array(value, dtype=np.int32 if isinstance(value, int) else np.float32))


def _whole(values: Sequence[int]) -> Any:
    return _constant(np.array(values, dtype=np.int32))


def _long(values: Sequence[int] | int) -> Any:
    return _constant(np.array(values, dtype=np.int64))
