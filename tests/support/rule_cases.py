"""Rows of the tables that the rules' tests are: one node, its inputs, and how to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import ModelProto
from onnxruntime import InferenceSession
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnxcam.autodiff import vjp_model
from support.gradcheck import Report, check_gradient
from support.second_order import check_second_order
from support.variants import frozen, node_model

HALF, SINGLE, DOUBLE = "float16", "float32", "float64"


@dataclass(frozen=True)
class Case:
    """One node at one point.

    Attributes:
        op: Operator type.
        feeds: Inputs by name, floats in double; None where one is omitted.
        attributes: Of the node.
        outputs: Names of the outputs; "" where one is omitted.
        opset: Of the model.
        keep: Do not raise the opset.
        smooth: Fraction of the derivatives that must not lie at a kink.
        twice: Check the second derivative too.
        constant: Inputs that are always initializers.
        options: For ``check_gradient``.
    """

    op: str
    feeds: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    opset: int = 20
    keep: bool = False
    smooth: float = 0.9
    twice: bool = True
    constant: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def cast(self, dtype: Any) -> dict[str, Any]:
        """Return the inputs that there are, floats in this dtype."""
        arrays = {k: np.asarray(v) for k, v in self.feeds.items() if v is not None}
        return {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in arrays.items()}

    def model(self, dtype: Any) -> ModelProto:
        """Return the model of the node, with its floats in this dtype."""
        given = self.cast(dtype)
        feeds = {k: given.get(k) for k in self.feeds}
        return node_model(self.op, feeds, self.outputs, opset=self.opset, **self.attributes)

    def check(self, dtype: Any = np.float32, **options: Any) -> Report:
        """Check the gradient; see ``check_gradient`` for the options."""
        constant = {*self.constant, *options.pop("constant", ())}
        options = {"keep_opset": self.keep, "minimum": self.smooth, **self.options, **options}
        return check_gradient(self.model(dtype), self.cast(dtype), constant=constant, **options)

    def auxiliary(self) -> list[str]:
        """Return the inputs that are not floats: axes, indices, shapes, conditions."""
        return [k for k, v in self.cast(np.float32).items() if v.dtype.kind != "f"]


def check_all(case: Case) -> None:
    """Check a case with known and with forgotten dimensions, inputs computed and constant."""
    assert case.check().runtime, "ONNX Runtime does not run the case"
    case.check(symbolic=True)
    aux = case.auxiliary()
    if aux:
        case.check(constant=aux)
        case.check(constant=aux, symbolic=True)


def check_dtypes(case: Case) -> None:
    """Check a case in half and double precision; bfloat16 must build and be valid."""
    case.check(HALF)
    case.check(DOUBLE)
    check_bfloat16(case)


def check_twice(case: Case) -> None:
    """Check the second derivative of a case."""
    if not case.twice:
        pytest.skip("not smooth enough for a second derivative")
    given = case.cast(DOUBLE)
    feeds = {k: v for k, v in given.items() if k not in case.constant}
    model = frozen(case.model(DOUBLE), given, case.constant)
    floats = [k for k, v in feeds.items() if v.dtype.kind == "f"]
    ys = [o.name for o in model.graph.output if o.type.tensor_type.elem_type == 11]
    check_second_order(model, feeds, floats, ys, minimum=case.smooth)


def check_old(case: Case, *, keep: bool) -> None:
    """Check a case of an old opset as ONNX Runtime runs it, at its own opset or raised."""
    model = case.model(np.float32)
    model.ir_version = 7
    assert check_gradient(model, case.cast(np.float32), keep_opset=keep).runtime


def check_bfloat16(case: Case) -> None:
    """Build a gradient in bfloat16, which ONNX Runtime must refuse for its kernels only."""
    model = case.model(ml_dtypes.bfloat16)
    if _refusal(model) == "type":
        return  # the operator has no bfloat16 at this opset
    wrt = [i.name for i in model.graph.input if i.type.tensor_type.elem_type == 16]
    ys = [o.name for o in model.graph.output if o.type.tensor_type.elem_type == 16]
    grad = vjp_model(model, wrt, ys)
    onnx.checker.check_model(grad, full_check=True)
    assert _refusal(grad) != "type"


def _refusal(model: ModelProto) -> str:
    """Return "" where ONNX Runtime loads a model, else "kernel" or "type"."""
    try:
        InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except ort_errors.NotImplemented:
        return "kernel"
    except (ort_errors.Fail, ort_errors.InvalidGraph) as error:
        assert "Type Error" in str(error) or "type" in str(error), str(error)
        return "type"
    return ""
