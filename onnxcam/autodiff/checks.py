"""What is wrong with a node or with what a rule made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxcam.autodiff.registry import refusal
from onnxcam.autodiff.view import NodeView
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Tensor, dtype_of, is_float, shape_of


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
