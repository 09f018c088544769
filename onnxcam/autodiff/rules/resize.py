"""Resize and Upsample.

Resizing is linear and works axis by axis: y = M x along every axis. Its own operator tells M: the
rows of an identity matrix, resized in the same way, are the columns of M. So every mode, coordinate
transformation, antialiasing and region of interest has the right gradient, for sizes known or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.emit import Emitter, Tensor, const_value, dtype_of, shape_of, static_shape
from onnxcam.errors import UnsupportedOp

_SMALL = 64  # rows of an identity matrix that is written as a constant
_UNRESIZED = ("axes", "keep_aspect_ratio_policy", "extrapolation_value", "scales")


@vjp("Resize", "Upsample")
def resize(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = M^T dy along every resized axis."""
    x = node.inputs[0]
    factors = _block_factors(node)
    if factors is not None:
        return (_summed_blocks(op, dy, factors), *[None] * (len(node.inputs) - 1))
    for axis in _resized_axes(node):
        dy = _along(op, dy, _matrix(op, node, axis), axis)
    return (op.typed(dy, x), *[None] * (len(node.inputs) - 1))


def _resized_axes(node: NodeView) -> list[int]:
    """Return the axes whose matrix is not known to be the identity."""
    x, y = (shape_of(t) for t in (node.inputs[0], node.outputs[0]))
    assert x is not None, "the rank of a resized tensor is known"
    given = _given_axes(node, len(x))
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return given
    scales, sizes = (_static(node, name) for name in ("scales", "sizes"))
    kept = []
    for place, axis in enumerate(given):
        same = y is not None and x[axis] is not None and x[axis] == y[axis]
        same = same or (scales is not None and scales[place] == 1)
        same = same or (sizes is not None and sizes[place] == x[axis])
        if not same:
            kept.append(axis)
    return kept


def _given_axes(node: NodeView, rank: int) -> list[int]:
    return [a % rank for a in node.attr("axes") or range(rank)]


def _place(node: NodeView, name: str) -> int | None:
    """Return the index of an input that has another place in every version."""
    names = {
        "Upsample": ("X", "scales"),
        "Resize": ("X", "scales") if node.opset < 11 else ("X", "roi", "scales", "sizes"),
    }[node.op_type]
    return names.index(name) if name in names else None


def _setting(node: NodeView, name: str) -> Any:
    """Return scales, sizes or roi: an array, a tensor, or None where it is left out."""
    if name in node.raw.attrs:
        return np.asarray(node.attr(name), np.float32)
    place = _place(node, name)
    tensor = None if place is None else node.input(place)
    value = const_value(tensor)
    if value is not None:
        return value if value.size else None
    return tensor


def _static(node: NodeView, name: str) -> Any:
    value = _setting(node, name)
    return value if isinstance(value, np.ndarray) else None


def _entry(op: Emitter, value: Any, index: int) -> Any:
    """Return one entry of a vector: an array or a tensor of one element."""
    if isinstance(value, np.ndarray):
        return op.const(value[index : index + 1])
    return op.Slice(value, starts=[index], ends=[index + 1], axes=[0])


def _matrix(op: Emitter, node: NodeView, axis: int) -> Tensor:
    """Return M^T [in, out] of one axis."""
    x = node.inputs[0]
    size = op.dim(x, axis)
    kind = dtype_of(x) or np.dtype(np.float32)
    if isinstance(size, int) and (size <= _SMALL or op.opsets[""] < 9):
        square = op.const(np.eye(size, dtype=kind)[None, None])
    else:
        zeros = gs.Constant("", np.zeros(1, kind))
        eye = op.EyeLike(op.ConstantOfShape(op.dims(size, size), value=zeros))
        square = op.Reshape(eye, op.dims(1, 1, size, size))
    resized = _resized_identity(op, node, square, axis)
    return op.Reshape(resized, op.dims(size, -1))


def _resized_identity(op: Emitter, node: NodeView, square: Tensor, axis: int) -> Tensor:
    """Resize [1, 1, in, in] along its last axis as the node resizes this one."""
    x, y = node.inputs[0], node.outputs[0]
    rank = len(shape_of(x) or ())
    place = _given_axes(node, rank).index(axis)
    attributes = {k: v for k, v in node.raw.attrs.items() if k not in _UNRESIZED}
    scales, sizes, roi = (_setting(node, name) for name in ("scales", "sizes", "roi"))
    if sizes is not None and node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        scales, sizes = _common_scale(op, node, sizes), None
        place_of_scale = 0
    else:
        place_of_scale = place
    last: dict[str, Any] = {}
    if sizes is not None:
        last["sizes"] = op.dims(1, 1, op.dim(x, axis), op.dim(y, axis))
    else:
        entry = _entry(op, scales, place_of_scale)
        last["scales"] = op.Concat(np.ones(3, np.float32), entry, axis=0)
        if "scales" in node.raw.attrs:
            last["scales"] = [1.0, 1.0, 1.0, float(scales[place])]
    if roi is not None and node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        count = len(_given_axes(node, rank))
        kind = dtype_of(roi) or np.dtype(np.float32)
        zeros, ones = np.zeros(3, kind), np.ones(3, kind)
        ends = _entry(op, roi, place), _entry(op, roi, count + place)
        last["roi"] = op.Concat(zeros, ends[0], ones, ends[1], axis=0)
    return op.call(node.op_type, [square], {**attributes, **last})


def _common_scale(op: Emitter, node: NodeView, sizes: Any) -> Any:
    """Return the one scale [1] that keeps the aspect ratio.

    The output is rounded to the nearest size, but that of given scales is rounded down: both must
    be known to be the same.
    """
    x = static_shape(node.inputs[0])
    if x is None or not isinstance(sizes, np.ndarray):
        raise _refused(node, "its sizes must be known when the gradient is built")
    axes = _given_axes(node, len(x))
    small = np.array([x[a] for a in axes], np.float32)
    smaller = node.attr("keep_aspect_ratio_policy") == "not_larger"
    ratio = sizes.astype(np.float32) / small
    scale = ratio.min() if smaller else ratio.max()
    if any(np.floor(scale * s) != np.floor(scale * s + np.float32(0.5)) for s in small):
        raise _refused(node, "a size would be rounded up")
    return np.array([scale], np.float32)


def _refused(node: NodeView, why: str) -> UnsupportedOp:
    policy = node.attr("keep_aspect_ratio_policy")
    return UnsupportedOp(
        f"no gradient for Resize with keep_aspect_ratio_policy {policy!r}, node {node.name!r}: "
        f"{why}",
        "give the sizes that come out, with the policy stretch",
    )


def _along(op: Emitter, dy: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """Multiply M^T [in, out] with one axis of dy."""
    rank = len(shape_of(dy) or ())
    if axis == rank - 1:
        return op.MatMul(dy, op.Transpose(matrix, perm=[1, 0]))
    if axis == rank - 2:
        return op.MatMul(matrix, dy)
    perm = [i for i in range(rank) if i != axis]
    moved = op.Transpose(dy, perm=[*perm, axis])
    product = op.MatMul(moved, op.Transpose(matrix, perm=[1, 0]))
    back = [*perm, axis]
    return op.Transpose(product, perm=[back.index(i) for i in range(rank)])


def _block_factors(node: NodeView) -> list[int] | None:
    """Return the factors of a nearest upsampling that repeats every value in a block.

    The usual case by far: with whole factors these modes all give equal blocks.
    """
    x, y = (shape_of(t) for t in (node.inputs[0], node.outputs[0]))
    rank = len(x or ())
    if x is None or y is None or rank not in (3, 4, 5) or node.attr("mode") != "nearest":
        return None
    scales = _static(node, "scales")
    if scales is None or len(scales) != rank or any(s != int(s) for s in scales):
        return None
    modern = node.op_type == "Resize" and node.opset >= 11
    where = node.attr("coordinate_transformation_mode") if modern else "asymmetric"
    rounding = node.attr("nearest_mode") if modern else "floor"
    even = (where, rounding) == ("asymmetric", "floor") or (
        where in ("half_pixel", "half_pixel_symmetric") and rounding.startswith("round")
    )
    factors = [int(s) for s in scales]
    return factors[2:] if even and factors[:2] == [1, 1] and min(factors) >= 1 else None


def _summed_blocks(op: Emitter, dy: Tensor, factors: list[int]) -> Tensor:
    """Sum the blocks: their mean times their size, which ONNX Runtime pools fast."""
    mean = op.AveragePool(dy, kernel_shape=factors, strides=factors)
    return op.Mul(mean, int(np.prod(factors)))
