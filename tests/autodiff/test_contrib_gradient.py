"""Gradients of ONNX Runtime's operators: the definition's against differences, and its use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto
from support import reference_repairs  # noqa: F401
from support.attention_cases import ATTENTION
from support.contrib_case import Case, lowered, model_of, renamed
from support.contrib_cases import SMOOTH
from support.gradcheck import check_gradient, run
from support.quantized_cases import QUANTIZED
from support.second_order import check_second_order

from onnxcam.autodiff import vjp_model
from onnxcam.graph.ops import Trait, has

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
# What has float inputs among the quantised operators, whose other tests go by the integers.
MIXED = [c for c in QUANTIZED if c.op_type in ("QEmbedLayerNormalization", "DynamicQuantizeLSTM")]
# One case of each kind is enough for central differences; the others share the definition.
CASES = [c for c in (*SMOOTH, *ATTENTION, *MIXED) if c.op_type != "QAttention"]


def _moving(case: Case, model: ModelProto) -> tuple[list[str], list[str]]:
    """Return the inputs and outputs between which there is a gradient."""
    inputs = [i.name for i in model.graph.input if i.type.tensor_type.elem_type in FLOATS]
    if case.op_type in ("MatMulNBits", "MatMulBnb4"):
        inputs = inputs[:1]
    outputs = [o.name for o in model.graph.output if o.type.tensor_type.elem_type in FLOATS]
    return inputs, outputs


# The reference evaluator samples grids in single precision; a row of zeros has no direction.
SMOOTH_HERE = [
    c
    for c in CASES
    if c.op_type != "GridSample" and (c.op_type != "Normalizer" or c.feeds["x"].any())
]


@pytest.mark.parametrize("case", SMOOTH_HERE, ids=lambda c: c.label)
def test_the_definition_has_the_right_gradient(case: Case):
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model = lowered(model_of(case))
    wrt, outputs = _moving(case, model)
    check_gradient(model, feeds, wrt=wrt, outputs=outputs, minimum=0.3)


def _given(case: Case) -> int:
    """Count the inputs that are there and not empty."""
    return sum(v is not None and v.size > 0 for v in case.feeds.values())


# The way to the definition is one for all: an operator's first case and the one with most inputs
# will do; all are exhaustive.
FIRST = {c.op_type: c for c in reversed(CASES)}
MOST = {c.op_type: c for c in sorted(CASES, key=_given)}
ALWAYS = [*FIRST.values(), *MOST.values()]
BOTH = [
    pytest.param(c, s, marks=[] if any(c is a for a in ALWAYS) else pytest.mark.exhaustive)
    for c in CASES
    for s in (False, True)
    if c.opset == 20 or not s
]


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
    # What ONNX withdrew is written in standard operators when the model is loaded.
    assert got.graph.node[0].op_type == case.op_type or has(model.graph.node[0], Trait.WITHDRAWN)
    assert not any(n.domain for n in got.graph.node[1:])
    actual = run(got, {**feeds, **cotangents}, names)
    expected = run(vjp_model(lowered(model), wrt, outputs), {**feeds, **cotangents}, names)
    for name in names:
        scale = max(1.0, float(np.abs(expected[name]).max(initial=0)))
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-4 * scale)


# ---- other dtypes, where ONNX Runtime has kernels for the CPU

HALF = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "MatMulNBits",
        "SimplifiedLayerNormalization", "GroupQueryAttention", "RotaryEmbedding",
        "GatedRMSNorm", "ScaledSiLU", "GatedAdd")  # fmt: skip
DOUBLE = ("FusedMatMul", "SimplifiedLayerNormalization", "Trilu", "CDist")
OTHERS = [(c, np.float16) for c in CASES if c.op_type in HALF][::3]
OTHERS += [(c, np.float64) for c in CASES if c.op_type in DOUBLE]


def _as(case: Case, dtype: type) -> Case:
    keep = {"inverse"} if case.op_type == "SimplifiedLayerNormalization" else set()
    feeds = {
        k: v if v is None or v.dtype != np.float32 else v.astype(dtype)
        for k, v in case.feeds.items()
    }
    outputs = tuple(o for o in case.outputs if o not in keep)
    return replace(case, feeds=feeds, outputs=outputs)


@pytest.mark.parametrize(("case", "dtype"), OTHERS, ids=lambda v: getattr(v, "label", str(v)))
def test_other_dtypes(case: Case, dtype: type):
    single, other = _as(case, np.float32), _as(case, dtype)
    names, outputs = _moving(case, lowered(model_of(single)))
    rng = np.random.default_rng(3)
    found = []
    for each in (single, other):
        feeds = {k: v for k, v in each.feeds.items() if v is not None}
        model = model_of(each)
        shapes = run(model, feeds)
        cotangents = {f"ct::{o}": (rng.integers(-8, 9, shapes[o].shape) / 4).astype(shapes[o].dtype)
                      for o in outputs}  # fmt: skip
        rng = np.random.default_rng(3)
        grad = vjp_model(model, names, outputs)
        if case.domain:  # onnx's checker does not know the others
            onnx.checker.check_model(grad)
        found.append(run(grad, {**feeds, **cotangents}, [f"grad::{n}" for n in names]))
    rtol = 2e-2 if dtype is np.float16 else 1e-4
    for name, value in found[0].items():
        got = found[1][name]
        assert got.dtype == dtype
        scale = max(1.0, float(np.abs(value).max(initial=0)))
        np.testing.assert_allclose(got, value, rtol=0, atol=rtol * scale)


# ---- second order


TWICE = ("FusedMatMul", "FastGelu", "SkipLayerNormalization", "FusedConv", "MultiHeadAttention",
         "RotaryEmbedding")  # fmt: skip


@pytest.mark.parametrize("op_type", TWICE)
def test_a_gradient_has_a_gradient(op_type: str):
    case = next(c for c in CASES if c.op_type == op_type)
    feeds = {k: v for k, v in case.feeds.items() if v is not None}
    model = model_of(case)
    wrt, outputs = (names[:1] for names in _moving(case, lowered(model)))
    check_second_order(lowered(model), feeds, wrt, outputs)
    rng = np.random.default_rng(5)
    found = []
    for each in (model, lowered(model)):
        first = vjp_model(each, wrt, outputs)
        renamed(first, {f"grad::{wrt[0]}": "slope"})
        second = vjp_model(first, wrt, ["slope"])
        rng = np.random.default_rng(5)
        cotangents = {
            i.name: rng.standard_normal([d.dim_value for d in i.type.tensor_type.shape.dim])
            for i in second.graph.input
            if i.name.startswith("ct::")
        }
        cotangents = {k: v.astype(np.float32) for k, v in cotangents.items()}
        found.append(run(second, {**feeds, **cotangents}, [f"grad::{wrt[0]}"])[f"grad::{wrt[0]}"])
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4 * np.abs(found[1]).max())
