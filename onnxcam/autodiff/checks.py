"""What is wrong with a node or with what a rule made of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper
from onnx.shape_inference import InferenceError

from onnxcam.autodiff.registry import refusal
from onnxcam.autodiff.view import NodeView
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import (
    Dim,
    Tensor,
    const_value,
    dtype_of,
    is_float,
    node_proto,
    shape_of,
    static_shape,
)

_MISFITS = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
_SMALL = 1 << 20  # elements of an input that onnx's own definitions are tried on


def unsupported(view: NodeView) -> UnsupportedOp:
    """Return the error for a node whose operator has no gradient rule."""
    blocked = next(t.name for i, t in enumerate(view.inputs) if view.wants(i) and t is not None)
    domain = view.domain or "ai.onnx"
    why = refusal(view.domain, view.op_type)
    reason = f" ({why})" if why else ""
    return UnsupportedOp(
        f"no gradient for {domain}::{view.op_type} (opset {view.opset}), node {view.name!r}: "
        f"the gradient of {blocked!r} needs it{reason}",
        "choose a feature layer behind this node, a method without a gradient, such as "
        "`method='occlusion'`, or pass a rule for it in `overrides` of `onnxcam.vjp_model`",
    )


def contradiction(view: NodeView, error: Exception) -> UnsupportedOp | None:
    """Return the error for a node whose sizes do not fit each other; None where they may.

    It is asked only where a rule fails, for a file that contradicts itself is not worth a check
    of every node.

    Args:
        view: The node.
        error: What its rule, or onnx behind it, raised.
    """
    made = _sizes_made(view)
    if made is None and not isinstance(error, InferenceError):
        return None
    whole = bool(made) and not any(0 in size for size in made or ())
    if whole and not isinstance(error, InferenceError):
        return None
    tensors = (t for t in (*view.inputs, *view.outputs) if t is not None)
    sizes = ", ".join(f"{t.name!r} {_bracketed(shape_of(t))}" for t in tensors)
    what = "leave nothing in a tensor" if made else "contradict each other: it cannot be run"
    what = "are no sizes that its gradient can be written for" if whole else what
    return UnsupportedOp(
        f"the sizes at node {view.name!r} ({view.op_type}) {what} ({sizes})",
        "look at the sizes of the model's inputs, or export it again",
    )


def _sizes_made(view: NodeView) -> list[tuple[int, ...]] | None:
    """Return the shapes of what onnx's own definition of a node takes and makes.

    Nothing where it does not take inputs of these shapes; None where that cannot be told.
    """
    from onnx.reference import ReferenceEvaluator  # late: it is slow to import

    feeds = {}
    for tensor in (t for t in view.inputs if t is not None):
        value = const_value(tensor)
        if value is None:
            shape, dtype = static_shape(tensor), dtype_of(tensor)
            if shape is None or dtype is None or prod(shape) > _SMALL:
                return None
            value = np.ones(shape, dtype)
        feeds[tensor.name] = value
    node = node_proto(view.raw)
    inputs = [ValueInfoProto(name=name) for name in feeds]
    outputs = [ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "one", inputs, outputs)
    opsets = [helper.make_opsetid(view.domain, view.opset)]
    try:
        values = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, feeds)
    except NotImplementedError:
        return None
    except _MISFITS:
        return []
    return [np.shape(value) for value in (*feeds.values(), *values)]


def _bracketed(shape: Sequence[Dim] | None) -> str:
    return "of unknown rank" if shape is None else f"[{', '.join(map(str, shape))}]"


def check_arity(view: NodeView, grads: Sequence[Any]) -> None:
    """Hold a rule to a gradient, or None, for every input."""
    extra = grads[len(view.inputs) :]
    assert len(grads) >= len(view.inputs) and all(g is None for g in extra), (
        f"the rule of {view.op_type} returned {len(grads)} gradients for {len(view.inputs)} inputs"
    )


def check_gradient(view: NodeView, index: int, dx: Tensor) -> None:
    """Hold a rule to gradients that are floats of their inputs' shapes."""
    got, want = shape_of(dx), shape_of(view.inputs[index])
    if got is None or want is None:
        return
    wrong = len(got) != len(want) or any(
        isinstance(g, int) and isinstance(w, int) and g != w
        for g, w in zip(got, want, strict=False)
    )
    assert not wrong, (
        f"the rule of {view.op_type} (node {view.name!r}) returned a gradient of shape {got} for "
        f"input {index} of shape {want}"
    )
    assert dtype_of(dx) is None or is_float(dx), f"the rule of {view.op_type} returned {dx}"
