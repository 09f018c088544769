"""Maximum pools. Of equal values in a window the first takes the gradient, row by row.

Three ways, all with that tie rule. Indices are slow, and so is adding at places: a small window of
known sizes is taken apart. A maximum over a window is one over its last axis, then the one before,
and so on; on one axis the cotangent walks along the taps, and the first that equals the maximum
takes it. Where the windows are blocks that tile the input, a nearest Resize spreads what belongs to
a window over it: half the time of Indices, and few nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._exact import in_single
from onnxcam.autodiff.rules._moves import arange, count, flat, like, scatter_add
from onnxcam.autodiff.rules._windows import Window, pooled, settled, spatial, window
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

_MOST_TAPS = 32  # of all axes together; beyond, Indices cost less
_FLOAT_EQUAL = 11  # the opset from which Equal takes floats


@quirks.works_around(quirks.SLOW_INDICES)
@vjp("MaxPool")
def max_pool(op: Emitter, node: NodeView, dy: Tensor, *_: Tensor | None) -> Tensor:
    """dx = sum over the windows whose first maximum x is of dy."""
    node, dy = in_single(op, node, dy)
    win = settled(op, window(op, node), node)
    if _is_tiled(op, node, win):
        return _by_blocks(op, node, win, dy)
    axes = _axes(op, node, win)
    if axes is None or _apart(win) or node.opset < _FLOAT_EQUAL:
        return _by_indices(op, node, win, dy)
    return _by_taps(op, node, axes, dy)


@vjp("GlobalMaxPool")
def global_max_pool(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """dx = dy at the first maximum of each channel, else 0."""
    x = node.inputs[0]
    lines = op.Reshape(x, [0, 0, -1])
    best = op.ArgMax(lines, axis=2, keepdims=1)
    first = op.Equal(best, arange(op, op.dim(lines, 2)))
    return like(op, op.Mul(op.Reshape(dy, [0, 0, 1]), op.cast(first, dy)), x)


@vjp("MaxUnpool")
def max_unpool(op: Emitter, node: NodeView, dy: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy at the places that the indices name in the whole output."""
    x, indices = node.inputs[0], node.inputs[1]
    if node.input(2) is not None:
        return _unpooled_into(op, node, dy), None, None
    return like(op, op.Gather(flat(op, dy), flat(op, indices), axis=0), x), None


@quirks.works_around(quirks.UNPOOLED_SHAPE)
def _unpooled_into(op: Emitter, node: NodeView, dy: Tensor) -> Tensor:
    """Return MaxUnpool's gradient where an output shape is given.

    In which shape its indices count, the operator itself tells where the model runs: it unpools
    the numbers 1, 2, ... (exact up to 2^24 elements).
    """
    x = node.inputs[0]
    positions = like(op, op.Cast(arange(op, _length(op, x)), to=1), x)
    numbers = op.Add(positions, 1)
    source = flat(op, node.emit_forward(op, [numbers, *node.inputs[1:]]))
    filled = op.cast(op.Cast(source, to=9), dy)
    places = op.Cast(op.Max(op.Sub(source, 1), 0), to=7)
    zeros = flat(op, op.zeros_like(x, dtype_of(dy)))
    updates = op.Mul(flat(op, dy), filled)
    return like(op, scatter_add(op, "ScatterElements", zeros, places, updates, axis=0), x)


def _length(op: Emitter, x: Tensor) -> int | Tensor:
    """Return the number of elements: an int, or an int64 [1] tensor."""
    number = count(op, x)
    return number if isinstance(number, int) else op.Reshape(number, [1])


# ---- by Indices: any window, any shape


def _by_indices(op: Emitter, node: NodeView, win: Window, dy: Tensor) -> Tensor:
    """Add dy at the places that MaxPool's Indices name in the whole input."""
    x, own = node.inputs[0], node.output(1)
    if own is None or node.attr("storage_order", 0):
        own = op.call("MaxPool", [x], _settings(node), outputs=2)[1]
    if misses := _may_miss(win):
        held = _held(op, node, x)  # elsewhere Indices are any place
        own, dy = op.Where(held, own, 0), op.Where(held, dy, op.zeros_like(dy))
    zeros, updates = flat(op, op.zeros_like(x, dtype_of(dy))), flat(op, dy)
    if _apart(win) and not misses:
        return like(op, op.ScatterElements(zeros, flat(op, own), updates, axis=0), x)
    return like(op, scatter_add(op, "ScatterElements", zeros, flat(op, own), updates, axis=0), x)


def _may_miss(win: Window) -> bool:
    """Tell whether all taps of a window can lie beside the input: it starts before it, apart."""
    before = not isinstance(win.begin, tuple) or any(win.begin)
    return before and any(d > 1 for d in win.dilations)


def _held(op: Emitter, node: NodeView, x: Tensor) -> Tensor:
    """Return where a window has a tap on the input: the same pool of ones is 1 there."""
    return op.Greater(op.call("MaxPool", [op.Add(op.zeros_like(x), 1)], _settings(node)), 0)


def _settings(node: NodeView) -> dict[str, Any]:
    return {k: v for k, v in node.raw.attrs.items() if k != "storage_order"}


def _apart(win: Window) -> bool:
    """Tell whether no two windows overlap."""
    reach = win.reach
    return reach is not None and all(r <= s for r, s in zip(reach, win.strides, strict=True))


# ---- by blocks: windows that tile the input


@quirks.works_around(quirks.DOUBLE_RESIZE)
def _is_tiled(op: Emitter, node: NodeView, win: Window) -> bool:
    x, n = node.inputs[0], len(win.strides)
    size = spatial(op, x, n)
    if not isinstance(size, tuple) or win.kernel is None or 0 in size:
        return False
    whole = all(i % k == 0 for i, k in zip(size, win.kernel, strict=True))
    blocks = win.kernel == win.strides == win.reach and win.pads == [0] * 2 * n
    return whole and blocks and dtype_of(x) != np.float64 and node.opset >= _FLOAT_EQUAL


def _by_blocks(op: Emitter, node: NodeView, win: Window, dy: Tensor) -> Tensor:
    """Give dy to the first of the values in its block that equal y: it has the highest rank."""
    x, block = node.inputs[0], list(win.strides)
    scales = op.const(np.array([1, 1, *block], np.float32))

    def spread(t: Tensor) -> Tensor:
        return op.Resize(
            t, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )  # fmt: skip

    ranks = np.arange(np.prod(block), 0, -1, dtype=dtype_of(dy)).reshape(block)
    size = spatial(op, x, len(block))
    assert isinstance(size, tuple), "blocks are of a known size"
    tiled = op.Tile(ranks, [i // k for i, k in zip(size, block, strict=True)])
    rank = op.Mul(op.cast(op.Equal(x, spread(node.outputs[0])), dy), tiled)
    highest = spread(op.MaxPool(rank, kernel_shape=block, strides=block))
    return op.Mul(spread(dy), op.cast(op.Equal(rank, highest), dy))


# ---- by taps: small windows of known sizes


@dataclass(frozen=True)
class _Axis:
    """The windows along one axis.

    Attributes:
        axis: Which.
        sizes: Spatial sizes of what is pooled along it.
        out: Number of windows.
        kernel: Taps.
        stride: Step from window to window.
        dilation: Step from tap to tap.
        begin: Padding before the input.
    """

    axis: int
    sizes: tuple[int, ...]
    out: int
    kernel: int
    stride: int
    dilation: int
    begin: int

    @property
    def size(self) -> int:
        """The input's size."""
        return self.sizes[self.axis - 2]

    @property
    def steps(self) -> int:
        """Strides that the input is long, rounded up."""
        return -(-self.size // self.stride)

    def place(self, tap: int) -> tuple[int, int]:
        """Return where the first window has a tap: (stride, phase in it)."""
        return divmod(tap * self.dilation - self.begin, self.stride)

    def shape(self, *here: int) -> list[int]:
        """Return the target of a Reshape with these numbers in this axis' place."""
        before, after = self.sizes[: self.axis - 2], self.sizes[self.axis - 1 :]
        return [0, 0, *before, *here, *after]


def _axes(op: Emitter, node: NodeView, win: Window) -> list[_Axis] | None:
    """Return the axes to pool along, last first; None where the window does not suit."""
    n = len(win.strides)
    size, out = spatial(op, node.inputs[0], n), pooled(op, win, node)
    if not isinstance(size, tuple) or not isinstance(out, tuple):
        return None
    if win.kernel is None or win.pads is None or 0 in (*size, *out):
        return None
    moving = [i for i in range(n) if win.kernel[i] > 1 or size[i] != out[i]]
    if not moving or sum(win.kernel[i] for i in moving) > _MOST_TAPS:
        return None
    found, sizes = [], size
    for i in reversed(moving):
        found.append(
            _Axis(i + 2, sizes, out[i], win.kernel[i], win.strides[i], win.dilations[i],
                  win.pads[i])
        )  # fmt: skip
        sizes = (*sizes[:i], out[i], *sizes[i + 1 :])
    return found


def _by_taps(op: Emitter, node: NodeView, axes: list[_Axis], dy: Tensor) -> Tensor:
    x = node.inputs[0]
    stages = []
    for along in axes:
        taps = _taps(op, x, along)
        x = node.outputs[0] if along is axes[-1] else op.Max(*taps)
        stages.append((along, taps, x))
    for along, taps, y in reversed(stages):
        dy = _joined(op, _shares(op, taps, y, dy), along)
    return dy


def _taps(op: Emitter, x: Tensor, along: _Axis) -> list[Tensor]:
    """Return the input under each tap, in the shape of the output; -inf beside the input."""
    phases = [x]
    if along.stride > 1:
        whole = _moved(op, x, along, 0, (along.size, along.steps * along.stride), -np.inf)
        apart = op.Reshape(whole, along.shape(along.steps, along.stride))
        axis = along.axis + 1
        phases = [op.Squeeze(p, axes=[axis]) for p in _split(op, apart, axis, along.stride)]
    places = [along.place(tap) for tap in range(along.kernel)]
    sizes = along.steps, along.out
    return [_moved(op, phases[p], along, first, sizes, -np.inf) for first, p in places]


def _shares(op: Emitter, taps: list[Tensor], y: Tensor, dy: Tensor) -> list[Tensor]:
    """Give dy to the first tap that equals y; the last one takes what is left."""
    shares = []
    for tap in taps[:-1]:
        share = op.Mul(dy, op.cast(op.Equal(tap, y), dy))
        dy = op.Sub(dy, share)
        shares.append(share)
    return [*shares, dy]


def _joined(op: Emitter, shares: list[Tensor], along: _Axis) -> Tensor:
    """Add what the taps hold where they lay: the transpose of ``_taps``."""
    phases: list[Tensor | None] = [None] * along.stride
    for tap, share in enumerate(shares):
        first, phase = along.place(tap)
        placed = _moved(op, share, along, -first, (along.out, along.steps), 0)
        before = phases[phase]
        phases[phase] = placed if before is None else op.Add(before, placed)
    some = next(p for p in phases if p is not None)
    if along.stride == 1:
        return some
    filled = [op.Sub(some, some) if p is None else p for p in phases]
    axis = along.axis + 1
    apart = op.Concat(*[op.Unsqueeze(p, axes=[axis]) for p in filled], axis=axis)
    whole = op.Reshape(apart, along.shape(along.steps * along.stride))
    return _moved(op, whole, along, 0, (along.steps * along.stride, along.size), 0)


def _moved(
    op: Emitter, x: Tensor, along: _Axis, first: int, sizes: tuple[int, int], beside: float
) -> Tensor:
    """Return the entries from ``first`` on along the axis; what lies beside x is ``beside``.

    ``sizes`` are how many x has and how many are wanted.
    """
    axis, (size, wanted) = along.axis, sizes
    start = min(max(first, 0), size)
    stop = max(min(first + wanted, size), start)
    if stop - start < size:
        x = op.Slice(x, [start], [stop], [axis])
    before = min(max(-first, 0), wanted)
    after = wanted - before - (stop - start)
    if not before and not after:
        return x
    pads = [0] * (2 * (rank := len(along.sizes) + 2))
    pads[axis], pads[rank + axis] = before, after
    return op.Pad(x, pads, op.const(np.array(beside, dtype_of(x))))


def _split(op: Emitter, x: Tensor, axis: int, parts: int) -> tuple[Tensor, ...]:
    newer = "num_outputs" in op.schema("Split").attributes
    made = op.Split(x, axis=axis, num_outputs=parts if newer else None, _outputs=parts)
    return tuple(made)
