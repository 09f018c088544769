"""The standard's functions that move values: parts, reshaping, joining, choosing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxcam.targets.traced.arrays import TracedArray, refused
from onnxcam.targets.traced.base import INT
from onnxcam.targets.traced.reductions import Reductions

_END = np.iinfo(np.int64).max
_INDEX = "index by ints, slices, None and ...; by an array with take(y, [2, 5], axis=1)"


class Shaping(Reductions):
    """Functions that keep values and change their places."""

    def part(self, x: TracedArray, key: Any) -> TracedArray:
        """Return x[key].

        Raises:
            UsageError: It is no key of ints, slices, None and one ellipsis, or out of range.
        """
        keys = self._spelt(x, key if isinstance(key, tuple) else (key,))
        axis = 0
        for each in keys:
            if each is None:
                x, axis = self.expand_dims(x, axis=axis), axis + 1
            elif isinstance(each, slice):
                x, axis = self._sliced(x, axis, each), axis + 1
            else:
                place = self._in_range(x, axis, int(each))
                x = self.wrap(self.op.Gather(x.tensor, np.int64(place), axis=axis))
        return x

    def _spelt(self, x: TracedArray, key: tuple[Any, ...]) -> list[Any]:
        """Return a key without its ellipsis: a part for each axis, and None for new ones."""
        for each in key:
            whole = isinstance(each, int | np.integer) and not isinstance(each, bool)
            if not (whole or each is None or each is Ellipsis or isinstance(each, slice)):
                what = repr(each) if isinstance(each, TracedArray) else type(each).__name__
                raise refused(f"{x!r} is indexed by {what}", _INDEX)
        used = sum(each is not None and each is not Ellipsis for each in key)
        if used > x.ndim or sum(each is Ellipsis for each in key) > 1:
            raise refused(f"{x!r} is indexed by {used} parts", f"it has {x.ndim} axes")
        rest = [slice(None)] * (x.ndim - used)
        at = next((i for i, each in enumerate(key) if each is Ellipsis), None)
        if at is None:
            return [*key, *rest]
        return [*key[:at], *rest, *key[at + 1 :]]

    def _in_range(self, x: TracedArray, axis: int, place: int) -> int:
        size = x.shape[axis]
        if size is not None and not -size <= place < size:
            raise refused(
                f"index {place} is out of range for axis {axis} of {x!r}",
                f"give one from {-size} to {size - 1}",
            )
        return place

    def _sliced(self, x: TracedArray, axis: int, part: slice) -> TracedArray:
        if part == slice(None):
            return x
        step = 1 if part.step is None else int(part.step)
        if step == 0:
            raise refused("a slice with a step of 0", "give another step")
        first, last = (0, _END) if step > 0 else (_END, -_END)
        start = first if part.start is None else int(part.start)
        end = last if part.stop is None else int(part.stop)
        tensor = self.op.Slice(x.tensor, starts=[start], ends=[end], axes=[axis], steps=[step])
        return self.wrap(tensor)

    def reshape(
        self, x: Any, /, shape: int | Sequence[int | None], *, copy: bool | None = None
    ) -> TracedArray:
        """The values in another shape; None keeps the size of the axis at its place."""
        found = self.array(x)
        each = [shape] if isinstance(shape, int | np.integer) else list(shape)
        sizes = []
        for i, size in enumerate(each):
            if isinstance(size, TracedArray) or (size is None and i >= found.ndim):
                raise refused(f"{found!r} is given the shape {each}", "give whole numbers, or -1")
            sizes.append(0 if size is None else int(size))
        return self.wrap(self.op.Reshape(found.tensor, sizes))

    def permute_dims(self, x: Any, /, axes: Sequence[int] | None = None) -> TracedArray:
        """The axes in another order; in the reverse one where none is said."""
        found = self.array(x)
        order = range(found.ndim)[::-1] if axes is None else [self.axis(found, a) for a in axes]
        if sorted(order) != list(range(found.ndim)):
            raise refused(f"the axes of {found!r} are put as {axes}", "name each of them once")
        return self.wrap(self.op.Transpose(found.tensor, perm=list(order)))

    def matrix_transpose(self, x: Any, /) -> TracedArray:
        """The last two axes changed."""
        found = self.array(x)
        rank = range(found.ndim)
        return self.permute_dims(found, [*rank[:-2], rank[-1], rank[-2]])

    def moveaxis(self, x: Any, source: int, destination: int, /) -> TracedArray:
        """One axis in another place."""
        found = self.array(x)
        at = self.axis(found, source)
        rest = [i for i in range(found.ndim) if i != at]
        rest.insert(self.axis(found, destination), at)
        return self.permute_dims(found, rest)

    def expand_dims(self, x: Any, /, *, axis: int = 0) -> TracedArray:
        """A new axis of 1."""
        found = self.array(x)
        return self.wrap(self.op.Unsqueeze(found.tensor, axes=[self.axis(found, axis, 1)]))

    def squeeze(self, x: Any, /, axis: int | Sequence[int] | None = None) -> TracedArray:
        """Fewer axes of 1."""
        found = self.array(x)
        axes = [i for i, d in enumerate(found.shape) if d == 1]
        axes = axes if axis is None else self.axes(found, axis)
        long = [a for a in axes if found.shape[a] not in (1, None)]
        if long:
            raise refused(f"axis {long[0]} of {found!r} is squeezed out", "it is not of size 1")
        return self.wrap(self.op.Squeeze(found.tensor, axes=axes)) if axes else found

    def concat(self, arrays: Sequence[Any], /, *, axis: int | None = 0) -> TracedArray:
        """Arrays one behind the other."""
        each = [self.wrap(t) for t in self.alike(*arrays)]
        if axis is None:
            each, axis = [self.reshape(a, [-1]) for a in each], 0
        at = self.axis(each[0], axis)
        return self.wrap(self.op.Concat(*(a.tensor for a in each), axis=at))

    def stack(self, arrays: Sequence[Any], /, *, axis: int = 0) -> TracedArray:
        """Arrays along a new axis."""
        each = [self.wrap(t) for t in self.alike(*arrays)]
        at = self.axis(each[0], axis, 1)
        return self.concat([self.expand_dims(a, axis=at) for a in each], axis=at)

    def unstack(self, x: Any, /, *, axis: int = 0) -> tuple[TracedArray, ...]:
        """The parts along an axis."""
        return tuple(self.moveaxis(self.array(x), axis, 0))

    def flip(self, x: Any, /, *, axis: int | Sequence[int] | None = None) -> TracedArray:
        """The values in the reverse order."""
        found = self.array(x)
        for at in self.axes(found, axis):
            found = self._sliced(found, at, slice(None, None, -1))
        return found

    def broadcast_to(self, x: Any, /, shape: Sequence[int]) -> TracedArray:
        """The values again along axes of 1."""
        return self.wrap(self.op.Expand(self.array(x).tensor, np.asarray(shape, np.int64)))

    def take(self, x: Any, indices: Any, /, *, axis: int | None = None) -> TracedArray:
        """The parts at these places of an axis."""
        found, places = self.array(x), self.array(indices)
        if axis is None and found.ndim != 1:
            raise refused("values are taken of no axis", "name it: axis=1")
        if places.dtype.kind not in "iu":
            raise refused(f"values are taken at places of {places.dtype}", "give whole numbers")
        at = self.axis(found, axis or 0)
        if not isinstance(indices, TracedArray):
            for place in np.asarray(indices).ravel():
                self._in_range(found, at, int(place))
        return self.wrap(self.op.Gather(found.tensor, self.cast(places, INT).tensor, axis=at))

    def take_along_axis(self, x: Any, indices: Any, /, *, axis: int = -1) -> TracedArray:
        """Of every row the values at its own places."""
        found, places = self.array(x), self.cast(self.array(indices), INT)
        at = self.axis(found, axis)
        return self.wrap(self.op.GatherElements(found.tensor, places.tensor, axis=at))
