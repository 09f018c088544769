"""What the records of all methods that propagate relevance have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.needs import Input, InputGradient
from onnxcam.methods.registry import Cost, graph_method

Handed: TypeAlias = Literal["gradient", "relevance", "either"]


def _product(op: Emitter, x: Tensor, r: Tensor) -> Tensor:
    found: Tensor = op.Mul(x, r)
    return found


def _itself(op: Emitter, x: Tensor, r: Tensor) -> Tensor:
    return r


_RELIEFS: dict[Handed, Callable[..., Tensor] | None] = {
    "gradient": _product, "relevance": _itself, "either": None
}  # fmt: skip


def relevance_method(
    name: str, *, handed: Handed = "gradient", **said: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a method whose signed map is the relevance of the input, summed over its channels.

    Args:
        name: What users type.
        handed: What its rules hand on to the input: a modified gradient, of which relevance is the
            product with the input; the relevance itself; or either, by a parameter.
        said: The rest, see :func:`onnxcam.methods.registry.graph_method`.
    """
    return graph_method(
        name, needs=(Input, InputGradient), rectify=False, signed=True, cost=Cost(3),
        relief=_RELIEFS[handed], **said,
    )  # fmt: skip
