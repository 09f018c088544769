"""Operators that only move values: reshapes, transpositions, casts, joins."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.registry import NodeView, nondiff, refuse, vjp
from onnxcam.autodiff.rules._moves import alone, like, reshaped
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of

nondiff(
    "Constant", "ConstantOfShape", "EyeLike", "Shape", "Size",
    why="the output does not depend on values",
)  # fmt: skip
refuse("BitCast", why="the bits of a number have no derivative")


@vjp("Identity")
def identity(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy."""
    return dy


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy in the shape of x."""
    return alone(node, like(op, dy, node.inputs[0]))


@vjp("Transpose")
def transpose(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy with the inverse permutation."""
    perm = node.attr("perm")
    if perm is None:
        shape = shape_of(node.inputs[0]) or shape_of(dy)
        if shape is None:
            raise unknown_rank(node)
        perm = range(len(shape))[::-1]
    return op.Transpose(dy, perm=[int(i) for i in np.argsort(perm)])


@vjp("Expand", broadcasts=True)
def expand(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = dy, summed over the broadcast dimensions."""
    return alone(node, dy)


@vjp("Tile")
def tile(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = the sum of the tiles of dy."""
    x, repeats = node.inputs[:2]
    shape = shape_of(x)
    if shape is None:
        raise unknown_rank(node)
    if not shape:
        return alone(node, dy)
    pairs = [op.Unsqueeze(v, axes=[1]) for v in (repeats, op.shape(x))]
    tiles = reshaped(op, dy, op.Reshape(op.Concat(*pairs, axis=1), [-1]))
    summed = op.ReduceSum(tiles, axes=list(range(0, 2 * len(shape), 2)), keepdims=0)
    return alone(node, summed)


@vjp("Concat")
def concat(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor, ...]:
    """dx_i = the part of dy that x_i became."""
    if len(node.inputs) == 1:
        return (dy,)
    axis = int(node.attr("axis"))
    sizes = [op.dim(x, axis) for x in node.inputs]
    static = all(isinstance(size, int) for size in sizes)
    parts = sizes if static else op.dims(*sizes)
    return tuple(op.Split(dy, split=parts, axis=axis, _outputs=len(sizes)))


@vjp("Split")
def split(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """dx = the joined dys, 0 where a part was not used."""
    ys = node.outputs
    if any(y is None for y in ys):
        ys = node.emit_forward(op, node.inputs)
    kind = dtype_of(next(dy for dy in dys if dy is not None))
    parts = [op.zeros_like(y, kind) if dy is None else dy for y, dy in zip(ys, dys, strict=True)]
    return alone(node, op.Concat(*parts, axis=node.attr("axis")))


@vjp("DepthToSpace")
def depth_to_space(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = the blocks of dy moved back into depth."""
    order = [0, 3, 5, 1, 2, 4] if node.attr("mode", "DCR") == "DCR" else [0, 1, 3, 5, 2, 4]
    return _blocks(op, node.inputs[0], dy, int(node.attr("blocksize")), order)


@vjp("SpaceToDepth")
def space_to_depth(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = the depth of dy moved back into blocks."""
    b, x = int(node.attr("blocksize")), node.inputs[0]
    n, c, h, w = (op.dim(t, i) for i, t in enumerate((x, x, dy, dy)))
    if node.attr("mode", "DCR") == "DCR":
        shape, order = op.dims(n, b, b, c, h, w), [0, 3, 4, 1, 5, 2]
    else:
        shape, order = op.dims(n, c, b, b, h, w), [0, 1, 4, 2, 5, 3]
    return like(op, op.Transpose(reshaped(op, dy, shape), perm=order), x)


def unknown_rank(node: NodeView) -> UnsupportedOp:
    """Return the error for a tensor whose number of dimensions must be known."""
    return UnsupportedOp(
        f"no gradient for {node.op_type}, node {node.name!r}: the rank of its input is not known",
        "run onnx.shape_inference on the model, or state the shapes of its inputs",
    )


def _blocks(op: Emitter, x: Tensor, dy: Tensor, b: int, order: list[int]) -> Tensor:
    """Cut [N, C, H b, W b] into blocks, put their axes (N, C, H, b, W, b) in this order."""
    n, c, h, w = (op.dim(t, i) for i, t in enumerate((dy, dy, x, x)))
    blocks = reshaped(op, dy, op.dims(n, c, h, b, w, b))
    return like(op, op.Transpose(blocks, perm=order), x)
