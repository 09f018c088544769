"""What ONNX Runtime runs is taken: held against it, map and scores, however the file is written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from support import nets

from onnxcam import Explainer, convert
from onnxcam.errors import ModelError
from onnxcam.model.model import load
from onnxcam.run.session import Session

Change = Callable[[ModelProto], None]
CHANGES: dict[str, tuple[Change, str]] = {}
X = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype("f4")


def base() -> ModelProto:
    """A small classifier at opset 17."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "b": rng.normal(size=4),
        "W": rng.normal(size=(4, 5)),
        "B": np.zeros(5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "W", "B"], ["y"]),
    ]
    arrays = {k: v.astype("f4") for k, v in weights.items()}
    return nets.model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 5]}, arrays, opset=17, ir_version=8)


def change(note: str = "") -> Callable[[Change], Change]:
    """Enter a change that ONNX Runtime does not mind, and what the notes say of it."""

    def enter(function: Change) -> Change:
        CHANGES[function.__name__] = function, note
        return function

    return enter


@change("order that can be run")
def nodes_reversed(model: ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@change("order that can be run")
def constants_last(model: ModelProto) -> None:
    for tensor in list(model.graph.initializer):
        model.graph.node.append(helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]


@change("it had no name")
def no_name(model: ModelProto) -> None:
    model.graph.name = ""


@change()
def output_without_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


@change()
def output_without_type(model: ModelProto) -> None:
    model.graph.output[0].ClearField("type")


@change("sizes below zero")
def batch_below_zero(model: ModelProto) -> None:
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = -1


@change("sizes below zero")
def inner_size_below_zero(model: ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("r", 1, [-1, 4, 8, 8]))


@change()
def described_twice(model: ModelProto) -> None:
    for size in (8, 9):
        info = helper.make_tensor_value_info("r", 1, ["N", 4, size, size])
        model.graph.value_info.append(info)


@change()
def described_wrongly(model: ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("r", 1, ["N", 4]))


@change("beside their own")
def ends_described_otherwise(model: ModelProto) -> None:
    """As the conversion to half precision leaves them."""
    for name in "xy":
        model.graph.value_info.append(helper.make_tensor_value_info(name, 1, []))


@change()
def described_without_use(model: ModelProto) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("nobody", 1, [1]))


@change()
def weights_are_inputs(model: ModelProto) -> None:
    for t in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, t.dims))


@change("given the shapes of these")
def weights_are_inputs_of_any_size(model: ModelProto) -> None:
    for t in model.graph.initializer:
        info = helper.make_tensor_value_info(t.name, t.data_type, ["a"] * len(t.dims))
        model.graph.input.append(info)


@change("given the shapes of these")
def weights_are_inputs_without_shape(model: ModelProto) -> None:
    for t in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(t.name, t.data_type, None))


@change("that come twice")
def weight_twice(model: ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[3])


@change("of the same key")
def metadata_twice(model: ModelProto) -> None:
    for value in "ab":
        model.metadata_props.add(key="key", value=value)


@change("of ai.onnx")
def domain_written_out(model: ModelProto) -> None:
    for node in model.graph.node:
        node.domain = "ai.onnx"


@change()
def opset_twice(model: ModelProto) -> None:
    """The last one counts."""
    model.opset_import.insert(0, helper.make_opsetid("ai.onnx", 11))


@change()
def old_and_not_listed(model: ModelProto) -> None:
    model.ir_version, model.opset_import[0].version = 3, 9


@pytest.mark.parametrize("name", CHANGES)
def test_what_onnx_runtime_runs_is_explained_and_converted(name: str) -> None:
    model = base()
    want = Explainer(base(), cache=False)(X)
    act, note = CHANGES[name]
    act(model)
    (scores,) = Session(model, device="cpu").run({"x": X}, ["y"])
    explainer = Explainer(model.SerializeToString(), cache=False)
    result = explainer(X)
    np.testing.assert_allclose(result.scores, scores[0], rtol=1e-6)
    np.testing.assert_allclose(result.map, want.map, rtol=1e-5, atol=1e-6)
    assert result.feature_layer == "r"
    assert any(note in n for n in explainer.model.notes)
    made = convert(model.SerializeToString())
    assert made.check is not None and not made.check.problems


def test_bodies_and_functions_are_sorted_too() -> None:
    late = [
        helper.make_node("Mul", ["t", "x"], ["a"]),  # x and the constant come from outside
        helper.make_node("Relu", ["x"], ["t"]),
    ]
    early = [helper.make_node("Neg", ["k"], ["b"])]
    one, other = (
        helper.make_graph(nodes, "body", [], [helper.make_tensor_value_info(name, 1, [2])])
        for nodes, name in ((late, "a"), (early, "b"))
    )
    function = helper.make_function(
        "own", "Twice", ["p"], ["q"],
        [helper.make_node("Add", ["r", "r"], ["q"]), helper.make_node("Abs", ["p"], ["r"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Twice", ["i"], ["y"], domain="own"),
        helper.make_node("If", ["c"], ["i"], then_branch=one, else_branch=other),
        helper.make_node("Add", ["x", "x"], ["k"]),
    ]
    ports = [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("c", 9, [])]
    result = [helper.make_tensor_value_info("y", 1, [2])]
    graph = helper.make_graph(nodes, "g", ports, result)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    loaded = load(proto)
    onnx.checker.check_model(loaded.proto, full_check=True)
    x = np.array([-1, 2], "f4")
    for condition, want in ((True, [0, 8]), (False, [4, 8])):
        (y,) = Session(loaded, device="cpu").run({"x": x, "c": np.array(condition)})
        assert y.tolist() == want


def test_a_circle_is_no_model() -> None:
    model = base()
    model.graph.node[0].input[0] = "r"
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(model)


def test_a_weight_that_is_not_like_its_input_is_refused() -> None:
    model = base()
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [9]))
    with pytest.raises(ModelError, match=r"the weight 'w' has shape \[4, 3, 3, 3\]"):
        load(model)


def test_a_sound_file_is_left_alone() -> None:
    assert not [n for n in load(base()).notes if "raised" not in n]


@pytest.mark.parametrize("rows", [4, 2000], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["proto", "bytes", "borrowed"])
def test_weights_of_one_name_that_differ_are_refused(rows: int, kind: str) -> None:
    """ONNX Runtime takes the last one where they are small, the first where they are large."""
    model = base()
    for value in (0, 1):
        same = np.full((rows, 5), value, "f4")
        model.graph.initializer.append(numpy_helper.from_array(same, "V"))
    with pytest.raises(ModelError, match="two weights that differ are called 'V'"):
        load(model.SerializeToString() if kind == "bytes" else model, borrow=kind == "borrowed")
