"""Methods by literal values and by naive NumPy, apart from any real model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from support import nets

from onnxcam import Explainer, methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import default_feature, explain_graph
from onnxcam.errors import UsageError
from onnxcam.methods.needs import Activation, Gradient, HeadScore, Input, Score
from onnxcam.methods.registry import graph_method
from onnxcam.model.model import load
from onnxcam.names import MAP, SIGNED
from onnxcam.run.session import Session

X = np.array([[[[1, 0], [2, -1]], [[0, 3], [1, 0]]]], "f4")  # [1, 2, 2, 2]
# relu(x): channel 0 = [[1, 0], [2, 0]], channel 1 = [[0, 3], [1, 0]]; fc = [[1, -2], [3, 4]]
CAM = {0: [[1, 9], [5, 0]], 1: [[-2, 12], [0, 0]]}


@pytest.mark.parametrize("target", [0, 1])
def test_cam_by_hand(target: int) -> None:
    explain = Explainer(nets.one_by_one(), "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=target).map, CAM[target], atol=1e-6)


@pytest.mark.parametrize("target", [0, 1])
def test_gradcam_by_hand(target: int) -> None:
    """Behind global average pooling Grad-CAM is CAM over the number of positions, rectified."""
    explain = Explainer(nets.one_by_one(), device="cpu", upsampling="none", feature_layer="a")
    found = explain(X, target=target)
    np.testing.assert_allclose(found.signed_map, np.array(CAM[target]) / 4, atol=1e-6)
    np.testing.assert_allclose(found.map, np.maximum(np.array(CAM[target]) / 4, 0), atol=1e-6)


def _head(nodes: list, weights: dict[str, np.ndarray], out: list[int]) -> object:
    first = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["m"], ["a"]),
    ]
    return nets.model([*first, *nodes], {"x": ["N", 2, 2, 2]}, {"y": ["N", *out]}, weights)


FC = np.array([[1, -2], [3, 4]], "f4")
POOL = helper.make_node("GlobalAveragePool", ["a"], ["p"])
FLAT = helper.make_node("Flatten", ["p"], ["f"])


def test_cam_with_a_convolutional_classifier_and_bias() -> None:
    nodes = [
        POOL,
        helper.make_node("Conv", ["p", "w", "b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    weights = {"w": FC.T.reshape(2, 2, 1, 1).copy(), "b": np.array([5, 6], "f4")}
    explain = Explainer(_head(nodes, weights, [2]), "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=1).map, CAM[1], atol=1e-6)


def test_cam_with_reduce_mean_without_kept_axes() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["a", "axes"], ["f"], keepdims=0),
        helper.make_node("MatMul", ["f", "fc"], ["y"]),
    ]
    proto = _head(nodes, {"fc": FC, "axes": np.array([2, 3])}, [2])
    explain = Explainer(proto, "cam", device="cpu", upsampling="none")
    np.testing.assert_allclose(explain(X, target=0).map, CAM[0], atol=1e-6)


# The gradient at relu(x), by a Flatten and a MatMul, and what each method makes of it.
G = np.array([[[1, -1], [2, 0]], [[0, 1], [-2, 3]]], "f4")
BY_HAND = {
    "gradcam": [[0.5, 1.5], [1.5, 0]],
    "gradcam++": [
        [1 / 5 + 2 / 8, 3 * (1 / 6 + 3 / 14)],
        [2 * (1 / 5 + 2 / 8) + 1 / 6 + 3 / 14, 0],
    ],
    "hirescam": [[1, 3], [4 - 2, 0]],
    "layercam": [[1, 3], [4, 0]],
    "xgradcam": [[5 / 3, 3 / 4], [10 / 3 + 1 / 4, 0]],
    "gradcam-elementwise": [[1, 3], [4, 0]],
    # X = A less (3/4, 1): X^T X = [[11/4, -1], [-1, 6]], whose larger eigenvalue is 6.2830
    "eigen-cam": [[-1.0302859545, 2.1286578178], [-0.3404290676, -0.7579427361]],
    "eigen-gradcam": [[-0.0190278627, 2.8814115524], [-3.5113821030, 0.6489983797]],
    "seg-eigen-cam": [[-0.6736840010, -0.5546067357], [2.8380775452, -1.6097867489]],
    "kpca-cam": [[-0.5721349120, 0.8743642569], [0.0029584912, -0.3051878214]],
    "fem": [[0, 0], [0, 0]],  # of four places none lies two deviations above the mean
    "random-cam": [[0.2739233673, -1.3812797070], [0.0874201655, 0]],
    "shapley-cam": [[0.5, 1.5], [1.5, 0]],  # the head is linear
    "saliency": [[1, 1], [2, 0]],
    "input-x-gradient": [[1, 3], [4 - 2, 0]],
    "guided-backprop": [[1, 1], [2, 0]],
    "deconvnet": [[1, 1], [2, 3]],
    "guided-gradcam": [[0.5, 1.5], [3, 0]],
    "lrp-epsilon": [[1, 3], [4 - 2, 0]],
    "lrp-gamma": [[1, 3], [4 - 2, 0]],
    "lrp-epsilon-plus": [[1, 3], [4 - 2, 0]],  # no convolution
    "lrp-alpha-beta": [[1, 3], [4 - 2, 0]],
    # Of y = 6 in the first layer: alike; by w^2 of 20; by (1, 3, 4, 0) and (0, 3, 4, 0) of 15
    "lrp-epsilon-plus-flat": [[1.5, 1.5], [1.5, 1.5]],
    "lrp-epsilon-alpha2-beta1-flat": [[1.5, 1.5], [1.5, 1.5]],
    "lrp-w2": [[0.3, 0.6], [2.4, 2.7]],
    "lrp-epsilon-gamma-box": [[0.4, 2.4], [3.2, 0]],
    "deeplift": [[1, 3], [4 - 2, 0]],
    "layer-deeplift": [[1, 3], [4 - 2, 0]],
    "layer-lrp": [[1, 3], [4 - 2, 0]],
    "attnlrp": [[1, 3], [4 - 2, 0]],
    "libragrad": [[1, 3], [4 - 2, 0]],
}


def _signed(name: str, proto: object, x: np.ndarray = X) -> np.ndarray:
    model, method = load(proto), methods.find(name)
    found = catalog(model)
    feature = default_feature(found, "a" if method.takes_feature else None, method)
    explained = explain_graph(model, found, method, feature=feature, diagnose=True)
    return Session(explained.model, device="cpu").run({"x": x}, [SIGNED])[0][:, 0]


def _flat_head(gradient: np.ndarray) -> object:
    nodes = [
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    return _head(nodes, {"w": gradient.reshape(8, 1)}, [1])


@pytest.mark.parametrize("name", BY_HAND)
def test_methods_by_hand(name: str) -> None:
    np.testing.assert_allclose(_signed(name, _flat_head(G))[0], BY_HAND[name], rtol=1e-6, atol=1e-7)


def test_all_methods_are_done_by_hand() -> None:
    elsewhere = {"cam", "fullgrad", "crp", "legrad", "gradcam++-exact", "deeplift-reveal-cancel"}
    elsewhere |= {"layer-integrated-gradients"}
    assert {*BY_HAND, *elsewhere} == set(methods.names("graph"))


def test_gradcam_plus_plus_of_small_gradients() -> None:
    """No epsilon: the weight of a gradient g as small as 1e-4 is g / (2 + g sum(A))."""
    small = 1e-4
    found = _signed("gradcam++", _flat_head(small * G))[0]
    first = small / (2 + 3 * small) + 2 * small / (2 + 6 * small)
    np.testing.assert_allclose(found[0, 0], first, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("hirescam", [1 / 4, 3 / 4]),
        ("layercam", [1 / 4, 3 / 4]),
        ("xgradcam", [1 / 4, 3 / 4]),
        ("gradcam++", [4 / 4 / (2 + 3 / 4), 4 * 3 / 4 / (2 + 4 * 3 / 4)]),
    ],
)
def test_a_gradient_behind_pooling_is_never_expanded(name: str, weights: list[float]) -> None:
    """It is the same at the four positions: a number a channel is enough."""
    model, method = load(nets.one_by_one()), methods.find(name)
    layers = catalog(model)
    feature = default_feature(layers, "a", method)
    explained = explain_graph(model, layers, method, feature=feature, default=[0])
    assert not any(n.op_type == "Expand" for n in explained.model.proto.graph.node)
    found = Session(explained.model, device="cpu").run({"x": X}, [MAP])[0][0, 0]
    np.testing.assert_allclose(found, np.tensordot(weights, np.maximum(X[0], 0), 1), rtol=1e-6)


def test_gradcam_plus_plus_where_its_denominator_is_zero() -> None:
    """g = -2/3 and sum(A) = 3 make 2 + g sum(A) zero: no weight there, and no NaN."""
    gradient = np.array([[[-2 / 3, 1], [1, 1]], [[1, 1], [1, 1]]], "f4")
    found = _signed("gradcam++", _flat_head(gradient))[0]
    weights = [3 / (2 + 3), 4 / (2 + 4)]
    np.testing.assert_allclose(found, np.tensordot(weights, np.maximum(X[0], 0), 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["xgradcam", "gradcam++"])
def test_nothing_active_gives_an_empty_map(name: str) -> None:
    """sum(A) = 0 in a channel, or in all of them, divides nothing by 0."""
    x = X.copy()
    x[:, 0] = -1
    found = _signed(name, _flat_head(G), np.concatenate([x, -np.ones_like(x)]))
    assert np.isfinite(found).all() and found[0].any() and not found[1].any()


def _clipped(low: float) -> object:
    """x -> Clip(low, 6) -> Neg -> Relu of something positive: the gradient comes back negative."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], kernel_shape=[1, 1]),
        helper.make_node("Clip", ["m", "low", "six"], ["c"]),
        helper.make_node("Sub", ["six", "c"], ["s"]),
        helper.make_node("Relu", ["s"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    weights = {"low": np.array(low, "f4"), "six": np.array(6, "f4")}
    return nets.model(nodes, {"x": ["N", 2, 2, 2]}, {"y": ["N", 2]}, weights)


def test_relu6_is_guided_and_another_clip_is_not() -> None:
    assert not _signed("guided-backprop", _clipped(0.0)).any()
    np.testing.assert_allclose(_signed("guided-backprop", _clipped(-6.0)), np.full((1, 2, 2), 0.25))


def test_guidance_needs_a_relu() -> None:
    proto = nets.cnn()
    proto.graph.node[1].op_type = "Tanh"
    with pytest.raises(UsageError, match="there is none between 'x' and 'logits'.*saliency"):
        _signed("guided-backprop", proto)


def test_methods_on_the_input_need_numbers() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=1),
        helper.make_node("Cast", ["x"], ["g"], to=1),  # two tensors of reals: which is meant?
        helper.make_node("Conv", ["f", "w"], ["a"]),
        helper.make_node("Conv", ["g", "w"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["y"]),
    ]
    proto = nets.model(
        nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 2, 1, 1]}, {"w": np.ones((2, 3, 1, 1), "f4")}
    )
    proto.graph.input[0].type.tensor_type.elem_type = 2
    with pytest.raises(UsageError, match="'x' holds integers"):
        explain_graph(load(proto), catalog(load(proto)), methods.find("saliency"))


def test_an_input_without_channels() -> None:
    """Sound as [N, W]: saliency is the gradient's size, place by place."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "w"], ["c"], kernel_shape=[1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("ReduceMean", ["a", "two"], ["y"], keepdims=0),
    ]
    weights = {"one": np.array([1]), "two": np.array([2]), "w": np.full((2, 1, 1), -3, "f4")}
    proto = nets.model(nodes, {"x": ["N", 4]}, {"y": ["N", 2]}, weights)
    x = np.array([[1, -1, 2, -2]], "f4")
    np.testing.assert_allclose(_signed("saliency", proto, x), [[0, 0.75, 0, 0.75]])
    np.testing.assert_allclose(_signed("input-x-gradient", proto, x), [[0, 0.75, 0, 1.5]])


@pytest.mark.parametrize(
    ("nodes", "weights", "words"),
    [
        (
            [
                POOL,
                FLAT,
                helper.make_node("MatMul", ["f", "fc"], ["h"]),
                helper.make_node("MatMul", ["h", "fc"], ["y"]),
            ],
            {"fc": FC},
            "more than one linear layer",
        ),
        (
            [POOL, FLAT, helper.make_node("Tanh", ["f"], ["y"])],
            {},
            "a Tanh stands in the classifier",
        ),
        (
            [
                helper.make_node("Flatten", ["a"], ["f"]),
                helper.make_node("MatMul", ["f", "big"], ["y"]),
            ],
            {"big": np.ones((8, 2), "f4")},
            "a Flatten follows it",
        ),
        (
            [
                POOL,
                FLAT,
                helper.make_node("MatMul", ["f", "fc"], ["h"]),
                helper.make_node("Add", ["h", "f"], ["y"]),
            ],
            {"fc": FC},
            "is used 2 times",
        ),
    ],
)
def test_cam_refuses_other_heads(nodes: list, weights: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Explainer(_head(nodes, weights, [2]), "cam", device="cpu", feature_layer="a")


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(UsageError, match="no method 'gradcamm'.*gradcam"):
        methods.find("gradcamm")


def test_two_methods_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="two methods"):
        graph_method("gradcam", needs=(Activation,), cite="")(lambda: None)


@pytest.mark.parametrize(
    "needs", [("activations",), (), (Gradient, Input), (Score,), (Activation, HeadScore)]
)
def test_a_method_needs_what_there_is(needs: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="cannot need"):
        graph_method("another", needs=needs, cite="")


def test_every_method_says_where_it_comes_from() -> None:
    for name in methods.names():
        method = methods.find(name)
        assert method.cite and "=" in method.summary
        assert method.claim and method.limits and str(method.cost)
