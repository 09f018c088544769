"""ONNX's own node tests of quantisation, three ways: as published, frozen, without dimensions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from support import reference_repairs  # noqa: F401
from support.contrib_case import lowered
from support.gradcheck import run, runtime_refuses
from support.node_cases import published
from support.relaxed import Relaxed, dynamic
from support.variants import frozen

from onnxcam.autodiff import vjp_model
from onnxcam.graph.contrib import is_defined

NAMES = ("quantizelinear", "qlinear", "integer")
WAYS = ("published", "frozen", "symbolic")


def _suite() -> dict[str, tuple[ModelProto, list[np.ndarray]]]:
    return {
        case.name.removeprefix("test_"): (case.model, case.data_sets[0][0])
        for case in published()
        if any(name in case.name for name in NAMES) and "expanded" not in case.name
    }


SUITE = _suite()


def _without_dimensions(model: ModelProto) -> ModelProto:
    out = ModelProto()
    out.CopyFrom(model)
    for info in [out.graph.input[0], *out.graph.output]:
        for i, dim in enumerate(info.type.tensor_type.shape.dim):
            dim.dim_param = f"{info.name}_{i}"
    return out


def test_the_suite_is_there():
    assert len(SUITE) > 35


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SUITE)
def test_node(name: str, way: str):
    model, arrays = SUITE[name]
    feeds = {i.name: _array(v) for i, v in zip(model.graph.input, arrays, strict=True)}
    first, *others = feeds
    output = model.graph.output[0].name
    if way == "frozen":
        model = frozen(model, feeds, others)
        feeds = {first: feeds[first]}
    elif way == "symbolic":
        model = _without_dimensions(model)
    grad = vjp_model(model, [first], [output])
    onnx.checker.check_model(grad, full_check=True)
    infos = {v.name: v.type.tensor_type.elem_type for v in [*grad.graph.input, *grad.graph.output]}
    assert infos[f"grad::{first}"] in (TensorProto.FLOAT, TensorProto.FLOAT16)
    if any(v.dtype.name.startswith(("float8", "float4")) for v in feeds.values()):
        return  # neither NumPy nor the reference evaluator computes with them

    relaxed, before = _relaxed(model, feeds, output), ReferenceEvaluator(model).run(None, feeds)
    ct = np.random.default_rng(0).integers(-8, 9, np.shape(before[0])) / 4
    kind = onnx.helper.tensor_dtype_to_np_dtype(infos[f"ct::{output}"])
    everything = {**feeds, f"ct::{output}": ct.astype(kind)}
    want, smooth = relaxed.gradient(feeds, first, [ct], step=1e-3)
    if runtime_refuses(model, feeds):
        got = ReferenceEvaluator(grad).run([f"grad::{first}"], everything)[0]
    else:
        got = run(grad, everything, [f"grad::{first}"])[f"grad::{first}"]
    rtol = 5e-3 if "float16" in name else 1e-4
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    np.testing.assert_allclose(got[smooth], want[smooth], rtol=0, atol=rtol * scale)


def _array(value: np.ndarray | TensorProto) -> np.ndarray:
    is_proto = isinstance(value, TensorProto)
    return numpy_helper.to_array(value) if is_proto else np.asarray(value)


def _relaxed(model: ModelProto, feeds: dict[str, np.ndarray], output: str) -> Relaxed:
    node = model.graph.node[0]
    if node.op_type == "DynamicQuantizeLinear":
        scale, zero = ReferenceEvaluator(model).run(None, feeds)[1:]
        return Relaxed(model, [output], [dynamic(float(scale), zero)])
    return Relaxed(lowered(model) if is_defined(node.domain, node.op_type) else model, [output])
