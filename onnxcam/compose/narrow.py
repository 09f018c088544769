"""The scores of a few classes: what the last linear layer makes of these alone."""

from __future__ import annotations

from collections.abc import Sequence

from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value, shape_of

_AS_THEY_ARE = ("Identity", "Cast")


def last_linear(scores: Tensor) -> list[ir.Node]:
    """Return the nodes from a product with constants to scores [N, C], the product first.

    Behind it only stands what is done to every class alone: a bias, a cast. Without such a product
    there are none.
    """
    nodes: list[ir.Node] = []
    while scores.inputs:
        node = scores.inputs[0]
        if node.domain not in (None, "", "ai.onnx") or len(shape_of(scores) or ()) != 2:
            return []
        nodes.append(node)
        if node.op in ("Gemm", "MatMul"):
            return nodes[::-1] if _is_of_constants(node) else []
        if node.op == "Add":
            places = [i for i, t in enumerate(node.inputs) if not _is_of_classes(t, scores)]
            if len(places) != 1:
                return []
            scores = node.inputs[places[0]]
        elif node.op in _AS_THEY_ARE:
            scores = node.inputs[0]
        else:
            return []
    return []


def narrowed(op: Emitter, nodes: Sequence[ir.Node], index: Tensor) -> Tensor:
    """Return the scores of some classes, [N, K].

    Args:
        op: Emitter.
        nodes: Those of :func:`last_linear`.
        index: The classes, int64 [K].
    """
    product, *behind = nodes
    x, weight, *bias = product.inputs
    if product.op == "MatMul":
        y = op.MatMul(x, op.Gather(weight, index, axis=1))
    else:
        rows = op.Gather(weight, index, axis=0 if product.attrs.get("transB") else 1)
        own = [_picked(op, b, index) for b in bias if b.name]
        y = op.Gemm(x, rows, *own, **product.attrs)
    before = product.outputs[0]
    for node in behind:
        if node.op == "Add":
            (other,) = (t for t in node.inputs if t is not before)
            y = op.Add(y, _picked(op, other, index))
        elif node.op == "Cast":
            y = op.Cast(y, **node.attrs)
        before = node.outputs[0]
    return y


def _is_of_constants(node: ir.Node) -> bool:
    """Tell whether a product is one with a matrix of weights, and what is added are constants."""
    _, weight, *bias = node.inputs
    if const_value(weight) is None or len(shape_of(weight) or ()) != 2:
        return False
    return all(not t.name or _is_of_classes(t, node.outputs[0]) for t in bias)


def _is_of_classes(tensor: Tensor, scores: Tensor) -> bool:
    """Tell whether a tensor is a constant with one value, or one for each class."""
    shape, classes = shape_of(tensor), (shape_of(scores) or (None,))[-1]
    if const_value(tensor) is None or shape is None or any(d != 1 for d in shape[:-1]):
        return False
    return not shape or shape[-1] in (1, classes)


def _picked(op: Emitter, constant: Tensor, index: Tensor) -> Tensor:
    shape = shape_of(constant) or ()
    if not shape or shape[-1] == 1:
        return constant
    return op.Gather(constant, index, axis=len(shape) - 1)
