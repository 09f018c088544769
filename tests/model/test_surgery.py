"""Surgery: the old model stays, the new one keeps what the old one gave."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support import nets

from onnxcam.autodiff import vjp_model
from onnxcam.errors import UsageError, suggestion
from onnxcam.model.draft import Draft, cut, expose
from onnxcam.model.model import load
from onnxcam.run.session import Session


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 2, 6, 6)).astype("f4")


def test_expose_adds_outputs_behind_the_old_ones(x: np.ndarray) -> None:
    loaded = load(nets.cnn())
    before = loaded.proto.SerializeToString(deterministic=True)
    exposed = expose(loaded, ["relu", "flat"])
    onnx.checker.check_model(exposed, full_check=True)
    assert [o.name for o in exposed.graph.output] == ["logits", "relu", "flat"]
    assert loaded.proto.SerializeToString(deterministic=True) == before
    (plain,) = Session(loaded.proto, optimise=False).run({"x": x})
    logits, relu, flat = Session(exposed, optimise=False).run({"x": x})
    np.testing.assert_array_equal(logits, plain)
    np.testing.assert_allclose(flat, relu.mean((2, 3)), rtol=1e-5)
    assert relu.min() == 0


def test_expose_of_an_output_changes_nothing() -> None:
    loaded = load(nets.cnn())
    assert [o.name for o in expose(loaded, ["logits"]).graph.output] == ["logits"]


def test_cut_keeps_only_what_is_needed(x: np.ndarray) -> None:
    loaded = load(nets.cnn())
    head = cut(loaded, ["relu"])
    onnx.checker.check_model(head, full_check=True)
    assert [n.op_type for n in head.graph.node] == ["Conv", "Relu"]
    (got,) = Session(head, optimise=False).run({"x": x})
    want = Session(expose(loaded, ["relu"]), optimise=False).run({"x": x}, ["relu"])[0]
    np.testing.assert_array_equal(got, want)


def test_an_unknown_tensor_is_named_with_its_neighbours() -> None:
    with pytest.raises(UsageError, match="no tensor 'rellu'.*'relu'"):
        expose(load(nets.cnn()), ["rellu"])


def test_a_part_of_a_name_is_enough_for_the_hint() -> None:
    names = ["/a/block.1/Relu_output_0", "/a/block.2/Relu_output_0", "x", "scores"]
    assert suggestion("block.2", names) == "did you mean '/a/block.2/Relu_output_0'?"
    assert suggestion("relu_out", names) == (
        "did you mean '/a/block.1/Relu_output_0', '/a/block.2/Relu_output_0'?"
    )
    assert suggestion("score", names) == "did you mean 'scores'?"
    assert "layers.catalog(model)" in suggestion("", names)


def test_new_names_never_collide(x: np.ndarray) -> None:
    """A model that already has our names gets others."""
    proto = nets.cnn()
    for node in proto.graph.node:
        node.output[:] = [n.replace("relu", "onnxcam/Relu") for n in node.output]
        node.input[:] = [n.replace("relu", "onnxcam/Relu") for n in node.input]
    draft = Draft(load(proto))
    made = draft.op.Relu(draft.tensor("conv"))
    assert made.name != "onnxcam/Relu"
    draft.output(made, "mine")
    built = draft.build()
    onnx.checker.check_model(built, full_check=True)
    got = Session(built, optimise=False).run({"x": x}, ["mine"])[0]
    assert got.shape == (2, 4, 6, 6)
    with pytest.raises(UsageError, match="already has a tensor 'logits'"):
        draft.output(made, "logits")


def test_what_nothing_needs_is_not_written() -> None:
    draft = Draft(load(nets.cnn()))
    draft.op.Exp(draft.tensor("relu"))
    draft.output(draft.op.Neg(draft.tensor("relu")), "negative")
    added = [n.op_type for n in draft.build().graph.node[5:]]
    assert added == ["Neg", "Identity"]


def test_a_default_input_need_not_be_fed(x: np.ndarray) -> None:
    draft = Draft(load(nets.cnn()))
    factor = draft.input("factor", np.float32, [1], np.array([3], "f4"))
    draft.output(draft.op.Mul(draft.tensor("logits"), factor), "scaled")
    session = Session(draft.build(), optimise=False)
    logits, scaled = session.run({"x": x})
    np.testing.assert_allclose(scaled, 3 * logits, rtol=1e-6)
    fed = session.run({"x": x, "factor": np.array([2], "f4")}, ["scaled"])[0]
    np.testing.assert_allclose(fed, 2 * logits, rtol=1e-6)


def test_a_weight_that_nothing_uses_has_a_name_too(x: np.ndarray) -> None:
    proto = nets.cnn()
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((2, 5), "f4"), "spare"))
    session = Session(vjp_model(proto, ["spare"], ["logits"]), optimise=False)
    feeds = {"x": x, "ct::logits": np.ones((2, 3), "f4")}
    (gradient,) = session.run(feeds, ["grad::spare"])
    np.testing.assert_array_equal(gradient, np.zeros((2, 5)))


def test_metadata_is_kept_and_added() -> None:
    proto = nets.cnn()
    helper.set_model_props(proto, {"author": "me", "onnxcam.method": "old"})
    built = Draft(load(proto)).build({"onnxcam.method": "gradcam"})
    assert {p.key: p.value for p in built.metadata_props} == {
        "author": "me",
        "onnxcam.method": "gradcam",
    }


def test_inputs_with_defaults_stay_inputs(x: np.ndarray) -> None:
    """Old PyTorch exports list weights as inputs: callers may override them."""
    proto = nets.cnn()
    proto.graph.input.append(helper.make_tensor_value_info("fcb", 1, [3]))
    exposed = expose(load(proto), ["relu"])
    assert [i.name for i in exposed.graph.input] == ["x", "fcb"]
    session = Session(exposed, optimise=False)
    plain = session.run({"x": x}, ["logits"])[0]
    moved = session.run({"x": x, "fcb": np.full(3, 100, "f4")}, ["logits"])[0]
    assert (moved > plain + 90).all()
