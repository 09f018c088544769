"""Operators that move, pick or clip quantised values let their float gradients through."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import reference_repairs  # noqa: F401
from support.gradcheck import run
from support.relaxed import Cast, Max, Min, Relaxed

from onnxcam.autodiff import vjp_model

INT64 = np.int64
# operator, attributes, further inputs (arrays; "zero" and "top" are quantised scalars)
MOVES = {
    "MaxPool": ({"kernel_shape": [2, 2], "strides": [2, 2]}, []),
    "MaxPool overlapping": ({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}, []),
    "Reshape": ({}, [np.array([2, -1])]),
    "Flatten": ({}, []),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Squeeze": ({}, [np.array([0])]),
    "Unsqueeze": ({}, [np.array([1])]),
    "Identity": ({}, []),
    "Gather": ({"axis": 1}, [np.array([1, 0, 1])]),
    "Slice": ({}, [np.array([1]), np.array([4]), np.array([2]), np.array([2])]),
    "Pad": ({}, [np.array([0, 0, 1, 0, 0, 0, 0, 2]), "zero"]),
    "Expand": ({}, [np.array([3, 4, 4, 4])]),
    "Tile": ({}, [np.array([1, 2, 1, 1])]),
    "Concat": ({"axis": 1}, ["x"]),
    "Clip": ({}, ["zero", "top"]),
    "Max": ({}, ["zero"]),
    "Min": ({}, ["top"]),
    "DepthToSpace": ({"blocksize": 2, "mode": "CRD"}, []),
    "Resize": ({"mode": "nearest"}, [None, np.float32([1, 1, 2, 2])]),
    "Cast": ({"to": TensorProto.INT32}, []),
}
CAST_BACK = {"Cast"}


def _model(key: str, dtype: type, symbolic: bool) -> onnx.ModelProto:
    op_type, (attributes, more) = key.split(maxsplit=1)[0], MOVES[key]
    ends = {"zero": 120, "top": 200} if dtype is np.uint8 else {"zero": -5, "top": 60}
    weights = {
        "scale": np.array(0.01, np.float32),
        "zero": np.array(ends["zero"], dtype),
        "top": np.array(ends["top"], dtype),
    }
    names = ["xq"]
    for i, value in enumerate(more):
        name = value if isinstance(value, str) else ("" if value is None else f"more{i}")
        names.append("xq" if name == "x" else name)
        if isinstance(value, np.ndarray):
            weights[name] = value
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node(op_type, names, ["yq"], **attributes),
        helper.make_node("DequantizeLinear", ["yq", "scale", "zero"], ["y"]),
    ]
    if op_type in CAST_BACK:
        nodes[2] = helper.make_node("Cast", ["yq"], ["y"], to=TensorProto.FLOAT)
    shape = ["n", "c", "h", "w"] if symbolic else [1, 4, 4, 4]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = onnx.ValueInfoProto(name="y")
    initializers = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
@pytest.mark.parametrize("key", MOVES)
def test_moves(key: str, dtype: type, symbolic: bool):
    model = _model(key, dtype, symbolic)
    rng = np.random.default_rng(8)
    # on the grid and without ties: there the relaxed model and this one are at the same point
    x = (rng.choice(np.arange(-115, 125), 64, replace=False) * 0.01).reshape(1, 4, 4, 4)
    x = x.astype(np.float32)
    grad = vjp_model(model, ["x"], ["y"])
    onnx.checker.check_model(grad, full_check=True)
    forward = run(model, {"x": x})["y"]
    ct = rng.integers(-8, 9, forward.shape).astype(np.float32) / 4
    got = run(grad, {"x": x, "ct::y": ct})
    np.testing.assert_array_equal(got["y"], forward)
    want, smooth = Relaxed(model, ["y"], [Cast, Max, Min]).gradient({"x": x}, "x", [ct])
    assert smooth.mean() > 0.9
    scale = max(1.0, float(np.abs(want).max()))
    np.testing.assert_allclose(got["grad::x"][smooth], want[smooth], rtol=0, atol=1e-4 * scale)
