"""Second and third derivatives of a score at a layer, of each value of the layer by itself."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np

from onnxcam.autodiff.cotangents import as_narrow
from onnxcam.autodiff.engine import vjp
from onnxcam.compose.places import Place
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.methods.gradient.rounds import rounds

Pair: TypeAlias = tuple[Tensor, Tensor]
_MOST = 8192  # rounds: one for each value, or channel


def diagonals(op: Emitter, slope: Tensor, place: Place, method: str) -> Pair:
    """Return d2y/dA_i^2 and d3y/dA_i^3 of a layer A, each of its shape.

    With e_i of 1 at i and 0 elsewhere, H e_i is the gradient of (g . e_i), and its i-th value the
    second derivative; the gradient of (H e_i . e_i) has the third one there. Both are written
    into a Scan over i. Where the gradient g is the same at all positions of a channel, as behind
    a mean over them, so are both, and a round takes a channel at once.

    Args:
        op: Emitter of the graph or of a subgraph.
        slope: The gradient of the score at the layer, as the engine wrote it.
        place: The layer.
        method: Who asks.

    Raises:
        UsageError: The layer holds integers, its axes are products, its size is not known, or it
            is too large.
    """
    a = place.source
    shape, layout = shape_of(a), place.layout
    own = [i for i in range(len(shape or ())) if i != layout.batch]
    sizes = [d for d in (shape or ())[1:] if isinstance(d, int)]
    if place.pieces or place.stored is not None or layout.batch != 0 or len(sizes) != len(own):
        raise UsageError(
            f"{method} differentiates {a.name!r} value by value, and its sizes or its axes are not "
            "known well enough for that",
            "use `method='gradcam++'`, or another `feature_layer`",
        )
    (bent,) = vjp(op, [(slope, op.cast(a, slope))], [a])
    if bent is None:  # piecewise linear: nothing is curved
        return op.zeros_like(a), op.zeros_like(a)
    space = [i for i in own if i != layout.channel]
    narrow = layout.channel is not None and as_narrow(op, slope, space) is not None
    kept = [layout.channel if narrow else i for i in (own[:1] if narrow else own)]
    count = prod(sizes[i - 1] for i in kept if i is not None)
    if count > _MOST:
        raise UsageError(
            f"{method} takes a second derivative for each of the {count:,} values of {a.name!r}, "
            f"and more than {_MOST:,} are too many",
            "use `method='gradcam++'`, or another `feature_layer`",
        )
    positions = prod(sizes[i - 1] for i in space) if narrow else 1
    marks = _marks(sizes, [i for i in kept if i is not None])

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        mark = body.cast(body.Equal(body.const(marks), item[0]), a)
        way = body.typed(body.Mul(body.Add(body.zeros_like(a), 1), mark), a)
        (second,) = vjp(body, [(slope, body.cast(way, slope))], [a])
        assert second is not None, "it was not outside"
        (third,) = vjp(body, [(second, body.cast(way, second))], [a])
        found: list[Any] = [second, third]
        return [
            total if each is None else body.Add(total, body.Mul(body.cast(each, a), mark))
            for total, each in zip(sums, found, strict=True)
        ]

    second, third = rounds(op, a, [np.arange(count)], 2, one)
    return op.Div(second, float(positions)), op.Div(third, float(positions**2))


def _marks(sizes: list[int], kept: list[int]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the round that each value has its turn in, int64 [1, ...]."""
    shape = [size if i in kept else 1 for i, size in enumerate(sizes, start=1)]
    return np.arange(prod(shape)).reshape(1, *shape)
