"""Where a map is made: the axes of the feature layer or the input, and the way to a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Candidate
from onnxcam.analysis.layout import Layout
from onnxcam.errors import UsageError
from onnxcam.graph.contrib import scale_of
from onnxcam.graph.emit import Dim, Emitter, Tensor, is_float, shape_of
from onnxcam.methods.cam.sums import reshaped
from onnxcam.methods.registry import Axes
from onnxcam.model.draft import Draft

Cut: TypeAlias = tuple[str, "int | Tensor", int]  # as a piece of a layout; -1: what is left
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
        pieces: Where the axes of :attr:`layout` are put together from pieces of the tensor's own:
            what these are cut into.
        part: Which of the parts of its batch is of the inputs, where others share it.
    """

    tensor: Tensor
    layout: Layout
    grid: tuple[int | Tensor, ...] = ()
    stored: Tensor | None = None
    scale: Tensor | None = None
    pieces: tuple[tuple[Cut, ...], ...] = ()
    part: int = 0

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
            return Axes(channel, tuple(sorted(self.layout.space)))
        return Axes(1, tuple(sorted(i + (i > 0) for i in self.layout.space)))

    @property
    def letters(self) -> str:
        """Names of the map's spatial axes, in order ("HW", "W", "DHW")."""
        if self.grid:
            return {1: "W", 2: "HW", 3: "DHW"}[len(self.grid)]
        return "".join(c for c in "DHW" if c in self.layout.axes)

    def patches(self, op: Emitter, value: Tensor) -> Tensor:
        """Return a value of the tensor's shape without class and register tokens.

        Where the tensor has no channel axis it gets one of 1, as axis 1; where its axes are
        products, they are those of :attr:`layout` afterwards.
        """
        if self.pieces:
            return self._regrouped(op, value)
        if self.layout.channel is None:
            return op.Unsqueeze(value, axes=[1])
        if not self.layout.prefix and not self.layout.suffix:
            return value
        start, end = self.layout.prefix, -self.layout.suffix or _END
        return op.Slice(value, starts=[start], ends=[end], axes=[self.layout.space[0]])

    def unpatched(self, op: Emitter, value: Tensor) -> Tensor:
        """Return a value in the axes of :attr:`source`, from those of :meth:`patches`.

        Raises:
            UsageError: That is more than another axis away, or the source holds integers.
        """
        whole = not (self.pieces or self.layout.prefix or self.layout.suffix)
        if self.stored is not None or not whole:
            raise UsageError(
                f"no other values can be put in the place of {self.tensor.name!r}, whose axes are "
                "put together or which holds integers",
                "use a method that runs the gradient once, such as `method='input-x-gradient'`",
            )
        return op.Squeeze(value, axes=[1]) if self.layout.channel is None else value

    def shown(self, op: Emitter) -> Tensor:
        """Return the tensor as a user gets it: one row an input."""
        return self._regrouped(op, self.tensor) if self.pieces else self.tensor

    def _regrouped(self, op: Emitter, value: Tensor) -> Tensor:
        """Cut the axes into their pieces, and put these together by their letters."""
        flat = [piece for axis in self.pieces for piece in axis]
        cut = op.Reshape(value, op.dims(*(size for _, size, _ in flat)))
        letters = self.layout.axes
        if "P" in (letter for letter, _, _ in flat):  # other inputs share the batch
            axis = [letter for letter, _, _ in flat].index("P")
            cut = op.Gather(cut, np.int64(self.part), axis=axis)
            flat.pop(axis)
        order = sorted(range(len(flat)), key=lambda i: (letters.index(flat[i][0]), -flat[i][2]))
        if order != sorted(order):
            cut = op.Transpose(cut, perm=order)
        whole = [_product(op, [size for c, size, _ in flat if c == letter]) for letter in letters]
        return op.Reshape(cut, op.dims(*whole))

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


def place_of(draft: Draft, layer: Candidate) -> Place:
    """Return where a map is made of a layer.

    Raises:
        UsageError: The meaning of its axes is not known, or it holds integers.
    """
    tensor, layout = draft.tensor(layer.name), layer.layout
    each = None if layout is None else layout.regrouped
    if layout is None or each is None or each.batch is None or not each.space or each.strange:
        known = "" if layout is None else f" ({layout.axes})"
        raise UsageError(
            f"no map can be made at {layer.name!r}: the meaning of its axes is not known{known}",
            "`onnxcam.analysis.layers.catalog(model)` lists the layers with a known one",
        )
    grid = tuple(_extent(draft, d) for d in layout.grid)
    pieces = _cuts(draft, tensor, layout)
    scale = scale_of(tensor)
    if scale is not None:
        scaled = scale.reals(draft.op, tensor)
        return Place(scaled, each, grid, tensor, scale.scale, pieces, layout.part)
    if not is_float(tensor):
        reals = _reals_of(tensor)
        if reals is not None:
            return Place(reals, each, grid, pieces=pieces, part=layout.part)
        raise UsageError(
            f"{layer.name!r} holds integers, which have no gradient",
            _behind(tensor),
        )
    return Place(tensor, each, grid, pieces=pieces, part=layout.part)


def _behind(integers: Tensor) -> str:
    """Return what to do where an input holds integers: of tokens their embedding is named."""
    takers, seen = list(integers.outputs), 0
    while seen < len(takers):
        node = takers[seen]
        seen += 1
        if node.op == "Gather" and len(shape_of(node.inputs[0]) or ()) == 2:
            named = f"`feature_layer={node.outputs[0].name!r}`"
            return f"explain at {named}, as `method='layer-integrated-gradients'` does"
        if node.op in ("Cast", "Identity", "Unsqueeze", "Squeeze"):
            takers += node.outputs[0].outputs
    return "choose a `feature_layer` behind it, and a method that takes one"


def channelled(place: Place, method: str) -> dict[str, Any]:
    """Return what overrides are told of a layer whose channels they tell apart.

    Raises:
        UsageError: They are not in one axis.
    """
    layout = place.layout
    if place.pieces or layout.channel is None or layout.batch is None or place.stored:
        raise UsageError(
            f"{method} follows one channel, and {place.tensor.name!r} has none in an axis of its "
            "own",
            "choose another `feature_layer`",
        )
    return {"layer": place.tensor.name, "axes": (layout.batch, layout.channel)}


def _reals_of(integers: Tensor) -> Tensor | None:
    """Return what integers are made before anything else is done with them: a cast, dequantised."""
    takers = [n for n in integers.outputs if n.op in ("Cast", "DequantizeLinear")]
    found = [n.outputs[0] for n in takers if is_float(n.outputs[0])]
    return found[0] if len(found) == len(integers.outputs) == 1 else None


def _cuts(draft: Draft, tensor: Tensor, layout: Layout) -> tuple[tuple[Cut, ...], ...]:
    """Return what the axes of a tensor are cut into, -1 for the batch that nothing says.

    Raises:
        UsageError: More is not known.
    """
    cuts: list[list[Cut]] = []
    for i, axis in enumerate(layout.pieces):
        row: list[Cut] = []
        for letter, size, level in axis:
            alone = len(axis) == 1 and not isinstance(size, int) and letter != "N"
            extent = draft.op.dim(tensor, i) if alone else _extent(draft, size)
            row.append((letter, extent, level))
        cuts.append(row)
    left = [letter for row in cuts for letter, size, _ in row if isinstance(size, int) and size < 0]
    if left not in ([], ["N"]):
        raise UsageError(
            f"no map can be made at {tensor.name!r}: the sizes that its axes are made of are not "
            "known",
            "choose another `feature_layer`, or export the model with a fixed size",
        )
    has_batch = any(letter == "N" for row in cuts for letter, _, _ in row)
    front: list[Cut] = [] if has_batch else [("N", 1, 0)]
    return (tuple(front), *map(tuple, cuts)) if cuts else ()


def _extent(draft: Draft, dim: Dim) -> int | Tensor:
    """Return an extent of a grid; a symbol is looked up in the shape of a tensor that has it."""
    if isinstance(dim, int):
        return dim
    for tensor in draft.graph.tensors().values():
        shape = shape_of(tensor) or ()
        if isinstance(dim, str) and dim in shape:
            return draft.op.dim(tensor, shape.index(dim))
    return -1


def extents(draft: Draft, tensor: Tensor, layout: Layout) -> list[int | Tensor] | None:
    """Return the extents of a tensor's space, from depth to width; None where not all are known."""
    if layout.grid:
        found = [_extent(draft, d) for d in layout.grid]
    elif layout.pieces:
        flat = [piece for axis in _cuts(draft, tensor, layout) for piece in axis]
        space = (c for c in layout.regrouped.axes if c not in "NC")
        found = [_product(draft.op, [d for c, d, _ in flat if c == letter]) for letter in space]
    else:
        found = [draft.op.dim(tensor, i) for i in layout.space]
    return None if any(isinstance(d, int) and d < 0 for d in found) else found


def _product(op: Emitter, sizes: Sequence[int | Tensor]) -> int | Tensor:
    """Return a product of extents, -1 where one of them is what is left."""
    fixed = [d for d in sizes if isinstance(d, int)]
    if -1 in fixed:
        return -1
    found: int | Tensor = prod(fixed)
    for size in sizes:
        if not isinstance(size, int):
            found = size if isinstance(found, int) and found == 1 else op.Mul(found, size)
    return found


def known_rank(tensor: Tensor) -> int:
    """Return the number of axes of a tensor, 0 where it is not known."""
    return len(shape_of(tensor) or ())
