"""Boxes of the numbers that a detector writes, in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor

if TYPE_CHECKING:  # what is no detector does not look for one
    from onnxcam.analysis.detectors.decoding import Decoding


def decoded(op: Emitter, numbers: Tensor, how: Decoding) -> Tensor:
    """Return the boxes of numbers [N, R, 4], float32: left, top, right, bottom in pixels.

    The same as :class:`onnxcam.analysis.detectors.decoding.Decoding` on arrays.

    Args:
        op: Emitter.
        numbers: What the model writes.
        how: How it is read.
    """
    value = op.cast(numbers, np.float32)
    if how.order != (0, 1, 2, 3):
        value = op.Gather(value, np.array(how.order), axis=2)
    if any(v != 1 for v in how.variances):
        value = op.Mul(value, np.array(how.variances, np.float32))
    if any(how.bends):
        halves = [op.Slice(value, starts=[i], ends=[i + 2], axes=[2]) for i in (0, 2)]
        bent = [_BENDS[b](op, t) for b, t in zip(how.bends, halves, strict=True)]
        value = op.Concat(*bent, axis=2)
    scaled = op.MatMul(op.Mul(value, how.factor[None]), how.matrix)
    return op.Add(scaled, how.offset[None])


def _sigmoids(op: Emitter, x: Tensor) -> Tensor:
    return op.Mul(op.Sigmoid(x), np.float32(2))


def _squared(op: Emitter, x: Tensor) -> Tensor:
    twice = _sigmoids(op, x)
    return op.Mul(twice, twice)


_BENDS: dict[str, Callable[[Emitter, Tensor], Tensor]] = {
    "": lambda op, x: x,
    "exp": lambda op, x: op.Exp(op.Min(x, np.float32(4.135))),
    "relu": lambda op, x: op.Relu(x),
    "sigmoid": lambda op, x: op.Sigmoid(x),
    "tanh": lambda op, x: op.Tanh(x),
    "double": lambda op, x: op.Sub(_sigmoids(op, x), np.float32(0.5)),
    "square": _squared,
}
