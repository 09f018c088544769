"""Convolutions: the gradient of one is the other one with the same window, and back."""

from __future__ import annotations

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._windows import (
    Ints,
    Window,
    cropped,
    spatial,
    transposed_window,
    vector,
    window,
)
from onnxcam.emit import Emitter, Tensor, shape_of


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
    flipped = _flipped_pads(win)
    if flipped is not None and _fast_flipped(w, group):
        back = _transposed(op, _flipped(op, w, win), group)
        return op.Conv(dy, back, pads=flipped, dilations=list(win.dilations), group=group)
    n = len(win.strides)
    size, out = spatial(op, x, n), spatial(op, dy, n)
    settings = {"strides": list(win.strides), "dilations": list(win.dilations), "group": group}
    if win.pads is None:  # cropped behind the transpose
        rest = [s - 1 for s in win.strides]
        full = op.ConvTranspose(dy, w, output_padding=rest, **settings)
        return cropped(op, full, win.axes, win.begin, size)
    if isinstance(size, tuple) and isinstance(out, tuple) and win.reach is not None:
        rest = _left_over(win, size, out)
        return op.ConvTranspose(dy, w, pads=win.pads, output_padding=rest, **settings)
    rest = [s - 1 for s in win.strides]  # as much as can be left over
    long = op.ConvTranspose(dy, w, pads=win.pads, output_padding=rest, **settings)
    return cropped(op, long, win.axes, (0,) * n, size) if any(rest) else long


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
        _channels_first(op, x, group),
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
        dy, w, pads=pads, strides=list(win.strides), dilations=list(win.dilations), group=group
    )
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


def _fast_flipped(w: Tensor, group: int) -> bool:
    """Dense and depthwise: a Conv beats a ConvTranspose (1.3 and 2 to 8 times), else it loses."""
    shape = shape_of(w)
    if group == 1 or shape is None:
        return group == 1
    return shape[0] == group and shape[1] == 1


def _flipped(op: Emitter, w: Tensor, win: Window) -> Tensor:
    for axis, k in zip(win.axes, win.kernel or (), strict=True):
        if k > 1:
            w = op.Gather(w, list(range(k))[::-1], axis=axis)
    return w


def _transposed(op: Emitter, w: Tensor, group: int) -> Tensor:
    """Swap input and output channels: [M, C / g, ...] -> [C, M / g, ...] (g is 1, C or M)."""
    if group > 1:
        return w  # depthwise: [C, 1, ...] both ways
    return op.Transpose(w, perm=[1, 0, *range(2, len(shape_of(w) or ()))])


def _channels_first(op: Emitter, x: Tensor, group: int) -> Tensor:
    """[N, C, ...] -> [C / g, g N, ...]: the channels of a group are what a batch was."""
    n = len(shape_of(x) or ()) - 2
    if group == 1:
        return op.Transpose(x, perm=[1, 0, *range(2, n + 2)])
    space = [op.dim(x, i) for i in range(2, n + 2)]
    channels = op.dim(x, 1)
    each = channels // group if isinstance(channels, int) else op.Div(channels, [group])
    split = op.Reshape(x, op.dims(op.dim(x, 0), group, each, *space))
    swapped = op.Transpose(split, perm=[2, 1, 0, *range(3, n + 3)])
    return op.Reshape(swapped, op.dims(each, -1, *space))


def _left_over(win: Window, size: Ints, out: Ints) -> list[int]:
    """Return how many inputs at the end no window reaches."""
    pads, n = win.pads or [], len(win.strides)
    rows = zip(out, win.strides, win.reach or (), strict=True)
    reached = [(o - 1) * s + r for o, s, r in rows]
    return [size[i] + pads[i] + pads[n + i] - reached[i] for i in range(n)]
