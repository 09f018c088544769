"""Fourier transforms. They are linear: the gradient is the adjoint, again a Fourier transform."""

from __future__ import annotations

import numpy as np

from onnxcam.autodiff.cotangents import between_zeros
from onnxcam.autodiff.registry import NodeView, nondiff, vjp
from onnxcam.autodiff.rules._moves import scatter_add, zeros_of
from onnxcam.autodiff.rules._spectrum import (
    Size,
    adjoint,
    fitted,
    given_size,
    inverse_adjoint,
    ranked,
    scalar,
    size_along,
    size_of,
)
from onnxcam.graph.emit import Emitter, Tensor

nondiff("HannWindow", "HammingWindow", "BlackmanWindow", why="the input is a number of samples")
nondiff("MelWeightMatrix", why="the edges of the bands are rounded to bins")

_MANY = 32  # more overlapping frames than these are scattered instead of added one by one


@vjp("DFT")
def dft(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = N IDFT(dy) of the forward transform, DFT(dy) / N of the inverse one."""
    x = node.inputs[0]
    said = given_size(op, node.input(2))
    axis = node.attr("axis", -2) if said is None else said
    inverse, onesided = bool(node.attr("inverse")), bool(node.attr("onesided"))
    have = size_along(op, x, axis)
    size = given_size(op, node.input(1))
    if size is None and inverse and onesided:
        size = 2 * have - 2 if isinstance(have, int) else op.Sub(op.Mul(have, 2), 2)
    transform = inverse_adjoint if inverse else adjoint
    dx = transform(op, ranked(op, dy, x), have if size is None else size, axis, onesided=onesided)
    dx = fitted(op, fitted(op, dx, axis, have), -1, op.dim(x, -1))  # of a real x the real part
    return [dx, *[None] * (len(node.inputs) - 1)]


@vjp("STFT")
def stft(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx = the frames' adjoint transforms, times the window, added where they overlap."""
    x, window = node.inputs[0], node.input(2)  # [N, T, 1 or 2], [L]
    step, length = size_of(op, node.inputs[1]), given_size(op, node.input(3))
    if length is None:
        length = op.dim(x, 1) if window is None else op.dim(window, 0)
    frames = adjoint(op, dy, length, 2, onesided=bool(node.attr("onesided")))
    frames = fitted(op, frames, -1, op.dim(x, -1))  # [N, F, L, 1 or 2]
    dwindow = None
    if window is not None:
        if node.wants(2):
            read = op.Gather(x, _places(op, op.dim(dy, 1), step, length), axis=1)
            dwindow = op.ReduceSum(op.Mul(frames, read), axes=[0, 1, 3], keepdims=0)
        frames = op.Mul(frames, op.Unsqueeze(window, axes=[1]))
    dx = _overlapped(op, frames, step, length, x) if node.wants(0) else None
    return [dx, None, dwindow, None][: len(node.inputs)]


def _overlapped(op: Emitter, frames: Tensor, step: Size, length: Size, x: Tensor) -> Tensor:
    """Add frames [N, F, L, C] into a signal of the shape of x [N, T, C], each a step further."""
    total, channels = op.dim(x, 1), op.dim(x, 2)
    if isinstance(step, int) and isinstance(length, int) and -(-length // step) <= _MANY:
        dx = _blocks_added(op, frames, step, -(-length // step))
        return fitted(op, op.Reshape(dx, op.dims(0, -1, channels)), 1, total)
    empty = zeros_of(op, op.dims(total, op.dim(x, 0), channels), frames)
    places = op.Unsqueeze(_places(op, op.dim(frames, 1), step, length), axes=[2])
    dx = scatter_add(op, "ScatterND", empty, places, op.Transpose(frames, perm=[1, 2, 0, 3]))
    return op.Transpose(dx, perm=[1, 0, 2])


def _blocks_added(op: Emitter, frames: Tensor, step: int, count: int) -> Tensor:
    """Add frames of ``count`` blocks, the next a block further: [N, F + count - 1, step, C]."""
    frames = fitted(op, frames, 2, count * step)
    dx: Tensor | None = None
    for i in range(count):
        block = op.Slice(frames, [i * step], [(i + 1) * step], [2])
        block = between_zeros(op, block, [0, i, 0, 0, 0, count - 1 - i, 0, 0])
        dx = block if dx is None else op.Add(dx, block)
    assert dx is not None, "a frame has a block at least"
    return dx


def _places(op: Emitter, count: Size, step: Size, length: Size) -> Tensor:
    """Return the times [F, L] that the frames read."""
    starts = op.Range(np.int64(0), scalar(op, count), np.int64(1))
    inside = op.Range(np.int64(0), scalar(op, length), np.int64(1))
    return op.Add(op.Unsqueeze(op.Mul(starts, scalar(op, step)), axes=[1]), inside)
