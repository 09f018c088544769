"""Convolutions that carry a state from call to call."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.expand import expanded
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules.contrib import through
from onnxcam.graph.emit import Emitter, Tensor, shape_of


@vjp("CausalConvWithState")
def causal_conv_with_state(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """y_t = f(sum_k w_k x_(t+k) + b), by its definition where the number of channels is known."""
    shape = shape_of(node.inputs[0])
    if shape is not None and isinstance(shape[1], int):
        return expanded(op, node, *dys)
    return through(op, node, _from_slices(op, node)[: len(dys)], dys)


def _from_slices(op: Emitter, node: NodeView) -> list[Tensor | None]:
    """Write output and state without a Conv, whose number of groups must be known."""
    x, w = node.inputs[:2]
    b, past = node.input(2), node.input(3)  # [N, C, T], [C, 1, K], [C], [N, C, K - 1]
    taps = op.Squeeze(op.dims(op.dim(w, 2)), axes=[0])
    if past is None:
        carried = op.Reshape(op.Sub(taps, 1), [1])
        size = op.dims(op.dim(x, 0), op.dim(x, 1), carried)
        past = op.Expand(op.cast(op.const(0.0), x), size)
    row = op.Concat(past, x, axis=2)
    times = op.Range(np.int64(0), op.Squeeze(op.dims(op.dim(x, 2)), axes=[0]), np.int64(1))
    reach = op.Range(np.int64(0), taps, np.int64(1))
    slices = op.Gather(row, op.Add(op.Unsqueeze(times, axes=[1]), reach), axis=2)  # [N, C, T, K]
    y = op.ReduceSum(op.Mul(slices, w), axes=[3], keepdims=0)
    if b is not None:
        y = op.Add(y, op.Unsqueeze(b, axes=[1]))
    if node.attr("activation") != "none":
        y = op.Mul(y, op.Sigmoid(y))
    return [y, op.Slice(row, op.dims(op.dim(x, 2)), [np.iinfo(np.int64).max], [2])]
