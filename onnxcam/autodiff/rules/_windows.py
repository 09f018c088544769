"""How the windows of convolutions and pools lie on their input: kernel, strides, pads.

Spatial sizes and pads are ints where they are known and int64 [n] tensors where they are only
known at run time, n being the number of spatial axes (those behind batch and channel).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from onnxcam.autodiff.registry import NodeView, limit
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import quirks
from onnxcam.graph.emit import Emitter, Tensor, shape_of

Ints: TypeAlias = tuple[int, ...]
Sizes: TypeAlias = "Ints | Tensor"  # one number per spatial axis

limit(
    "AveragePool", "Conv", "LpPool", "MaxPool",
    why="where auto_pad=SAME meets a stride above the window",
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """The windows of a convolution or pool.

    Attributes:
        kernel: Taps per axis; None where the weight's shape is only known at run time.
        strides: Step from window to window.
        dilations: Step from tap to tap.
        begin: Padding before the input.
        end: Padding behind it.
    """

    kernel: Ints | None
    strides: Ints
    dilations: Ints
    begin: Sizes
    end: Sizes

    @property
    def axes(self) -> list[int]:
        """The spatial axes."""
        return list(range(2, 2 + len(self.strides)))

    @property
    def reach(self) -> Ints | None:
        """From the first to the last tap, inclusive; None where the kernel is not known."""
        if self.kernel is None:
            return None
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def pads(self) -> list[int] | None:
        """The ``pads`` attribute; None where the pads are only known at run time."""
        if isinstance(self.begin, tuple) and isinstance(self.end, tuple):
            return [*self.begin, *self.end]
        return None


@quirks.works_around(quirks.DILATED_POOLS)
def window(op: Emitter, node: NodeView, weight: Tensor | None = None) -> Window:
    """Return the windows of a Conv (with its weight) or a pool."""
    x, y = node.inputs[0], node.outputs[0]
    n = spatial_rank(node, weight)
    kernel = _kernel(node, weight)
    strides, dilations = ints(node, "strides", n), ints(node, "dilations", n)
    bare = Window(kernel, strides, dilations, (0,) * n, (0,) * n)
    kind = node.attr("auto_pad", "NOTSET")
    if kind == "VALID":
        return bare
    if kind == "NOTSET":
        pads = tuple(node.attr("pads") or (0,) * 2 * n)
        return Window(kernel, strides, dilations, pads[:n], pads[n:])
    if weight is None:
        bare = replace(bare, dilations=(1,) * n)
    size, reach = spatial(op, x, n), bare.reach
    if isinstance(size, tuple) and reach is not None:
        rows = zip(size, strides, reach, strict=True)
        static = tuple((-(-i // s) - 1) * s + r - i for i, s, r in rows)
        total: Sizes = static
        least = min(static)
    else:
        # Windows start every `stride` inputs; what the last one lacks is padded.
        count = spatial(op, y, n) if weight is not None else _starts(op, size, strides)
        covered = op.Add(_last_start(op, count, strides), _reach(op, bare, weight))
        total = op.Sub(covered, vector(op, size))
        least = min((r - s for r, s in zip(reach or (), strides, strict=False)), default=0)
    if least < -1:
        raise UnsupportedOp(
            f"node {node.name!r} ({node.op_type}): auto_pad={kind} with a stride above the "
            "window: runtimes disagree on where the windows lie",
            "export the model with explicit pads",
        )
    begin, end = halves(op, total, more_at_end=kind == "SAME_UPPER")
    return Window(kernel, strides, dilations, begin, end)


def _starts(op: Emitter, size: Sizes, strides: Ints) -> Tensor:
    """Return how many windows there are where one starts every `stride` inputs."""
    last = [s - 1 for s in strides]
    return op.Div(op.Add(vector(op, size), last), list(strides))


def pooled(op: Emitter, win: Window, node: NodeView) -> Sizes:
    """Return the spatial sizes of a pool's output.

    Not from the output's own shape: with ``ceil_mode`` ONNX's shape inference counts windows that
    start behind the input too, which no runtime has (in opsets below 22).
    """
    n, size = len(win.strides), spatial(op, node.inputs[0], len(win.strides))
    if not isinstance(size, tuple) or win.pads is None or win.reach is None:
        return spatial(op, node.outputs[0], n)
    found = []
    for i, (length, s, reach) in enumerate(zip(size, win.strides, win.reach, strict=True)):
        begin, room = win.pads[i], length + win.pads[i] + win.pads[n + i] - reach
        out = int(room / s) + 1  # a window larger than the input is one as well
        if node.attr("ceil_mode", 0):
            out = -(-room // s) + 1
            out -= (out - 1) * s >= length + begin  # the last window must start on the input
        found.append(out)
    return tuple(found)


def settled(op: Emitter, win: Window, node: NodeView) -> Window:
    """Return the windows with the end that the last one needs: ``ceil_mode`` may reach further.

    Where sizes are only known at run time the pads become run-time values, which are cropped.
    """
    n = len(win.strides)
    size, out = spatial(op, node.inputs[0], n), pooled(op, win, node)
    if isinstance(size, tuple) and isinstance(out, tuple) and win.pads and win.reach:
        rows = zip(size, out, win.strides, win.reach, win.pads[:n], strict=True)
        end = tuple(max((o - 1) * s + r - i - b, 0) for i, o, s, r, b in rows)
        return replace(win, end=end)
    if node.attr("ceil_mode", 0):
        return replace(win, begin=vector(op, win.begin), end=vector(op, win.end))
    return win


def transposed_window(op: Emitter, node: NodeView, weight: Tensor) -> Window:
    """Return the windows that the convolution, whose transpose a ConvTranspose is, has."""
    n = spatial_rank(node, weight)
    kernel = _kernel(node, weight)
    strides, dilations = ints(node, "strides", n), ints(node, "dilations", n)
    kind, shape = node.attr("auto_pad", "NOTSET"), node.attr("output_shape")
    bare = Window(kernel, strides, dilations, (0,) * n, (0,) * n)
    if kind == "VALID" and not shape:
        return bare
    if kind == "NOTSET" and not shape:
        pads = tuple(node.attr("pads") or (0,) * 2 * n)
        return Window(kernel, strides, dilations, pads[:n], pads[n:])
    total = _transposed_total(op, node, bare, weight)
    begin, end = halves(op, total, more_at_end=kind == "SAME_UPPER")
    return Window(kernel, strides, dilations, begin, end)


def _transposed_total(op: Emitter, node: NodeView, bare: Window, weight: Tensor) -> Sizes:
    """Return what is padded in all: the natural size less the wanted one (SAME: input * stride)."""
    n = len(bare.strides)
    size, extra = spatial(op, node.inputs[0], n), ints(node, "output_padding", n, default=0)
    shape = node.attr("output_shape")
    if not shape and bare.reach is not None:
        rows = zip(bare.strides, bare.reach, extra, strict=True)
        return tuple(r + e - s for s, r, e in rows)
    if isinstance(size, tuple) and bare.reach is not None:
        rows4 = zip(size, bare.strides, bare.reach, extra, shape[-n:], strict=True)
        return tuple((i - 1) * s + r + e - o for i, s, r, e, o in rows4)
    wanted = vector(op, tuple(shape[-n:])) if shape else op.Mul(vector(op, size), bare.strides)
    natural = op.Add(_last_start(op, size, bare.strides), op.Add(_reach(op, bare, weight), extra))
    return op.Sub(natural, wanted)


def halves(op: Emitter, total: Sizes, *, more_at_end: bool) -> tuple[Sizes, Sizes]:
    """Split a total padding (below 0: none) in two; an odd one leaves one side with more."""
    if isinstance(total, tuple):
        less = tuple(max(t, 0) // 2 for t in total)
        more: Sizes = tuple(max(t, 0) - h for t, h in zip(total, less, strict=True))
        return (less, more) if more_at_end else (more, less)
    total = op.Max(total, [0])
    half = op.Div(total, [2])
    rest = op.Sub(total, half)
    return (half, rest) if more_at_end else (rest, half)


def spatial_rank(node: NodeView, weight: Tensor | None = None) -> int:
    """Return the number of spatial axes of a node.

    Raises:
        UnsupportedOp: Nothing in the model tells.
    """
    for tensor in (weight, node.inputs[0], node.outputs[0]):
        shape = None if tensor is None else shape_of(tensor)
        if shape is not None:
            return len(shape) - 2
    for name, per_axis in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2)):
        if node.attr(name):
            return len(node.attr(name)) // per_axis
    raise UnsupportedOp(
        f"the rank of the input of node {node.name!r} ({node.op_type}) is not known, but its "
        "gradient needs it",
        "give the model's inputs their shapes (symbolic dimensions are fine)",
    )


def spatial(op: Emitter, x: Tensor, n: int) -> Sizes:
    """Return the sizes of the n spatial axes: ints where all are known, else a tensor."""
    shape = shape_of(x)
    if shape is not None and all(isinstance(d, int) for d in shape[2:]):
        return tuple(int(d) for d in shape[2:] if d is not None)
    return op.Slice(op.Shape(x), [2], [2 + n], [0])


def vector(op: Emitter, sizes: Sizes) -> Tensor:
    """Return sizes as an int64 [n] tensor."""
    return op.dims(list(sizes)) if isinstance(sizes, tuple) else sizes


def cropped(op: Emitter, x: Tensor, axes: list[int], begin: Sizes, size: Sizes) -> Tensor:
    """Return the part of x that starts at ``begin`` and has ``size`` on these axes."""
    if isinstance(begin, tuple) and isinstance(size, tuple):
        shape = shape_of(x)
        if shape is not None and not any(begin) and tuple(shape[a] for a in axes) == size:
            return x
        stop: Sizes = tuple(b + s for b, s in zip(begin, size, strict=True))
    elif isinstance(begin, tuple) and not any(begin):
        stop = size
    else:
        stop = op.Add(vector(op, begin), vector(op, size))
    return op.Slice(x, vector(op, begin), vector(op, stop), axes)


def ints(node: NodeView, name: str, n: int, default: int = 1) -> Ints:
    """Return an attribute of n ints (``default`` each where it is not there)."""
    return tuple(int(v) for v in node.attr(name) or (default,) * n)


def _kernel(node: NodeView, weight: Tensor | None) -> Ints | None:
    if node.attr("kernel_shape"):
        return tuple(int(k) for k in node.attr("kernel_shape"))
    shape = None if weight is None else shape_of(weight)
    if shape is None or not all(isinstance(d, int) for d in shape[2:]):
        return None
    return tuple(int(d) for d in shape[2:] if d is not None)


def _last_start(op: Emitter, count: Sizes, strides: Ints) -> Tensor:
    return op.Mul(op.Sub(vector(op, count), [1]), list(strides))


def _reach(op: Emitter, bare: Window, weight: Tensor | None) -> Tensor:
    if bare.reach is not None:
        return vector(op, bare.reach)
    assert weight is not None, "only a Conv has a window of unknown size"
    taps = spatial(op, weight, len(bare.strides))
    return op.Add(op.Mul(op.Sub(taps, [1]), list(bare.dilations)), [1])
