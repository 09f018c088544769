"""Small files that ask for much are refused for what they ask for, before it is made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import nets

from onnxcam import Explainer, ModelError, UsageError, load
from onnxcam.model.passes import budgets


def _with(*nodes: onnx.NodeProto, **weights: object) -> onnx.ModelProto:
    model = nets.cnn()
    model.graph.node.extend(nodes)
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def _bomb(depth: int) -> onnx.ModelProto:
    """Functions that call the next one twice each."""
    model = nets.cnn()
    for k in range(depth):
        op = f"F{k + 1}" if k + 1 < depth else "Relu"
        domain = "twin" if k + 1 < depth else ""
        nodes = [
            helper.make_node(op, ["x"], ["a"], domain=domain),
            helper.make_node(op, ["a"], ["y"], domain=domain),
        ]
        opsets = [*model.opset_import[:1], helper.make_opsetid("twin", 1)]
        model.functions.append(helper.make_function("twin", f"F{k}", ["x"], ["y"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid("twin", 1))
    model.graph.node.append(helper.make_node("F0", ["x"], ["bomb"], domain="twin"))
    return model


def test_functions_are_counted_before_they_are_inlined(monkeypatch: pytest.MonkeyPatch) -> None:
    load(_bomb(5))
    monkeypatch.setenv(budgets.NODES, "20")  # first: without a budget the next would not end
    with pytest.raises(ModelError, match="nodes"):
        load(_bomb(5))
    monkeypatch.delenv(budgets.NODES)
    with pytest.raises(ModelError, match=r"1,073,741,8\d\d nodes.*ONNXCAM_NODES"):
        load(_bomb(30))
    monkeypatch.setenv(budgets.NODES, "many")
    with pytest.raises(UsageError, match="ONNXCAM_NODES='many' is no number"):
        load(_bomb(5))


def test_a_function_that_calls_itself_is_refused() -> None:
    model = _bomb(3)
    model.functions[2].node[0].op_type, model.functions[2].node[0].domain = "F0", "twin"
    with pytest.raises(ModelError, match="calls itself"):
        load(model)


@pytest.mark.parametrize(
    ("op", "inputs", "weights"),
    [
        ("Range", ["a", "b", "c"], {"a": 0, "b": 2**40, "c": 1}),
        ("Range", ["a", "b", "c"], {"a": 0.0, "b": 1e30, "c": 1e-3}),
        ("ConstantOfShape", ["a"], {"a": [2**20, 2**20]}),
        ("Expand", ["a", "b"], {"a": 1.0, "b": [2**31, 4]}),
        ("Tile", ["a", "b"], {"a": [1.0], "b": [2**40]}),
    ],
)
def test_elements_that_constants_name(
    op: str, inputs: list[str], weights: dict[str, object]
) -> None:
    with pytest.raises(ModelError, match=rf"elements at node 'z' \({op}\).*ONNXCAM_ELEMENTS"):
        load(_with(helper.make_node(op, inputs, ["z"]), **weights))


def _loop(goes_on: str, turns: int | None, first: bool = True) -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["v"], ["v2"])]
    if goes_on == "passed":
        nodes.append(helper.make_node("Identity", ["on"], ["on2"]))
    else:
        nodes.append(helper.make_node("Less", ["i", "ten"], ["on2"]))
    body = helper.make_graph(
        nodes, "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", 1, None)],
        [helper.make_tensor_value_info("on2", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v2", 1, None)],
    )  # fmt: skip
    source = nets.cnn().graph.node[0].output[0]
    loop = helper.make_node("Loop", ["n" if turns else "", "t", source], ["z"], body=body)
    return _with(loop, **({"n": turns} if turns else {}), t=first, ten=10)


def test_a_loop_without_an_end() -> None:
    for turns in (2**62, 2**31, None):
        with pytest.raises(ModelError, match="turns of the loop 'z'"):
            load(_loop("passed", turns))
    load(_loop("passed", 1000))
    load(_loop("passed", 2**62, first=False))  # none at all
    load(_loop("asked", 2**62))  # as while loops are written: the condition ends it


def _said(**attribute: object) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["b"], **attribute)


I64 = np.int64
ONES = numpy_helper.from_array(np.ones(1, I64))


def _places() -> onnx.NodeProto:
    return helper.make_node("ConstantOfShape", ["n"], ["z"], value=ONES)


def _short(count: int) -> onnx.NodeProto:
    """Return a node that makes a list of so many numbers of four bytes."""
    return helper.make_node("RandomUniform", [], ["i"], shape=[count])


MADE: dict[str, tuple[list[onnx.NodeProto], dict[str, object]]] = {
    "a number in an attribute": (
        [_said(value_int=2**33), helper.make_node("Range", ["a", "b", "c"], ["z"])],
        {"a": 0, "c": 1},
    ),
    "numbers in an attribute": (
        [_said(value_ints=[2**17, 2**16]), helper.make_node("ConstantOfShape", ["b"], ["z"])],
        {},
    ),
    "a product": (
        [helper.make_node("Mul", ["k", "k"], ["b"]),
         helper.make_node("Range", ["a", "b", "c"], ["z"])],
        {"a": 0, "k": 2**17, "c": 1},
    ),
    "a cast": (
        [helper.make_node("Cast", ["s"], ["b"], to=7),
         helper.make_node("ConstantOfShape", ["b"], ["z"])],
        {"s": np.array([2.0**17, 2.0**16])},
    ),
    "numbers joined": (
        [helper.make_node("Concat", ["s", "s"], ["b"], axis=0),
         helper.make_node("ConstantOfShape", ["b"], ["z"])],
        {"s": np.array([2**17])},
    ),
    "the shape of a constant": (
        [helper.make_node("ConstantOfShape", ["s"], ["y"]), helper.make_node("Size", ["y"], ["b"]),
         helper.make_node("Mul", ["b", "b"], ["b2"]),
         helper.make_node("Range", ["a", "b2", "c"], ["z"])],
        {"s": np.array([2**20]), "a": 0, "c": 1},
    ),
    "tiles of tiles": (
        [helper.make_node("Tile", ["one", "s"], ["t0"]),
         helper.make_node("Tile", ["t0", "s"], ["z"])],
        {"one": np.array([1.0]), "s": np.array([2**17])},
    ),
    "joined with itself again and again": (
        [helper.make_node("Concat", [f"d{k}"] * 2, [f"d{k + 1}" if k < 30 else "z"], axis=0)
         for k in range(31)],
        {"d0": np.array([2])},
    ),
    "pads": ([helper.make_node("Pad", ["w", "s"], ["z"])], {"s": np.array([0] * 6 + [2**16] * 2)}),
    "sizes": (
        [helper.make_node("Resize", ["conv", "", "", "s"], ["z"])],
        {"s": np.array([1, 4, 2**16, 2**16])},
    ),
    "scales": (
        [helper.make_node("Resize", ["conv", "", "s"], ["z"])],
        {"s": np.array([1, 1, 2**15, 2**15], np.float32)},
    ),
    "a random shape": ([helper.make_node("RandomNormal", [], ["z"], shape=[2**17, 2**16])], {}),
    "one of many": (
        [helper.make_node("OneHot", ["s", "n", "v"], ["z"])],
        {"s": np.arange(16), "n": 2**33, "v": np.array([0.0, 1.0])},
    ),
    "a window": ([helper.make_node("HannWindow", ["n"], ["z"])], {"n": 2**33}),
    "unpooled": (
        [helper.make_node("MaxUnpool", ["conv", "i", "s"], ["z"], kernel_shape=[2, 2])],
        {"i": np.zeros((1, 4, 6, 6), I64), "s": np.array([1, 4, 2**16, 2**16])},
    ),
    "places of eight bytes": ([_places()], {"n": np.array([2**27 + 2])}),
    "a range of places": (
        [helper.make_node("Range", ["a", "b", "c"], ["z"])], {"a": 0, "b": 2**27 + 2, "c": 1},
    ),
    "a list of parts": (
        [_short(2**19), helper.make_node("SplitToSequence", ["conv", "i"], ["z"])], {},
    ),
    "parts of one each": (
        [_short(2**19), helper.make_node("SplitToSequence", ["i", ""], ["z"])], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", MADE)
def test_elements_that_numbers_lead_to(how: str) -> None:
    nodes, weights = MADE[how]
    with pytest.raises(ModelError, match=r"elements at node .*ONNXCAM_ELEMENTS"):
        budgets.within(_with(*nodes, **weights))


@pytest.mark.parametrize("op", ["Gather", "GatherND", "Concat"])
def test_elements_that_places_make_of_what_is_computed(op: str) -> None:
    """The list of places is small: what is picked by it is not."""
    nodes = [helper.make_node("ConstantOfShape", ["n"], ["i"], value=ONES)]
    many = {"Gather": [2**24], "GatherND": [2**24, 2]}
    if op == "Concat":
        nodes += [helper.make_node("Concat", ["conv"] * 64, ["z0"], axis=1)]
        nodes += [helper.make_node("Concat", [f"z{k}"] * 64, [f"z{k + 1}"], axis=1)
                  for k in range(5)]  # fmt: skip
    else:
        axis = {} if op == "GatherND" else {"axis": 1}
        nodes.append(helper.make_node(op, ["conv", "i"], ["z"], **axis))
    with pytest.raises(ModelError, match=rf"elements at node .* \({op}\).*ONNXCAM_ELEMENTS"):
        load(_with(*nodes, n=np.array(many.get(op, [2]))))


def test_elements_that_a_call_names() -> None:
    """A function takes the number from who calls it, as an input or as an attribute."""
    model = nets.cnn()
    number = helper.make_node("Constant", [], ["b"])
    number.attribute.add(name="value_int", ref_attr_name="n", type=onnx.AttributeProto.INT)
    one, nought = (
        helper.make_node("Constant", [], [n], value_int=k) for n, k in (("c", 1), ("a", 0))
    )
    nodes = [number, one, nought, helper.make_node("Range", ["a", "b", "c"], ["y"])]
    opsets = list(model.opset_import)
    model.functions.append(helper.make_function("own", "F", [], ["y"], nodes, opsets, ["n"]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("F", [], ["z"], domain="own", n=2**33))
    with pytest.raises(ModelError, match="8,589,934,592 elements"):
        load(model)


def test_turns_of_loops_in_loops_are_multiplied() -> None:
    model = _loop("passed", 2000)
    inner = onnx.NodeProto()
    inner.CopyFrom(model.graph.node[-1])
    inner.input[2], inner.output[0] = "v", "v2"
    model.graph.node[-1].attribute[0].g.node[0].CopyFrom(inner)
    with pytest.raises(ModelError, match="4,000,000 turns"):
        budgets.within(model)


def _sparse(dims: tuple[int, ...], *, rows: bool) -> onnx.ModelProto:
    """A model with the last weight sparse, by numbers in a row or by rows and columns."""
    model = nets.cnn()
    dense = next(t for t in model.graph.initializer if t.name == "fc")
    value = numpy_helper.to_array(dense)
    model.graph.initializer.remove(dense)
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.extend(dims)
    sparse.values.CopyFrom(numpy_helper.from_array(value.ravel(), "fc"))
    places = np.argwhere(np.ones_like(value)) if rows else np.arange(value.size)
    sparse.indices.CopyFrom(numpy_helper.from_array(places, "places"))
    return model


@pytest.mark.parametrize("rows", [True, False])
def test_sparse_weights_are_written_out_within_the_budget(rows: bool) -> None:
    x = np.random.default_rng(0).random((1, 2, 6, 6)).astype("f4")
    want = Explainer(nets.cnn(), cache=False)(x)
    found = Explainer(_sparse((3, 4), rows=rows), cache=False)(x)
    np.testing.assert_array_equal(found.map, want.map)
    with pytest.raises(ModelError, match="elements at the sparse weight 'fc'.*ONNXCAM_ELEMENTS"):
        load(_sparse((2**20, 2**20), rows=rows))


def test_names_have_an_end() -> None:
    model = nets.cnn()
    model.graph.node[0].name = "n" * 100_001
    with pytest.raises(ModelError, match="a name in the model has 100,001 characters"):
        load(model)


def test_rows_of_numbers_are_not_followed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnx makes an object of each: shapes have few, and all others cost gigabytes."""
    asked: list[bool] = []
    infer = onnx.shape_inference.infer_shapes

    def spied(proto: onnx.ModelProto, **options: object) -> onnx.ModelProto:
        asked.append(bool(options.pop("data_prop", False)))
        return infer(proto, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", spied)
    made = helper.make_node("Range", ["a", "n", "c"], ["r"])
    row = [made, helper.make_node("Cast", ["r"], ["z"], to=1)]
    for numbers, follows in ((100, True), (2**24, False)):
        asked.clear()
        load(_with(*row, a=0, n=numbers, c=1))
        assert asked and all(each == follows for each in asked)
