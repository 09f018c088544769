"""Operators that frame a picture: affine grids, centred crops, decoding."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

nondiff("ImageDecoder", why="an encoded file has no derivative")

_ALL = np.iinfo(np.int64).max


@vjp("AffineGrid")
def affine_grid(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dtheta = sum over places p of dy(p) (p, 1)^T; the identity's own grid tells the places."""
    theta, size = node.inputs
    space = op.dim(theta, 1)
    blank = ir.Constant("", np.zeros(1, dtype_of(theta)))
    eye = op.EyeLike(op.ConstantOfShape(op.dims(space, op.dim(theta, 2)), value=blank))
    one_image = op.Concat([1], op.Slice(size, [1], [_ALL], [0]), axis=0)
    grid = node.emit_forward(op, [op.Unsqueeze(eye, axes=[0]), one_image])
    places = op.Reshape(grid, op.dims(-1, space))
    moves = op.Transpose(op.Reshape(dy, op.dims(0, -1, space)), perm=[0, 2, 1])
    shift = op.ReduceSum(moves, axes=[2])
    return op.Concat(op.MatMul(moves, places), shift, axis=2), None


@vjp("CenterCropPad")
def center_crop_pad(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy cropped and padded back: where one starts, the other starts too."""
    x, axes = node.inputs[0], node.attr("axes")
    sizes = op.shape(x) if axes is None else op.dims(*[op.dim(x, int(a)) for a in axes])
    return node.emit_forward(op, [dy, sizes]), None
