"""What metrics measure: a map over an input, of an explanation or of anybody's arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxcam.errors import InputError, UsageError

Array: TypeAlias = np.ndarray[Any, Any]


class Explained(Protocol):
    """A map and what it is of: an :class:`onnxcam.Explanation`, or a :class:`Sample`."""

    @property
    def map(self) -> Array:
        """The map, best at the input's size."""

    @property
    def tensor(self) -> Array:
        """The input, without a batch axis."""

    @property
    def layout(self) -> str | None:
        """A letter for each axis of the input, such as "CHW"; None where that is not known."""

    @property
    def target(self) -> int:
        """Index of the class that is explained."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A map that comes from elsewhere, and what it is of.

    Attributes:
        map: The map, [*space].
        tensor: The input that it lies over, without a batch axis; empty for metrics that look at
            the map alone.
        layout: A letter for each axis of the input ("CHW", "HWC", "CT"); see :func:`sample`.
        target: Index of the class that is explained.
    """

    map: Array
    tensor: Array
    layout: str | None = None
    target: int = 0


def sample(
    map: Any, tensor: Any = None, layout: str | None = None, target: int = 0
) -> Sample:  # fmt: skip
    """Return somebody's map as metrics take it.

    Args:
        map: Numbers [*space].
        tensor: The input that it lies over, without a batch axis.
        layout: A letter for each of its axes; None finds the axis of the channels as the one that
            the map lacks, the first where several could be.
        target: Index of the class that is explained.
    """
    values = np.asarray(map)
    x = np.zeros(0, np.float32) if tensor is None else np.asarray(tensor)
    if layout is None and x.size:
        letters = "DHW"[-values.ndim :] if 0 < values.ndim <= 3 else "?" * values.ndim
        if x.shape == values.shape:
            layout = letters
        for axis in range(x.ndim):
            if layout is None and x.shape[:axis] + x.shape[axis + 1 :] == values.shape:
                layout = letters[:axis] + "C" + letters[axis:]
    return Sample(values, x, layout, target)


def finite(explained: Explained) -> Array:
    """Return a map as float64.

    Raises:
        InputError: It is not finite.
    """
    map = np.asarray(explained.map, np.float64)
    if not np.isfinite(map).all():
        raise InputError("the map is not finite", "see the explanation's diagnosis")
    return map


def laid(explained: Explained) -> Array:
    """Return a map, which must lie over its input.

    Raises:
        UsageError: It is of another size, or nobody knows the input's axes.
        InputError: It is not finite.
    """
    layout, map, shape = explained.layout or "", explained.map, explained.tensor.shape
    space = tuple(n for axis, n in zip(layout, shape, strict=False) if axis != "C")
    if len(layout) != len(shape) or map.shape != space:
        raise UsageError(
            f"a map of shape {list(map.shape)} does not lie over an input {list(shape)} "
            f"({layout or 'of unknown axes'})",
            "explain with `upsampling='bicubic'`",
        )
    return finite(explained)


def along(explained: Explained, values: Array) -> Array:
    """Return values of the map's shape with an axis of 1 where the input has its channels."""
    layout = explained.layout or ""
    return np.expand_dims(values, layout.index("C")) if "C" in layout else values


def scaled(map: Array) -> Array:
    """Return a map from 0 to 1: 0 is its least value, 1 its greatest; zeros of a constant one."""
    low, high = map.min(), map.max()
    found: Array = (map - low) / (high - low) if high > low else np.zeros_like(map)
    return found


def ranks(explained: Explained) -> Array:
    """Return the place of every position in the order from the highest value, int64 [*space].

    Values that are the same go in their order in memory.

    Raises:
        UsageError: The map does not lie over the input.
        InputError: It is not finite.
    """
    map = laid(explained)
    rank = np.empty(map.size, np.int64)
    rank[np.argsort(-map.ravel(), kind="stable")] = np.arange(map.size)
    return rank.reshape(map.shape)
