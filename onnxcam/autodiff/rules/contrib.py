"""ONNX Runtime's own operators: the gradient of their definitions in standard operators."""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.engine import vjp as differentiate
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.contrib import MICROSOFT, defined, lower
from onnxcam.emit import Emitter, Tensor
from onnxcam.errors import UnsupportedOp


def by_definition(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Emit the definition from the node's inputs and differentiate that."""
    try:
        ys = lower(op, node.raw)
    except UnsupportedOp as error:
        raise UnsupportedOp(
            f"no gradient for {node.domain}::{node.op_type}, node {node.name!r}: {error.message}",
            error.hint or "choose a feature layer behind this node",
        ) from None
    return through(op, node, ys, dys)


def through(
    op: Emitter, node: NodeView, ys: list[Tensor | None], dys: Any
) -> list[Tensor | None]:
    """Return the gradients of a node's inputs from its outputs as emitted anew from them.

    Args:
        op: Emitter.
        node: The node.
        ys: Its outputs, emitted from its inputs; None where one is not given.
        dys: Their cotangents.

    Raises:
        UnsupportedOp: An output with a cotangent is not given.
    """
    inputs = node.raw.inputs
    pairs = []
    for y, dy in zip(ys, dys, strict=True):
        if dy is not None and y is None:
            raise UnsupportedOp(
                f"no gradient for one of the outputs of {node.op_type}, node {node.name!r}",
                "choose another output, or a feature layer behind this node",
            )
        if dy is not None:
            pairs.append((y, dy))
    place = {id(x): i for i, x in reversed(list(enumerate(inputs))) if node.wants(i)}
    grads: list[Tensor | None] = [None] * len(inputs)
    found = differentiate(
        op, pairs, [inputs[i] for i in place.values()], overrides=node.overrides, stops=inputs
    )
    for i, dx in zip(place.values(), found, strict=True):
        grads[i] = dx
    return grads


for _domain, _name, _definition in defined():
    if not _definition.rounds and (_domain, _name) != (MICROSOFT, "DequantizeLinear"):
        vjp(_name, domain=_domain)(by_definition)
