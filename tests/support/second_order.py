"""Gradients of gradients: what ``vjp_model`` emits is differentiated and checked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from onnxcam.autodiff import vjp_model
from support.gradcheck import Report, check_gradient
from support.reference_ops import BETTER_OPS
from support.variants import symbolic


def check_second_order(
    model: ModelProto,
    feeds: Mapping[str, Any],
    wrt: Sequence[str],
    outputs: Sequence[str],
    *,
    forget: bool = False,
    **options: Any,
) -> Report:
    """Check the gradient of the gradient at one point, with random cotangents.

    Args:
        model: The model.
        feeds: Its inputs.
        wrt: Tensors that the first gradient is for.
        outputs: Outputs that are differentiated first.
        forget: Forget the float inputs' dimensions first.
        options: For ``check_gradient``.
    """
    first = vjp_model(symbolic(model) if forget else model, wrt, outputs)
    values = dict(feeds)
    given = onnx.reference.ReferenceEvaluator(model, new_ops=BETTER_OPS).run(
        list(outputs), dict(feeds)
    )
    rng = np.random.default_rng(7)
    for name, y in zip(outputs, given, strict=True):
        values[f"ct::{name}"] = rng.standard_normal(y.shape).astype(y.dtype)
    named = renamed(first, {f"grad::{name}": f"first.{name}" for name in wrt})
    return check_gradient(named, values, outputs=[f"first.{name}" for name in wrt], **options)


def renamed(model: ModelProto, names: Mapping[str, str]) -> ModelProto:
    """Return the model with tensors renamed: a second gradient has outputs of the same names."""
    for node in model.graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
        node.name = names.get(node.name, node.name)
    for info in [*model.graph.output, *model.graph.value_info]:
        info.name = names.get(info.name, info.name)
    return model
