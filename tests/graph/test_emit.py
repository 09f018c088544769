"""The emitter: constants of the right dtype, the opset's forms, no node twice, scopes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support import nets

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.emit import Emitter, const_value, dtype_of, shape_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.run.session import Session


@pytest.fixture
def draft() -> Draft:
    return Draft(load(nets.cnn()))


@pytest.fixture
def op(draft: Draft) -> Emitter:
    return draft.op


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
def test_python_numbers_take_the_dtype_of_their_neighbours(dtype: str) -> None:
    proto = nets.model(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        {"x": [2]},
        {"y": [2]},
        dtype=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)),
    )
    draft = Draft(proto)
    for made in (draft.op.Mul(draft.tensor("x"), 2), draft.op.Sub(1, draft.tensor("x"))):
        assert dtype_of(made) == np.dtype(dtype)
        assert {dtype_of(t) for t in made.inputs[0].inputs} == {np.dtype(dtype)}
    shaped = draft.op.Reshape(draft.tensor("x"), [1, 2])
    assert dtype_of(shaped.inputs[0].inputs[1]) == np.int64
    assert shape_of(shaped) == (1, 2)


@pytest.mark.parametrize(("opset", "attribute"), [(12, True), (13, False)])
def test_axes_are_an_attribute_or_an_input_as_the_opset_wants(opset: int, attribute: bool) -> None:
    draft = Draft(nets.model(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], {"x": [2, 3]}, {"y": [2, 3]},
        opset=opset, ir_version=7,
    ))  # fmt: skip
    made = draft.op.ReduceSum(draft.tensor("y"), axes=[1], keepdims=0)
    assert ("axes" in made.inputs[0].attrs) == attribute
    draft.output(made, "sum")
    built = draft.build()
    onnx.checker.check_model(built, full_check=True)
    x = np.array([[1, -2, 3], [4, 5, -6]], "f4")
    np.testing.assert_array_equal(Session(built).run({"x": x}, ["sum"])[0], [4, 9])


def test_an_operator_that_the_opset_lacks_is_named() -> None:
    draft = Draft(nets.model(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]},
        opset=9, ir_version=4,
    ))  # fmt: skip
    with pytest.raises(UnsupportedOp, match="GatherND does not exist in opset 9"):
        draft.op.GatherND(draft.tensor("x"), [[0]])


def test_an_omitted_last_input_is_not_written(op: Emitter, draft: Draft) -> None:
    matrix = op.Reshape(draft.tensor("x"), [1, -1])
    product = op.Gemm(matrix, op.Transpose(matrix, perm=[1, 0]), None)
    assert len(product.inputs[0].inputs) == 2
    resized = op.Resize(draft.tensor("x"), None, [1.0, 1.0, 2.0, 2.0], mode="nearest")
    assert [t.name == "" for t in resized.inputs[0].inputs] == [False, True, False]


def test_an_unknown_keyword_is_our_own_mistake(op: Emitter, draft: Draft) -> None:
    with pytest.raises(TypeError, match="ReduceSum-13 has no 'axis'"):
        op.ReduceSum(draft.tensor("relu"), axis=1)


def test_the_same_node_is_written_once(op: Emitter, draft: Draft) -> None:
    relu = draft.tensor("relu")
    assert op.Mul(relu, 2) is op.Mul(relu, 2)
    assert op.Mul(relu, 2) is not op.Mul(relu, 3)
    assert op.RandomNormalLike(relu) is not op.RandomNormalLike(relu)
    assert op.const([1, 2]) is op.const([1, 2])
    assert op.const(np.float32(1)) is not op.const(np.float64(1))


def test_shapes_are_constants_where_they_are_known(op: Emitter, draft: Draft) -> None:
    relu = draft.tensor("relu")
    assert op.dim(relu, 1) == 4
    assert shape_of(op.dim(relu, 0)) == (1,)
    pool = op.GlobalAveragePool(relu)
    assert shape_of(pool) == ("N", 4, 1, 1)
    np.testing.assert_array_equal(const_value(op.shape(draft.tensor("w"))), [4, 2, 3, 3])
    assert const_value(op.shape(relu)) is None


def test_what_a_body_does_not_need_is_written_outside(op: Emitter, draft: Draft) -> None:
    index = op.variable("index", np.int64, ["N"])
    body = op.body([index])
    outside = body.Exp(draft.tensor("logits"))
    inside = body.Gather(outside, index, axis=1)
    assert [n.op for n in op.nodes] == ["Exp"]
    assert [n.op for n in body.nodes] == ["Gather"]
    assert inside.inputs[0] is body.nodes[0]


def test_names_say_where_a_node_belongs(op: Emitter, draft: Draft) -> None:
    with op.scope("/features/conv"):
        first = op.Exp(draft.tensor("relu"))
        second = op.Exp(draft.tensor("conv"))
    assert first.name == "onnxcam/features/conv/Exp"
    assert second.name == "onnxcam/features/conv/Exp_1"


def test_what_is_special_about_a_tensor_is_kept_in_its_subgraphs_too(
    op: Emitter, draft: Draft
) -> None:
    relu, logits = draft.tensor("relu"), draft.tensor("logits")
    child = op.body([])
    assert op.mark(relu, "kept") is relu
    assert child.mark(logits, 3) is logits
    assert child.marked(relu, str) == "kept"
    assert op.marked(logits, int) == 3
    assert op.marked(relu, int) is None and op.marked(logits, str) is None
    for i in range(1000):  # what a mark is kept for lives as long as the mark
        op.mark(op.const(np.full(2000, i)), i)
        assert op.marked(op.const(np.full(2000, i)), int) is None
