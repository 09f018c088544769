"""Casts: exact between floats, nothing through integers, straight through float8."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.gradcheck import check_gradient, run
from support.variants import graph_model, node_model

from onnxcam.autodiff import vjp_model

X = np.arange(-6, 6).reshape(3, 4) / 4
EIGHTS = {
    "e4m3fn": TensorProto.FLOAT8E4M3FN,
    "e4m3fnuz": TensorProto.FLOAT8E4M3FNUZ,
    "e5m2": TensorProto.FLOAT8E5M2,
    "e5m2fnuz": TensorProto.FLOAT8E5M2FNUZ,
}


@pytest.mark.parametrize("to", [1, 10, 11, 16])
def test_cast_between_floats(to: int) -> None:
    feeds = {"x": X.astype("f4")}
    grad = vjp_model(node_model("Cast", feeds, to=to), ["x"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    if to == 16:
        return  # NumPy has no bfloat16 to feed
    dtype = helper.tensor_dtype_to_np_dtype(to)
    got = run(grad, {**feeds, "ct::y": (2 * X).astype(dtype)})["grad::x"]
    assert got.dtype == np.float32 and (got == 2 * X).all()


def test_cast_to_integers_carries_no_gradient() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=7),
        helper.make_node("Cast", ["i"], ["y"], to=1),
    ]
    model = graph_model(nodes, [helper.make_tensor_value_info("x", 1, [3])], ["y"])
    feeds = {"x": np.array([0.25, 1.5, 2.75], np.float32)}
    assert check_gradient(model, feeds, minimum=1).compared == 3


def _through(*kinds: int, dtype: type = np.float32, opset: int = 20) -> onnx.ModelProto:
    """Return a model that casts x to each of these, back, and squares it."""
    back = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    names = ["x", *(f"small{i}" for i in range(len(kinds))), "rough"]
    nodes = [
        helper.make_node("Cast", [a], [b], to=kind)
        for a, b, kind in zip(names, names[1:], (*kinds, back), strict=False)
    ]
    nodes.append(helper.make_node("Mul", ["rough", "rough"], ["y"]))
    x = helper.make_tensor_value_info("x", back, [5])
    return graph_model(nodes, [x], ["y"], opset=opset)


def _said(model: onnx.ModelProto) -> str:
    return {p.key: p.value for p in model.metadata_props}["onnxcam.gradient"]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("name", EIGHTS)
def test_float8_counts_as_the_identity_in_its_range(name: str, dtype: type) -> None:
    model = _through(EIGHTS[name], dtype=dtype)
    grad = vjp_model(model, ["x", "small0"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    assert _said(grad) == "straight-through (Cast)"
    top = float(ml_dtypes.finfo(f"float8_{name}").max)
    x = np.array([-0.3, 1.1, 0.99 * top, -1.03 * top, 65000], dtype)
    dy = np.array([1, 2, -1, 1, 1], dtype) / 64
    found = run(grad, {"x": x, "ct::y": dy}, ["grad::x", "grad::small0"])
    rounded = x.astype(f"float8_{name}").astype(float)
    want = 2 * rounded[:3] * dy[:3]
    np.testing.assert_allclose(found["grad::x"], [*want, 0, 0], rtol=2e-3)
    np.testing.assert_allclose(found["grad::small0"][:3], want, rtol=2e-3)
    assert found["grad::small0"].dtype == dtype


def test_one_float8_becomes_another() -> None:
    grad = vjp_model(_through(EIGHTS["e5m2"], EIGHTS["e4m3fn"]), ["x"], ["y"])
    x = np.array([0.5, -1.5, 3, 320, 512], np.float32)  # all but the last are in both
    got = run(grad, {"x": x, "ct::y": np.ones(5, np.float32)})["grad::x"]
    assert got.tolist() == [1, -3, 6, 640, 0]


def test_float4_lets_gradients_through_too() -> None:
    grad = vjp_model(_through(TensorProto.FLOAT4E2M1, opset=23), ["x"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    assert _said(grad) == "straight-through (Cast)"
    assert any(n.op_type == "LessOrEqual" for n in grad.graph.node)


def test_widening_a_float8_is_exact() -> None:
    node = helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT)
    mul = helper.make_node("Mul", ["v", "x"], ["y"])
    w = onnx.helper.make_tensor("w", EIGHTS["e5m2"], [2], [1.5, -0.25])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    model = graph_model([node, mul], [x], ["y"])
    model.graph.initializer.append(w)
    grad = vjp_model(onnx.shape_inference.infer_shapes(model), ["x", "w"], ["y"])
    assert _said(grad) == "exact"
    found = run(grad, {"x": np.array([3, 5], "f4"), "ct::y": np.array([1, 2], "f4")})
    assert found["grad::x"].tolist() == [1.5, -0.5]
    assert found["grad::w"].tolist() == [3, 10]
