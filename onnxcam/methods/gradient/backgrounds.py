"""Inputs that stand for nothing in particular: of a file, or the input itself, mixed up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from onnxcam.errors import InputError
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, shape_of
from onnxcam.inputs.arrays import load_said
from onnxcam.methods.gradient import rounds
from onnxcam.methods.needs import Array
from onnxcam.methods.parameters import Parameter
from onnxcam.methods.registry import Axes

BACKGROUND = Parameter(
    "background", str, "", None, None,
    "file of prepared inputs that stand for nothing in particular: .npy [n, ...], in the model's "
    "axes; without it, copies of the input with its positions in random order",
)  # fmt: skip


def mixed(op: Emitter, x: Tensor, axes: Axes, number: Tensor) -> Tensor:
    """Return an input with its positions in an order of its own for each number."""
    order = [0, axes.channel, *axes.space]
    turned = op.Transpose(x, perm=order)
    flat = op.Reshape(turned, op.const(np.array([0, 0, -1])))
    drawn = op.Transpose(rounds.normal(op, x, axes, number), perm=order)
    one = op.Slice(drawn, starts=[0, 0], ends=[1, 1], axes=[0, 1])
    line = op.Reshape(one, op.const(np.array([-1])))
    _, places = op.TopK(line, op.dims(op.dim(flat, 2)), axis=0, _outputs=2)
    mixed = op.Reshape(op.Gather(flat, places, axis=2), op.shape(turned))
    return op.Transpose(mixed, perm=[order.index(i) for i in range(len(order))])


def read(file: str, x: Tensor) -> Array:
    """Return the inputs of a file, in the axes of x.

    Raises:
        InputError: It cannot be read, or holds no inputs like x.
    """
    found = load_said(file, "background")
    shape = shape_of(x) or ()
    if found.ndim == len(shape) - 1:
        found = found[:, None]
    like = (
        len(found)
        and found.ndim == len(shape)
        and all(
            size == dim or not isinstance(dim, int)
            for size, dim in zip(found.shape[1:], shape[1:], strict=True)
        )
    )
    if not like:
        raise InputError(
            f"the background {file} holds no inputs like the model's: its shape is "
            f"{list(found.shape)}",
            "give prepared inputs, one after another in the batch's axis",
        )
    return found


def chosen(size: int, samples: int, rng: np.random.Generator) -> Array:
    """Return which of a background are taken, none twice: int [n], all where there are few."""
    if size <= samples:
        return np.arange(size)
    return rng.choice(size, samples, replace=False)


def _size(file: str) -> int:
    """Return how many inputs a file holds."""
    return len(load_said(file, "background"))


class Starts:
    """Where each draw begins, in a graph: an input of a file, or the input itself, mixed up.

    Args:
        op: Emitter of the graph, which holds the file's inputs once.
        file: The background; "" for none.
        rows: Which of its inputs are used at all, int [n].
    """

    def __init__(self, op: Emitter, file: str, rows: Array) -> None:
        self._op, self._file, self._rows = op, file, rows
        self._table: Tensor | None = None

    def at(self, op: Emitter, x: Tensor, axes: Axes, item: Sequence[Tensor]) -> Tensor:
        """Return where a draw begins, for each input of the batch.

        Args:
            op: Emitter of the graph or of a subgraph.
            x: The inputs.
            axes: Their axes.
            item: Of the draw: its number first; last, int64 [1], which of those that are used.
        """
        if not self._file:
            return op.typed(mixed(op, x, axes, item[0]), x)
        if self._table is None:
            kind = dtype_of(x) or np.dtype(np.float32)
            self._table = self._op.const(read(self._file, x)[self._rows].astype(kind))
        row = op.Gather(self._table, item[-1], axis=0)
        return op.typed(op.Add(op.zeros_like(x), row), x)


def once(op: Emitter, file: str, samples: int) -> tuple[Starts, list[Array]]:
    """Return where draws begin that have each input of a background once, and their items."""
    rows = np.arange(samples)
    if file:
        rows = chosen(_size(file), samples, np.random.default_rng(0))
    return Starts(op, file, rows), [
        np.arange(1, len(rows) + 1), np.arange(len(rows)).reshape(-1, 1)
    ]  # fmt: skip


def drawn(
    op: Emitter, file: str, samples: int, rng: np.random.Generator, kind: np.dtype[Any]
) -> tuple[Starts, list[Array]]:
    """Return where random draws begin, and their items: number, part of the way, input."""
    items: list[Array] = [np.arange(1, samples + 1), rng.random(samples).astype(kind)]
    rows = np.arange(samples)
    if file:
        rows, place = np.unique(rng.integers(_size(file), size=samples), return_inverse=True)
        items.append(place.reshape(-1, 1))
    return Starts(op, file, rows), items


def taken(
    x: Array, others: Array | None, samples: int, rng: np.random.Generator
) -> tuple[int, Iterator[Array]]:
    """Return how many inputs of a background are taken, and these; of none, the input mixed up."""
    rows = range(samples) if others is None else chosen(len(others), samples, rng)
    return len(rows), (shuffled(x, rng) if others is None else others[row] for row in rows)


def shuffled(x: Array, rng: np.random.Generator) -> Array:
    """Return the input with its positions in random order, the channels of each together."""
    flat = x.reshape(len(x), -1)
    return flat[:, rng.permutation(flat.shape[1])].reshape(x.shape)
