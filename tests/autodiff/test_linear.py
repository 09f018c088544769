"""Matrix products: every rank, broadcasting, all of Gemm's switches."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from onnx import helper, numpy_helper
from support.gradcheck import check_gradient
from support.rule_cases import Case, check_all, check_dtypes, check_twice
from support.variants import graph_model

from onnxcam.autodiff import vjp_model

RNG = np.random.default_rng(6)


def _operand(*shape: int) -> np.ndarray:
    return np.asarray(RNG.integers(-8, 9, shape) / 8)


SHAPES = {
    "matrices": ((2, 3), (3, 4)),
    "vectors": ((3,), (3,)),
    "vector, matrix": ((3,), (3, 4)),
    "matrix, vector": ((2, 3), (3,)),
    "vector, batch": ((3,), (2, 3, 4)),
    "batch, vector": ((2, 4, 3), (3,)),
    "batches": ((2, 2, 3), (2, 3, 4)),
    "batch, matrix": ((2, 5, 2, 3), (3, 4)),
    "matrix, batch": ((2, 3), (5, 3, 4)),
    "broadcast batches": ((2, 1, 2, 3), (5, 3, 4)),
    "both broadcast": ((2, 1, 2, 3), (1, 5, 3, 1)),
    "ones": ((1, 1), (1, 1)),
}
CASES = {
    **{name: Case("MatMul", {"a": _operand(*a), "b": _operand(*b)})
       for name, (a, b) in SHAPES.items()},
    **{
        f"gemm {ta}{tb}, alpha {alpha}, beta {beta}": Case(
            "Gemm", {"a": _operand(3, 2) if ta else _operand(2, 3),
                     "b": _operand(4, 3) if tb else _operand(3, 4), "c": _operand(4)},
            {"transA": ta, "transB": tb, "alpha": alpha, "beta": beta})
        for (ta, tb), (alpha, beta) in zip(product((0, 1), (0, 1)), ((1.0, 1.0), (0.5, 2.0),
                                                                     (2.0, 1.0), (-1.0, 0.5)),
                                           strict=True)
    },
    "gemm without c": Case("Gemm", {"a": _operand(2, 3), "b": _operand(3, 4)}),
    **{f"gemm, c {shape}": Case("Gemm", {"a": _operand(2, 3), "b": _operand(3, 4),
                                         "c": _operand(*shape)})
       for shape in ((), (1,), (2, 1), (1, 4), (2, 4))},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    check_all(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name: str) -> None:
    check_dtypes(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_second_derivative(name: str) -> None:
    check_twice(CASES[name])


@pytest.mark.parametrize("opset", [7, 9])
def test_gemm_of_old_opsets(opset: int) -> None:
    feeds = {"a": _operand(2, 3), "b": _operand(3, 4), "c": _operand(4)}
    case = Case("Gemm", feeds, {"beta": 0.5}, opset=opset)
    model = case.model(np.float32)
    model.ir_version = 4
    assert check_gradient(model, case.cast(np.float32), keep_opset=True, minimum=1).runtime


@pytest.mark.parametrize("a,b", [((2, 2, 3), (2, 3, 4)), ((2, 1, 2, 3), (5, 3, 4)),
                                 ((2, 3), (3, 4)), ((2, 0, 3), (2, 3, 4))], ids=str)  # fmt: skip
def test_products_of_unknown_rank(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Their shapes are computed, and nothing is known of them when the gradient is written."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape_a"], ["a"]),
        helper.make_node("Reshape", ["z", "shape_b"], ["b"]),
        helper.make_node("MatMul", ["a", "b"], ["c"]),
        helper.make_node("ReduceSumSquare", ["c"], ["y"], keepdims=0),
    ]
    feeds = {"x": _operand(int(np.prod(a))), "z": _operand(int(np.prod(b))),
             "shape_a": np.array(a), "shape_b": np.array(b)}  # fmt: skip
    inputs = [helper.make_tensor_value_info(k, 11, v.shape) for k, v in feeds.items() if k in "xz"]
    inputs += [helper.make_tensor_value_info(k, 7, [None]) for k in ("shape_a", "shape_b")]
    nodes[0].attribute.append(helper.make_attribute("allowzero", 1))
    model = graph_model(nodes, inputs, ["y"])
    model.graph.output[0].type.tensor_type.shape.SetInParent()
    assert check_gradient(model, feeds, minimum=0).runtime


@pytest.mark.parametrize("op, attributes", [("MatMul", {}), ("Gemm", {}), ("Gemm", {"transB": 1})])
def test_a_square_constant_is_not_multiplied_transposed_in_place(
    op: str, attributes: dict[str, int]
) -> None:
    """OpenVINO packs a constant once for all products of a shape: it would take W for W^T."""
    weight = numpy_helper.from_array(_operand(3, 3), "w")
    nodes = [
        helper.make_node(op, ["x", "w"], ["z"], **attributes),
        helper.make_node("ReduceSumSquare", ["z"], ["y"], keepdims=0),
    ]
    model = graph_model(nodes, [helper.make_tensor_value_info("x", 11, [2, 3])], ["y"])
    model.graph.initializer.append(weight)
    model.graph.output[0].type.tensor_type.shape.SetInParent()
    assert check_gradient(model, {"x": _operand(2, 3)}, minimum=1).runtime
    users = [n for n in vjp_model(model, ["x"], ["y"]).graph.node if "w" in n.input]
    assert sorted(n.op_type for n in users) == sorted([op, "Unsqueeze"])
