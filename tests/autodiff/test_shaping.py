"""Operators that move values: joins, parts, tiles, blocks, and shapes given in every way."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support.gradcheck import check_gradient
from support.rule_cases import Case, check_all, check_dtypes, check_old, check_twice
from support.variants import graph_model, node_model

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UnsupportedOp

X = (np.random.default_rng(1).permutation(24) / 8 - 1.25).reshape(2, 3, 4)
IMAGE = (np.random.default_rng(2).permutation(96) / 16).reshape(1, 8, 3, 4)
WIDE = IMAGE.reshape(1, 2, 6, 8)


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES = {
    "identity": Case("Identity", {"x": X}),
    "reshape": Case("Reshape", {"x": X, "shape": _ints(4, 6)}),
    "reshape, 0 and -1": Case("Reshape", {"x": X, "shape": _ints(0, -1)}),
    "reshape, allowzero": Case("Reshape", {"x": X, "shape": _ints(6, -1)}, {"allowzero": 1}),
    "reshape to a vector": Case("Reshape", {"x": X, "shape": _ints(-1)}),
    "flatten": Case("Flatten", {"x": X}, {"axis": 2}),
    "flatten, axis 0": Case("Flatten", {"x": X}, {"axis": 0}),
    "flatten, negative": Case("Flatten", {"x": X}, {"axis": -1}),
    "squeeze": Case("Squeeze", {"x": X[:, None, :, :, None], "axes": _ints(1, -1)}),
    "squeeze all": Case("Squeeze", {"x": X[:1, :, :1]}),
    "unsqueeze": Case("Unsqueeze", {"x": X, "axes": _ints(0, -1, 2)}),
    "transpose": Case("Transpose", {"x": X}, {"perm": [2, 0, 1]}),
    "transpose, default": Case("Transpose", {"x": X}),
    "expand": Case("Expand", {"x": X[:, :1], "shape": _ints(2, 3, 4)}),
    "expand, new dimensions": Case("Expand", {"x": X[0, :, :1], "shape": _ints(2, 3, 4)}),
    "expand, smaller shape": Case("Expand", {"x": X, "shape": _ints(1)}),
    "expand a scalar": Case("Expand", {"x": np.array(1.5), "shape": _ints(2, 3)}),
    "tile": Case("Tile", {"x": X, "repeats": _ints(2, 1, 3)}),
    "tile of one": Case("Tile", {"x": X[0, 0], "repeats": _ints(3)}),
    "concat": Case("Concat", {"a": X, "b": X[:, :1], "c": X[:, 1:] * 2}, {"axis": 1}),
    "concat, negative": Case("Concat", {"a": X, "b": X[..., :1]}, {"axis": -1}),
    "concat of one": Case("Concat", {"a": X}, {"axis": 0}),
    "split": Case("Split", {"x": X}, {"axis": 2, "num_outputs": 2}, outputs=("a", "b")),
    "split, uneven": Case("Split", {"x": X}, {"axis": 1, "num_outputs": 2}, outputs=("a", "b")),
    "split, sizes": Case("Split", {"x": X, "split": _ints(1, 0, 3)}, {"axis": -1},
                         outputs=("a", "b", "c")),
    "split, one used": Case("Split", {"x": X, "split": _ints(1, 2)}, {"axis": 1},
                            outputs=("a", "b"), options={"outputs": ["b"]}),
    "depth to space": Case("DepthToSpace", {"x": IMAGE}, {"blocksize": 2}),
    "depth to space, CRD": Case("DepthToSpace", {"x": IMAGE}, {"blocksize": 2, "mode": "CRD"}),
    "space to depth": Case("SpaceToDepth", {"x": WIDE}, {"blocksize": 2}),
    "cast like": Case("CastLike", {"x": X, "like": np.array([1.0])}),
}  # fmt: skip
OLD = {
    "split 11": Case("Split", {"x": X}, {"axis": 1, "split": [1, 2]}, ("a", "b"), 11),
    "split 11, even": Case("Split", {"x": X}, {"axis": 2}, ("a", "b"), 11),
    "split 13": Case("Split", {"x": X}, {"axis": 2}, ("a", "b"), 13),
    "squeeze 11": Case("Squeeze", {"x": X[:, :1]}, {"axes": [1]}, opset=11),
    "unsqueeze 11": Case("Unsqueeze", {"x": X}, {"axes": [1, 2]}, opset=11),
    "reshape 13": Case("Reshape", {"x": X, "shape": _ints(0, 12)}, opset=13),
    "concat 11": Case("Concat", {"a": X, "b": X}, {"axis": 1}, opset=11),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", [n for n in CASES if n != "split, one used"])
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("name", OLD)
@pytest.mark.parametrize("keep", [False, True])
def test_old_opsets(name: str, keep: bool) -> None:
    check_old(OLD[name], keep=keep)


def test_concat_of_unknown_sizes_in_an_old_opset_says_what_to_do() -> None:
    case = OLD["concat 11"]
    with pytest.raises(UnsupportedOp, match="Raise the model"):
        check_gradient(
            case.model(np.float32), case.cast(np.float32), keep_opset=True, symbolic=True
        )


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_of_both_orders(mode: str) -> None:
    """The attribute came with opset 28; DepthToSpace is the inverse."""
    check_gradient(
        node_model("SpaceToDepth", {"x": WIDE}, opset=28, blocksize=2, mode=mode), {"x": WIDE}
    )


def test_an_output_without_a_name() -> None:
    """ONNX Runtime crashes on such a Split itself, so the reference evaluator runs it."""
    nodes = [helper.make_node("Split", ["x"], ["", "b", ""], axis=0, num_outputs=3)]
    model = graph_model(nodes, [helper.make_tensor_value_info("x", 1, [6, 2])], ["b"])
    grad = ReferenceEvaluator(vjp_model(model, ["x"], ["b"]))
    feeds = {"x": np.ones((6, 2), "f4"), "ct::b": np.array([[1, 2], [3, 4]], "f4")}
    got = grad.run(["grad::x"], feeds)[0]
    assert got.tolist() == [[0, 0], [0, 0], [1, 2], [3, 4], [0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)], ids=str)
@pytest.mark.parametrize("name", ["reshape", "tile", "concat", "expand"])
def test_empty_tensors_keep_their_shape(name: str, shape: tuple[int, int]) -> None:
    x = np.zeros(shape, np.float32)
    cases = {
        "reshape": node_model("Reshape", {"x": x, "s": _ints(0, 5)}, allowzero=1),
        "tile": node_model("Tile", {"x": x, "s": _ints(2, 2)}),
        "concat": node_model("Concat", {"x": x, "s": np.ones((2, 3), "f4")}, axis=0),
        "expand": node_model("Expand", {"x": x, "s": _ints(3, *shape)}),
    }
    if name == "concat" and shape == (2, 0):
        pytest.skip("does not fit")
    model = cases[name]
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.input}
    other = {"reshape": _ints(0, 5), "tile": _ints(2, 2), "expand": _ints(3, *shape)}
    feeds = {"x": x, "s": other.get(name, np.ones((2, 3), "f4"))}
    assert kinds["x"] == 1
    for symbolic in (False, True):
        check_gradient(model, feeds, wrt=["x"], symbolic=symbolic)
