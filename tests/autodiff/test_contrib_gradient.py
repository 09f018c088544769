"""Gradients of ONNX Runtime's operators: the definition's against differences, and its use."""

from __future__ import annotations

import numpy as np
import pytest
import reference_repairs  # noqa: F401
from attention_cases import ATTENTION
from contrib_case import Case, lowered, model_of
from contrib_cases import SMOOTH
from gradcheck import check_gradient, run
from onnx import ModelProto, TensorProto

from onnxcam.autodiff import vjp_model

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# Nothing to differentiate: whole numbers in, or steps.
NO_FLOAT_INPUT = {"GatherBlockQuantized"}
# One case of each kind is enough for central differences; the others share the definition.
CASES = [c for c in (*SMOOTH, *ATTENTION) if c.op_type not in NO_FLOAT_INPUT | {"QAttention"}]


def _moving(case: Case, model: ModelProto) -> tuple[list[str], list[str]]:
    """Return the inputs and outputs between which there is a gradient."""
    inputs = [i.name for i in model.graph.input if i.type.tensor_type.elem_type in FLOATS]
    if case.op_type in ("MatMulNBits", "MatMulBnb4"):
        inputs = inputs[:1]
    outputs = [o.name for o in model.graph.output if o.type.tensor_type.elem_type in FLOATS]
    return inputs, outputs


SMOOTH_HERE = [c for c in CASES if not (c.op_type == "Normalizer" and not c.feeds["x"].any())]


@pytest.mark.parametrize("case", SMOOTH_HERE, ids=lambda c: c.label)
def test_the_definition_has_the_right_gradient(case: Case):
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model = lowered(model_of(case))
    wrt, outputs = _moving(case, model)
    check_gradient(model, feeds, wrt=wrt, outputs=outputs, minimum=0.3)


BOTH = [(c, s) for c in CASES for s in (False, True) if c.opset == 20 or not s]


@pytest.mark.parametrize(("case", "symbolic"), BOTH, ids=lambda v: getattr(v, "label", str(v)))
def test_the_node_has_the_gradient_of_its_definition(case: Case, symbolic: bool):
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model = model_of(case, symbolic=symbolic)
    wrt, outputs = _moving(case, lowered(model))
    rng = np.random.default_rng(3)
    shapes = run(model, feeds)
    cotangents = {f"ct::{o}": rng.standard_normal(shapes[o].shape).astype(shapes[o].dtype)
                  for o in outputs}  # fmt: skip
    names = [f"grad::{n}" for n in wrt]
    got = vjp_model(model, wrt, outputs)
    assert got.graph.node[0].op_type == case.op_type
    assert not any(n.domain for n in got.graph.node[1:])
    actual = run(got, {**feeds, **cotangents}, names)
    expected = run(vjp_model(lowered(model), wrt, outputs), {**feeds, **cotangents}, names)
    for name in names:
        scale = max(1.0, float(np.abs(expected[name]).max(initial=0)))
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-4 * scale)
