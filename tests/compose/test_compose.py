"""What an explained graph returns besides the raw map: sizes, scales, more outputs, targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from support import nets

from onnxcam import methods
from onnxcam.analysis.layers import catalog
from onnxcam.compose import default_feature, explain_graph
from onnxcam.compose.resample import interpolation, resampled
from onnxcam.errors import ModelError, UsageError
from onnxcam.model.draft import Draft
from onnxcam.model.model import load
from onnxcam.names import CLASS, FEATURE, GRADIENT, MAP, SCORE, SIGNED, TARGET
from onnxcam.output.upsample import upsample
from onnxcam.run.session import Session

SIZES = [  # of a map, of the input
    ((5,), (17,)),
    ((7,), (3,)),
    ((7, 7), (224, 224)),
    ((3, 5), (10, 4)),
    ((1, 4), (6, 4)),
    ((6, 6), (6, 6)),
    ((2, 3, 4), (5, 3, 9)),
    ((1, 1, 1), (2, 2, 2)),
]


def _through(map_: np.ndarray, size: tuple[int, ...], kernel: Any, *, dynamic: bool) -> Any:
    """Resample in a graph: with known sizes, or with all of them read from a tensor."""
    rank = len(size)
    shape = [f"d{i}" for i in range(rank + 2)] if dynamic else list(map_.shape)
    ghost = [f"s{i}" for i in range(rank)] if dynamic else list(size)
    proto = nets.model(
        [helper.make_node("Identity", ["ghost"], ["y"])],
        {"map": shape, "ghost": ghost},
        {"y": ghost},
    )
    draft = Draft(load(proto))
    # The ghost's values are of no use: its shape is the size that is asked for.
    wanted = [draft.op.dim(draft.tensor("ghost"), i) for i in range(rank)]
    result = resampled(draft.op, draft.tensor("map"), wanted, kernel)
    draft.output(result, "result")
    session = Session(draft.finish(), device="cpu", threads=1)
    return session.run({"map": map_, "ghost": np.zeros(size, "f4")}, ["result"])[0]


@pytest.mark.parametrize("kernel", ["bicubic", "nearest"])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_maps_are_resampled_as_in_python(old: Any, new: Any, kernel: Any, dynamic: bool) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, *old)).astype("f4")
    found = _through(values, new, kernel, dynamic=dynamic)
    want = upsample(values, new, kernel)
    assert found.dtype == np.float32 and found.shape == want.shape
    if kernel == "nearest":
        np.testing.assert_array_equal(found, want)
    else:
        np.testing.assert_allclose(found, want, atol=3e-6)


@pytest.mark.parametrize("dynamic", [False, True])
def test_linear_interpolation_by_hand(dynamic: bool) -> None:
    values = np.array([[[[0, 4], [8, 12]]]], "f4")
    found = _through(values, (4, 2), "linear", dynamic=dynamic)
    np.testing.assert_allclose(found[0, 0], [[0, 4], [2, 6], [6, 10], [8, 12]], atol=1e-6)


def test_interpolation_weights_add_up() -> None:
    for few, many in ((1, 5), (3, 10), (10, 3)):
        for kernel in ("bicubic", "linear"):
            weights = interpolation(few, many, kernel)  # type: ignore[arg-type]
            np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)


# ---- a whole graph


def _net(batch: Any = "N", size: Any = 12) -> Any:
    """A feature half the input's size in each direction."""
    proto = nets.cnn(batch=batch, size=12)
    proto.graph.node[0].attribute.append(helper.make_attribute("strides", [2, 3]))
    for dim in proto.graph.input[0].type.tensor_type.shape.dim[2:]:
        if not isinstance(size, int):
            dim.dim_param = size
    return load(proto)


def _run(model: Any, x: np.ndarray, outputs: list[str], target: Any = None, **options: Any) -> Any:
    method = methods.find(options.pop("method", "gradcam"))
    explained = explain_graph(model, catalog(model), method, **options)
    onnx.checker.check_model(explained.proto, full_check=True)
    feeds = {"x": x} if target is None else {"x": x, TARGET: np.array(target)}
    return Session(explained.model, device="cpu", threads=1).run(feeds, outputs)


X = np.random.default_rng(1).normal(size=(3, 2, 12, 12)).astype("f4")


@pytest.mark.parametrize("size", [12, "side"])
@pytest.mark.parametrize("kernel", ["bicubic", "nearest"])
def test_the_map_has_the_size_of_the_input(size: Any, kernel: Any) -> None:
    model = _net(size=size)
    raw, large = (
        _run(model, X, [MAP], [0, 2], targets=2, default=[0, 0], upsampling=u)[0]
        for u in ("none", kernel)
    )
    assert raw.shape == (3, 2, 6, 4) and raw.any()
    np.testing.assert_allclose(large, upsample(raw, (12, 12), kernel), atol=1e-5)


@pytest.mark.parametrize("method", ["gradcam", "cam", "saliency"])
def test_normalised_maps(method: str) -> None:
    model = _net()
    options = {"method": method, "targets": None}
    raw, by_max, by_both = (
        _run(model, X, [MAP], [0, 1, 2], normalize=n, **options)[0]
        for n in ("none", "max", "minmax")
    )
    top, low = (f(raw, axis=(2, 3), keepdims=True) for f in (np.max, np.min))
    np.testing.assert_allclose(
        by_max, np.where(top > 0, raw / np.where(top > 0, top, 1), 0), atol=1e-6
    )
    span = np.where(top > low, top - low, 1)
    np.testing.assert_allclose(by_both, (raw - low) / span, atol=1e-6)


def test_an_empty_map_stays_empty_when_normalised() -> None:
    for how in ("max", "minmax"):
        found = _run(_net(), np.zeros_like(X), [MAP], method="input-x-gradient", normalize=how)[0]
        np.testing.assert_array_equal(found, np.zeros((3, 1, 12, 12)))


def test_what_the_map_is_made_of_can_be_returned() -> None:
    model = _net()
    feature, gradient, score, map_, classes = _run(
        model, X, [FEATURE, GRADIENT, SCORE, MAP, CLASS], [1, -1],
        targets=None, expose=("feature", "gradient", "score"),
    )  # fmt: skip
    assert gradient.shape == (3, 2, *feature.shape[1:])
    np.testing.assert_array_equal(classes, np.stack([[1, c] for c in score.argmax(1)]))
    alpha = gradient.mean((3, 4))
    want = np.maximum(np.einsum("nkc,nchw->nkhw", alpha, feature), 0)
    np.testing.assert_allclose(map_, want, atol=1e-6)


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("targets", [1, 2, None])
def test_default_targets(batch: Any, targets: int | None) -> None:
    model = _net(batch=batch)
    default = [2] if targets == 1 else [2, -1]
    x = X[:1]
    map_, classes, scores = _run(
        model, x, [MAP, CLASS, SCORE], targets=targets, default=default, expose=["score"]
    )
    want = [2] if targets == 1 else [2, scores.argmax()]
    np.testing.assert_array_equal(classes, [want])
    for k, target in enumerate(want):
        alone = _run(model, x, [MAP], [target])[0]
        np.testing.assert_allclose(map_[:, k : k + 1], alone, atol=1e-6)


def test_the_file_says_what_it_is() -> None:
    model = _net()
    explained = explain_graph(
        model, catalog(model), methods.find("gradcam"), upsampling="nearest", normalize="max",
        metadata={"onnxcam.input.layout": "NCHW"},
    )  # fmt: skip
    said = explained.model.metadata
    assert said["onnxcam.source.sha256"] == model.sha256
    assert said["onnxcam.method"] == "gradcam" and said["onnxcam.feature_layer"] == "relu"
    assert said["onnxcam.upsampling"] == "nearest" and said["onnxcam.normalize"] == "max"
    assert said["onnxcam.input.layout"] == "NCHW"
    assert explained.letters == "HW" and explained.feature.name == "relu"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"upsampling": "linear"}, "no upsampling 'linear'.*bicubic, nearest, none"),
        ({"normalize": "l2"}, "no normalize 'l2'.*none, max, minmax"),
        ({"expose": ["feature", "weights"]}, "no expose 'weights'.*feature, gradient, score"),
        ({"targets": 2, "default": [1]}, "1 default targets for a model of 2"),
    ],
)
def test_unknown_options_are_refused(options: dict, words: str) -> None:
    model = _net()
    with pytest.raises(UsageError, match=words):
        explain_graph(model, catalog(model), methods.find("gradcam"), **options)


def test_methods_and_layers_must_fit() -> None:
    found = catalog(_net())
    with pytest.raises(UsageError, match="saliency explains at the input"):
        default_feature(found, "relu", methods.find("saliency"))
    assert default_feature(found, None, methods.find("saliency")).name == "x"
    assert default_feature(found, None, methods.find("guided-gradcam")).name == "relu"
    with pytest.raises(UsageError, match="no feature layer 'rleu'"):
        default_feature(found, "rleu", methods.find("gradcam"))


def test_a_map_of_another_rank_stays_at_its_size() -> None:
    """A picture whose rows become steps of time: the map has no place on the picture."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c", "three"], ["rows"], keepdims=0),
        helper.make_node("Relu", ["rows"], ["r"]),
        helper.make_node("ReduceMean", ["r", "two"], ["y"], keepdims=0),
    ]
    weights = {"w": np.ones((2, 3, 1, 1), "f4"), "three": np.array([3]), "two": np.array([2])}
    proto = nets.model(nodes, {"x": ["N", 3, 5, 6]}, {"y": ["N", 2]}, weights)
    model = load(proto)
    found, method = catalog(model), methods.find("gradcam")
    with pytest.raises(UsageError, match="cannot be laid over.*upsampling='none'"):
        explain_graph(model, found, method, feature=found.find("r"), upsampling="bicubic")
    explained = explain_graph(model, found, method, feature=found.find("r"))
    (map_,) = Session(explained.model, device="cpu").run({"x": np.ones((2, 3, 5, 6), "f4")}, [MAP])
    np.testing.assert_allclose(map_, np.full((2, 1, 5), 3 / 5), rtol=1e-6)


def test_a_model_without_layers_says_so() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    proto = nets.model(nodes, {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": np.ones((3, 2), "f4")})
    model = load(proto)
    with pytest.raises(ModelError, match="nothing to explain"):
        explain_graph(model, catalog(model), methods.find("gradcam"))


def test_the_input_of_a_table_has_a_value_a_feature() -> None:
    """A gradient needs no meaning of the axes, as long as the first one is the batch."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    w = np.array([[1, 2], [-3, 4], [5, 6]], "f4")
    for batch, rows in (("N", "N"), (2, 2)):
        model = load(nets.model(nodes, {"x": [batch, 3]}, {"y": [rows, 2]}, {"w": w}))
        explained = explain_graph(model, catalog(model), methods.find("saliency"))
        feeds = {"x": np.ones((2, 3), "f4")}
        (map_,) = Session(explained.model, device="cpu").run(feeds, [MAP])
        np.testing.assert_array_equal(map_, np.tile(np.abs(w[:, 1]), (2, 1, 1)))


def test_rows_that_are_no_batch_are_refused() -> None:
    """Where the scores have another number of rows the first axis is none of inputs."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ReduceMean", ["m", "zero"], ["y"], keepdims=1),
    ]
    weights = {"w": np.ones((3, 2), "f4"), "zero": np.array([0])}
    model = load(nets.model(nodes, {"x": ["V", 3]}, {"y": [1, 2]}, weights, opset=18))
    with pytest.raises(UsageError, match="no map can be made at 'x'"):
        explain_graph(model, catalog(model), methods.find("saliency"))


def test_signed_maps_stay_at_their_own_size() -> None:
    signed, map_ = _run(_net(), X, [SIGNED, MAP], [1], diagnose=True, upsampling="bicubic")
    assert signed.shape == (3, 1, 6, 4) and (signed < 0).any()
    np.testing.assert_allclose(
        map_, upsample(np.maximum(signed, 0), (12, 12), "bicubic"), atol=1e-5
    )


def _quantised_head() -> Any:
    """Conv, Relu, pool, Gemm with a rounding to 8 bits behind each, the weights in 8 bits."""
    rng = np.random.default_rng(5)
    scales = {"relu": 0.02, "pool": 0.01, "flat": 0.01, "logits": 0.05}
    weights = {
        "w": rng.normal(size=(4, 2, 3, 3)).astype("f4"),
        "fc": rng.integers(-127, 128, (3, 4), dtype=np.int8),
        "fcs": np.array([0.01, 0.02, 0.005], "f4"),
        "zero": np.uint8(0),
        "middle": np.uint8(128),
    }

    def rounded(name: str, zero: str = "zero") -> list[onnx.NodeProto]:
        weights[f"{name}_s"] = np.float32(scales[name])
        return [
            helper.make_node("QuantizeLinear", [name, f"{name}_s", zero], [f"{name}_q"]),
            helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", zero], [f"{name}_d"]),
        ]

    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["relu"]),
        *rounded("relu"),
        helper.make_node("GlobalAveragePool", ["relu_d"], ["pool"]),
        *rounded("pool"),
        helper.make_node("Flatten", ["pool_d"], ["flat"]),
        *rounded("flat"),
        helper.make_node("DequantizeLinear", ["fc", "fcs"], ["fc_d"], axis=0),
        helper.make_node("Gemm", ["flat_d", "fc_d"], ["logits"], transB=1),
        *rounded("logits", "middle"),
    ]
    proto = nets.model(nodes, {"x": ["N", 2, 6, 6]}, {"logits_d": ["N", 3]}, weights)
    return load(proto), weights["fc"] * weights["fcs"][:, None]


def test_cam_looks_through_the_rounding_of_a_quantised_head() -> None:
    model, fc = _quantised_head()
    x = X[:2, :, :6, :6]
    map_, feature = _run(
        model, x, [MAP, FEATURE], [0, 2], method="cam", targets=None, expose=["feature"]
    )
    want = np.einsum("kc,nchw->nkhw", fc[[0, 2]], feature)
    np.testing.assert_allclose(map_, want, rtol=1e-4, atol=1e-5)
    assert map_.any()
