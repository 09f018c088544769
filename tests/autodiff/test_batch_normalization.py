"""BatchNormalization at inference and in training, against differences and torch in double."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from support import reference_repairs  # noqa: F401
from support.gradcheck import check_gradient, run
from support.second_order import check_second_order
from support.variants import node_model, symbolic

from onnxcam.autodiff import vjp_model
from onnxcam.autodiff.engine import vjp
from onnxcam.errors import UnsupportedOp
from onnxcam.model.draft import Draft

SHAPES = [(3, 2), (2, 3, 4), (2, 2, 3, 2), (1, 2, 2, 3, 2)]
TRAINED = ["y", "running_mean", "running_var"]


def _feeds(shape, seed=0, dtype=np.float32, own=None):
    rng = np.random.default_rng(seed)
    each = shape[1] if own is None else own
    feeds = {"x": rng.standard_normal(shape) * 2 + 1, "s": rng.standard_normal(each) + 2,
             "b": rng.standard_normal(each), "m": rng.standard_normal(each),
             "v": rng.random(each) + 0.5}  # fmt: skip
    return {k: np.asarray(v, dtype) for k, v in feeds.items()}


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_inference(shape, dims):
    feeds = _feeds(shape)
    model = node_model("BatchNormalization", feeds, epsilon=0.01)
    assert check_gradient(model, feeds, symbolic=dims == "symbolic").runtime


@pytest.mark.parametrize("dims", ["static", "symbolic"])
@pytest.mark.parametrize("shape", SHAPES)
def test_training(shape, dims):
    feeds = _feeds(shape, 1)
    model = node_model("BatchNormalization", feeds, TRAINED, training_mode=1, momentum=0.7)
    check_gradient(model, feeds, symbolic=dims == "symbolic")


@pytest.mark.parametrize("output", TRAINED)
def test_training_one_output(output):
    feeds = _feeds((2, 2, 3), 2)
    model = node_model("BatchNormalization", feeds, TRAINED, training_mode=1)
    check_gradient(model, feeds, outputs=[output])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_as_in_torch(shape, training):
    feeds = _feeds(shape, 3)
    model = node_model("BatchNormalization", feeds, training_mode=int(training))
    if training:  # ONNX Runtime crashes where one is left out
        model = node_model("BatchNormalization", feeds, TRAINED, training_mode=1)
    tensors = {k: torch.tensor(v).double() for k, v in feeds.items()}
    leaves = {k: tensors[k].requires_grad_() for k in "xsb"}
    y = F.batch_norm(tensors["x"], tensors["m"].clone(), tensors["v"].clone(), tensors["s"],
                     tensors["b"], training=training)  # fmt: skip
    dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).double()
    y.backward(dy)
    grad = vjp_model(model, list("xsb"), ["y"])
    got = run(grad, {**feeds, "ct::y": dy.numpy().astype(np.float32)})
    for name, leaf in leaves.items():
        np.testing.assert_allclose(got[f"grad::{name}"], leaf.grad, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_dtypes(dtype):
    feeds = _feeds((2, 3, 4), 4, dtype)
    assert check_gradient(node_model("BatchNormalization", feeds), feeds).runtime


def test_statistics_of_another_dtype():
    feeds = _feeds((2, 3, 4), 5)
    feeds["x"] = feeds["x"].astype(np.float16)
    model = node_model("BatchNormalization", feeds)
    check_gradient(model, feeds)


def test_constant_statistics_leave_one_product():
    """With constants ONNX Runtime folds the factor: a single Mul walks over the activations."""
    feeds = _feeds((2, 3, 4, 4), 6)
    model = node_model("BatchNormalization", feeds)
    grad = vjp_model(model, ["x"], ["y"])
    wide = [n.op_type for n in grad.graph.node if "ct::y" in n.input]
    assert wide == ["Mul"]
    check_gradient(model, feeds, constant=["s", "b", "m", "v"])


@pytest.mark.parametrize("opset", [7, 9, 14])
def test_old_opsets(opset):
    feeds = _feeds((2, 3, 4, 2), 7)
    model = node_model("BatchNormalization", feeds, opset=opset)
    assert check_gradient(model, feeds, keep_opset=True, wrt=["x"]).runtime


def test_an_activation_each():
    """Before opset 9 ``spatial=0`` gave every activation its own statistics."""
    feeds = _feeds((2, 3, 4), 8, own=(3, 4))
    model = node_model("BatchNormalization", feeds, opset=8, spatial=0)
    draft = Draft(model)
    dy = draft.input("ct", np.float32, [2, 3, 4])
    dx, ds = vjp(draft.op, [(draft.tensor("y"), dy)], [draft.tensor("x"), draft.tensor("s")])
    draft.output(dx, "dx")
    draft.output(ds, "ds")
    ct = _feeds((2, 3, 4), 9)["x"]
    built = draft.build()
    names = {n.op_type for n in built.graph.node}
    del built.graph.node[0], built.graph.output[0]  # no runtime has this forward
    assert "BatchNormalization" in names
    got = run(built, {**feeds, "ct": ct})
    r = 1 / np.sqrt(feeds["v"] + 1e-5)
    np.testing.assert_allclose(got["dx"], ct * feeds["s"] * r, rtol=1e-5)
    want = (ct * (feeds["x"] - feeds["m"]) * r).sum(0)
    np.testing.assert_allclose(got["ds"], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("opset", "outputs"), [(6, ["y"]), (9, ["y", "a", "b", "c", "d"])])
def test_old_training_mode_is_refused(opset, outputs):
    draft = Draft(node_model("BatchNormalization", _feeds((2, 3, 4)), outputs, opset=opset))
    dy = draft.input("ct", np.float32, [2, 3, 4])
    with pytest.raises(UnsupportedOp, match="training mode of opset"):
        vjp(draft.op, [(draft.tensor("y"), dy)], [draft.tensor("x")])


@pytest.mark.parametrize("training", [0, 1])
def test_second_order(training):
    feeds = _feeds((2, 2, 3), 10)
    outputs = TRAINED if training else ["y"]
    model = node_model("BatchNormalization", feeds, outputs, training_mode=training)
    check_second_order(model, feeds, ["x", "s"], ["y"], rtol=1e-4, runtime_rtol=2e-3)


def test_symbolic_shapes_keep_the_channel_sums_right():
    feeds = _feeds((2, 3, 2, 2), 11)
    model = symbolic(node_model("BatchNormalization", feeds))
    dy = _feeds((2, 3, 2, 2), 12)["x"]
    got = run(vjp_model(model, ["b"], ["y"]), {**feeds, "ct::y": dy})
    np.testing.assert_allclose(got["grad::b"], dy.sum((0, 2, 3)), rtol=1e-5)
