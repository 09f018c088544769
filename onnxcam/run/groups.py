"""Inputs of one shape share a run; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from onnxcam.analysis.layers import Catalog
from onnxcam.analysis.layout import Layout
from onnxcam.errors import InputError, OnnxcamError
from onnxcam.inputs import Prepared
from onnxcam.model.model import Model

Array: TypeAlias = np.ndarray[Any, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """The batch that a model takes.

    Attributes:
        axis: Where it lies in the input.
        size: How many inputs it holds; None where that is free.
    """

    axis: int
    size: int | None

    @property
    def is_fixed(self) -> bool:
        """Whether every run needs a certain number of inputs, above one."""
        return self.size is not None and self.size > 1

    def filled(self, tensor: Array) -> Array:
        """Return a batch as large as the model wants it: its last input comes again."""
        missing = (self.size or 0) - tensor.shape[self.axis]
        if not self.is_fixed or missing <= 0:
            return tensor
        last = tensor.take([-1], self.axis)
        return np.concatenate([tensor, *[last] * missing], self.axis)

    def said(self, inputs: int) -> dict[str, str]:
        """Return what an explanation says of a batch that was filled."""
        if not self.is_fixed or inputs == self.size:
            return {}
        return {"batch": f"{inputs} of {self.size}, the last one repeated"}


def batch_of(model: Model, catalog: Catalog) -> Batch:
    """Return the batch of the input that maps are laid over.

    It is of one where no axis is the batch, or where the scores are those of one input.
    """
    layout = catalog.input_layout
    port = next(p for p in model.inputs if p.name == catalog.input)
    if layout is None or port.shape is None:
        return Batch(0, None if port.shape and not isinstance(port.shape[0], int) else 1)
    if layout.batch is None:
        return Batch(0, 1)
    size, alone = port.shape[layout.batch], catalog.reduction.batch_axis is None
    return Batch(layout.batch, size if isinstance(size, int) else 1 if alone else None)


def held_inputs(shape: Sequence[Any], layout: Layout | None) -> Any:
    """Return how many inputs a tensor holds: one where its axes are known and none is the batch."""
    if not shape or (layout is not None and "?" not in layout.axes and layout.batch is None):
        return 1
    return shape[0 if layout is None or layout.batch is None else layout.batch]


def each_input(
    prepared: Prepared | OnnxcamError, layout: Layout | None
) -> list[Prepared | OnnxcamError]:
    """Return the inputs that an array holds, each with a batch of one; an error as it is."""
    if isinstance(prepared, OnnxcamError) or layout is None or layout.batch is None:
        return [prepared]
    count = prepared.tensor.shape[layout.batch]
    if count == 1:
        return [prepared]
    rows = np.split(prepared.tensor, count, layout.batch)
    return [replace(prepared, tensor=row) for row in rows]


def extra_batch(array: Array, shape: Sequence[Any], batch: Batch) -> Array:
    """Return what is fed beside the input, for as many inputs as the model takes."""
    wanted = shape[0] if shape else None
    if batch.is_fixed and array.ndim == len(shape) and wanted == batch.size and len(array) == 1:
        return Batch(0, batch.size).filled(array)
    return array


def in_groups(
    prepared: Iterable[Prepared | OnnxcamError],
    run: Callable[[Sequence[Prepared]], Sequence[T]],
    most: int | None = None,
    alike: Callable[[Prepared], Hashable] = lambda each: each.tensor.shape,
) -> list[T | OnnxcamError]:
    """Return what a run makes of each input, in their order.

    Args:
        prepared: The inputs; for one that cannot be used its error, which is returned.
        run: Takes inputs of one shape, and returns a result of each.
        most: How many inputs a run may have.
        alike: What inputs that share a run have in common.
    """
    results: dict[int, T | OnnxcamError] = {}
    groups: dict[Hashable, list[tuple[int, Prepared]]] = {}
    for i, each in enumerate(prepared):
        if isinstance(each, OnnxcamError):
            results[i] = each
        else:
            groups.setdefault(alike(each), []).append((i, each))
    for group in groups.values():
        step = most or len(group)
        for members in (group[i : i + step] for i in range(0, len(group), step)):
            found = _tried([each for _, each in members], run)
            results.update((i, result) for (i, _), result in zip(members, found, strict=True))
    return [results[i] for i in sorted(results)]


def _tried(
    members: Sequence[Prepared], run: Callable[[Sequence[Prepared]], Sequence[T]]
) -> Sequence[T | OnnxcamError]:
    """Return what a run makes of inputs; of each alone where they cannot be run together.

    Some files say that they take any batch, and hold a batch of one inside; and what is wrong with
    one input is no fault of the others.
    """
    try:
        return run(members)
    except InputError as error:
        if len(members) == 1:
            return [error]
        alone = [found for each in members for found in _tried([each], run)]
        none = all(isinstance(found, OnnxcamError) for found in alone)
        return [error] * len(members) if none else alone
    except OnnxcamError as error:
        return [error] * len(members)


def joined(
    found: Sequence[T | OnnxcamError], counts: Sequence[int]
) -> list[T | list[T] | OnnxcamError]:
    """Return the results by what was given: a list of those of an array that held several inputs.

    Args:
        found: A result of each input.
        counts: How many inputs each thing that was given held.
    """
    out: list[T | list[T] | OnnxcamError] = []
    start = 0
    for count in counts:
        rows = found[start : start + count]
        start += count
        wrong = next((r for r in rows if isinstance(r, OnnxcamError)), None)
        if wrong is not None:
            out.append(wrong)
        else:
            right = [r for r in rows if not isinstance(r, OnnxcamError)]
            out.append(right[0] if count == 1 else right)
    return out
