"""``vjp_model``: a model in, the same model with gradients as extra outputs out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from onnx import ModelProto

from onnxcam.autodiff.control.sequences import zeros
from onnxcam.autodiff.engine import vjp
from onnxcam.autodiff.ort_training import builder as ort_training
from onnxcam.autodiff.overrides import Rules
from onnxcam.errors import UsageError, bounded
from onnxcam.graph.emit import Emitter, Tensor, dtype_of, is_float, is_sequence, shape_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model, load

COTANGENT, GRADIENT = "ct::", "grad::"


@bounded("the model cannot be differentiated")
def vjp_model(
    model: ModelProto,
    wrt: Sequence[str],
    outputs: Sequence[str],
    *,
    overrides: Rules | None = None,
    builder: Literal["native", "ort-training"] = "native",
) -> ModelProto:
    """Return the model with vector-Jacobian products as extra outputs.

    Args:
        model: Any ONNX model; it is not modified.
        wrt: Names of the tensors to differentiate with respect to (inputs, weights, internal).
        outputs: Names of the tensors that are differentiated.
        overrides: Other gradient rules: a list of :class:`~onnxcam.autodiff.view.Override`, of
            which the first that matches a node is taken, or a mapping from names of nodes or
            operator types.
        builder: Who builds the gradient: ``native`` or ``ort-training`` (see
            docs/ort-training.md; without overrides).

    Returns:
        The model with every input and output it had, one input ``ct::<output>`` per
        differentiated output (its dtype and shape) and one output ``grad::<wrt>`` per ``wrt``
        (its dtype and shape): sum over outputs of cotangent times Jacobian, zeros where no output
        depends on the tensor. The derivative with respect to the value of an integer (a quantised
        number) is a float. ``onnxcam.gradient`` in the metadata tells whether the gradient is
        exact or passes straight through a rounding.

    Raises:
        UsageError: There is no tensor of that name.
        UnsupportedOp: A differentiated value flows through an operator without a rule.
    """
    made = differentiated(load(model, borrow=True), wrt, outputs, overrides, builder)
    return made.weights.attach(made.light)


def differentiated(
    model: Model,
    wrt: Sequence[str],
    outputs: Sequence[str],
    overrides: Rules | None = None,
    builder: Literal["native", "ort-training"] = "native",
) -> Model:
    """Return what :func:`vjp_model` returns, with the weights apart."""
    if builder not in ("native", "ort-training"):
        raise UsageError(f"gradient builder {builder!r} is not there", "use builder='native'")
    if overrides and builder != "native":
        raise UsageError(f"overrides do not reach into {builder}", "use builder='native'")
    draft = Draft(model)
    pairs = []
    for name in outputs:
        y = draft.tensor(name)
        shape = shape_of(y)
        dtype = (is_float(y) and dtype_of(y)) or np.dtype(np.float32)
        pairs.append((y, draft.input(COTANGENT + name, dtype, shape, sequence=is_sequence(y))))
    targets = [draft.tensor(name) for name in wrt]
    if builder == "native":
        grads = vjp(draft.op, pairs, targets, overrides=overrides)
    else:
        grads = ort_training.vjp(draft.op, pairs, targets)
    for x, dx in zip(targets, grads, strict=True):
        draft.output(_zeros(draft.op, x) if dx is None else dx, GRADIENT + x.name)
    return draft.finish({"onnxcam.gradient": provenance(draft.op)})


def _zeros(op: Emitter, x: Tensor) -> Tensor:
    """Return the gradient of what nothing depends on; that of an integer is a float."""
    return zeros(op, x) if is_float(x) else op.zeros_like(x, np.float32)


def provenance(op: Emitter) -> str:
    """Return how true the gradients are that were written so far.

    Returns:
        "exact", or "straight-through (...)" with the operators whose rounding was ignored.
    """
    rounding = ", ".join(sorted(op.straight_through))
    return f"straight-through ({rounding})" if rounding else "exact"
