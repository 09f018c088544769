"""Classes are the scores where another output only sums them up; steps inside and outside."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from onnxcam import Explainer
from onnxcam.analysis.layers import catalog
from onnxcam.model.model import load

_RNG = np.random.default_rng(0)
_NET = "c = Conv<pads = [1,1,1,1]>(x, w) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) "
SUMS = {
    "energy": "y = Gemm(f, v) z = ReduceLogSumExp<keepdims = 0>(y, one)",
    "the largest": "y = Gemm(f, v) z = ReduceMax<keepdims = 0>(y, one)",
    "confidence": "y = Gemm(f, v) s = Softmax(y) z = ReduceMax(s, one)",
    "entropy": "y = Gemm(f, v) s = Softmax(y) l = Log(s) m = Mul(s, l) z = ReduceSum(m, one)",
    "an expected value": "y = Gemm(f, v) s = Softmax(y) m = Mul(s, ages) z = ReduceSum(m, one)",
}
INNER = {
    "features": "y = Flatten(f) z = Gemm(y, v)",
    "features of a value": "y = Gemm(f, v) z = Gemm(y, u)",
}


def _model(body: str, inputs: str = "float[N, 3, 8, 8] x", outs: str = "y, z") -> onnx.ModelProto:
    declared = ", ".join(f"float[] {name}" for name in outs.split(", "))
    text = f"net ({inputs}) => ({declared}) {{ {body} }}"
    proto = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    sizes = {"w": (4, 3, 3, 3), "v": (4, 5), "u": (5, 1), "ages": (1, 5), "k": (4, 1, 6, 3)}
    sizes |= {"w1": (4, 1, 3, 3)}
    arrays = {name: _RNG.normal(size=size).astype("f4") for name, size in sizes.items()}
    ints = {"one": [1], "ends": [1, 2], "merged": [-1, 1, 8, 8], "apart": [-1, 6, 4]}
    arrays |= {name: np.array(value) for name, value in ints.items()}
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name in used
    )
    return proto


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("outs", ["y, z", "z, y"])
def test_classes_are_the_scores_beside_what_sums_them_up(name: str, outs: str) -> None:
    found = catalog(load(_model(_NET + SUMS[name], outs=outs))).reduction
    assert (found.name, found.classes) == ("y", 5)


@pytest.mark.parametrize("name", INNER)
def test_what_a_later_product_is_made_of_is_no_score(name: str) -> None:
    found = catalog(load(_model(_NET + INNER[name]))).reduction
    assert found.output == "z"


@pytest.mark.parametrize("first", ["", "q = Mul(x, x) "], ids=["the input", "a product before"])
def test_slices_that_never_leave_the_batch_are_the_layer(first: str) -> None:
    """Slices of a volume, as pictures of one batch, and the best of them."""
    source = "q" if first else "x"
    body = (
        f"{first}t = Transpose<perm = [0, 2, 1, 3, 4]>({source}) i = Reshape(t, merged) "
        "c = Conv<pads = [1,1,1,1], strides = [2,2]>(i, w1) r = Relu(c) "
        "p = GlobalAveragePool(r) f = Flatten(p) a = Reshape(f, apart) "
        "m = ReduceMax<keepdims = 0>(a, one) y = Gemm(m, v)"
    )
    proto = _model(body, "float[1, 1, 6, 8, 8] x", "y")
    [found] = Explainer(proto)(_RNG.normal(size=(1, 1, 6, 8, 8)).astype("f4"), target=[0])
    assert found.feature_layer == "r"
    assert found.raw_map.shape == (6, 4, 4)
    assert found.map.shape == (6, 8, 8)


def test_a_kernel_over_all_rows_stands_for_all_of_them() -> None:
    """Leads of a cardiogram as rows of a picture: the second kernel sees all of them at once."""
    body = (
        "i = Unsqueeze(x, one) c = Conv<pads = [0,1,0,1]>(i, k) r = Relu(c) "
        "p = GlobalAveragePool(r) f = Flatten(p) y = Gemm(f, v)"
    )
    proto = _model(body, "float[N, 6, 40] x", "y")
    [found] = Explainer(proto)(_RNG.normal(size=(1, 6, 40)).astype("f4"), target=[0])
    assert found.raw_map.shape == (1, 40)
    np.testing.assert_allclose(found.map, np.broadcast_to(found.raw_map, (6, 40)), rtol=1e-5)
    assert not found.laid
