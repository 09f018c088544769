"""Convolutions: the gradient of one is the other one with the same window, and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onnxcam.autodiff.cotangents import as_scaled
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import refolded
from onnxcam.autodiff.rules._windows import (
    Sizes,
    Window,
    cropped,
    spatial,
    transposed_window,
    vector,
    window,
)
from onnxcam.graph.emit import Emitter, Tensor, shape_of


@vjp("Conv")
def conv(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = W^T dy, dW = x (*) dy, db = sum dy, for y = W * x + b."""
    x, w, win = node.inputs[0], node.inputs[1], window(op, node, node.inputs[1])
    group = int(node.attr("group"))
    dx = input_gradient(op, dy, w, win, x, group) if node.wants(0) else None
    dw = weight_gradient(op, x, dy, win, w, group) if node.wants(1) else None
    return dx, dw, *_bias_gradient(op, node, dy, win)


@vjp("ConvTranspose")
def conv_transpose(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = W * dy, dW = dy (*) x, db = sum dy, for y = W^T x + b."""
    x, w = node.inputs[0], node.inputs[1]
    win, group = transposed_window(op, node, w), int(node.attr("group"))
    dx = _convolved(op, dy, w, win, x, group) if node.wants(0) else None
    dw = weight_gradient(op, dy, x, win, w, group) if node.wants(1) else None
    return dx, dw, *_bias_gradient(op, node, dy, win)


def input_gradient(
    op: Emitter, dy: Tensor, w: Tensor, win: Window, x: Tensor, group: int
) -> Tensor:
    """Return the gradient of a convolution's input.

    Args:
        op: Emitter.
        dy: Gradient of the output, [N, M, ...out].
        w: Weight, [M, C / group, ...kernel].
        win: The windows.
        x: The input, [N, C, ...in]; only its shape is used.
        group: Groups of channels.
    """
    dy, w = _absorbed(op, dy, w)
    n = len(win.strides)
    size, out = spatial(op, x, n), spatial(op, dy, n)
    left = _left_over(win, size, out)
    rest = left or [s - 1 for s in win.strides]  # where it is not known, as much as can be
    if _spreads(win, w, group):
        dy, win = _spread(op, dy, win, rest, group)
    flipped = _flipped_pads(win)
    if flipped is not None and _fast_flipped(w, group):
        back = _transposed(op, _flipped(op, w, win), win, group)
        dx = op.Conv(dy, back, pads=flipped, dilations=list(win.dilations), group=group)
    else:
        dx = op.ConvTranspose(
            dy, refolded(op, w), strides=list(win.strides), dilations=list(win.dilations),
            group=group, pads=win.pads, output_padding=rest,
        )  # fmt: skip
    if left or (win.pads is not None and not any(rest)):
        return dx
    return cropped(op, dx, win.axes, (0,) * n if win.pads is not None else win.begin, size)


def weight_gradient(
    op: Emitter, x: Tensor, dy: Tensor, win: Window, w: Tensor, group: int
) -> Tensor:
    """Return the gradient of a convolution's weight: x convolved with dy, tap by tap.

    Batch and channel change places, and so do stride and dilation:
    dW[m, c, t] = sum over n, o of dy[n, m, o] x[n, c, o stride + t dilation - begin].

    Args:
        op: Emitter.
        x: Input, [N, C, ...in].
        dy: Gradient of the output, [N, M, ...out].
        win: The windows.
        w: The weight, [M, C / group, ...kernel]; only its shape is used.
        group: Groups of channels.
    """
    n = len(win.strides)
    x, pads = _padded(op, x, win)
    taps = op.Conv(
        _channels_first(op, x, win, group),
        op.Transpose(dy, perm=[1, 0, *win.axes]),
        strides=list(win.dilations),
        dilations=list(win.strides),
        pads=pads,
        group=group,
    )
    taps = op.Transpose(taps, perm=[1, 0, *win.axes])
    size = win.kernel if win.kernel is not None else spatial(op, w, n)
    return cropped(op, taps, win.axes, (0,) * n, size)


def _convolved(op: Emitter, dy: Tensor, w: Tensor, win: Window, x: Tensor, group: int) -> Tensor:
    """Return dy convolved with w in the size of x: output_padding may hold one window more."""
    n = len(win.strides)
    dy, pads = _padded(op, dy, win)
    dx = op.Conv(
        dy, refolded(op, w), pads=pads, strides=list(win.strides), dilations=list(win.dilations),
        group=group,
    )  # fmt: skip
    return cropped(op, dx, win.axes, (0,) * n, spatial(op, x, n))


def _padded(op: Emitter, x: Tensor, win: Window) -> tuple[Tensor, list[int]]:
    """Return what to convolve and the ``pads`` to do it with."""
    if win.pads is not None:
        return x, win.pads
    none = [0, 0]
    ends = op.dims(none, vector(op, win.begin), none, vector(op, win.end))
    return op.Pad(x, ends), [0] * 2 * len(win.strides)


def _bias_gradient(
    op: Emitter, node: NodeView, dy: Tensor, win: Window
) -> tuple[Tensor | None, ...]:
    if len(node.inputs) < 3:
        return ()
    return (op.ReduceSum(dy, axes=[0, *win.axes], keepdims=0) if node.wants(2) else None,)


def _flipped_pads(win: Window) -> list[int] | None:
    """Return the pads of the convolution with the flipped kernel; None where it is none."""
    if win.pads is None or win.reach is None or any(s != 1 for s in win.strides):
        return None
    n = len(win.strides)
    pads = [win.reach[i % n] - 1 - p for i, p in enumerate(win.pads)]
    return pads if min(pads, default=0) >= 0 else None


def _absorbed(op: Emitter, dy: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Take a factor per channel that dy was just multiplied with into the weight.

    It is that of a BatchNormalization, as a rule: constants, which cost nothing there.
    """
    product, shape = as_scaled(op, dy), shape_of(w)
    if product is None or not shape or not isinstance(shape[0], int) or shape[0] == 1:
        return dy, w
    if shape_of(product.factor) != (shape[0], *[1] * (len(shape) - 2)):
        return dy, w
    return product.rest, op.Mul(w, op.Unsqueeze(product.factor, axes=[1]))


def _fast_flipped(w: Tensor, group: int) -> bool:
    """Depthwise, and dense to 16 channels or more: a Conv beats a ConvTranspose, else it loses."""
    shape = shape_of(w)
    if shape is None or _is_depthwise(w, group):
        return group == 1 or shape is not None
    return group == 1 and not (isinstance(shape[1], int) and shape[1] < 16)


def _is_depthwise(w: Tensor, group: int) -> bool:
    shape = shape_of(w)
    return shape is not None and (shape[0], shape[1]) == (group, 1)


def _spreads(win: Window, w: Tensor, group: int) -> bool:
    """Tell whether :func:`_spread` pays: on overlapping depthwise windows, up to 2.5 times."""
    if not _is_depthwise(w, group) or _flipped_pads(_by_one(win)) is None:
        return False
    return any(k > s > 1 for k, s in zip(win.kernel or (), win.strides, strict=True))


def _spread(
    op: Emitter, dy: Tensor, win: Window, rest: list[int], channels: int
) -> tuple[Tensor, Window]:
    """Return dy with the strides' zeros between its elements, and windows that step by one."""
    one = op.cast(op.const(np.ones((channels, 1, *[1] * len(rest)), np.float32)), dy)
    strides = list(win.strides)
    dy = op.ConvTranspose(dy, one, strides=strides, output_padding=rest, group=channels)
    return dy, _by_one(win)


def _by_one(win: Window) -> Window:
    return replace(win, strides=(1,) * len(win.strides))


def _flipped(op: Emitter, w: Tensor, win: Window) -> Tensor:
    long = [(axis, k) for axis, k in zip(win.axes, win.kernel or (), strict=True) if k > 1]
    if long and op.schema("Slice").max_input == 5:  # it steps backwards from opset 10 on
        last, before_first = [-1] * len(long), [-k - 1 for _, k in long]
        return op.Slice(w, last, before_first, [axis for axis, _ in long], last)
    for axis, k in long:
        w = op.Gather(w, list(range(k))[::-1], axis=axis)
    return w


def _transposed(op: Emitter, w: Tensor, win: Window, group: int) -> Tensor:
    """Swap input and output channels: [M, C / g, ...] -> [C, M / g, ...] (g is 1, C or M)."""
    if group > 1:
        return w  # depthwise: [C, 1, ...] both ways
    return op.Transpose(w, perm=[1, 0, *win.axes])


def _channels_first(op: Emitter, x: Tensor, win: Window, group: int) -> Tensor:
    """[N, C, ...] -> [C / g, g N, ...]: the channels of a group are what a batch was."""
    if group == 1:
        return op.Transpose(x, perm=[1, 0, *win.axes])
    space = [op.dim(x, i) for i in win.axes]
    channels = op.dim(x, 1)
    each = channels // group if isinstance(channels, int) else op.Div(channels, [group])
    split = op.Reshape(x, op.dims(op.dim(x, 0), group, each, *space))
    swapped = op.Transpose(split, perm=[2, 1, 0, *(axis + 1 for axis in win.axes)])
    return op.Reshape(swapped, op.dims(each, -1, *space))


def _left_over(win: Window, size: Sizes, out: Sizes) -> list[int] | None:
    """Return how many inputs at the end no window reaches, None where it is not known."""
    if win.pads is None or win.reach is None:
        return None
    if not (isinstance(size, tuple) and isinstance(out, tuple)):
        return None
    pads, n = win.pads, len(win.strides)
    reached = [(o - 1) * s + r for o, s, r in zip(out, win.strides, win.reach, strict=True)]
    return [size[i] + pads[i] + pads[n + i] - reached[i] for i in range(n)]
