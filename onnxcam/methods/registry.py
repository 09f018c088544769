"""The table of methods. A method is one file in this folder with a decorated function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, TypeAlias

from onnxcam.emit import Emitter, Tensor
from onnxcam.errors import UsageError

Need: TypeAlias = Literal["activation", "gradient", "weights"]
_METHODS: dict[str, GraphMethod] = {}


@dataclass(frozen=True)
class Axes:
    """The axes of a feature tensor that a method works on.

    Attributes:
        channel: Axis of the channels.
        space: Axes of space, time or tokens.
    """

    channel: int
    space: tuple[int, ...]


@dataclass(frozen=True)
class GraphMethod:
    """A method that writes its map into the graph.

    Attributes:
        name: What users type.
        emit: ``emit(op, *needs, axes)`` -> signed map with the channel axis reduced to 1.
        needs: The quantities that ``emit`` takes, in this order.
        rectify: Whether the map is rectified (its negative part set to 0) afterwards.
        cite: Where it comes from.
        summary: One line.
    """

    name: str
    emit: Callable[..., Any]
    needs: tuple[Need, ...]
    rectify: bool
    cite: str
    summary: str


def graph_method(
    name: str, *, needs: tuple[Need, ...], cite: str, rectify: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a graph method; see :class:`GraphMethod` for the arguments."""

    def enter(emit: Callable[..., Any]) -> Callable[..., Any]:
        if name in _METHODS:
            raise ValueError(f"two methods are called {name!r}")
        summary = (emit.__doc__ or "").strip().splitlines()[0]
        _METHODS[name] = GraphMethod(name, emit, needs, rectify, cite, summary)
        return emit

    return enter


def names() -> tuple[str, ...]:
    """Return the names of all methods, sorted."""
    _load()
    return tuple(sorted(_METHODS))


def find(name: str) -> GraphMethod:
    """Return a method by its name.

    Raises:
        UsageError: There is none of this name.
    """
    _load()
    if name not in _METHODS:
        raise UsageError(f"no method {name!r}", f"choose one of {', '.join(names())}")
    return _METHODS[name]


def _load() -> None:
    package = import_module("onnxcam.methods")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")


def weighted_sum(op: Emitter, weights: Tensor, a: Tensor, axes: Axes) -> Tensor:
    """Return sum_k w_k A_k over the channels, which stay as an axis of 1.

    Args:
        op: Emitter.
        weights: One weight per input and channel: the rank of ``a``, 1 along its space.
        a: Feature tensor.
        axes: Its axes.
    """
    rank = len(axes.space) + 2
    if axes.channel not in (1, rank - 1) or 0 in (axes.channel, *axes.space):
        return op.ReduceSum(op.Mul(weights, a), axes=[axes.channel], keepdims=1)
    # A matrix product per input is faster than a product and a sum: [1, C] [C, space].
    if axes.channel == 1:
        row = op.Reshape(weights, [0, 1, -1])
        product = op.MatMul(row, op.Reshape(a, [0, 0, -1]))
        return op.Reshape(product, op.dims(op.dim(a, 0), 1, *(op.dim(a, i) for i in axes.space)))
    column = op.Reshape(weights, op.dims(op.dim(a, 0), -1, 1))
    flat = op.Reshape(a, op.dims(op.dim(a, 0), -1, op.dim(a, rank - 1)))
    product = op.MatMul(flat, column)
    return op.Reshape(product, op.dims(op.dim(a, 0), *(op.dim(a, i) for i in axes.space), 1))
