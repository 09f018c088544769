"""Resize and Upsample.

Resizing is linear and works axis by axis: y = M x along every axis. Its own operator tells M: the
rows of an identity matrix, resized in the same way, are the columns of M. So every mode, coordinate
transformation, antialiasing and region of interest has the right gradient, for sizes known or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxcam.autodiff.registry import NodeView, limit, vjp
from onnxcam.autodiff.rules.shaping import unknown_rank
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import ir, quirks
from onnxcam.graph.emit import Emitter, Tensor, const_value, dtype_of, shape_of

_SMALL = 64  # rows of an identity matrix that is written as a constant
_UNRESIZED = ("axes", "keep_aspect_ratio_policy", "extrapolation_value", "scales")


limit("Resize", "Upsample", why="for its scales and region, save where it takes the nearest")


@vjp("Resize", "Upsample")
def resize(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = M^T dy along every resized axis."""
    x, y, dy = (_ranked(op, node, t) for t in (node.inputs[0], node.outputs[0], dy))
    node.inputs[0], node.outputs[0] = x, y
    factors = _block_factors(node)
    if factors is not None:
        return (_summed_blocks(op, dy, factors), *[None] * (len(node.inputs) - 1))
    _refuse_settings(node)
    for axis in _resized_axes(node):
        dy = _along(op, dy, _matrix(op, node, axis), axis)
    return (op.typed(dy, x), *[None] * (len(node.inputs) - 1))


def _ranked(op: Emitter, node: NodeView, tensor: Tensor) -> Tensor:
    """Return a tensor with the rank that the node tells where its own shape does not.

    Raises:
        UnsupportedOp: The node does not tell either.
    """
    if shape_of(tensor) is not None:
        return tensor
    shapes = [shape_of(t) for t in (node.inputs[0], node.outputs[0])]
    rank: Any = next((len(shape) for shape in shapes if shape is not None), None)
    for name in ("scales", "sizes") if rank is None and not node.attr("axes") else ():
        setting = _setting(node, name)
        length = None if setting is None else setting.shape
        rank = length[0] if length else rank
    if not isinstance(rank, int):
        raise unknown_rank(node)
    same = op.named(tensor, op.fresh("ranked"))
    return op.learn(same, ir.Variable("", shape=[None] * rank))


def _refuse_settings(node: NodeView) -> None:
    """Refuse the gradient of where it samples, save where that is zero almost everywhere."""
    crops = node.attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    for name, counts in (("scales", True), ("roi", crops)):
        place = _place(node, name)
        if place is not None and node.wants(place) and counts and node.attr("mode") != "nearest":
            raise UnsupportedOp(
                f"no gradient of the {name} of {node.op_type} node {node.name!r}",
                "differentiate with respect to what it resizes",
            )


def _resized_axes(node: NodeView) -> list[int]:
    """Return the axes whose matrix is not known to be the identity."""
    x, y = (shape_of(t) for t in (node.inputs[0], node.outputs[0]))
    assert x is not None, "the rank of a resized tensor is known"
    given = _given_axes(node, len(x))
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return given
    scales, sizes = (_static(node, name) for name in ("scales", "sizes"))
    if _setting(node, "scales") is not None:  # of the same size is not enough: 3 * 1.3 is 3 too
        return [a for place, a in enumerate(given) if scales is None or scales[place] != 1]
    stretched = node.attr("keep_aspect_ratio_policy", "stretch") == "stretch"
    kept = []
    for place, axis in enumerate(given):
        same = y is not None and x[axis] is not None and x[axis] == y[axis]
        same = same or (sizes is not None and sizes[place] == x[axis])
        if not (same and stretched):
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
        zeros = ir.Constant("", np.zeros(1, kind))
        eye = op.EyeLike(op.ConstantOfShape(op.dims(size, size), value=zeros))
        square = op.Reshape(eye, op.dims(1, 1, size, size))
    if node.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return _framed_matrix(op, node, square, size, axis)
    if not _may_keep_size(node, axis):
        resized = _resized_rows(op, node, square, [1, 1, size], axis, grown=1)
        return op.Reshape(resized, op.dims(size, -1))
    # A second axis grows beside it from one to two: what keeps its whole shape would be copied.
    rows = op.Reshape(square, op.dims(1, size, 1, size))
    both = _resized_rows(op, node, rows, [1, size, 2], axis, grown=2)
    return op.Reshape(op.Slice(both, [0], [1], [2]), op.dims(size, -1))


@quirks.works_around(quirks.COPIED_AXIS)
def _may_keep_size(node: NodeView, axis: int) -> bool:
    """Tell whether this axis may keep its size without being copied, beside others that change."""
    x, y = (shape_of(t) for t in (node.inputs[0], node.outputs[0]))
    assert x is not None, "the rank of a resized tensor is known"
    if y is not None and isinstance(x[axis], int) and isinstance(y[axis], int):
        return x[axis] == y[axis] and x != y
    if node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return True
    if _setting(node, "scales") is None:
        return False
    scales = _static(node, "scales")
    return scales is None or 1 < scales[_given_axes(node, len(x)).index(axis)] < 2


def _resized_rows(
    op: Emitter, node: NodeView, rows: Tensor, front: list[int | Tensor], axis: int, *, grown: int
) -> Tensor:
    """Resize [., ., ., in] along its last axis as the node resizes this one.

    ``front`` are the three sizes before it in the result; the third is ``grown`` times that of
    ``rows``.
    """
    x, y = node.inputs[0], node.outputs[0]
    rank = len(shape_of(x) or ())
    place = _given_axes(node, rank).index(axis)
    attributes = {k: v for k, v in node.raw.attrs.items() if k not in _UNRESIZED}
    scales, sizes = (_setting(node, name) for name in ("scales", "sizes"))
    last: dict[str, Any] = {}
    if sizes is not None:
        last["sizes"] = op.dims(*front, op.dim(y, axis))
    else:
        entry = _entry(op, scales, place)
        last["scales"] = op.Concat(np.array([1, 1, grown], np.float32), entry, axis=0)
        if "scales" in node.raw.attrs:
            last["scales"] = [1.0, 1.0, float(grown), float(scales[place])]
    named = {**attributes, **last, **_region(op, node, place, (3, 0))}
    resized: Tensor = op.call(node.op_type, [rows], named)
    return resized


def _framed_matrix(
    op: Emitter, node: NodeView, square: Tensor, size: int | Tensor, axis: int
) -> Tensor:
    """Return M^T [in, out] where one scale, that of the tightest axis, holds for all of them.

    The identity is resized beside axes as long as the node's own, constant along each of them.
    """
    x = node.inputs[0]
    given = _given_axes(node, len(shape_of(x) or ()))
    place, others = given.index(axis), len(given) - 1
    mode = node.attr("mode", "nearest")
    if others > {"cubic": 1, "linear": 2}.get(mode, others):
        raise UnsupportedOp(
            f"no gradient of the {mode} Resize {node.name!r} that keeps the aspect of {others + 1} "
            "axes: ONNX Runtime does not resize its matrix",
            "name the two axes of space in its `axes`",
        )
    line = [1] * len(given)
    line[place] = -1
    rows = op.Reshape(square, op.dims(size, 1, *line))
    rows = op.Expand(rows, op.dims(size, 1, *(op.dim(x, a) for a in given)))
    resized = op.call("Resize", [rows], {
        **{k: v for k, v in node.raw.attrs.items() if k not in _UNRESIZED},
        "keep_aspect_ratio_policy": node.attr("keep_aspect_ratio_policy"),
        "axes": list(range(2, 2 + len(given))),
        "sizes": _setting(node, "sizes"),
        **_region(op, node, place, (place, others - place)),
    })  # fmt: skip
    beside = [2 + i for i in range(len(given)) if i != place]
    if beside:
        resized = op.Slice(resized, [0] * others, [1] * others, beside)
    return op.Reshape(resized, op.dims(size, -1))


def _region(op: Emitter, node: NodeView, place: int, beside: tuple[int, int]) -> dict[str, Tensor]:
    """Return the region of one axis, between so many whole axes before and after it."""
    roi = _setting(node, "roi")
    if roi is None or node.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return {}
    count = len(_given_axes(node, len(shape_of(node.inputs[0]) or ())))
    kind = (roi.dtype if isinstance(roi, np.ndarray) else dtype_of(roi)) or np.dtype(np.float32)
    parts = []
    for whole, end in ((np.zeros, place), (np.ones, count + place)):
        parts += [whole(beside[0], kind), _entry(op, roi, end), whole(beside[1], kind)]
    return {"roi": op.Concat(*(p for p in parts if not _is_empty(p)), axis=0)}


def _is_empty(part: Any) -> bool:
    return isinstance(part, np.ndarray) and not part.size


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
