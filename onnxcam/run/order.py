"""The axes of a model's input, and those that methods work on."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import Layout
from onnxcam.errors import InputError, UsageError

Array: TypeAlias = np.ndarray[Any, Any]
_ORDER = "NCDHW"


class Order:
    """The way from the axes of a model to [N, C, *space] and back.

    Args:
        axes: A letter for each axis of the model's tensor, as of a :class:`Layout`.

    Raises:
        UsageError: They are not a batch, at most one axis of channels, and space.
    """

    def __init__(self, axes: str) -> None:
        if "N" not in axes or not set(axes) - set("NC") or not set(axes) <= set(_ORDER):
            raise UsageError(
                f"the axes of the model's input ({axes}) are not batch, channels and space",
                "use saliency or input-x-gradient, which need no space",
            )
        self.axes = axes
        self._letters = axes if "C" in axes else f"{axes}C"

    def channels_first(self, tensor: Array) -> Array:
        """Return the model's tensor as [N, C, *space]."""
        full = tensor if "C" in self.axes else tensor[..., None]
        return full.transpose([self._letters.index(c) for c in _ORDER if c in self._letters])

    def as_model(self, values: Array) -> Array:
        """Return [N, C, *space] in the axes of the model."""
        ordered = [c for c in _ORDER if c in self._letters]
        turned = values.transpose([ordered.index(c) for c in self._letters])
        return turned if "C" in self.axes else turned[..., 0]


def order_of(catalog: Catalog) -> Order:
    """Return the order of the axes of a model's input; see :class:`Order`."""
    layout, positions = catalog.input_layout, catalog.input_positions
    if layout is None or layout.regrouped.strange:
        layout = positions or layout  # each number is a position, as of a table
    return Order("unknown" if layout is None else layout.axes)


def one_input(tensor: Array, layout: Layout | None) -> Array:
    """Return a prepared tensor, which must hold one input.

    Raises:
        InputError: It holds several.
    """
    axis = 0 if layout is None or layout.batch is None else layout.batch
    count = tensor.shape[axis]
    if count != 1:
        raise InputError(
            f"the array holds {count} inputs, and one is explained at a time",
            "give a list of arrays with a batch of 1",
        )
    return tensor


def rounded(values: Array, kind: np.dtype[Any]) -> Array:
    """Return values as a dtype holds them: whole numbers within its range, if it holds these.

    Raises:
        UsageError: They are parts of numbers of tokens, each of which stands for a word of its own.
    """
    if kind.kind in "iu":
        tokens = kind.itemsize >= 4 and values.ndim <= 2
        if tokens and (values != np.rint(values)).any():
            raise UsageError(
                "the input holds numbers of tokens, and the method takes parts of them: another "
                "number is another word",
                "hide tokens whole, as `method='occlusion'` does",
            )
        limits = np.iinfo(kind)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(kind, copy=False)
