"""Many gradients in one graph, one after another: a Scan over what is different each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.methods.registry import Axes

Array: TypeAlias = np.ndarray[Any, Any]
_PRIME, _SALTS = 2**31 - 1, (48271, 69621)
SlopeAt: TypeAlias = Callable[[Emitter, Tensor], Tensor]


def rounds(
    op: Emitter,
    x: Tensor,
    items: Sequence[Array],
    states: int,
    one: Callable[[Emitter, list[Tensor], list[Tensor]], list[Tensor]],
) -> list[Tensor]:
    """Return what is left of some sums after as many rounds as there are items.

    Only one round is in memory at a time. What depends on no item is written once, outside.

    Args:
        op: Emitter of the graph or of a subgraph.
        x: A tensor of the shape and dtype of the sums, which begin at 0.
        items: What is different in each round: arrays with the rounds as their first axis.
        states: How many sums there are.
        one: ``one(op, sums, items)`` -> the sums after a round.
    """
    kind, shape = dtype_of(x), shape_of(x)
    sums = [op.variable("sum", kind, shape) for _ in range(states)]
    each = [op.variable("item", item.dtype, item.shape[1:]) for item in items]
    body = op.body([*sums, *each], name="round")
    graph = body.close([body.cast(s, x) for s in one(body, sums, each)])
    begin = [op.zeros_like(x)] * states
    found = op.Scan(
        *begin, *(op.const(item) for item in items),
        body=graph, num_scan_inputs=len(items), _outputs=states,
    )  # fmt: skip
    left = list(found) if isinstance(found, tuple | list) else [found]
    for tensor in left:
        tensor.dtype, tensor.shape = kind, shape
    return left


def normal(op: Emitter, x: Tensor, axes: Axes, number: Tensor) -> Tensor:
    """Return normal noise of deviation 1 for one input, the same wherever the file is run.

    ONNX leaves it to a runtime which numbers its RandomNormal draws. Here whole numbers are sent
    three times through h -> h (h + a) + b modulo 2^31 - 1, and two of them make one by Box and
    Muller (1958).

    Args:
        op: Emitter.
        x: The inputs: noise is as one of them, 1 along the batch.
        axes: Their axes.
        number: Which noise: int64 [], from 1 on.
    """
    own = (axes.channel, *axes.space)
    dims = [op.dim(x, i) if i in own else 1 for i in range(len(own) + 1)]
    count = op.scalar(op.ReduceProd(op.dims(*dims), keepdims=1))
    places = op.Range(op.const(np.int64(0)), count, op.const(np.int64(1)))
    places = op.Add(op.Mul(op.Add(places, 1), 7919), op.Mul(number, 104729))
    first, second = (_uniform(op, places, salt) for salt in _SALTS)
    radius = op.Sqrt(op.Mul(op.Log(first), -2))
    flat = op.Mul(radius, op.Cos(op.Mul(second, 2 * np.pi)))
    return op.cast(op.Reshape(flat, op.dims(*dims)), x)


def _uniform(op: Emitter, whole: Tensor, salt: int) -> Tensor:
    """Return numbers between 0 and 1, float32, from whole ones."""
    for turn in range(3):
        mixed = op.Add(op.Mul(whole, op.Add(whole, salt + turn)), 12345 * (turn + 1) + salt)
        whole = op.Mod(mixed, _PRIME)
    return op.Div(op.Add(op.cast(whole, np.float32), 0.5), float(_PRIME))


def deviation(op: Emitter, x: Tensor, axes: Axes, noise: float) -> Tensor:
    """Return a part of the range of each input, from its smallest to its largest value."""
    own = sorted((axes.channel, *axes.space))
    span = op.Sub(op.ReduceMax(x, axes=own, keepdims=1), op.ReduceMin(x, axes=own, keepdims=1))
    return op.Mul(span, noise)
