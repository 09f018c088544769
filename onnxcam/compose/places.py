"""Where a map is made: the axes of the feature layer or the input, and the way to a map."""

from __future__ import annotations

from dataclasses import dataclass

from onnxcam.analysis.layout import Layout
from onnxcam.graph.emit import Emitter, Tensor, shape_of
from onnxcam.methods.cam.sums import reshaped
from onnxcam.methods.registry import Axes

_END = 2**63 - 1
_ORDER = "NTDHW"


@dataclass(frozen=True)
class Place:
    """A tensor that maps are made of.

    Attributes:
        tensor: The tensor, of reals.
        layout: The meaning of its axes: batch and space are known.
        grid: Extents of the space that a token axis stands for; () where space has axes.
        stored: The integers that the model computes with, where the tensor is what they stand for.
        scale: The step of one of them.
    """

    tensor: Tensor
    layout: Layout
    grid: tuple[int | Tensor, ...] = ()
    stored: Tensor | None = None
    scale: Tensor | None = None

    @property
    def source(self) -> Tensor:
        """What the model computes with: the tensor, or the integers that stand for it."""
        return self.tensor if self.stored is None else self.stored

    def gradient(self, op: Emitter, slope: Tensor) -> Tensor:
        """Return the gradient with respect to the tensor, from that of :attr:`source`."""
        return slope if self.scale is None else op.Div(slope, self.scale)

    @property
    def axes(self) -> Axes:
        """The axes of what :meth:`patches` returns."""
        channel = self.layout.channel
        if channel is not None:
            return Axes(channel, self.layout.space)
        return Axes(1, tuple(i + (i > 0) for i in self.layout.space))

    @property
    def letters(self) -> str:
        """Names of the map's spatial axes, in order ("HW", "W", "DHW")."""
        if self.grid:
            return {1: "W", 2: "HW", 3: "DHW"}[len(self.grid)]
        return "".join(c for c in "DHW" if c in self.layout.axes)

    def patches(self, op: Emitter, value: Tensor) -> Tensor:
        """Return a value of the tensor's shape without class and register tokens.

        Where the tensor has no channel axis it gets one of 1, as axis 1.
        """
        if self.layout.channel is None:
            return op.Unsqueeze(value, axes=[1])
        if not self.layout.prefix and not self.layout.suffix:
            return value
        start, end = self.layout.prefix, -self.layout.suffix or _END
        return op.Slice(value, starts=[start], ends=[end], axes=[self.layout.space[0]])

    def as_features(self, op: Emitter, value: Tensor) -> Tensor:
        """Return what :meth:`patches` returns as [N, C, *space], space from depth to width."""
        letters = self.layout.axes
        if self.layout.channel is None:
            letters = f"{letters[:1]}C{letters[1:]}"
        order = [letters.index(c) for c in "NCTDHW" if c in letters]
        turned = value if order == sorted(order) else op.Transpose(value, perm=order)
        return reshaped(op, turned, 0, *self.grid) if self.grid else turned

    def as_map(self, op: Emitter, reduced: Tensor) -> Tensor:
        """Return a value of one channel as [N, ...space], space in the order depth to width."""
        flat = op.Squeeze(reduced, axes=[self.axes.channel])
        letters = self.layout.axes.replace("C", "")
        order = [letters.index(c) for c in _ORDER if c in letters]
        turned = flat if order == sorted(order) else op.Transpose(flat, perm=order)
        if not self.grid:
            return turned
        return reshaped(op, turned, *self.grid)

    def as_channel(self, op: Emitter, map: Tensor) -> Tensor:
        """Return a map [N, ...space] along the tensor's own axes, with a channel axis of 1."""
        letters = self.layout.axes.replace("C", "")
        ordered = [c for c in _ORDER if c in letters]
        perm = [ordered.index(c) for c in letters]
        turned = map if perm == sorted(perm) else op.Transpose(map, perm=perm)
        return op.Unsqueeze(turned, axes=[self.axes.channel])

    @property
    def rank(self) -> int:
        """How many axes a map has behind the batch."""
        return len(self.grid) or len(self.layout.space)


def known_rank(tensor: Tensor) -> int:
    """Return the number of axes of a tensor, 0 where it is not known."""
    return len(shape_of(tensor) or ())
