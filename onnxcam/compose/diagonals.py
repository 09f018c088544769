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
    a, sizes = place.source, _sizes(place, method)
    (bent,) = vjp(op, [(slope, op.cast(a, slope))], [a])
    if bent is None:  # piecewise linear: nothing is curved
        return op.zeros_like(a), op.zeros_like(a)
    channel = place.layout.channel
    own = list(range(1, len(sizes) + 1))
    space = [i for i in own if i != channel]
    alike = channel is not None and as_narrow(op, slope, space) is not None
    kept = [i for i in own if not alike or i == channel]
    marks, positions = _marks(sizes, kept), prod(sizes[i - 1] for i in own if i not in kept)
    if marks.size > _MOST:
        raise UsageError(
            f"{method} takes a second derivative for each of the {marks.size:,} values of "
            f"{a.name!r}, and more than {_MOST:,} are too many",
            "use `method='gradcam++'`, or another `feature_layer`",
        )

    def one(body: Emitter, sums: list[Tensor], item: list[Tensor]) -> list[Tensor]:
        mark = body.cast(body.Equal(body.const(marks), item[0]), a)
        way = body.typed(body.Mul(body.Add(body.zeros_like(a), 1), mark), a)
        (second,) = vjp(body, [(slope, body.cast(way, slope))], [a])
        assert second is not None, "it was not outside"
        (third,) = vjp(body, [(second, body.cast(way, second))], [a])
        return [
            total if each is None else body.Add(total, body.Mul(body.cast(each, a), mark))
            for total, each in zip(sums, (second, third), strict=True)
        ]

    second, third = rounds(op, a, [np.arange(marks.size)], 2, one)
    return op.Div(second, float(positions)), op.Div(third, float(positions**2))


def _sizes(place: Place, method: str) -> list[int]:
    """Return the sizes of a layer's axes behind the batch.

    Raises:
        UsageError: They are not all known, or the layer is not one tensor of reals.
    """
    shape = shape_of(place.source) or (None, None)
    sizes = [d for d in shape[1:] if isinstance(d, int)]
    plain = not place.pieces and place.stored is None and place.layout.batch == 0
    if not plain or len(sizes) != len(shape) - 1:
        raise UsageError(
            f"{method} differentiates {place.source.name!r} value by value, and its sizes or its "
            "axes are not known well enough for that",
            "use `method='gradcam++'`, or another `feature_layer`",
        )
    return sizes


def _marks(sizes: list[int], kept: list[int]) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the round that each value has its turn in, int64 [1, ...]."""
    shape = [size if i in kept else 1 for i, size in enumerate(sizes, start=1)]
    return np.arange(prod(shape)).reshape(1, *shape)
